//! Holders: grants, renewals, releases, expiry, freezes, and the lists of locks.

use std::time::Duration;

use leasehold::domain::command::{Break, EnvironmentAct, LockAct};
use leasehold::domain::decision::Reply;
use leasehold::domain::ids::{TicketId, Token};
use leasehold::domain::lock::Mode;
use leasehold::domain::refusal::Refusal;
use leasehold::store::{Query, Rows};

use super::on_every_engine;
use crate::commands::{acquire, asks, document, environment, lock, release, renew, state};
use crate::engines::Engine;
use crate::rig::Rig;

fn names<E: Engine>(rig: &Rig<E>, prefix: &str, all: bool, after: Option<&str>, limit: usize) -> Vec<String> {
    let query = Query::Locks { prefix: prefix.parse().unwrap(), all, after: after.map(state), limit };
    match rig.select(query) {
        Rows::Locks(rows, _) => rows.iter().map(|row| format!("{}/{}", row.environment, row.path)).collect(),
        other => panic!("{other:?}"),
    }
}

on_every_engine! {
    fn lease_lives_by_renewals_and_ends_by_release(rig) {
        let token = rig.lease("dev/app", "a");
        for _ in 0..3 {
            rig.seconds(15);
            rig.renew("dev/app", "a", token);
        }
        assert!(matches!(rig.submit(acquire("dev/app", "b", false)), Err(Refusal::LeaseHeld { .. })));
        rig.restart();
        rig.renew("dev/app", "a", token);
        rig.release("dev/app", "a", token);
        assert!(matches!(rig.submit(release("dev/app", "a", token)), Ok(Reply::Released { was_live: false, .. })));
        let next = rig.lease("dev/app", "b");
        assert!(next > token);
    }

    fn lease_that_is_not_renewed_ends_and_leaves_the_lock_delay(rig) {
        let token = rig.lease("dev/app", "a");
        rig.seconds(19);
        assert_eq!(rig.holders("dev/app"), ["a"]);
        rig.seconds(1);
        assert_eq!(rig.holders("dev/app"), [""; 0]);
        assert!(matches!(rig.submit(renew("dev/app", "a", token)), Err(Refusal::LeaseLost { .. })));
        assert!(matches!(rig.submit(acquire("dev/app", "b", false)), Err(Refusal::LeaseHeld { cooldown: Some(_), .. })));
        rig.restart();
        assert!(matches!(rig.submit(acquire("dev/app", "b", false)), Err(Refusal::LeaseHeld { cooldown: Some(_), .. })));
        rig.seconds(15);
        assert!(rig.lease("dev/app", "b") > token);
    }

    fn tokens_grow_over_restarts_whatever_the_wall_clock_says(rig) {
        let mut last = Token(0);
        for step in [0, 86_400_000, -400 * 86_400_000, 1000] {
            rig.engine().clock().step_wall(step);
            rig.restart();
            let token = rig.lease("dev/app", "a");
            assert!(token > last, "{token} after {last}");
            rig.release("dev/app", "a", token);
            last = token;
        }
    }

    fn freeze_of_a_lock_grants_nothing_until_it_ends(rig) {
        rig.submit(lock("dev/app", LockAct::Freeze("a reason".parse().unwrap()))).unwrap();
        assert!(matches!(rig.submit(acquire("dev/app", "a", false)), Err(Refusal::Frozen(_))));
        assert_eq!(rig.queue("dev/app", "a", Mode::Exclusive), 1);
        rig.restart();
        assert_eq!(rig.holders("dev/app"), [""; 0]);
        assert!(matches!(rig.submit(lock("dev/app", LockAct::Unfreeze)), Ok(Reply::Unfrozen { was: true })));
        assert_eq!(rig.holders("dev/app"), ["a"]);
    }

    fn unfreeze_of_an_environment_settles_its_queues(rig) {
        rig.submit(environment("dev", EnvironmentAct::Freeze("a reason".parse().unwrap()))).unwrap();
        for name in ["dev/a", "dev/b", "dev/c"] {
            assert_eq!(rig.queue(name, "s", Mode::Exclusive), 1);
            assert_eq!(rig.queue(name, "t", Mode::Exclusive), 2);
        }
        rig.restart();
        rig.engine().tick();
        assert_eq!(rig.holders("dev/b"), [""; 0]);
        assert!(rig.lock_row("dev/b").0.frozen.is_some());
        assert!(matches!(rig.submit(environment("dev", EnvironmentAct::Unfreeze)), Ok(Reply::Unfrozen { was: true })));
        rig.engine().tick();
        for name in ["dev/a", "dev/b", "dev/c"] {
            assert_eq!(rig.holders(name), ["s"], "{name}");
        }
    }

    fn break_ends_the_expected_lease_only(rig) {
        let token = rig.lease("dev/app", "a");
        let breaks = |token| lock("dev/app", LockAct::Break(Break { token: Some(token), reason: "dead".parse().unwrap(), now: true, forced: false, take: None }));
        assert!(matches!(rig.submit(breaks(Token(token.0 - 1))), Err(Refusal::BreakStale { .. })));
        assert!(matches!(rig.submit(breaks(Token(u64::MAX))), Err(Refusal::BreakStale { .. })));
        assert!(matches!(rig.submit(breaks(token)), Ok(Reply::Broken { broken, .. }) if broken.len() == 1));
        assert_eq!(rig.holders("dev/app"), [""; 0]);
    }

    fn locks_are_listed_by_whole_segments_in_pages(rig) {
        for name in ["dev/net", "dev/net-x", "dev/net.y", "dev/net/a", "dev/net/b", "dev/network", "dev/a/net"] {
            let token = rig.lease(name, "s");
            if name != "dev/net/b" && name != "dev/network" {
                rig.release(name, "s", token);
            }
        }
        assert_eq!(names(&rig, "dev/net", true, None, 10), ["dev/net", "dev/net/a", "dev/net/b"]);
        assert_eq!(names(&rig, "dev/net", false, None, 10), ["dev/net/b"]);
        assert_eq!(names(&rig, "", false, None, 10), ["dev/net/b", "dev/network"]);
        assert_eq!(names(&rig, "", true, Some("dev/net/a"), 2), ["dev/net/b", "dev/network"]);
        assert_eq!(names(&rig, "dev/net", true, Some("dev/net"), 1), ["dev/net/a"]);
        assert_eq!(names(&rig, "other", true, None, 10), [""; 0]);
        rig.seconds(20);
        assert_eq!(names(&rig, "", false, None, 10), ["dev/net/b", "dev/network"], "a cooldown is something that happens");
        rig.seconds(15);
        assert_eq!(names(&rig, "", false, None, 10), [""; 0]);
    }

    fn shared_holders_stand_together_and_exclusive_ones_alone(rig) {
        let shared = |session: &str| lock("dev/app", LockAct::Acquire(asks(session, Mode::Shared, false)));
        let tokens: Vec<_> = ["a", "b", "c"].iter().map(|session| rig.held(shared(session)).token).collect();
        assert!(tokens.is_sorted() && tokens[0] < tokens[2]);
        assert!(matches!(rig.submit(acquire("dev/app", "d", false)), Err(Refusal::LeaseHeld { holders, .. }) if holders.len() == 3));
        assert!(matches!(rig.submit(acquire("dev/app", "a", false)), Err(Refusal::ModeConflict)));
    }

    fn forged_numbers_are_refused_by_the_rules_not_by_the_engine(rig) {
        let token = rig.lease("dev/app", "a");
        rig.write("dev/app", "a", token, document(b"1"));
        for forged in [Token(0), Token(u64::MAX), Token(1 << 63)] {
            assert!(matches!(rig.submit(renew("dev/app", "a", forged)), Err(Refusal::TokenUnknown(_))));
        }
        let cancel = LockAct::Cancel { ticket: Some(TicketId(u64::MAX)), session: None };
        rig.queue("dev/app", "b", Mode::Exclusive);
        assert!(matches!(rig.submit(lock("dev/app", cancel)), Ok(Reply::Cancelled { was_waiting: false })));
    }

    fn unattended_lease_lives_without_renewals(rig) {
        let mut asks = asks("a", Mode::Exclusive, false);
        asks.unattended = true;
        let grant = rig.held(lock("dev/app", LockAct::Acquire(asks)));
        assert_eq!(grant.remaining, None);
        rig.advance(Duration::from_secs(600));
        rig.restart();
        assert_eq!(rig.holders("dev/app"), ["a"]);
    }
}
