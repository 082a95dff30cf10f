//! Writes: what is taken, what is kept as a draft, and what each is answered.

use leasehold::pb::v1 as pb;

use super::{at, force, lock, read, unlock, write};
use crate::support::{Running, StoreKind, on_each_engine, terraform};

async fn versions(server: &Running) -> usize {
    let history = pb::HistoryRequest { state: "dev/app".to_owned(), all: true, ..Default::default() };
    server.api.state().history(history).await.map_or(0, |answer| answer.into_inner().entries.len())
}

async fn drafts(server: &Running) -> Vec<String> {
    server.api.drafts("dev/app").await.into_iter().map(|draft| draft.reason).collect()
}

#[tokio::test]
async fn write_under_the_lock_is_stored_byte_for_byte() {
    on_each_engine(async |server| {
        let http = server.http();
        lock(&http, "dev/app", "mine").await.is(200);
        for (n, method) in ["POST", "PUT"].into_iter().enumerate() {
            let document = terraform("l", n as u64 + 1, "a \\u00e9 \u{e9}");
            let target = format!("{}?ID=mine&x=1", at("dev/app"));
            let written = http.call(method, &target, &document).await.is(200);
            assert_eq!(written.header("leasehold-version"), Some((n + 1).to_string().as_str()));
            assert_eq!(read(&http, "dev/app").await.is(200).body, document);
        }
        // The same bytes again are a retry: no version.
        let again = write(&http, "dev/app", "mine", &terraform("l", 2, "a \\u00e9 \u{e9}")).await.is(200);
        assert_eq!((again.header("leasehold-version"), versions(server).await), (Some("2"), 2));
        unlock(&http, "dev/app", "mine").await.is(200);
        // Even when the lock is gone: the answer to the first was lost, and this one is late.
        write(&http, "dev/app", "mine", &terraform("l", 2, "a \\u00e9 \u{e9}")).await.is(200);
        assert!(drafts(server).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn snapshots_under_one_lock_are_one_entry() {
    on_each_engine(async |server| {
        let http = server.http();
        for (id, serials) in [("first", 1..=20), ("second", 21..=22)] {
            lock(&http, "dev/app", id).await.is(200);
            for serial in serials {
                write(&http, "dev/app", id, &terraform("l", serial, "a")).await.is(200);
            }
            unlock(&http, "dev/app", id).await.is(200);
        }
        let history = pb::HistoryRequest { state: "dev/app".to_owned(), ..Default::default() };
        let entries = server.api.state().history(history).await.unwrap().into_inner().entries;
        let shown: Vec<_> = entries.iter().map(|entry| (entry.version.as_ref().unwrap().version, entry.snapshots)).collect();
        assert_eq!((shown, versions(server).await), (vec![(22, 2), (20, 20)], 22));
    })
    .await;
}

#[tokio::test]
async fn serial_or_lineage_that_does_not_follow_is_a_draft() {
    on_each_engine(async |server| {
        let http = server.http();
        lock(&http, "dev/app", "mine").await.is(200);
        write(&http, "dev/app", "mine", &terraform("l", 5, "a")).await.is(200);
        for serial in [5, 4, 0] {
            write(&http, "dev/app", "mine", &terraform("l", serial, "b")).await.refused(409, "SERIAL_NOT_HIGHER");
        }
        write(&http, "dev/app", "mine", &terraform("other", 9, "c")).await.refused(409, "LINEAGE_DIFFERS");
        assert_eq!(drafts(server).await, ["LINEAGE_DIFFERS", "SERIAL_NOT_HIGHER", "SERIAL_NOT_HIGHER", "SERIAL_NOT_HIGHER"]);
        assert_eq!(read(&http, "dev/app").await.body, terraform("l", 5, "a"));
        // A gap is normal; so is another lineage where it is meant.
        write(&http, "dev/app", "mine", &terraform("l", 9, "d")).await.is(200);
        let meant = format!("{}?ID=mine&rewrite=true", at("dev/app"));
        http.call("POST", &meant, &terraform("other", 1, "e")).await.is(200);
        http.call("POST", &meant.replace("true", "yes"), &terraform("l", 1, "e")).await.refused(400, "ARGUMENT_INVALID");
        assert_eq!(versions(server).await, 3);
    })
    .await;
}

#[tokio::test]
async fn write_under_a_lock_that_is_gone_is_a_draft() {
    on_each_engine(async |server| {
        server.set(pb::Settings { lock_delay_ms: Some(0), ..Default::default() }).await;
        let http = server.http();
        lock(&http, "dev/app", "zombie").await.is(200);
        force(&http, "dev/app").await.is(200);
        write(&http, "dev/app", "zombie", &terraform("l", 1, "z")).await.refused(409, "LEASE_LOST");
        lock(&http, "dev/app", "next").await.is(200);
        write(&http, "dev/app", "next", &terraform("l", 1, "n")).await.is(200);
        let late = write(&http, "dev/app", "zombie", &terraform("l", 2, "z")).await.refused(409, "LEASE_LOST");
        assert!(late.text().contains("kept as draft"), "{}", late.text());
        unlock(&http, "dev/app", "next").await.is(200);
        write(&http, "dev/app", "next", &terraform("l", 2, "after")).await.refused(409, "LEASE_LOST");
        assert_eq!(drafts(server).await, ["LEASE_LOST"; 3]);
        // The same bytes again are the same draft: the client sends them three times.
        write(&http, "dev/app", "next", &terraform("l", 2, "after")).await.refused(409, "LEASE_LOST");
        assert_eq!((drafts(server).await.len(), read(&http, "dev/app").await.body), (3, terraform("l", 1, "n")));
    })
    .await;
}

/// `state push errored.tfstate`: what was refused comes again under a lock of its own, with the next serial.
#[tokio::test]
async fn refused_state_can_be_pushed_while_nobody_wrote_in_between_and_promoted_always() {
    on_each_engine(async |server| {
        server.set(pb::Settings { lock_delay_ms: Some(0), ..Default::default() }).await;
        let http = server.http();
        for id in ["errs", "push"] {
            lock(&http, "dev/app", id).await.is(200);
            if id == "errs" {
                write(&http, "dev/app", id, &terraform("l", 1, "a")).await.is(200);
                force(&http, "dev/app").await.is(200);
                write(&http, "dev/app", id, &terraform("l", 2, "errored")).await.refused(409, "LEASE_LOST");
            }
        }
        write(&http, "dev/app", "push", &terraform("l", 3, "errored")).await.is(200);
        unlock(&http, "dev/app", "push").await.is(200);
        // The draft of the first try is older than what is current now: only a person who promotes it may mean that.
        let draft = server.api.drafts("dev/app").await.remove(0).draft;
        let held = server.api.hold("dev/app", "person").await;
        let promote = pb::PromoteDraftRequest {
            state: "dev/app".to_owned(),
            draft,
            session: "person".to_owned(),
            token: held.token,
            request_id: crate::support::id(),
            ..Default::default()
        };
        server.api.state().promote_draft(promote).await.unwrap();
        let promoted = read(&http, "dev/app").await.is(200).text();
        assert!(promoted.contains("errored") && promoted.contains("\"serial\": 4"), "{promoted}");
    })
    .await;
}

#[tokio::test]
async fn write_without_a_lock_is_refused_unless_the_environment_takes_it() {
    on_each_engine(async |server| {
        let http = server.http();
        let document = |serial| terraform("l", serial, "a");
        http.call("POST", &at("dev/app"), &document(1)).await.refused(423, "LEASE_REQUIRED");
        read(&http, "dev/app").await.is(404);
        server.set(pb::Settings { write_without_lock: Some(true), ..Default::default() }).await;
        let mut last = 0;
        for serial in 1..4 {
            http.call("PUT", &at("dev/app"), &document(serial)).await.is(200);
            let lock = server.api.lock("dev/app").await;
            assert!(lock.holders.is_empty() && lock.cooldown_ms == 0 && lock.last_token > last, "{lock:?}");
            last = lock.last_token;
        }
        http.call("POST", &at("dev/app"), &document(3)).await.is(200);
        assert_eq!((versions(server).await, drafts(server).await), (3, vec!["LEASE_REQUIRED".to_owned()]));
        // The token of the version is the one that the lock has spent.
        let show = pb::ShowRequest { state: "dev/app".to_owned(), ..Default::default() };
        let shown = server.api.state().show(show).await.unwrap().into_inner().version.unwrap();
        assert_eq!((shown.token, shown.version), (last, 3));
        // Whoever holds it, a plan included, is not passed.
        for body in [super::apply("a"), super::plan("p")] {
            http.call("LOCK", &at("dev/app"), body.as_bytes()).await.is(200);
            http.call("POST", &at("dev/app"), &document(4)).await.is(423);
            http.call("UNLOCK", &at("dev/app"), body.as_bytes()).await.is(200);
        }
        // Nor is the lock delay after one who died.
        lock(&http, "dev/app", "b").await.is(200);
        force(&http, "dev/app").await.is(200);
        http.call("POST", &at("dev/app"), &document(5)).await.is(423);
        assert_eq!((versions(server).await, drafts(server).await.len()), (3, 4));
    })
    .await;
}

#[tokio::test]
async fn writes_without_a_lock_at_one_time_all_go_through_or_are_drafts() {
    on_each_engine(async |server| {
        server.set(pb::Settings { write_without_lock: Some(true), ..Default::default() }).await;
        let http = server.http();
        let writes = (1..=8).map(|serial| {
            let http = http.clone();
            tokio::spawn(async move { http.call("POST", &at("dev/app"), &terraform("l", serial, "a")).await.status })
        });
        let mut statuses = Vec::new();
        for write in writes.collect::<Vec<_>>() {
            statuses.push(write.await.unwrap());
        }
        // None is told of the token that another one took; a lower serial that comes late is refused like any.
        assert!(statuses.iter().all(|status| matches!(status, 200 | 409)), "{statuses:?}");
        let written = statuses.iter().filter(|status| **status == 200).count();
        assert_eq!((versions(server).await, drafts(server).await.len()), (written, 8 - written));
        let history = pb::HistoryRequest { state: "dev/app".to_owned(), all: true, ..Default::default() };
        let entries = server.api.state().history(history).await.unwrap().into_inner().entries;
        let tokens: Vec<_> = entries.iter().map(|entry| entry.version.as_ref().unwrap().token).collect();
        assert!(tokens.is_sorted_by(|newer, older| newer > older), "{tokens:?}");
    })
    .await;
}

/// The token that comes next is another one after a restart: nobody is told of that.
#[tokio::test]
async fn write_without_a_lock_works_after_a_restart() {
    let server = Running::start(StoreKind::Sqlite).await;
    server.set(pb::Settings { write_without_lock: Some(true), ..Default::default() }).await;
    server.http().call("POST", &at("dev/app"), &terraform("l", 1, "a")).await.is(200);
    let before = server.api.lock("dev/app").await.last_token;
    let server = server.stop().await.restart().await;
    server.http().call("POST", &at("dev/app"), &terraform("l", 2, "a")).await.is(200);
    assert!(server.api.lock("dev/app").await.last_token > before + 1, "another epoch");
    assert_eq!(read(&server.http(), "dev/app").await.is(200).body, terraform("l", 2, "a"));
}

#[tokio::test]
async fn document_of_many_pieces_is_stored_as_it_was_sent() {
    on_each_engine(async |server| {
        let http = server.http();
        lock(&http, "dev/app", "mine").await.is(200);
        let document = terraform("l", 1, &"0123456789abcdef".repeat(100_000));
        write(&http, "dev/app", "mine", &document).await.is(200);
        assert_eq!(server.api.pull("dev/app", 0).await.unwrap(), document);
    })
    .await;
}
