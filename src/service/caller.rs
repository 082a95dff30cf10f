//! Who calls, and whether it may.

use std::sync::Arc;

use super::{Error, Service};
use crate::domain::access::{Credential, Object, Verb, Verbs};
use crate::domain::command::Trace;
use crate::domain::ids::{Token, TokenHash};
use crate::domain::names::{EnvironmentName, Principal, Session, StateName};
use crate::domain::time::WallTime;

/// Who calls, as the door found out, and from where.
#[derive(Clone)]
pub struct Caller {
    who: Who,
    trace: Arc<Trace>,
}

#[derive(Clone)]
enum Who {
    /// An authenticated principal.
    Known(Known),
    /// Whoever runs this process: may everything.
    Owner(Principal),
    /// Somebody who shows a lease secret. It stands for the principal that the lease was granted to, for that lease only.
    Lease(LeaseSecret),
}

/// An authenticated principal, with what its rights are those of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What was shown.
    pub credential: Credential,
    /// Who it is.
    pub principal: Principal,
    /// The hash of what was shown, if that may be exchanged for a token: once.
    pub once: Option<TokenHash>,
    /// When what was shown ends, if nothing of ours says so: streams may last longer.
    pub until: Option<WallTime>,
}

/// A lease secret as it was shown: not yet verified. No `Debug`.
#[derive(Clone)]
pub struct LeaseSecret {
    /// Whose lease it says it is.
    pub principal: Principal,
    /// What has to match.
    pub proof: [u8; 32],
}

/// Who acts, after it was found that it may.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The principal.
    pub principal: Principal,
    /// From where, and for what.
    pub trace: Arc<Trace>,
}

impl Caller {
    /// An authenticated principal.
    #[must_use]
    pub fn known(known: Known, trace: Arc<Trace>) -> Self {
        Self { who: Who::Known(known), trace }
    }

    /// Somebody with a lease secret.
    #[must_use]
    pub fn lease(secret: LeaseSecret, trace: Arc<Trace>) -> Self {
        Self { who: Who::Lease(secret), trace }
    }

    /// Whoever runs this process, acting as this principal: may everything.
    #[must_use]
    pub fn owner(principal: Principal) -> Self {
        Self { who: Who::Owner(principal), trace: Arc::default() }
    }

    /// Whether it shows nothing but a lease secret.
    #[must_use]
    pub fn is_lease(&self) -> bool {
        matches!(self.who, Who::Lease(_))
    }

    /// The principal that it says it is.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        match &self.who {
            Who::Known(known) => &known.principal,
            Who::Owner(principal) => principal,
            Who::Lease(secret) => &secret.principal,
        }
    }

    /// What its rights are those of; none: everything, or those of a lease secret.
    pub(super) fn credential(&self) -> Option<&Credential> {
        match &self.who {
            Who::Known(known) => Some(&known.credential),
            Who::Owner(_) | Who::Lease(_) => None,
        }
    }

    /// The hash of what was shown, if that may be exchanged for a token.
    pub(super) fn once(&self) -> Option<TokenHash> {
        match &self.who {
            Who::Known(known) => known.once,
            Who::Owner(_) | Who::Lease(_) => None,
        }
    }

    /// Whether what it shows has ended.
    pub(super) fn has_ended(&self, now: WallTime) -> bool {
        matches!(&self.who, Who::Known(known) if known.until.is_some_and(|until| until <= now))
    }

    pub(super) fn actor(&self) -> Actor {
        Actor { principal: self.principal().clone(), trace: Arc::clone(&self.trace) }
    }
}

impl Actor {
    /// The server itself.
    pub(super) fn server() -> Self {
        Self { principal: "leasehold".parse().expect("a plain word is a principal"), trace: Arc::default() }
    }
}

impl Service {
    /// Whether a caller may do this; the one place where rights are checked.
    ///
    /// # Errors
    /// [`Error::NotAllowed`] to a caller without any right on the object, the same whether it exists or not; [`Error::Forbidden`] names the
    /// verb to others. A lease secret is no right here.
    pub(super) fn allow(&self, caller: &Caller, verb: Verb, object: Object<'_>) -> Result<Actor, Error> {
        self.allow_any(caller, &[verb], object)
    }

    /// The same with any of these verbs.
    pub(super) fn allow_any(&self, caller: &Caller, verbs: &[Verb], object: Object<'_>) -> Result<Actor, Error> {
        let held = self.verbs(caller, &object)?;
        if verbs.iter().any(|verb| held.has(*verb)) {
            return Ok(caller.actor());
        }
        tracing::info!(principal = %caller.principal(), verbs = ?verbs, %object, "refused: no right");
        self.audit_refused(caller, verbs[0], object);
        if held.is_empty() {
            return Err(Error::NotAllowed);
        }
        Err(Error::Forbidden { principal: caller.principal().clone(), verb: verbs[0], object: object.to_string() })
    }

    /// Whether a caller may: where that only decides how much it is told, and a no is no refusal.
    pub(super) fn may(&self, caller: &Caller, verb: Verb, object: Object<'_>) -> bool {
        self.verbs(caller, &object).is_ok_and(|held| held.has(verb))
    }

    /// Whether a caller may do any of these to a state: what a door asks before it reads a body.
    ///
    /// # Errors
    /// [`Error::NotAllowed`] or [`Error::Forbidden`]; a lease secret is no right here.
    pub fn allow_on(&self, caller: &Caller, verbs: &[Verb], state: &StateName) -> Result<Actor, Error> {
        self.allow_any(caller, verbs, Object::State(state))
    }

    /// What a caller may do to an object, implied verbs included.
    pub(super) fn verbs(&self, caller: &Caller, object: &Object<'_>) -> Result<Verbs, Error> {
        self.held(caller, |access, credential, now| access.verbs(credential, object, now))
    }

    /// Whether a caller may do any of these to something in an environment; to who may not, the environment is not there.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]; a lease secret is no right here.
    pub(super) fn allow_within(&self, caller: &Caller, verbs: &[Verb], environment: &EnvironmentName) -> Result<Actor, Error> {
        let held = self.held(caller, |access, credential, now| access.verbs_within(credential, environment, now))?;
        if verbs.iter().any(|verb| held.has(*verb)) { Ok(caller.actor()) } else { Err(Error::NotAllowed) }
    }

    /// Whether a caller may do any of these to anything: what a door asks before it reads who is asked for what.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]; a lease secret is no right here.
    pub fn allow_somewhere(&self, caller: &Caller, verbs: &[Verb]) -> Result<Actor, Error> {
        let held = self.held(caller, |access, credential, now| access.verbs_anywhere(credential, now))?;
        if verbs.iter().any(|verb| held.has(*verb)) { Ok(caller.actor()) } else { Err(Error::NotAllowed) }
    }

    /// Who acts on a lease: a principal that may, or somebody whose lease secret proves this very lease, whatever rights are left to the
    /// principal, unless it was revoked.
    ///
    /// # Errors
    /// As [`Self::allow`]; a secret that proves nothing.
    pub(super) async fn allow_lease(
        &self,
        caller: &Caller,
        verbs: &[Verb],
        state: &StateName,
        session: &Session,
        token: Token,
    ) -> Result<Actor, Error> {
        let Who::Lease(LeaseSecret { principal, proof }) = &caller.who else {
            return self.allow_any(caller, verbs, Object::State(state));
        };
        // A stranger without a valid secret must not learn which environments there are.
        let keys = match self.keys(&state.environment).await {
            Ok(keys) => keys,
            Err(Error::Refused(_)) => return Err(Error::Unauthenticated),
            Err(error) => return Err(error),
        };
        let proves = keys.is_lease_secret(proof, state, session, token, principal);
        if proves && !self.is_revoked(principal) {
            return Ok(caller.actor());
        }
        self.audit_unauthenticated(caller.trace.peer);
        Err(Error::Unauthenticated)
    }
}
