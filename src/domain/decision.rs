//! What a decision sees, and what it asks the store to change.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

use super::access::{Subject, TokenName, TokenRecord};
use super::command::{Ahead, Resealed};
use super::document::{Content, DraftMeta, VersionMeta};
use super::environment::Environment;
use super::event::Event;
use super::ids::{BodyId, DataKeyId, DraftId, GrantId, KeyedDigest, TicketId, Token, Version};
use super::lock::{Holder, Lock, Ticket};
use super::refusal::{HeldBy, Refusal};
use super::sealing::{DataKeyRecord, Ground, Keyring};
use super::time::WallTime;
use std::time::Duration;

/// The bounded part of the store that a command [needs](super::command::Needs).
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The command's environment.
    pub environment: Option<Environment>,
    /// The earlier effect of the command's request id.
    pub effect: Option<Effect>,
    /// The lock; a fresh one if there was none.
    pub lock: Lock,
    /// The first tickets of the queue, at most [`HEAD_RUN`], in the order of service.
    pub head: VecDeque<Ticket>,
    /// How many live tickets there are in all.
    pub waiting: u32,
    /// The ticket of the command's session, and how many live ones are before it.
    pub own: Option<(Ticket, u32)>,
    /// The ticket the command names.
    pub ticket: Option<Ticket>,
    /// The current version.
    pub current: Option<VersionMeta>,
    /// The version the command names.
    pub version: Option<VersionMeta>,
    /// The draft the command names.
    pub draft: Option<DraftMeta>,
    /// A draft with the command's content, by the same lease.
    pub twin: Option<DraftMeta>,
    /// How full the drafts of the state are.
    pub drafts: DraftUsage,
    /// States and live leases of the environment.
    pub usage: (u64, u64),
    /// Versions that have bytes and are not current.
    pub purgeable: u64,
    /// The keyring of the environment.
    pub keyring: Option<Keyring>,
    /// What the states that the command names are sealed on; none: they are not there yet.
    pub grounds: Vec<Option<Ground>>,
    /// The bodies of the documents that the command names; none: they are gone.
    pub bodies: Vec<Option<BodyId>>,
    /// How many data keys are where in their life.
    pub left: Left,
    /// How much is under the data keys that the command names; none: there is no such key.
    pub under: Vec<Option<Under>>,
    /// The token that the command names.
    pub token: Option<TokenRecord>,
    /// A token was exchanged for the credential that the command names.
    pub exchanged: bool,
    /// The grant that the command names.
    pub grant: Option<super::access::Grant>,
}

/// How many data keys of an environment are where in their life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// All that are not destroyed.
    pub keys: u64,
    /// Those that are not wrapped to the active identity.
    pub old_identity: u64,
    /// Those of an earlier epoch that are not retired.
    pub old_epoch: u64,
    /// Those that are retired.
    pub retired: u64,
}

/// What is under a data key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Under {
    /// The epoch of the key.
    pub epoch: u32,
    /// Versions and drafts.
    pub documents: u64,
    /// Uploads that nothing refers to yet.
    pub staged: u64,
    /// Sealed values; those beyond [`COLLECTED`] may not be counted.
    pub values: u64,
}

/// How many sealed values are dropped in one command.
pub const COLLECTED: u64 = 50;

/// How many data keys are destroyed in one command.
pub const DESTROYED: u64 = 500;

/// How many tickets a snapshot holds at most.
pub const HEAD_RUN: usize = 32;

/// How full the drafts of a state are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DraftUsage {
    /// How many.
    pub count: u32,
    /// Their stored bytes.
    pub bytes: u64,
    /// The oldest that are not the last of their lease, with their stored bytes: the first to go when the quota is full.
    pub superseded: Vec<(DraftId, u64)>,
}

/// The effect of a request, remembered by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Of the request.
    pub digest: KeyedDigest,
    /// What it was answered.
    pub outcome: Result<Reply, Refusal>,
}

/// The answer to a command that was not refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each follows from the command")]
pub enum Reply {
    Environment(Environment),
    EnvironmentDeleted {
        states: u64,
    },
    Frozen,
    Unfrozen {
        was: bool,
    },
    Held(Grant),
    /// A plan that needs no lease here: it reads what is current.
    Unneeded,
    Queued(Place),
    Cancelled {
        was_waiting: bool,
    },
    Renewed {
        token: Token,
        ttl: Duration,
        remaining: Option<Duration>,
        waiting: u32,
    },
    Released {
        was_live: bool,
        ended: Option<super::lock::End>,
    },
    TakenBack {
        was: bool,
    },
    Broken {
        broken: Vec<Holder>,
        then: Option<Box<Reply>>,
    },
    Wrote {
        version: Box<VersionMeta>,
        replayed: bool,
    },
    DraftDiscarded,
    Purged {
        versions: u64,
    },
    /// The keyring after a change, without the wrapped keys: replies are remembered, and a destroyed key must be nowhere. And how much was
    /// done, and how much was not, since it has moved.
    Keys {
        keyring: Box<Keyring>,
        done: u64,
        skipped: u64,
    },
    Settled,
    /// As it is now.
    Token(Box<TokenRecord>),
    /// As it is, or was.
    Grant(Box<super::access::Grant>),
}

/// A lease as its holder is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub struct Grant {
    pub principal: super::names::Principal,
    pub token: Token,
    pub ttl: Duration,
    /// None: no deadline.
    pub remaining: Option<Duration>,
    pub claimed: bool,
    pub lock_delay: Duration,
    /// How often the session has asked for it since the grant.
    #[serde(default)]
    pub asked: u32,
}

/// A ticket as its owner is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub struct Place {
    pub ticket: TicketId,
    /// 1 is next.
    pub place: u32,
    pub holders: Vec<HeldBy>,
    pub cooldown: Option<Duration>,
    pub frozen: Option<String>,
}

/// What the rules decided. The engine applies the changes whatever the reply, and commits.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What the caller is told.
    pub reply: Result<Reply, Refusal>,
    /// What the store changes, in order.
    pub changes: Vec<Change>,
    /// More of the queue can be served: settle again in the same transaction.
    pub unsettled: bool,
    /// When the lock of the command has to be settled next, if nothing else happens to it.
    pub due: Option<super::time::StoreTime>,
}

/// One change of the store. Those of a lock, version or draft are about the command's path.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each is what its name says; what is not plain is said")]
pub enum Change {
    PutEnvironment(Environment),
    /// With everything in it.
    DropEnvironment,
    /// Tokens granted from now on have a higher epoch.
    RaiseEpoch,
    /// Every lock of the environment is settled soon.
    SettleAll,
    PutLock(Lock),
    PutTicket(Ticket),
    DropTicket(TicketId),
    /// Makes it the current version, and its content (staged or inline) its own.
    PutVersion(VersionMeta, Option<Content>),
    /// One version, or all with bytes but the current one; of a deleted state all.
    PurgeVersions(Option<Version>),
    PutDraft(DraftMeta, Content),
    PutKeyring(Box<Keyring>),
    /// Stores wraps of data keys that are there already.
    PutDataKeys(Vec<DataKeyRecord>),
    /// Another body in the place of the one of a version or draft.
    PutBody(Box<Resealed>),
    /// Sealed values that no document has yet, with their key if that is new.
    PutValues(Box<Ahead>),
    /// Sealed values under a data key that no document has: at most this many.
    DropValues {
        key: DataKeyId,
        most: u64,
    },
    /// Uploads under a data key that nothing refers to.
    DropStaged(DataKeyId),
    RetireDataKey(DataKeyId),
    /// The first retired data keys by id go.
    DropDataKeys {
        most: u64,
    },
    DropDraft(DraftId),
    PutToken(Box<TokenRecord>),
    PutGrant(Box<super::access::Grant>),
    DropGrant(GrantId),
    DropGrantsTo(Subject),
    TokensUsed(Vec<(TokenName, WallTime)>),
    /// Those that were exchanged for another credential and expired before this time.
    ForgetTokens(WallTime),
    Event(Event),
    /// A row of the audit. Its number and time are given by the store.
    Record(Box<super::audit::Entry>),
    PutCheckpoint(super::audit::Checkpoint),
    /// Remembers the reply under the command's request id.
    Remember,
}

impl Snapshot {
    /// The frozen reason that holds for the lock, its environment's first.
    #[must_use]
    pub fn frozen(&self) -> Option<String> {
        let environment = self.environment.as_ref().and_then(|environment| environment.frozen.as_ref());
        environment.or(self.lock.frozen.as_ref()).map(ToString::to_string)
    }
}
