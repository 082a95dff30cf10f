//! Holding: acquire, renew, release, expiry, unattended leases, tokens.

use super::*;

rule!(acquire_of_a_free_lock, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    w.pause();
    assert_eq!(w.holder(ALICE), token);
});

rule!(acquire_of_a_held_lock_is_refused, |w: &mut World| {
    w.hold(ALICE, EXCLUSIVE);
    w.pause();
    assert_eq!(refused(&w.acquire(BOB, EXCLUSIVE)), "LEASE_HELD");
    assert_eq!(refused(&w.acquire(BOB, SHARED)), "LEASE_HELD");
    // Sessions hold, not principals.
    assert_eq!(refused(&w.acquire(ALICE_TOO, EXCLUSIVE)), "LEASE_HELD");
});

rule!(acquire_again_gives_the_same_lease_and_no_upgrade, |w: &mut World| {
    let token = w.hold(ALICE, SHARED);
    w.pause();
    assert_eq!(w.hold(ALICE, SHARED), token);
    assert_eq!(refused(&w.acquire(ALICE, EXCLUSIVE)), "MODE_CONFLICT");
});

rule!(shared_leases_live_together, |w: &mut World| {
    let first = w.hold(ALICE, SHARED);
    w.pause();
    let second = w.hold(BOB, SHARED);
    assert_eq!(w.holders(), [(first, ALICE), (second, BOB)]);
    assert_eq!(refused(&w.acquire(BOB_TOO, EXCLUSIVE)), "LEASE_HELD");
});

rule!(lease_ends_at_its_ttl_and_not_before, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    w.pause();
    w.pass(4_999);
    assert_eq!(w.holder(ALICE), token);
    assert_eq!(w.end_of(token), None);
    w.pass(1);
    w.nobody_holds();
    assert_eq!(w.end_of(token), Some(How::Expired));
});

rule!(lease_past_its_deadline_is_gone_before_any_sweep, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    w.late(6);
    w.pause();
    w.nobody_holds();
    assert_eq!(refused(&w.write(ALICE, token)), "LEASE_LOST");
});

rule!(renew_prolongs_from_now, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    w.pass(4_500);
    assert_eq!(w.renew(ALICE, token, None), Reply::Renewed { token, ttl: 5_000_000, remaining: Some(5_000_000) });
    w.pause();
    w.pass(4_999);
    assert_eq!(w.holder(ALICE), token);
    w.pass(1);
    w.nobody_holds();
});

rule!(renew_never_shortens, |w: &mut World| {
    let token = w.hold(ALICE, for_seconds(EXCLUSIVE, 20));
    w.pause();
    assert_eq!(w.renew(ALICE, token, Some(2_000_000)), Reply::Renewed { token, ttl: 2_000_000, remaining: Some(20_000_000) });
    w.pass(19_999);
    assert_eq!(w.holder(ALICE), token);
});

rule!(renew_never_revives, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    w.pass(5_000);
    w.pause();
    assert_eq!(refused(&w.renew(ALICE, token, None)), "LEASE_LOST");
    w.nobody_holds();
});

rule!(renew_by_another_session_is_refused, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    w.pause();
    // BOB's session has the same name.
    for stranger in [ALICE_TOO, BOB] {
        assert_eq!(refused(&w.renew(stranger, token, None)), "LEASE_FOREIGN");
        assert_eq!(refused(&w.release(stranger, token)), "LEASE_FOREIGN");
        assert_eq!(refused(&w.write(stranger, token)), "LEASE_FOREIGN");
    }
    assert_eq!(refused(&w.renew(ALICE, token + 1, None)), "TOKEN_UNKNOWN");
});

rule!(ttl_out_of_range_is_refused, |w: &mut World| {
    assert_eq!(refused(&w.acquire(ALICE, for_seconds(EXCLUSIVE, 1))), "TTL_OUT_OF_RANGE");
    assert_eq!(refused(&w.acquire(ALICE, for_seconds(EXCLUSIVE, 61))), "TTL_OUT_OF_RANGE");
    let token = w.hold(ALICE, for_seconds(EXCLUSIVE, 60));
    w.pause();
    assert_eq!(refused(&w.renew(ALICE, token, Some(61_000_000))), "TTL_OUT_OF_RANGE");
});

rule!(release_frees_the_lock_at_once_and_may_be_repeated, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    assert_eq!(w.release(ALICE, token), Reply::Released { was_live: true });
    w.pause();
    assert_eq!(w.release(ALICE, token), Reply::Released { was_live: false });
    let next = w.hold(BOB, EXCLUSIVE);
    assert_eq!(w.release(ALICE, token), Reply::Released { was_live: false });
    assert_eq!(w.holder(BOB), next);
});

rule!(abandoned_release_leaves_a_cooldown, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    w.call(ALICE, Call::Release { actor: ALICE, lock: LOCK, token, abandoned: true });
    w.pause();
    w.pass(2_999);
    assert_eq!(refused(&w.acquire(BOB, EXCLUSIVE)), "LEASE_HELD");
    w.pass(1);
    w.hold(BOB, EXCLUSIVE);
});

rule!(cooldown_follows_an_exclusive_lease_that_expired, |w: &mut World| {
    w.hold(ALICE, EXCLUSIVE);
    w.pass(5_000);
    w.pause();
    w.pass(2_999);
    assert_eq!(refused(&w.acquire(BOB, SHARED)), "LEASE_HELD");
    w.pass(1);
    w.hold(BOB, SHARED);
});

rule!(cooldown_counts_from_the_deadline_however_late_the_sweep, |w: &mut World| {
    w.hold(ALICE, EXCLUSIVE);
    w.late(8);
    w.pause();
    w.hold(BOB, EXCLUSIVE);
});

rule!(cooldown_is_the_one_stored_with_the_grant, |w: &mut World| {
    w.hold(ALICE, EXCLUSIVE);
    w.call(ALICE, Call::SetDelay { env: 0, delay: 0 });
    w.pause();
    w.pass(7_999);
    assert_eq!(refused(&w.acquire(BOB, EXCLUSIVE)), "LEASE_HELD");
    w.pass(1);
    w.hold(BOB, EXCLUSIVE);
    w.pass(5_000);
    // Bob's was granted with none.
    w.hold(ALICE, EXCLUSIVE);
});

rule!(cooldown_does_not_follow_a_shared_lease, |w: &mut World| {
    w.hold(ALICE, SHARED);
    w.pass(5_000);
    w.pause();
    w.hold(BOB, EXCLUSIVE);
});

rule!(shared_lease_writes_the_first_version_only, |w: &mut World| {
    let token = w.hold(ALICE, SHARED);
    w.pause();
    assert!(matches!(w.write(ALICE, token), Reply::Wrote { .. }));
    assert_eq!(refused(&w.write(ALICE, token)), "LEASE_SHARED");
});

rule!(shared_lease_does_not_bring_a_deleted_state_back, |w: &mut World| {
    let exclusive = w.hold(BOB, EXCLUSIVE);
    w.write(BOB, exclusive);
    let delete = Write { origin: Origin::Delete, bytes: None, terraform: None, ..w.next(exclusive) };
    assert_eq!(wrote(&w.put(BOB, delete)), 2);
    w.release(BOB, exclusive);
    let token = w.hold(ALICE, SHARED);
    w.pause();
    let reply = w.write(ALICE, token);
    assert_eq!(refused(&reply), "LEASE_SHARED");
    assert_eq!(w.driver.drafts_of(LOCK), [draft(&reply)]);
    let promote = Write { origin: Origin::Promote(draft(&reply)), ..w.next(token) };
    assert_eq!(refused(&w.put(ALICE, promote)), "LEASE_SHARED");
    w.release(ALICE, token);
    let exclusive = w.hold(BOB, EXCLUSIVE);
    assert_eq!(wrote(&w.write(BOB, exclusive)), 3);
});

rule!(unattended_exclusive_lease_lives_until_it_is_broken, |w: &mut World| {
    let token = w.hold(ALICE, Ask { unattended: true, ..EXCLUSIVE });
    w.pass(39_000);
    assert_eq!(overdue(w), [false]);
    w.pause();
    w.pass(1_000);
    assert_eq!(overdue(w), [true]);
    w.pass(60_000);
    assert_eq!(w.holder(ALICE), token);
    assert!(matches!(w.write(ALICE, token), Reply::Wrote { .. }));
    assert_eq!(overdue(w), [false]);
    assert_eq!(w.break_lease(BOB, Some(token), true, None), Reply::Broken { tokens: vec![token], then: None });
    w.nobody_holds();
});

rule!(unattended_shared_lease_ends_some_time_after_its_grant, |w: &mut World| {
    let token = w.hold(ALICE, Ask { unattended: true, ..SHARED });
    w.pass(10_000);
    w.pause();
    w.pass(9_999);
    assert_eq!(w.holder(ALICE), token);
    w.pass(1);
    w.nobody_holds();
});

rule!(tokens_grow_over_deletion_of_the_environment, |w: &mut World| {
    let first = w.hold(ALICE, EXCLUSIVE);
    w.release(ALICE, first);
    w.driver.step(Step::DeleteEnvironment(0, true, crate::script::Id::Fresh));
    w.pause();
    w.driver.step(Step::CreateEnvironment(0, crate::script::Id::Fresh));
    assert!(w.hold(ALICE, EXCLUSIVE) > first);
});

/// A counter that filled its epoch's bits goes on in the next one's, and a new epoch does not bring it back.
#[test]
fn token_counter_that_is_full_carries_over_restarts() {
    use leasehold::domain::{decide, ids};

    fn nearly_full(source: std::sync::Arc<leasehold::store::clock::ManualSource>) -> Box<dyn crate::engine::Engine> {
        crate::engine::mutated(source, |mut snapshot, command, ctx| {
            let last = snapshot.lock.last_token;
            if last.0 == 0 {
                snapshot.lock.last_token = ids::Token(((ctx.epoch.0 + 3) << 30) - 1);
            }
            decide(snapshot, command, ctx)
        })
    }
    World::run(nearly_full, true, |w| {
        let first = w.hold(ALICE, EXCLUSIVE);
        assert_eq!(first.trailing_zeros(), 30);
        let mut last = first;
        for _ in 0..6 {
            w.release(ALICE, last);
            w.pause();
            let next = w.hold(ALICE, EXCLUSIVE);
            assert!(next > last, "{next} after {last}");
            last = next;
        }
    });
}

fn overdue(w: &mut World) -> Vec<bool> {
    use leasehold::domain::command::{Acquire, Act, Command, LockAct};
    use leasehold::domain::refusal::Refusal;

    let acquire = Acquire {
        session: "curious".parse().expect("a session"),
        mode: leasehold::domain::lock::Mode::Exclusive,
        ttl: None,
        wait: false,
        labels: Default::default(),
        unattended: false,
        polls: false,
        plan: false,
        once: false,
    };
    let act = Act::Lock("one/a".parse().expect("a name"), LockAct::Acquire(acquire));
    let asked =
        Command { principal: "anybody".parse().expect("a principal"), trace: std::sync::Arc::default(), request: None, act };
    match crate::driver::block_on(w.driver.engine().store().submit(asked)) {
        Err(Refusal::LeaseHeld { holders, .. }) => holders.iter().map(|holder| holder.overdue).collect(),
        other => panic!("not held: {other:?}"),
    }
}
