//! An engine with a runtime around it: calls in a straight line, time by hand.

use std::time::Duration;

use leasehold::domain::command::{Command, ContentAct, LockAct, Write};
use leasehold::domain::decision::{Grant, Reply};
use leasehold::domain::document::{Content, DraftMeta, Expect, Origin, VersionMeta};
use leasehold::domain::event::Recorded;
use leasehold::domain::ids::{BodyId, DataKeyId, Revision, Token};
use leasehold::domain::lock::{Lock, Mode, Ticket};
use leasehold::domain::refusal::Refusal;
use leasehold::domain::time::StoreTime;
use leasehold::store::{LockRow, Query, Rows, StoreError};
use tokio::runtime::Runtime;

use crate::commands::{acquire, asks, content, create, grounded, lock, release, renew, state, write, writes};
use crate::engines::Engine;

pub(crate) struct Rig<E> {
    engine: Option<E>,
    runtime: Runtime,
}

impl<E: Engine> Rig<E> {
    /// An empty store with the environment `dev`.
    pub(crate) fn new() -> Self {
        Self::of(E::new()).with("dev")
    }

    /// A rig around an engine as it is.
    pub(crate) fn of(engine: E) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { engine: Some(engine), runtime }
    }

    /// The same with another environment.
    pub(crate) fn with(self, environment: &str) -> Self {
        self.submit(create(environment)).unwrap();
        self
    }

    pub(crate) fn engine(&self) -> &E {
        self.engine.as_ref().unwrap()
    }

    /// Kills the store and opens it again.
    pub(crate) fn restart(&mut self) {
        self.engine = self.engine.take().map(Engine::restart);
    }

    /// Kills the store, which stays down for a while.
    pub(crate) fn restart_after(&mut self, down: Duration) {
        let clock = self.engine().clock();
        clock.advance(down);
        self.restart();
    }

    /// Lets time pass in steps that all count, with what is due settled on the way.
    pub(crate) fn advance(&self, by: Duration) {
        let mut left = by;
        while !left.is_zero() {
            let step = left.min(Duration::from_secs(2));
            self.engine().clock().advance(step);
            self.engine().tick();
            left -= step;
        }
    }

    pub(crate) fn seconds(&self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }

    /// An answer that was asked for earlier.
    pub(crate) fn wait<T>(&self, later: leasehold::store::Later<'_, T>) -> Result<T, StoreError> {
        self.runtime.block_on(later)
    }

    pub(crate) fn try_submit(&self, command: Command) -> Result<Result<Reply, Refusal>, StoreError> {
        let store = self.engine().store();
        self.runtime.block_on(async { store.submit(grounded(store, command).await).await })
    }

    pub(crate) fn submit(&self, command: Command) -> Result<Reply, Refusal> {
        self.try_submit(command).unwrap()
    }

    pub(crate) fn select(&self, query: Query) -> Rows {
        self.runtime.block_on(self.engine().store().select(query)).unwrap()
    }

    pub(crate) fn stage(&self, body: BodyId, n: u32, bytes: &[u8]) {
        self.runtime.block_on(self.engine().store().stage(body, DataKeyId::default(), n, bytes.to_vec())).unwrap();
    }

    pub(crate) fn chunk(&self, body: BodyId, n: u32) -> Option<Vec<u8>> {
        self.runtime.block_on(self.engine().store().chunk(body, n)).unwrap()
    }

    pub(crate) fn events(&self, after: u64, limit: usize) -> Vec<Recorded> {
        self.runtime.block_on(self.engine().store().events(Revision(after), limit)).unwrap()
    }

    pub(crate) fn all_events(&self) -> Vec<Recorded> {
        self.events(0, usize::MAX)
    }

    pub(crate) fn close(&self) {
        self.runtime.block_on(self.engine().store().close()).unwrap();
    }

    pub(crate) fn revision(&self) -> u64 {
        self.engine().store().head().borrow().revision.0
    }

    /// An exclusive lease that must be granted at once.
    pub(crate) fn lease(&self, name: &str, session: &str) -> Token {
        self.held(acquire(name, session, false)).token
    }

    pub(crate) fn held(&self, command: Command) -> Grant {
        match self.submit(command) {
            Ok(Reply::Held(grant)) => grant,
            other => panic!("not granted: {other:?}"),
        }
    }

    /// A ticket; its place is returned.
    pub(crate) fn queue(&self, name: &str, session: &str, mode: Mode) -> u32 {
        match self.submit(lock(name, LockAct::Acquire(asks(session, mode, true)))) {
            Ok(Reply::Queued(place)) => place.place,
            other => panic!("not queued: {other:?}"),
        }
    }

    pub(crate) fn renew(&self, name: &str, session: &str, token: Token) {
        let reply = self.submit(renew(name, session, token));
        assert!(matches!(reply, Ok(Reply::Renewed { .. })), "{reply:?}");
    }

    pub(crate) fn release(&self, name: &str, session: &str, token: Token) {
        let reply = self.submit(release(name, session, token));
        assert!(matches!(reply, Ok(Reply::Released { was_live: true, .. })), "{reply:?}");
    }

    pub(crate) fn lock_row(&self, name: &str) -> (LockRow, StoreTime) {
        match self.select(Query::Lock(state(name))) {
            Rows::Locks(mut rows, now) => (rows.pop().expect("the environment exists"), now),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn lock(&self, name: &str) -> Lock {
        self.lock_row(name).0.lock
    }

    /// Sessions that hold the lock, in the order of their grants.
    pub(crate) fn holders(&self, name: &str) -> Vec<String> {
        let (row, now) = self.lock_row(name);
        row.lock.seen_at(now).holders.iter().map(|holder| holder.session.to_string()).collect()
    }

    pub(crate) fn tickets(&self, name: &str) -> Vec<Ticket> {
        match self.select(Query::Tickets(state(name))) {
            Rows::Tickets(tickets, _) => tickets,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn versions(&self, query: Query) -> Vec<VersionMeta> {
        match self.select(query) {
            Rows::Versions(versions) => versions.into_iter().map(|(_, version)| version).collect(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn current(&self, name: &str) -> Option<VersionMeta> {
        self.versions(Query::Version(state(name), None)).pop()
    }

    pub(crate) fn drafts(&self, name: &str) -> Vec<DraftMeta> {
        match self.select(Query::Drafts(state(name), None)) {
            Rows::Drafts(drafts) => drafts,
            other => panic!("{other:?}"),
        }
    }

    /// A write on top of what is current.
    pub(crate) fn next_write(&self, name: &str, session: &str, token: Token, content: Content) -> Write {
        writes(session, token, Expect::of(self.current(name).as_ref()), content)
    }

    pub(crate) fn write(&self, name: &str, session: &str, token: Token, content: Content) -> VersionMeta {
        self.wrote(write(name, self.next_write(name, session, token, content)))
    }

    pub(crate) fn delete(&self, name: &str, session: &str, token: Token) -> VersionMeta {
        let mut write = self.next_write(name, session, token, crate::commands::document(b""));
        (write.content, write.origin) = (None, Origin::Delete);
        self.wrote(content_command(name, write))
    }

    pub(crate) fn wrote(&self, command: Command) -> VersionMeta {
        match self.submit(command) {
            Ok(Reply::Wrote { version, .. }) => *version,
            other => panic!("not written: {other:?}"),
        }
    }
}

fn content_command(name: &str, write: Write) -> Command {
    content(name, ContentAct::Write(write))
}
