//! Rows of the audit and the checkpoints over them: appended, never changed.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::columns::{int, limit as bounded};
use crate::domain::audit::Checkpoint;
use crate::store::Rows;

type Sql<T> = rusqlite::Result<T>;

/// The number of the last row. Numbers that a checkpoint covers are never given again, whatever became of their rows.
pub(super) fn last(connection: &Connection) -> Sql<u64> {
    let sql = "SELECT max(coalesce((SELECT max(n) FROM audit), 0), coalesce((SELECT max(n) FROM audit_checkpoint), 0))";
    connection.query_row(sql, [], |row| row.get(0))
}

/// Appends a row.
pub(super) fn append(connection: &Connection, n: u64, line: &str) -> Sql<()> {
    connection.prepare_cached("INSERT INTO audit (n, line) VALUES (?1, ?2)")?.execute(params![n, line]).map(drop)
}

/// Appends a checkpoint.
pub(super) fn seal(connection: &Connection, checkpoint: &Checkpoint) -> Sql<()> {
    let sql = "INSERT INTO audit_checkpoint (n, line) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute(params![checkpoint.n, checkpoint.text]).map(drop)
}

/// Rows after one.
pub(super) fn rows(connection: &Connection, after: u64, limit: usize) -> Sql<Rows> {
    let mut find = connection.prepare_cached("SELECT n, line FROM audit WHERE n > ?1 ORDER BY n LIMIT ?2")?;
    let rows = find.query_map(params![int(after), bounded(limit)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Rows::Audit(rows.collect::<Sql<_>>()?))
}

/// The last checkpoint at or before a row, or of all.
pub(super) fn checkpoint(connection: &Connection, at: Option<u64>) -> Sql<Rows> {
    let sql = "SELECT n, line FROM audit_checkpoint WHERE n <= ?1 ORDER BY n DESC LIMIT 1";
    let found = connection.prepare_cached(sql)?.query_row([at.map_or(i64::MAX, int)], read).optional()?;
    Ok(Rows::Checkpoints(found.into_iter().collect()))
}

/// Checkpoints after a row.
pub(super) fn checkpoints(connection: &Connection, after: u64, limit: usize) -> Sql<Rows> {
    let mut find = connection.prepare_cached("SELECT n, line FROM audit_checkpoint WHERE n > ?1 ORDER BY n LIMIT ?2")?;
    let rows = find.query_map(params![int(after), bounded(limit)], read)?;
    Ok(Rows::Checkpoints(rows.collect::<Sql<_>>()?))
}

fn read(row: &Row<'_>) -> Sql<Checkpoint> {
    Ok(Checkpoint { n: row.get(0)?, text: row.get(1)? })
}
