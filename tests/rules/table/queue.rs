//! Waiting: offers and their claims, the order of the queue, lives of tickets.

use super::*;

rule!(offer_that_is_not_claimed_goes_to_the_next, |w: &mut World| {
    let first = w.hold(ALICE, EXCLUSIVE);
    w.queue(BOB, EXCLUSIVE);
    w.queue(BOB_TOO, EXCLUSIVE);
    w.release(ALICE, first);
    let offered = w.holder(BOB);
    w.pause();
    w.pass(1_999);
    assert_eq!(w.holder(BOB), offered);
    w.pass(1);
    // No cooldown follows what was never taken up; its token stays spent.
    assert!(w.holder(BOB_TOO) > offered);
    assert_eq!(w.end_of(offered), Some(How::Unclaimed));
    assert_eq!(refused(&w.renew(BOB, offered, None)), "LEASE_LOST");
});

rule!(offer_is_claimed_by_a_renewal, |w: &mut World| {
    let offered = offer(w, EXCLUSIVE);
    w.pause();
    w.pass(1_500);
    assert_eq!(w.renew(BOB, offered, None), Reply::Renewed { token: offered, ttl: 5_000_000, remaining: Some(5_000_000) });
    w.pass(4_999);
    assert_eq!(w.holder(BOB), offered);
});

rule!(offer_is_claimed_by_a_write, |w: &mut World| {
    let offered = offer(w, EXCLUSIVE);
    w.pause();
    w.pass(1_500);
    assert!(matches!(w.write(BOB, offered), Reply::Wrote { .. }));
    w.pass(4_999);
    assert_eq!(w.holder(BOB), offered);
});

rule!(offer_is_given_back_by_a_release, |w: &mut World| {
    let offered = offer(w, EXCLUSIVE);
    w.pause();
    w.call(BOB, Call::Release { actor: BOB, lock: LOCK, token: offered, abandoned: true });
    w.hold(ALICE, EXCLUSIVE);
});

rule!(offer_is_given_back_by_a_cancel, |w: &mut World| {
    let offered = offer(w, EXCLUSIVE);
    w.pause();
    assert_eq!(w.call(BOB, Call::Cancel { actor: BOB, lock: LOCK, ticket: None }), Reply::Cancelled(true));
    assert_eq!(w.end_of(offered), Some(How::Released));
    w.hold(ALICE, EXCLUSIVE);
});

rule!(offer_to_one_who_polls_is_claimed_by_asking, |w: &mut World| {
    let polls = Ask { wait: true, polls: true, ..EXCLUSIVE };
    let offered = offer(w, polls);
    w.pause();
    // Who polls has longer.
    w.pass(3_999);
    assert_eq!(
        w.acquire(BOB, polls),
        Reply::Held { token: offered, ttl: 5_000_000, remaining: Some(5_000_000), claimed: true, asked: 1 }
    );
});

rule!(offer_to_one_who_streams_is_not_claimed_by_asking, |w: &mut World| {
    let streams = Ask { wait: true, ..EXCLUSIVE };
    let offered = offer(w, streams);
    w.pause();
    w.pass(1_000);
    assert_eq!(
        w.acquire(BOB, streams),
        Reply::Held { token: offered, ttl: 5_000_000, remaining: Some(1_000_000), claimed: false, asked: 0 }
    );
    w.pass(1_000);
    w.nobody_holds();
});

rule!(shared_neighbours_are_served_together, |w: &mut World| {
    let first = w.hold(ALICE, EXCLUSIVE);
    w.queue(ALICE_TOO, SHARED);
    w.queue(BOB, SHARED);
    w.queue(BOB_TOO, EXCLUSIVE);
    w.pause();
    w.release(ALICE, first);
    let actors: Vec<_> = w.holders().into_iter().map(|(_, actor)| actor).collect();
    assert_eq!(actors, [ALICE_TOO, BOB]);
});

rule!(shared_behind_a_waiting_exclusive_waits, |w: &mut World| {
    let first = w.hold(ALICE, SHARED);
    w.queue(BOB, EXCLUSIVE);
    w.pause();
    assert_eq!(refused(&w.acquire(BOB_TOO, SHARED)), "LEASE_HELD");
    w.queue(BOB_TOO, SHARED);
    w.release(ALICE, first);
    w.holder(BOB);
});

rule!(newcomer_behind_dead_tickets_does_not_pass_live_ones, |w: &mut World| {
    w.hold(ALICE, for_seconds(SHARED, 60));
    w.queue(ALICE_TOO, EXCLUSIVE);
    w.late(6);
    w.queue(BOB, EXCLUSIVE);
    w.late(2);
    w.pause();
    // The ticket of ALICE_TOO has just died, that of BOB lives.
    assert_eq!(refused(&w.acquire(BOB_TOO, SHARED)), "LEASE_HELD");
});

rule!(place_behind_dead_tickets_counts_the_live_ones, |w: &mut World| {
    w.hold(ALICE, for_seconds(EXCLUSIVE, 60));
    w.queue(ALICE_TOO, EXCLUSIVE);
    w.late(6);
    w.queue(BOB, EXCLUSIVE);
    w.late(2);
    w.pause();
    assert!(matches!(w.acquire(BOB_TOO, Ask { wait: true, ..EXCLUSIVE }), Reply::Queued { place: 2, .. }));
});

rule!(ticket_dies_without_a_sign_of_its_waiter, |w: &mut World| {
    w.hold(ALICE, for_seconds(EXCLUSIVE, 60));
    w.queue(BOB, EXCLUSIVE);
    w.queue(BOB_TOO, Ask { polls: true, ..EXCLUSIVE });
    w.pause();
    w.pass(7_999);
    assert_eq!(waiting(w), [BOB, BOB_TOO]);
    w.pass(1);
    assert_eq!(waiting(w), [BOB_TOO]);
    assert_eq!(refused(&w.call(BOB, Call::Refresh { actor: BOB, lock: LOCK })), "ACQUIRE_DEAD");
    w.pass(7_999);
    assert_eq!(waiting(w), [BOB_TOO]);
    w.pass(1);
    assert!((waiting(w)).is_empty());
});

rule!(ticket_lives_on_by_a_sign_of_its_waiter, |w: &mut World| {
    w.hold(ALICE, for_seconds(EXCLUSIVE, 60));
    let ticket = w.queue(BOB, EXCLUSIVE);
    w.pass(7_000);
    assert_eq!(w.call(BOB, Call::Refresh { actor: BOB, lock: LOCK }), Reply::Queued { ticket, place: 1 });
    w.pause();
    w.pass(7_000);
    assert_eq!(w.queue(BOB, EXCLUSIVE), ticket);
    w.pass(7_000);
    assert_eq!(waiting(w), [BOB]);
});

rule!(ticket_that_is_cancelled_is_gone, |w: &mut World| {
    w.hold(ALICE, for_seconds(EXCLUSIVE, 60));
    let ticket = w.queue(BOB, EXCLUSIVE);
    w.queue(BOB_TOO, EXCLUSIVE);
    w.pause();
    assert_eq!(w.call(BOB, Call::Cancel { actor: BOB, lock: LOCK, ticket: Some(ticket) }), Reply::Cancelled(true));
    assert_eq!(w.call(BOB, Call::Cancel { actor: BOB, lock: LOCK, ticket: Some(ticket) }), Reply::Cancelled(false));
    assert_eq!(waiting(w), [BOB_TOO]);
});

rule!(acquire_repeated_after_its_lease_died_says_so, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    assert!(matches!(w.driver.repeat(0), Reply::Held { token: same, .. } if same == token));
    w.pass(5_000);
    w.pause();
    assert_eq!(refused(&w.driver.repeat(0)), "ACQUIRE_DEAD");
});

rule!(queue_of_a_hundred_with_dead_ones_loses_and_passes_nobody, |w: &mut World| {
    let first = w.hold(ALICE, for_seconds(EXCLUSIVE, 60));
    let dies = |n: usize| n < 40 || n.is_multiple_of(3);
    for n in 0..100 {
        w.queue(CROWD + n, Ask { polls: !dies(n), ..EXCLUSIVE });
    }
    w.late(10);
    w.pause();
    w.release(ALICE, first);
    for n in (0..100).filter(|n| !dies(*n)) {
        let token = w.holder(CROWD + n);
        for other in (n + 1..100).filter(|n| !dies(*n)) {
            w.call(CROWD + other, Call::Refresh { actor: CROWD + other, lock: LOCK });
        }
        w.pass(500);
        w.release(CROWD + n, token);
    }
    w.nobody_holds();
    assert!((waiting(w)).is_empty());
});

rule!(queue_of_a_hundred_readers_is_served_in_one_commit, |w: &mut World| {
    let first = w.hold(ALICE, for_seconds(EXCLUSIVE, 60));
    for n in 0..100 {
        w.queue(CROWD + n, SHARED);
    }
    w.pause();
    w.release(ALICE, first);
    let actors: Vec<_> = w.holders().into_iter().map(|(_, actor)| actor).collect();
    assert_eq!(actors, (0..100).map(|n| CROWD + n).collect::<Vec<_>>());
});

rule!(newcomer_behind_a_run_of_dead_tickets_waits_for_the_live_one, |w: &mut World| {
    let first = w.hold(ALICE, for_seconds(EXCLUSIVE, 60));
    for n in 0..70 {
        w.queue(CROWD + n, Ask { polls: n == 69, ..EXCLUSIVE });
    }
    w.late(8);
    w.pause();
    // Only the last of them lives, far behind what one look at the queue covers.
    w.queue(BOB, EXCLUSIVE);
    w.release(ALICE, first);
    w.holder(CROWD + 69);
});

/// Alice holds, Bob waits, Alice releases: the token that Bob is offered.
fn offer(w: &mut World, ask: Ask) -> Token {
    let first = w.hold(ALICE, EXCLUSIVE);
    w.queue(BOB, ask);
    w.release(ALICE, first);
    w.holder(BOB)
}

fn waiting(w: &World) -> Vec<Actor> {
    w.driver.look(LOCK).tickets.into_iter().map(|(_, actor)| actor).collect()
}
