//! What a caller asks for, and what the rules need to see to decide it.

use core::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::access::{AccessAct, TokenName};
use super::audit::AuditAct;
use super::document::{Content, Expect, Origin};
use super::ids::{
    BodyId, DataKeyId, DraftId, EnvironmentId, Etag, GrantId, KeyedDigest, RequestId, StateId, TicketId, Token, TokenHash,
    Version,
};
use super::lock::Mode;
use super::names::{EnvironmentName, InnerLock, Labels, Principal, Reason, Session, StateName, StatePath};
use super::sealing::{DataKeyRecord, Ground, IdentityRecord, Keyring, NewValue, Target, UnderMaster, Verified};
use super::settings::SettingsChange;

/// A request to change something. Whatever is random in its effect is drawn before and carried here.
#[derive(Clone, Debug)]
pub struct Command {
    /// Who asks.
    pub principal: Principal,
    /// From where, and on whose behalf: for the audit.
    pub trace: Arc<Trace>,
    /// For effects that are remembered: the client's id, and the keyed digest of the whole request.
    pub request: Option<(RequestId, KeyedDigest)>,
    /// What about.
    pub act: Act,
}

/// Where a command comes from. Nothing is decided by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The address of the peer; none: the server itself.
    pub peer: Option<IpAddr>,
    /// What the caller's credentials say of the work they were made for: run URL, commit.
    pub labels: Labels,
}

/// The acts, by what they are about.
#[derive(Clone, Debug)]
pub enum Act {
    /// The store as a whole.
    Store(Box<StoreAct>),
    /// An environment.
    Environment(EnvironmentName, EnvironmentAct),
    /// A lock.
    Lock(StateName, LockAct),
    /// The content of a state.
    Content(StateName, Box<ContentAct>),
}

/// Acts on the store as a whole.
#[derive(Clone, Debug)]
pub enum StoreAct {
    /// Who may do what.
    Access(AccessAct),
    /// What was done.
    Audit(AuditAct),
}

/// Acts on an environment.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub enum EnvironmentAct {
    Create {
        id: EnvironmentId,
        settings: SettingsChange,
        /// Its first keys.
        keyring: Box<Keyring>,
    },
    Keys(Box<KeyAct>),
    Set(SettingsChange),
    Freeze(Reason),
    Unfreeze,
    Delete {
        force: bool,
    },
}

/// Acts on the keys of an environment, prepared outside: the rules see no key.
#[derive(Clone, Debug)]
pub enum KeyAct {
    /// Puts another identity in front, with these recovery recipients: data keys are to be wrapped to it, and new ones are at once.
    BeginRewrap {
        /// The revision of the keyring that this was made from.
        revision: u64,
        /// The new identity, active.
        identity: IdentityRecord,
        /// The keyring's own keys, wrapped to the same recipients.
        secret: UnderMaster,
        /// The same.
        signer: UnderMaster,
        /// Who else can open everything from now on.
        recovery: Vec<String>,
        /// What vouches for them.
        vouched: [u8; 32],
    },
    /// Asks for new data keys: everything retained is to be sealed again, and new writes are at once.
    BeginReencrypt {
        /// How many documents there were a moment ago, for people.
        total: u64,
        /// The epoch of the new keys: the next one.
        epoch: u32,
        /// The MAC over it.
        vouched: [u8; 32],
    },
    /// Data keys, wrapped to the active identity.
    Rewrapped {
        /// The rotation that they belong to.
        job: RequestId,
        /// As they are to be stored.
        keys: Vec<DataKeyRecord>,
    },
    /// Documents, sealed again.
    Resealed {
        /// The rotation that they belong to; none outside of one, when rules have changed.
        job: Option<RequestId>,
        /// Where it goes on.
        cursor: Option<StatePath>,
        /// The documents.
        documents: Vec<Resealed>,
    },
    /// Sealed values of a document that is about to be sealed again, ahead of it: one transaction takes only so many.
    Ahead(Ahead),
    /// Retires data keys of an earlier epoch that nothing is under any more. Sealed values of theirs are dropped first, a number at a time.
    Retire {
        /// The rotation that they belong to.
        job: RequestId,
        /// The keys.
        keys: Vec<DataKeyId>,
    },
    /// Ends a rotation, if nothing is left under the old keys: they are retired then.
    Finish {
        /// The rotation.
        job: RequestId,
    },
    /// The same keys, wrapped to another master key.
    Master {
        /// The revision of the keyring that this was made from.
        revision: u64,
        /// The keyring's own keys.
        secret: UnderMaster,
        /// The same.
        signer: UnderMaster,
        /// The identities, all that are not destroyed.
        identities: Vec<(u32, UnderMaster)>,
    },
    /// Other rules on what is sealed.
    Rules {
        /// The revision of the rules that this was made from.
        revision: u64,
        /// What they are to be.
        rules: Vec<super::rules::SealRule>,
        /// What vouches for them.
        vouched: [u8; 32],
    },
    /// Drops the wraps of retired keys, a number at a time.
    Destroy,
    /// Everything was opened.
    Verified {
        /// When, and with what result.
        verified: Verified,
        /// The MAC over it.
        vouched: [u8; 32],
    },
}

/// A document sealed again: it takes the place of `old`, if that is still there.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the words are those of the design")]
pub struct Resealed {
    pub path: StatePath,
    pub target: Target,
    pub old: BodyId,
    pub content: Content,
}

/// Sealed values that no document has yet: the one to come finds them by their tags. Should it never come, they go as those of gone documents do.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the words are those of the design")]
pub struct Ahead {
    pub path: StatePath,
    /// What they are sealed on: they are stored on no other. Numbered from its next ordinal.
    pub ground: Ground,
    /// The data key of the ground, if it is new.
    pub new_key: Option<DataKeyRecord>,
    pub values: Vec<NewValue>,
}

/// Acts on a lock.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub enum LockAct {
    Acquire(Acquire),
    /// By ticket, or by session.
    Cancel {
        ticket: Option<TicketId>,
        session: Option<Session>,
    },
    /// A sign of life from the waiter.
    Refresh {
        session: Session,
    },
    Renew {
        session: Session,
        token: Token,
        ttl: Option<Duration>,
    },
    Release {
        session: Session,
        token: Token,
        abandoned: bool,
    },
    /// Takes a grant back that nobody was told of: the answer could not be written. Nothing happens if the session has asked again since.
    TakeBack {
        session: Session,
        token: Token,
        asked: u32,
    },
    Reacquire {
        session: Session,
        old: Token,
    },
    Break(Break),
    Freeze(Reason),
    Unfreeze,
    /// Only settle: the store's own, when a deadline passes.
    Settle,
}

/// What an acquire asks for.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub struct Acquire {
    pub session: Session,
    pub mode: Mode,
    /// It only plans: the environment's policy decides the mode, and whether there is a lease at all.
    pub plan: bool,
    /// None: the environment's default.
    pub ttl: Option<Duration>,
    /// Whether to queue.
    pub wait: bool,
    pub labels: Labels,
    pub unattended: bool,
    pub polls: bool,
    /// The session names one lease: once that has ended, within a minute it gets no other.
    pub once: bool,
}

/// What a break asks for.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub struct Break {
    /// The holder to end; none: all.
    pub token: Option<Token>,
    pub reason: Reason,
    pub now: bool,
    /// From a client that cannot say whom it means, and may send this twice: within half a minute it breaks nobody who was granted after
    /// the first, and it is no error if nobody holds.
    pub forced: bool,
    /// Put the breaker first.
    pub take: Option<Acquire>,
}

/// Acts on the content of a state.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "an act holds it in a box")]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub enum ContentAct {
    Write(Write),
    DiscardDraft(DraftId),
    /// None: all but the current one; of a deleted state all.
    Purge(Option<Version>),
}

/// A write of a lease holder: a plain one, a rollback, a promotion or a deletion.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub struct Write {
    pub session: Session,
    pub token: Token,
    /// There is no lease: the write takes the lock, with the token that comes next, and gives it back.
    pub passing: bool,
    pub expect: Expect,
    /// The caller named no expectation: `expect` is what was current a moment ago. A conflict then is no reason to keep a draft, but
    /// to look again.
    pub guessed: bool,
    /// None with a deletion only.
    pub content: Option<Content>,
    pub origin: Origin,
    /// Also with a lower serial or another lineage.
    pub rewrite: bool,
    /// The document has the mark of a redacted view where a secret stands or stood.
    pub masked: bool,
    pub inner_lock: Option<InnerLock>,
    /// The etag of the version, if it is written.
    pub etag: Etag,
    /// The state's id, if this is its first version.
    pub fresh_state: StateId,
    /// The draft's id, if it is kept.
    pub draft: DraftId,
}

/// What of the store a decision needs to see: a bounded part, whatever the size of queue and history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The path whose lock is loaded, with the head run and length of its queue.
    pub path: Option<StatePath>,
    /// The ticket of this session, wherever it stands.
    pub session: Option<(Principal, Session)>,
    /// This ticket, wherever it stands.
    pub ticket: Option<TicketId>,
    /// The current version.
    pub head: bool,
    /// This version.
    pub version: Option<Version>,
    /// This draft.
    pub draft: Option<DraftId>,
    /// The draft with this content by this lease, and how full the drafts are.
    pub keepable: Option<(LeaseKey, KeyedDigest)>,
    /// How many states and live leases the environment has.
    pub usage: bool,
    /// How many versions can be purged.
    pub purgeable: bool,
    /// The keyring of the environment.
    pub keyring: bool,
    /// What these states are sealed on, in this order.
    pub grounds: Vec<StateId>,
    /// The bodies of these versions and drafts, in this order.
    pub bodies: Vec<(StatePath, Target)>,
    /// How many data keys are where in their life.
    pub left: bool,
    /// How much is under these data keys, in this order.
    pub under: Vec<DataKeyId>,
    /// The token of this name.
    pub token: Option<TokenName>,
    /// Whether a token was exchanged for the credential with this hash.
    pub exchanged: Option<TokenHash>,
    /// This grant.
    pub grant: Option<GrantId>,
}

/// A lease as drafts name it: its principal, its session and the token shown.
pub type LeaseKey = (Principal, Session, Token);

impl Command {
    /// The environment it is about; none: about the store as a whole.
    #[must_use]
    pub fn environment(&self) -> Option<&EnvironmentName> {
        match &self.act {
            Act::Store(_) => None,
            Act::Environment(name, _) => Some(name),
            Act::Lock(state, _) | Act::Content(state, _) => Some(&state.environment),
        }
    }

    /// The environment that it changes something in.
    ///
    /// # Panics
    /// If it is about the store as a whole: no decision on such a command changes anything in an environment.
    pub(crate) fn inside(&self) -> &EnvironmentName {
        self.environment().expect("what changes in an environment follows from a command about it")
    }

    /// The state it is about.
    #[must_use]
    pub fn state(&self) -> Option<&StateName> {
        match &self.act {
            Act::Store(_) | Act::Environment(..) => None,
            Act::Lock(state, _) | Act::Content(state, _) => Some(state),
        }
    }

    /// The state it is about.
    #[must_use]
    pub fn path(&self) -> Option<&StatePath> {
        self.state().map(|state| &state.path)
    }

    /// Whether it is part of work that nobody waits for: an engine may do everything else first.
    #[must_use]
    pub fn is_patient(&self) -> bool {
        let Act::Environment(_, EnvironmentAct::Keys(act)) = &self.act else { return false };
        matches!(**act, KeyAct::Rewrapped { .. } | KeyAct::Resealed { .. } | KeyAct::Ahead(_) | KeyAct::Retire { .. })
    }

    /// What the engine loads for it.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let needs = Needs { path: self.path().cloned(), ..Needs::default() };
        let own = |session: &Session| Some((self.principal.clone(), session.clone()));
        match &self.act {
            Act::Store(act) => match &**act {
                StoreAct::Access(act) => act.needs(),
                StoreAct::Audit(_) => needs,
            },
            Act::Environment(_, act) => match act {
                EnvironmentAct::Delete { .. } => Needs { usage: true, ..needs },
                EnvironmentAct::Keys(act) => act.needs(),
                _ => needs,
            },
            Act::Lock(_, act) => match act {
                LockAct::Acquire(acquire) | LockAct::Break(Break { take: Some(acquire), .. }) => {
                    Needs { session: own(&acquire.session), ..needs }
                }
                LockAct::Cancel { ticket, session } => {
                    Needs { session: session.as_ref().and_then(own), ticket: *ticket, ..needs }
                }
                LockAct::Refresh { session } | LockAct::Reacquire { session, .. } => Needs { session: own(session), ..needs },
                _ => needs,
            },
            Act::Content(_, act) => match &**act {
                ContentAct::Write(write) => Needs {
                    head: true,
                    grounds: write.content.iter().map(|content| content.ground.state).collect(),
                    draft: match write.origin {
                        Origin::Promote(draft) => Some(draft),
                        _ => None,
                    },
                    keepable: match (&write.content, write.origin) {
                        (Some(content), Origin::Write) => {
                            let lease = (self.principal.clone(), write.session.clone(), write.token);
                            Some((lease, content.digest))
                        }
                        _ => None,
                    },
                    ..needs
                },
                ContentAct::DiscardDraft(draft) => Needs { draft: Some(*draft), ..needs },
                ContentAct::Purge(version) => Needs { head: true, version: *version, purgeable: true, ..needs },
            },
        }
    }
}

impl KeyAct {
    fn needs(&self) -> Needs {
        let needs = Needs { keyring: true, ..Needs::default() };
        match self {
            Self::Resealed { documents, .. } => Needs {
                grounds: documents.iter().map(|document| document.content.ground.state).collect(),
                bodies: documents.iter().map(|document| (document.path.clone(), document.target)).collect(),
                ..needs
            },
            Self::Ahead(ahead) => Needs { grounds: vec![ahead.ground.state], ..needs },
            Self::BeginRewrap { .. } | Self::Finish { .. } | Self::Destroy => Needs { left: true, ..needs },
            Self::Retire { keys, .. } => Needs { under: keys.clone(), ..needs },
            _ => needs,
        }
    }
}
