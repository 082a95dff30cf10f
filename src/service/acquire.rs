//! Acquiring: a stream that tells the place in the queue, then the grant, then the loss.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc};

use super::hub::Ear;
use super::leases::Granted;
use super::leases::verb_of;
use super::{Caller, Error, Service};
use crate::domain::access::Object;
use crate::domain::command::{Acquire, Act, LockAct};
use crate::domain::decision::{Grant, Place, Reply};
use crate::domain::event::{EventKind, Recorded};
use crate::domain::ids::{RequestId, TicketId, Token};
use crate::domain::lock::Holder;
use crate::domain::names::StateName;
use crate::domain::refusal::Refusal;
use crate::service::Actor;
use crate::store::{Query, Rows};

/// What an acquiring caller is told, in this order: any number of places, a grant, a loss.
pub enum Told {
    /// Where it stands; at most once a second.
    Queued(Place),
    /// The lease is its.
    Granted(Box<Granted>),
    /// The lease or the ticket is gone. Nothing follows.
    Lost {
        /// The lease; none if a ticket was lost.
        token: Option<Token>,
        /// How.
        kind: EventKind,
        /// For people.
        message: String,
    },
}

/// A request for a lease.
pub struct Request {
    /// The lock.
    pub state: StateName,
    /// What is asked.
    pub acquire: Acquire,
    /// How long to wait; zero: not at all.
    pub wait: Duration,
    /// The client's id for it.
    pub id: RequestId,
}

/// Places are told at most this often.
const PACE: Duration = Duration::from_secs(1);

impl Service {
    /// Acquires, or waits. The first answer comes before this returns; the rest through the channel, until the lease is gone, the
    /// receiver is dropped, or the wait is over.
    ///
    /// # Errors
    /// The lease is refused.
    pub async fn acquire(
        self: &Arc<Self>,
        caller: &Caller,
        request: Request,
    ) -> Result<mpsc::Receiver<Result<Told, Error>>, Error> {
        let Request { state, acquire, wait, id } = request;
        let actor = self.allow(caller, verb_of(acquire.mode), Object::State(&state))?;
        let digest = self.acquire_digest(&state, &acquire).await?;
        // Heard from before the act on, so that nothing falls between.
        let events = self.hub.subscribe(&state);
        let act = Act::Lock(state.clone(), LockAct::Acquire(acquire.clone()));
        let reply = self.submit_for_lease(actor.clone(), Some((id, digest)), act).await?;
        let (told, receiver) = mpsc::channel(8);
        let mut stream = Stream { service: Arc::clone(self), actor, state, acquire, events, told };
        let first = match reply {
            Reply::Held(grant) => Standing::Held(grant),
            Reply::Queued(place) => Standing::Waiting(place),
            _ => return Err(Error::internal("an acquire answered otherwise")),
        };
        tokio::spawn(async move {
            if let Err(error) = stream.run(first, wait).await {
                let _ = stream.told.send(Err(error)).await;
            }
        });
        Ok(receiver)
    }
}

struct Stream {
    service: Arc<Service>,
    actor: Actor,
    state: StateName,
    acquire: Acquire,
    events: Ear,
    told: mpsc::Sender<Result<Told, Error>>,
}

enum Standing {
    Waiting(Place),
    Held(Grant),
    /// Told of its end, or the caller has gone.
    Over,
}

impl Stream {
    async fn run(&mut self, first: Standing, wait: Duration) -> Result<(), Error> {
        let grant = match first {
            Standing::Held(grant) => grant,
            Standing::Waiting(place) => match self.wait(place, wait).await? {
                Standing::Held(grant) => grant,
                _ => return Ok(()),
            },
            Standing::Over => return Ok(()),
        };
        let token = grant.token;
        let granted = self.service.granted(&self.state, &self.acquire.session, grant).await?;
        self.tell(Told::Granted(Box::new(granted))).await;
        self.hold(token).await
    }

    /// Keeps the ticket alive and tells its place, until it is served, lost, or the wait is over.
    async fn wait(&mut self, mut place: Place, wait: Duration) -> Result<Standing, Error> {
        let ticket = place.ticket;
        let life = match self.acquire.polls {
            true => self.service.store.limits().ticket_life_polling,
            false => self.service.store.limits().ticket_life,
        };
        let mut refresh = tokio::time::interval(life / 3);
        refresh.reset();
        let mut pace = tokio::time::interval(PACE);
        pace.reset();
        let over = tokio::time::sleep(wait);
        tokio::pin!(over);
        let mut moved = false;
        self.tell(Told::Queued(place.clone())).await;
        loop {
            tokio::select! {
                () = self.told.closed() => return Ok(Standing::Over),
                () = &mut over => return self.give_up(ticket, place).await,
                event = self.events.recv() => match event {
                    Ok(event) => match self.concerns(ticket, &event) {
                        Concern::Served(token) => match self.look(token).await? {
                            Some(grant) => return Ok(Standing::Held(grant)),
                            None => moved = true,
                        },
                        Concern::Gone => return Ok(self.lost(None, &event).await),
                        Concern::Ahead => {
                            place.place = place.place.saturating_sub(1).max(1);
                            moved = true;
                        }
                        Concern::Nothing => moved |= matters_to_waiters(&event),
                    },
                    Err(broadcast::error::RecvError::Lagged(_)) => match self.refresh().await? {
                        Standing::Waiting(now) => (place, moved) = (now, true),
                        other => return Ok(other),
                    },
                    Err(broadcast::error::RecvError::Closed) => return Err(Error::Stopping),
                },
                _ = refresh.tick() => match self.refresh().await? {
                    Standing::Waiting(now) => {
                        moved |= now.place != place.place;
                        place = now;
                    }
                    other => return Ok(other),
                },
                _ = pace.tick(), if moved => {
                    moved = false;
                    if let Some(now) = self.behind(&place).await? {
                        place = now;
                    }
                    self.tell(Told::Queued(place.clone())).await;
                }
            }
        }
    }

    /// Waits for the end of the lease, to tell it at once.
    async fn hold(&mut self, token: Token) -> Result<(), Error> {
        loop {
            let event = tokio::select! {
                () = self.told.closed() => return Ok(()),
                event = self.events.recv() => event,
            };
            match event {
                Ok(event) if event.event.token == Some(token) && ends_lease(event.event.kind) => {
                    self.lost(Some(token), &event).await;
                    return Ok(());
                }
                Ok(event) if event.event.kind == EventKind::EnvironmentDeleted => {
                    self.lost(Some(token), &event).await;
                    return Ok(());
                }
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    if self.look(token).await?.is_none() {
                        let (kind, message) = (EventKind::LeaseExpired, "it ended".to_owned());
                        self.tell(Told::Lost { token: Some(token), kind, message }).await;
                        return Ok(());
                    }
                }
                Err(broadcast::error::RecvError::Closed) => return Err(Error::Stopping),
            }
        }
    }

    fn concerns(&self, ticket: TicketId, event: &Recorded) -> Concern {
        let event = &event.event;
        match (event.kind, event.ticket, event.token) {
            (EventKind::LeaseGranted, Some(id), Some(token)) if id == ticket => Concern::Served(token),
            (EventKind::TicketGone, Some(id), _) if id == ticket => Concern::Gone,
            (EventKind::EnvironmentDeleted, ..) => Concern::Gone,
            (EventKind::LeaseGranted | EventKind::TicketGone, Some(id), _) if id < ticket => Concern::Ahead,
            _ => Concern::Nothing,
        }
    }

    /// A sign of life for the ticket, and where it stands.
    async fn refresh(&self) -> Result<Standing, Error> {
        let act = Act::Lock(self.state.clone(), LockAct::Refresh { session: self.acquire.session.clone() });
        match self.service.submit(self.actor.clone(), None, act).await? {
            Reply::Held(grant) => Ok(Standing::Held(grant)),
            Reply::Queued(place) => Ok(Standing::Waiting(place)),
            _ => Err(Error::internal("a refresh answered otherwise")),
        }
    }

    /// The wait is over: the ticket goes, unless it was served in this very moment.
    async fn give_up(&self, ticket: TicketId, place: Place) -> Result<Standing, Error> {
        if let Standing::Held(grant) = self.refresh().await.unwrap_or(Standing::Over) {
            return Ok(Standing::Held(grant));
        }
        let act = Act::Lock(self.state.clone(), LockAct::Cancel { ticket: Some(ticket), session: None });
        self.service.submit(self.actor.clone(), None, act).await?;
        let Place { holders, cooldown, place, .. } = place;
        let held = Refusal::LeaseHeld { holders, cooldown, waiting: place };
        Err(Error::WaitOver { held: held.to_string() })
    }

    /// The lease with this token as it is now; none if it is gone.
    async fn look(&self, token: Token) -> Result<Option<Grant>, Error> {
        let Rows::Locks(rows, now) = self.service.store.select(Query::Lock(self.state.clone())).await? else {
            return Err(Error::internal("a lock answered with other rows"));
        };
        let holder = rows.into_iter().flat_map(|row| row.lock.seen_at(now).holders).find(|holder| holder.token == token);
        Ok(holder.map(|holder| Grant {
            remaining: holder.remaining(now),
            principal: holder.principal,
            token,
            ttl: holder.ttl,
            claimed: holder.claimed,
            lock_delay: holder.lock_delay,
            asked: holder.asked,
        }))
    }

    /// The place with the holders of this moment.
    async fn behind(&self, place: &Place) -> Result<Option<Place>, Error> {
        let Rows::Locks(rows, now) = self.service.store.select(Query::Lock(self.state.clone())).await? else {
            return Err(Error::internal("a lock answered with other rows"));
        };
        let overdue = self.service.store.limits().overdue;
        Ok(rows.into_iter().next().map(|row| {
            let lock_frozen = row.lock.frozen.as_ref().map(ToString::to_string);
            let lock = row.lock.seen_at(now);
            Place {
                ticket: place.ticket,
                place: place.place,
                holders: lock.holders.iter().take(4).map(|holder| held_by(holder, holder.overdue(now, overdue))).collect(),
                cooldown: lock.cooldown_until.map(|until| until.since(now)),
                frozen: row.frozen.or(lock_frozen),
            }
        }))
    }

    async fn lost(&self, token: Option<Token>, event: &Recorded) -> Standing {
        self.tell(Told::Lost { token, kind: event.event.kind, message: event.event.message.clone() }).await;
        Standing::Over
    }

    async fn tell(&self, told: Told) {
        let _ = self.told.send(Ok(told)).await;
    }
}

/// What an event means to a waiting ticket.
enum Concern {
    Served(Token),
    Gone,
    Ahead,
    Nothing,
}

/// A holder as others are told of it.
pub(super) fn held_by(holder: &Holder, overdue: bool) -> crate::domain::refusal::HeldBy {
    crate::domain::refusal::HeldBy {
        principal: holder.principal.clone(),
        session: holder.session.clone(),
        labels: holder.labels.clone(),
        mode: holder.mode,
        token: holder.token,
        overdue,
    }
}

fn ends_lease(kind: EventKind) -> bool {
    use EventKind::{LeaseBroken, LeaseExpired, LeaseReleased, LeaseUnclaimed};
    matches!(kind, LeaseBroken | LeaseExpired | LeaseReleased | LeaseUnclaimed)
}

fn matters_to_waiters(event: &Recorded) -> bool {
    ends_lease(event.event.kind) || matches!(event.event.kind, EventKind::Frozen | EventKind::Unfrozen)
}
