//! Rotation of keys: everything reads as before, and nothing is left under the old ones.

mod ahead;

use std::collections::BTreeMap;

use leasehold::domain::ids::{DataKeyId, IdentityVersion, StateId};
use leasehold::domain::sealing::{DataKeyRecord, KeyStatus, Keyring, Wrapped};
use leasehold::pb::v1 as pb;
use leasehold::secrets::keys::{EnvironmentIdentity, EnvironmentSecret, data_key};
use leasehold::secrets::master::Masters;
use pb::key_progress::Message;
use tonic::{Code, Response, Status, Streaming};

use crate::support::{Api, Running, StoreKind, id, on_each_engine, open, refused};

type Answer = Result<Response<Streaming<pb::KeyProgress>>, Status>;

/// How it ended, and how many steps were told.
async fn ends(answer: Answer) -> Result<(pb::KeyOutcome, Vec<pb::KeyStep>), Status> {
    let (mut stream, mut steps) = (answer?.into_inner(), Vec::new());
    loop {
        match stream.message().await?.expect("a stream ends with an outcome").message {
            Some(Message::Step(step)) => steps.push(step),
            Some(Message::Outcome(outcome)) => {
                assert!(stream.message().await?.is_none(), "nothing follows the outcome");
                return Ok((outcome, steps));
            }
            None => panic!("an empty message"),
        }
    }
}

fn dev() -> (String, String) {
    ("dev".to_owned(), id())
}

async fn rewrap(api: &Api) -> Result<pb::KeyOutcome, Status> {
    let (environment, request_id) = dev();
    Ok(ends(api.keys().rewrap(pb::RewrapRequest { environment, request_id }).await).await?.0)
}

async fn reencrypt(api: &Api) -> Result<pb::KeyOutcome, Status> {
    let (environment, request_id) = dev();
    Ok(ends(api.keys().reencrypt(pb::ReencryptRequest { environment, request_id }).await).await?.0)
}

async fn verify(api: &Api) -> Result<pb::KeyOutcome, Status> {
    let (environment, request_id) = dev();
    Ok(ends(api.keys().verify(pb::VerifyKeysRequest { environment, request_id }).await).await?.0)
}

async fn destroy(api: &Api) -> Result<pb::DestroyKeysResponse, Status> {
    let (environment, request_id) = dev();
    Ok(api.keys().destroy(pb::DestroyKeysRequest { environment, request_id }).await?.into_inner())
}

async fn report(api: &Api) -> pb::KeyReport {
    let (environment, _) = dev();
    api.keys().report(pb::KeyReportRequest { environment }).await.expect("a report").into_inner()
}

async fn data_keys(api: &Api) -> Vec<pb::DataKey> {
    let (environment, _) = dev();
    let request = pb::ListDataKeysRequest { environment, ..Default::default() };
    api.keys().list_data_keys(request).await.expect("data keys").into_inner().keys
}

/// Text that does not compress.
fn noise(seed: u64, length: usize) -> String {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letters = (0..length).map(|_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        char::from(b'a' + (x % 26) as u8)
    });
    letters.collect()
}

fn terraform(serial: u64, secret: &str) -> Vec<u8> {
    let outputs = format!(
        r#"{{"x":{{"value":"{secret}","type":"string","sensitive":true}},"y":{{"value":"see {secret} here","type":"string"}}}}"#
    );
    format!(r#"{{"version":4,"terraform_version":"1.9.0","serial":{serial},"lineage":"l","outputs":{outputs},"resources":[]}}"#)
        .into_bytes()
}

async fn delete(api: &Api, state: &str) {
    let held = api.hold(state, "d").await;
    let request = pb::DeleteStateRequest {
        state: state.to_owned(),
        session: "d".to_owned(),
        token: held.token,
        request_id: id(),
        expect: None,
    };
    api.state().delete(request).await.expect("deleted");
    api.release(state, "d", held.token).await.expect("released");
}

/// States of every kind.
async fn fill(api: &Api) {
    let held = api.hold("dev/app", "s").await;
    for (serial, secret) in [(1, "correct-horse-1"), (2, "correct-horse-1"), (3, "battery-staple-3")] {
        api.write("dev/app", "s", held.token, &terraform(serial, secret)).await;
    }
    // A serial that is not higher: kept.
    let low = terraform(2, "draft-secret-4");
    refused(api.push(open("dev/app", "s", held.token, low.len()), &low).await, Code::FailedPrecondition, "SERIAL_NOT_HIGHER");
    api.release("dev/app", "s", held.token).await.expect("released");
    let held = api.hold("dev/opaque", "s").await;
    let opaque = b"\x00\x01 opaque";
    let head = pb::PushOpen { format: pb::Format::Opaque.into(), ..open("dev/opaque", "s", held.token, opaque.len()) };
    api.push(head, opaque).await.expect("an opaque document");
    api.release("dev/opaque", "s", held.token).await.expect("released");
    api.write_once("dev/gone", &terraform(1, "gone-secret-5")).await;
    delete(api, "dev/gone").await;
    // Three incarnations of one name.
    for n in 1..=3 {
        api.write_once("dev/again", &terraform(n, &format!("incarnation-{n}"))).await;
        if n < 3 {
            delete(api, "dev/again").await;
        }
    }
    // A state that never came to be.
    let lost = terraform(1, "only-a-draft-6");
    let never = open("dev/never", "s", 77, lost.len());
    refused(api.push(never, &lost).await, Code::FailedPrecondition, "TOKEN_UNKNOWN");
}

/// A state whose skeletons and values are staged in pieces.
async fn fill_large(api: &Api) {
    let password = noise(7, 300 << 10);
    for n in 0..2 {
        let filling = noise(100 + n, 300 << 10);
        api.write_once("dev/large", format!(r#"{{"password":"{password}","filling":"{filling}"}}"#).as_bytes()).await;
    }
}

/// Every document of every state, by name and number or draft.
async fn everything(api: &Api) -> BTreeMap<(String, String), Vec<u8>> {
    let mut all = BTreeMap::new();
    for state in ["dev/app", "dev/large", "dev/opaque", "dev/gone", "dev/again", "dev/never"] {
        for draft in api.drafts(state).await {
            let request = pb::PullRequest { state: state.to_owned(), draft: draft.draft.clone(), ..Default::default() };
            all.insert((state.to_owned(), draft.draft), api.pull_by(request).await.expect("a draft reads").1);
        }
        let request = pb::HistoryRequest { state: state.to_owned(), all: true, ..Default::default() };
        // A state that never came to be has none.
        let entries = api.state().history(request).await.map(|history| history.into_inner().entries).unwrap_or_default();
        for entry in entries {
            let version = entry.version.expect("a version");
            if !version.deleted {
                let document = api.pull(state, version.version).await.expect("a version reads");
                all.insert((state.to_owned(), version.version.to_string()), document);
            }
        }
    }
    all
}

/// What is stored of the keys of `dev`, read from the file of a SQLite store.
struct Stored {
    environment: leasehold::domain::ids::EnvironmentId,
    keyring: Keyring,
    data_keys: Vec<DataKeyRecord>,
}

fn stored(server: &Running) -> Stored {
    let file = server.data().join("leasehold.db");
    let connection = rusqlite::Connection::open_with_flags(file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let one = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    let environment: leasehold::domain::environment::Environment =
        serde_json::from_str(&one("SELECT meta FROM environment WHERE name = 'dev'")).unwrap();
    let keyring = serde_json::from_str(&one("SELECT meta FROM keyring WHERE environment = 'dev'")).unwrap();
    let mut all = connection.prepare("SELECT id, state, identity, epoch, wrapped FROM data_key").unwrap();
    let read = |row: &rusqlite::Row<'_>| {
        let (id, state, wrapped) = (DataKeyId(row.get(0)?), StateId(row.get(1)?), Wrapped(row.get(4)?));
        Ok(DataKeyRecord { id, state, identity: row.get(2)?, epoch: row.get(3)?, status: KeyStatus::Active, wrapped })
    };
    let rows = all.query_map([], read).unwrap();
    let data_keys = rows.map(Result::unwrap).collect();
    Stored { environment: environment.id, keyring, data_keys }
}

impl Stored {
    fn identity(&self, master: &str, version: u32) -> EnvironmentIdentity {
        let masters = Masters::parse(master).unwrap();
        let record = self.keyring.identities.iter().find(|one| one.version == version).unwrap();
        let wrapped = &record.key.as_ref().expect("not destroyed").wrapped.0;
        EnvironmentIdentity::open(&masters, self.environment, IdentityVersion(version.into()), wrapped).ok().unwrap().0
    }

    /// How many of the stored data keys an identity opens.
    fn opened_by(&self, identity: &EnvironmentIdentity) -> usize {
        self.data_keys.iter().filter(|record| data_key::open(identity, record).is_ok()).count()
    }
}

fn master(server: &Running) -> String {
    std::fs::read_to_string(server.data().join("master.key")).unwrap()
}

#[tokio::test]
async fn rewrap_leaves_nothing_that_the_old_identity_opens() {
    on_each_engine(async |server| {
        let api = &server.api;
        fill(api).await;
        let before = everything(api).await;
        let sqlite = server.data().join("leasehold.db").exists();
        let old = sqlite.then(|| {
            let stored = stored(server);
            let old = stored.identity(&master(server), 1);
            assert_eq!(stored.opened_by(&old), stored.data_keys.len());
            old
        });
        let outcome = rewrap(api).await.expect("a rewrap");
        assert_eq!((outcome.identity, outcome.key_epoch), (2, 1));
        if let Some(old) = old {
            let stored = stored(server);
            let new = stored.identity(&master(server), 2);
            assert_eq!((stored.opened_by(&old), stored.opened_by(&new)), (0, stored.data_keys.len()));
        }
        let report = report(api).await;
        assert_eq!((report.identity, report.old_identity, report.job), (2, 0, None));
        assert_eq!(
            report.identities.iter().map(|one| one.status()).collect::<Vec<_>>(),
            [pb::KeyStatus::Retired, pb::KeyStatus::Active]
        );
        assert_eq!(everything(api).await, before);
        api.write_once("dev/new", &terraform(1, "after-the-rewrap")).await;
        assert!(data_keys(api).await.iter().all(|key| key.identity == 2));
        let gone = destroy(api).await.expect("destroyed");
        assert_eq!((gone.keys, gone.erased), (1, true));
        refused(destroy(api).await, Code::FailedPrecondition, "KEYS_NOT_RETIRED");
        assert_eq!(everything(api).await, before);
    })
    .await;
}

#[tokio::test]
async fn reencrypt_seals_everything_again_and_old_keys_can_be_destroyed() {
    on_each_engine(async |server| {
        let api = &server.api;
        fill(api).await;
        fill_large(api).await;
        let before = everything(api).await;
        let old: Vec<String> = data_keys(api).await.into_iter().map(|key| key.id).collect();
        let values = report(api).await.values;
        let outcome = reencrypt(api).await.expect("a reencrypt");
        assert_eq!((outcome.key_epoch, outcome.identity), (2, 1));
        let told = report(api).await;
        assert_eq!((told.old_epoch, told.retired as usize, told.job.clone()), (0, old.len(), None), "{told:?}");
        assert_eq!((told.documents, told.values), (before.len() as u64, values), "shared values stay shared");
        assert_eq!(everything(api).await, before);
        let wraps = server.data().join("leasehold.db").exists().then(|| stored(server).data_keys);
        let gone = destroy(api).await.expect("destroyed");
        assert_eq!((gone.keys as usize, gone.erased), (old.len(), true));
        let left = data_keys(api).await;
        assert!(left.iter().all(|key| !old.contains(&key.id) && key.epoch == 2), "{left:?}");
        assert_eq!(everything(api).await, before);
        if let Some(wraps) = wraps {
            let mut bytes = std::fs::read(server.data().join("leasehold.db")).unwrap();
            bytes.extend(std::fs::read(server.data().join("leasehold.db-wal")).unwrap_or_default());
            for DataKeyRecord { id, wrapped, .. } in wraps.iter().filter(|key| old.contains(&key.id.to_string())) {
                let found = bytes.windows(64).any(|window| window == &wrapped.0[100..164]);
                assert!(!found, "the wrap of {id} is still there");
            }
        }
        // Writing goes on where it was: drafts are promoted, versions follow.
        let held = api.hold("dev/app", "s").await;
        api.write("dev/app", "s", held.token, &terraform(9, "after-the-reencrypt")).await;
        let verified = verify(api).await.expect("verified");
        assert_eq!((verified.failed, verified.failures), (0, Vec::new()));
    })
    .await;
}

#[tokio::test]
async fn reencrypted_state_is_deleted_promoted_and_rolled_back_as_before() {
    on_each_engine(async |server| {
        let api = &server.api;
        fill(api).await;
        reencrypt(api).await.expect("a reencrypt");
        rewrap(api).await.expect("a rewrap");
        destroy(api).await.expect("destroyed");
        let drafts = api.drafts("dev/never").await;
        let held = api.hold("dev/never", "s").await;
        let request = pb::PromoteDraftRequest {
            state: "dev/never".to_owned(),
            draft: drafts[0].draft.clone(),
            session: "s".to_owned(),
            token: held.token,
            request_id: id(),
            ..Default::default()
        };
        api.state().promote_draft(request).await.expect("promoted");
        assert_eq!(api.pull("dev/never", 0).await.unwrap(), terraform(1, "only-a-draft-6"));
        let held = api.hold("dev/app", "s").await;
        let request = pb::RollbackRequest {
            state: "dev/app".to_owned(),
            session: "s".to_owned(),
            token: held.token,
            request_id: id(),
            to_version: 1,
            expect: None,
        };
        api.state().rollback(request).await.expect("rolled back");
        let purge = pb::PurgeRequest { state: "dev/app".to_owned(), version: 0, request_id: id() };
        assert_eq!(api.state().purge(purge).await.unwrap().into_inner().purged, 3);
        api.write_once("dev/gone", &terraform(1, "made-again")).await;
        assert_eq!(verify(api).await.expect("verified").failed, 0);
    })
    .await;
}

#[tokio::test]
async fn recipients_are_added_and_removed_by_a_rewrap() {
    let offline = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa".to_owned();
    on_each_engine(async |server| {
        let api = &server.api;
        fill(api).await;
        let change = |add: &[&str], remove: &[&str], no_recovery| pb::ChangeRecipientsRequest {
            environment: "dev".to_owned(),
            request_id: id(),
            add: add.iter().map(ToString::to_string).collect(),
            remove: remove.iter().map(ToString::to_string).collect(),
            no_recovery,
        };
        refused(api.keys().change_recipients(change(&["age1x"], &[], false)).await, Code::InvalidArgument, "RECIPIENT_INVALID");
        refused(api.keys().change_recipients(change(&[], &[], true)).await, Code::InvalidArgument, "ARGUMENT_INVALID");
        let request = change(&[&offline], &[], false);
        ends(api.keys().change_recipients(request.clone()).await).await.expect("added");
        // A retry is that request, not another.
        ends(api.keys().change_recipients(request).await).await.expect("a retry");
        let told = report(api).await;
        assert_eq!((told.recovery.clone(), told.identity, told.old_identity), (vec![offline.clone()], 2, 0));
        refused(api.keys().change_recipients(change(&[], &[&offline], false)).await, Code::InvalidArgument, "RECOVERY_REQUIRED");
        ends(api.keys().change_recipients(change(&[], &[&offline], true)).await).await.expect("removed");
        assert!(report(api).await.recovery.is_empty());
        assert_eq!(verify(api).await.expect("verified").failed, 0);
    })
    .await;
}

#[tokio::test]
async fn new_master_key_opens_everything_and_the_old_one_nothing() {
    on_each_engine(async |server| {
        let api = &server.api;
        fill(api).await;
        rewrap(api).await.expect("a rewrap");
        let before = everything(api).await;
        let file = server.data().join("master.key");
        let old = master(server);
        // The new one is put in front; the old one opens what is not done yet.
        let folder = tempfile::tempdir().unwrap();
        let fresh = folder.path().join("fresh");
        leasehold::secrets::identities::generate_file(&fresh).unwrap();
        let new = std::fs::read_to_string(&fresh).unwrap();
        std::fs::write(&file, format!("{new}{old}")).unwrap();
        let request = || pb::RewrapMasterRequest { request_id: id(), passphrase: String::new() };
        let (outcome, steps) = ends(api.keys().rewrap_master(request()).await).await.expect("a new master");
        assert_eq!((outcome.done, outcome.erased), (1, Some(true)));
        assert_eq!(steps.last().map(|step| (step.done, step.total)), Some((1, 1)));
        let (outcome, _) = ends(api.keys().rewrap_master(request()).await).await.expect("again");
        assert_eq!((outcome.done, outcome.erased), (0, None), "nothing is left to do");
        std::fs::write(&file, &new).unwrap();
        ends(api.keys().rewrap_master(request()).await).await.expect("the new one opens all");
        assert_eq!(everything(api).await, before);
        let recipient = Masters::parse(&new).unwrap().recipient().to_string();
        let told = report(api).await;
        assert_eq!(told.masters, [recipient]);
        if server.data().join("leasehold.db").exists() {
            let (stored, old) = (stored(server), Masters::parse(&old).unwrap());
            for identity in &stored.keyring.identities {
                let (version, wrapped) = (IdentityVersion(identity.version.into()), &identity.key.as_ref().unwrap().wrapped.0);
                assert!(EnvironmentIdentity::open(&old, stored.environment, version, wrapped).is_err());
            }
            assert!(EnvironmentSecret::open(&old, stored.environment, &stored.keyring.secret.wrapped.0).is_err());
        }
        std::fs::write(&file, &old).unwrap();
        let wrong = ends(api.keys().rewrap_master(request()).await).await;
        refused(wrong, Code::FailedPrecondition, "MASTER_WRONG");
        assert_eq!(everything(api).await, before, "the server goes on with what it has");
    })
    .await;
}

#[tokio::test]
async fn request_is_known_across_rotations() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        let document = terraform(1, "correct-horse-1");
        let first = open("dev/app", "s", held.token, document.len());
        let version = api.push(first.clone(), &document).await.unwrap().version;
        reencrypt(api).await.expect("a reencrypt");
        rewrap(api).await.expect("a rewrap");
        destroy(api).await.expect("destroyed");
        let again = api.push(first, &document).await.expect("a retry");
        assert!(again.replayed && again.version == version, "{again:?}");
        // Terraform's own retry has no request id.
        let anew = api.push(open("dev/app", "s", held.token, document.len()), &document).await.expect("the same again");
        assert!(anew.replayed);
        let (environment, request_id) = dev();
        let request = pb::RewrapRequest { environment, request_id };
        let (one, _) = ends(api.keys().rewrap(request.clone()).await).await.expect("a rewrap");
        let (same, _) = ends(api.keys().rewrap(request).await).await.expect("a retry");
        assert_eq!((one.identity, same.identity), (3, 3), "one request, one new identity");
    })
    .await;
}

#[tokio::test]
async fn damaged_row_is_found_by_verify_and_holds_up_a_reencrypt_until_it_is_given_up() {
    let server = Running::start(StoreKind::Sqlite).await;
    fill(&server.api).await;
    let stopped = server.stop().await;
    let damage = "UPDATE chunk SET bytes = zeroblob(length(bytes)) WHERE body = (SELECT body FROM version
        JOIN name ON name.id = version.name WHERE path = 'app' AND version = 2)";
    let connection = rusqlite::Connection::open(stopped.data().join("leasehold.db")).unwrap();
    assert_eq!(connection.execute(damage, []).unwrap(), 2, "its head and its text");
    drop(connection);
    let server = stopped.restart().await;
    let api = &server.api;
    let found = verify(api).await.expect("verified");
    assert_eq!((found.failed, found.failures.as_slice()), (1, ["dev/app version 2".to_owned()].as_slice()));
    let last = report(api).await.verified.expect("recorded");
    assert_eq!((last.failures, last.documents > 8), (1, true));
    let stuck = refused(reencrypt(api).await, Code::FailedPrecondition, "ROTATION_INCOMPLETE");
    assert!(stuck.message.contains("dev/app version 2"), "{}", stuck.message);
    assert_eq!(report(api).await.job.map(|job| job.kind()), Some(pb::KeyPhase::Reencrypt), "it can go on");
    refused(rewrap(api).await, Code::FailedPrecondition, "ROTATION_RUNNING");
    refused(destroy(api).await, Code::FailedPrecondition, "ROTATION_RUNNING");
    let purge = pb::PurgeRequest { state: "dev/app".to_owned(), version: 2, request_id: id() };
    api.state().purge(purge).await.expect("given up");
    reencrypt(api).await.expect("it ends now");
    assert_eq!(report(api).await.old_epoch, 0);
    assert_eq!(verify(api).await.expect("verified").failed, 0);
    assert_eq!(api.pull("dev/app", 3).await.unwrap(), terraform(3, "battery-staple-3"));
}

/// The rows of version 2 of `dev/app`.
const SECOND: &str = "(SELECT body FROM version JOIN name ON name.id = version.name WHERE path = 'app' AND version = 2)";

#[tokio::test]
async fn document_that_would_not_open_again_keeps_its_old_form() {
    let server = Running::start(StoreKind::Sqlite).await;
    fill(&server.api).await;
    let stopped = server.stop().await;
    let file = stopped.data().join("leasehold.db");
    let run = |sql: &str| rusqlite::Connection::open(&file).unwrap().execute_batch(sql).unwrap();
    // The second of two that share a secret is damaged for a while, so that only the first is sealed again.
    run(&format!(
        "CREATE TABLE kept AS SELECT * FROM chunk WHERE body = {SECOND};
        UPDATE chunk SET bytes = zeroblob(length(bytes)) WHERE body = {SECOND}"
    ));
    let server = stopped.restart().await;
    refused(reencrypt(&server.api).await, Code::FailedPrecondition, "ROTATION_INCOMPLETE");
    let stopped = server.stop().await;
    // Now it is whole, but what it would share is damaged behind its tag.
    run("INSERT OR REPLACE INTO chunk SELECT * FROM kept; DROP TABLE kept;
        UPDATE value SET sealed = CAST(substr(sealed, 1, 24) || zeroblob(length(sealed) - 24) AS BLOB)
            WHERE data_key IN (SELECT id FROM data_key WHERE epoch = 2)");
    let server = stopped.restart().await;
    let stuck = refused(reencrypt(&server.api).await, Code::FailedPrecondition, "ROTATION_INCOMPLETE");
    assert!(stuck.message.contains("dev/app version 2"), "{}", stuck.message);
    assert_eq!(server.api.pull("dev/app", 2).await.unwrap(), terraform(2, "correct-horse-1"), "it reads as before");
    refused(server.api.pull("dev/app", 1).await, Code::Internal, "INTERNAL");
}

#[tokio::test]
async fn rotation_goes_on_after_a_restart() {
    let server = Running::start(StoreKind::Sqlite).await;
    fill(&server.api).await;
    let before = everything(&server.api).await;
    // Asked for, and left at once.
    let (environment, request_id) = dev();
    drop(server.api.keys().reencrypt(pb::ReencryptRequest { environment, request_id }).await.unwrap());
    let server = server.stop().await.restart().await;
    // Nobody asks again: it ends by itself.
    let mut tries = 0;
    while report(&server.api).await.job.is_some() {
        tries += 1;
        assert!(tries < 10_000, "it stands still");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let told = report(&server.api).await;
    assert_eq!((told.key_epoch, told.old_epoch), (2, 0));
    assert_eq!(everything(&server.api).await, before);
}

#[tokio::test]
async fn names_that_are_none_are_refused() {
    on_each_engine(async |server| {
        let keys = || server.api.keys();
        let (environment, request_id) = ("none".to_owned(), id());
        let ask = pb::RewrapRequest { environment: environment.clone(), request_id: request_id.clone() };
        refused(keys().rewrap(ask.clone()).await, Code::NotFound, "ENVIRONMENT_NOT_FOUND");
        refused(keys().report(pb::KeyReportRequest { environment }).await, Code::NotFound, "ENVIRONMENT_NOT_FOUND");
        let bad = pb::RewrapRequest { request_id: "x".to_owned(), ..ask };
        refused(keys().rewrap(bad).await, Code::InvalidArgument, "REQUEST_ID_INVALID");
        let bad = pb::ListDataKeysRequest { environment: "dev".to_owned(), after: "x".to_owned(), limit: 0 };
        refused(keys().list_data_keys(bad).await, Code::InvalidArgument, "ARGUMENT_INVALID");
    })
    .await;
}
