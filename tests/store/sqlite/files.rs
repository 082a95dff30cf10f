//! Wrong, damaged and newer files: refused, never changed.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use leasehold::store::folder::FolderError;
use leasehold::store::sqlite::OpenError;
use rusqlite::Connection;

use super::{database, make_private, on, refusal, server, write_private};
use crate::commands::document;
use crate::engines::{folder, options};

/// The folder cannot be opened, and its database is the same afterwards, byte for byte.
fn refused(folder: &Path) -> OpenError {
    let log = folder.join("leasehold.db-wal");
    let files = || (std::fs::read(database(folder)).unwrap(), std::fs::read(&log).unwrap_or_default());
    let before = files();
    let error = refusal(&options(folder));
    assert!(files() == before, "the files changed: {error}");
    error
}

/// A folder with a database of some size, closed in order or not.
fn filled(clean: bool) -> tempfile::TempDir {
    let folder = folder();
    let rig = on(folder.path()).with("dev");
    let token = rig.lease("dev/app", "s");
    for n in 0..60_u8 {
        rig.write("dev/app", "s", token, document(&vec![n; 20_000]));
    }
    rig.close();
    drop(rig);
    if !clean {
        // Opened and killed: marked as not clean, and nearly everything is in the file.
        drop(on(folder.path()));
    }
    folder
}

#[test]
fn newer_schema_is_refused() {
    for clean in [true, false] {
        let folder = filled(clean);
        let connection = Connection::open(database(folder.path())).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);
        let error = refused(folder.path());
        assert!(matches!(error, OpenError::Newer { found: 99, known: 5, .. }), "{error}");
        assert!(error.to_string().contains("schema 99") && error.to_string().contains("upgrade"), "{error}");
    }
}

#[test]
fn other_files_are_refused() {
    let text = b"These are notes, and they are dear to somebody.\n";
    for bytes in [&text[..], &text.repeat(400), b"SQLite format 3\0", &[0; 4096]] {
        let folder = folder();
        write_private(&database(folder.path()), bytes);
        let error = refused(folder.path());
        assert!(matches!(error, OpenError::Foreign(_)), "{error}");
    }
}

#[test]
fn foreign_databases_are_refused() {
    for (mode, application) in [("delete", 0), ("wal", 0), ("delete", 0x1234), ("wal", 0x1234)] {
        let folder = folder();
        let connection = Connection::open(database(folder.path())).unwrap();
        connection
            .execute_batch(&format!(
                "PRAGMA journal_mode={mode}; PRAGMA application_id={application}; CREATE TABLE t (i); INSERT INTO t VALUES (1)"
            ))
            .unwrap();
        drop(connection);
        make_private(&database(folder.path()));
        let error = refused(folder.path());
        assert!(matches!(error, OpenError::Foreign(_)), "{mode} {application}: {error}");
    }
}

#[test]
fn truncated_database_is_refused() {
    for clean in [true, false] {
        for keep in [4096, 8192, 100_000, 700_000] {
            let folder = filled(clean);
            let _ = std::fs::remove_file(folder.path().join("leasehold.db-wal"));
            std::fs::OpenOptions::new().write(true).open(database(folder.path())).unwrap().set_len(keep).unwrap();
            let error = refused(folder.path());
            assert!(matches!(error, OpenError::Damaged { .. }), "{keep}: {error}");
        }
    }
}

#[test]
fn corrupted_page_is_found_after_an_unclean_stop() {
    let folder = filled(false);
    let file = database(folder.path());
    let mut bytes = std::fs::read(&file).unwrap();
    // An inner page of some table: its header becomes nonsense.
    for page in 3..40 {
        bytes[page * 4096..page * 4096 + 16].fill(0xa5);
    }
    std::fs::write(&file, bytes).unwrap();
    let error = refused(folder.path());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("restore a backup"), "{error}");
}

#[test]
fn folder_that_is_a_file_is_refused() {
    let folder = folder();
    let file = folder.path().join("file");
    std::fs::write(&file, b"dear").unwrap();
    assert!(matches!(refusal(&options(&file)), OpenError::Private(FolderError::NoFolder(_))));
    assert_eq!(std::fs::read(&file).unwrap(), b"dear");
}

#[test]
fn database_that_is_a_folder_is_refused() {
    let folder = folder();
    std::fs::DirBuilder::new().mode(0o700).create(database(folder.path())).unwrap();
    assert!(matches!(refusal(&options(folder.path())), OpenError::Folder { .. } | OpenError::Foreign(_)));
}

#[test]
fn first_start_that_was_killed_is_done_again() {
    // Before SQLite saw the file: nothing is in it, and nothing is lost by using it.
    let empty = folder();
    write_private(&database(empty.path()), b"");
    on(empty.path()).with("dev").lease("dev/app", "s");
    // After the journal mode was set, before the tables were there.
    let bare = folder();
    let connection = Connection::open(database(bare.path())).unwrap();
    connection.execute_batch("PRAGMA page_size=4096; PRAGMA journal_mode=WAL").unwrap();
    drop(connection);
    make_private(&database(bare.path()));
    assert_eq!(std::fs::metadata(database(bare.path())).unwrap().len(), 4096);
    on(bare.path()).with("dev").lease("dev/app", "s");
    // With the tables in the log only.
    let logged = folder();
    drop(on(logged.path()));
    assert_eq!(std::fs::metadata(database(logged.path())).unwrap().len(), 4096);
    on(logged.path()).with("dev").lease("dev/app", "s");
    assert_eq!(server(logged.path(), "clean"), 0);
}
