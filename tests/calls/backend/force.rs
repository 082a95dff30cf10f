//! `force-unlock`: without an id from Terraform, with an id alone from OpenTofu. It is a break.

use leasehold::pb::v1 as pb;
use serde_json::Value;

use super::{at, bare, force, holders, lock, unlock, write};
use crate::support::{acquire, on_each_engine, terraform};

#[tokio::test]
async fn empty_unlock_breaks_whoever_holds_and_fences_the_old_holder() {
    on_each_engine(async |server| {
        let http = server.http();
        lock(&http, "dev/app", "old").await.is(200);
        force(&http, "dev/app").await.is(200);
        assert!(holders(server, "dev/app").await.is_empty());
        // The one who was broken may still be running: the lock delay is for it.
        let delay = lock(&http, "dev/app", "new").await.is(423);
        assert!(delay.said("ID").starts_with("lock-delay"), "{}", delay.text());
        assert!(server.api.lock("dev/app").await.cooldown_ms > 10_000);
        write(&http, "dev/app", "old", &terraform("l", 1, "a")).await.refused(409, "LEASE_LOST");
        assert_eq!(server.api.drafts("dev/app").await.len(), 1);
        unlock(&http, "dev/app", "old").await.refused(409, "LEASE_LOST");
    })
    .await;
}

#[tokio::test]
async fn empty_unlock_that_comes_again_breaks_nobody_who_came_after() {
    on_each_engine(async |server| {
        server.set(pb::Settings { lock_delay_ms: Some(0), ..Default::default() }).await;
        let http = server.http();
        lock(&http, "dev/app", "old").await.is(200);
        force(&http, "dev/app").await.is(200);
        lock(&http, "dev/app", "new").await.is(200);
        // A retry, or another user of the same token within half a minute: it cannot be told apart.
        force(&http, "dev/app").await.is(200);
        assert_eq!(holders(server, "dev/app").await, ["new"]);
        unlock(&http, "dev/app", "new").await.is(200);
    })
    .await;
}

#[tokio::test]
async fn empty_unlock_of_a_free_lock_is_fine_in_every_form() {
    on_each_engine(async |server| {
        let http = server.http();
        force(&http, "dev/app").await.is(200);
        http.call("UNLOCK", &at("dev/app"), b"").await.is(200);
        http.call("DELETE", &at("dev/app/lock"), b"").await.is(200);
        http.call("UNLOCK", &at("dev/app"), b" \n").await.is(200);
        lock(&http, "dev/app", "a").await.is(200);
    })
    .await;
}

#[tokio::test]
async fn empty_unlock_breaks_every_reader_and_a_lease_of_run_too() {
    on_each_engine(async |server| {
        let http = server.http();
        for id in ["p1", "p2"] {
            http.call("LOCK", &at("dev/plans"), super::plan(id).as_bytes()).await.is(200);
        }
        http.call("DELETE", &at("dev/plans/lock"), b"").await.is(200);
        assert!(holders(server, "dev/plans").await.is_empty());
        let mut held = server.api.hold("dev/app", "run").await;
        force(&http, "dev/app").await.is(200);
        let lost = held.lost().await;
        assert!(lost.message.contains("force-unlock"), "{lost:?}");
    })
    .await;
}

#[tokio::test]
async fn unlock_with_an_id_alone_breaks_just_that_lease() {
    on_each_engine(async |server| {
        let http = server.http();
        lock(&http, "dev/app", "old").await.is(200);
        let wrong = http.call("UNLOCK", &at("dev/app"), bare("other").as_bytes()).await.is(409);
        assert!(wrong.said("ID").starts_with("old"), "{}", wrong.text());
        assert_eq!(holders(server, "dev/app").await, ["old"]);
        http.call("UNLOCK", &at("dev/app"), bare("old").as_bytes()).await.is(200);
        assert!(holders(server, "dev/app").await.is_empty() && server.api.lock("dev/app").await.cooldown_ms > 0);
        // Again, as after an answer that was lost.
        http.call("UNLOCK", &at("dev/app"), bare("old").as_bytes()).await.is(200);
        http.call("UNLOCK", &at("dev/app"), bare("other").as_bytes()).await.refused(409, "SESSION_UNKNOWN");
    })
    .await;
}

#[tokio::test]
async fn id_as_a_client_prints_it_can_be_pasted_back() {
    on_each_engine(async |server| {
        let http = server.http();
        let (run_url, host) = (format!("https://ci.example/run/{}", "7".repeat(99)), "h".repeat(64));
        let labels = pb::Labels { run_url, host, who: "ci".to_owned(), ..Default::default() };
        let long = "s".repeat(128);
        for (state, session) in [("dev/a", "9f-7"), ("dev/b", long.as_str())] {
            let held = pb::AcquireRequest { labels: Some(labels.clone()), ..acquire(state, session) };
            let mut held = server.api.hold_by(held).await;
            let printed = lock(&http, state, "new").await.is(423).said("ID");
            assert!(printed.starts_with(session) && printed.ends_with("unless renewed)"), "{printed}");
            let pasted = serde_json::to_string(&Value::String(printed)).unwrap();
            let body = bare("X").replace("\"X\"", &pasted);
            http.call("UNLOCK", &at(state), body.as_bytes()).await.is(200);
            held.lost().await;
        }
    })
    .await;
}
