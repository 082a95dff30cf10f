//! What the store says when it is asked.

use leasehold::domain::document::DraftMeta;
use leasehold::domain::ids::BodyId;
use leasehold::store::{Query, Rows};

use super::{Driver, block_on, body_bytes, state, translate};
use crate::history::{At, Draft, Lock, Seen, Version, View};

/// Asking the store.
impl Driver {
    pub(super) fn events(&mut self) -> Vec<Seen> {
        if self.engine().store().head().borrow().revision == self.known.revision {
            return Vec::new();
        }
        let events = self.read_events();
        self.known.events.extend_from_slice(&events);
        events
    }

    pub(super) fn read_events(&mut self) -> Vec<Seen> {
        let recorded = block_on(self.engine().store().events(self.known.revision, usize::MAX));
        if let Some(last) = recorded.last() {
            self.known.revision = last.revision;
        }
        recorded.iter().map(translate::event).collect()
    }

    pub(super) fn view(&self, lock: Lock, at: At, whole: bool) -> (View, At) {
        let (mut views, said) = self.rows(Query::Lock(state(lock)));
        let mut view = views.pop().unwrap_or_else(|| translate::no_lock(lock));
        if let Rows::Tickets(tickets, _) = block_on(self.engine().store().select(Query::Tickets(state(lock)))) {
            view.tickets = translate::tickets(&tickets, at);
        }
        view.holders.retain(|(_, _, _, deadline)| deadline.is_none_or(|deadline| at < deadline));
        view.newest = whole.then(|| self.select_versions(Query::Version(state(lock), None)).pop());
        (view, said)
    }

    pub(super) fn rows(&self, query: Query) -> (Vec<View>, At) {
        match block_on(self.engine().store().select(query)) {
            Rows::Locks(rows, now) => (rows.iter().map(translate::lock).collect(), now.0),
            other => panic!("a query for locks was answered with {other:?}"),
        }
    }

    pub(super) fn versions(&self, lock: Lock) -> Vec<Version> {
        self.select_versions(Query::History { state: state(lock), before: None, limit: usize::MAX >> 1 })
    }

    pub(super) fn select_versions(&self, query: Query) -> Vec<Version> {
        let rows = match block_on(self.engine().store().select(query)) {
            Rows::Versions(rows) => rows,
            other => panic!("a query for versions was answered with {other:?}"),
        };
        let intact = |body: Option<BodyId>, digest: Option<u64>| {
            let bytes = block_on(self.engine().store().chunk(body?, 0));
            Some(bytes == digest.map(body_bytes))
        };
        rows.iter()
            .map(|(_, row)| {
                let version = translate::version(row);
                Version { bytes: intact(row.body, version.digest), ..version }
            })
            .collect()
    }

    pub(super) fn drafts(&self, lock: Lock) -> Vec<Draft> {
        let Rows::Drafts(rows) = block_on(self.engine().store().select(Query::Drafts(state(lock), None))) else {
            panic!("a query for drafts was answered with something else");
        };
        let draft = |row: &DraftMeta| {
            let digest = translate::digest(&row.digest);
            let intact = block_on(self.engine().store().chunk(row.body, 0)) == Some(body_bytes(digest));
            Draft { id: u128::from_be_bytes(row.id.0), digest, intact }
        };
        rows.iter().map(draft).collect()
    }
}
