//! Opening: settings that hold, restarts of either kind, and a folder that somebody else uses.

use std::process::{Command, Stdio};

use leasehold::store::sqlite::{Offline, OpenError, Sqlite};
use rusqlite::Connection;
use sha2::{Digest, Sha256};

use super::{database, on, refusal, server};
use crate::commands::{content, document};
use crate::engines::{clock, folder, options};

/// No migration has been released yet. Until the first release this hash follows the file; from then on neither ever changes: a change
/// of the schema is a new migration.
const MIGRATIONS: [(&str, &str); 5] = [
    ("0001_init.sql", include_str!("../../../migrations/sqlite/0001_init.sql")),
    ("0002_sealing.sql", include_str!("../../../migrations/sqlite/0002_sealing.sql")),
    ("0003_access.sql", include_str!("../../../migrations/sqlite/0003_access.sql")),
    ("0004_audit.sql", include_str!("../../../migrations/sqlite/0004_audit.sql")),
    ("0005_key_rows.sql", include_str!("../../../migrations/sqlite/0005_key_rows.sql")),
];
const FROZEN: [&str; 5] = [
    "bb8a171e3d4e3399faa6ea2a22cc9d4e82c56c4a47abd69c6aac35a4c2c0c93b",
    "1605bdf2ffdda7cc594e1498328f69113f9e2599cf6f1ded77b2174f38cc2208",
    "fe8817404501da9c58f013c9ea0b8b727712063e31ecddac05c13e26bfa2f304",
    "3cfb3a02db3c3d9c2a0bcc2b17cdb09f3358977b394c1b268d0e259302280c0d",
    "fce2798e305eeea355368f3fce34a85b6fe62d6ef0752091874f9e15b8d9e38f",
];

#[test]
fn migrations_are_append_only() {
    for ((name, text), frozen) in MIGRATIONS.iter().zip(FROZEN) {
        let hash: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, frozen, "{name} changed");
    }
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite")).unwrap().count();
    assert_eq!(files, MIGRATIONS.len(), "a migration that no hash guards");
}

/// What is in them was bound to less, or not sealed at all.
#[test]
fn environments_of_schemas_before_the_first_release_are_refused_and_left_alone() {
    for version in 1..MIGRATIONS.len() {
        let folder = folder();
        let file = database(folder.path());
        let connection = Connection::open(&file).unwrap();
        connection.execute_batch("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL").unwrap();
        MIGRATIONS[..version].iter().for_each(|(_, text)| connection.execute_batch(text).unwrap());
        let pragmas = format!("PRAGMA user_version = {version}; PRAGMA application_id = {}", 0x4c73_4864);
        connection.execute_batch(&pragmas).unwrap();
        let server = "INSERT INTO server (id, instance, history, epoch, seq, beat, revision, trimmed, clean)
            VALUES (1, zeroblob(16), zeroblob(16), 1, 1, 1, 1, 1, 1)";
        connection.execute(server, []).unwrap();
        let (column, value) = if version == 1 { ("wrapped_secret,", "x'',") } else { ("", "") };
        let environment =
            format!("INSERT INTO environment (id, name, {column} meta) VALUES (zeroblob(16), 'dev', {value} '{{}}')");
        connection.execute(&environment, []).unwrap();
        drop(connection);
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let before = std::fs::read(&file).unwrap();
        let refused = refusal(&options(folder.path()));
        assert!(matches!(refused, OpenError::Unreleased(_)), "schema {version}: {refused}");
        assert_eq!(std::fs::read(&file).unwrap(), before);
        let refused = Offline::copy_of(&file, folder.path()).err().unwrap();
        assert!(matches!(refused, OpenError::Unreleased(_)), "schema {version}: {refused}");

        let connection = Connection::open(&file).unwrap();
        connection.execute("DELETE FROM environment", []).unwrap();
        drop(connection);
        drop(on(folder.path()));
        assert_eq!(server_version(&file), MIGRATIONS.len() as i64, "one without environments is taken along");
    }
}

fn server_version(file: &std::path::Path) -> i64 {
    Connection::open(file).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

#[test]
fn settings_are_in_the_file() {
    let folder = folder();
    drop(on(folder.path()));
    let connection = Connection::open(database(folder.path())).unwrap();
    let read =
        |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, rusqlite::types::Value>(0)).unwrap();
    use rusqlite::types::Value::{Integer, Text};
    assert_eq!(read("journal_mode"), Text("wal".to_owned()));
    assert_eq!(read("page_size"), Integer(4096));
    assert_eq!(read("application_id"), Integer(0x4c73_4864));
    assert_eq!(read("user_version"), Integer(MIGRATIONS.len() as i64));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(database(folder.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn purged_bytes_are_overwritten() {
    let folder = folder();
    let rig = on(folder.path()).with("dev");
    let token = rig.lease("dev/app", "s");
    let secret = b"planted-so-that-it-can-be-looked-for".repeat(300);
    rig.write("dev/app", "s", token, document(&secret));
    rig.write("dev/app", "s", token, document(b"two"));
    rig.close();
    let found = |file| std::fs::read(file).is_ok_and(|bytes| bytes.windows(36).any(|window| *window == secret[..36]));
    assert!(found(database(folder.path())));
    let rig = on(folder.path());
    rig.submit(content("dev/app", leasehold::domain::command::ContentAct::Purge(None))).unwrap();
    rig.close();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        assert!(!found(path.clone()), "{}", path.display());
    }
}

#[test]
fn closed_store_is_clean_and_a_dropped_one_is_not() {
    let folder = folder();
    let rig = on(folder.path()).with("dev");
    let token = rig.lease("dev/app", "s");
    assert_eq!(server(folder.path(), "clean"), 0);
    drop(rig);
    assert_eq!(server(folder.path(), "clean"), 0);
    let rig = on(folder.path());
    rig.renew("dev/app", "s", token);
    rig.close();
    drop(rig);
    assert_eq!(server(folder.path(), "clean"), 1);
    let log = std::fs::metadata(folder.path().join("leasehold.db-wal")).map_or(0, |meta| meta.len());
    assert_eq!(log, 0, "the log of a clean store is empty");
    on(folder.path()).renew("dev/app", "s", token);
}

#[test]
fn epoch_rises_at_every_start() {
    let folder = folder();
    let epochs: Vec<i64> = (0..4)
        .map(|_| {
            drop(on(folder.path()));
            server(folder.path(), "epoch")
        })
        .collect();
    assert!(epochs.windows(2).all(|pair| pair[0] < pair[1]), "{epochs:?}");
}

#[test]
fn folder_in_use_is_refused() {
    let folder = folder();
    let rig = on(folder.path()).with("dev");
    assert!(matches!(refusal(&options(folder.path())), OpenError::Locked(_)));
    rig.lease("dev/app", "s");
    drop(rig);
    on(folder.path()).lease("dev/app2", "s");
}

#[test]
#[allow(clippy::disallowed_methods, reason = "tells the child from the parent")]
fn folder_in_use_by_another_process_is_refused() {
    const FOLDER: &str = "LEASEHOLD_TEST_LOCKED";
    if let Ok(folder) = std::env::var(FOLDER) {
        let _store = Sqlite::open(clock(), &options(folder.as_ref())).unwrap();
        println!("open");
        // Until the parent is done.
        let _ = std::io::stdin().read_line(&mut String::new());
        return;
    }
    let folder = folder();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sqlite::opening::folder_in_use_by_another_process_is_refused", "--nocapture"])
        .env(FOLDER, folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().ends_with("open")));
    assert!(matches!(refusal(&options(folder.path())), OpenError::Locked(_)));
    child.kill().unwrap();
    child.wait().unwrap();
    drop(on(folder.path()));
}
