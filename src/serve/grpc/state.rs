//! `leasehold.v1.StateService`.

use tonic::{Request, Response, Status, Streaming};

use super::guard::explained;
use super::stream::Answers;
use super::{Door, decode, encode, status};
use crate::domain::format::diff::{ChangeKind, Subject};
use crate::domain::names::{EnvironmentName, StateName};
use crate::pb::v1 as pb;
use crate::pb::v1::state_service_server::StateService;
use crate::service::pull::{Meta, Pulled, Which};
use crate::service::push::{Push, Written};
use crate::service::rewrite::Under;
use crate::service::views::SealedPlaces;
use crate::service::{Caller, Error};

#[tonic::async_trait]
impl StateService for Door {
    type PullStream = Answers<pb::PullResponse>;

    async fn push(&self, request: Request<Streaming<pb::PushRequest>>) -> Result<Response<pb::PushResponse>, Status> {
        let caller = self.caller(&request)?;
        let mut stream = request.into_inner();
        let open = match stream.message().await.map_err(explained)?.and_then(|message| message.part) {
            Some(pb::push_request::Part::Open(open)) => open,
            _ => return Err(status::of(&Error::Protocol("the first message of a push is `open`"))),
        };
        let push = open_push(open)?;
        let principal = self.service.authorise_push(&caller, &push).await.map_err(|error| status::of(&error))?;
        let mut upload = self.service.begin_upload(push.size).await.map_err(|error| status::of(&error))?;
        while let Some(message) = stream.message().await.map_err(explained)? {
            match message.part {
                Some(pb::push_request::Part::Chunk(chunk)) => upload.piece(&chunk.data).map_err(|error| status::of(&error))?,
                _ => return Err(status::of(&Error::Protocol("after `open` come chunks only"))),
            }
        }
        let environment = push.state.environment.clone();
        let written = self.service.push(principal, push, upload).await.map_err(|error| status::of(&error))?;
        let Written { version, replayed, warnings } = written;
        let warnings = warnings.into_iter().map(encode::warning).collect();
        Ok(Response::new(pb::PushResponse { version: Some(encode::version(&environment, version)), replayed, warnings }))
    }

    async fn pull(&self, request: Request<pb::PullRequest>) -> Result<Response<Self::PullStream>, Status> {
        let caller = self.caller(&request)?;
        let pb::PullRequest { state, version, draft, unless_etag, view, recipient } = request.into_inner();
        let state: StateName = decode::name(&state)?;
        let unless = match unless_etag.is_empty() {
            true => None,
            false => Some(decode::id(&unless_etag, "the etag is malformed")?),
        };
        let view = decode::view(view, recipient)?;
        let pulled = self.service.pull(&caller, &state, which(version, &draft)?, unless, &view).await;
        let Pulled { meta, document, masked, signer } = pulled.map_err(|error| status::of(&error))?;
        let (version, draft) = encode_meta(&state.environment, meta);
        let size = document.as_ref().map_or(0, |(size, _)| *size);
        let info = pb::PullInfo {
            version,
            draft,
            unchanged: document.is_none(),
            size,
            view: encode::view(&view),
            masked: masked.paths,
            masked_truncated: masked.truncated,
            signer: signer.unwrap_or_default(),
        };
        let first = pb::PullResponse { part: Some(pb::pull_response::Part::Info(info)) };
        let first = futures_util::stream::iter([Ok(first)]);
        let Some((_, pieces)) = document else { return Ok(Response::new(Box::pin(first))) };
        let rest = super::stream::until_stopped(pieces, self.stopping.clone(), |piece| {
            let chunk = pb::Chunk { data: piece.into() };
            pb::PullResponse { part: Some(pb::pull_response::Part::Chunk(chunk)) }
        });
        Ok(Response::new(Box::pin(futures_util::StreamExt::chain(first, rest))))
    }

    async fn list(&self, request: Request<pb::ListStatesRequest>) -> Result<Response<pb::ListStatesResponse>, Status> {
        let caller = self.caller(&request)?;
        let pb::ListStatesRequest { prefix, deleted, limit, after } = request.into_inner();
        let ((prefix, limit), after) = (decode::page(&prefix, limit)?, decode::optional(&after)?);
        // One more than asked tells whether there is another page.
        let rows = self.service.states(&caller, prefix, deleted, after, limit + 1).await.map_err(|error| status::of(&error))?;
        let full = rows.len() > limit;
        let rows = rows.into_iter().take(limit);
        let states: Vec<_> = rows.map(|(environment, version)| encode::version(&environment, version)).collect();
        let next = states.last().filter(|_| full).map(|last| last.state.clone()).unwrap_or_default();
        Ok(Response::new(pb::ListStatesResponse { states, next }))
    }

    async fn history(&self, request: Request<pb::HistoryRequest>) -> Result<Response<pb::HistoryResponse>, Status> {
        let caller = self.caller(&request)?;
        let pb::HistoryRequest { state, all, limit, before } = request.into_inner();
        let state: StateName = decode::name(&state)?;
        let (_, limit) = decode::page("", limit)?;
        let found = self.service.history(&caller, &state, all, decode::version(before)?, limit).await;
        let (entries, next) = found.map_err(|error| status::of(&error))?;
        let entries = entries.into_iter().map(|entry| pb::HistoryEntry {
            version: Some(encode::version(&state.environment, entry.version)),
            snapshots: entry.snapshots,
            first_version: entry.first.0,
        });
        Ok(Response::new(pb::HistoryResponse { entries: entries.collect(), next: next.map_or(0, |next| next.0) }))
    }

    async fn show(&self, request: Request<pb::ShowRequest>) -> Result<Response<pb::ShowResponse>, Status> {
        let caller = self.caller(&request)?;
        let pb::ShowRequest { state, version, draft, why } = request.into_inner();
        let (state, which): (StateName, _) = (decode::name(&state)?, which(version, &draft)?);
        let meta = self.service.show(&caller, &state, which).await.map_err(|error| status::of(&error))?;
        let SealedPlaces { places, count, overflow } = match why {
            true => self.service.sealed_places(&caller, &state, which).await.map_err(|error| status::of(&error))?,
            false => SealedPlaces::default(),
        };
        let reason = |reason: Option<&'static str>| reason.unwrap_or_default().to_owned();
        let sealed = places.into_iter().map(|place| pb::SealedPlace { place: place.path, reason: reason(place.reason) });
        let sealed = sealed.collect();
        let (version, draft) = encode_meta(&state.environment, meta);
        Ok(Response::new(pb::ShowResponse { version, draft, sealed, sealed_count: count, overflow }))
    }

    async fn diff(&self, request: Request<pb::DiffRequest>) -> Result<Response<pb::DiffResponse>, Status> {
        let caller = self.caller(&request)?;
        let pb::DiffRequest { state, from_version, to_version, to_draft } = request.into_inner();
        let to = which(to_version, &to_draft)?;
        let state = decode::name(&state)?;
        let found = self.service.diff(&caller, &state, decode::version(from_version)?, to).await;
        let diff = found.map_err(|error| status::of(&error))?;
        let changes = diff.changes.into_iter().map(|change| pb::Change {
            kind: match change.kind {
                ChangeKind::Added => pb::change::Kind::Added,
                ChangeKind::Changed => pb::change::Kind::Changed,
                ChangeKind::Removed => pb::change::Kind::Removed,
            }
            .into(),
            what: Subject::name(change.what).to_owned(),
            address: change.address,
            attributes: change.attributes,
        });
        let changes = changes.collect();
        Ok(Response::new(pb::DiffResponse { changes, bytes_only: diff.bytes_only, equal: diff.equal, truncated: diff.truncated }))
    }

    async fn rollback(&self, request: Request<pb::RollbackRequest>) -> Result<Response<pb::VersionInfo>, Status> {
        let caller = self.caller(&request)?;
        let pb::RollbackRequest { state, session, token, request_id, to_version, expect } = request.into_inner();
        let under = under(&state, &session, token, &request_id, expect.as_ref())?;
        let to = decode::version(to_version)?.ok_or_else(|| decode::argument("a version is needed", "set `to_version`"))?;
        let environment = under.state.environment.clone();
        wrote(&environment, self.service.rollback(&caller, under, to).await)
    }

    async fn delete(&self, request: Request<pb::DeleteStateRequest>) -> Result<Response<pb::VersionInfo>, Status> {
        let caller = self.caller(&request)?;
        let pb::DeleteStateRequest { state, session, token, request_id, expect } = request.into_inner();
        let under = under(&state, &session, token, &request_id, expect.as_ref())?;
        let environment = under.state.environment.clone();
        wrote(&environment, self.service.delete_state(&caller, under).await)
    }

    async fn purge(&self, request: Request<pb::PurgeRequest>) -> Result<Response<pb::PurgeResponse>, Status> {
        let caller = self.caller(&request)?;
        let pb::PurgeRequest { state, version, request_id } = request.into_inner();
        let (id, state) = (decode::request_id(&request_id)?, decode::name(&state)?);
        let purged = self.service.purge(&caller, id, state, decode::version(version)?).await;
        let purged = purged.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::PurgeResponse { purged }))
    }

    async fn list_drafts(&self, request: Request<pb::ListDraftsRequest>) -> Result<Response<pb::ListDraftsResponse>, Status> {
        let caller = self.caller(&request)?;
        let pb::ListDraftsRequest { state, all } = request.into_inner();
        let state: StateName = decode::name(&state)?;
        let drafts = self.service.drafts(&caller, &state, all).await.map_err(|error| status::of(&error))?;
        let drafts = drafts.into_iter().map(|(draft, snapshots)| encode::draft(&state.environment, draft, snapshots)).collect();
        Ok(Response::new(pb::ListDraftsResponse { drafts }))
    }

    async fn promote_draft(&self, request: Request<pb::PromoteDraftRequest>) -> Result<Response<pb::VersionInfo>, Status> {
        let caller = self.caller(&request)?;
        let pb::PromoteDraftRequest { state, draft, session, token, request_id, expect, rewrite } = request.into_inner();
        let under = under(&state, &session, token, &request_id, expect.as_ref())?;
        let draft = decode::id(&draft, "the draft's id is malformed")?;
        let environment = under.state.environment.clone();
        wrote(&environment, self.service.promote(&caller, under, draft, rewrite).await)
    }

    async fn discard_draft(
        &self,
        request: Request<pb::DiscardDraftRequest>,
    ) -> Result<Response<pb::DiscardDraftResponse>, Status> {
        let caller: Caller = self.caller(&request)?;
        let pb::DiscardDraftRequest { state, draft, request_id } = request.into_inner();
        let (id, state) = (decode::request_id(&request_id)?, decode::name(&state)?);
        let draft = decode::id(&draft, "the draft's id is malformed")?;
        self.service.discard_draft(&caller, id, state, draft).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::DiscardDraftResponse {}))
    }
}

fn open_push(open: pb::PushOpen) -> Result<Push, Status> {
    if open.size == 0 {
        return Err(status::of(&Error::Document(crate::domain::format::FormatError::Empty)));
    }
    Ok(Push {
        state: decode::name(&open.state)?,
        session: decode::name(&open.session)?,
        token: decode::token(open.token)?,
        id: decode::request_id(&open.request_id)?,
        expect: decode::expect(open.expect.as_ref())?,
        size: open.size,
        format: decode::format(open.format)?,
        inner_lock: decode::optional(&open.inner_lock_id)?,
        rewrite: open.rewrite,
    })
}

fn under(state: &str, session: &str, token: u64, request_id: &str, expect: Option<&pb::Expect>) -> Result<Under, Status> {
    Ok(Under {
        state: decode::name(state)?,
        session: decode::name(session)?,
        token: decode::token(token)?,
        id: decode::request_id(request_id)?,
        expect: decode::expect(expect)?,
    })
}

fn which(version: u64, draft: &str) -> Result<Which, Status> {
    match (version, draft) {
        (0, "") => Ok(Which::Current),
        (number, "") => Ok(decode::version(number)?.map_or(Which::Current, Which::Version)),
        (0, draft) => decode::id(draft, "the draft's id is malformed").map(Which::Draft),
        _ => Err(decode::argument("a version or a draft, not both", "leave one out")),
    }
}

fn wrote(environment: &EnvironmentName, written: Result<Written, Error>) -> Result<Response<pb::VersionInfo>, Status> {
    let written = written.map_err(|error| status::of(&error))?;
    Ok(Response::new(encode::version(environment, written.version)))
}

fn encode_meta(environment: &EnvironmentName, meta: Meta) -> (Option<pb::VersionInfo>, Option<pb::DraftInfo>) {
    match meta {
        Meta::Version(version) => (Some(encode::version(environment, version)), None),
        Meta::Draft(draft) => (None, Some(encode::draft(environment, draft, 1))),
    }
}
