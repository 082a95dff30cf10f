//! The storage seam: one narrow trait, no driver type or closure across it.
//!
//! The heart is [`Store::submit`]: the engine opens its transaction, loads the bounded [snapshot](crate::domain::decision::Snapshot) that
//! the command names, takes `now` from its store clock, asks the rules, applies what they return and commits. "The rules said
//! no" is a [`Refusal`] inside the answer; "the engine failed" is a [`StoreError`].

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::domain::command::Command;
use crate::domain::decision::Reply;
use crate::domain::document::{DraftMeta, VersionMeta};
use crate::domain::environment::Environment;
use crate::domain::event::Recorded;
use crate::domain::ids::{BodyId, DraftId, HistoryId, Revision, Version};
pub use crate::domain::lock::LockRow;
use crate::domain::lock::Ticket;
use crate::domain::names::{EnvironmentName, Prefix, StateName};
use crate::domain::refusal::Refusal;
use crate::domain::settings::Limits;
use crate::domain::time::StoreTime;

pub mod clock;
mod due;
pub mod memory;
pub mod sqlite;
mod transact;

/// A document travels and is stored in pieces of at most this many bytes.
pub const CHUNK: usize = 256 * 1024;

/// An answer that comes later.
pub type Later<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Where environments, locks, versions, drafts and events are kept.
pub trait Store: Send + Sync + 'static {
    /// Decides a command and commits what follows from it. The answer comes after the commit.
    fn submit(&self, command: Command) -> Later<'_, Result<Reply, Refusal>>;

    /// Reads metadata: everything committed before the call, or later.
    fn select(&self, query: Query) -> Later<'_, Rows>;

    /// Keeps piece `n` of a body that a later command will refer to. Unreferenced bodies are swept after a while.
    fn stage(&self, body: BodyId, n: u32, bytes: Vec<u8>) -> Later<'_, ()>;

    /// Piece `n` of a body; none past its end, or if it is gone.
    fn chunk(&self, body: BodyId, n: u32) -> Later<'_, Option<Vec<u8>>>;

    /// Up to `limit` events after a revision, in commit order.
    fn events(&self, after: Revision, limit: usize) -> Later<'_, Vec<Recorded>>;

    /// Where the history stands; changes with every commit that has events.
    fn head(&self) -> watch::Receiver<Head>;

    /// The bounds that the rules are asked with.
    fn limits(&self) -> &Limits;

    /// Finishes what is queued and leaves the store clean. Later calls are refused.
    fn close(&self) -> Later<'_, ()>;
}

/// Where a history of events stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Which history; a restore begins another.
    pub history: HistoryId,
    /// The last revision.
    pub revision: Revision,
    /// The last revision whose event is gone: cursors below it are too old.
    pub trimmed: Revision,
    /// The store gave up: it must be opened anew.
    pub failed: bool,
}

/// What metadata to read.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub enum Query {
    /// One, or all by name.
    Environments(Option<EnvironmentName>),
    /// One lock, whether anything happens on it or not.
    Lock(StateName),
    /// Locks on which something happens (or `all`), by name, after a name.
    Locks { prefix: Prefix, all: bool, after: Option<StateName>, limit: usize },
    /// A queue in the order of service.
    Tickets(StateName),
    /// Current versions by name, after a name.
    States { prefix: Prefix, deleted: bool, after: Option<StateName>, limit: usize },
    /// One version; none: the current one.
    Version(StateName, Option<Version>),
    /// Versions from the newest down, below `before` if it is given.
    History { state: StateName, before: Option<Version>, limit: usize },
    /// Drafts from the newest down; one, or all.
    Drafts(StateName, Option<DraftId>),
}

/// The answer to a [`Query`]; empty where there is nothing.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each answers the query of its name")]
pub enum Rows {
    /// With the number of states in each.
    Environments(Vec<(Environment, u64)>),
    /// As stored, with the store time to look at them.
    Locks(Vec<LockRow>, StoreTime),
    Tickets(Vec<Ticket>, StoreTime),
    Versions(Vec<(EnvironmentName, VersionMeta)>),
    Drafts(Vec<DraftMeta>),
}

/// The engine failed; the rules were not asked, or what they decided is not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No room to write: nothing was changed, and reading goes on.
    #[error("the disk under the data folder is full")]
    Full,
    /// The commit may or may not have happened.
    #[error("the outcome of the commit is unknown")]
    Unknown,
    /// Closed, or given up after an unclear commit.
    #[error("the store has stopped")]
    Stopped,
    /// Any other failure of the engine: nothing was changed. The text is for the log, never for callers.
    #[error("the store failed: {0}")]
    Engine(String),
}
