//! The short calls about states.

use tonic::transport::Channel;

use super::Which;
use crate::client::{Client, Error, LeaseRef, MAX_REPLY, request_id};
use crate::pb::v1::state_service_client::StateServiceClient;
use crate::pb::v1::{
    DeleteStateRequest, DiffRequest, DiffResponse, DiscardDraftRequest, DraftInfo, Expect, HistoryEntry, HistoryRequest,
    ListDraftsRequest, ListStatesRequest, PromoteDraftRequest, PurgeRequest, RollbackRequest, ShowRequest, ShowResponse,
    VersionInfo,
};

/// What is asked of a write that sends no document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WriteAsk {
    /// What must be current; `None`: whatever is when the write is checked.
    pub expect: Option<Expect>,
    /// Of promote only: also a draft of another lineage.
    pub rewrite: bool,
}

/// What to compare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiffSides {
    /// The older version; `None`: the one before `to`, or the current one if `to` is a draft.
    pub from: Option<u64>,
    /// The newer side.
    pub to: Which,
}

impl Client {
    /// The states below `ENV` or `ENV/PREFIX`, with their current versions; with `deleted` also those that are deleted.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such environment.
    pub async fn states(&self, prefix: &str, deleted: bool) -> Result<Vec<VersionInfo>, Error> {
        let mut states = Vec::new();
        let mut after = String::new();
        loop {
            let message = ListStatesRequest { prefix: prefix.to_owned(), deleted, limit: 0, after };
            let mut page = self.unary(message, |channel, request| async move { service(channel).list(request).await }).await?;
            states.append(&mut page.states);
            if page.next.is_empty() {
                return Ok(states);
            }
            after = page.next;
        }
    }

    /// The history of a state, newest first, at most `limit` entries; with `all` every version is an entry of its own.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the state never existed.
    pub async fn history(&self, state: &str, all: bool, limit: usize) -> Result<Vec<HistoryEntry>, Error> {
        let mut entries = Vec::new();
        let mut before = 0;
        while entries.len() < limit {
            let page_limit = u32::try_from((limit - entries.len()).min(1000)).expect("at most 1000");
            let message = HistoryRequest { state: state.to_owned(), all, limit: page_limit, before };
            let mut page = self.unary(message, |channel, request| async move { service(channel).history(request).await }).await?;
            entries.append(&mut page.entries);
            if page.next == 0 {
                break;
            }
            before = page.next;
        }
        Ok(entries)
    }

    /// One version or draft, without its document.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such state, version or draft.
    pub async fn show(&self, state: &str, which: &Which) -> Result<ShowResponse, Error> {
        self.show_with(state, which, false).await
    }

    /// The same with what is sealed in it, and why.
    ///
    /// # Errors
    /// Those of [`Client::show`]; or the version's bytes are gone.
    pub async fn show_why(&self, state: &str, which: &Which) -> Result<ShowResponse, Error> {
        self.show_with(state, which, true).await
    }

    async fn show_with(&self, state: &str, which: &Which, why: bool) -> Result<ShowResponse, Error> {
        let (version, draft) = which.parts();
        let message = ShowRequest { state: state.to_owned(), version, draft, why };
        self.unary(message, |channel, request| async move { service(channel).show(request).await }).await
    }

    /// What changed: names and kinds of change, never values.
    ///
    /// # Errors
    /// [`Error::NotFound`] if one side is not there or has no bytes any more.
    pub async fn diff(&self, state: &str, sides: &DiffSides) -> Result<DiffResponse, Error> {
        let (to_version, to_draft) = sides.to.parts();
        let message = DiffRequest { state: state.to_owned(), from_version: sides.from.unwrap_or(0), to_version, to_draft };
        self.unary(message, |channel, request| async move { service(channel).diff(request).await }).await
    }

    /// Writes the content of an old version as a new one.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] or [`Error::Conflict`] as of a write.
    pub async fn rollback(&self, lease: &LeaseRef, to_version: u64, ask: &WriteAsk) -> Result<VersionInfo, Error> {
        let message = RollbackRequest {
            state: lease.state.clone(),
            session: lease.session.clone(),
            token: lease.token.0,
            request_id: request_id(),
            to_version,
            expect: ask.expect.clone(),
        };
        self.unary(message, |channel, request| async move { service(channel).rollback(request).await }).await
    }

    /// Writes a version without content. History, lock, tokens and version numbers go on.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] or [`Error::Conflict`] as of a write.
    pub async fn delete_state(&self, lease: &LeaseRef, ask: &WriteAsk) -> Result<VersionInfo, Error> {
        let message = DeleteStateRequest {
            state: lease.state.clone(),
            session: lease.session.clone(),
            token: lease.token.0,
            request_id: request_id(),
            expect: ask.expect.clone(),
        };
        self.unary(message, |channel, request| async move { service(channel).delete(request).await }).await
    }

    /// Drops the bytes of one version, or with `None` of every version but the current one; returns of how many.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such version.
    pub async fn purge(&self, state: &str, version: Option<u64>) -> Result<u64, Error> {
        let message = PurgeRequest { state: state.to_owned(), version: version.unwrap_or(0), request_id: request_id() };
        let reply = self.unary(message, |channel, request| async move { service(channel).purge(request).await }).await?;
        Ok(reply.purged)
    }

    /// The drafts of a state, newest first; of several by one lease only the last, unless `all`.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such environment.
    pub async fn drafts(&self, state: &str, all: bool) -> Result<Vec<DraftInfo>, Error> {
        let message = ListDraftsRequest { state: state.to_owned(), all };
        let reply = self.unary(message, |channel, request| async move { service(channel).list_drafts(request).await }).await?;
        Ok(reply.drafts)
    }

    /// Makes a draft the current version, as a write of this lease.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] or [`Error::Conflict`] as of a write; [`Error::NotFound`] if there is no such draft.
    pub async fn promote_draft(&self, lease: &LeaseRef, draft: &str, ask: &WriteAsk) -> Result<VersionInfo, Error> {
        let message = PromoteDraftRequest {
            state: lease.state.clone(),
            draft: draft.to_owned(),
            session: lease.session.clone(),
            token: lease.token.0,
            request_id: request_id(),
            expect: ask.expect.clone(),
            rewrite: ask.rewrite,
        };
        self.unary_for(lease, message, |channel, request| async move { service(channel).promote_draft(request).await }).await
    }

    /// Gives a draft up.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such draft.
    pub async fn discard_draft(&self, state: &str, draft: &str) -> Result<(), Error> {
        let message = DiscardDraftRequest { state: state.to_owned(), draft: draft.to_owned(), request_id: request_id() };
        self.unary(message, |channel, request| async move { service(channel).discard_draft(request).await }).await?;
        Ok(())
    }
}

pub(super) fn service(channel: Channel) -> StateServiceClient<Channel> {
    StateServiceClient::new(channel).max_decoding_message_size(MAX_REPLY)
}
