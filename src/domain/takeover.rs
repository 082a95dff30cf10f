//! What passes a queue: taking an expired lease again, and breaking one. Both leave events.

use super::command::Break;
use super::decide::Work;
use super::decision::{Change, Reply};
use super::event::{Event, EventKind};
use super::ids::Token;
use super::lease::{checked_ttl, end, held_reply, place, replayed_acquire, ticket};
use super::lock::{End, Holder, Mode, first_deadline, same};
use super::names::Session;
use super::refusal::Refusal;

/// Takes an exclusive lease again that expired, with a new token, if nobody was granted the lock since.
pub(super) fn reacquire(work: &mut Work<'_>, session: &Session, old: Token) -> Result<Reply, Refusal> {
    let refused = |why: &str| Refusal::ReacquireRefused { token: old, why: why.to_owned() };
    let lock = &work.snapshot.lock;
    if old.0 == 0 || old > lock.last_token {
        return Err(Refusal::TokenUnknown(old));
    }
    if lock.holders.iter().any(|holder| holder.token == old) {
        return Err(refused("it is still live; renew it"));
    }
    if old != lock.last_token {
        return Err(refused("the lock was granted since"));
    }
    let ended = lock.ended.iter().rev().find(|ended| ended.holder.token == old);
    let Some(ended) = ended else { return Err(refused("it ended too long ago")) };
    if !same(work.principal(), session, (&ended.holder.principal, &ended.holder.session)) {
        return Err(Refusal::LeaseForeign(old));
    }
    if ended.how != End::Expired || ended.holder.mode != Mode::Exclusive {
        return Err(refused("only an exclusive lease that expired can be taken again"));
    }
    if ended.holder.reacquired {
        return Err(refused("it was taken again before and not renewed since"));
    }
    if let Some(reason) = work.snapshot.frozen() {
        return Err(Refusal::Frozen(reason));
    }
    let (ctx, settings) = (work.ctx, work.settings());
    let was = ended.holder.clone();
    let unattended_since = was.unattended_since.map(|_| ctx.now);
    let holder = Holder {
        token: work.snapshot.lock.next_token(ctx),
        deadline: first_deadline(was.mode, was.ttl, unattended_since, ctx.now, &settings, ctx),
        lock_delay: settings.lock_delay,
        claimed: true,
        unattended_since,
        reacquired: true,
        ticket: None,
        granted: ctx.wall,
        asked: 0,
        ..was
    };
    leave_queue(work, "its session took its old lease again");
    work.snapshot.lock.cooldown_until = None;
    work.event(Event::lease(EventKind::LeaseGranted, &holder).because(format!("taken again after lease {old} expired")));
    let reply = held_reply(&holder, ctx);
    work.snapshot.lock.holders.push(holder);
    work.remember();
    Ok(reply)
}

/// The answer to a reacquire that was answered before: the lease as it is now, or that it has died since.
pub(super) fn replayed_reacquire(work: &Work<'_>, token: Token) -> Result<Reply, Refusal> {
    let lock = &work.snapshot.lock;
    if let Some(holder) = lock.holders.iter().find(|holder| holder.token == token) {
        return Ok(held_reply(holder, work.ctx));
    }
    let ended = lock.ended.iter().rev().find(|ended| ended.holder.token == token);
    Err(Refusal::AcquireDead { how: ended.map(|ended| ended.how.clone()) })
}

/// The answer to a break that was answered before and took the lock: what it took as it is now, or that it has died since.
pub(super) fn replayed_take(work: &mut Work<'_>, act: &Break, broken: Vec<Holder>, then: &Reply) -> Result<Reply, Refusal> {
    let then = act.take.as_ref().map(|take| replayed_acquire(work, take, then)).transpose()?;
    Ok(Reply::Broken { broken, then: then.map(Box::new) })
}

/// Ends the lease with the expected token, or all of them.
pub(super) fn break_lease(work: &mut Work<'_>, act: &Break) -> Result<Reply, Refusal> {
    let mut holding: Vec<Token> = work.snapshot.lock.holders.iter().map(|holder| holder.token).collect();
    if act.forced
        && let Some(up_to) = work.snapshot.lock.force(work.principal(), work.ctx.now)
    {
        holding.retain(|token| *token <= up_to);
    }
    let targets = match act.token {
        Some(expected) if !holding.contains(&expected) => return Err(Refusal::BreakStale { expected, holding }),
        Some(expected) => vec![expected],
        None => holding,
    };
    let ends_cooldown = act.now && act.token.is_none() && work.snapshot.lock.cooldown_until.is_some();
    if targets.is_empty() && !ends_cooldown && act.take.is_none() {
        return if act.forced { Ok(Reply::Broken { broken: Vec::new(), then: None }) } else { Err(Refusal::NothingToBreak) };
    }
    let take = act.take.as_ref().map(|take| Ok((take, checked_ttl(work, take.ttl)?))).transpose()?;
    if let Some((take, _)) = take {
        let mine = |holder: &&Holder| same(work.principal(), &take.session, (&holder.principal, &holder.session));
        if work.snapshot.lock.holders.iter().filter(mine).any(|holder| !targets.contains(&holder.token)) {
            return Err(Refusal::ModeConflict);
        }
    }
    let broken: Vec<Holder> =
        work.snapshot.lock.holders.iter().filter(|holder| targets.contains(&holder.token)).cloned().collect();
    if ends_cooldown {
        work.snapshot.lock.cooldown_until = None;
    }
    for holder in &broken {
        if holder.claimed && holder.mode == Mode::Exclusive && !act.now {
            let until = work.ctx.now.after(holder.lock_delay);
            work.snapshot.lock.cool(until);
        }
        let how = End::Broken { by: work.principal().clone(), reason: act.reason.clone() };
        end(work, holder.token, how, EventKind::LeaseBroken);
    }
    work.remember();
    let then = take.map(|(take, ttl)| {
        leave_queue(work, "its session broke the lease");
        let ticket = ticket(work, take, ttl, true);
        work.event(Event::ticket(EventKind::TicketQueued, &ticket).because("put first by a break"));
        work.queue(ticket.clone(), true);
        work.settle();
        let granted = work.snapshot.lock.holders.iter().find(|holder| holder.ticket == Some(ticket.id));
        Box::new(granted.map_or_else(|| Reply::Queued(place(work, &ticket, 1)), |holder| held_reply(holder, work.ctx)))
    });
    Ok(Reply::Broken { broken, then })
}

/// A session that passes the queue does not stay in it: nobody has both a lease and a ticket.
fn leave_queue(work: &mut Work<'_>, why: &str) {
    let Some((old, _)) = work.snapshot.own.take() else { return };
    work.snapshot.head.retain(|head| head.id != old.id);
    work.snapshot.waiting = work.snapshot.waiting.saturating_sub(u32::from(work.ctx.now < old.deadline));
    work.changes.push(Change::DropTicket(old.id));
    work.event(Event::ticket(EventKind::TicketGone, &old).because(why));
}
