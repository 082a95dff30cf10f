//! The invariants of leases.

use super::ledger::{Facts, LockFacts, env_of};
use super::{Look, demand};
use crate::history::{Actor, At, Call, How, Lock, Mode, Plans, Reply, Token, What};
use crate::script::LOCKS;

/// Invariant 1: "At most one exclusive holder, or any number of shared ones, at any commit point."
pub(super) fn exclusivity(look: &Look<'_>) -> Result<(), String> {
    walk(look, |facts, what, lock| match what {
        What::Granted { token, mode, .. } => {
            let others = &facts.locks[lock].holders;
            let alone = others.iter().all(|other| *mode == Mode::Shared && other.mode == Mode::Shared);
            demand(alone, || format!("{token} was granted ({mode:?}) beside {others:?}"))
        }
        // One that passes holds it for as long as its commit takes.
        What::Version { token, .. } if look.record.call.passes() => {
            let held = facts.locks[lock].live_holders(look.record.at).next();
            demand(held.is_none(), || format!("a write passed with {token} beside {held:?}"))
        }
        _ => Ok(()),
    })?;
    plans_as_the_policy_says(look)?;
    if let (Some(token), Some(lock)) = (acknowledged(look), look.record.call.lock()) {
        let holds = look.after.locks[lock].holder(token).is_some();
        demand(holds, || format!("{token} was acknowledged, which holds nothing"))?;
    }
    look.record.views.iter().try_for_each(|view| {
        let exclusive = view.holders.iter().filter(|(_, _, mode, _)| *mode == Mode::Exclusive).count();
        let known = &look.after.locks[view.lock];
        demand(exclusive == 0 || view.holders.len() == 1, || format!("a reader sees {:?}", view.holders))?;
        let stranger = view.holders.iter().find(|(token, ..)| known.holder(*token).is_none());
        demand(stranger.is_none(), || format!("a reader sees a holder that was never granted: {stranger:?}"))
    })
}

/// What a plan takes is the policy's to say: nothing, or a lease of that mode.
fn plans_as_the_policy_says(look: &Look<'_>) -> Result<(), String> {
    let Call::Acquire { lock, ask, .. } = &look.record.call else { return Ok(()) };
    let policy = look.after.environments[env_of(*lock)].plans;
    let unneeded = look.record.reply == Reply::Done("no lease needed");
    let answered = unneeded || matches!(look.record.reply, Reply::Held { .. } | Reply::Queued { .. });
    if !answered || look.prior.is_some() {
        return Ok(());
    }
    demand(unneeded == (ask.plan && policy == Plans::Snapshot), || format!("{ask:?} is answered {:?}", look.record.reply))?;
    let mode = match (ask.plan, policy) {
        (true, Plans::Shared) => Mode::Shared,
        (true, _) => Mode::Exclusive,
        (false, _) => ask.mode,
    };
    let got = look.record.events.iter().find_map(|seen| match seen.what {
        What::Granted { mode, ticket: None, .. } | What::Queued { mode, .. } => Some(mode),
        _ => None,
    });
    demand(got.is_none_or(|got| got == mode), || format!("{ask:?} got {got:?} where plans are {policy:?}"))
}

/// Invariant 2: "Fencing tokens of a lock strictly increase across grants, restarts, failovers, delete and re-create, and restores."
pub(super) fn tokens_increase(look: &Look<'_>) -> Result<(), String> {
    walk(look, |facts, what, lock| match what {
        What::Granted { token, .. } => {
            let last = facts.locks[lock].last_token;
            demand(*token > last && *token < 1 << 63, || format!("{token} was granted after {last}"))
        }
        What::Version { token, .. } if look.record.call.passes() => {
            let last = facts.locks[lock].last_token;
            demand(*token > last && *token < 1 << 63, || format!("a write passed with {token} after {last}"))
        }
        _ => Ok(()),
    })
}

/// Invariant 5: "No lease ends before its ttl (store time) after its last acknowledged grant, claim or renewal, except by release or break."
///
/// An offer ends by its claim deadline, an unattended lease by its own rule.
pub(super) fn no_early_end(look: &Look<'_>) -> Result<(), String> {
    let at = look.record.at;
    walk(look, |facts, what, lock| {
        let What::Ended { token, how } = what else { return Ok(()) };
        let Some(holder) = facts.locks[lock].holder(*token) else { return Err(format!("{token} ended, which holds nothing")) };
        let right = match (how, &look.record.call) {
            (How::Expired, _) => holder.claimed && !holder.live(at),
            (How::Unclaimed, _) if !holder.claimed && !holder.live(at) => true,
            (How::Unclaimed, Call::TakeBack { actor, token: given, asked, .. }) => {
                (given, *actor, *asked) == (token, holder.actor, holder.asked)
            }
            (How::Released, Call::Release { actor, token: given, .. }) => given == token && *actor == holder.actor,
            (How::Released, Call::Cancel { .. }) => !holder.claimed,
            (How::Broken, Call::Force { .. }) => true,
            (How::Broken, Call::Break { token: expected, .. }) => expected.is_none_or(|expected| expected == *token),
            _ => false,
        };
        demand(right, || format!("{how:?} at {at}: {holder:?}"))
    })?;
    lost_while_live(look)?;
    told_its_life(look)?;
    taken_back(look)?;
    for view in &look.record.views {
        for holder in look.after.locks[view.lock].live_holders(at) {
            let seen = view.holders.iter().find(|(token, ..)| *token == holder.token);
            let lives = seen.is_some_and(|(.., until)| until.is_none() || holder.deadline.is_some_and(|own| *until >= Some(own)));
            demand(lives, || format!("a reader at {at} sees {seen:?} of {holder:?}"))?;
        }
    }
    Ok(())
}

/// A grant is taken back if its session has not asked again, and only then.
fn taken_back(look: &Look<'_>) -> Result<(), String> {
    let Call::TakeBack { actor, lock, token, asked } = look.record.call else { return Ok(()) };
    let mut live = look.before.locks[lock].live_holders(look.record.at);
    let untold = live.any(|holder| (holder.token, holder.actor, holder.asked) == (token, actor, asked));
    let was = match &look.record.reply {
        Reply::Done("taken back") => true,
        Reply::Refused { .. } => return Ok(()),
        _ => false,
    };
    let holds = look.after.locks[lock].live_holders(look.record.at).any(|holder| holder.token == token);
    demand(was == untold && !(was && holds), || format!("{:?} is answered {:?}", look.record.call, look.record.reply))
}

/// The holder is told how long its lease lives, neither more nor less.
fn told_its_life(look: &Look<'_>) -> Result<(), String> {
    let (Some(lock), Reply::Held { token, remaining, .. } | Reply::Renewed { token, remaining, .. }) =
        (look.record.call.lock(), &look.record.reply)
    else {
        return Ok(());
    };
    let Some(holder) = look.after.locks[lock].holder(*token) else { return Ok(()) };
    let life = holder.deadline.map(|deadline| deadline - look.record.at);
    demand(*remaining == life, || format!("{token} is told to live {remaining:?}, and lives {life:?}"))
}

/// The holder is told that its lease is gone, and it is not.
fn lost_while_live(look: &Look<'_>) -> Result<(), String> {
    let told = match &look.record.reply {
        Reply::Released { was_live } => !was_live,
        Reply::Refused { code, .. } => matches!(*code, "LEASE_LOST" | "LEASE_FOREIGN" | "TOKEN_UNKNOWN"),
        _ => false,
    };
    let (actor, lock, token) = match &look.record.call {
        Call::Renew { actor, lock, token, .. } | Call::Release { actor, lock, token, .. } => (*actor, *lock, *token),
        Call::Write { actor, lock, write } if !write.passing => (*actor, *lock, write.token),
        _ => return Ok(()),
    };
    let live = look.before.locks[lock].live_holders(look.record.at).find(|holder| holder.token == token && holder.actor == actor);
    demand(!told || live.is_none() || look.prior.is_some(), || format!("{:?} for {live:?}", look.record.reply))
}

/// Invariant 6: "A crashed holder's lock is offered on within ttl + 1 s + lock delay of store time; each dead ticket ahead adds one claim
/// deadline; overdue unattended leases excepted."
///
/// The ledger ends every lease at ttl after its last sign of life, and a dead ticket's offer at its claim deadline; from the moment
/// at which the lock delay is over and the head of the queue fits, a call on the lock serves it at once and a sweep within 1 s. And
/// never before: nothing is granted while the lock delay runs or a freeze holds, but by reacquire.
pub(super) fn offered_on_in_time(look: &Look<'_>) -> Result<(), String> {
    let at = look.record.at;
    walk(look, |facts, what, lock| match what {
        What::Granted { token, .. } if !matches!(look.record.call, Call::Reacquire { .. }) => {
            let cooldown = facts.locks[lock].cooldown;
            demand(facts.grants(lock, at) || ends_cooldown(look), || {
                format!("{token} at {at}, frozen or cooling until {cooldown:?}")
            })
        }
        What::Version { token, .. } if look.record.call.passes() => {
            demand(facts.grants(lock, at), || format!("a write passed with {token} at {at}, frozen or cooling"))
        }
        _ => Ok(()),
    })?;
    (0..LOCKS.len()).try_for_each(|lock| {
        let settled = look.record.call.settles(lock) && look.after.environments[env_of(lock)].exists;
        let late =
            look.record.call == Call::Tick && look.before.locks[lock].servable_since.is_some_and(|since| since + SWEEP <= at);
        let waits = (settled || late) && look.after.servable(lock, at);
        demand(!waits, || format!("lock {lock} could serve {:?} at {at} and does not", look.after.locks[lock].tickets))
    })
}

/// How late a sweep may be.
const SWEEP: At = 1_000_000;

fn ends_cooldown(look: &Look<'_>) -> bool {
    matches!((&look.record.call, &look.record.reply), (Call::Break { token: None, now: true, .. }, Reply::Broken { .. }))
}

/// Invariant 10: "No ticket is served before an older live one of the same lock; only reacquire and `break --take` pass a queue, both audited."
///
/// So no live ticket disappears either, and readers see the queue in its order.
pub(super) fn no_queue_jumping(look: &Look<'_>) -> Result<(), String> {
    let at = look.record.at;
    walk(look, |facts, what, lock| {
        let queue = &facts.locks[lock];
        match (what, &look.record.call) {
            (What::Granted { ticket: Some(ticket), .. }, _) => {
                let head = queue.live_tickets(at).next().map(|head| head.id);
                demand(head == Some(*ticket), || format!("ticket {ticket} was served before {:?}", queue.tickets))
            }
            (What::Granted { ticket: None, .. }, Call::Reacquire { .. }) => reacquired(look, queue),
            (What::Granted { ticket: None, token, .. }, _) => {
                let first = queue.live_tickets(at).next();
                demand(first.is_none(), || format!("{token} passed {first:?}"))
            }
            (What::Version { token, .. }, call) if call.passes() => {
                let first = queue.live_tickets(at).next();
                demand(first.is_none(), || format!("a write with {token} passed {first:?}"))
            }
            (What::Queued { first: true, .. }, call) => {
                demand(matches!(call, Call::Break { take: Some(_), .. }), || format!("{call:?} went before the queue"))
            }
            (What::Gone { ticket }, call) => {
                let live = queue.live_tickets(at).find(|live| live.id == *ticket);
                let right = live.is_none_or(|live| match call {
                    Call::Cancel { .. } => true,
                    // Who passes the queue leaves it.
                    Call::Reacquire { actor, .. } | Call::Break { actor, take: Some(_), .. } => *actor == live.actor,
                    _ => false,
                });
                demand(right, || format!("ticket {ticket} left the queue alive"))
            }
            _ => Ok(()),
        }
    })?;
    look.record.views.iter().try_for_each(|view| {
        let known: Vec<_> = look.after.locks[view.lock].live_tickets(at).map(|ticket| (ticket.id, ticket.actor)).collect();
        demand(view.tickets == known, || format!("a reader sees the queue {:?} instead of {known:?}", view.tickets))
    })?;
    placed(look)
}

/// Who waits is told its true place.
fn placed(look: &Look<'_>) -> Result<(), String> {
    let (Some(lock), Reply::Queued { ticket, place }) = (look.record.call.lock(), &look.record.reply) else { return Ok(()) };
    let mut queue = look.after.locks[lock].live_tickets(look.record.at);
    // An offer that settling made in this call left the queue after the place was told.
    let Some(true) = queue.position(|other| other.id == *ticket).map(|at| at + 1 == *place as usize) else {
        let queue = &look.after.locks[lock].tickets;
        return demand(look.after.locks[lock].served.iter().any(|(served, _)| served == ticket), || {
            format!("ticket {ticket} was told place {place} of {queue:?}")
        });
    };
    Ok(())
}

/// The table's line on reacquire: "exclusive, ended by expiry, no later grant, not itself an unrenewed reacquire".
fn reacquired(look: &Look<'_>, queue: &LockFacts) -> Result<(), String> {
    let Call::Reacquire { actor, old, .. } = look.record.call else { return Ok(()) };
    let ended = queue.ended.iter().find(|(holder, _)| holder.token == old);
    let right = ended.is_some_and(|(holder, how)| {
        *how == How::Expired && holder.mode == Mode::Exclusive && holder.actor == actor && !holder.reacquired
    });
    demand(right && queue.last_token == old, || format!("{old} was taken again, which had ended as {ended:?}"))
}

/// Invariant 11: "A break with a stale expected token changes nothing."
///
/// One that names nobody breaks everybody; and if it comes again within a while, nobody who was granted the lock after the first.
pub(super) fn stale_break_changes_nothing(look: &Look<'_>) -> Result<(), String> {
    if let Call::Force { actor, lock } = look.record.call {
        return forced(look, actor, lock);
    }
    let Call::Break { lock, token, .. } = look.record.call else { return Ok(()) };
    let refused = look.record.reply.refused();
    let live = |token: Token| look.before.locks[lock].live_holders(look.record.at).any(|holder| holder.token == token);
    let stale = token.is_some_and(|token| !live(token)) && look.prior.is_none();
    demand(!stale || refused.is_some(), || {
        format!("{token:?} holds nothing, and the break was answered {:?}", look.record.reply)
    })?;
    let broke =
        look.record.events.iter().find(|seen| matches!(seen.what, What::Ended { how: How::Broken, .. } | What::Queued { .. }));
    demand(broke.is_none() || refused.is_none() && !stale, || format!("a refused break did {broke:?}"))?;
    let held = look.before.locks[lock].live_holders(look.record.at);
    let gone = held.into_iter().find(|holder| look.after.locks[lock].holder(holder.token).is_none());
    demand(gone.is_none() || refused.is_none() && !stale, || format!("a refused break ended {gone:?}"))
}

fn forced(look: &Look<'_>, actor: Actor, lock: Lock) -> Result<(), String> {
    let Reply::Broken { tokens, .. } = &look.record.reply else {
        let code = look.record.reply.refused();
        let allowed = matches!(code, Some("ENVIRONMENT_NOT_FOUND" | "REQUEST_ID_REUSED"));
        return demand(allowed, || format!("a break that names nobody is answered {:?}", look.record.reply));
    };
    if look.prior.is_some() {
        return Ok(());
    }
    let first = look.before.locks[lock].forced_by(actor, look.record.at);
    let after = tokens.iter().find(|token| first.is_some_and(|up_to| **token > up_to));
    demand(after.is_none(), || format!("{after:?} was broken by the retry of a break before it"))?;
    let spared = look.before.locks[lock]
        .live_holders(look.record.at)
        .find(|holder| first.is_none_or(|up_to| holder.token <= up_to) && look.after.locks[lock].holder(holder.token).is_some());
    demand(spared.is_none(), || format!("{spared:?} was not broken"))
}

/// Walks the events of a record, with what held before each.
pub(super) fn walk(look: &Look<'_>, mut judge: impl FnMut(&Facts, &What, usize) -> Result<(), String>) -> Result<(), String> {
    if look.record.events.is_empty() {
        return Ok(());
    }
    let mut facts = look.before.clone();
    for seen in &look.record.events {
        if let Some(lock) = seen.lock {
            judge(&facts, &seen.what, lock)?;
        }
        facts.tell(seen, look.record);
    }
    Ok(())
}

/// The token that the answer says its caller holds now.
fn acknowledged(look: &Look<'_>) -> Option<Token> {
    match (&look.record.call, &look.record.reply) {
        (_, Reply::Held { token, .. } | Reply::Renewed { token, .. }) => Some(*token),
        _ => None,
    }
}
