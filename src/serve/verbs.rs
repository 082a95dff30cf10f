//! What every call needs: one entry for each, or the crate does not build. Docs and tests are made from the same table.

use std::fmt;

use crate::backend::Call;
use crate::domain::access::Verb;
use crate::pb::Rpc;

/// What a call needs: any of the verbs, on the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Any of these; which one follows from the request where `depends` says so.
    pub verbs: &'static [Verb],
    /// On what.
    pub on: On,
    /// A lease secret does for its own lease.
    pub lease_secret: bool,
    /// By what of the request the verb is chosen, or what else it needs.
    pub depends: &'static str,
}

/// What a verb is needed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The store, `/`.
    Store,
    /// The environment that the request names.
    Environment,
    /// The state that the request names.
    State,
    /// Anything in the environment, or anywhere: what is answered is only what the caller may see.
    Seen,
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store => "`/`",
            Self::Environment => "the environment",
            Self::State => "the state",
            Self::Seen => "anything; only what the caller may see is answered",
        })
    }
}

const PULLS: &[Verb] = &[Verb::ReadRedacted, Verb::ReadOutputs, Verb::ReadFull, Verb::Write];
const READS: &[Verb] = &[Verb::ReadRedacted, Verb::ReadOutputs, Verb::ReadFull];

const fn on(verbs: &'static [Verb], on: On) -> Demand {
    Demand { verbs, on, lease_secret: false, depends: "" }
}

impl Demand {
    const fn by(self, depends: &'static str) -> Self {
        Self { depends, ..self }
    }

    const fn or_lease_secret(self) -> Self {
        Self { lease_secret: true, ..self }
    }
}

/// What a call of the gRPC door needs.
#[must_use]
pub const fn demand(rpc: Rpc) -> Demand {
    use On::{Environment, Seen, State, Store};
    match rpc {
        Rpc::EnvironmentCreate | Rpc::EnvironmentSet | Rpc::EnvironmentDelete => on(&[Verb::Admin], Environment),
        Rpc::EnvironmentList | Rpc::EnvironmentGet => on(Verb::ALL, Seen),
        Rpc::EnvironmentFreeze | Rpc::EnvironmentUnfreeze => {
            on(&[Verb::Admin], Environment).by("on the state, where one is named")
        }
        Rpc::EnvironmentGetRules => on(&[Verb::ReadRedacted, Verb::Admin, Verb::Keys], Seen),
        Rpc::EnvironmentSetRules => on(&[Verb::Admin], Environment),
        Rpc::KeyReport | Rpc::KeyListDataKeys | Rpc::KeyRewrap | Rpc::KeyReencrypt | Rpc::KeyVerify | Rpc::KeyDestroy => {
            on(&[Verb::Keys], Environment)
        }
        Rpc::KeyChangeRecipients => on(&[Verb::Keys], Environment).by("and `read.full` on `ENV/**`"),
        Rpc::KeyRewrapMaster => on(&[Verb::Keys], Store),
        Rpc::LeaseAcquire => on(Verb::LEASES, State).by("by the mode"),
        Rpc::LeaseRenew | Rpc::LeaseRelease => on(Verb::LEASES, State).or_lease_secret(),
        Rpc::LeaseCancel => {
            on(&[Verb::LeaseExclusive, Verb::LeaseShared, Verb::Break], State).by("`break` for a ticket named by its id")
        }
        Rpc::LeaseReacquire => on(&[Verb::LeaseExclusive], State),
        Rpc::LeaseBreak => on(&[Verb::Break], State).by("and what an acquire needs, to take the lock"),
        Rpc::LeaseGet | Rpc::LeaseListTickets => on(Verb::SEES_LOCKS, State),
        Rpc::LeaseList => on(Verb::SEES_LOCKS, Seen),
        Rpc::StatePush => on(&[Verb::Write], State).or_lease_secret().by("and `rewrite`, to rewrite"),
        Rpc::StatePull => on(PULLS, State).by("by the view; `write` for one's own draft"),
        Rpc::StateList | Rpc::WatchWatch => on(&[Verb::ReadRedacted], Seen),
        Rpc::StateHistory | Rpc::StateShow => on(&[Verb::ReadRedacted], State),
        Rpc::StateDiff => on(&[Verb::ReadRedacted], State).by("`read.full` for who may write"),
        Rpc::StateRollback => on(&[Verb::Rollback], State),
        Rpc::StateDelete => on(&[Verb::Write], State),
        Rpc::StatePurge => on(&[Verb::Admin], State),
        Rpc::StateListDrafts => on(&[Verb::ReadRedacted, Verb::Promote, Verb::Write], State),
        Rpc::StatePromoteDraft => on(&[Verb::Promote], State).or_lease_secret().by("and `rewrite`, to rewrite"),
        Rpc::StateDiscardDraft => on(&[Verb::Promote, Verb::Write], State),
        Rpc::ServerStatus => on(Verb::ALL, Seen),
        Rpc::ServerLock | Rpc::ServerUnlock => on(&[Verb::Keys], Store),
        Rpc::AccessCreateToken => on(Verb::ALL, Seen).by("the rights that the token is to have"),
        Rpc::AccessListTokens => on(Verb::ALL, Seen).by("`admin` on `/` for those of others"),
        Rpc::AccessRevokeToken => on(Verb::ALL, Seen).by("`admin` on `/` for those of others"),
        Rpc::AccessGrant => {
            on(&[Verb::Admin], Seen).by("on all that is granted, and `read.full`, `keys` and `admin` to grant them")
        }
        Rpc::AccessListGrants => on(Verb::ALL, Seen).by("one's own; `admin` for others"),
        Rpc::AccessRevokeGrant => on(&[Verb::Admin], Seen).by("on all that was granted"),
        Rpc::AuditHead | Rpc::AuditTail | Rpc::AuditExport => on(&[Verb::Audit], Store),
        Rpc::AccessExplain => on(Verb::ALL, Seen).by("about oneself; `admin` on the object for others"),
    }
}

/// What can be read over HTTP besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// What the server counts.
    Metrics,
}

impl Page {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Metrics];

    /// Where it is.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Metrics => "/metrics",
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Metrics => "Metrics",
        }
    }
}

/// What reading a page needs.
#[must_use]
pub const fn page_demand(page: Page) -> Demand {
    match page {
        Page::Metrics => on(Verb::ALL, On::Seen).by("numbers over everything, without names; nothing at all with `open_metrics`"),
    }
}

/// What a call of the door for the `http` backend needs, always on the state of its address.
#[must_use]
pub const fn route_demand(call: &Call) -> Demand {
    match call {
        Call::Read => on(READS, On::State).by("by the view, `read.full` if none is asked for"),
        Call::Write { id: Some(_) } => on(&[Verb::Write], On::State).by("and `rewrite`, to rewrite"),
        Call::Write { id: None } => on(&[Verb::Write], On::State).by("and `lease.exclusive`"),
        Call::Lock { .. } => on(Verb::LEASES, On::State).by("`lease.shared` for a plan"),
        Call::Unlock { .. } => {
            on(&[Verb::LeaseExclusive, Verb::LeaseShared, Verb::Break], On::State).by("`break` for what is not one's own")
        }
        Call::Delete { .. } => on(&[Verb::Write], On::State),
    }
}
