//! What tools that lock by ids of their own need: a lock taken, given back and written under by its id alone.
//!
//! The id is the session. Such a client cannot renew, so its lease is unattended; it asks again instead of keeping a stream, so asking is
//! its sign of life. Which of the rules apply is in `domain`; here is only what a waiting client is remembered by.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use tokio::sync::broadcast;

use super::push::{Draftless, Upload, Written};
use super::sealing::{Plain, run};
use super::{Caller, Error, Service};
use crate::domain::access::{Object, Verb};
use crate::domain::command::{Acquire, Act, Break, LockAct};
use crate::domain::decision::{Grant, Place, Reply};
use crate::domain::document::Origin;
use crate::domain::event::EventKind;
use crate::domain::format::{Format, FormatError, inspect};
use crate::domain::ids::Token;
use crate::domain::lock::{End, Holder, Lock, Mode};
use crate::domain::names::{InnerLock, Labels, Principal, Reason, Session, StateName};
use crate::domain::refusal::Refusal;
use crate::domain::settings::Plans;
use crate::domain::time::StoreTime;
use crate::service::Actor;
use crate::store::{Query, Rows};

/// A lock asked for by its id.
#[derive(Clone)]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub struct Ask {
    pub state: StateName,
    pub id: Session,
    /// It only plans: the environment's policy decides what it needs.
    pub plan: bool,
    pub labels: Labels,
    /// How long to hold the answer back while it waits; none: as long as it has waited already, at most [`MOST_HELD`].
    pub hold: Option<Duration>,
}

/// What came of it.
pub enum Locked {
    /// The lease is the caller's. Drop it to take the lease back, unless the caller was told: then [`Lease::told`].
    Held(Lease),
    /// It is a plan, and needs no lease here.
    Unneeded,
    /// Others have it.
    Taken(Standing),
}

/// A lease that its holder has not been told of yet.
pub struct Lease {
    service: Arc<Service>,
    actor: Actor,
    state: StateName,
    session: Session,
    /// As it was granted.
    pub grant: Grant,
    told: bool,
}

/// Who is in the way.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub struct Standing {
    pub holders: Vec<Holder>,
    pub cooldown: Option<Duration>,
    pub frozen: Option<String>,
    /// Live tickets.
    pub waiting: u32,
    /// The caller's place in the queue, if it has one: 1 is next.
    pub place: Option<u32>,
    /// The time at which all this holds.
    pub now: StoreTime,
}

/// The longest that an answer is held back for a client that did not ask for it.
pub const MOST_HELD: Duration = Duration::from_secs(15);

/// How many waiting clients are remembered; more than this, and those of the last minutes are.
const REMEMBERED: usize = 4096;
/// No client of these sleeps longer between two attempts.
const ASKS_AGAIN_WITHIN: Duration = Duration::from_secs(120);

/// Since when clients ask in vain. It is no part of the store: a refusal writes nothing, and after a restart each asks once more in vain.
#[derive(Default)]
pub struct Waiting(DashMap<(StateName, Principal, Session), StoreTime>);

impl Service {
    /// Takes a lock by its id, or tells who has it. A client that comes again with an id that was refused gets a ticket, and its answer is
    /// held back.
    ///
    /// # Errors
    /// The id was used before, or the lease is refused for another reason than others.
    pub async fn tool_lock(self: &Arc<Self>, caller: &Caller, ask: Ask) -> Result<Locked, Error> {
        let verb = if ask.plan { Verb::LeaseShared } else { Verb::LeaseExclusive };
        let actor = self.allow(caller, verb, Object::State(&ask.state))?;
        // Heard from before the act on, so that nothing falls between.
        let mut events = self.hub.subscribe(&ask.state);
        let mut place = match self.ask(&actor, &ask, ask.hold.is_some()).await {
            Ok(Asked::Done(locked)) => return Ok(locked),
            Ok(Asked::Queued(place)) => Some(place),
            // To a client this is no other refusal: it tries again.
            Ok(Asked::Full) => return Ok(Locked::Taken(self.standing(&ask.state, None).await?)),
            Err(Error::Refused(Refusal::LeaseHeld { .. } | Refusal::Frozen(_))) => None,
            Err(error) => return Err(error),
        };
        let standing = self.standing(&ask.state, place.as_ref()).await?;
        let waited = self.waiting.since(&ask, &actor.principal, standing.now);
        let Some(patience) = ask.hold.or(waited.map(|waited| waited.min(MOST_HELD))) else { return Ok(Locked::Taken(standing)) };
        let over = tokio::time::sleep(patience);
        tokio::pin!(over);
        // A ticket that polls lives three times as long as this.
        let mut sign_of_life = tokio::time::interval(self.store.limits().ticket_life_polling / 3);
        sign_of_life.reset();
        loop {
            let ticket = match place.as_ref() {
                Some(place) => place.ticket,
                None => match self.ask(&actor, &ask, true).await? {
                    Asked::Done(locked) => return Ok(locked),
                    Asked::Queued(queued) => place.insert(queued).ticket,
                    Asked::Full => return Ok(Locked::Taken(self.standing(&ask.state, None).await?)),
                },
            };
            let ask_again = tokio::select! {
                () = &mut over => break,
                _ = sign_of_life.tick() => true,
                event = events.recv() => match event {
                    Ok(event) => match event.event.kind {
                        EventKind::LeaseGranted | EventKind::TicketGone => event.event.ticket == Some(ticket),
                        kind => kind == EventKind::EnvironmentDeleted,
                    },
                    Err(broadcast::error::RecvError::Lagged(_)) => true,
                    Err(broadcast::error::RecvError::Closed) => return Err(Error::Stopping),
                },
            };
            place = if ask_again { None } else { place };
        }
        match self.ask(&actor, &ask, true).await? {
            Asked::Done(locked) => Ok(locked),
            Asked::Queued(place) => Ok(Locked::Taken(self.standing(&ask.state, Some(&place)).await?)),
            Asked::Full => Ok(Locked::Taken(self.standing(&ask.state, None).await?)),
        }
    }

    /// Gives a lock back by its id. Repeating it is fine for a minute.
    ///
    /// # Errors
    /// The lease was lost, is somebody else's, or there is none of this id.
    pub async fn tool_unlock(&self, caller: &Caller, state: &StateName, id: &Session, plan: bool) -> Result<(), Error> {
        let actor = self.allow_any(caller, Verb::LEASES, Object::State(state))?;
        let principal = &actor.principal;
        let (lock, now) = self.lock_now(state).await?;
        let own = |holder: &&Holder| holder.session == *id && holder.principal == *principal;
        let holder = lock.holders.iter().find(own).or_else(|| lock.holders.iter().find(|holder| holder.session == *id));
        let (token, own) = match holder {
            Some(holder) => (holder.token, holder.principal == *principal),
            None => match lock.spent_by(principal, id, now) {
                Some(spent) if spent.how == End::Released => return Ok(()),
                Some(spent) => return Err(Refusal::LeaseLost { token: spent.token, how: Some(spent.how.clone()) }.into()),
                None if plan && self.plans(state).await? == Plans::Snapshot => return Ok(()),
                None => return Err(Refusal::SessionUnknown.into()),
            },
        };
        if !own {
            return Err(Refusal::LeaseForeign(token).into());
        }
        self.tool_release(actor, state, id, token).await
    }

    async fn tool_release(&self, actor: Actor, state: &StateName, id: &Session, token: Token) -> Result<(), Error> {
        let release = LockAct::Release { session: id.clone(), token, abandoned: false };
        match self.submit(actor, None, Act::Lock(state.clone(), release)).await? {
            Reply::Released { was_live: true, .. } | Reply::Released { ended: None | Some(End::Released), .. } => Ok(()),
            Reply::Released { ended, .. } => Err(Refusal::LeaseLost { token, how: ended }.into()),
            _ => Err(Error::internal("a release answered otherwise")),
        }
    }

    /// Breaks the lease with this id, or, without one, all there are: a client that names nobody, and may send this twice. Whoever locked with
    /// nothing but an id gives back what is its own with nothing but the id: that is no break.
    ///
    /// # Errors
    /// Nobody holds the lock by this id.
    pub async fn tool_force_unlock(
        &self,
        caller: &Caller,
        state: &StateName,
        id: Option<&Session>,
        reason: Reason,
    ) -> Result<Vec<Holder>, Error> {
        let own = Verb::LEASES.iter().chain(&[Verb::Break]).copied().collect::<Vec<_>>();
        let actor = self.allow_any(caller, &own, Object::State(state))?;
        let token = match id {
            None => None,
            Some(id) => {
                let (lock, _) = self.lock_now(state).await?;
                match lock.holders.iter().find(|holder| holder.session == *id) {
                    Some(holder) if holder.principal == actor.principal && holder.labels == Labels::default() => {
                        self.tool_release(actor, state, id, holder.token).await?;
                        return Ok(Vec::new());
                    }
                    Some(holder) => Some(holder.token),
                    None if lock.ended.iter().any(|ended| ended.holder.session == *id) => return Ok(Vec::new()),
                    None => return Err(Refusal::SessionUnknown.into()),
                }
            }
        };
        let actor = self.allow(caller, Verb::Break, Object::State(state))?;
        let act = Break { token, reason, now: false, forced: token.is_none(), take: None };
        match self.submit(actor, None, Act::Lock(state.clone(), LockAct::Break(act))).await? {
            Reply::Broken { broken, .. } => Ok(broken),
            _ => Err(Error::internal("a break answered otherwise")),
        }
    }

    /// Whether a caller may write here, with a lock's id or without one: asked before the document is read.
    ///
    /// # Errors
    /// It may not.
    pub fn authorise_tool_write(&self, caller: &Caller, state: &StateName, locked: bool, rewrite: bool) -> Result<Actor, Error> {
        let actor = self.allow(caller, Verb::Write, Object::State(state))?;
        if !locked {
            self.allow(caller, Verb::LeaseExclusive, Object::State(state))?;
        }
        if rewrite {
            self.allow(caller, Verb::Rewrite, Object::State(state))?;
        }
        Ok(actor)
    }

    /// Writes a state of Terraform or OpenTofu under the lock with this id; without one, as a write that takes the lock and gives it back.
    /// What is refused for its lock, serial or lineage is kept as a draft.
    ///
    /// # Errors
    /// The document or the write is refused.
    pub async fn tool_write(
        &self,
        caller: &Caller,
        state: &StateName,
        id: Option<Session>,
        upload: Upload,
        rewrite: bool,
    ) -> Result<Written, Error> {
        let actor = self.authorise_tool_write(caller, state, id.is_some(), rewrite)?;
        let (document, _flight) = upload.whole()?;
        let (lock, _) = self.lock_now(state).await?;
        let write = Draftless {
            state,
            session: id.clone().unwrap_or_else(|| "without-a-lock".parse().expect("a plain word is a session")),
            token: id.as_ref().map_or(Token(lock.last_token.0 + 1), |id| token_of(&lock, &actor.principal, id)),
            passing: id.is_none(),
            // Nobody else can have written since the grant while the lease is live; once it is not, that alone is the answer.
            expect: None,
            origin: Origin::Write,
            rewrite,
            inner_lock: id.map(|id| InnerLock::try_from(id.as_str().to_owned())).transpose()?,
        };
        let wrote = self.try_document(actor.clone(), None, write.clone(), Arc::clone(&document), Some(Format::Terraform)).await;
        let sealed_by_its_writer = match &wrote {
            Err(
                Error::Document(FormatError::Encrypted) | Error::Refused(Refusal::FormatDiffers { fixed: Format::Opaque, .. }),
            ) => is_envelope(&document).await?,
            _ => false,
        };
        if sealed_by_its_writer {
            return self.write_document(actor, None, write, document, Some(Format::Opaque)).await;
        }
        wrote.inspect_err(|error| self.audit_unwritable(&actor, &write, error))
    }

    /// Who holds a lock, as a caller may be told who is refused for it.
    ///
    /// # Errors
    /// No such environment.
    pub async fn tool_standing(&self, caller: &Caller, state: &StateName) -> Result<Standing, Error> {
        self.allow_any(caller, Verb::ALL, Object::State(state))?;
        self.standing(state, None).await
    }

    /// Asks to the end, even if the client is gone meanwhile: a grant that nobody waits for any more is dropped then, and so taken back.
    async fn ask(self: &Arc<Self>, actor: &Actor, ask: &Ask, queue: bool) -> Result<Asked, Error> {
        let (service, actor, ask) = (Arc::clone(self), actor.clone(), ask.clone());
        let asking = tokio::spawn(async move { service.ask_to_the_end(actor, ask, queue).await });
        asking.await.unwrap_or_else(|error| Err(Error::internal(&error.to_string())))
    }

    async fn ask_to_the_end(self: Arc<Self>, actor: Actor, ask: Ask, queue: bool) -> Result<Asked, Error> {
        let acquire = Acquire {
            session: ask.id.clone(),
            mode: Mode::Exclusive,
            plan: ask.plan,
            ttl: None,
            wait: queue,
            labels: ask.labels.clone(),
            unattended: true,
            polls: true,
            once: true,
        };
        let act = Act::Lock(ask.state.clone(), LockAct::Acquire(acquire));
        match self.submit_for_lease(actor.clone(), None, act).await {
            Ok(Reply::Held(grant)) => {
                self.waiting.forget(&ask, &actor.principal);
                Ok(Asked::Done(Locked::Held(Lease::new(self, actor, ask, grant))))
            }
            Ok(Reply::Unneeded) => Ok(Asked::Done(Locked::Unneeded)),
            Ok(Reply::Queued(place)) => Ok(Asked::Queued(place)),
            Ok(_) => Err(Error::internal("an acquire answered otherwise")),
            Err(Error::Refused(Refusal::QueueFull(_))) => Ok(Asked::Full),
            Err(error) => Err(error),
        }
    }

    async fn standing(&self, state: &StateName, place: Option<&Place>) -> Result<Standing, Error> {
        let Rows::Locks(rows, now) = self.store.select(Query::Lock(state.clone())).await? else {
            return Err(Error::internal("a lock answered with other rows"));
        };
        let row = rows.into_iter().next().ok_or_else(|| Refusal::EnvironmentNotFound(state.environment.clone()))?;
        let lock = row.lock.seen_at(now);
        Ok(Standing {
            cooldown: lock.cooldown_until.map(|until| until.since(now)),
            frozen: row.frozen.or(lock.frozen.map(|reason| reason.to_string())),
            holders: lock.holders,
            waiting: row.waiting,
            place: place.map(|place| place.place),
            now,
        })
    }

    async fn lock_now(&self, state: &StateName) -> Result<(Lock, StoreTime), Error> {
        let Rows::Locks(rows, now) = self.store.select(Query::Lock(state.clone())).await? else {
            return Err(Error::internal("a lock answered with other rows"));
        };
        let row = rows.into_iter().next().ok_or_else(|| Refusal::EnvironmentNotFound(state.environment.clone()))?;
        Ok((row.lock.seen_at(now), now))
    }

    async fn plans(&self, state: &StateName) -> Result<Plans, Error> {
        let Rows::Environments(rows) = self.store.select(Query::Environments(Some(state.environment.clone()))).await? else {
            return Err(Error::internal("environments answered with other rows"));
        };
        let (environment, _) = rows.into_iter().next().ok_or_else(|| Refusal::EnvironmentNotFound(state.environment.clone()))?;
        Ok(environment.settings.plans)
    }
}

enum Asked {
    Done(Locked),
    Queued(Place),
    /// So many wait that it gets no place.
    Full,
}

/// The leases whose holders are about to be told.
#[derive(Default)]
pub struct Telling(DashMap<(StateName, Token), Answers>);

/// The answers that tell of one lease: a client that sent its request again has more than one.
#[derive(Default)]
struct Answers {
    under_way: u32,
    /// One of them was taken.
    told: bool,
    /// The highest [`Grant::asked`] of them.
    asked: u32,
}

impl Lease {
    fn new(service: Arc<Service>, actor: Actor, ask: Ask, grant: Grant) -> Self {
        let (state, session) = (ask.state, ask.id);
        {
            let mut answers = service.telling.0.entry((state.clone(), grant.token)).or_default();
            answers.under_way += 1;
            answers.asked = answers.asked.max(grant.asked);
        }
        Self { service, actor, state, session, grant, told: false }
    }

    /// Its holder was told: it lives on.
    pub fn told(mut self) {
        self.told = true;
    }
}

impl Drop for Lease {
    /// An answer that could not be written tells nobody: the grant is taken back, unless its client was told otherwise or asked again since.
    fn drop(&mut self) {
        let key = (self.state.clone(), self.grant.token);
        if let Some(mut answers) = self.service.telling.0.get_mut(&key) {
            answers.under_way -= 1;
            answers.told |= self.told;
        }
        let last = self.service.telling.0.remove_if(&key, |_, answers| answers.under_way == 0);
        let Some((_, Answers { told: false, asked, .. })) = last else { return };
        let (service, actor) = (Arc::clone(&self.service), self.actor.clone());
        let act = LockAct::TakeBack { session: self.session.clone(), token: self.grant.token, asked };
        let act = Act::Lock(self.state.clone(), act);
        // Outside a runtime everything ends anyway.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(error) = service.submit(actor, None, act).await {
                tracing::warn!(%error, "a grant that nobody was told of could not be taken back");
            }
        });
    }
}

impl Waiting {
    /// How long this client has asked in vain; none if it does so for the first time.
    fn since(&self, ask: &Ask, principal: &Principal, now: StoreTime) -> Option<Duration> {
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, first| now < first.after(ASKS_AGAIN_WITHIN));
        }
        let key = (ask.state.clone(), principal.clone(), ask.id.clone());
        match self.0.entry(key) {
            dashmap::Entry::Occupied(first) => Some(now.since(*first.get())),
            dashmap::Entry::Vacant(first) => {
                first.insert(now);
                None
            }
        }
    }

    fn forget(&self, ask: &Ask, principal: &Principal) {
        self.0.remove(&(ask.state.clone(), principal.clone(), ask.id.clone()));
    }
}

/// The token of the lease with this id, live or ended; 0, which no lock ever grants, if it is not known.
fn token_of(lock: &Lock, principal: &Principal, id: &Session) -> Token {
    let own = |holder: &&Holder| holder.session == *id && holder.principal == *principal;
    let live = lock.holders.iter().find(own).or_else(|| lock.holders.iter().find(|holder| holder.session == *id));
    let ended = || lock.ended.iter().rev().map(|ended| &ended.holder).find(own).map(|holder| holder.token);
    let spent =
        || lock.spent.iter().rev().find(|spent| spent.session == *id && spent.principal == *principal).map(|spent| spent.token);
    live.map(|holder| holder.token).or_else(ended).or_else(spent).unwrap_or_default()
}

async fn is_envelope(document: &Plain) -> Result<bool, Error> {
    let document = Arc::clone(document);
    run(document.len(), move || Ok(inspect(&document, None).is_ok_and(|found| found.format == Format::Opaque))).await
}
