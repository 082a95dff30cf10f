//! LOCK while others hold: refused, then waiting in the queue with the answer held back.

use std::time::Duration;

use leasehold::pb::v1 as pb;

use super::{apply, at, holders, lock, unlock};
use crate::support::{Http, Sent, StoreKind, acquire, on_each_engine};

/// LOCK that asks to be held back.
async fn wait(http: &Http, id: &str, time: &str) -> Sent {
    http.send("LOCK", &format!("{}?wait={time}", at("dev/app")), apply(id).as_bytes()).await
}

/// Until so many wait.
async fn queued(server: &crate::support::Running, count: u32) {
    let all = async {
        while server.api.lock("dev/app").await.waiting != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all).await.expect("they queue");
}

#[tokio::test]
async fn first_refusal_leaves_no_ticket_and_the_second_is_held_back_as_long_as_it_has_waited() {
    on_each_engine(async |server| {
        let http = server.http();
        lock(&http, "dev/app", "holder").await.is(200);
        lock(&http, "dev/app", "mine").await.is(423);
        assert_eq!(server.api.lock("dev/app").await.waiting, 0);
        // As a client waits a second; so long its second answer is held back, and not much longer.
        tokio::time::sleep(Duration::from_millis(400)).await;
        let mut second = http.send("LOCK", &at("dev/app"), apply("mine").as_bytes()).await;
        queued(server, 1).await;
        assert!(second.is_held_back(Duration::from_millis(200)).await);
        let told = tokio::time::timeout(Duration::from_secs(2), second.answer()).await.expect("not held back for ever").is(423);
        assert_eq!((told.lock_info()["queue_position"].as_u64(), server.api.lock("dev/app").await.waiting), (Some(1), 1));
        assert!(told.said("Info").contains("number 1 in the queue"), "{}", told.text());
        // The third is granted the moment the holder lets go.
        let third = http.send("LOCK", &at("dev/app"), apply("mine").as_bytes()).await;
        unlock(&http, "dev/app", "holder").await.is(200);
        third.answer().await.is(200);
        assert_eq!(holders(server, "dev/app").await, ["mine"]);
    })
    .await;
}

#[tokio::test]
async fn wait_in_the_address_holds_the_first_answer_back_until_the_lock_is_free() {
    on_each_engine(async |server| {
        let http = server.http();
        lock(&http, "dev/app", "holder").await.is(200);
        let mut waiting = wait(&http, "mine", "60s").await;
        queued(server, 1).await;
        assert!(waiting.is_held_back(Duration::from_millis(100)).await);
        unlock(&http, "dev/app", "holder").await.is(200);
        waiting.answer().await.is(200);
        let holder = server.api.lock("dev/app").await.holders.remove(0);
        assert!(holder.session == "mine" && holder.claimed && holder.remaining_ms == 0, "{holder:?}");
        unlock(&http, "dev/app", "mine").await.is(200);
        // A wait that is over says who holds, and keeps the place.
        lock(&http, "dev/app", "holder-2").await.is(200);
        let over = wait(&http, "mine-2", "150ms").await.answer().await.is(423);
        assert!(over.said("ID").starts_with("holder-2") && over.said("Info").contains("number 1"), "{}", over.text());
        assert_eq!(server.api.lock("dev/app").await.waiting, 1);
    })
    .await;
}

#[tokio::test]
async fn waiters_are_served_in_the_order_in_which_they_came() {
    on_each_engine(async |server| {
        let http = server.http();
        lock(&http, "dev/app", "holder").await.is(200);
        let mut waiting = Vec::new();
        for n in 0..6 {
            waiting.push(wait(&http, &format!("w{n}"), "60s").await);
            queued(server, n + 1).await;
        }
        let mut before = "holder".to_owned();
        for (n, next) in waiting.into_iter().enumerate() {
            unlock(&http, "dev/app", &before).await.is(200);
            next.answer().await.is(200);
            before = format!("w{n}");
            assert_eq!(holders(server, "dev/app").await, [before.clone()]);
        }
        // A newcomer does not pass who waits, even if it could have the lock.
        let _last = wait(&http, "last", "60s").await;
        queued(server, 1).await;
        lock(&http, "dev/app", "newcomer").await.is(423);
    })
    .await;
}

#[tokio::test]
async fn waiter_of_the_door_and_waiters_of_run_stand_in_one_queue() {
    on_each_engine(async |server| {
        let (http, api) = (server.http(), &server.api);
        let held = api.hold("dev/app", "first").await;
        let waiting = wait(&http, "mine", "60s").await;
        queued(server, 1).await;
        let (place, mut next) = api.queue(pb::AcquireRequest { wait_ms: 60_000, ..acquire("dev/app", "next") }).await;
        assert_eq!(place.place, 2);
        api.release("dev/app", "first", held.token).await.unwrap();
        waiting.answer().await.is(200);
        unlock(&http, "dev/app", "mine").await.is(200);
        crate::support::granted_in_turn(&mut next).await;
    })
    .await;
}

#[tokio::test]
async fn waiter_is_told_when_its_environment_is_gone() {
    on_each_engine(async |server| {
        let http = server.http();
        lock(&http, "dev/app", "holder").await.is(200);
        let waiting = wait(&http, "mine", "60s").await;
        queued(server, 1).await;
        super::force(&http, "dev/app").await.is(200);
        let delete = pb::DeleteEnvironmentRequest { name: "dev".to_owned(), force: true, request_id: crate::support::id() };
        server.api.environment().delete(delete).await.unwrap();
        // Not 404: to a client that reads, that means that there is no state yet.
        waiting.answer().await.refused(400, "ENVIRONMENT_NOT_FOUND");
    })
    .await;
}

#[tokio::test]
async fn server_that_stops_answers_who_is_held_back_at_once_and_its_place_is_kept() {
    for engine in [StoreKind::Memory, StoreKind::Sqlite] {
        let mut server = crate::support::Running::start(engine).await;
        let http = server.http();
        lock(&http, "dev/app", "holder").await.is(200);
        let waiting = wait(&http, "mine", "60s").await;
        queued(&server, 1).await;
        server.begin_stop();
        // Half of the time that calls in flight are given, so that being cut off then is no pass.
        let told = tokio::time::timeout(Duration::from_secs(5), waiting.answer()).await.expect("at once").is(503);
        assert!(told.header("retry-after").is_some());
        let stopped = tokio::time::timeout(Duration::from_secs(5), server.stop()).await.expect("nothing holds the server up");
        if engine == StoreKind::Memory {
            continue;
        }
        let server = stopped.restart().await;
        let http = server.http();
        assert_eq!((holders(&server, "dev/app").await, server.api.lock("dev/app").await.waiting), (vec!["holder".to_owned()], 1));
        let again = http.send("LOCK", &format!("{}?wait=60s", at("dev/app")), apply("mine").as_bytes()).await;
        unlock(&http, "dev/app", "holder").await.is(200);
        again.answer().await.is(200);
    }
}

#[tokio::test]
async fn wait_that_is_no_duration_or_too_long_is_refused() {
    let server = crate::support::Running::start(StoreKind::Memory).await;
    for wrong in ["", "60", "soon", "-1s", "10m1s", "1s&wait=1s"] {
        let answer = wait(&server.http(), "mine", wrong).await.answer().await;
        answer.refused(400, "ARGUMENT_INVALID");
    }
    assert!(holders(&server, "dev/app").await.is_empty());
    wait(&server.http(), "mine", "10m").await.answer().await.is(200);
}
