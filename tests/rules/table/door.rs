//! Tools that lock by an id of their own: ids that are used once, grants that are taken back, forced breaks, plans, and writes that pass.

use super::*;
use crate::history::Plans;

rule!(lock_id_of_a_live_holder_is_its_lease_again, |w: &mut World| {
    let token = w.hold(ALICE, TOOL);
    w.pause();
    for asked in 1..3 {
        assert_eq!(w.acquire(ALICE, TOOL), Reply::Held { token, ttl: 5_000_000, remaining: None, claimed: true, asked });
    }
    assert_eq!(w.holder(ALICE), token);
});

rule!(lock_id_of_a_ticket_is_its_place_again, |w: &mut World| {
    w.hold(ALICE, TOOL);
    let ticket = w.queue(BOB, TOOL);
    w.pause();
    assert_eq!(w.acquire(BOB, TOOL), Reply::Queued { ticket, place: 1 });
    assert_eq!(w.queue(BOB, TOOL), ticket);
    // Who polls has 16 s from its last question.
    w.pass(15_999);
    assert_eq!(w.queue(BOB, TOOL), ticket);
    w.pass(15_999);
    assert_eq!(w.queue(BOB, TOOL), ticket);
});

rule!(lock_id_that_was_released_gets_no_other_lease_for_a_minute, |w: &mut World| {
    let token = w.hold(ALICE, TOOL);
    w.release(ALICE, token);
    w.pause();
    assert_eq!(refused(&w.acquire(ALICE, TOOL)), "SESSION_SPENT");
    assert_eq!(refused(&w.acquire(ALICE, Ask { wait: true, ..TOOL })), "SESSION_SPENT");
    assert_eq!(refused(&w.acquire(ALICE, PLAN)), "SESSION_SPENT");
    w.nobody_holds();
    assert_eq!(w.driver.look(LOCK).tickets, []);
    // Another principal's session of the same name is another one.
    let others = w.hold(BOB, TOOL);
    w.release(BOB, others);
    w.pass(59_999);
    assert_eq!(refused(&w.acquire(ALICE, TOOL)), "SESSION_SPENT");
    w.pause();
    w.pass(1);
    assert!(w.hold(ALICE, TOOL) > others);
});

rule!(lock_id_whose_lease_was_broken_gets_no_other, |w: &mut World| {
    let token = w.hold(ALICE, TOOL);
    w.break_lease(BOB, Some(token), true, None);
    w.pause();
    assert_eq!(refused(&w.acquire(ALICE, TOOL)), "SESSION_SPENT");
    w.hold(BOB_TOO, TOOL);
    assert_eq!(refused(&w.acquire(ALICE, TOOL)), "SESSION_SPENT");
});

rule!(lock_id_whose_plan_expired_gets_no_other, |w: &mut World| {
    let token = w.hold(ALICE, PLAN);
    w.pass(20_000);
    w.pause();
    assert_eq!(w.end_of(token), Some(How::Expired));
    assert_eq!(refused(&w.acquire(ALICE, PLAN)), "SESSION_SPENT");
    assert_eq!(refused(&w.acquire(ALICE, TOOL)), "SESSION_SPENT");
});

rule!(session_that_names_more_than_one_lease_is_not_spent, |w: &mut World| {
    let token = w.hold(ALICE, Ask { once: false, ..TOOL });
    w.release(ALICE, token);
    w.pause();
    let next = w.hold(ALICE, EXCLUSIVE);
    w.release(ALICE, next);
    assert!(w.hold(ALICE, Ask { once: false, ..TOOL }) > next);
});

rule!(lock_id_whose_offer_was_not_claimed_may_ask_again, |w: &mut World| {
    let first = w.hold(ALICE, EXCLUSIVE);
    w.queue(BOB, TOOL);
    w.release(ALICE, first);
    let offered = w.holder(BOB);
    w.pause();
    w.pass(3_999);
    assert_eq!(w.holder(BOB), offered);
    w.pass(1);
    assert_eq!(w.end_of(offered), Some(How::Unclaimed));
    assert!(w.hold(BOB, TOOL) > offered);
});

rule!(lock_id_whose_offer_was_given_back_is_spent, |w: &mut World| {
    let first = w.hold(ALICE, EXCLUSIVE);
    w.queue(BOB, TOOL);
    w.release(ALICE, first);
    let offered = w.holder(BOB);
    w.pause();
    w.release(BOB, offered);
    assert_eq!(refused(&w.acquire(BOB, TOOL)), "SESSION_SPENT");
});

rule!(grant_is_taken_back_without_a_trace, |w: &mut World| {
    let token = w.hold(ALICE, TOOL);
    w.pause();
    assert_eq!(w.take_back(ALICE, token, 0), Reply::Done("taken back"));
    assert_eq!(w.end_of(token), Some(How::Unclaimed));
    // Again, and by others, it does nothing.
    assert_eq!(w.take_back(ALICE, token, 0), Reply::Nothing);
    // No lock delay, and the same id is welcome.
    assert!(w.hold(ALICE, TOOL) > token);
});

rule!(grant_that_was_asked_for_again_is_not_taken_back, |w: &mut World| {
    let token = w.hold(ALICE, TOOL);
    w.hold(ALICE, TOOL);
    w.pause();
    assert_eq!(w.take_back(ALICE, token, 0), Reply::Nothing);
    assert_eq!(w.holder(ALICE), token);
    assert_eq!(w.take_back(BOB, token, 1), Reply::Nothing);
    assert_eq!(w.take_back(ALICE, token + 1, 0), Reply::Nothing);
    assert_eq!(w.holder(ALICE), token);
    assert_eq!(w.take_back(ALICE, token, 1), Reply::Done("taken back"));
});

rule!(grant_that_is_taken_back_goes_to_the_next_at_once, |w: &mut World| {
    let token = w.hold(ALICE, TOOL);
    w.queue(BOB, TOOL);
    w.pause();
    w.take_back(ALICE, token, 0);
    assert!(w.holder(BOB) > token);
    // What was claimed by asking can be taken back as well.
    assert!(matches!(w.acquire(BOB, TOOL), Reply::Held { claimed: true, asked: 1, .. }));
    let token = w.holder(BOB);
    assert_eq!(w.take_back(BOB, token, 1), Reply::Done("taken back"));
    w.nobody_holds();
});

rule!(forced_break_ends_everybody_and_leaves_the_lock_delay, |w: &mut World| {
    let (first, second) = (w.hold(ALICE, PLAN), w.hold(BOB, SHARED));
    w.pause();
    assert_eq!(w.force(BOB_TOO), broken(&[first, second]));
    // Readers leave no lock delay.
    let token = w.hold(ALICE, EXCLUSIVE);
    assert_eq!(w.force(ALICE), broken(&[token]));
    assert_eq!(w.end_of(token), Some(How::Broken));
    w.pause();
    assert_eq!(refused(&w.acquire(BOB, TOOL)), "LEASE_HELD");
    w.pass(2_999);
    assert_eq!(refused(&w.acquire(BOB, TOOL)), "LEASE_HELD");
    w.pass(1);
    w.hold(BOB, TOOL);
});

rule!(forced_break_that_comes_again_breaks_nobody_granted_since, |w: &mut World| {
    let old = w.hold(ALICE, TOOL);
    w.queue(BOB, TOOL);
    assert_eq!(w.force(BOB), broken(&[old]));
    w.pass(3_000);
    let next = w.holder(BOB);
    w.pause();
    // Principals break, not sessions; and what they break is everybody's.
    assert_eq!(w.force(BOB_TOO), broken(&[]));
    assert_eq!(w.holder(BOB), next);
    // Another principal's is no retry.
    assert_eq!(w.force(ALICE), broken(&[next]));
    w.pass(3_000);
    let last = w.hold(BOB_TOO, TOOL);
    w.pass(23_999);
    assert_eq!(w.force(BOB), broken(&[]));
    w.pause();
    w.pass(1);
    assert_eq!(w.force(BOB), broken(&[last]));
});

rule!(forced_break_of_what_nobody_holds_is_no_error, |w: &mut World| {
    assert_eq!(w.force(ALICE), broken(&[]));
    let token = w.hold(BOB, EXCLUSIVE);
    w.pass(5_000);
    w.pause();
    // It does not end a lock delay that runs, either.
    assert_eq!(w.force(BOB), broken(&[]));
    assert_eq!(refused(&w.acquire(ALICE, TOOL)), "LEASE_HELD");
    w.pass(3_000);
    assert!(w.hold(ALICE, TOOL) > token);
    // The one before it was made when nobody held, and this one may be its retry.
    assert_eq!(w.force(ALICE), broken(&[]));
});

rule!(forced_break_of_an_offer_leaves_no_lock_delay, |w: &mut World| {
    let first = w.hold(ALICE, EXCLUSIVE);
    w.queue(BOB, TOOL);
    w.release(ALICE, first);
    let offered = w.holder(BOB);
    w.pause();
    assert_eq!(w.force(ALICE), broken(&[offered]));
    w.hold(ALICE, EXCLUSIVE);
});

rule!(plans_are_shared_unless_the_policy_says_otherwise, |w: &mut World| {
    let (first, second) = (w.hold(ALICE, PLAN), w.hold(BOB, PLAN));
    assert_eq!(refused(&w.acquire(BOB_TOO, TOOL)), "LEASE_HELD");
    w.release(ALICE, first);
    w.release(BOB, second);
    w.door(Plans::Exclusive, false);
    w.pause();
    let alone = w.hold(ALICE_TOO, PLAN);
    assert_eq!(refused(&w.acquire(BOB_TOO, PLAN)), "LEASE_HELD");
    assert!(matches!(w.write(ALICE_TOO, alone), Reply::Wrote { .. }));
    w.door(Plans::Snapshot, false);
    w.pause();
    assert_eq!(w.acquire(BOB_TOO, PLAN), Reply::Done("no lease needed"));
    assert_eq!(w.holder(ALICE_TOO), alone);
});

rule!(plan_that_asks_again_under_another_policy_has_its_lease, |w: &mut World| {
    let token = w.hold(ALICE, PLAN);
    w.door(Plans::Exclusive, false);
    w.pause();
    assert_eq!(w.hold(ALICE, PLAN), token);
    assert_eq!(refused(&w.acquire(ALICE, TOOL)), "MODE_CONFLICT");
    assert_eq!(w.driver.look(LOCK).holders[0].2, Mode::Shared);
});

rule!(plan_writes_the_first_version_and_nothing_else, |w: &mut World| {
    let (first, second) = (w.hold(ALICE, PLAN), w.hold(BOB, PLAN));
    assert_eq!(wrote(&w.write(ALICE, first)), 1);
    w.pause();
    assert_eq!(refused(&w.write(BOB, second)), "LEASE_SHARED");
    let reply = w.write(ALICE, first);
    assert_eq!(refused(&reply), "LEASE_SHARED");
    assert_eq!(w.driver.drafts_of(LOCK).len(), 2);
});

rule!(write_that_passes_takes_the_next_token_and_leaves_no_trace, |w: &mut World| {
    w.door(Plans::Shared, true);
    let mut last = w.hold(ALICE, EXCLUSIVE);
    w.release(ALICE, last);
    for version in 1..4 {
        w.pause();
        let reply = w.pass_by(BOB);
        assert_eq!(wrote(&reply), version);
        let Reply::Wrote { version, .. } = reply else { unreachable!("it was written") };
        assert!(version.token > last, "{} after {last}", version.token);
        last = version.token;
        w.nobody_holds();
    }
    assert!(w.hold(ALICE, EXCLUSIVE) > last);
});

rule!(write_that_passes_with_a_wrong_guess_is_guessed_again, |w: &mut World| {
    w.door(Plans::Shared, true);
    assert_eq!(wrote(&w.pass_by(ALICE)), 1);
    let first = w.driver.look(LOCK).last_token;
    w.pause();
    for token in [0, first, first + 7, 1 << 62] {
        let write = Write { passing: true, ..w.next(token) };
        assert!(matches!(w.put(BOB, write), Reply::Wrote { .. }));
    }
    // However often it had to guess, it spent one token each.
    let last = w.driver.look(LOCK).last_token;
    assert!(if w.restarts { last > first + 4 } else { last == first + 4 }, "{last} after {first}");
});

rule!(write_that_may_not_pass_is_a_draft, |w: &mut World| {
    assert_eq!(refused(&w.pass_by(ALICE)), "LEASE_REQUIRED");
    w.door(Plans::Shared, true);
    for ask in [EXCLUSIVE, PLAN] {
        let token = w.hold(BOB, ask);
        w.pause();
        // Not even the holder's own: without its lease it is anybody.
        assert_eq!(refused(&w.pass_by(BOB)), "LEASE_HELD");
        assert_eq!(refused(&w.pass_by(ALICE)), "LEASE_HELD");
        w.release(BOB, token);
    }
    w.call(ALICE, Call::Freeze { lock: LOCK });
    assert_eq!(refused(&w.pass_by(ALICE)), "FROZEN");
    w.call(ALICE, Call::Unfreeze { lock: LOCK });
    w.call(ALICE, Call::FreezeEnvironment { env: 0 });
    w.pause();
    assert_eq!(refused(&w.pass_by(ALICE)), "FROZEN");
    w.call(ALICE, Call::UnfreezeEnvironment { env: 0 });
    let dies = w.hold(BOB, EXCLUSIVE);
    w.pass(5_000);
    w.pause();
    // The one who held it may still be at work: the lock delay is for it.
    assert_eq!(refused(&w.pass_by(ALICE)), "LEASE_HELD");
    assert_eq!(w.driver.drafts_of(LOCK).len(), 8);
    w.pass(3_000);
    assert_eq!(wrote(&w.pass_by(ALICE)), 1);
    assert!(w.driver.look(LOCK).last_token > dies);
});

rule!(write_that_passes_keeps_the_rules_of_documents, |w: &mut World| {
    w.door(Plans::Shared, true);
    let first = Write { passing: true, ..w.next(0) };
    assert_eq!(wrote(&w.put(ALICE, first.clone())), 1);
    w.pause();
    // A retry of what is current is none; an older serial, another lineage and another version are drafts.
    let again = Write { draft: 60, etag: 60, ..first.clone() };
    assert!(matches!(w.put(ALICE, again), Reply::Wrote { replayed: true, version } if version.version == 1));
    let next = Write { passing: true, ..w.next(0) };
    assert_eq!(
        refused(&w.put(ALICE, Write { terraform: Some((1, 1)), bytes: Some(50), draft: 50, ..next.clone() })),
        "SERIAL_NOT_HIGHER"
    );
    assert_eq!(
        refused(&w.put(ALICE, Write { terraform: Some((2, 9)), bytes: Some(51), draft: 51, ..next.clone() })),
        "LINEAGE_DIFFERS"
    );
    assert_eq!(refused(&w.put(ALICE, Write { expect: (0, None), bytes: Some(52), draft: 52, ..next })), "VERSION_CONFLICT");
    assert_eq!(w.driver.drafts_of(LOCK), [52, 51, 50]);
    w.nobody_holds();
});

rule!(write_that_passes_does_not_pass_a_live_ticket_behind_dead_ones, |w: &mut World| {
    w.door(Plans::Shared, true);
    w.hold(ALICE, SHARED);
    for n in 0..70 {
        w.queue(CROWD + n, Ask { polls: n == 69, ..EXCLUSIVE });
    }
    w.late(8);
    w.pause();
    // Nobody has looked since the lease ended, and only the last ticket lives, far behind what one look at the queue covers.
    assert_eq!(refused(&w.pass_by(BOB)), "LEASE_HELD");
    w.holder(CROWD + 69);
});

/// The acts of a tool's door.
impl World {
    fn take_back(&mut self, actor: Actor, token: Token, asked: u32) -> Reply {
        self.call(actor, Call::TakeBack { actor, lock: LOCK, token, asked })
    }

    fn force(&mut self, actor: Actor) -> Reply {
        self.call(actor, Call::Force { actor, lock: LOCK })
    }

    /// Sets the policy.
    fn door(&mut self, plans: Plans, passing: bool) {
        self.call(ALICE, Call::SetDoor { env: 0, plans, passing });
    }

    /// Writes without a lease, on top of what is current.
    fn pass_by(&mut self, actor: Actor) -> Reply {
        let coming = self.driver.look(LOCK).last_token + 1;
        let write = Write { passing: true, ..self.next(coming) };
        self.put(actor, write)
    }
}

fn broken(tokens: &[Token]) -> Reply {
    Reply::Broken { tokens: tokens.to_vec(), then: None }
}
