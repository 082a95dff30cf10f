//! Bugs in the rules for tools that lock by an id of their own.

use leasehold::domain::command::{Act, Command, ContentAct, LockAct};
use leasehold::domain::decide;
use leasehold::domain::decision::Snapshot;
use leasehold::domain::ids::Token;

use super::{finds, locks, planted};
use crate::engine::mutated;

planted! {
    /// A write without a lease overlooks readers.
    write_that_passes_readers breaks 1: |mut snapshot, command, ctx| {
        if passing(command).is_none() {
            return decide(snapshot, command, ctx);
        }
        let held = std::mem::take(&mut snapshot.lock.holders);
        let mut decision = decide(snapshot, command, ctx);
        locks(&mut decision).for_each(|lock| lock.holders.extend(held.clone()));
        decision
    }
}

planted! {
    /// A write without a lease is believed which token comes next.
    write_that_passes_with_a_spent_token breaks 2: |mut snapshot, command, ctx| {
        if let Some(token) = passing(command) {
            snapshot.lock.last_token = Token(token.0.saturating_sub(1));
        }
        decide(snapshot, command, ctx)
    }
}

planted! {
    /// A write without a lease does not spend its token.
    write_that_passes_and_leaves_its_token breaks 2: |snapshot, command, ctx| {
        let before = snapshot.lock.last_token;
        let mut decision = decide(snapshot, command, ctx);
        if passing(command).is_some() {
            locks(&mut decision).for_each(|lock| lock.last_token = before);
        }
        decision
    }
}

planted! {
    /// A write without a lease is taken where it is not allowed.
    write_that_passes_the_policy breaks 3: |mut snapshot, command, ctx| {
        let settings = snapshot.environment.as_mut().map(|environment| &mut environment.settings);
        settings.into_iter().for_each(|settings| settings.write_without_lock = true);
        decide(snapshot, command, ctx)
    }
}

planted! {
    /// A grant is taken back from a session that has asked again, and was told.
    grant_that_is_taken_from_who_was_told breaks 5: |snapshot, command, ctx| {
        let mut command = command.clone();
        if let Act::Lock(_, LockAct::TakeBack { token, asked, .. }) = &mut command.act {
            *asked = asked_of(&snapshot, *token).unwrap_or(*asked);
        }
        decide(snapshot, &command, ctx)
    }
}

planted! {
    /// A write without a lease overlooks the lock delay after a holder that died.
    write_that_passes_the_lock_delay breaks 6: |mut snapshot, command, ctx| {
        if passing(command).is_some() {
            snapshot.lock.cooldown_until = None;
        }
        decide(snapshot, command, ctx)
    }
}

planted! {
    /// The id of a lease that is over gets another one.
    lock_id_that_is_used_again breaks 8: |mut snapshot, command, ctx| {
        snapshot.lock.spent.clear();
        decide(snapshot, command, ctx)
    }
}

planted! {
    /// A write without a lease is told that its token was guessed wrongly, whatever it guesses.
    write_whose_guess_is_told breaks 9: |mut snapshot, command, ctx| {
        // Whatever the service guesses, the next token is another one.
        if passing(command).is_some() {
            snapshot.lock.last_token = Token(passing(command).map_or(0, |token| token.0 + 1).max(snapshot.lock.last_token.0));
        }
        decide(snapshot, command, ctx)
    }
}

planted! {
    /// The retry of a break that names nobody breaks who came after it.
    forced_break_that_comes_again breaks 11: |mut snapshot, command, ctx| {
        snapshot.lock.forced.clear();
        decide(snapshot, command, ctx)
    }
}

planted! {
    /// What a plan takes is what it asks for.
    plan_that_chooses_its_lease breaks 1: |snapshot, command, ctx| {
        let mut command = command.clone();
        if let Act::Lock(_, LockAct::Acquire(acquire)) = &mut command.act {
            acquire.plan = false;
        }
        decide(snapshot, &command, ctx)
    }
}

fn passing(command: &Command) -> Option<Token> {
    match &command.act {
        Act::Content(_, act) => match &**act {
            ContentAct::Write(write) if write.passing => Some(write.token),
            _ => None,
        },
        _ => None,
    }
}

fn asked_of(snapshot: &Snapshot, token: Token) -> Option<u32> {
    snapshot.lock.holders.iter().find(|holder| holder.token == token).map(|holder| holder.asked)
}
