//! Drafts: list and discard. Promotion is a write (`rewrite.rs`).

use super::{Caller, Error, Service};
use crate::domain::access::{Object, Verb};
use crate::domain::command::{Act, ContentAct};
use crate::domain::document::DraftMeta;
use crate::domain::ids::{DraftId, RequestId};
use crate::domain::names::StateName;
use crate::store::{Query, Rows};

impl Service {
    /// The drafts of a state from the newest down: of each lease only the last, with how many it left, or (`all`) each.
    ///
    /// # Errors
    /// There is no such environment.
    pub async fn drafts(&self, caller: &Caller, state: &StateName, all: bool) -> Result<Vec<(DraftMeta, u32)>, Error> {
        self.allow_any(caller, &[Verb::ReadRedacted, Verb::Promote, Verb::Write], Object::State(state))?;
        self.keys(&state.environment).await?;
        let Rows::Drafts(drafts) = self.store.select(Query::Drafts(state.clone(), None)).await? else {
            return Err(Error::internal("drafts answered with other rows"));
        };
        let mut shown: Vec<(DraftMeta, u32)> = Vec::new();
        for draft in drafts {
            let lease = |other: &DraftMeta| {
                (&other.principal, &other.session, other.token) == (&draft.principal, &draft.session, draft.token)
            };
            match shown.iter_mut().find(|(last, _)| !all && lease(last)) {
                Some((_, snapshots)) => *snapshots += 1,
                None => shown.push((draft, 1)),
            }
        }
        Ok(shown)
    }

    /// Gives a draft up.
    ///
    /// # Errors
    /// There is none of that id.
    pub async fn discard_draft(&self, caller: &Caller, id: RequestId, state: StateName, draft: DraftId) -> Result<(), Error> {
        let actor = self.allow_any(caller, &[Verb::Promote, Verb::Write], Object::State(&state))?;
        let which = format!("{state} {draft}");
        let digest = self.keys(&state.environment).await?.request_digest(&[b"discard", which.as_bytes()]);
        let act = Act::Content(state, Box::new(ContentAct::DiscardDraft(draft)));
        self.submit(actor, Some((id, digest)), act).await.map(drop)
    }
}
