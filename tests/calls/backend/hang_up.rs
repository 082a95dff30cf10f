//! Clients that are gone when their lock is granted: none keeps others from it for long.

use std::sync::Arc;
use std::time::Duration;

use leasehold::domain::command::{Act, Command, LockAct};
use leasehold::domain::decision::Reply;
use leasehold::domain::ids::{HistoryId, RequestId};
use leasehold::domain::names::StateName;
use leasehold::domain::settings::{Limits, SettingsChange};
use leasehold::secrets::master::MasterSource;
use leasehold::secrets::operational::ServerKey;
use leasehold::service::environments::Recovery;
use leasehold::service::tools::{Ask, Lease, Locked};
use leasehold::service::{Bounds, Caller, Service};
use leasehold::store::clock::SystemSource;
use leasehold::store::memory::Memory;
use leasehold::store::{Query, Rows, Store};

use super::{apply, at, holders, lock, unlock};
use crate::support::holding::{At, Holding};
use crate::support::{Running, StoreKind, on_each_engine};

#[tokio::test]
async fn waiter_that_hung_up_is_passed_over_after_the_claim_deadline() {
    for engine in [StoreKind::Memory, StoreKind::Sqlite] {
        let server = Running::start_with(engine, "[limits]\nclaim_polling = \"300ms\"\n").await;
        let http = server.http();
        lock(&http, "dev/app", "holder").await.is(200);
        let wait = format!("{}?wait=60s", at("dev/app"));
        let gone = http.send("LOCK", &wait, apply("gone").as_bytes()).await;
        queued(&server, 1).await;
        drop(gone);
        let next = http.send("LOCK", &wait, apply("next").as_bytes()).await;
        queued(&server, 2).await;
        unlock(&http, "dev/app", "holder").await.is(200);
        // It is offered to the one who is gone, nobody claims it, and no lock delay follows.
        next.answer().await.is(200);
        assert_eq!(holders(&server, "dev/app").await, ["next"]);
        unlock(&http, "dev/app", "next").await.is(200);
        // Its client may come back meanwhile: nobody was told of the offer.
        lock(&http, "dev/app", "gone").await.is(200);
    }
}

/// Whatever became of a request whose client hung up at once: the retry has the same id, and gets the lock.
#[tokio::test]
async fn lock_that_is_sent_again_after_a_reset_is_the_clients() {
    on_each_engine(async |server| {
        let http = server.http();
        for n in 0..30 {
            let state = format!("dev/app-{n}");
            let sent = http.send("LOCK", &at(&state), apply("mine").as_bytes()).await;
            sent.reset_after(Duration::from_micros(n * 50)).await;
            let token = lock(&http, &state, "mine").await.is(200).said("fencing_token");
            assert_eq!(lock(&http, &state, "mine").await.is(200).said("fencing_token"), token);
            assert_eq!(holders(server, &state).await, ["mine"]);
        }
    })
    .await;
}

#[tokio::test]
async fn grant_that_is_decided_after_its_client_hung_up_is_taken_back() {
    let world = World::new().await;
    let stopped = world.store.hold(At::End, |command| matches!(command.act, Act::Lock(_, LockAct::Acquire(_))));
    let mut asking = Box::pin(world.ask("gone"));
    let held = tokio::select! {
        _ = &mut asking => panic!("answered while the answer was stopped"),
        held = world.is_held(true) => held,
    };
    drop(asking);
    stopped.go();
    world.is_held(false).await;
    // No lock delay, another token, and the same id is welcome.
    let again = world.ask("gone").await;
    assert!(again.grant.token > held);
    again.told();
    assert_eq!(world.is_held(true).await, world.ask("gone").await.grant.token);
}

#[tokio::test]
async fn grant_is_taken_back_only_if_none_of_its_answers_was_taken() {
    let world = World::new().await;
    for (order, told) in [([0, 1], true), ([1, 0], true), ([0, 1], false), ([1, 0], false)] {
        // The same request came twice, and both are answered.
        let mut answers = [Some(world.ask("mine").await), Some(world.ask("mine").await)];
        let token = world.is_held(true).await;
        let first = answers[order[0]].take().unwrap();
        drop(first);
        let second = answers[order[1]].take().unwrap();
        assert_eq!((second.grant.token, world.is_held(true).await), (token, token));
        match told {
            true => {
                second.told();
                world.settled().await;
                assert_eq!(world.is_held(true).await, token, "{order:?}");
                world.release(token).await;
            }
            false => {
                drop(second);
                world.is_held(false).await;
            }
        }
    }
}

/// Until so many wait.
async fn queued(server: &Running, count: u32) {
    while server.api.lock("dev/app").await.waiting != count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The service over a store whose answers can be stopped after the commit.
struct World {
    service: Arc<Service>,
    store: Arc<Holding>,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let memory = Memory::new(Arc::new(SystemSource::default()), Limits::default(), HistoryId([7; 16]));
        let store = Holding::new(Arc::new(memory));
        let folder = tempfile::tempdir().unwrap();
        let source = MasterSource::File(folder.path().join("master.key"));
        let masters = source.load_or_create(true, None).unwrap_or_else(|error| panic!("{error}"));
        let key = ServerKey::ephemeral().unwrap_or_else(|error| panic!("{error}"));
        let service =
            Service::new(Arc::clone(&store) as Arc<dyn Store>, key, source, Bounds::default(), Arc::new(SystemSource::default()));
        service.begin_unlocked(masters).await.unwrap();
        let recovery = Recovery { recipients: Vec::new(), none: true };
        let (id, name) = (RequestId([1; 16]), "dev".parse().unwrap());
        service.create_environment(&caller(), id, name, SettingsChange::default(), recovery).await.unwrap();
        Self { service, store, _folder: folder }
    }

    async fn ask(&self, id: &str) -> Lease {
        let ask = Ask { state: state(), id: id.parse().unwrap(), plan: false, labels: Default::default(), hold: None };
        match self.service.tool_lock(&caller(), ask).await.unwrap() {
            Locked::Held(lease) => lease,
            _ => panic!("not held"),
        }
    }

    async fn release(&self, token: leasehold::domain::ids::Token) {
        // Not by the door: an id that was released has no other lease for a while.
        let take_back = LockAct::TakeBack { session: "mine".parse().unwrap(), token, asked: 1 };
        let act = Act::Lock(state(), take_back);
        let command = Command { principal: "bootstrap".parse().unwrap(), trace: Arc::default(), request: None, act };
        assert_eq!(self.store.submit(command).await.unwrap().unwrap(), Reply::TakenBack { was: true });
    }

    /// Everything that was spawned so far has been polled.
    async fn settled(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until the lock is held, or is not; the token.
    async fn is_held(&self, held: bool) -> leasehold::domain::ids::Token {
        let seen = async {
            loop {
                self.settled().await;
                let Rows::Locks(rows, _) = self.store.select(Query::Lock(state())).await.unwrap() else { panic!("no lock") };
                if rows[0].lock.holders.is_empty() != held {
                    return rows[0].lock.last_token;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), seen).await.unwrap_or_else(|_| panic!("held is not {held}"))
    }
}

fn caller() -> Caller {
    Caller::owner("bootstrap".parse().unwrap())
}

fn state() -> StateName {
    "dev/app".parse().unwrap()
}
