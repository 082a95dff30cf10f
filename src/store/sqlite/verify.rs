//! Checks the database of a server that is not running: the file, the rules that every history keeps, and every stored document.

use std::path::Path;

use rusqlite::Connection;

use super::columns::Column;
use super::{OpenError, open};
use crate::domain::document::VersionMeta;
use crate::domain::ids::{Etag, Token};
use crate::domain::lock::Lock;

/// What was looked at, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Names with a lock, with or without a state.
    pub names: u64,
    /// Versions.
    pub versions: u64,
    /// Drafts.
    pub drafts: u64,
    /// Documents that were opened to the end.
    pub opened: u64,
    /// Each says what is wrong and where.
    pub problems: Vec<String>,
}

/// How many problems are told before the rest is left out.
const TOLD: usize = 100;

/// Looks at everything. `opens` is handed each stored skeleton in pieces and says whether it opens.
///
/// # Errors
/// The folder is in use, or holds no database that this program knows.
pub fn verify(folder: &Path, opens: &mut dyn FnMut(&[Vec<u8>]) -> bool) -> Result<Verdict, OpenError> {
    let (file, _lock) = open::hold(folder)?;
    let engine = |cause| OpenError::Engine { file: file.clone(), cause };
    let connection = open::reader(&file).map_err(engine)?;
    let mut verdict = Verdict::default();
    structure(&connection, &mut verdict).map_err(engine)?;
    names(&connection, &mut verdict, opens).map_err(engine)?;
    let surplus = verdict.problems.len().saturating_sub(TOLD);
    if surplus > 0 {
        verdict.problems.truncate(TOLD);
        verdict.problems.push(format!("and {surplus} more"));
    }
    Ok(verdict)
}

fn structure(connection: &Connection, verdict: &mut Verdict) -> rusqlite::Result<()> {
    let mut check = connection.prepare("PRAGMA integrity_check(20)")?;
    for line in check.query_map([], |row| row.get::<_, String>(0))? {
        verdict.problems.extend(Some(line?).filter(|line| line != "ok"));
    }
    Ok(())
}

fn names(connection: &Connection, verdict: &mut Verdict, opens: &mut dyn FnMut(&[Vec<u8>]) -> bool) -> rusqlite::Result<()> {
    let mut all = connection.prepare("SELECT id, environment || '/' || path, current, lock FROM name ORDER BY 2")?;
    let rows = all.query_map([], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, u64>(2)?, row.get::<_, Column<Lock>>(3)?.0))
    })?;
    for row in rows {
        let (id, name, current, lock) = row?;
        verdict.names += 1;
        let last = versions(connection, id, &name, &lock, verdict, opens)?;
        if last != current {
            verdict.problems.push(format!("{name}: version {current} is current, but the last one is {last}"));
        }
        let mut drafts = connection.prepare_cached("SELECT body FROM draft WHERE name = ?1")?;
        for body in drafts.query_map([id], |row| row.get::<_, [u8; 16]>(0))? {
            verdict.drafts += 1;
            document(connection, body?, &format!("{name}: a draft"), verdict, opens)?;
        }
    }
    Ok(())
}

/// Versions are contiguous, each with the etag of the one before and a token that is no lower. Returns the last number.
fn versions(
    connection: &Connection,
    id: i64,
    name: &str,
    lock: &Lock,
    verdict: &mut Verdict,
    opens: &mut dyn FnMut(&[Vec<u8>]) -> bool,
) -> rusqlite::Result<u64> {
    let (mut number, mut etag, mut token): (u64, Option<Etag>, Token) = (0, None, Token(0));
    let mut all = connection.prepare_cached("SELECT meta FROM version WHERE name = ?1 ORDER BY version")?;
    for version in all.query_map([id], |row| Ok(row.get::<_, Column<VersionMeta>>(0)?.0))? {
        let version = version?;
        verdict.versions += 1;
        let place = format!("{name}: version {}", version.version);
        if version.version.0 != number + 1 {
            verdict.problems.push(format!("{place} follows version {number}"));
        }
        if version.previous_etag != etag {
            verdict.problems.push(format!("{place} does not continue the version before it"));
        }
        if version.token < token || version.token > lock.last_token {
            verdict.problems.push(format!("{place} has a token out of order"));
        }
        if let Some(body) = version.body {
            document(connection, body.0, &place, verdict, opens)?;
        }
        (number, etag, token) = (version.version.0, Some(version.etag), version.token);
    }
    Ok(number)
}

fn document(
    connection: &Connection,
    body: [u8; 16],
    place: &str,
    verdict: &mut Verdict,
    opens: &mut dyn FnMut(&[Vec<u8>]) -> bool,
) -> rusqlite::Result<()> {
    let mut all = connection.prepare_cached("SELECT n, bytes FROM chunk WHERE body = ?1 ORDER BY n")?;
    let pieces = all.query_map([body], |row| Ok((row.get::<_, usize>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
    let pieces = pieces.collect::<rusqlite::Result<Vec<_>>>()?;
    let whole = pieces.iter().enumerate().all(|(n, (stored, _))| n == *stored);
    let pieces: Vec<Vec<u8>> = pieces.into_iter().map(|(_, bytes)| bytes).collect();
    if whole && opens(&pieces) {
        verdict.opened += 1;
    } else {
        verdict.problems.push(format!("{place} does not open"));
    }
    Ok(())
}
