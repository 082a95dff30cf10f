//! What a caller asks for, and what the rules need to see to decide it.

use std::time::Duration;

use super::document::{Content, Expect, Origin};
use super::ids::{DraftId, EnvironmentId, Etag, KeyedDigest, RequestId, StateId, TicketId, Token, Version};
use super::lock::Mode;
use super::names::{EnvironmentName, InnerLock, Labels, Principal, Reason, Session, StateName, StatePath};
use super::settings::SettingsChange;

/// A request to change something. Whatever is random in its effect is drawn before and carried here.
#[derive(Clone, Debug)]
pub struct Command {
    /// Who asks.
    pub principal: Principal,
    /// For effects that are remembered: the client's id, and the keyed digest of the whole request.
    pub request: Option<(RequestId, KeyedDigest)>,
    /// What about.
    pub act: Act,
}

/// The acts, by what they are about.
#[derive(Clone, Debug)]
pub enum Act {
    /// An environment.
    Environment(EnvironmentName, EnvironmentAct),
    /// A lock.
    Lock(StateName, LockAct),
    /// The content of a state.
    Content(StateName, Box<ContentAct>),
}

/// Acts on an environment.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub enum EnvironmentAct {
    Create {
        id: EnvironmentId,
        settings: SettingsChange,
        /// The environment's secret, wrapped: opaque to the rules.
        wrapped_secret: Vec<u8>,
    },
    Set(SettingsChange),
    Freeze(Reason),
    Unfreeze,
    Delete {
        force: bool,
    },
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
    /// None: the environment's default.
    pub ttl: Option<Duration>,
    /// Whether to queue.
    pub wait: bool,
    pub labels: Labels,
    pub unattended: bool,
    pub polls: bool,
}

/// What a break asks for.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub struct Break {
    /// The holder to end; none: all.
    pub token: Option<Token>,
    pub reason: Reason,
    pub now: bool,
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
    pub expect: Expect,
    /// The caller named no expectation: `expect` is what was current a moment ago. A conflict then is no reason to keep a draft, but
    /// to look again.
    pub guessed: bool,
    /// None with a deletion only.
    pub content: Option<Content>,
    pub origin: Origin,
    /// Also with a lower serial or another lineage.
    pub rewrite: bool,
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
}

/// A lease as drafts name it: its principal, its session and the token shown.
pub type LeaseKey = (Principal, Session, Token);

impl Command {
    /// The environment it is about.
    #[must_use]
    pub fn environment(&self) -> &EnvironmentName {
        match &self.act {
            Act::Environment(name, _) => name,
            Act::Lock(state, _) | Act::Content(state, _) => &state.environment,
        }
    }

    /// The state it is about.
    #[must_use]
    pub fn path(&self) -> Option<&StatePath> {
        match &self.act {
            Act::Environment(..) => None,
            Act::Lock(state, _) | Act::Content(state, _) => Some(&state.path),
        }
    }

    /// What the engine loads for it.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let needs = Needs { path: self.path().cloned(), ..Needs::default() };
        let own = |session: &Session| Some((self.principal.clone(), session.clone()));
        match &self.act {
            Act::Environment(_, act) => Needs { usage: matches!(act, EnvironmentAct::Delete { .. }), ..needs },
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
