//! The sidecar: a second witness against a database that was put back to an earlier time.

use std::path::{Path, PathBuf};

use leasehold::domain::lock::{End, Mode};
use leasehold::store::sqlite::{OpenError, Options};

use super::{OnDisk, database, on, on_with, refusal, server, write_private};
use crate::commands::document;
use crate::engines::{Engine, clock, folder, options};
use crate::rig::Rig;

fn sidecar(folder: &Path) -> PathBuf {
    folder.join("leasehold.sidecar")
}

fn accepting(folder: &Path) -> Options {
    Options { accept_rollback: true, fresh: [8; 16], ..options(folder) }
}

/// A folder whose database was put back to a time when `a` held the lock and `b` waited, after `b` held it.
fn rolled_back() -> (tempfile::TempDir, leasehold::domain::ids::Token) {
    let folder = folder();
    let old = folder.path().join("old");
    let rig = on(folder.path()).with("dev");
    let token = rig.lease("dev/app", "a");
    rig.write("dev/app", "a", token, document(b"1"));
    rig.queue("dev/app", "b", Mode::Exclusive);
    rig.close();
    drop(rig);
    std::fs::copy(database(folder.path()), &old).unwrap();
    let rig = on(folder.path());
    rig.release("dev/app", "a", token);
    let token = rig.lock("dev/app").holders[0].token;
    rig.write("dev/app", "b", token, document(b"2"));
    rig.close();
    drop(rig);
    std::fs::rename(&old, database(folder.path())).unwrap();
    (folder, token)
}

fn history(rig: &Rig<OnDisk>) -> leasehold::domain::ids::HistoryId {
    rig.engine().store().head().borrow().history
}

#[test]
fn database_put_back_is_refused_untouched() {
    let (folder, _) = rolled_back();
    let before = std::fs::read(database(folder.path())).unwrap();
    for _ in 0..2 {
        let error = refusal(&options(folder.path()));
        assert!(matches!(error, OpenError::RolledBack { found, known, .. } if found < known), "{error}");
        assert!(error.to_string().contains("--danger-accept-rollback"));
    }
    assert_eq!(std::fs::read(database(folder.path())).unwrap(), before);
}

#[test]
fn accepted_rollback_begins_a_new_history_above_all_tokens() {
    let (folder, lost) = rolled_back();
    let epoch = server(folder.path(), "epoch");
    // The wall clock is of no help: it stands before all that was.
    let early = std::sync::Arc::new(leasehold::store::clock::ManualSource::default());
    let rig = on_with(early, accepting(folder.path()));
    assert!(server(folder.path(), "epoch") > epoch + 1);
    assert_eq!(history(&rig).0, [8; 16]);
    assert_eq!(rig.current("dev/app").unwrap().version.0, 1);
    assert_eq!((rig.holders("dev/app").len(), rig.tickets("dev/app").len()), (0, 0), "all leases and tickets end");
    assert!(matches!(rig.lock("dev/app").ended.last().unwrap().how, End::Broken { .. }));
    rig.seconds(15);
    assert!(rig.lease("dev/app", "c") > lost);
    drop(rig);
    let rig = on(folder.path());
    assert_eq!((history(&rig).0, rig.holders("dev/app")), ([8; 16], vec!["c".to_owned()]), "once accepted, it is the database");
}

#[test]
fn accepting_a_rollback_that_did_not_happen_changes_nothing() {
    let folder = folder();
    let rig = on(folder.path()).with("dev");
    let (token, before) = (rig.lease("dev/app", "a"), history(&rig));
    drop(rig);
    let rig = on_with(clock(), accepting(folder.path()));
    rig.renew("dev/app", "a", token);
    assert_eq!(history(&rig), before);
}

#[test]
fn sidecar_follows_the_commits() {
    let folder = folder();
    let rig = on(folder.path()).with("dev");
    let first = std::fs::read(sidecar(folder.path())).unwrap();
    rig.lease("dev/app", "a");
    // Two ticks: a tick is answered before the writer tidies, so only the second proves that the first one's tidying is done.
    rig.seconds(4);
    assert_ne!(std::fs::read(sidecar(folder.path())).unwrap(), first);
    drop(rig);
    drop(on(folder.path()));
}

#[test]
fn missing_or_unreadable_sidecar_is_written_anew() {
    let folder = folder();
    drop(on(folder.path()).with("dev"));
    for damage in [None, Some(&b""[..]), Some(b"{\"instance\":"), Some(b"[1,2,3]"), Some(&[0xff; 64])] {
        match damage {
            None => std::fs::remove_file(sidecar(folder.path())).unwrap(),
            Some(bytes) => std::fs::write(sidecar(folder.path()), bytes).unwrap(),
        }
        drop(on(folder.path()));
        assert!(std::fs::read(sidecar(folder.path())).unwrap().starts_with(b"{\"instance\""));
    }
}

#[test]
fn sidecar_of_another_database_is_refused() {
    let (one, two) = (folder(), folder());
    drop(on(one.path()).with("dev"));
    drop(on_with(clock(), Options { fresh: [3; 16], ..options(two.path()) }));
    std::fs::copy(sidecar(two.path()), sidecar(one.path())).unwrap();
    assert!(matches!(refusal(&options(one.path())), OpenError::Sidecar(_)));
    let rig = on_with(clock(), accepting(one.path()));
    assert_eq!(history(&rig).0, [8; 16]);
}

#[test]
fn database_that_vanished_is_not_made_anew() {
    let folder = folder();
    let rig = on(folder.path()).with("dev");
    let token = rig.lease("dev/app", "a");
    rig.close();
    drop(rig);
    for empty in [false, true] {
        let _ = std::fs::remove_file(database(folder.path()));
        let _ = std::fs::remove_file(folder.path().join("leasehold.db-wal"));
        if empty {
            write_private(&database(folder.path()), b"");
        }
        assert!(matches!(refusal(&options(folder.path())), OpenError::RolledBack { found: 0, .. }));
        assert_eq!(database(folder.path()).exists(), empty);
    }
    let rig = on_with(std::sync::Arc::default(), accepting(folder.path())).with("dev");
    assert!(rig.lease("dev/app", "a") > token);
}

#[test]
fn log_without_its_database_is_refused() {
    let folder = folder();
    drop(on(folder.path()).with("dev"));
    std::fs::remove_file(database(folder.path())).unwrap();
    std::fs::remove_file(sidecar(folder.path())).unwrap();
    let log = folder.path().join("leasehold.db-wal");
    let before = std::fs::read(&log).unwrap();
    assert!(!before.is_empty());
    assert!(matches!(refusal(&options(folder.path())), OpenError::Damaged { .. }));
    assert_eq!(std::fs::read(&log).unwrap(), before);
}
