//! Request ids: one effect each, remembered for a day of store time.

use std::time::Duration;

use leasehold::domain::decision::Reply;
use leasehold::domain::document::Expect;
use leasehold::domain::ids::Token;
use leasehold::domain::refusal::Refusal;
use leasehold::domain::settings::Limits;

use super::on_every_engine;
use crate::commands::{acquire, document, fresh, with_request, write, writes};

#[test]
fn request_memory_is_a_day_unless_a_test_says_otherwise() {
    assert_eq!(Limits::default().request_memory, Duration::from_secs(24 * 3600));
}

on_every_engine! {
    fn request_again_is_answered_as_before_and_has_no_second_effect(rig) {
        let id = fresh();
        let token = rig.held(with_request(acquire("dev/app", "a", false), fresh(), 1)).token;
        let first = with_request(write("dev/app", rig.next_write("dev/app", "a", token, document(b"1"))), id, 1);
        let version = rig.wrote(first.clone());
        rig.write("dev/app", "a", token, document(b"2"));
        rig.release("dev/app", "a", token);
        rig.restart();
        let before = rig.revision();
        let again = rig.submit(first);
        assert!(matches!(&again, Ok(Reply::Wrote { version: same, replayed: true }) if **same == version), "{again:?}");
        assert_eq!(rig.revision(), before);
    }

    fn request_id_of_another_request_is_refused(rig) {
        let id = fresh();
        rig.held(with_request(acquire("dev/app", "a", false), id, 1));
        rig.restart();
        assert!(matches!(rig.submit(with_request(acquire("dev/app", "a", false), id, 2)), Err(Refusal::RequestIdReused)));
        let mut other = with_request(acquire("dev/two", "a", false), id, 2);
        other.principal = "someone-else".parse().unwrap();
        assert!(matches!(rig.submit(other), Ok(Reply::Held(_))), "ids are each principal's own");
    }

    fn request_is_forgotten_after_its_memory_and_not_before(rig) {
        let (id, other) = (fresh(), fresh());
        rig.held(with_request(acquire("dev/app", "a", false), id, 1));
        rig.held(with_request(acquire("dev/two", "a", false), other, 1));
        rig.seconds(118);
        assert!(matches!(rig.submit(with_request(acquire("dev/app", "a", false), id, 2)), Err(Refusal::RequestIdReused)));
        rig.restart_after(Duration::from_secs(3600));
        assert!(matches!(rig.submit(with_request(acquire("dev/app", "a", false), id, 2)), Err(Refusal::RequestIdReused)));
        rig.seconds(2);
        rig.held(with_request(acquire("dev/app", "a", false), id, 2));
        rig.seconds(10);
        rig.held(with_request(acquire("dev/two", "a", false), other, 2));
    }

    fn kept_draft_is_an_effect_and_a_refusal_is_none(rig) {
        let id = fresh();
        let late = with_request(write("dev/app", writes("late", Token(1), Expect::default(), document(b"1"))), id, 1);
        let first = rig.submit(late.clone());
        rig.restart();
        assert_eq!(rig.submit(late), first);
        assert_eq!(rig.drafts("dev/app").len(), 1);
        let (token, id) = (rig.lease("dev/two", "a"), fresh());
        assert!(matches!(rig.submit(with_request(acquire("dev/two", "b", false), id, 1)), Err(Refusal::LeaseHeld { .. })));
        rig.release("dev/two", "a", token);
        rig.held(with_request(acquire("dev/two", "b", false), id, 1));
    }

    fn acquire_again_tells_that_its_lease_has_died(rig) {
        let first = with_request(acquire("dev/app", "a", false), fresh(), 1);
        let token = rig.held(first.clone()).token;
        assert_eq!(rig.held(first.clone()).token, token);
        rig.seconds(20);
        assert!(matches!(rig.submit(first.clone()), Err(Refusal::AcquireDead { .. })));
        rig.restart();
        assert!(matches!(rig.submit(first), Err(Refusal::AcquireDead { .. })));
    }
}
