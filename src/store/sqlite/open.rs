//! Opening a database: lock, checks, migrations, epoch. A wrong, damaged or newer file is refused, never overwritten.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};

use super::sidecar::{self, Sidecar};
use crate::domain::ids::{Epoch, HistoryId};
use crate::domain::time::{StoreTime, WallTime};

/// `application_id` of our files: "LsHd".
const APPLICATION: i64 = 0x4c73_4864;
const MIGRATIONS: [&str; 1] = [include_str!("../../../migrations/sqlite/0001_init.sql")];
/// An unclean stop of a database up to this size is followed by a check of its structure.
const CHECKED: u64 = 256 << 20;

/// Why a data folder cannot be used. The message says what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum OpenError {
    #[error("cannot use the data folder {}: {cause}; check that it exists, is yours and can be written", .folder.display())]
    Folder { folder: PathBuf, cause: io::Error },
    #[error("another server uses the data folder {}; stop it, or choose another folder", .0.display())]
    Locked(PathBuf),
    #[error("{} is not a leasehold database; nothing was changed; choose another data folder", .0.display())]
    Foreign(PathBuf),
    #[error("{} was written by a newer leasehold (schema {found}, this one knows {known}); upgrade this program", .file.display())]
    Newer { file: PathBuf, found: i64, known: i64 },
    #[error("{} is damaged ({what}); nothing was changed; restore a backup, and keep this file for a post-mortem", .file.display())]
    Damaged { file: PathBuf, what: String },
    #[error(
        "{} is older than its sidecar says (commit {found}, last seen {known}): the file was rolled back or replaced; \
         put the newer file back, or start with --danger-accept-rollback, which raises the epoch of all tokens", .file.display()
    )]
    RolledBack { file: PathBuf, found: u64, known: u64 },
    #[error("the sidecar of {} belongs to another database; put the right pair together, or start with --danger-accept-rollback", .0.display())]
    Sidecar(PathBuf),
    #[error("cannot open {}: {cause}; check space and permissions", .file.display())]
    Engine { file: PathBuf, cause: rusqlite::Error },
}

/// An opened database, and what was read from it.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) file: PathBuf,
    pub(super) history: HistoryId,
    pub(super) instance: [u8; 16],
    pub(super) epoch: Epoch,
    pub(super) seq: u64,
    pub(super) beat: StoreTime,
    pub(super) revision: u64,
    pub(super) trimmed: u64,
    /// Held as long as the store lives.
    pub(super) lock: File,
}

/// Opens the database in a folder, or makes one.
pub(super) fn open(folder: &Path, wall: WallTime, fresh: [u8; 16], accept_rollback: bool) -> Result<Opened, OpenError> {
    let lock = lock(folder)?;
    let file = folder.join("leasehold.db");
    let exists = match std::fs::metadata(&file) {
        Ok(meta) => meta.len() > 0,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(cause) => return Err(OpenError::Folder { folder: folder.to_owned(), cause }),
    };
    if exists {
        check_header(&file)?;
    } else {
        create_private(&file).map_err(|cause| OpenError::Folder { folder: folder.to_owned(), cause })?;
    }
    let engine = |cause| OpenError::Engine { file: file.clone(), cause };
    let mut connection = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(engine)?;
    if exists {
        check_version(&connection, &file)?;
    }
    settle_pragmas(&connection).map_err(engine)?;
    migrate(&mut connection, fresh).map_err(engine)?;
    let mut opened = load(connection, &file, lock)?;
    check_sidecar(&opened, accept_rollback)?;
    begin_epoch(&mut opened, wall).map_err(engine)?;
    sidecar::write(&opened.file, &Sidecar { instance: opened.instance, epoch: opened.epoch, seq: opened.seq })
        .map_err(|cause| OpenError::Folder { folder: folder.to_owned(), cause })?;
    Ok(opened)
}

/// A connection that only reads.
pub(super) fn reader(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.execute_batch("PRAGMA query_only=ON; PRAGMA trusted_schema=OFF; PRAGMA temp_store=MEMORY; PRAGMA mmap_size=0;")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("leasehold.lock");
    let failed = |cause| OpenError::Folder { folder: folder.to_owned(), cause };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(folder.to_owned())),
        Err(TryLockError::Error(cause)) => Err(failed(cause)),
    }
}

/// Before SQLite touches the file: is it one of ours? The header holds the application id at 68.
fn check_header(file: &Path) -> Result<(), OpenError> {
    let mut header = [0; 100];
    let read = File::open(file).and_then(|mut file| io::Read::read_exact(&mut file, &mut header));
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(OpenError::Foreign(file.to_owned())),
        Err(cause) => return Err(OpenError::Folder { folder: file.to_owned(), cause }),
        Ok(()) => {}
    }
    let application = i64::from(u32::from_be_bytes([header[68], header[69], header[70], header[71]]));
    // A first start that was killed leaves an empty database in WAL mode, with all of it still in the WAL: id 0 is checked below.
    let ours = header.starts_with(b"SQLite format 3\0") && (application == APPLICATION || application == 0);
    if ours { Ok(()) } else { Err(OpenError::Foreign(file.to_owned())) }
}

fn check_version(connection: &Connection, file: &Path) -> Result<(), OpenError> {
    let pragma = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let damaged = |cause: rusqlite::Error| OpenError::Damaged { file: file.to_owned(), what: cause.to_string() };
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(damaged)?;
    if tables > 0 && pragma("application_id").map_err(damaged)? != APPLICATION {
        return Err(OpenError::Foreign(file.to_owned()));
    }
    let (found, known) = (pragma("user_version").map_err(damaged)?, MIGRATIONS.len() as i64);
    if found > known { Err(OpenError::Newer { file: file.to_owned(), found, known }) } else { Ok(()) }
}

fn create_private(file: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file).map(drop)
}

fn settle_pragmas(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.execute_batch(
        "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;
         PRAGMA temp_store=MEMORY; PRAGMA secure_delete=ON; PRAGMA mmap_size=0; PRAGMA cache_size=-32768;
         PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;",
    )?;
    connection.set_prepared_statement_cache_capacity(128);
    // NORMAL loses acknowledged commits at a power cut; a build or a fork that ignores the pragma must not go unseen.
    let read = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, rusqlite::types::Value>(0));
    let (sync, mode) = (read("synchronous")?, read("journal_mode")?);
    if sync != rusqlite::types::Value::Integer(2) || mode != rusqlite::types::Value::Text("wal".to_owned()) {
        return Err(rusqlite::Error::InvalidParameterName("synchronous=FULL and journal_mode=WAL did not hold".to_owned()));
    }
    Ok(())
}

fn migrate(connection: &mut Connection, fresh: [u8; 16]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let done: usize = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    for (n, migration) in MIGRATIONS.iter().enumerate().skip(done) {
        transaction.execute_batch(migration)?;
        transaction.execute_batch(&format!("PRAGMA user_version={}; PRAGMA application_id={APPLICATION};", n + 1))?;
    }
    if done == 0 {
        let mut history = fresh;
        history.reverse();
        transaction.execute(
            "INSERT INTO server (id, instance, history, epoch, seq, beat, revision, trimmed, clean) VALUES (1, ?1, ?2, 0, 0, 0, 0, 0, 1)",
            params![fresh, history],
        )?;
    }
    transaction.commit()
}

fn load(connection: Connection, file: &Path, lock: File) -> Result<Opened, OpenError> {
    let damaged = |cause: rusqlite::Error| OpenError::Damaged { file: file.to_owned(), what: cause.to_string() };
    let (mut opened, clean) = connection
        .query_row("SELECT instance, history, epoch, seq, beat, revision, trimmed, clean FROM server WHERE id = 1", [], |row| {
            Ok((
                (row.get(0)?, HistoryId(row.get(1)?), Epoch(row.get(2)?), row.get(3)?, StoreTime(row.get(4)?)),
                (row.get(5)?, row.get(6)?),
                row.get::<_, bool>(7)?,
            ))
        })
        .map(|((instance, history, epoch, seq, beat), (revision, trimmed), clean)| {
            (Some((instance, history, epoch, seq, beat, revision, trimmed)), clean)
        })
        .map_err(damaged)?;
    if !clean && std::fs::metadata(file).is_ok_and(|meta| meta.len() <= CHECKED) {
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(damaged)?;
        if verdict != "ok" {
            return Err(OpenError::Damaged { file: file.to_owned(), what: verdict });
        }
    }
    let (instance, history, epoch, seq, beat, revision, trimmed) = opened.take().expect("set above");
    Ok(Opened { connection, file: file.to_owned(), history, instance, epoch, seq, beat, revision, trimmed, lock })
}

fn check_sidecar(opened: &Opened, accept_rollback: bool) -> Result<(), OpenError> {
    let found = sidecar::read(&opened.file);
    match found {
        _ if accept_rollback => Ok(()),
        Some(sidecar) if sidecar.instance != opened.instance => Err(OpenError::Sidecar(opened.file.clone())),
        Some(sidecar) if sidecar.seq > opened.seq => {
            Err(OpenError::RolledBack { file: opened.file.clone(), found: opened.seq, known: sidecar.seq })
        }
        _ => Ok(()),
    }
}

/// Epoch = max(stored + 1, sidecar + 1, Unix seconds), durable before the first grant.
fn begin_epoch(opened: &mut Opened, wall: WallTime) -> rusqlite::Result<()> {
    let sidecar = sidecar::read(&opened.file).map_or(0, |sidecar| sidecar.epoch.0);
    let unix = u64::try_from(wall.0 / 1000).unwrap_or(0);
    opened.epoch = Epoch((opened.epoch.0 + 1).max(sidecar + 1).max(unix));
    opened.seq += 1;
    let transaction = opened.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    transaction.execute("UPDATE server SET epoch = ?1, seq = ?2, clean = 0 WHERE id = 1", params![opened.epoch.0, opened.seq])?;
    // Uploads that were under way ended with the server that took them.
    transaction.execute("DELETE FROM chunk WHERE body IN (SELECT body FROM staged)", [])?;
    transaction.execute("DELETE FROM staged", [])?;
    transaction.commit()
}
