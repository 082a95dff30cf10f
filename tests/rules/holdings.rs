//! Events account for every lease and ticket: over random schedules, restarts and all, what a server reckons from events is what there is in
//! the store after each step.

use futures_util::FutureExt;
use leasehold::domain::event::EventKind;
use leasehold::domain::ids::Revision;
use leasehold::service::tally::Tally;
use leasehold::store::{Query, Rows, Store, StoreError};

use crate::driver::{Driver, block_on};
use crate::engine::{Start, engines};
use crate::properties::script_of;

engines!(what_events_say_is_what_there_is, |start: Start, cases: u64| {
    let (mut leases_seen, mut tickets_seen, mut counted_anew) = (0, 0, 0);
    for seed in 0..cases / 5 {
        let mut driver = Driver::new(start, true);
        let (tally, mut last) = (Tally::default(), Revision(0));
        for (place, step) in script_of(seed).into_iter().enumerate() {
            hear(&tally, driver.engine().store(), &mut last);
            counted_anew += u64::from(tally.holdings().is_none());
            block_on(find_out(&tally, driver.engine().store()).boxed());
            driver.step(step);
            hear(&tally, driver.engine().store(), &mut last);
            let Some(known) = tally.holdings() else { continue };
            let Rows::Holdings { leases, tickets, revision } = block_on(driver.engine().store().select(Query::Holdings)) else {
                panic!("other rows");
            };
            assert_eq!(revision, last);
            assert_eq!((known.leases, known.tickets), (leases, tickets), "seed {seed}, after step {place}: {step:?}");
            (leases_seen, tickets_seen) = (leases_seen + leases, tickets_seen + tickets);
        }
        assert!(tally.heard(EventKind::EnvironmentCreated) > 0);
    }
    assert!(leases_seen > 1_000 && tickets_seen > 500, "the scripts did something: {leases_seen} {tickets_seen}");
    assert!(counted_anew < cases, "hardly ever more than once in a script: {counted_anew}");
});

async fn find_out(tally: &Tally, store: &dyn Store) -> Result<(), StoreError> {
    tally.find_out(store).await;
    Ok(())
}

/// Tells what was committed since.
fn hear(tally: &Tally, store: &dyn Store, last: &mut Revision) {
    let events = block_on(store.events(*last, usize::MAX));
    tally.tell(&events);
    *last = events.last().map_or(*last, |event| event.revision);
}
