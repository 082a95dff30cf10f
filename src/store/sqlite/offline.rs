//! A database that no server uses, or a copy of one, read by itself: for checks and for break-glass recovery. Nothing in it is changed, and
//! one damaged row does not keep the others from being read.

use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rusqlite::types::FromSql;
use rusqlite::{Connection, Row};

use super::columns::Column;
use super::{OpenError, keys, open, select};
use crate::domain::document::{DraftMeta, VersionMeta};
use crate::domain::environment::Environment;
use crate::domain::ids::{BodyId, DataKeyId};
use crate::domain::lock::Lock;
use crate::domain::sealing::{DataKeyRecord, Keyring, Ordinals, StoredValue};
use crate::store::Document;

/// An open database.
pub struct Offline {
    connection: Connection,
    file: PathBuf,
    _hold: Hold,
}

/// What keeps the database as it is while it is read.
enum Hold {
    Folder { _lock: File },
    Copy { _scratch: Scratch },
}

/// A row that holds something else than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row cannot be read")]
pub struct Unreadable;

/// An environment by its name, with its keys.
pub struct Found {
    /// As the row says.
    pub name: String,
    /// What the environment is.
    pub environment: Result<Environment, Unreadable>,
    /// Its keys.
    pub keyring: Result<Keyring, Unreadable>,
}

/// Everything under one name.
pub struct Named {
    id: i64,
    /// As the row says.
    pub environment: String,
    /// As the row says.
    pub path: String,
    /// The current version; 0: there is none.
    pub current: u64,
    /// The lock.
    pub lock: Result<Lock, Unreadable>,
}

/// How often a copy is tried again while something writes to what is copied.
const TRIES: u32 = 5;

/// A version's number, and its row if that can be read.
pub type Numbered = (u64, Result<VersionMeta, Unreadable>);

impl Offline {
    /// Opens the database in a data folder, which no server may use meanwhile.
    ///
    /// # Errors
    /// The folder is in use, or holds no database that this program knows.
    pub fn folder(folder: &Path) -> Result<Self, OpenError> {
        let (file, lock) = open::hold(folder)?;
        let connection = open::reader(&file).map_err(|cause| open::trouble(&file, cause))?;
        Ok(Self { connection, file, _hold: Hold::Folder { _lock: lock } })
    }

    /// Opens a copy of a database file, and of the `-wal` beside it, made in a folder of its own in `scratch`, which goes with this. The
    /// file itself is only read; its folder may be one that cannot be written.
    ///
    /// # Errors
    /// It is no database that this program knows, or it does not stand still.
    pub fn copy_of(file: &Path, scratch: &Path) -> Result<Self, OpenError> {
        let failed = |cause| OpenError::Folder { folder: file.to_owned(), cause };
        open::check_header(file)?;
        let scratch = Scratch::make(scratch).map_err(failed)?;
        let copy = scratch.0.join("leasehold.db");
        let log = |file: &Path| PathBuf::from(format!("{}-wal", file.display()));
        for tries in (0..TRIES).rev() {
            let before = (stamp(file), stamp(&log(file)));
            std::fs::copy(file, &copy).map_err(failed)?;
            match std::fs::copy(log(file), log(&copy)) {
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                copied => drop(copied.map_err(failed)?),
            }
            if before == (stamp(file), stamp(&log(file))) {
                break;
            }
            if tries == 0 {
                return Err(failed(io::Error::other("something writes to it: stop the server, or copy it first")));
            }
        }
        let engine = |cause| open::trouble(file, cause);
        let connection = open::reader(&copy).map_err(engine)?;
        open::check_version(&connection, file)?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(engine)?;
        if version < open::SEALED {
            return Err(OpenError::Unreleased(file.to_owned()));
        }
        Ok(Self { connection, file: file.to_owned(), _hold: Hold::Copy { _scratch: scratch } })
    }

    /// What is wrong with the structure of the file; nothing, if it is whole.
    ///
    /// # Errors
    /// It cannot be read at all.
    pub fn structure(&self) -> Result<Vec<String>, OpenError> {
        let lines = self.all("PRAGMA integrity_check(20)", [], |row| row.get::<_, String>(0))?;
        Ok(lines.into_iter().filter(|line| line != "ok").collect())
    }

    /// The environments, by name.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn environments(&self) -> Result<Vec<Found>, OpenError> {
        let sql = "SELECT environment.name, environment.meta, keyring.meta, keyring.digest FROM environment
            LEFT JOIN keyring ON keyring.environment = environment.name ORDER BY 1";
        self.all(sql, [], |row| {
            let name: String = row.get(0)?;
            let kept = row.get::<_, String>(2).and_then(|meta| Ok((meta, row.get::<_, Vec<u8>>(3)?)));
            let keyring = kept
                .map_err(|_| Unreadable)
                .and_then(|(meta, digest)| keys::row::keyring(&name, &meta, &digest).map_err(|_| Unreadable));
            Ok(Found { environment: readable(row.get(1)), keyring, name })
        })
    }

    /// All names on which something happened, in order.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn names(&self) -> Result<Vec<Named>, OpenError> {
        let sql = "SELECT id, environment, path, current, lock FROM name ORDER BY 2, 3";
        self.all(sql, [], |row| {
            let (environment, path, lock) = (row.get(1)?, row.get(2)?, readable(row.get(4)));
            Ok(Named { id: row.get(0)?, environment, path, current: row.get(3)?, lock })
        })
    }

    /// The versions under a name by number, as their rows have it.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn versions(&self, name: &Named) -> Result<Vec<Numbered>, OpenError> {
        let sql = "SELECT version, meta FROM version WHERE name = ?1 ORDER BY version";
        self.all(sql, [name.id], |row| Ok((row.get(0)?, readable(row.get(1)))))
    }

    /// The drafts under a name, the oldest first.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn drafts(&self, name: &Named) -> Result<Vec<Result<DraftMeta, Unreadable>>, OpenError> {
        self.all("SELECT meta FROM draft WHERE name = ?1 ORDER BY seq", [name.id], |row| Ok(readable(row.get(0))))
    }

    /// A data key.
    ///
    /// # Errors
    /// There is none, or its row cannot be read.
    pub fn data_key(&self, id: DataKeyId) -> Result<DataKeyRecord, Unreadable> {
        keys::data_key(&self.connection, id).ok().flatten().ok_or(Unreadable)
    }

    /// The data keys whose rows are not what was written, and their environments.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn altered_keys(&self) -> Result<Vec<(String, DataKeyId)>, OpenError> {
        let sql = "SELECT environment, id FROM data_key ORDER BY id";
        let mut all = self.all(sql, [], |row| Ok((row.get(0)?, DataKeyId(row.get(1)?))))?;
        all.retain(|(_, id)| self.data_key(*id).map_or(true, |record| record.is_altered()));
        Ok(all)
    }

    /// The pieces of a document's skeleton, in order.
    ///
    /// # Errors
    /// One is missing or cannot be read, or there are others than the document has.
    pub fn pieces(&self, document: &Document) -> Result<Vec<Vec<u8>>, Unreadable> {
        let (body, pieces) = match document {
            Document::Version(version) => (version.body.ok_or(Unreadable)?, version.seal.ok_or(Unreadable)?.pieces),
            Document::Draft(draft) => (draft.body, draft.seal.pieces),
        };
        let all = self.body(body)?;
        if u32::try_from(all.len()) == Ok(pieces) { Ok(all) } else { Err(Unreadable) }
    }

    /// Sealed values by their ordinals, in the order asked.
    ///
    /// # Errors
    /// One is missing, or cannot be read.
    pub fn values(&self, key: DataKeyId, ordinals: &[u32]) -> Result<Vec<Vec<u8>>, Unreadable> {
        let found = keys::values(&self.connection, key, ordinals).map_err(|_| Unreadable)?;
        let value = |value: Option<StoredValue>| match value.ok_or(Unreadable)? {
            StoredValue::Inline(bytes) => Ok(bytes),
            StoredValue::Pieces(body) => self.body(body).map(|pieces| pieces.concat()),
        };
        found.into_iter().map(value).collect()
    }

    /// Whether everything that a document consists of is there, as far as it can be told without a key.
    #[must_use]
    pub fn is_complete(&self, document: &Document) -> bool {
        let (sql, body) = match document {
            Document::Version(version) => ("SELECT ordinals FROM version WHERE body = ?1", version.body),
            Document::Draft(draft) => ("SELECT ordinals FROM draft WHERE body = ?1", Some(draft.body)),
        };
        let seal = match document {
            Document::Version(version) => version.seal,
            Document::Draft(draft) => Some(draft.seal),
        };
        let (Some(body), Some(seal)) = (body, seal) else { return false };
        let ordinals = self.connection.query_row(sql, [body.0], |row| row.get::<_, Column<Ordinals>>(0));
        let Ok(Column(ordinals)) = ordinals else { return false };
        let ordinals: Vec<u32> = ordinals.iter().collect();
        self.pieces(document).is_ok() && self.data_key(seal.data_key).is_ok() && self.values(seal.data_key, &ordinals).is_ok()
    }

    fn body(&self, body: BodyId) -> Result<Vec<Vec<u8>>, Unreadable> {
        let mut pieces = Vec::new();
        for n in 0.. {
            match select::chunk(&self.connection, body, n).map_err(|_| Unreadable)? {
                Some(piece) => pieces.push(piece),
                None => break,
            }
        }
        let sql = "SELECT count(*) FROM chunk WHERE body = ?1";
        let count: usize = self.connection.query_row(sql, [body.0], |row| row.get(0)).map_err(|_| Unreadable)?;
        if pieces.len() == count { Ok(pieces) } else { Err(Unreadable) }
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, OpenError> {
        let collected = || -> rusqlite::Result<Vec<T>> { self.connection.prepare(sql)?.query_map(params, read)?.collect() };
        collected().map_err(|cause| open::trouble(&self.file, cause))
    }
}

fn readable<T>(column: rusqlite::Result<Column<T>>) -> Result<T, Unreadable>
where
    Column<T>: FromSql,
{
    column.map(|Column(value)| value).map_err(|_| Unreadable)
}

/// What changes when somebody writes to a file.
fn stamp(file: &Path) -> Option<(u64, std::time::SystemTime)> {
    let about = std::fs::metadata(file).ok()?;
    Some((about.len(), about.modified().ok()?))
}

/// A folder that nobody else enters, and that does not stay.
struct Scratch(PathBuf);

impl Scratch {
    fn make(within: &Path) -> io::Result<Self> {
        let name = format!(".leasehold-{}", uuid::Uuid::new_v4());
        let folder = within.join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
