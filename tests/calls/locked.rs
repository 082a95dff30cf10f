//! A locked server keeps leases and history, and neither reads nor writes a document; what unlocks it, and what does not.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use leasehold::pb::v1 as pb;
use leasehold::secrets::master::MasterSource;
use tonic::{Code, Status};

use crate::support::{Api, Running, StoreKind, acquire, id, on_each_engine, open, refused};

async fn lock(api: &Api) -> bool {
    api.server().lock(pb::LockRequest {}).await.unwrap().into_inner().was_locked
}

async fn unlock(api: &Api, passphrase: Option<&str>) -> Result<bool, Status> {
    let request = pb::UnlockRequest { passphrase: passphrase.map(str::to_owned) };
    Ok(api.server().unlock(request).await?.into_inner().was_locked)
}

async fn status(api: &Api) -> pb::StatusResponse {
    api.server().status(pb::StatusRequest {}).await.unwrap().into_inner()
}

#[track_caller]
fn is_locked<T>(answer: Result<T, Status>) {
    refused(answer, Code::Unavailable, "LOCKED");
}

/// A state with two versions, and a draft of somebody who still holds it.
async fn with_history(api: &Api) -> (u64, String) {
    let held = api.hold("dev/app", "s").await;
    api.write("dev/app", "s", held.token, b"{\"n\":1}").await;
    api.write("dev/app", "s", held.token, b"{\"n\":2}").await;
    let stale = pb::PushOpen { expect: Some(pb::Expect::default()), ..open("dev/app", "s", held.token, 7) };
    let draft = refused(api.push(stale, b"{\"n\":3}").await, Code::Aborted, "VERSION_CONFLICT").metadata["draft"].clone();
    (held.token, draft)
}

#[tokio::test]
async fn locked_server_keeps_leases_history_and_drafts() {
    on_each_engine(async |server| {
        let api = &server.api;
        let (token, draft) = with_history(api).await;
        let state = || "dev/app".to_owned();
        assert!(!lock(api).await && status(api).await.locked && lock(api).await, "the second lock finds it locked");
        api.renew("dev/app", "s", token).await.unwrap();
        let (_, _queued) = api.queue(pb::AcquireRequest { wait_ms: 60_000, ..acquire("dev/app", "next") }).await;
        assert_eq!(api.lock("dev/app").await.holders.len(), 1);
        api.hold("dev/other", "s").await;
        assert!(api.release("dev/app", "s", token).await.unwrap().was_live);
        let history = pb::HistoryRequest { state: state(), all: true, ..Default::default() };
        assert_eq!(api.state().history(history).await.unwrap().into_inner().entries.len(), 2);
        let list = pb::ListStatesRequest::default();
        assert_eq!(api.state().list(list).await.unwrap().into_inner().states.len(), 1);
        let show = pb::ShowRequest { state: state(), ..Default::default() };
        let shown = api.state().show(show).await.unwrap().into_inner().version.unwrap();
        let unless = pb::PullRequest { state: state(), unless_etag: shown.etag, ..Default::default() };
        assert!(api.pull_by(unless).await.unwrap().0.unchanged, "an agent that is up to date learns so");
        assert!(!api.cursor().await.is_empty());
        assert_eq!(api.drafts("dev/app").await.len(), 1);
        let discard = pb::DiscardDraftRequest { state: state(), draft, request_id: id() };
        api.state().discard_draft(discard).await.unwrap();
        let purge = pb::PurgeRequest { state: state(), version: 1, request_id: id() };
        assert_eq!(api.state().purge(purge).await.unwrap().into_inner().purged, 1);
        let freeze = pb::FreezeRequest { target: "dev".to_owned(), reason: "locked".to_owned(), request_id: id() };
        api.environment().freeze(freeze).await.unwrap();
        assert!(unlock(api, None).await.unwrap() && !status(api).await.locked);
        assert_eq!(api.pull("dev/app", 0).await.unwrap(), b"{\"n\":2}");
    })
    .await;
}

#[tokio::test]
async fn locked_server_neither_reads_nor_writes_documents() {
    on_each_engine(async |server| {
        let api = &server.api;
        let (token, draft) = with_history(api).await;
        // What is at hand must not be served either.
        assert_eq!(api.pull("dev/app", 0).await.unwrap(), b"{\"n\":2}");
        lock(api).await;
        let (state, session) = (|| "dev/app".to_owned(), || "s".to_owned());
        is_locked(api.pull("dev/app", 0).await);
        is_locked(api.pull("dev/app", 1).await);
        is_locked(api.pull_by(pb::PullRequest { state: state(), draft: draft.clone(), ..Default::default() }).await);
        is_locked(api.push(open("dev/app", "s", token, 7), b"{\"n\":4}").await);
        // Nobody sends a large document to hear that at its end: the announcement alone is answered.
        let announced = pb::push_request::Part::Open(open("dev/app", "s", token, 100 << 20));
        is_locked(api.push_parts(vec![pb::PushRequest { part: Some(announced) }]).await);
        let diff = pb::DiffRequest { state: state(), from_version: 1, ..Default::default() };
        is_locked(api.state().diff(diff).await);
        let rollback = pb::RollbackRequest {
            state: state(),
            session: session(),
            token,
            request_id: id(),
            to_version: 1,
            ..Default::default()
        };
        is_locked(api.state().rollback(rollback).await);
        let promote =
            pb::PromoteDraftRequest { state: state(), draft, session: session(), token, request_id: id(), ..Default::default() };
        is_locked(api.state().promote_draft(promote.clone()).await);
        is_locked(server.make_environment("other").await);
        unlock(api, None).await.unwrap();
        let promoted = api.state().promote_draft(promote).await.unwrap().into_inner();
        assert_eq!((promoted.version, api.pull("dev/app", 0).await.unwrap()), (3, b"{\"n\":3}".to_vec()));
    })
    .await;
}

#[tokio::test]
async fn unlock_is_refused_until_the_right_key_is_back() {
    on_each_engine(async |server| {
        let api = &server.api;
        let (file, aside) = (server.data().join("master.key"), server.data().join("aside"));
        api.write_once("dev/app", b"{}").await;
        lock(api).await;
        std::fs::rename(&file, &aside).unwrap();
        let cannot = async || refused(unlock(api, None).await, Code::FailedPrecondition, "MASTER_UNAVAILABLE").message;
        assert!(cannot().await.contains("is missing"));
        std::fs::copy(&aside, &file).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(cannot().await.contains("others can read"));
        std::fs::remove_file(&file).unwrap();
        other_key(&file);
        refused(unlock(api, None).await, Code::FailedPrecondition, "MASTER_WRONG");
        assert!(status(api).await.locked);
        is_locked(api.pull("dev/app", 0).await);
        std::fs::rename(&aside, &file).unwrap();
        assert!(unlock(api, None).await.unwrap());
        assert_eq!(api.pull("dev/app", 0).await.unwrap(), b"{}");
        // A server that is unlocked stays so if its key cannot be read again.
        std::fs::rename(&file, &aside).unwrap();
        cannot().await;
        assert_eq!(api.pull("dev/app", 0).await.unwrap(), b"{}");
    })
    .await;
}

fn other_key(file: &Path) {
    MasterSource::File(file.to_owned()).load_or_create(true, None).unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test]
async fn server_starts_locked_without_its_key_and_with_a_wrong_one() {
    let server = Running::start(StoreKind::Sqlite).await;
    server.api.write_once("dev/app", b"{}").await;
    let stopped = server.stop().await;
    let (file, aside) = (stopped.data().join("master.key"), stopped.data().join("aside"));
    std::fs::rename(&file, &aside).unwrap();
    let server = stopped.restart().await;
    assert!(status(&server.api).await.locked && !file.exists(), "no other key is made");
    is_locked(server.api.pull("dev/app", 0).await);
    server.api.hold("dev/app", "s").await;
    let stopped = server.stop().await;
    other_key(&file);
    let server = stopped.restart().await;
    assert!(status(&server.api).await.locked);
    is_locked(server.api.pull("dev/app", 0).await);
    is_locked(server.make_environment("other").await);
    std::fs::rename(&aside, &file).unwrap();
    assert!(unlock(&server.api, None).await.unwrap());
    assert_eq!(server.api.pull("dev/app", 0).await.unwrap(), b"{}");
}

/// One environment is under this key and one under another: with either of the two alone nothing is served, with both everything is.
#[tokio::test]
async fn key_of_some_environments_is_not_enough() {
    let server = Running::start(StoreKind::Sqlite).await;
    let file = server.data().join("master.key");
    let first = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    other_key(&file);
    let second = std::fs::read_to_string(&file).unwrap();
    // With two keys, the first is current: new keys are wrapped to it, and both open.
    std::fs::write(&file, format!("{second}{first}")).unwrap();
    unlock(&server.api, None).await.unwrap();
    server.make_environment("other").await.unwrap();
    lock(&server.api).await;
    for (text, opens) in [(&second, false), (&first, false), (&format!("{first}{second}"), true)] {
        std::fs::write(&file, text).unwrap();
        match opens {
            true => assert!(unlock(&server.api, None).await.unwrap()),
            false => drop(refused(unlock(&server.api, None).await, Code::FailedPrecondition, "MASTER_WRONG")),
        }
    }
}

#[tokio::test]
async fn passphrase_opens_and_a_wrong_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("master.age");
    let made = leasehold::secrets::master::create_passphrase_file_with_work_factor(&file, "correct horse", 2);
    made.unwrap_or_else(|error| panic!("{error}"));
    for engine in [StoreKind::Memory, StoreKind::Sqlite] {
        let server = Running::start_bare(engine, &format!("[master]\nencrypted = {file:?}\n")).await;
        let api = &server.api;
        let found = status(api).await;
        assert!(found.locked && found.asks_passphrase && found.version == env!("CARGO_PKG_VERSION"), "{found:?}");
        is_locked(server.make_environment("dev").await);
        for (given, said) in [(None, "none was given"), (Some("wrong"), "does not open"), (Some(""), "does not open")] {
            let refused = refused(unlock(api, given).await, Code::FailedPrecondition, "MASTER_UNAVAILABLE");
            assert!(refused.message.contains(said), "{}", refused.message);
        }
        assert!(unlock(api, Some("correct horse")).await.unwrap());
        server.make_environment("dev").await.unwrap();
        api.write_once("dev/app", b"{}").await;
        lock(api).await;
        is_locked(api.pull("dev/app", 0).await);
        assert!(unlock(api, Some("correct horse")).await.unwrap());
        assert_eq!(api.pull("dev/app", 0).await.unwrap(), b"{}");
    }
}

/// A program that says when it runs, and prints the key that it is given through a pipe.
#[tokio::test]
async fn lock_during_an_unlock_wins() {
    for engine in [StoreKind::Memory, StoreKind::Sqlite] {
        let folder = tempfile::tempdir().unwrap();
        let [key, begun, pipe] = ["key", "begun", "pipe"].map(|name| folder.path().join(name));
        other_key(&key);
        for pipe in [&begun, &pipe] {
            rustix::fs::mknodat(rustix::fs::CWD, pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        }
        let script = format!("echo > {}; cat {}", begun.display(), pipe.display());
        let settings = format!("[master]\ncommand = [\"/bin/sh\", \"-c\", {script:?}]\ncommand_timeout = \"20s\"\n");
        // Waits until the program runs; what is returned has it print the key.
        let begins = || {
            let (key, begun, pipe) = (key.clone(), begun.clone(), pipe.clone());
            move || {
                std::fs::read(begun).unwrap();
                move || std::fs::write(pipe, std::fs::read(key).unwrap()).unwrap()
            }
        };
        let begun = begins();
        let starting = tokio::task::spawn_blocking(move || begun()());
        let server = Running::start_bare(engine, &settings).await;
        starting.await.unwrap();
        assert!(!status(&server.api).await.locked);
        lock(&server.api).await;
        let unlocking = tokio::spawn({
            let api = server.api.clone();
            async move { unlock(&api, None).await }
        });
        let print = tokio::task::spawn_blocking(begins()).await.unwrap();
        assert!(lock(&server.api).await, "still locked, and locked once more while the program runs");
        tokio::task::spawn_blocking(print).await.unwrap();
        is_locked(unlocking.await.unwrap());
        assert!(status(&server.api).await.locked);
    }
}
