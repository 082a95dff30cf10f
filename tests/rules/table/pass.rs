//! What ends leases and passes queues from outside: reacquire, break, freeze.

use super::*;

rule!(reacquire_of_an_expired_lease_gives_a_new_token_before_the_queue, |w: &mut World| {
    let old = w.hold(ALICE, EXCLUSIVE);
    w.queue(BOB, Ask { polls: true, ..EXCLUSIVE });
    w.pass(5_500);
    w.pause();
    let Reply::Held { token, claimed: true, .. } = w.reacquire(ALICE, old) else { panic!("not taken again") };
    assert!(token > old);
    assert_eq!(w.holder(ALICE), token);
});

rule!(reacquire_of_an_unrenewed_reacquire_is_refused, |w: &mut World| {
    let old = w.hold(ALICE, EXCLUSIVE);
    w.pass(5_000);
    let Reply::Held { token, .. } = w.reacquire(ALICE, old) else { panic!("not taken again") };
    w.pass(5_000);
    w.pause();
    assert_eq!(refused(&w.reacquire(ALICE, token)), "REACQUIRE_REFUSED");
});

rule!(reacquire_of_a_renewed_reacquire_is_fine, |w: &mut World| {
    let old = w.hold(ALICE, EXCLUSIVE);
    w.pass(5_000);
    let Reply::Held { token, .. } = w.reacquire(ALICE, old) else { panic!("not taken again") };
    w.renew(ALICE, token, None);
    w.pass(5_000);
    w.pause();
    assert!(matches!(w.reacquire(ALICE, token), Reply::Held { .. }));
});

rule!(reacquire_after_a_later_grant_is_refused, |w: &mut World| {
    let old = w.hold(ALICE, EXCLUSIVE);
    w.pass(8_000);
    let next = w.hold(BOB, EXCLUSIVE);
    w.release(BOB, next);
    w.pause();
    assert_eq!(refused(&w.reacquire(ALICE, old)), "REACQUIRE_REFUSED");
});

rule!(reacquire_of_what_did_not_expire_or_was_not_exclusive_is_refused, |w: &mut World| {
    let live = w.hold(ALICE, EXCLUSIVE);
    assert_eq!(refused(&w.reacquire(ALICE, live)), "REACQUIRE_REFUSED");
    w.release(ALICE, live);
    w.pause();
    assert_eq!(refused(&w.reacquire(ALICE, live)), "REACQUIRE_REFUSED");
    let shared = w.hold(ALICE, SHARED);
    w.pass(5_000);
    assert_eq!(refused(&w.reacquire(ALICE, shared)), "REACQUIRE_REFUSED");
    let broken = w.hold(ALICE, EXCLUSIVE);
    w.break_lease(BOB, Some(broken), false, None);
    assert_eq!(refused(&w.reacquire(ALICE, broken)), "REACQUIRE_REFUSED");
    assert_eq!(refused(&w.reacquire(ALICE, broken + 1)), "TOKEN_UNKNOWN");
});

rule!(reacquire_by_another_session_is_refused, |w: &mut World| {
    let old = w.hold(ALICE, EXCLUSIVE);
    w.pass(5_000);
    w.pause();
    assert_eq!(refused(&w.reacquire(BOB, old)), "LEASE_FOREIGN");
    assert_eq!(refused(&w.reacquire(ALICE_TOO, old)), "LEASE_FOREIGN");
});

rule!(reacquire_by_a_session_that_waits_takes_it_out_of_the_queue, |w: &mut World| {
    let old = w.hold(ALICE, EXCLUSIVE);
    w.pass(5_000);
    w.queue(ALICE, EXCLUSIVE);
    w.pause();
    let Reply::Held { token, .. } = w.reacquire(ALICE, old) else { panic!("not taken again") };
    assert_eq!(w.driver.look(LOCK).tickets, []);
    w.release(ALICE, token);
    w.nobody_holds();
});

rule!(reacquire_repeated_after_its_lease_died_says_so, |w: &mut World| {
    let old = w.hold(ALICE, EXCLUSIVE);
    w.pass(5_000);
    let Reply::Held { token, .. } = w.reacquire(ALICE, old) else { panic!("not taken again") };
    w.pass(1_000);
    assert_eq!(w.driver.repeat(0), Reply::Held { token, ttl: 5_000_000, remaining: Some(4_000_000), claimed: true, asked: 0 });
    w.pass(4_000);
    w.pause();
    assert_eq!(refused(&w.driver.repeat(0)), "ACQUIRE_DEAD");
});

rule!(break_ends_the_lease_and_leaves_a_cooldown, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    w.queue(BOB, EXCLUSIVE);
    assert_eq!(w.break_lease(BOB_TOO, Some(token), false, None), Reply::Broken { tokens: vec![token], then: None });
    assert_eq!(w.end_of(token), Some(How::Broken));
    w.pause();
    assert_eq!(refused(&w.write(ALICE, token)), "LEASE_LOST");
    w.pass(2_999);
    w.nobody_holds();
    w.pass(1);
    w.holder(BOB);
});

rule!(break_now_leaves_no_cooldown, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    w.queue(BOB, EXCLUSIVE);
    w.pause();
    w.break_lease(BOB_TOO, Some(token), true, None);
    w.holder(BOB);
});

rule!(break_of_an_offer_leaves_no_cooldown, |w: &mut World| {
    let first = w.hold(ALICE, EXCLUSIVE);
    w.queue(BOB, EXCLUSIVE);
    w.release(ALICE, first);
    let offered = w.holder(BOB);
    w.pause();
    w.break_lease(ALICE, Some(offered), false, None);
    w.hold(ALICE, EXCLUSIVE);
});

rule!(break_of_all_ends_every_reader, |w: &mut World| {
    let (first, second) = (w.hold(ALICE, SHARED), w.hold(BOB, SHARED));
    w.pause();
    assert_eq!(w.break_lease(BOB_TOO, None, false, None), Reply::Broken { tokens: vec![first, second], then: None });
    w.hold(BOB_TOO, EXCLUSIVE);
});

rule!(break_of_all_now_ends_a_cooldown, |w: &mut World| {
    w.hold(ALICE, EXCLUSIVE);
    w.pass(5_000);
    w.pause();
    assert_eq!(refused(&w.break_lease(BOB, None, false, None)), "BREAK_STALE");
    assert_eq!(w.break_lease(BOB, None, true, None), Reply::Broken { tokens: vec![], then: None });
    w.hold(BOB, EXCLUSIVE);
});

rule!(break_with_a_stale_token_changes_nothing, |w: &mut World| {
    let old = w.hold(ALICE, EXCLUSIVE);
    w.release(ALICE, old);
    let token = w.hold(BOB, EXCLUSIVE);
    w.pause();
    assert_eq!(refused(&w.break_lease(ALICE, Some(old), true, Some(EXCLUSIVE))), "BREAK_STALE");
    assert_eq!(w.holder(BOB), token);
});

rule!(break_that_takes_goes_before_the_queue, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    w.queue(BOB, Ask { polls: true, ..EXCLUSIVE });
    let reply = w.break_lease(BOB_TOO, Some(token), false, Some(EXCLUSIVE));
    assert!(matches!(reply, Reply::Broken { then: Some(then), .. } if matches!(*then, Reply::Queued { place: 1, .. })));
    w.pause();
    w.pass(3_000);
    w.holder(BOB_TOO);
});

rule!(break_that_takes_now_holds_at_once, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    w.queue(BOB, EXCLUSIVE);
    w.queue(BOB_TOO, EXCLUSIVE);
    w.pause();
    let reply = w.break_lease(BOB_TOO, Some(token), true, Some(EXCLUSIVE));
    assert!(matches!(reply, Reply::Broken { then: Some(then), .. } if matches!(*then, Reply::Held { .. })));
    w.holder(BOB_TOO);
    // It waited before: its old place is given up.
    assert_eq!(w.driver.look(LOCK).tickets.len(), 1);
});

rule!(break_repeated_after_what_it_took_died_says_so, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    w.break_lease(BOB, Some(token), true, Some(EXCLUSIVE));
    assert!(matches!(w.driver.repeat(0), Reply::Broken { then: Some(_), .. }));
    w.pass(2_000);
    w.pause();
    assert_eq!(refused(&w.driver.repeat(0)), "ACQUIRE_DEAD");
});

rule!(frozen_lock_grants_nothing_and_keeps_its_holder, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    w.queue(BOB, EXCLUSIVE);
    w.call(ALICE, Call::Freeze { lock: LOCK });
    w.pause();
    assert!(matches!(w.renew(ALICE, token, None), Reply::Renewed { .. }));
    w.release(ALICE, token);
    w.nobody_holds();
    assert_eq!(refused(&w.acquire(BOB_TOO, EXCLUSIVE)), "FROZEN");
    w.call(ALICE, Call::Unfreeze { lock: LOCK });
    w.holder(BOB);
});

rule!(frozen_lock_cannot_be_taken_again, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    w.call(BOB, Call::Freeze { lock: LOCK });
    w.pass(5_000);
    w.pause();
    assert_eq!(refused(&w.reacquire(ALICE, token)), "FROZEN");
    w.call(BOB, Call::Unfreeze { lock: LOCK });
    assert!(matches!(w.reacquire(ALICE, token), Reply::Held { .. }));
});

rule!(frozen_environment_grants_nothing_and_serves_when_thawed, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    w.queue(BOB, EXCLUSIVE);
    w.call(ALICE, Call::FreezeEnvironment { env: 0 });
    w.pause();
    w.release(ALICE, token);
    w.nobody_holds();
    w.call(ALICE, Call::UnfreezeEnvironment { env: 0 });
    w.pass(500);
    w.holder(BOB);
});
