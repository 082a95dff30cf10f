//! Reading, on connections that only read.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::columns::{Column, int, limit as bounded, parse};
use super::{access, keys};
use crate::domain::document::{DraftMeta, VersionMeta};
use crate::domain::environment::Environment;
use crate::domain::event::{Event, Recorded};
use crate::domain::ids::{BodyId, Revision, StateId};
use crate::domain::lock::{Lock, Ticket};
use crate::domain::names::{EnvironmentName, Prefix, StateName, StatePath};
use crate::domain::sealing::{DataKeyRecord, Ground, Keyring};
use crate::domain::time::{StoreTime, WallTime};
use crate::store::{LockRow, Query, Rows};

type Sql<T> = rusqlite::Result<T>;

/// Answers a query in one read transaction.
pub(super) fn select(connection: &Connection, query: &Query, now: StoreTime) -> Sql<Rows> {
    let transaction = connection.unchecked_transaction()?;
    let rows = match query {
        Query::Environments(which) => Rows::Environments(environments(&transaction, which.as_ref())?),
        Query::Lock(state) => Rows::Locks(lock(&transaction, state, now)?.into_iter().collect(), now),
        Query::Locks { prefix, all, after, limit } => {
            let mut found = Vec::new();
            scan(&transaction, prefix, after.as_ref(), now, &mut |name, row| {
                let row = lock_row(row, name)?;
                if *all || row.busy(now) {
                    found.push(row);
                }
                Ok(found.len() < *limit)
            })?;
            Rows::Locks(found, now)
        }
        Query::Tickets(state) => Rows::Tickets(tickets(&transaction, state)?, now),
        Query::Holdings => holdings(&transaction)?,
        Query::States { prefix, deleted, after, limit } => {
            let mut found = Vec::new();
            scan(&transaction, prefix, after.as_ref(), now, &mut |name, row| {
                let (id, current): (i64, u64) = (row.get(0)?, row.get(3)?);
                if current > 0 && (*deleted || !row.get::<_, bool>(4)?) {
                    let version = super::transaction::version(&transaction, id, current)?;
                    found.extend(version.map(|version| (name.environment, version)));
                }
                Ok(found.len() < *limit)
            })?;
            Rows::Versions(found)
        }
        Query::Version(state, which) => {
            let sql = "SELECT meta, version FROM version JOIN name ON name.id = version.name
                WHERE environment = ?1 AND path = ?2 AND version = coalesce(?3, name.current)";
            let params = params![state.environment.as_str(), state.path.as_str(), which.map(|which| int(which.0))];
            versions(&transaction, state, sql, params)?
        }
        Query::History { state, before, limit } => {
            let sql = "SELECT meta, version FROM version JOIN name ON name.id = version.name
                WHERE environment = ?1 AND path = ?2 AND (?3 IS NULL OR version < ?3) ORDER BY version DESC LIMIT ?4";
            let params =
                params![state.environment.as_str(), state.path.as_str(), before.map(|before| int(before.0)), bounded(*limit)];
            versions(&transaction, state, sql, params)?
        }
        Query::Drafts(state, which) => {
            let sql = "SELECT draft.meta FROM draft JOIN name ON name.id = draft.name
                WHERE environment = ?1 AND path = ?2 AND (?3 IS NULL OR draft.id = ?3) AND expires > ?4 ORDER BY seq DESC";
            let mut find = transaction.prepare_cached(sql)?;
            let params = params![state.environment.as_str(), state.path.as_str(), which.map(|which| which.0), now.0];
            let drafts = find.query_map(params, |row| {
                let draft = row.get::<_, Column<DraftMeta>>(0)?.0;
                in_place(draft.path == state.path).map(|()| draft)
            })?;
            Rows::Drafts(drafts.collect::<Sql<_>>()?)
        }
        Query::Keyring(name) => Rows::Keyrings(keyring(&transaction, name)?.into_iter().collect()),
        Query::Top(state) => {
            let sql = "SELECT meta, version FROM version JOIN name ON name.id = version.name
                WHERE environment = ?1 AND path = ?2 AND version = name.current";
            let mut find = transaction.prepare_cached(sql)?;
            let params = params![state.environment.as_str(), state.path.as_str()];
            let current = find.query_row(params, |row| version(row, state)).optional()?;
            let next = match current.as_ref() {
                Some(live) if !live.deleted() => Some(live.state),
                gone => keys::begun(&transaction, state, gone.map(|gone| gone.state))?,
            };
            let ground = next.map(|next| ground(&transaction, next)).transpose()?.flatten();
            Rows::Top(current.map(Box::new), ground)
        }
        Query::Ground(state) => Rows::Grounds(ground(&transaction, *state)?.into_iter().collect()),
        Query::DataKey(id) => Rows::DataKeys(keys::data_key(&transaction, *id)?.into_iter().collect()),
        Query::DataKeys { environment, which, after, limit } => {
            Rows::DataKeys(keys::data_keys(&transaction, environment, *which, *after, *limit)?)
        }
        Query::Tags { key, tags } => Rows::Ordinals(keys::ordinals(&transaction, *key, tags)?),
        Query::Values { key, ordinals } => Rows::Values(keys::values(&transaction, *key, ordinals)?),
        Query::Documents { environment, which, after, limit } => {
            Rows::Documents(keys::documents(&transaction, environment, *which, after.as_ref(), *limit)?)
        }
        Query::Audit { after, limit } => super::audit::rows(&transaction, *after, *limit)?,
        Query::Checkpoint(at) => super::audit::checkpoint(&transaction, *at)?,
        Query::Checkpoints { after, limit } => super::audit::checkpoints(&transaction, *after, *limit)?,
        Query::Access => access::select(&transaction)?,
        Query::Census(name) => {
            let (documents, values) = keys::census(&transaction, name)?;
            let found = super::transaction::environment(&transaction, name)?;
            let (identity, epoch) = found.map_or((0, 0), |found| (found.identity, found.key_epoch));
            Rows::Census { left: keys::left(&transaction, name, identity, epoch)?, documents, values }
        }
    };
    transaction.finish()?;
    Ok(rows)
}

/// One piece of a body.
pub(super) fn chunk(connection: &Connection, body: BodyId, n: u32) -> Sql<Option<Vec<u8>>> {
    let mut find = connection.prepare_cached("SELECT bytes FROM chunk WHERE body = ?1 AND n = ?2")?;
    find.query_row(params![body.0, n], |row| row.get(0)).optional()
}

/// Events after a revision, in order.
pub(super) fn events(connection: &Connection, after: Revision, limit: usize) -> Sql<Vec<Recorded>> {
    let sql = "SELECT revision, wall, environment, path, event FROM event WHERE revision > ?1 ORDER BY revision LIMIT ?2";
    let mut find = connection.prepare_cached(sql)?;
    let rows = find.query_map(params![int(after.0), bounded(limit)], |row| {
        Ok(Recorded {
            revision: Revision(row.get(0)?),
            wall: WallTime(row.get(1)?),
            environment: parse(row.get(2)?)?,
            path: row.get::<_, Option<String>>(3)?.map(parse).transpose()?,
            event: row.get::<_, Column<Event>>(4)?.0,
        })
    })?;
    rows.collect()
}

fn ground(connection: &Connection, state: StateId) -> Sql<Option<(Ground, DataKeyRecord)>> {
    let ground = keys::ground(connection, state)?;
    let key = ground.map(|ground| keys::data_key(connection, ground.data_key)).transpose()?.flatten();
    Ok(ground.zip(key))
}

fn keyring(connection: &Connection, name: &EnvironmentName) -> Sql<Option<(Environment, Keyring)>> {
    let environment = super::transaction::environment(connection, name)?;
    Ok(environment.zip(keys::keyring(connection, name)?))
}

fn environments(connection: &Connection, which: Option<&EnvironmentName>) -> Sql<Vec<(Environment, u64)>> {
    let sql = "SELECT meta,
        (SELECT count(*) FROM name WHERE name.environment = environment.name AND current > 0 AND NOT deleted)
        FROM environment WHERE ?1 IS NULL OR name = ?1 ORDER BY name";
    let mut find = connection.prepare_cached(sql)?;
    let rows =
        find.query_map([which.map(EnvironmentName::as_str)], |row| Ok((row.get::<_, Column<Environment>>(0)?.0, row.get(1)?)))?;
    rows.collect()
}

const LOCKS: &str = "SELECT name.id, path, lock, current, deleted, environment.meta,
    (SELECT count(*) FROM ticket WHERE ticket.name = name.id AND deadline > ?1), name.environment
    FROM name CROSS JOIN environment ON environment.name = name.environment";

/// Visits names in order, as [`LOCKS`] reads them, until told to stop.
fn scan(
    connection: &Connection,
    prefix: &Prefix,
    after: Option<&StateName>,
    now: StoreTime,
    visit: &mut dyn FnMut(StateName, &Row<'_>) -> Sql<bool>,
) -> Sql<()> {
    let sql = format!("{LOCKS} WHERE (name.environment, path) >= (?2, ?3) ORDER BY name.environment, path");
    let mut find = connection.prepare_cached(&sql)?;
    let environment = prefix.environment.as_ref().map_or("", EnvironmentName::as_str);
    let path = prefix.path.as_ref().map_or("", StatePath::as_str);
    // One range of the index: from the later of the two starts, until what the prefix cannot cover any more.
    let from =
        after.map_or((environment, path), |after| (environment, path).max((after.environment.as_str(), after.path.as_str())));
    let mut rows = find.query(params![now.0, from.0, from.1])?;
    while let Some(row) = rows.next()? {
        let name = StateName { environment: parse(row.get(7)?)?, path: parse(row.get(1)?)? };
        let outside = !environment.is_empty() && name.environment.as_str() != environment;
        if outside || !environment.is_empty() && !name.path.as_str().starts_with(path) {
            break;
        }
        if prefix.covers(name.path.as_str()) && after != Some(&name) && !visit(name, row)? {
            break;
        }
    }
    Ok(())
}

fn lock(connection: &Connection, state: &StateName, now: StoreTime) -> Sql<Option<LockRow>> {
    let sql = format!("{LOCKS} WHERE name.environment = ?2 AND path = ?3");
    let mut find = connection.prepare_cached(&sql)?;
    let params = params![now.0, state.environment.as_str(), state.path.as_str()];
    let found = find.query_row(params, |row| lock_row(row, state.clone())).optional()?;
    if found.is_some() {
        return Ok(found);
    }
    let environment = super::transaction::environment(connection, &state.environment)?;
    Ok(environment.map(|environment| LockRow {
        environment: state.environment.clone(),
        path: state.path.clone(),
        lock: Lock::default(),
        waiting: 0,
        frozen: environment.frozen.map(|reason| reason.to_string()),
    }))
}

fn lock_row(row: &Row<'_>, name: StateName) -> Sql<LockRow> {
    let environment = row.get::<_, Column<Environment>>(5)?.0;
    Ok(LockRow {
        environment: name.environment,
        path: name.path,
        lock: row.get::<_, Column<Lock>>(2)?.0,
        waiting: row.get(6)?,
        frozen: environment.frozen.map(|reason| reason.to_string()),
    })
}

fn tickets(connection: &Connection, state: &StateName) -> Sql<Vec<Ticket>> {
    let sql =
        "SELECT ticket.meta FROM ticket JOIN name ON name.id = ticket.name WHERE environment = ?1 AND path = ?2 ORDER BY place";
    let mut find = connection.prepare_cached(sql)?;
    let rows = find.query_map([state.environment.as_str(), state.path.as_str()], |row| Ok(row.get::<_, Column<Ticket>>(0)?.0))?;
    rows.collect()
}

fn holdings(connection: &Connection) -> Sql<Rows> {
    let mut held = connection.prepare_cached("SELECT lock FROM name WHERE lock LIKE '%\"holders\"%'")?;
    let held = held.query_map([], |row| Ok(row.get::<_, Column<Lock>>(0)?.0.holders.len() as u64))?;
    let leases = held.sum::<Sql<u64>>()?;
    let sql = "SELECT (SELECT count(*) FROM ticket), revision FROM server WHERE id = 1";
    connection.query_row(sql, [], |row| Ok(Rows::Holdings { leases, tickets: row.get(0)?, revision: Revision(row.get(1)?) }))
}

fn versions(connection: &Connection, state: &StateName, sql: &str, params: impl rusqlite::Params) -> Sql<Rows> {
    let mut find = connection.prepare_cached(sql)?;
    let rows = find.query_map(params, |row| Ok((state.environment.clone(), version(row, state)?)))?;
    Ok(Rows::Versions(rows.collect::<Sql<_>>()?))
}

/// A version whose row stands where it says that it belongs: metadata first, then the number.
fn version(row: &Row<'_>, state: &StateName) -> Sql<VersionMeta> {
    let version = row.get::<_, Column<VersionMeta>>(0)?.0;
    in_place(version.path == state.path && version.version.0 == row.get::<_, u64>(1)?).map(|()| version)
}

fn in_place(is: bool) -> Sql<()> {
    if is { Ok(()) } else { Err(rusqlite::Error::InvalidColumnName("a row says that it belongs elsewhere".to_owned())) }
}
