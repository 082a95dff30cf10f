//! The storage seam: one narrow trait, no driver type or closure across it.
//!
//! The heart is [`Store::submit`]: the engine opens its transaction, loads the bounded [snapshot](crate::domain::decision::Snapshot) that
//! the command names, takes `now` from its store clock, asks the rules, applies what they return and commits. "The rules said
//! no" is a [`Refusal`] inside the answer; "the engine failed" is a [`StoreError`].

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::domain::access::{Grant, TokenRecord};
use crate::domain::audit::Checkpoint;
use crate::domain::command::Command;
use crate::domain::decision::{Left, Reply};
use crate::domain::document::{DraftMeta, VersionMeta};
use crate::domain::environment::Environment;
use crate::domain::event::Recorded;
use crate::domain::ids::{BodyId, DataKeyId, DraftId, HistoryId, Revision, StateId, Version};
pub use crate::domain::lock::LockRow;
use crate::domain::lock::Ticket;
use crate::domain::names::{EnvironmentName, Prefix, StateName, StatePath};
use crate::domain::refusal::Refusal;
use crate::domain::sealing::{DataKeyRecord, Ground, Keyring, StoredValue};
use crate::domain::settings::Limits;
use crate::domain::time::StoreTime;

pub mod clock;
mod due;
pub mod folder;
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

    /// Keeps piece `n` of a body, sealed under this data key, that a later command will refer to. Unreferenced bodies are swept after a while.
    fn stage(&self, body: BodyId, key: DataKeyId, n: u32, bytes: Vec<u8>) -> Later<'_, ()>;

    /// Piece `n` of a body; none past its end, or if it is gone.
    fn chunk(&self, body: BodyId, n: u32) -> Later<'_, Option<Vec<u8>>>;

    /// Up to `limit` events after a revision, in commit order.
    fn events(&self, after: Revision, limit: usize) -> Later<'_, Vec<Recorded>>;

    /// Where the history stands; changes with every commit that has events.
    fn head(&self) -> watch::Receiver<Head>;

    /// The bounds that the rules are asked with.
    fn limits(&self) -> &Limits;

    /// Makes what was deleted unreadable, and looks for what is left of it: true if nothing of these bytes is kept any more, neither as they
    /// are nor as text. Looks at everything that is kept.
    fn erase(&self, needles: Vec<Vec<u8>>) -> Later<'_, bool>;

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
    /// The last entry of the audit.
    pub audit: u64,
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
    /// How many leases and tickets there are. Looks at every lock.
    Holdings,
    /// Current versions by name, after a name.
    States { prefix: Prefix, deleted: bool, after: Option<StateName>, limit: usize },
    /// One version; none: the current one.
    Version(StateName, Option<Version>),
    /// Versions from the newest down, below `before` if it is given.
    History { state: StateName, before: Option<Version>, limit: usize },
    /// Drafts from the newest down; one, or all.
    Drafts(StateName, Option<DraftId>),
    /// The keyring of an environment.
    Keyring(EnvironmentName),
    /// The current version of a state, and what its next one is sealed on. Where there is none, that is what its drafts are sealed on.
    Top(StateName),
    /// What a state is sealed on, with its data key.
    Ground(StateId),
    /// One data key.
    DataKey(DataKeyId),
    /// Data keys of an environment by id, after an id.
    DataKeys { environment: EnvironmentName, which: WhichKeys, after: Option<DataKeyId>, limit: usize },
    /// The ordinals of sealed values, by their tags.
    Tags { key: DataKeyId, tags: Vec<[u8; 24]> },
    /// Sealed values by their ordinals.
    Values { key: DataKeyId, ordinals: Vec<u32> },
    /// Versions and drafts with bytes, by path: of the first paths after `after` that have any, at least one path's and then up to `limit`.
    Documents { environment: EnvironmentName, which: WhichDocuments, after: Option<StatePath>, limit: usize },
    /// How many documents and data keys an environment has.
    Census(EnvironmentName),
    /// All grants and tokens.
    Access,
    /// Rows of the audit after an entry, in order.
    Audit { after: u64, limit: usize },
    /// The last checkpoint at or before an entry; none: the last of all.
    Checkpoint(Option<u64>),
    /// Checkpoints after an entry, in order.
    Checkpoints { after: u64, limit: usize },
}

/// Which data keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichKeys {
    /// All that are not destroyed.
    All,
    /// Those that are not wrapped to this version of the identity.
    NotUnder(u32),
    /// Those of an earlier epoch than this that are not retired.
    Before(u32),
}

/// Which documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichDocuments {
    /// All.
    All,
    /// Those under data keys of an earlier epoch than this.
    Before(u32),
    /// Those whose secrets were found by other rules than these.
    OtherRules(u32, u64),
}

/// A version or a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words are those of the design")]
pub enum Document {
    Version(VersionMeta),
    Draft(DraftMeta),
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
    /// As stored at this revision: what is past its deadline counts until that is an event.
    Holdings {
        leases: u64,
        tickets: u64,
        revision: Revision,
    },
    Versions(Vec<(EnvironmentName, VersionMeta)>),
    Drafts(Vec<DraftMeta>),
    Keyrings(Vec<(Environment, Keyring)>),
    Top(Option<Box<VersionMeta>>, Option<(Ground, DataKeyRecord)>),
    Grounds(Vec<(Ground, DataKeyRecord)>),
    DataKeys(Vec<DataKeyRecord>),
    /// In the order asked; none: there is none.
    Ordinals(Vec<Option<u32>>),
    /// In the order asked; none: there is none.
    Values(Vec<Option<StoredValue>>),
    Documents(Vec<(StatePath, Document)>),
    Access(Vec<Grant>, Vec<TokenRecord>),
    /// Each with its number.
    Audit(Vec<(u64, String)>),
    Checkpoints(Vec<Checkpoint>),
    Census {
        left: Left,
        documents: u64,
        values: u64,
    },
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
