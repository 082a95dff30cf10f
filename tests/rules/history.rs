//! What was seen of a run: calls, answers, events and reads, in the harness's own words. Nothing here carries a wall-clock time.

/// An index into [`crate::script::ACTORS`].
pub(crate) type Actor = usize;
/// An index into [`crate::script::LOCKS`].
pub(crate) type Lock = usize;
/// Store time in microseconds, by the harness's own reckoning.
pub(crate) type At = u64;
/// A fencing token.
pub(crate) type Token = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Exclusive,
    Shared,
}

/// What was asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Call {
    Acquire {
        actor: Actor,
        lock: Lock,
        ask: Ask,
    },
    Refresh {
        actor: Actor,
        lock: Lock,
    },
    Cancel {
        actor: Actor,
        lock: Lock,
        ticket: Option<u64>,
    },
    Renew {
        actor: Actor,
        lock: Lock,
        token: Token,
        ttl: Option<At>,
    },
    Release {
        actor: Actor,
        lock: Lock,
        token: Token,
        abandoned: bool,
    },
    Reacquire {
        actor: Actor,
        lock: Lock,
        old: Token,
    },
    Break {
        actor: Actor,
        lock: Lock,
        token: Option<Token>,
        now: bool,
        take: Option<Ask>,
    },
    /// A break of all by a client that names nobody.
    Force {
        actor: Actor,
        lock: Lock,
    },
    TakeBack {
        actor: Actor,
        lock: Lock,
        token: Token,
        asked: u32,
    },
    Freeze {
        lock: Lock,
    },
    Unfreeze {
        lock: Lock,
    },
    Write {
        actor: Actor,
        lock: Lock,
        write: Write,
    },
    Discard {
        lock: Lock,
        draft: u128,
    },
    Purge {
        lock: Lock,
        version: Option<u64>,
    },
    CreateEnvironment {
        env: usize,
    },
    DeleteEnvironment {
        env: usize,
    },
    FreezeEnvironment {
        env: usize,
    },
    UnfreezeEnvironment {
        env: usize,
    },
    SetDelay {
        env: usize,
        delay: At,
    },
    SetDraftLife {
        env: usize,
        life: At,
    },
    /// What a plan takes, and whether a write may pass without a lease.
    SetDoor {
        env: usize,
        plans: Plans,
        passing: bool,
    },
    ReadNewest {
        lock: Lock,
    },
    ReadVersion {
        lock: Lock,
        version: u64,
    },
    ReadHistory {
        lock: Lock,
    },
    ReadDrafts {
        lock: Lock,
    },
    Tick,
    Restart,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ask {
    pub(crate) mode: Mode,
    pub(crate) ttl: Option<At>,
    pub(crate) wait: bool,
    pub(crate) polls: bool,
    pub(crate) unattended: bool,
    /// The mode is the policy's.
    pub(crate) plan: bool,
    /// The session names one lease.
    pub(crate) once: bool,
}

/// What a plan takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Plans {
    #[default]
    Shared,
    Snapshot,
    Exclusive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Write,
    Rollback,
    Promote(u128),
    Delete,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Write {
    pub(crate) token: Token,
    /// There is no lease: the token is the one that comes next.
    pub(crate) passing: bool,
    pub(crate) expect: (u64, Option<u128>),
    pub(crate) origin: Origin,
    pub(crate) rewrite: bool,
    /// Names the bytes; none with a deletion.
    pub(crate) bytes: Option<u64>,
    /// Lineage and serial.
    pub(crate) terraform: Option<(u64, u64)>,
    /// The draft's id, if it is kept.
    pub(crate) draft: u128,
    pub(crate) etag: u128,
}

/// The id and the digest of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) principal: &'static str,
    pub(crate) id: u128,
    pub(crate) digest: u64,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    Held {
        token: Token,
        ttl: At,
        remaining: Option<At>,
        claimed: bool,
        /// How often it was asked for since its grant.
        asked: u32,
    },
    Queued {
        ticket: u64,
        place: u32,
    },
    Cancelled(bool),
    Renewed {
        token: Token,
        ttl: At,
        remaining: Option<At>,
    },
    Released {
        was_live: bool,
    },
    Broken {
        tokens: Vec<Token>,
        then: Option<Box<Reply>>,
    },
    Wrote {
        version: Version,
        replayed: bool,
    },
    Purged(u64),
    /// Anything else that was done.
    Done(&'static str),
    Refused {
        code: &'static str,
        draft: Option<u128>,
    },
    Versions(Vec<Version>),
    Drafts(Vec<Draft>),
    Nothing,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Version {
    pub(crate) version: u64,
    pub(crate) etag: u128,
    pub(crate) previous: Option<u128>,
    pub(crate) token: Token,
    pub(crate) actor: Actor,
    pub(crate) deleted: bool,
    pub(crate) digest: Option<u64>,
    pub(crate) terraform: Option<(u64, u64)>,
    /// Whether it has bytes; and with reads, whether they are those that the digest names.
    pub(crate) bytes: Option<bool>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Draft {
    pub(crate) id: u128,
    pub(crate) digest: u64,
    /// Whether its bytes are those that the digest names.
    pub(crate) intact: bool,
}

/// An event, as a watcher gets it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) env: usize,
    pub(crate) lock: Option<Lock>,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    Granted { token: Token, ticket: Option<u64>, mode: Mode, actor: Actor },
    Ended { token: Token, how: How },
    Queued { ticket: u64, mode: Mode, actor: Actor, first: bool },
    Gone { ticket: u64 },
    Version { version: u64, etag: u128, token: Token, deleted: bool },
    Draft(u128),
    Discarded(u128),
    Purged(Option<u64>),
    Frozen,
    Unfrozen,
    Environment(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Expired,
    Unclaimed,
    Released,
    Broken,
}

/// A lock as a reader saw it just after a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    pub(crate) lock: Lock,
    pub(crate) last_token: Token,
    /// Those not past their deadline.
    pub(crate) holders: Vec<(Token, Actor, Mode, Option<At>)>,
    /// Those not past their deadline, in the order of service.
    pub(crate) tickets: Vec<(u64, Actor)>,
    /// The current version, if it was looked at.
    pub(crate) newest: Option<Option<Version>>,
}

/// One call and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// Store time of its commit.
    pub(crate) at: At,
    /// The store time that the engine said right after, where it was asked.
    pub(crate) said: Option<At>,
    pub(crate) call: Call,
    pub(crate) request: Option<Request>,
    pub(crate) reply: Reply,
    pub(crate) events: Vec<Seen>,
    /// Of the lock that the call was about; after a restart of all.
    pub(crate) views: Vec<View>,
    /// After a restart: every version, and whether the events before it are as they were.
    pub(crate) kept: Option<Kept>,
}

/// What a restart found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    pub(crate) versions: Vec<(Lock, Vec<Version>)>,
    pub(crate) drafts: Vec<(Lock, Vec<Draft>)>,
    pub(crate) events_lost: bool,
}

/// What a run gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct History(pub(crate) Vec<Record>);

impl Call {
    /// The lock it is about.
    pub(crate) fn lock(&self) -> Option<Lock> {
        match self {
            Self::Acquire { lock, .. }
            | Self::Refresh { lock, .. }
            | Self::Cancel { lock, .. }
            | Self::Renew { lock, .. }
            | Self::Release { lock, .. }
            | Self::Reacquire { lock, .. }
            | Self::Break { lock, .. }
            | Self::Force { lock, .. }
            | Self::TakeBack { lock, .. }
            | Self::Freeze { lock }
            | Self::Unfreeze { lock }
            | Self::Write { lock, .. }
            | Self::Discard { lock, .. }
            | Self::Purge { lock, .. }
            | Self::ReadNewest { lock }
            | Self::ReadVersion { lock, .. }
            | Self::ReadHistory { lock }
            | Self::ReadDrafts { lock } => Some(*lock),
            _ => None,
        }
    }

    /// Whether it is a write that takes the lock and gives it back.
    pub(crate) fn passes(&self) -> bool {
        matches!(self, Self::Write { write, .. } if write.passing)
    }

    /// Whether it only reads.
    pub(crate) fn reads(&self) -> bool {
        matches!(self, Self::ReadNewest { .. } | Self::ReadVersion { .. } | Self::ReadHistory { .. } | Self::ReadDrafts { .. })
    }

    /// Whether engines settle the lock with it.
    pub(crate) fn settles(&self, lock: Lock) -> bool {
        !self.reads() && self.lock() == Some(lock)
    }
}

impl Reply {
    pub(crate) fn refused(&self) -> Option<&'static str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}
