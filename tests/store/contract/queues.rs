//! Queues: first come, first served, over dead tickets, long runs and restarts.

use leasehold::domain::command::LockAct;
use leasehold::domain::decision::{HEAD_RUN, Reply};
use leasehold::domain::event::EventKind;
use leasehold::domain::lock::Mode;
use leasehold::domain::refusal::Refusal;

use super::on_every_engine;
use crate::commands::{lock, release};
use crate::engines::Engine;
use crate::rig::Rig;

/// Sessions that are served one after the other, each claiming and releasing, until nobody waits.
fn served<E: Engine>(rig: &Rig<E>, name: &str) -> Vec<String> {
    let mut order = Vec::new();
    loop {
        let lock = rig.lock(name);
        let Some(holder) = lock.holders.first() else { return order };
        order.push(holder.session.to_string());
        rig.release(name, holder.session.as_str(), holder.token);
    }
}

fn refresh<E: Engine>(rig: &Rig<E>, session: &str) -> Result<Reply, Refusal> {
    rig.submit(lock("dev/app", LockAct::Refresh { session: session.parse().unwrap() }))
}

on_every_engine! {
    fn queue_of_a_hundred_with_dead_ones_is_served_in_order(rig) {
        let token = rig.lease("dev/app", "holder");
        for n in 1..=100_u32 {
            assert_eq!(rig.queue("dev/app", &format!("w{n}"), Mode::Exclusive), n);
        }
        rig.restart();
        let live: Vec<String> = (1..=100).filter(|n| n % 3 == 0).map(|n| format!("w{n}")).collect();
        for _ in 0..4 {
            rig.seconds(10);
            rig.renew("dev/app", "holder", token);
            for session in &live {
                assert!(matches!(refresh(&rig, session), Ok(Reply::Queued(_))), "{session}");
            }
        }
        assert_eq!(rig.lock_row("dev/app").0.waiting, 33);
        assert!(matches!(refresh(&rig, "w99"), Ok(Reply::Queued(place)) if place.place == 33));
        assert!(matches!(refresh(&rig, "w98"), Err(Refusal::AcquireDead { .. })));
        rig.restart();
        rig.release("dev/app", "holder", token);
        assert_eq!(served(&rig, "dev/app"), live);
        assert_eq!(rig.tickets("dev/app").len(), 0);
    }

    fn ticket_that_died_deep_in_the_queue_is_replaced_by_a_new_one_at_its_end(rig) {
        let token = rig.lease("dev/app", "holder");
        for n in 1..=60 {
            rig.queue("dev/app", &format!("w{n}"), Mode::Exclusive);
        }
        for _ in 0..2 {
            rig.seconds(16);
            rig.renew("dev/app", "holder", token);
            for n in (1..=60).filter(|n| *n != 50) {
                refresh(&rig, &format!("w{n}")).unwrap();
            }
        }
        assert_eq!(rig.queue("dev/app", "w50", Mode::Exclusive), 60);
        assert_eq!(rig.queue("dev/app", "w50", Mode::Exclusive), 60, "asking again is the same ticket");
        let mine = rig.tickets("dev/app").into_iter().filter(|ticket| ticket.session.as_str() == "w50");
        assert_eq!(mine.count(), 1);
        rig.release("dev/app", "holder", token);
        let order = served(&rig, "dev/app");
        assert_eq!((order.len(), order.last().map(String::as_str)), (60, Some("w50")));
    }

    fn shared_run_longer_than_a_snapshot_is_granted_in_one_command(rig) {
        let token = rig.lease("dev/app", "holder");
        let sessions: Vec<String> = (0..3 * HEAD_RUN + 4).map(|n| format!("r{n}")).collect();
        for session in &sessions {
            rig.queue("dev/app", session, Mode::Shared);
        }
        rig.queue("dev/app", "last", Mode::Exclusive);
        rig.release("dev/app", "holder", token);
        assert_eq!(rig.holders("dev/app"), sessions);
        assert_eq!(rig.tickets("dev/app").len(), 1);
        let tokens: Vec<_> = rig.lock("dev/app").holders.iter().map(|holder| holder.token.0).collect();
        assert!(tokens.windows(2).all(|pair| pair[0] < pair[1]) && tokens[0] > token.0);
    }

    fn thousand_dead_tickets_leave_in_one_command(rig) {
        let token = rig.lease("dev/app", "holder");
        for n in 0..1000 {
            rig.queue("dev/app", &format!("w{n}"), Mode::Exclusive);
        }
        let full = rig.submit(crate::commands::acquire("dev/app", "one-more", false));
        assert!(matches!(full, Err(Refusal::LeaseHeld { waiting: 1000, .. })));
        // No tick: nothing is settled until the release comes.
        for _ in 0..16 {
            rig.engine().clock().advance(std::time::Duration::from_secs(2));
            rig.renew("dev/other", "x", rig.held(crate::commands::acquire("dev/other", "x", false)).token);
        }
        let _ = rig.submit(release("dev/app", "holder", token));
        rig.seconds(60);
        assert_eq!(rig.tickets("dev/app").len(), 0);
        assert_eq!(rig.holders("dev/app"), [""; 0]);
        assert!(rig.lease("dev/app", "next") > token);
    }

    fn hand_off_is_one_command(rig) {
        let token = rig.lease("dev/app", "a");
        rig.queue("dev/app", "b", Mode::Exclusive);
        let before = rig.revision();
        rig.release("dev/app", "a", token);
        let events = rig.events(before, 10);
        let kinds: Vec<_> = events.iter().map(|recorded| recorded.event.kind).collect();
        assert_eq!(kinds, [EventKind::LeaseReleased, EventKind::LeaseGranted]);
        rig.restart();
        let holder = rig.lock("dev/app").holders.remove(0);
        assert_eq!((holder.session.as_str(), holder.claimed), ("b", false));
    }

    fn offer_that_is_not_claimed_goes_to_the_next(rig) {
        let token = rig.lease("dev/app", "a");
        rig.queue("dev/app", "b", Mode::Exclusive);
        rig.queue("dev/app", "c", Mode::Exclusive);
        rig.release("dev/app", "a", token);
        rig.seconds(9);
        assert_eq!(rig.holders("dev/app"), ["b"]);
        rig.seconds(1);
        assert_eq!(rig.holders("dev/app"), ["c"]);
        let spent = rig.all_events().iter().filter(|recorded| recorded.event.kind == EventKind::LeaseUnclaimed).count();
        assert_eq!(spent, 1);
    }

    fn dead_holder_is_replaced_after_its_lock_delay_without_anybody_asking(rig) {
        rig.lease("dev/app", "a");
        rig.queue("dev/app", "b", Mode::Exclusive);
        for _ in 0..2 {
            rig.seconds(17);
            let _ = refresh(&rig, "b");
        }
        assert_eq!(rig.holders("dev/app"), [""; 0]);
        rig.restart();
        rig.seconds(1);
        assert_eq!(rig.holders("dev/app"), ["b"]);
    }

    fn cancelled_ticket_leaves_the_others_in_order(rig) {
        let token = rig.lease("dev/app", "a");
        for session in ["b", "c", "d"] {
            rig.queue("dev/app", session, Mode::Exclusive);
        }
        let cancel = LockAct::Cancel { ticket: None, session: Some("c".parse().unwrap()) };
        assert!(matches!(rig.submit(lock("dev/app", cancel)), Ok(Reply::Cancelled { was_waiting: true })));
        rig.release("dev/app", "a", token);
        assert_eq!(served(&rig, "dev/app"), ["b", "d"]);
    }
}
