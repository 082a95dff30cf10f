//! The engine by itself, under the machine's clock: nobody asks, and what is due happens.

use std::sync::Arc;
use std::time::Duration;

use leasehold::domain::command::{Command, EnvironmentAct, LockAct};
use leasehold::domain::decision::Reply;
use leasehold::domain::event::{EventKind, Recorded};
use leasehold::domain::ids::Revision;
use leasehold::domain::lock::Mode;
use leasehold::domain::settings::{Limits, SettingsChange};
use leasehold::store::Store;
use leasehold::store::clock::{Source, SystemSource};
use leasehold::store::sqlite::{Options, Sqlite};

use super::server;
use crate::commands::{asks, create, environment, lock};
use crate::engines::folder;

/// Long enough to ask for every lock before the first holder dies, on a busy machine too.
const TTL: Duration = Duration::from_secs(2);
const DELAY: Duration = Duration::from_millis(200);

fn open(folder: &std::path::Path) -> Sqlite {
    let limits = Limits { min_ttl: Duration::from_millis(1), ..Limits::default() };
    Sqlite::open(Arc::new(SystemSource::default()), &Options::new(folder, limits, [7; 16])).unwrap()
}

fn acquires(name: &str, session: &str, wait: bool) -> Command {
    let mut asks = asks(session, Mode::Exclusive, wait);
    asks.ttl = Some(TTL);
    lock(name, LockAct::Acquire(asks))
}

/// Follows the history until `enough` of it has come.
async fn until(store: &Sqlite, mut enough: impl FnMut(&[Recorded]) -> bool) -> Vec<Recorded> {
    let mut head = store.head();
    loop {
        head.borrow_and_update();
        let events = store.events(Revision(0), usize::MAX).await.unwrap();
        if enough(&events) {
            return events;
        }
        tokio::time::timeout(Duration::from_secs(20), head.changed()).await.expect("nothing happens by itself").unwrap();
    }
}

#[test]
fn dead_holders_are_replaced_in_time_and_never_early() {
    const LOCKS: usize = 1000;
    let folder = folder();
    let store = open(folder.path());
    let clock = SystemSource::default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        store.submit(create("dev")).await.unwrap().unwrap();
        let delay = SettingsChange { lock_delay: Some(DELAY), ..SettingsChange::default() };
        store.submit(environment("dev", EnvironmentAct::Set(delay))).await.unwrap().unwrap();
        let start = clock.monotonic();
        let held: Vec<_> = (0..LOCKS).map(|n| store.submit(acquires(&format!("dev/app{n}"), "dies", false))).collect();
        let waits: Vec<_> = (0..LOCKS).map(|n| store.submit(acquires(&format!("dev/app{n}"), "waits", true))).collect();
        for answer in held {
            assert!(matches!(answer.await.unwrap(), Ok(Reply::Held(_))));
        }
        for answer in waits {
            assert!(matches!(answer.await.unwrap(), Ok(Reply::Queued(_))));
        }
        let granted = clock.monotonic();
        let count = |events: &[Recorded]| events.iter().filter(|event| event.event.kind == EventKind::LeaseGranted).count();
        until(&store, |events| count(events) > LOCKS).await;
        let first = clock.monotonic();
        assert!(first - start >= TTL + DELAY, "a grant after {:?}", first - start);
        let events = until(&store, |events| count(events) == 2 * LOCKS).await;
        let last = clock.monotonic();
        // A second late at most; where the machine took longer to serve the clients, as long as that.
        let late = Duration::from_secs(1).max(granted - start);
        assert!(last - granted <= TTL + DELAY + late, "the last grant after {:?}, the clients took {late:?}", last - granted);
        assert_eq!(events.iter().filter(|event| event.event.kind == EventKind::LeaseExpired).count(), LOCKS);
    });
}

#[test]
fn store_time_is_committed_while_anything_has_a_deadline() {
    let folder = folder();
    let store = open(folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        store.submit(create("dev")).await.unwrap().unwrap();
        let mut long = asks("s", Mode::Exclusive, false);
        long.ttl = Some(Duration::from_secs(3600));
        store.submit(lock("dev/app", LockAct::Acquire(long))).await.unwrap().unwrap();
        let before = (server(folder.path(), "seq"), server(folder.path(), "beat"));
        let mut seconds = tokio::time::interval(Duration::from_millis(100));
        for _ in 0..50 {
            seconds.tick().await;
            if server(folder.path(), "seq") >= before.0 + 2 {
                break;
            }
        }
        let passed = server(folder.path(), "beat") - before.1;
        assert!((1_900_000..4_000_000).contains(&passed), "two beats are two seconds, not {passed} us");
    });
}
