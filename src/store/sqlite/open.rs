//! Opening a database: lock, checks, migrations, epoch. A wrong, damaged or newer file is refused, never overwritten.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, params};

use super::columns::{Column, json};
use super::sidecar::{self, Sidecar};
use super::{Options, Synchronous};
use crate::domain::ids::{Epoch, HistoryId};
use crate::domain::lock::{End, Ended, Lock};
use crate::domain::names::{Principal, Reason};
use crate::domain::time::{StoreTime, WallTime};
use crate::store::folder::{FolderError, private_folder};

/// `application_id` of our files: "LsHd".
const APPLICATION: i64 = 0x4c73_4864;
const MIGRATIONS: [&str; 5] = [
    include_str!("../../../migrations/sqlite/0001_init.sql"),
    include_str!("../../../migrations/sqlite/0002_sealing.sql"),
    include_str!("../../../migrations/sqlite/0003_access.sql"),
    include_str!("../../../migrations/sqlite/0004_audit.sql"),
    include_str!("../../../migrations/sqlite/0005_key_rows.sql"),
];
/// An unclean stop of a database up to this size is followed by a check of its structure.
const CHECKED: u64 = 256 << 20;

/// Why a data folder cannot be used. The message says what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum OpenError {
    #[error("cannot use the data folder {}: {cause}; check that it exists, is yours and can be written", .folder.display())]
    Folder { folder: PathBuf, cause: io::Error },
    #[error(transparent)]
    Private(#[from] FolderError),
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
    #[error(
        "{} was written by a leasehold from before the first release, whose keys this one does not take, and has environments: export \
         their states with that program, and push them to a new data folder", .0.display()
    )]
    Unreleased(PathBuf),
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
    /// The last row of the audit.
    pub(super) audit: u64,
    /// Held as long as the store lives.
    pub(super) lock: File,
}

/// Opens the database in a folder, or makes one.
pub(super) fn open(options: &Options, wall: WallTime) -> Result<Opened, OpenError> {
    let folder = &options.folder;
    private_folder(folder)?;
    let lock = lock(folder)?;
    let file = folder.join("leasehold.db");
    let in_folder = |cause| OpenError::Folder { folder: folder.clone(), cause };
    let engine = |cause| trouble(&file, cause);
    let witness = sidecar::read(&file);
    let mut rolled_back = false;
    let exists = size(&file).map_err(in_folder)? > 0;
    if exists {
        check_header(&file)?;
    } else {
        rolled_back = check_missing(&file, witness.as_ref(), options.accept_rollback)?;
        create_private(&file).map_err(in_folder)?;
        sync_names(folder).map_err(in_folder)?;
    }
    let mut connection = connect(&file).map_err(engine)?;
    if exists && check_version(&connection, &file)? {
        let found = identity(&connection).map_err(engine)?;
        if !found.clean {
            check_structure(&connection, &file)?;
        }
        rolled_back = check_sidecar(&file, &found, witness.as_ref(), options.accept_rollback)?;
    }
    if exists && unreleased(&connection).map_err(engine)? {
        return Err(OpenError::Unreleased(file));
    }
    settle_pragmas(&connection, options.synchronous).map_err(engine)?;
    migrate(&mut connection, options.fresh).map_err(engine)?;
    let mut opened = load(connection, &file, lock).map_err(engine)?;
    let history = rolled_back.then_some(options.fresh);
    begin_epoch(&mut opened, witness.map(|witness| witness.epoch), wall, history).map_err(engine)?;
    sidecar::write(&opened.file, &Sidecar { instance: opened.instance, epoch: opened.epoch, seq: opened.seq })
        .map_err(in_folder)?;
    Ok(opened)
}

/// A connection that writes. Closing it leaves the WAL alone: only the writer decides when it is copied.
pub(super) fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    settle_plans(&connection)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

/// Holds a folder whose database exists, without changing anything in it, and gives the database's path.
pub(super) fn hold(folder: &Path) -> Result<(PathBuf, File), OpenError> {
    let file = folder.join("leasehold.db");
    let in_folder = |cause| OpenError::Folder { folder: folder.to_owned(), cause };
    std::fs::metadata(&file).map_err(in_folder)?;
    let lock = lock(folder)?;
    check_header(&file)?;
    let connection = connect(&file).map_err(|cause| trouble(&file, cause))?;
    check_version(&connection, &file)?;
    Ok((file, lock))
}

/// A connection that only reads.
pub(super) fn reader(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    settle_plans(&connection)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.execute_batch("PRAGMA query_only=ON; PRAGMA trusted_schema=OFF; PRAGMA temp_store=MEMORY; PRAGMA mmap_size=0;")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("leasehold.lock");
    let failed = |cause| OpenError::Folder { folder: folder.to_owned(), cause };
    create_private(&path).map_err(failed)?;
    let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(folder.to_owned())),
        Err(TryLockError::Error(cause)) => Err(failed(cause)),
    }
}

/// Before SQLite touches the file: is it one of ours? The header holds the application id at 68.
pub(super) fn check_header(file: &Path) -> Result<(), OpenError> {
    let mut header = [0; 100];
    let read = File::open(file).and_then(|mut file| io::Read::read_exact(&mut file, &mut header));
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(OpenError::Foreign(file.to_owned())),
        Err(cause) => return Err(OpenError::Folder { folder: file.to_owned(), cause }),
        Ok(()) => {}
    }
    let application = i64::from(u32::from_be_bytes([header[68], header[69], header[70], header[71]]));
    // A first start that was killed leaves an empty database in WAL mode, with all of it still in the WAL: id 0 is checked below.
    let cut_short = application == 0 && header[18..20] == [2, 2];
    let ours = header.starts_with(b"SQLite format 3\0") && (application == APPLICATION || cut_short);
    if ours { Ok(()) } else { Err(OpenError::Foreign(file.to_owned())) }
}

/// Whether the database has our tables; false: a first start was cut short.
pub(super) fn check_version(connection: &Connection, file: &Path) -> Result<bool, OpenError> {
    let pragma = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let engine = |cause| trouble(file, cause);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(engine)?;
    if tables > 0 && pragma("application_id").map_err(engine)? != APPLICATION {
        return Err(OpenError::Foreign(file.to_owned()));
    }
    let (found, known) = (pragma("user_version").map_err(engine)?, MIGRATIONS.len() as i64);
    if found > known { Err(OpenError::Newer { file: file.to_owned(), found, known }) } else { Ok(tables > 0) }
}

fn check_structure(connection: &Connection, file: &Path) -> Result<(), OpenError> {
    if size(file).is_ok_and(|size| size > CHECKED) {
        return Ok(());
    }
    let verdict: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|cause| trouble(file, cause))?;
    if verdict == "ok" { Ok(()) } else { Err(OpenError::Damaged { file: file.to_owned(), what: verdict }) }
}

/// A database that is gone or empty is made anew, unless something shows that there was one. True: with the caller's consent.
fn check_missing(file: &Path, witness: Option<&Sidecar>, accept_rollback: bool) -> Result<bool, OpenError> {
    let log = PathBuf::from(format!("{}-wal", file.display()));
    if size(&log).is_ok_and(|size| size > 0) {
        let what = format!("it is missing or empty, but its log {} is there", log.display());
        return Err(OpenError::Damaged { file: file.to_owned(), what });
    }
    match witness {
        Some(witness) if !accept_rollback => Err(OpenError::RolledBack { file: file.to_owned(), found: 0, known: witness.seq }),
        witness => Ok(witness.is_some()),
    }
}

/// Corruption is told apart from trouble that passes.
pub(super) fn trouble(file: &Path, cause: rusqlite::Error) -> OpenError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match cause.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => OpenError::Damaged { file: file.to_owned(), what: cause.to_string() },
        _ => OpenError::Engine { file: file.to_owned(), cause },
    }
}

/// The size of a file; 0 if it is missing.
fn size(file: &Path) -> io::Result<u64> {
    match std::fs::metadata(file) {
        Ok(meta) => Ok(meta.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Makes the names of a new folder durable: a database in a folder that a power cut takes away is of no use.
fn sync_names(folder: &Path) -> io::Result<()> {
    let folder = folder.canonicalize()?;
    folder.ancestors().take(3).try_for_each(|folder| match File::open(folder) {
        // Somebody else's folder above ours.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        opened => opened?.sync_all(),
    })
}

fn create_private(file: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file).map(drop)
}

/// Otherwise every statement with `LIMIT ?` is prepared again whenever another limit is bound: an eighth of all work.
fn settle_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn settle_pragmas(connection: &Connection, synchronous: Synchronous) -> rusqlite::Result<()> {
    connection.execute_batch(
        "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;
         PRAGMA journal_size_limit=67108864; PRAGMA temp_store=MEMORY; PRAGMA secure_delete=ON; PRAGMA mmap_size=0; PRAGMA cache_size=-32768;
         PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;",
    )?;
    connection.set_prepared_statement_cache_capacity(128);
    use rusqlite::types::Value::{Integer, Text};
    // NORMAL loses acknowledged commits at a power cut; a build or a fork that ignores the pragma must not go unseen.
    let read = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, rusqlite::types::Value>(0));
    let wanted = [("journal_mode", Text("wal".to_owned())), ("synchronous", Integer(2)), ("secure_delete", Integer(1))];
    for (name, value) in wanted.into_iter().chain([("page_size", Integer(4096)), ("mmap_size", Integer(0))]) {
        if read(name)? != value {
            return Err(rusqlite::Error::InvalidParameterName(format!("the setting {name} = {value:?} did not hold")));
        }
    }
    match synchronous {
        Synchronous::Full => Ok(()),
        Synchronous::DangerNormal => connection.execute_batch("PRAGMA synchronous=NORMAL"),
    }
}

/// The first schema whose documents this program opens: the first kept them in the clear, and keys were bound to less until the fifth.
pub(super) const SEALED: i64 = 5;

/// Whether it holds what cannot be taken along.
fn unreleased(connection: &Connection) -> rusqlite::Result<bool> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if !(1..SEALED).contains(&version) {
        return Ok(false);
    }
    connection.query_row("SELECT EXISTS (SELECT 1 FROM environment)", [], |row| row.get(0))
}

pub(super) fn migrate(connection: &mut Connection, fresh: [u8; 16]) -> rusqlite::Result<()> {
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

/// What tells one database, and one moment of it, from others.
struct Identity {
    instance: [u8; 16],
    seq: u64,
    clean: bool,
}

fn identity(connection: &Connection) -> rusqlite::Result<Identity> {
    connection.query_row("SELECT instance, seq, clean FROM server WHERE id = 1", [], |row| {
        Ok(Identity { instance: row.get(0)?, seq: row.get(1)?, clean: row.get(2)? })
    })
}

fn load(connection: Connection, file: &Path, lock: File) -> rusqlite::Result<Opened> {
    let sql = "SELECT instance, history, epoch, seq, beat, revision, trimmed FROM server WHERE id = 1";
    let mut find = connection.prepare(sql)?;
    let (instance, history, epoch, seq, beat, revision, trimmed) = find
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?)))?;
    drop(find);
    let audit = super::audit::last(&connection)?;
    let (history, epoch, beat) = (HistoryId(history), Epoch(epoch), StoreTime(beat));
    Ok(Opened { connection, file: file.to_owned(), history, instance, epoch, seq, beat, revision, trimmed, audit, lock })
}

/// Whether the database is older than its sidecar, or another one, and the caller takes it as it is.
fn check_sidecar(file: &Path, found: &Identity, witness: Option<&Sidecar>, accept: bool) -> Result<bool, OpenError> {
    let Some(witness) = witness else { return Ok(false) };
    let other = witness.instance != found.instance;
    match other || witness.seq > found.seq {
        false => Ok(false),
        true if accept => Ok(true),
        true if other => Err(OpenError::Sidecar(file.to_owned())),
        true => Err(OpenError::RolledBack { file: file.to_owned(), found: found.seq, known: witness.seq }),
    }
}

/// Epoch = max(stored + 1, sidecar + 1, Unix seconds), durable before the first grant. After a rollback a new history begins, so that
/// watchers list again, and all leases and tickets end: who holds what has been decided otherwise since.
fn begin_epoch(opened: &mut Opened, witness: Option<Epoch>, wall: WallTime, history: Option<[u8; 16]>) -> rusqlite::Result<()> {
    let unix = u64::try_from(wall.0 / 1000).unwrap_or(0);
    opened.epoch = Epoch((opened.epoch.0 + 1).max(witness.map_or(0, |epoch| epoch.0 + 1)).max(unix));
    opened.seq += 1;
    let transaction = opened.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    transaction.execute("UPDATE server SET epoch = ?1, seq = ?2, clean = 0 WHERE id = 1", params![opened.epoch.0, opened.seq])?;
    if let Some(fresh) = history {
        opened.history = HistoryId(fresh);
        transaction.execute("UPDATE server SET history = ?1 WHERE id = 1", [fresh])?;
        end_leases(&transaction, opened.beat)?;
    }
    // Uploads that were under way ended with the server that took them.
    transaction.execute("DELETE FROM chunk WHERE body IN (SELECT body FROM staged)", [])?;
    transaction.execute("DELETE FROM staged", [])?;
    transaction.commit()
}

fn end_leases(connection: &Connection, now: StoreTime) -> rusqlite::Result<()> {
    let by: Principal = "leasehold".parse().expect("a plain word is a principal");
    let reason: Reason = "the database was put back to an earlier time".parse().expect("a short sentence is a reason");
    let mut held = connection.prepare("SELECT id, lock FROM name WHERE lock LIKE '%\"holders\"%'")?;
    let rows = held.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Column<Lock>>(1)?.0)))?;
    for row in rows.collect::<rusqlite::Result<Vec<_>>>()? {
        let (name, mut lock) = row;
        for holder in std::mem::take(&mut lock.holders) {
            // Whoever holds it in the history that was lost may still be at work.
            lock.cooldown_until = lock.cooldown_until.max(Some(now.after(holder.lock_delay)));
            lock.ended.push(Ended { holder, how: End::Broken { by: by.clone(), reason: reason.clone() } });
        }
        connection.execute("UPDATE name SET lock = ?2 WHERE id = ?1", params![name, json(&lock)])?;
    }
    connection.execute("DELETE FROM ticket", []).map(drop)
}
