//! The acts on a lock (design 3, the table).

use std::time::Duration;

use super::command::{Acquire, LockAct};
use super::decide::Work;
use super::decision::{Change, Grant, Place, Reply};
use super::event::{Event, EventKind};
use super::ids::{TicketId, Token};
use super::lock::{End, Holder, Mode, Ticket, first_deadline, same};
use super::names::{Principal, Reason, Session};
use super::refusal::{HeldBy, Refusal};
use super::settings::Plans;
use super::{takeover, time::Context};

/// Decides an act on a lock that is settled.
pub(super) fn decide(work: &mut Work<'_>, act: &LockAct) -> Result<Reply, Refusal> {
    match act {
        LockAct::Acquire(acquire) => self::acquire(work, acquire),
        LockAct::Cancel { ticket, session } => Ok(cancel(work, *ticket, session.as_ref())),
        LockAct::Refresh { session } => refresh(work, session),
        LockAct::Renew { session, token, ttl } => renew(work, session, *token, *ttl),
        LockAct::Release { session, token, abandoned } => release(work, session, *token, *abandoned),
        LockAct::TakeBack { session, token, asked } => Ok(take_back(work, session, *token, *asked)),
        LockAct::Reacquire { session, old } => takeover::reacquire(work, session, *old),
        LockAct::Break(act) => takeover::break_lease(work, act),
        LockAct::Freeze(reason) => Ok(freeze(work, Some(reason.clone()))),
        LockAct::Unfreeze => Ok(freeze(work, None)),
        LockAct::Settle => Ok(Reply::Settled),
    }
}

fn acquire(work: &mut Work<'_>, acquire: &Acquire) -> Result<Reply, Refusal> {
    let mode = match (acquire.plan, work.environment()?.settings.plans) {
        (false, _) => acquire.mode,
        (true, Plans::Shared) => Mode::Shared,
        (true, Plans::Exclusive) => Mode::Exclusive,
        (true, Plans::Snapshot) => return Ok(Reply::Unneeded),
    };
    let acquire = &Acquire { mode, ..acquire.clone() };
    let ttl = checked_ttl(work, acquire.ttl)?;
    if let Some(reply) = already(work, acquire)? {
        return Ok(reply);
    }
    if acquire.once
        && let Some(spent) = work.snapshot.lock.spent_by(work.principal(), &acquire.session, work.ctx.now)
    {
        return Err(Refusal::SessionSpent { token: spent.token, how: spent.how.clone() });
    }
    let frozen = work.snapshot.frozen();
    if frozen.is_none() && work.snapshot.waiting == 0 && work.snapshot.lock.fits(acquire.mode, work.ctx.now) {
        let reply = grant(work, acquire, ttl);
        work.remember();
        return Ok(reply);
    }
    if !acquire.wait {
        return Err(frozen.map_or_else(|| held(work), Refusal::Frozen));
    }
    let max = work.environment()?.settings.max_tickets;
    if work.snapshot.waiting >= max {
        return Err(Refusal::QueueFull(max));
    }
    let place = work.snapshot.waiting + 1;
    let ticket = ticket(work, acquire, ttl, false);
    work.event(Event::ticket(EventKind::TicketQueued, &ticket));
    work.queue(ticket.clone(), false);
    work.remember();
    Ok(Reply::Queued(self::place(work, &ticket, place)))
}

/// What the session has already: the lease or the ticket, if the mode is the same. A plan takes any: the policy may have changed since.
fn already(work: &mut Work<'_>, acquire: &Acquire) -> Result<Option<Reply>, Refusal> {
    let (principal, ctx, settings) = (work.principal(), work.ctx, work.settings());
    if let Some(holder) = holder_of(&mut work.snapshot.lock.holders, principal, &acquire.session) {
        if holder.mode != acquire.mode && !acquire.plan {
            return Err(Refusal::ModeConflict);
        }
        if acquire.polls {
            // Who polls learns of its grant by asking: asking is its first use.
            holder.claim(ctx.now, &settings, ctx);
            holder.asked = holder.asked.saturating_add(1);
        }
        return Ok(Some(held_reply(holder, ctx)));
    }
    let Some((mut ticket, ahead)) = work.snapshot.own.take().filter(|(ticket, _)| ctx.now < ticket.deadline) else {
        return Ok(None);
    };
    if ticket.mode != acquire.mode && !acquire.plan {
        return Err(Refusal::ModeConflict);
    }
    ticket.deadline = ctx.now.after(ticket_life(acquire.polls, ctx));
    ticket.polls = acquire.polls;
    work.changes.push(Change::PutTicket(ticket.clone()));
    Ok(Some(Reply::Queued(place(work, &ticket, ahead + 1))))
}

/// The answer to an acquire that was answered before: what it got, as it is now, or that it has died since.
pub(super) fn replayed_acquire(work: &mut Work<'_>, acquire: &Acquire, earlier: &Reply) -> Result<Reply, Refusal> {
    let (ticket, token) = match earlier {
        Reply::Held(grant) => (None, Some(grant.token)),
        Reply::Queued(place) => (Some(place.ticket), None),
        _ => (None, None),
    };
    let is = |holder: &Holder| Some(holder.token) == token || ticket.is_some() && holder.ticket == ticket;
    let live = work.snapshot.lock.holders.iter().any(is);
    let waits = work.snapshot.own.as_ref().is_some_and(|(own, _)| Some(own.id) == ticket);
    if (live || waits)
        && let Some(reply) = already(work, acquire)?
    {
        return Ok(reply);
    }
    let how = work.snapshot.lock.ended.iter().rev().find(|ended| is(&ended.holder)).map(|ended| ended.how.clone());
    Err(Refusal::AcquireDead { how })
}

fn grant(work: &mut Work<'_>, acquire: &Acquire, ttl: Duration) -> Reply {
    let (ctx, settings) = (work.ctx, work.settings());
    let unattended_since = acquire.unattended.then_some(ctx.now);
    let holder = Holder {
        principal: work.principal().clone(),
        session: acquire.session.clone(),
        mode: acquire.mode,
        token: work.snapshot.lock.next_token(ctx),
        ttl,
        deadline: first_deadline(acquire.mode, ttl, unattended_since, ctx.now, &settings, ctx),
        lock_delay: settings.lock_delay,
        claimed: true,
        unattended_since,
        reacquired: false,
        ticket: None,
        labels: acquire.labels.clone(),
        granted: ctx.wall,
        asked: 0,
    };
    work.event(Event::lease(EventKind::LeaseGranted, &holder));
    let reply = held_reply(&holder, ctx);
    work.snapshot.lock.holders.push(holder);
    reply
}

/// A new ticket of the caller.
pub(super) fn ticket(work: &mut Work<'_>, acquire: &Acquire, ttl: Duration, first: bool) -> Ticket {
    let lock = &mut work.snapshot.lock;
    // Numbered like tokens: a ticket of a deleted environment must never name one of its namesake.
    lock.last_ticket.0 = (lock.last_ticket.0 + 1).max(work.ctx.epoch.0 << 30);
    let order = if first {
        lock.front -= 1;
        lock.front
    } else {
        i64::try_from(lock.last_ticket.0).expect("a lock issues fewer than 2^63 tickets")
    };
    Ticket {
        id: lock.last_ticket,
        order,
        principal: work.principal().clone(),
        session: acquire.session.clone(),
        mode: acquire.mode,
        ttl,
        labels: acquire.labels.clone(),
        unattended: acquire.unattended,
        polls: acquire.polls,
        deadline: work.ctx.now.after(ticket_life(acquire.polls, work.ctx)),
        queued: work.ctx.wall,
    }
}

fn cancel(work: &mut Work<'_>, ticket: Option<TicketId>, session: Option<&Session>) -> Reply {
    let own = work.snapshot.own.take().map(|(own, _)| own).filter(|_| ticket.is_none());
    let live = work.snapshot.ticket.take().or(own).filter(|ticket| work.ctx.now < ticket.deadline);
    // One that settling has just offered is no ticket any more: giving the place up gives the offer back.
    let principal = work.principal();
    let offered = |holder: &&Holder| match (ticket, session) {
        (Some(_), _) => holder.ticket == ticket,
        (None, Some(session)) => same(principal, session, (&holder.principal, &holder.session)),
        (None, None) => false,
    };
    if let Some(token) = work.snapshot.lock.holders.iter().filter(|holder| !holder.claimed).find(offered).map(|h| h.token) {
        end(work, token, End::Released, EventKind::LeaseReleased);
    } else if let Some(gone) = live {
        work.snapshot.head.retain(|head| head.id != gone.id);
        work.snapshot.waiting = work.snapshot.waiting.saturating_sub(1);
        work.changes.push(Change::DropTicket(gone.id));
        work.event(Event::ticket(EventKind::TicketGone, &gone).because("cancelled"));
    } else {
        return Reply::Cancelled { was_waiting: false };
    }
    work.remember();
    Reply::Cancelled { was_waiting: true }
}

fn refresh(work: &mut Work<'_>, session: &Session) -> Result<Reply, Refusal> {
    let (principal, ctx) = (work.principal(), work.ctx);
    if let Some(holder) = holder_of(&mut work.snapshot.lock.holders, principal, session) {
        return Ok(held_reply(holder, ctx));
    }
    let Some((mut ticket, ahead)) = work.snapshot.own.take().filter(|(ticket, _)| ctx.now < ticket.deadline) else {
        return Err(Refusal::AcquireDead { how: None });
    };
    ticket.deadline = ctx.now.after(ticket_life(ticket.polls, ctx));
    work.changes.push(Change::PutTicket(ticket.clone()));
    Ok(Reply::Queued(place(work, &ticket, ahead + 1)))
}

fn renew(work: &mut Work<'_>, session: &Session, token: Token, ttl: Option<Duration>) -> Result<Reply, Refusal> {
    let asked = ttl.map(|ttl| checked_ttl(work, Some(ttl))).transpose()?;
    let (ctx, settings, waiting) = (work.ctx, work.settings(), work.snapshot.waiting);
    let holder = own_holder(work, session, token)?;
    holder.claim(ctx.now, &settings, ctx);
    holder.renew(asked.unwrap_or(holder.ttl), ctx);
    Ok(Reply::Renewed { token, ttl: holder.ttl, remaining: holder.remaining(ctx.now), waiting })
}

fn release(work: &mut Work<'_>, session: &Session, token: Token, abandoned: bool) -> Result<Reply, Refusal> {
    match own_holder(work, session, token) {
        Ok(holder) => {
            let delay = (abandoned && holder.claimed && holder.mode == Mode::Exclusive).then_some(holder.lock_delay);
            if let Some(delay) = delay {
                let until = work.ctx.now.after(delay);
                work.snapshot.lock.cool(until);
            }
            let how = if abandoned { End::Abandoned } else { End::Released };
            end(work, token, how, EventKind::LeaseReleased);
            Ok(Reply::Released { was_live: true, ended: None })
        }
        Err(Refusal::LeaseLost { how, .. }) => Ok(Reply::Released { was_live: false, ended: how }),
        Err(refusal) => Err(refusal),
    }
}

fn take_back(work: &mut Work<'_>, session: &Session, token: Token, asked: u32) -> Reply {
    let was = own_holder(work, session, token).is_ok_and(|holder| holder.asked == asked);
    if was {
        end(work, token, End::Unclaimed, EventKind::LeaseUnclaimed);
    }
    Reply::TakenBack { was }
}

fn freeze(work: &mut Work<'_>, reason: Option<Reason>) -> Reply {
    let was = work.snapshot.lock.frozen.is_some();
    let reply = if reason.is_some() { Reply::Frozen } else { Reply::Unfrozen { was } };
    if reason.is_some() || was {
        let kind = if reason.is_some() { EventKind::Frozen } else { EventKind::Unfrozen };
        let message = reason.as_ref().map(ToString::to_string).unwrap_or_default();
        work.event(Event::new(kind).by(work.principal(), None).because(message));
        work.remember();
    }
    work.snapshot.lock.frozen = reason;
    reply
}

/// Ends a live lease.
pub(super) fn end(work: &mut Work<'_>, token: Token, how: End, kind: EventKind) {
    let lock = &mut work.snapshot.lock;
    if let Some(at) = lock.holders.iter().position(|holder| holder.token == token) {
        let holder = lock.holders.remove(at);
        let message = super::refusal::end_text(&how);
        work.event(Event::lease(kind, &holder).because(message));
        work.snapshot.lock.remember(holder, how, work.ctx.now);
    }
}

/// The caller's live lease, or exactly why it has none.
pub(super) fn own_holder<'w>(work: &'w mut Work<'_>, session: &Session, token: Token) -> Result<&'w mut Holder, Refusal> {
    let principal = work.principal();
    let lock = &mut work.snapshot.lock;
    let Some(at) = lock.holders.iter().position(|holder| holder.token == token) else {
        if token.0 == 0 || token > lock.last_token {
            return Err(Refusal::TokenUnknown(token));
        }
        let ended = lock.ended.iter().rev().find(|ended| ended.holder.token == token);
        return Err(match ended {
            Some(ended) if !same(principal, session, (&ended.holder.principal, &ended.holder.session)) => {
                Refusal::LeaseForeign(token)
            }
            _ => Refusal::LeaseLost { token, how: ended.map(|ended| ended.how.clone()) },
        });
    };
    let holder = &mut lock.holders[at];
    if same(principal, session, (&holder.principal, &holder.session)) { Ok(holder) } else { Err(Refusal::LeaseForeign(token)) }
}

/// The ttl asked for, or the environment's, within the server's bounds.
pub(super) fn checked_ttl(work: &Work<'_>, asked: Option<Duration>) -> Result<Duration, Refusal> {
    let (min, max) = (work.ctx.limits.min_ttl, work.ctx.limits.max_ttl);
    let ttl = asked.unwrap_or(work.environment()?.settings.default_ttl);
    if (min..=max).contains(&ttl) { Ok(ttl) } else { Err(Refusal::TtlOutOfRange { min, max }) }
}

/// The refusal that names the holders.
pub(super) fn held(work: &Work<'_>) -> Refusal {
    Refusal::LeaseHeld { holders: holders(work), cooldown: cooldown(work), waiting: work.snapshot.waiting }
}

/// A ticket as its owner is told of it.
pub(super) fn place(work: &Work<'_>, ticket: &Ticket, place: u32) -> Place {
    Place { ticket: ticket.id, place, holders: holders(work), cooldown: cooldown(work), frozen: work.snapshot.frozen() }
}

/// A lease as its holder is told of it.
pub(super) fn held_reply(holder: &Holder, ctx: &Context<'_>) -> Reply {
    Reply::Held(Grant {
        principal: holder.principal.clone(),
        token: holder.token,
        ttl: holder.ttl,
        remaining: holder.remaining(ctx.now),
        claimed: holder.claimed,
        lock_delay: holder.lock_delay,
        asked: holder.asked,
    })
}

fn holders(work: &Work<'_>) -> Vec<HeldBy> {
    /// A queue behind a thousand readers need not name them all.
    const NAMED: usize = 4;
    let (now, overdue) = (work.ctx.now, work.ctx.limits.overdue);
    let told = |holder: &Holder| HeldBy {
        principal: holder.principal.clone(),
        session: holder.session.clone(),
        labels: holder.labels.clone(),
        mode: holder.mode,
        token: holder.token,
        overdue: holder.overdue(now, overdue),
    };
    work.snapshot.lock.holders.iter().take(NAMED).map(told).collect()
}

fn cooldown(work: &Work<'_>) -> Option<Duration> {
    work.snapshot.lock.cooldown_until.map(|until| until.since(work.ctx.now)).filter(|left| !left.is_zero())
}

fn holder_of<'h>(holders: &'h mut [Holder], principal: &Principal, session: &Session) -> Option<&'h mut Holder> {
    holders.iter_mut().find(|holder| same(principal, session, (&holder.principal, &holder.session)))
}

fn ticket_life(polls: bool, ctx: &Context<'_>) -> Duration {
    if polls { ctx.limits.ticket_life_polling } else { ctx.limits.ticket_life }
}
