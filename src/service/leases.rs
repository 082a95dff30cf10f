//! Leases: everything but the acquire, which is a stream of its own.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Caller, Error, LeaseSecret, Service};
use crate::domain::access::{Object, Verb};
use crate::domain::command::{Acquire, Act, Break, LockAct};
use crate::domain::decision::{Grant, Place, Reply};
use crate::domain::ids::{KeyedDigest, RequestId, TicketId, Token};
use crate::domain::lock::{End, Holder, Ticket};
use crate::domain::names::{Prefix, Session, StateName};
use crate::domain::refusal::Refusal;
use crate::domain::time::StoreTime;
use crate::secrets::operational::OperationKeys;
use crate::store::{LockRow, Query, Rows};

/// A grant with the secret that proves it.
pub struct Granted {
    /// The lease.
    pub grant: Grant,
    /// Stands in for the principal's token. Never logged.
    pub secret: String,
}

/// What a renewal gained.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the words are those of the design")]
pub struct Renewed {
    pub ttl: Duration,
    /// None: no deadline.
    pub remaining: Option<Duration>,
    pub waiting: u32,
}

/// What a break did.
#[allow(missing_docs, reason = "the words are those of the design")]
pub struct Broken {
    pub broken: Vec<Holder>,
    pub granted: Option<Granted>,
    pub queued: Option<Place>,
}

/// What lease secrets begin with.
const SECRET_PREFIX: &str = "lhl_";

impl LeaseSecret {
    /// Reads a secret as it was shown. It proves nothing yet.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(SECRET_PREFIX)?).ok()?;
        let (proof, principal) = bytes.split_first_chunk::<32>()?;
        let principal = std::str::from_utf8(principal).ok()?.parse().ok()?;
        Some(Self { principal, proof: *proof })
    }
}

impl Service {
    /// When an unattended exclusive lease is overdue.
    #[must_use]
    pub fn overdue(&self) -> Duration {
        self.store.limits().overdue
    }

    /// Keeps a lease alive, and claims one that was offered.
    ///
    /// # Errors
    /// The lease is gone, or somebody else's.
    pub async fn renew(
        &self,
        caller: &Caller,
        state: StateName,
        session: Session,
        token: Token,
        ttl: Option<Duration>,
    ) -> Result<Renewed, Error> {
        let actor = self.allow_lease(caller, Verb::LEASES, &state, &session, token).await?;
        match self.submit(actor, None, Act::Lock(state, LockAct::Renew { session, token, ttl })).await? {
            Reply::Renewed { ttl, remaining, waiting, .. } => Ok(Renewed { ttl, remaining, waiting }),
            _ => Err(Error::internal("a renewal answered otherwise")),
        }
    }

    /// Gives a lease back. Tells whether it was live, and if not, how it had ended.
    ///
    /// # Errors
    /// Somebody else's lease, or none that ever was.
    pub async fn release(
        &self,
        caller: &Caller,
        state: StateName,
        session: Session,
        token: Token,
        abandoned: bool,
    ) -> Result<(bool, Option<End>), Error> {
        let actor = self.allow_lease(caller, Verb::LEASES, &state, &session, token).await?;
        match self.submit(actor, None, Act::Lock(state, LockAct::Release { session, token, abandoned })).await? {
            Reply::Released { was_live, ended } => Ok((was_live, ended)),
            _ => Err(Error::internal("a release answered otherwise")),
        }
    }

    /// Leaves a queue. Tells whether there was anything to leave.
    ///
    /// # Errors
    /// No such environment.
    pub async fn cancel(
        &self,
        caller: &Caller,
        id: RequestId,
        state: StateName,
        ticket: Option<TicketId>,
        session: Option<Session>,
    ) -> Result<bool, Error> {
        // Somebody else's ticket is for who may break leases.
        let verbs = if ticket.is_some() { &[Verb::Break][..] } else { Verb::LEASES };
        let actor = self.allow_any(caller, verbs, Object::State(&state))?;
        let which = format!("{ticket:?} {session:?}");
        let digest = self.digest(&state, &[b"cancel", which.as_bytes()]).await?;
        let act = Act::Lock(state, LockAct::Cancel { ticket, session });
        Ok(matches!(self.submit(actor, Some((id, digest)), act).await?, Reply::Cancelled { was_waiting: true }))
    }

    /// Takes an expired lease again.
    ///
    /// # Errors
    /// Somebody was granted the lock since, or the lease did not expire.
    pub async fn reacquire(
        &self,
        caller: &Caller,
        id: RequestId,
        state: StateName,
        session: Session,
        old: Token,
    ) -> Result<Granted, Error> {
        let actor = self.allow(caller, Verb::LeaseExclusive, Object::State(&state))?;
        let digest = self.digest(&state, &[b"reacquire", session.as_str().as_bytes(), &old.0.to_be_bytes()]).await?;
        let act = Act::Lock(state.clone(), LockAct::Reacquire { session: session.clone(), old });
        match self.submit_for_lease(actor, Some((id, digest)), act).await? {
            Reply::Held(grant) => self.granted(&state, &session, grant).await,
            _ => Err(Error::internal("a reacquire answered otherwise")),
        }
    }

    /// Ends somebody's lease.
    ///
    /// # Errors
    /// The lock has moved on.
    pub async fn break_lease(&self, caller: &Caller, id: RequestId, state: StateName, act: Break) -> Result<Broken, Error> {
        let actor = self.allow(caller, Verb::Break, Object::State(&state))?;
        if let Some(take) = &act.take {
            self.allow(caller, verb_of(take.mode), Object::State(&state))?;
        }
        let digest = self.digest(&state, &[b"break", format!("{act:?}").as_bytes()]).await?;
        let session = act.take.as_ref().map(|take| take.session.clone());
        match self.submit_for_lease(actor, Some((id, digest)), Act::Lock(state.clone(), LockAct::Break(act))).await? {
            Reply::Broken { broken, then } => match (then.map(|then| *then), session) {
                (Some(Reply::Held(grant)), Some(session)) => {
                    Ok(Broken { broken, granted: Some(self.granted(&state, &session, grant).await?), queued: None })
                }
                (Some(Reply::Queued(place)), _) => Ok(Broken { broken, granted: None, queued: Some(place) }),
                _ => Ok(Broken { broken, granted: None, queued: None }),
            },
            _ => Err(Error::internal("a break answered otherwise")),
        }
    }

    /// One lock, as stored, with the time to look at it.
    ///
    /// # Errors
    /// No such environment.
    pub async fn lock(&self, caller: &Caller, state: StateName) -> Result<(LockRow, StoreTime), Error> {
        self.allow_any(caller, Verb::SEES_LOCKS, Object::State(&state))?;
        let environment = state.environment.clone();
        match self.store.select(Query::Lock(state)).await? {
            Rows::Locks(rows, now) => {
                let row = rows.into_iter().next().ok_or(Refusal::EnvironmentNotFound(environment))?;
                Ok((row, now))
            }
            _ => Err(Error::internal("a lock answered with other rows")),
        }
    }

    /// Locks by name.
    ///
    /// # Errors
    /// No such environment.
    pub async fn locks(
        &self,
        caller: &Caller,
        prefix: Prefix,
        all: bool,
        after: Option<StateName>,
        limit: usize,
    ) -> Result<(Vec<LockRow>, StoreTime), Error> {
        self.allow_list(caller, Verb::SEES_LOCKS, prefix.environment.as_ref())?;
        if let Some(environment) = &prefix.environment {
            self.keys(environment).await?;
        }
        let mut after = after;
        let mut shown = Vec::new();
        loop {
            let query = Query::Locks { prefix: prefix.clone(), all, after: after.clone(), limit };
            let Rows::Locks(rows, now) = self.store.select(query).await? else {
                return Err(Error::internal("locks answered with other rows"));
            };
            let last = rows.len() < limit;
            after = rows.last().map(LockRow::state);
            for row in rows {
                let held = self.verbs(caller, &Object::State(&row.state()))?;
                if Verb::SEES_LOCKS.iter().any(|verb| held.has(*verb)) && shown.len() < limit {
                    shown.push(row);
                }
            }
            if last || shown.len() == limit {
                return Ok((shown, now));
            }
        }
    }

    /// The live tickets of a queue, in the order of service.
    ///
    /// # Errors
    /// No such environment.
    pub async fn tickets(&self, caller: &Caller, state: StateName) -> Result<(Vec<Ticket>, StoreTime), Error> {
        self.allow_any(caller, Verb::SEES_LOCKS, Object::State(&state))?;
        self.keys(&state.environment).await?;
        match self.store.select(Query::Tickets(state)).await? {
            Rows::Tickets(mut tickets, now) => {
                tickets.retain(|ticket| now < ticket.deadline);
                Ok((tickets, now))
            }
            _ => Err(Error::internal("tickets answered with other rows")),
        }
    }

    /// A grant with its secret.
    pub(super) async fn granted(&self, state: &StateName, session: &Session, grant: Grant) -> Result<Granted, Error> {
        let keys = self.keys(&state.environment).await?;
        Ok(Granted { secret: secret(&keys, state, session, &grant), grant })
    }

    async fn digest(&self, state: &StateName, parts: &[&[u8]]) -> Result<KeyedDigest, Error> {
        let name = state.to_string();
        let parts: Vec<&[u8]> = std::iter::once(name.as_bytes()).chain(parts.iter().copied()).collect();
        Ok(self.keys(&state.environment).await?.request_digest(&parts))
    }

    /// The digest of an acquire.
    pub(super) async fn acquire_digest(&self, state: &StateName, acquire: &Acquire) -> Result<KeyedDigest, Error> {
        let Acquire { session, mode, plan, ttl, wait, labels, unattended, polls, once } = acquire;
        let text = format!("{mode:?} {plan} {ttl:?} {wait} {labels:?} {unattended} {polls} {once}");
        self.digest(state, &[b"acquire", session.as_str().as_bytes(), text.as_bytes()]).await
    }
}

/// What an acquire in this mode needs.
pub(super) fn verb_of(mode: crate::domain::lock::Mode) -> Verb {
    match mode {
        crate::domain::lock::Mode::Exclusive => Verb::LeaseExclusive,
        crate::domain::lock::Mode::Shared => Verb::LeaseShared,
    }
}

fn secret(keys: &OperationKeys, state: &StateName, session: &Session, grant: &Grant) -> String {
    let proof = keys.lease_secret(state, session, grant.token, &grant.principal);
    let mut text = SECRET_PREFIX.to_owned();
    URL_SAFE_NO_PAD.encode_string([&proof, grant.principal.as_str().as_bytes()].concat(), &mut text);
    text
}
