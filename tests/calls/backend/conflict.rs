//! What a 409 or 423 says, as each generation of clients prints it.

use leasehold::pb::v1 as pb;

use super::{apply, at, info, lock, plan, read, write};
use crate::support::{Running, acquire, id, on_each_engine, terraform};

async fn refused_lock(server: &Running, version: &str) -> crate::support::Answer {
    // One that asks for the first time is answered at once.
    let body = info(&id(), "OperationTypeApply", version);
    server.http().call("LOCK", &at("dev/app"), body.as_bytes()).await.is(423)
}

#[tokio::test]
async fn holder_is_told_in_the_fields_that_each_client_prints() {
    on_each_engine(async |server| {
        lock(&server.http(), "dev/app", "theirs").await.is(200);
        // These print the id and nothing else, so the id says who.
        for old in ["1.2.9", "1.11.4", "1.14.0", "0.13.1"] {
            let printed = refused_lock(server, old).await.said("ID");
            assert!(printed.starts_with("theirs (apply by user@host since 2"), "{old}: {printed}");
        }
        // These print every field.
        for new in ["1.15.0", "1.16.0-rc2", "2.0.0", ""] {
            let told = refused_lock(server, new).await;
            assert_eq!(told.said("ID"), "theirs", "{new}");
            assert_eq!(told.said("Operation"), "OperationTypeApply");
            assert_eq!((told.said("Who"), told.said("Version")), ("user@host".to_owned(), "1.11.4".to_owned()));
            assert!(told.said("Info").contains("unattended, last sign of life "), "{}", told.text());
            assert!(told.said("Created").ends_with('Z') && told.said("fencing_token").parse::<u64>().is_ok());
        }
        // OpenTofu from 1.9 on prints everything as well; its numbers are below.
        let tofu = refused_lock(server, "1.9.0").await;
        assert!(tofu.said("ID").starts_with("theirs ") && tofu.said("Who") == "user@host");
    })
    .await;
}

#[tokio::test]
async fn holder_behind_a_run_is_told_with_its_address_and_end() {
    on_each_engine(async |server| {
        let labels = pb::Labels {
            who: "deploy".to_owned(),
            host: "runner-7".to_owned(),
            run_url: "https://ci.example/run/7".to_owned(),
            operation: "apply".to_owned(),
            ..Default::default()
        };
        let _held = server.api.hold_by(pb::AcquireRequest { labels: Some(labels), ..acquire("dev/app", "run-7") }).await;
        let told = refused_lock(server, "1.15.0").await;
        assert_eq!((told.said("ID"), told.said("Who")), ("run-7".to_owned(), "deploy@runner-7".to_owned()));
        assert_eq!(told.said("run_url"), "https://ci.example/run/7");
        let info = told.said("Info");
        assert!(info.contains("https://ci.example/run/7") && info.contains("ends in 59s unless renewed"), "{info}");
        assert!(told.said("expires_in").contains("59s"), "{}", told.text());
        assert!(refused_lock(server, "1.11.4").await.said("ID").contains("https://ci.example/run/7"));
    })
    .await;
}

#[tokio::test]
async fn offer_and_readers_are_told_as_such() {
    on_each_engine(async |server| {
        let (http, api) = (server.http(), &server.api);
        let held = api.hold("dev/app", "first").await;
        let (_, waiter) = api.queue(pb::AcquireRequest { wait_ms: 60_000, ..acquire("dev/app", "next") }).await;
        // A waiter that does not take up what it is offered.
        drop(waiter);
        api.release("dev/app", "first", held.token).await.unwrap();
        let told = refused_lock(server, "1.15.0").await;
        assert_eq!(told.said("ID"), "next");
        assert!(told.said("Info").contains("offered"), "{}", told.text());
        for reader in ["p1", "p2", "p3"] {
            http.call("LOCK", &at("dev/plans"), plan(reader).as_bytes()).await.is(200);
        }
        let told = http.call("LOCK", &at("dev/plans"), apply("mine").as_bytes()).await.is(423);
        assert!(
            told.said("ID").starts_with("p1 (plan by") && told.said("Info").contains("and 2 more hold it"),
            "{}",
            told.text()
        );
    })
    .await;
}

#[tokio::test]
async fn lock_that_nobody_holds_and_nobody_gets_still_has_an_id() {
    on_each_engine(async |server| {
        let (http, api) = (server.http(), &server.api);
        let freeze = pb::FreezeRequest { target: "dev/frozen".to_owned(), reason: "audit".to_owned(), request_id: id() };
        api.environment().freeze(freeze).await.unwrap();
        let freeze = pb::FreezeRequest { target: "dev".to_owned(), reason: "week-end".to_owned(), request_id: id() };
        let held = api.hold("dev/app", "dies").await;
        api.lease()
            .release(pb::ReleaseRequest {
                state: "dev/app".to_owned(),
                session: "dies".to_owned(),
                token: held.token,
                abandoned: true,
            })
            .await
            .unwrap();
        for version in ["1.11.4", "1.15.0"] {
            let body = info("mine", "OperationTypeApply", version);
            let told = http.call("LOCK", &at("dev/frozen"), body.as_bytes()).await.is(423);
            assert!(told.said("ID").starts_with("frozen") && told.said("Info").contains("audit"), "{}", told.text());
        }
        let told = refused_lock(server, "1.15.0").await;
        assert_eq!(told.said("ID"), "lock-delay");
        assert!(told.said("Info").contains("free in 14s"), "{}", told.text());
        api.environment().freeze(freeze).await.unwrap();
        let told = http.call("LOCK", &at("dev/free"), apply("mine").as_bytes()).await.is(423);
        assert!(told.said("Info").contains("week-end"), "{}", told.text());
    })
    .await;
}

#[tokio::test]
async fn queue_that_is_full_is_a_conflict_that_clients_try_again() {
    on_each_engine(async |server| {
        server.set(pb::Settings { max_tickets: Some(1), ..Default::default() }).await;
        let held = server.api.hold("dev/app", "theirs").await;
        let (_, _waiter) = server.api.queue(pb::AcquireRequest { wait_ms: 60_000, ..acquire("dev/app", "next") }).await;
        for _ in 0..2 {
            let told = refused_lock(server, "1.15.0").await;
            assert_eq!(told.said("ID"), "theirs");
        }
        let waits = server.http().call("LOCK", &format!("{}?wait=10m", at("dev/app")), apply("mine").as_bytes()).await.is(423);
        assert!(waits.said("ID").starts_with("theirs"));
        server.api.release("dev/app", "theirs", held.token).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn write_that_is_refused_for_the_lock_names_the_holder() {
    on_each_engine(async |server| {
        let http = server.http();
        lock(&http, "dev/app", "theirs").await.is(200);
        let without = http.call("POST", &at("dev/app"), &terraform("l", 1, "a")).await.is(423);
        assert_eq!(without.said("ID"), "theirs");
        let never = write(&http, "dev/app", "never-seen", &terraform("l", 1, "b")).await.is(423);
        assert_eq!(never.said("ID"), "theirs");
        assert_eq!(server.api.drafts("dev/app").await.len(), 2);
        read(&http, "dev/app").await.is(404);
    })
    .await;
}
