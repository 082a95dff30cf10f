//! For each invariant a bug that breaks it, and the checker that finds it: in mutated rules, in a clock, or around a store.

use std::sync::Arc;
use std::time::Duration;

use leasehold::domain::command::{Act, ContentAct, LockAct};
use leasehold::domain::decide;
use leasehold::domain::decision::{Change, Decision, Snapshot};
use leasehold::domain::lock::{Holder, Mode};
use leasehold::domain::time::{Context, StoreTime, WallTime};
use leasehold::store::clock::{ManualSource, Source};

use crate::engine::{Engine, Start, mutated};
use crate::properties::{judge, script_of};

mod door;
mod stores;

/// How many scripts may pass before the bug has to be found.
const BOUND: u64 = 2_000;

/// Plays scripts until the checker reports just this invariant.
#[expect(clippy::print_stdout, reason = "tells which script found the bug")]
fn finds(invariant: u8, start: Start) {
    let found = (0..BOUND).find(|seed| judge(start, &script_of(*seed)).iter().any(|violation| violation.invariant == invariant));
    let seed = found.unwrap_or_else(|| panic!("{BOUND} scripts, and nobody saw invariant {invariant} broken"));
    println!("invariant {invariant}: found by seed {seed}");
}

/// Rules that are mutated by changing what they see and what they decide.
macro_rules! planted {
    ($(#[$doc:meta])* $name:ident breaks $invariant:literal: $rules:expr) => {
        $(#[$doc])*
        #[test]
        fn $name() {
            finds($invariant, |source| mutated(source, $rules));
        }
    };
}
use planted;

planted! {
    /// An acquire does not see who holds the lock.
    acquire_that_overlooks_holders breaks 1: |mut snapshot, command, ctx| {
        if !matches!(command.act, Act::Lock(_, LockAct::Acquire(_))) {
            return decide(snapshot, command, ctx);
        }
        let held = std::mem::take(&mut snapshot.lock.holders);
        let mut decision = decide(snapshot, command, ctx);
        locks(&mut decision).for_each(|lock| lock.holders.extend(held.clone()));
        decision
    }
}

planted! {
    /// The last token is not kept with the grant.
    grant_that_forgets_its_token breaks 2: |snapshot, command, ctx| {
        let before = snapshot.lock.last_token;
        let mut decision = decide(snapshot, command, ctx);
        locks(&mut decision).for_each(|lock| lock.last_token = before);
        decision
    }
}

planted! {
    /// The deletion of an environment leaves the epoch alone, so that a namesake's tokens begin again.
    deletion_without_a_new_epoch breaks 2: |snapshot, command, ctx| {
        let mut decision = decide(snapshot, command, ctx);
        decision.changes.retain(|change| !matches!(change, Change::RaiseEpoch));
        decision
    }
}

planted! {
    /// A write believes that leases live half a minute longer.
    write_under_a_dead_lease breaks 3: |mut snapshot, command, ctx| {
        if matches!(command.act, Act::Content(..)) {
            deadlines(&mut snapshot, |deadline| StoreTime(deadline.0 + 30_000_000));
        }
        decide(snapshot, command, ctx)
    }
}

planted! {
    /// A write takes whatever token for the live one.
    write_with_any_token breaks 3: |snapshot, command, ctx| {
        let mut command = command.clone();
        if let (Act::Content(_, act), Some(holder)) = (&mut command.act, snapshot.lock.holders.first())
            && let ContentAct::Write(write) = &mut **act
        {
            (write.token, write.session, command.principal) = (holder.token, holder.session.clone(), holder.principal.clone());
        }
        decide(snapshot, &command, ctx)
    }
}

planted! {
    /// A deleted state is taken for one without versions, which a shared holder may write.
    shared_write_that_brings_a_state_back breaks 3: |mut snapshot, command, ctx| {
        let deleted = snapshot.current.as_ref().is_some_and(|current| current.deleted());
        let token = match &command.act {
            Act::Content(_, act) => match &**act {
                ContentAct::Write(write) => Some(write.token),
                _ => None,
            },
            _ => None,
        };
        let shared = |holder: &&mut Holder| deleted && Some(holder.token) == token && holder.mode == Mode::Shared;
        let Some(holder) = snapshot.lock.holders.iter_mut().find(shared) else { return decide(snapshot, command, ctx) };
        holder.mode = Mode::Exclusive;
        let mut decision = decide(snapshot, command, ctx);
        let holders = locks(&mut decision).flat_map(|lock| &mut lock.holders);
        holders.filter(|holder| Some(holder.token) == token).for_each(|holder| holder.mode = Mode::Shared);
        decision
    }
}

planted! {
    /// A deleted state is taken for one that never was: numbers and etags begin again.
    recreation_that_counts_from_one breaks 4: |mut snapshot, command, ctx| {
        snapshot.current = snapshot.current.filter(|current| !current.deleted());
        decide(snapshot, command, ctx)
    }
}

planted! {
    /// A sweep is a second and a half early.
    sweep_ahead_of_time breaks 5: |mut snapshot, command, ctx| {
        if matches!(command.act, Act::Lock(_, LockAct::Settle)) {
            deadlines(&mut snapshot, |deadline| StoreTime(deadline.0.saturating_sub(1_500_000)));
        }
        decide(snapshot, command, ctx)
    }
}

planted! {
    /// A renewal is answered and not kept.
    renewal_that_is_not_kept breaks 5: |snapshot, command, ctx| {
        let mut decision = decide(snapshot, command, ctx);
        if matches!(command.act, Act::Lock(_, LockAct::Renew { .. })) {
            decision.changes.retain(|change| !matches!(change, Change::PutLock(_)));
        }
        decision
    }
}

planted! {
    /// Nobody is told when a lock is due.
    sweep_that_is_never_due breaks 6: |snapshot, command, ctx| Decision { due: None, ..decide(snapshot, command, ctx) }
}

planted! {
    /// The lock delay after a dead holder is dropped.
    hand_off_without_lock_delay breaks 6: |snapshot, command, ctx| {
        let mut decision = decide(snapshot, command, ctx);
        locks(&mut decision).for_each(|lock| lock.cooldown_until = None);
        decision
    }
}

planted! {
    /// Dead tickets stay at the head, and nobody looks behind them.
    queue_behind_the_dead breaks 6: |mut snapshot, command, ctx| {
        if snapshot.head.iter().any(|ticket| ticket.deadline <= ctx.now) {
            snapshot.head.clear();
        }
        decide(snapshot, command, ctx)
    }
}

planted! {
    /// Request ids are not looked up.
    effect_that_is_not_looked_up breaks 7: |mut snapshot, command, ctx| {
        snapshot.effect = None;
        decide(snapshot, command, ctx)
    }
}

planted! {
    /// Refusals are remembered, too.
    refusal_that_is_remembered breaks 7: |snapshot, command, ctx| {
        let mut decision = decide(snapshot, command, ctx);
        if decision.reply.is_err() && command.request.is_some() {
            decision.changes.push(Change::Remember);
        }
        decision
    }
}

planted! {
    /// A replayed acquire is answered as it was, whatever became of its lease.
    acquire_repeated_as_it_was breaks 8: |snapshot, command, ctx| {
        match (&command.act, &snapshot.effect, command.request) {
            (Act::Lock(_, LockAct::Acquire(_)), Some(effect), Some((_, digest))) if effect.digest == digest => {
                let reply = effect.outcome.clone();
                Decision { reply, ..decide(snapshot, command, ctx) }
            }
            _ => decide(snapshot, command, ctx),
        }
    }
}

planted! {
    /// A refused write is promised a draft that is not kept.
    draft_that_is_only_promised breaks 9: |snapshot, command, ctx| {
        let mut decision = decide(snapshot, command, ctx);
        decision.changes.retain(|change| !matches!(change, Change::PutDraft(..)));
        decision
    }
}

planted! {
    /// The second in the queue is served first.
    queue_in_another_order breaks 10: |mut snapshot, command, ctx| {
        if snapshot.head.len() > 1 {
            snapshot.head.swap(0, 1);
        }
        decide(snapshot, command, ctx)
    }
}

planted! {
    /// An acquire does not see who waits.
    acquire_that_overlooks_the_queue breaks 10: |mut snapshot, command, ctx| {
        snapshot.waiting = 0;
        decide(snapshot, command, ctx)
    }
}

planted! {
    /// A break with a token that holds nothing is taken for a break of all.
    break_of_the_wrong_holder breaks 11: |snapshot, command, ctx| {
        let mut command = command.clone();
        if let Act::Lock(_, LockAct::Break(act)) = &mut command.act {
            act.token = act.token.filter(|token| snapshot.lock.holders.iter().any(|holder| holder.token == *token));
        }
        decide(snapshot, &command, ctx)
    }
}

/// The source of store time is a wall clock.
#[test]
fn monotonic_clock_that_follows_the_wall_breaks_12() {
    struct Wall(Arc<ManualSource>);

    impl Source for Wall {
        fn monotonic(&self) -> Duration {
            Duration::from_millis(u64::try_from(self.0.wall().0).unwrap_or(0))
        }

        fn wall(&self) -> WallTime {
            self.0.wall()
        }
    }

    finds(12, |source| mutated(Arc::new(Wall(source)), decide));
}

/// A rule asks the wall clock: leases are not renewed in odd hours.
#[test]
fn rule_that_asks_the_wall_clock_breaks_12() {
    finds(12, |source| {
        mutated(source, |snapshot, command, ctx| {
            let odd = ctx.wall.0 / 3_600_000 % 2 == 1;
            let limits = leasehold::domain::settings::Limits { max_ttl: Duration::from_secs(4), ..ctx.limits.clone() };
            decide(snapshot, command, &Context { limits: if odd { &limits } else { ctx.limits }, ..*ctx })
        })
    });
}

/// The last commit before a crash is lost.
#[test]
fn commit_that_a_crash_loses_breaks_13() {
    finds(13, |source| Box::new(stores::Lossy::start(source, false)) as Box<dyn Engine>);
}

/// The same store that does commit first breaks nothing: what is found above is the loss.
#[test]
fn commit_that_a_crash_keeps_breaks_nothing() {
    for seed in 0..200 {
        let violations = judge(|source| Box::new(stores::Lossy::start(source, true)) as Box<dyn Engine>, &script_of(seed));
        assert_eq!(violations, [], "seed {seed}");
    }
}

/// A read is answered with what the last one saw.
#[test]
fn read_that_lags_breaks_14() {
    finds(14, |source| Box::new(stores::Lagging::start(source)) as Box<dyn Engine>);
}

fn locks(decision: &mut Decision) -> impl Iterator<Item = &mut leasehold::domain::lock::Lock> {
    decision.changes.iter_mut().filter_map(|change| match change {
        Change::PutLock(lock) => Some(lock),
        _ => None,
    })
}

fn deadlines(snapshot: &mut Snapshot, change: impl Fn(StoreTime) -> StoreTime) {
    snapshot.lock.holders.iter_mut().for_each(|holder| holder.deadline = holder.deadline.map(&change));
}
