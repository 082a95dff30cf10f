//! The invariants of request ids and of time.

use super::ledger::{acts, env_of};
use super::{Look, demand};
use crate::history::{Call, Reply, What};

/// Invariant 7: "One (principal, request id) has one effect for 24 h; only effects are remembered (drafts too, refusals not); ids are looked up
/// before the lease is checked; the same id with another request is refused; request hashes are keyed."
pub(super) fn one_effect(look: &Look<'_>) -> Result<(), String> {
    let Some(request) = look.record.request else { return Ok(()) };
    let refused = look.record.reply.refused();
    let Some(prior) = look.prior else {
        return demand(refused != Some("REQUEST_ID_REUSED"), || "the id had no effect before, and is called reused".to_owned());
    };
    let act = look.record.events.iter().find(|seen| acts(&seen.what));
    demand(act.is_none(), || format!("a second effect of one id: {act:?}"))?;
    if refused == Some("ENVIRONMENT_NOT_FOUND") {
        return Ok(());
    }
    if prior.request.digest != request.digest {
        return demand(refused == Some("REQUEST_ID_REUSED"), || {
            format!("another request, and the answer {:?}", look.record.reply)
        });
    }
    // What was taken is told as it is now: invariant 8.
    let renewed = takes(&look.record.call);
    demand(renewed || as_then(&prior.reply) == as_then(&look.record.reply), || {
        format!("{:?} is repeated as {:?}", prior.reply, look.record.reply)
    })
}

/// An answer, whether first or repeated.
fn as_then(reply: &Reply) -> Reply {
    match reply {
        Reply::Wrote { version, .. } => Reply::Wrote { version: version.clone(), replayed: true },
        other => other.clone(),
    }
}

/// Invariant 8: "A replayed acquire whose lease has died since says so."
///
/// One that lives is told as it is. The same for what a reacquire or a break took.
///
/// A session that names one lease is such a request, too: within a minute after its lease has ended it gets no other.
pub(super) fn dead_acquire_says_so(look: &Look<'_>) -> Result<(), String> {
    spent_session_says_so(look)?;
    let (Some(prior), Some(request), Some(lock)) = (look.prior, look.record.request, look.record.call.lock()) else {
        return Ok(());
    };
    let acquires = takes(&look.record.call);
    let refused = look.record.reply.refused();
    if !acquires
        || request.digest != prior.request.digest
        || refused == Some("ENVIRONMENT_NOT_FOUND")
        || prior.call != look.record.call
    {
        return Ok(());
    }
    let facts = &look.after.locks[lock];
    let (first, again) = (taken(&prior.reply), taken(&look.record.reply));
    let token = match first {
        Reply::Held { token, .. } => Some(*token),
        Reply::Queued { ticket, .. } => facts.served.iter().find(|(served, _)| served == ticket).map(|(_, token)| *token),
        _ => None,
    };
    let ticket = match first {
        // Tickets are numbered anew in an environment that was deleted since.
        Reply::Queued { .. } if look.after.environments[env_of(lock)].generation > 0 => return Ok(()),
        Reply::Queued { ticket, .. } => facts.live_tickets(look.record.at).find(|live| live.id == *ticket).map(|live| live.id),
        _ => None,
    };
    let held = token.filter(|token| facts.live_holders(look.record.at).any(|holder| holder.token == *token));
    let right = match (again, held, ticket) {
        (Reply::Held { token, .. }, Some(held), _) => *token == held,
        (Reply::Queued { ticket, .. }, None, Some(waits)) => *ticket == waits,
        (Reply::Refused { code: "ACQUIRE_DEAD", .. }, None, None) => true,
        _ => false,
    };
    demand(right, || {
        format!("{:?} got {:?}, and is repeated as {:?}", look.record.call, (token, ticket, held), look.record.reply)
    })
}

fn spent_session_says_so(look: &Look<'_>) -> Result<(), String> {
    let Call::Acquire { actor, lock, ask } = look.record.call else { return Ok(()) };
    let spent = ask.once && look.after.locks[lock].is_spent(actor, look.record.at);
    if look.record.reply.refused() == Some("SESSION_SPENT") {
        return demand(spent, || format!("{:?} of a session that may have a lease", look.record.reply));
    }
    let gets = |what: &What| matches!(what, What::Granted { ticket: None, .. } | What::Queued { .. });
    let got = look.record.events.iter().find(|seen| gets(&seen.what));
    demand(!spent || got.is_none() || look.prior.is_some(), || format!("a session whose lease is over got {got:?}"))
}

/// Whether the call asks for a lease for its caller.
fn takes(call: &Call) -> bool {
    matches!(call, Call::Acquire { .. } | Call::Reacquire { .. } | Call::Break { take: Some(_), .. })
}

/// What the caller got.
fn taken(reply: &Reply) -> &Reply {
    match reply {
        Reply::Broken { then: Some(then), .. } => then,
        other => other,
    }
}

/// Invariant 12: "Steps of any wall clock change no decision": store time is the last beat's plus what the monotonic source moved since, 2 s at
/// most, whatever wall clocks and restarts do.
pub(super) fn store_time_is_as_reckoned(look: &Look<'_>) -> Result<(), String> {
    let (said, at) = (look.record.said, look.record.at);
    demand(said.is_none_or(|said| said == at), || format!("the store says {said:?}, and it is {at}"))
}
