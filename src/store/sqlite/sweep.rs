//! What has outlived its time goes, a few rows at a time, in transactions of their own.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::keys;
use super::transaction::drop_body;
use crate::domain::ids::{BodyId, DataKeyId, Revision};
use crate::domain::time::StoreTime;

/// Rows looked at in one step.
pub(super) const STEP: u64 = 500;
/// How long a body may be staged without becoming a version or a draft.
const ORPHAN: Duration = Duration::from_secs(3600);

/// Where sweeping goes on.
#[derive(Default)]
pub(super) struct Sweeper {
    /// The last request id looked at.
    request: Vec<u8>,
}

impl Sweeper {
    /// One small step over each kind of row. Returns the last event dropped, if any was.
    pub(super) fn step(
        &mut self,
        connection: &Connection,
        now: StoreTime,
        request_memory: Duration,
        keep_events: u64,
    ) -> rusqlite::Result<Option<Revision>> {
        self.requests(connection, now, request_memory)?;
        bodies(connection, now)?;
        events(connection, keep_events)
    }

    /// Forgets old request ids, [`STEP`] further on at each call.
    pub(super) fn requests(&mut self, connection: &Connection, now: StoreTime, memory: Duration) -> rusqlite::Result<()> {
        let Some(oldest) = before(now, memory) else { return Ok(()) };
        let sql = "SELECT max(id), sum(at <= ?3) FROM (SELECT id, at FROM request WHERE id > ?1 ORDER BY id LIMIT ?2)";
        let (last, old) = connection.prepare_cached(sql)?.query_row(params![self.request, STEP, oldest], |row| {
            Ok((row.get::<_, Option<Vec<u8>>>(0)?, row.get::<_, Option<u64>>(1)?))
        })?;
        if old.unwrap_or(0) > 0 {
            let sql = "DELETE FROM request WHERE id > ?1 AND id <= ?2 AND at <= ?3";
            connection.prepare_cached(sql)?.execute(params![self.request, last, oldest])?;
        }
        self.request = last.unwrap_or_default();
        Ok(())
    }
}

/// Drafts past their life, and staged bodies that nothing came to refer to.
fn bodies(connection: &Connection, now: StoreTime) -> rusqlite::Result<()> {
    let expired = "SELECT id, body, name, data_key FROM draft WHERE expires <= ?1 LIMIT 1";
    let orphan = "SELECT NULL, body, NULL, NULL FROM staged WHERE at <= ?1 LIMIT 1";
    for (sql, at) in [(expired, Some(now.0)), (orphan, before(now, ORPHAN))] {
        let Some(at) = at else { continue };
        let found = connection
            .prepare_cached(sql)?
            .query_row([at], |row| {
                let (draft, body) = (row.get::<_, Option<[u8; 16]>>(0)?, BodyId(row.get(1)?));
                let (name, key) = (row.get::<_, Option<i64>>(2)?, row.get::<_, Option<[u8; 16]>>(3)?.map(DataKeyId));
                Ok((draft, body, name.zip(key)))
            })
            .optional()?;
        if let Some((draft, body, under)) = found {
            let transaction = connection.unchecked_transaction()?;
            connection.execute("DELETE FROM draft WHERE id = ?1", [draft])?;
            drop_body(connection, body)?;
            if let Some((name, key)) = under {
                keys::collect(connection, name, key)?;
            }
            transaction.commit()?;
        }
    }
    Ok(())
}

fn events(connection: &Connection, keep: u64) -> rusqlite::Result<Option<Revision>> {
    let sql = "SELECT revision - ?1 FROM server WHERE revision - trimmed > ?1 + ?2";
    // Only when there is a good number to drop: each time costs a commit.
    let until: Option<u64> =
        connection.prepare_cached(sql)?.query_row([keep, (keep / 10).min(STEP)], |row| row.get(0)).optional()?;
    let Some(until) = until else { return Ok(None) };
    let transaction = connection.unchecked_transaction()?;
    connection.execute("DELETE FROM event WHERE revision <= ?1", [until])?;
    connection.execute("UPDATE server SET trimmed = ?1 WHERE id = 1", [until])?;
    transaction.commit()?;
    Ok(Some(Revision(until)))
}

/// None: the store is younger than that.
fn before(now: StoreTime, span: Duration) -> Option<u64> {
    now.0.checked_sub(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
}
