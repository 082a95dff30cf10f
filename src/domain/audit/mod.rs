//! What was done, by whom: the rows that follow from commands and what came of them (design 6).
//!
//! A row is due for every act that changed something for somebody, for reads of opened secrets, and for refusals of permission and of writes.
//! Contention, redacted reads, renewals and what the store does by itself are counted elsewhere, or are events; a request that was answered
//! before adds nothing. A row holds no content, no secret and no name of a key inside a document.

mod due;

use serde::{Deserialize, Serialize, Serializer};

pub(super) use due::due;

use super::access::Verb;
use super::decide::Work;
use super::decision::{Change, Reply};
use super::ids::{DraftId, Token, Version};
use super::names::{Labels, Principal, Session};
use super::time::WallTime;

/// Acts on the audit.
#[derive(Clone, Debug)]
pub enum AuditAct {
    /// Opened secrets are about to be read: the row comes first. On a full disk it has a reserve of its own.
    Read(Box<Entry>),
    /// Rows about what has no other effect: refusals.
    Record(Vec<Entry>),
    /// The chain was sealed up to an entry. No row says so.
    Checkpoint(Checkpoint),
}

/// A signed statement of how the chain stands, as text: the rules do not look into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last entry that it covers; 0: it comes before all.
    pub n: u64,
    /// One line of JSON, as it is exported.
    pub text: String,
}

macro_rules! deeds {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// What was done, in a word that stays.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
        pub enum Deed { $($(#[$doc])* #[serde(rename = $text)] $variant,)* }

        impl Deed {
            /// All of them, as the documentation lists them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

deeds! {
    EnvironmentCreate = "environment.create",
    EnvironmentSet = "environment.set",
    EnvironmentFreeze = "environment.freeze",
    EnvironmentUnfreeze = "environment.unfreeze",
    EnvironmentDelete = "environment.delete",
    KeysRewrap = "keys.rewrap",
    KeysReencrypt = "keys.reencrypt",
    /// A rewrap or reencrypt ended: nothing is left under the old keys.
    KeysFinish = "keys.finish",
    KeysMaster = "keys.master",
    KeysRules = "keys.rules",
    KeysDestroy = "keys.destroy",
    KeysVerify = "keys.verify",
    /// Somebody came to hold a lock: at once, or out of the queue.
    LeaseAcquire = "lease.acquire",
    LeaseReacquire = "lease.reacquire",
    LeaseRelease = "lease.release",
    LeaseAbandon = "lease.abandon",
    /// A grant was taken back, since nobody could be told of it.
    LeaseTakeBack = "lease.takeback",
    LeaseBreak = "lease.break",
    LockFreeze = "lock.freeze",
    LockUnfreeze = "lock.unfreeze",
    StateWrite = "state.write",
    StateRollback = "state.rollback",
    StatePromote = "state.promote",
    StateDelete = "state.delete",
    StatePurge = "state.purge",
    DraftDiscard = "draft.discard",
    TokenCreate = "token.create",
    TokenRevoke = "token.revoke",
    AccessGrant = "access.grant",
    AccessRevoke = "access.revoke",
    /// Opened secrets were read.
    Read = "read",
    /// Two documents were compared, secrets included.
    Diff = "diff",
    /// Something was asked for without the right to it.
    Denied = "denied",
    /// Something was asked for by nobody who is known.
    Unauthenticated = "unauthenticated",
    /// The server let go of its keys, or fetched them.
    ServerLock = "server.lock",
    ServerUnlock = "server.unlock",
    /// The database was put back to an earlier time: another history begins.
    ServerHistory = "server.history",
    /// Checkpoints are signed with another key from here on.
    AuditKey = "audit.key",
}

/// A row, but for its number and time, which the store gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// None: nobody who is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<Principal>,
    /// The right that it took.
    #[serde(serialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub verb: Option<Verb>,
    /// What.
    pub act: Deed,
    /// `ENV/PATH`, `ENV`, or `/` for the store as a whole.
    pub on: String,
    /// `done`, or `refused: CODE`.
    pub outcome: String,
    /// The version that was written, read or purged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// The draft that was kept, promoted, read or discarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draft: Option<DraftId>,
    /// The lease that it was done under, or done to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
    /// The same; as text, since it is beyond what JSON numbers hold everywhere.
    #[serde(serialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// What the verb and the act do not say, in words of ours or names of theirs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Why, in the words of who did it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How many, where one row stands for several.
    #[serde(skip_serializing_if = "is_one")]
    pub count: u64,
    /// Run URL and commit, as the holder of the lease says.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// What the credentials of the caller say of its work: others vouch for that.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub vouched: Labels,
    /// The address it was asked from; none: the server itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

impl Entry {
    /// Somebody did something; no more is known.
    #[must_use]
    pub fn new(act: Deed, on: impl Into<String>) -> Self {
        Self {
            who: None,
            verb: None,
            act,
            on: on.into(),
            outcome: "done".to_owned(),
            version: None,
            draft: None,
            session: None,
            token: None,
            detail: String::new(),
            reason: String::new(),
            count: 1,
            labels: Labels::default(),
            vouched: Labels::default(),
            from: None,
        }
    }

    /// The row as it is stored, hashed and exported: one line of JSON, these very bytes.
    #[must_use]
    pub fn line(&self, n: u64, at: WallTime) -> String {
        #[derive(Serialize)]
        struct Row<'a> {
            n: u64,
            at: WallTime,
            #[serde(flatten)]
            entry: &'a Entry,
        }
        serde_json::to_string(&Row { n, at, entry: self }).expect("its keys are strings, and nothing in it fails to serialise")
    }
}

/// Decides an act on the audit.
pub(super) fn decide(work: &mut Work<'_>, act: &AuditAct) -> Reply {
    match act {
        AuditAct::Read(entry) => work.changes.push(Change::Record(entry.clone())),
        AuditAct::Record(entries) => {
            work.changes.extend(entries.iter().cloned().map(|entry| Change::Record(Box::new(entry))));
        }
        AuditAct::Checkpoint(checkpoint) => work.changes.push(Change::PutCheckpoint(checkpoint.clone())),
    }
    Reply::Settled
}

fn word<S: Serializer>(verb: &Option<Verb>, serializer: S) -> Result<S::Ok, S::Error> {
    verb.map(Verb::as_str).serialize(serializer)
}

fn text<S: Serializer>(token: &Option<Token>, serializer: S) -> Result<S::Ok, S::Error> {
    token.map(|token| token.to_string()).serialize(serializer)
}

fn is_one(count: &u64) -> bool {
    *count == 1
}

#[cfg(test)]
mod tests;
