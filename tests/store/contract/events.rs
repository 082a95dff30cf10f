//! Events: numbered in commit order, read in pages, and told to who watches.

use leasehold::domain::event::EventKind;
use leasehold::store::StoreError;

use super::on_every_engine;
use crate::commands::{acquire, document, release};

on_every_engine! {
    fn events_are_numbered_without_gaps_over_restarts_and_refusals(rig) {
        for n in 0..5 {
            let name = format!("dev/app{n}");
            let token = rig.lease(&name, "a");
            let _ = rig.submit(acquire(&name, "b", false));
            rig.write(&name, "a", token, document(b"1"));
            rig.restart();
            rig.release(&name, "a", token);
            let _ = rig.submit(release(&name, "a", token));
        }
        let events = rig.all_events();
        let numbers: Vec<u64> = events.iter().map(|recorded| recorded.revision.0).collect();
        assert_eq!(numbers, (1..=16).collect::<Vec<_>>(), "one environment, and three events of each lock");
        assert_eq!(rig.revision(), 16);
        let first = &events[0];
        assert_eq!((first.event.kind, first.path.is_none()), (EventKind::EnvironmentCreated, true));
        assert_eq!(events[1].path.as_ref().unwrap().as_str(), "app0");
    }

    fn events_are_read_in_pages(rig) {
        for n in 0..9 {
            rig.lease(&format!("dev/app{n}"), "a");
        }
        let mut after = 0;
        let mut all = Vec::new();
        loop {
            let page = rig.events(after, 4);
            let Some(last) = page.last() else { break };
            after = last.revision.0;
            all.extend(page);
        }
        assert_eq!(all, rig.all_events());
        assert_eq!(all.len(), 10);
        assert_eq!(rig.events(u64::MAX, 10), []);
    }

    fn head_tells_of_each_commit_with_events_and_of_no_other(rig) {
        let mut head = rig.engine().store().head();
        head.mark_unchanged();
        let token = rig.lease("dev/app", "a");
        assert!(head.has_changed().unwrap());
        assert_eq!(head.borrow_and_update().revision.0, 2);
        rig.renew("dev/app", "a", token);
        let _ = rig.submit(acquire("dev/app", "b", false));
        assert!(!head.has_changed().unwrap());
        let (history, before) = (head.borrow().history, rig.revision());
        drop(head);
        rig.restart();
        let head = *rig.engine().store().head().borrow();
        assert_eq!((head.history, head.revision.0, head.failed), (history, before, false), "the history goes on");
    }

    fn expiry_is_told_when_it_happens(rig) {
        rig.lease("dev/app", "a");
        let mut head = rig.engine().store().head();
        head.mark_unchanged();
        rig.seconds(20);
        assert!(head.has_changed().unwrap());
        let last = rig.all_events().pop().unwrap();
        assert_eq!(last.event.kind, EventKind::LeaseExpired);
    }

    fn closed_store_refuses_and_has_kept_everything(rig) {
        rig.lease("dev/app", "a");
        rig.close();
        assert!(matches!(rig.try_submit(acquire("dev/two", "a", false)), Err(StoreError::Stopped)));
        rig.restart();
        assert_eq!(rig.holders("dev/app"), ["a"]);
    }
}
