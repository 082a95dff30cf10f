//! Keyrings, data keys and sealed values in the tables.

pub(super) mod row;
#[cfg(test)]
mod tests;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::columns::{Column, int, json, limit as bounded, parse};
use super::transaction::drop_body;
use crate::domain::command::{Ahead, Needs, Resealed};
use crate::domain::decision::{COLLECTED, Left, Snapshot, Under};
use crate::domain::document::{Content, DraftMeta, VersionMeta};
use crate::domain::ids::{BodyId, DataKeyId, StateId};
use crate::domain::names::{EnvironmentName, StateName, StatePath};
use crate::domain::sealing::{DataKeyRecord, Ground, KeyStatus, Keyring, NewValue, Ordinals, SealMeta, StoredValue, Target};
use crate::store::{Document, WhichDocuments, WhichKeys};

type Sql<T> = rusqlite::Result<T>;

/// Loads what a command needs of keys and of what is sealed under them.
pub(super) fn load(connection: &Connection, environment: &EnvironmentName, needs: &Needs, snapshot: &mut Snapshot) -> Sql<()> {
    if needs.keyring {
        snapshot.keyring = keyring(connection, environment)?;
    }
    if needs.left {
        let identity = snapshot.environment.as_ref().map_or(0, |environment| environment.identity);
        let epoch = snapshot.environment.as_ref().map_or(0, |environment| environment.key_epoch);
        snapshot.left = left(connection, environment, identity, epoch)?;
    }
    for state in &needs.grounds {
        snapshot.grounds.push(ground(connection, *state)?);
    }
    for (path, target) in &needs.bodies {
        snapshot.bodies.push(body(connection, environment, path, *target)?);
    }
    for key in &needs.under {
        snapshot.under.push(under(connection, *key)?);
    }
    Ok(())
}

/// Makes a body the store's own: an inline one is put, a staged one is no longer an orphan; with its values, and its key if that is new.
pub(super) fn keep(connection: &Connection, environment: &EnvironmentName, name: i64, content: Content) -> Sql<()> {
    match content.inline {
        Some(pieces) => {
            let mut put = connection.prepare_cached("INSERT INTO chunk (body, n, bytes) VALUES (?1, ?2, ?3)")?;
            for (n, bytes) in pieces.into_iter().enumerate() {
                put.execute(params![content.body.0, n, bytes])?;
            }
        }
        None => adopt(connection, content.body)?,
    }
    keep_values(connection, environment, name, content.new_key.as_ref(), content.ground, content.values)
}

/// Makes sealed values the store's own, and their key if that is new.
fn keep_values(
    connection: &Connection,
    environment: &EnvironmentName,
    name: i64,
    new_key: Option<&DataKeyRecord>,
    ground: Ground,
    values: Vec<NewValue>,
) -> Sql<()> {
    if let Some(key) = new_key {
        let sql = "UPDATE data_key SET status = ?2 WHERE id = (SELECT data_key FROM ground WHERE state = ?1)";
        connection.prepare_cached(sql)?.execute(params![key.state.0, json(&KeyStatus::DecryptOnly)])?;
        let sql = "INSERT INTO data_key (id, environment, name, state, identity, epoch, status, wrapped, digest)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let DataKeyRecord { id, state, identity, epoch, status, wrapped } = key;
        let digest = row::of_data_key(key, environment.as_str(), name);
        let row = params![id.0, environment.as_str(), name, state.0, identity, epoch, json(status), wrapped.0, digest];
        connection.prepare_cached(sql)?.execute(row)?;
    }
    let count = values.len();
    if new_key.is_some() || count > 0 {
        let sql = "INSERT OR REPLACE INTO ground (state, data_key, epoch, next_ordinal, collected) VALUES (?1, ?2, ?3, ?4, ?5)";
        let Ground { state, data_key, epoch, next_ordinal, collected } = ground;
        let next = u64::from(next_ordinal) + count as u64;
        connection.prepare_cached(sql)?.execute(params![state.0, data_key.0, epoch, next, collected])?;
    }
    let sql = "INSERT INTO value (data_key, ordinal, tag, sealed, body) VALUES (?1, ?2, ?3, ?4, ?5)";
    let mut put = connection.prepare_cached(sql)?;
    for value in values {
        let (inline, pieces) = match value.sealed {
            StoredValue::Inline(bytes) => (Some(bytes), None),
            StoredValue::Pieces(body) => {
                adopt(connection, body)?;
                (None, Some(body.0))
            }
        };
        put.execute(params![ground.data_key.0, value.ordinal, value.tag, inline, pieces])?;
    }
    Ok(())
}

/// A body that is not staged any more, or never was, must not become a version without bytes.
fn adopt(connection: &Connection, body: BodyId) -> Sql<()> {
    match connection.prepare_cached("DELETE FROM staged WHERE body = ?1")?.execute([body.0])? {
        0 => Err(rusqlite::Error::QueryReturnedNoRows),
        _ => Ok(()),
    }
}

/// Stores wraps of keys that are there.
pub(super) fn put_wraps(connection: &Connection, environment: &EnvironmentName, records: &[DataKeyRecord]) -> Sql<()> {
    let sql = "UPDATE data_key SET identity = ?3, wrapped = ?4 WHERE id = ?1 AND environment = ?2";
    let mut put = connection.prepare_cached(sql)?;
    records.iter().try_for_each(|record| {
        put.execute(params![record.id.0, environment.as_str(), record.identity, record.wrapped.0]).map(drop)
    })
}

/// Puts another body in the place of a document's.
pub(super) fn put_body(connection: &Connection, environment: &EnvironmentName, document: Resealed) -> Sql<()> {
    let Resealed { path, target, old, content } = document;
    let name = name_of(connection, environment, &path)?;
    let (body, key, ordinals) = (content.body, content.ground.data_key.0, json(&content.ordinals));
    match target {
        Target::Version(number) => {
            let version = super::transaction::version(connection, name, number.0)?;
            let version = version.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            let (seal, digest) = (Some(content.seal), Some(content.digest));
            let meta = VersionMeta { seal, digest, body: Some(body), shown_size: content.shown_size, ..version };
            let sql = "UPDATE version SET body = ?3, meta = ?4, data_key = ?5, ordinals = ?6 WHERE name = ?1 AND version = ?2";
            connection.prepare_cached(sql)?.execute(params![name, int(number.0), body.0, json(&meta), key, ordinals])?;
        }
        Target::Draft(id) => {
            let sql = "SELECT meta FROM draft WHERE id = ?1";
            let draft = connection.prepare_cached(sql)?.query_row([id.0], |row| Ok(row.get::<_, Column<DraftMeta>>(0)?.0))?;
            let seal = SealMeta { mac: content.draft_mac, ..content.seal };
            let (digest, shown_size, stored_size) = (content.digest, content.shown_size, content.stored_size);
            let meta = DraftMeta { seal, digest, shown_size, stored_size, body, ..draft };
            let sql =
                "UPDATE draft SET body = ?2, meta = ?3, data_key = ?4, ordinals = ?5, digest = ?6, stored = ?7 WHERE id = ?1";
            let row = params![id.0, body.0, json(&meta), key, ordinals, json(&content.digest), int(content.stored_size)];
            connection.prepare_cached(sql)?.execute(row)?;
        }
    }
    drop_body(connection, old)?;
    keep(connection, environment, name, content)
}

/// Puts sealed values that no document has yet.
pub(super) fn put_values(connection: &Connection, environment: &EnvironmentName, ahead: Ahead) -> Sql<()> {
    let name = name_of(connection, environment, &ahead.path)?;
    keep_values(connection, environment, name, ahead.new_key.as_ref(), ahead.ground, ahead.values)
}

fn name_of(connection: &Connection, environment: &EnvironmentName, path: &StatePath) -> Sql<i64> {
    let sql = "SELECT id FROM name WHERE environment = ?1 AND path = ?2";
    connection.prepare_cached(sql)?.query_row([environment.as_str(), path.as_str()], |row| row.get(0))
}

/// Drops uploads under a key that nothing refers to.
pub(super) fn drop_staged(connection: &Connection, key: DataKeyId) -> Sql<()> {
    let sql = "DELETE FROM chunk WHERE body IN (SELECT body FROM staged WHERE data_key = ?1)";
    connection.prepare_cached(sql)?.execute([key.0])?;
    connection.prepare_cached("DELETE FROM staged WHERE data_key = ?1")?.execute([key.0]).map(drop)
}

/// Whether a key is retired: nothing new comes under it.
pub(super) fn is_retired(connection: &Connection, key: DataKeyId) -> Sql<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM data_key WHERE id = ?1 AND status = ?2)";
    connection.prepare_cached(sql)?.query_row(params![key.0, json(&KeyStatus::Retired)], |row| row.get(0))
}

/// Drops sealed values of a key.
pub(super) fn drop_values(connection: &Connection, key: DataKeyId, most: u64) -> Sql<()> {
    let sql = "SELECT ordinal, body FROM value WHERE data_key = ?1 LIMIT ?2";
    let mut find = connection.prepare_cached(sql)?;
    let rows =
        find.query_map(params![key.0, int(most)], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, Option<[u8; 16]>>(1)?)))?;
    let rows = rows.collect::<Sql<Vec<_>>>()?;
    drop_rows(connection, key, rows)
}

fn drop_rows(connection: &Connection, key: DataKeyId, rows: Vec<(u32, Option<[u8; 16]>)>) -> Sql<()> {
    for (ordinal, body) in rows {
        body.map_or(Ok(()), |body| drop_body(connection, BodyId(body)))?;
        connection.prepare_cached("DELETE FROM value WHERE data_key = ?1 AND ordinal = ?2")?.execute(params![key.0, ordinal])?;
    }
    Ok(())
}

/// Retires a key.
pub(super) fn retire(connection: &Connection, key: DataKeyId) -> Sql<()> {
    connection
        .prepare_cached("UPDATE data_key SET status = ?2 WHERE id = ?1")?
        .execute(params![key.0, json(&KeyStatus::Retired)])
        .map(drop)
}

/// Drops the first retired keys of an environment, and what was sealed on them.
pub(super) fn drop_retired(connection: &Connection, environment: &EnvironmentName, most: u64) -> Sql<()> {
    let sql = "SELECT id, state FROM data_key WHERE environment = ?1 AND status = ?2 ORDER BY id LIMIT ?3";
    let mut find = connection.prepare_cached(sql)?;
    let read = |row: &Row<'_>| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, [u8; 16]>(1)?));
    let retired = find.query_map(params![environment.as_str(), json(&KeyStatus::Retired), int(most)], read)?;
    for (key, state) in retired.collect::<Sql<Vec<_>>>()? {
        connection.prepare_cached("DELETE FROM ground WHERE state = ?1 AND data_key = ?2")?.execute([state, key])?;
        connection.prepare_cached("DELETE FROM data_key WHERE id = ?1")?.execute([key])?;
    }
    Ok(())
}

/// Drops the sealed values of a key that no document has any more, after one has gone. What was found before may be gone then.
pub(super) fn collect(connection: &Connection, name: i64, key: DataKeyId) -> Sql<()> {
    let sql = "SELECT ordinals FROM version WHERE name = ?1 AND data_key = ?2 AND body IS NOT NULL
        UNION ALL SELECT ordinals FROM draft WHERE name = ?1 AND data_key = ?2";
    let mut find = connection.prepare_cached(sql)?;
    let live = find.query_map(params![name, key.0], |row| Ok(row.get::<_, Column<Ordinals>>(0)?.0))?;
    let live = live.collect::<Sql<Vec<_>>>()?;
    let mut all = connection.prepare_cached("SELECT ordinal, body FROM value WHERE data_key = ?1")?;
    let all = all.query_map([key.0], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, Option<[u8; 16]>>(1)?)))?;
    let mut gone = all.collect::<Sql<Vec<_>>>()?;
    gone.retain(|(ordinal, _)| !live.iter().any(|ordinals| ordinals.contains(*ordinal)));
    if gone.is_empty() {
        return Ok(());
    }
    let sql = "UPDATE ground SET collected = collected + 1
        WHERE state = (SELECT state FROM data_key WHERE id = ?1) AND data_key = ?1";
    connection.prepare_cached(sql)?.execute([key.0])?;
    drop_rows(connection, key, gone)
}

/// The keyring of an environment.
pub(super) fn keyring(connection: &Connection, environment: &EnvironmentName) -> Sql<Option<Keyring>> {
    let mut find = connection.prepare_cached("SELECT meta, digest FROM keyring WHERE environment = ?1")?;
    let read = |row: &Row<'_>| {
        let (meta, digest): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
        row::keyring(environment.as_str(), &meta, &digest).map_err(|error| row::failure(1, error))
    };
    find.query_row([environment.as_str()], read).optional()
}

/// Puts the keyring of an environment.
pub(super) fn put_keyring(connection: &Connection, environment: &EnvironmentName, keyring: &Keyring) -> Sql<()> {
    let (name, meta) = (environment.as_str(), json(keyring));
    let sql = "INSERT OR REPLACE INTO keyring (environment, meta, digest) VALUES (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute(params![name, meta, row::of_keyring(name, &meta)]).map(drop)
}

/// What a state is sealed on.
pub(super) fn ground(connection: &Connection, state: StateId) -> Sql<Option<Ground>> {
    let sql = "SELECT data_key, epoch, next_ordinal, collected FROM ground WHERE state = ?1";
    let read = |row: &Row<'_>| {
        let (data_key, epoch) = (DataKeyId(row.get(0)?), row.get(1)?);
        Ok(Ground { state, data_key, epoch, next_ordinal: row.get(2)?, collected: row.get(3)? })
    };
    connection.prepare_cached(sql)?.query_row([state.0], read).optional()
}

/// The state that drafts under a name are of, while it has no version.
pub(super) fn begun(connection: &Connection, state: &StateName, gone: Option<StateId>) -> Sql<Option<StateId>> {
    let sql = "SELECT data_key.state FROM name JOIN data_key ON data_key.name = name.id
        WHERE name.environment = ?1 AND name.path = ?2 AND data_key.state IS NOT ?3
        AND EXISTS (SELECT 1 FROM draft WHERE draft.name = name.id AND draft.data_key = data_key.id)
        AND NOT EXISTS (SELECT 1 FROM version WHERE version.name = name.id
            AND json_extract(version.meta, '$.state') = lower(hex(data_key.state))) LIMIT 1";
    let row = params![state.environment.as_str(), state.path.as_str(), gone.map(|gone| gone.0)];
    connection.prepare_cached(sql)?.query_row(row, |row| row.get(0).map(StateId)).optional()
}

fn body(connection: &Connection, environment: &EnvironmentName, path: &StatePath, target: Target) -> Sql<Option<BodyId>> {
    let name = "name = (SELECT id FROM name WHERE environment = ?1 AND path = ?2)";
    let found: Option<Option<[u8; 16]>> = match target {
        Target::Version(number) => connection
            .prepare_cached(&format!("SELECT body FROM version WHERE {name} AND version = ?3"))?
            .query_row(params![environment.as_str(), path.as_str(), int(number.0)], |row| row.get(0))
            .optional()?,
        Target::Draft(id) => connection
            .prepare_cached(&format!("SELECT body FROM draft WHERE {name} AND id = ?3"))?
            .query_row(params![environment.as_str(), path.as_str(), id.0], |row| row.get(0))
            .optional()?,
    };
    Ok(found.flatten().map(BodyId))
}

/// One data key.
pub(super) fn data_key(connection: &Connection, id: DataKeyId) -> Sql<Option<DataKeyRecord>> {
    Ok(data_key_and_name(connection, id)?.map(|(record, _)| record))
}

fn data_key_and_name(connection: &Connection, id: DataKeyId) -> Sql<Option<(DataKeyRecord, i64)>> {
    let sql = format!("SELECT {} FROM data_key WHERE id = ?1", row::DATA_KEY);
    connection.prepare_cached(&sql)?.query_row([id.0], row::data_key).optional()
}

/// Data keys of an environment, by id.
pub(super) fn data_keys(
    connection: &Connection,
    environment: &EnvironmentName,
    which: WhichKeys,
    after: Option<DataKeyId>,
    limit: usize,
) -> Sql<Vec<DataKeyRecord>> {
    let retired = json(&KeyStatus::Retired);
    let (condition, number) = match which {
        WhichKeys::All => ("?4 = ?4 AND ?5 = ?5", 0),
        WhichKeys::NotUnder(identity) => ("identity <> ?4 AND ?5 = ?5", identity),
        WhichKeys::Before(epoch) => ("epoch < ?4 AND status <> ?5", epoch),
    };
    let sql =
        format!("SELECT {} FROM data_key WHERE environment = ?1 AND id > ?2 AND {condition} ORDER BY id LIMIT ?3", row::DATA_KEY);
    let after = after.map_or_else(Vec::new, |after| after.0.to_vec());
    let mut find = connection.prepare_cached(&sql)?;
    let read = |row: &Row<'_>| Ok(row::data_key(row)?.0);
    find.query_map(params![environment.as_str(), after, bounded(limit), number, retired], read)?.collect()
}

/// How many data keys are where in their life.
pub(super) fn left(connection: &Connection, environment: &EnvironmentName, identity: u32, epoch: u32) -> Sql<Left> {
    let sql = "SELECT count(*), coalesce(sum(identity <> ?2), 0), coalesce(sum(epoch < ?3 AND status <> ?4), 0),
        coalesce(sum(status = ?4), 0) FROM data_key WHERE environment = ?1";
    let row = params![environment.as_str(), identity, epoch, json(&KeyStatus::Retired)];
    let read = |row: &Row<'_>| {
        let (keys, old_identity) = (row.get(0)?, row.get(1)?);
        Ok(Left { keys, old_identity, old_epoch: row.get(2)?, retired: row.get(3)? })
    };
    connection.prepare_cached(sql)?.query_row(row, read)
}

fn under(connection: &Connection, key: DataKeyId) -> Sql<Option<Under>> {
    let Some((record, name)) = data_key_and_name(connection, key)? else { return Ok(None) };
    if record.is_altered() {
        return Ok(None);
    }
    let epoch = record.epoch;
    let sql = "SELECT (SELECT count(*) FROM version WHERE name = ?1 AND data_key = ?2 AND body IS NOT NULL)
        + (SELECT count(*) FROM draft WHERE name = ?1 AND data_key = ?2), (SELECT count(*) FROM staged WHERE data_key = ?2),
        (SELECT count(*) FROM (SELECT 1 FROM value WHERE data_key = ?2 LIMIT ?3))";
    let read = |row: &Row<'_>| Ok(Under { epoch, documents: row.get(0)?, staged: row.get(1)?, values: row.get(2)? });
    connection.prepare_cached(sql)?.query_row(params![name, key.0, COLLECTED + 1], read).map(Some)
}

/// The ordinals of sealed values by their tags.
pub(super) fn ordinals(connection: &Connection, key: DataKeyId, tags: &[[u8; 24]]) -> Sql<Vec<Option<u32>>> {
    let mut find = connection.prepare_cached("SELECT ordinal FROM value WHERE data_key = ?1 AND tag = ?2")?;
    tags.iter().map(|tag| find.query_row(params![key.0, tag], |row| row.get(0)).optional()).collect()
}

/// Sealed values by their ordinals.
pub(super) fn values(connection: &Connection, key: DataKeyId, ordinals: &[u32]) -> Sql<Vec<Option<StoredValue>>> {
    let mut find = connection.prepare_cached("SELECT sealed, body FROM value WHERE data_key = ?1 AND ordinal = ?2")?;
    let read = |row: &Row<'_>| {
        Ok(match row.get::<_, Option<Vec<u8>>>(0)? {
            Some(bytes) => StoredValue::Inline(bytes),
            None => StoredValue::Pieces(BodyId(row.get(1)?)),
        })
    };
    ordinals.iter().map(|ordinal| find.query_row(params![key.0, ordinal], read).optional()).collect()
}

/// Versions and drafts with bytes, by path.
pub(super) fn documents(
    connection: &Connection,
    environment: &EnvironmentName,
    which: WhichDocuments,
    after: Option<&StatePath>,
    limit: usize,
) -> Sql<Vec<(StatePath, Document)>> {
    let sql = "SELECT id, path FROM name WHERE environment = ?1 AND path > ?2
        AND (current > 0 OR EXISTS (SELECT 1 FROM draft WHERE draft.name = name.id)) ORDER BY path";
    let mut names = connection.prepare_cached(sql)?;
    let mut rows = names.query(params![environment.as_str(), after.map_or("", |path| path.as_str())])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (name, path): (i64, StatePath) = (row.get(0)?, parse(row.get(1)?)?);
        let before = found.len();
        named(connection, name, which, &path, &mut found)?;
        if found.len() > before && found.len() >= limit {
            break;
        }
    }
    Ok(found)
}

fn named(
    connection: &Connection,
    name: i64,
    which: WhichDocuments,
    path: &StatePath,
    found: &mut Vec<(StatePath, Document)>,
) -> Sql<()> {
    // Of a state that has no old key nothing needs to be looked at. The plus keeps SQLite from the index over all keys of the environment.
    let (condition, number) = match which {
        WhichDocuments::Before(epoch) => (
            "data_key IN (SELECT id FROM data_key WHERE name = ?1 AND +environment = (SELECT environment FROM name WHERE id = ?1) AND epoch < ?2)",
            epoch,
        ),
        WhichDocuments::All | WhichDocuments::OtherRules(..) => ("?2 = ?2", 0),
    };
    let other_rules = |seal: &SealMeta| match which {
        WhichDocuments::OtherRules(shipped, own) => seal.rules != (shipped, own),
        WhichDocuments::All | WhichDocuments::Before(_) => true,
    };
    let sql = format!("SELECT meta FROM version WHERE name = ?1 AND body IS NOT NULL AND {condition} ORDER BY version DESC");
    let mut find = connection.prepare_cached(&sql)?;
    for version in find.query_map(params![name, number], |row| Ok(row.get::<_, Column<VersionMeta>>(0)?.0))? {
        let version = version?;
        if version.seal.as_ref().is_some_and(other_rules) {
            found.push((path.clone(), Document::Version(version)));
        }
    }
    let sql = format!("SELECT meta FROM draft WHERE name = ?1 AND {condition} ORDER BY seq");
    let mut find = connection.prepare_cached(&sql)?;
    for draft in find.query_map(params![name, number], |row| Ok(row.get::<_, Column<DraftMeta>>(0)?.0))? {
        let draft = draft?;
        if other_rules(&draft.seal) {
            found.push((path.clone(), Document::Draft(draft)));
        }
    }
    Ok(())
}

/// How many documents with bytes, and how many sealed values.
pub(super) fn census(connection: &Connection, environment: &EnvironmentName) -> Sql<(u64, u64)> {
    let sql =
        "SELECT (SELECT count(*) FROM name JOIN version ON version.name = name.id WHERE environment = ?1 AND body IS NOT NULL)
        + (SELECT count(*) FROM name JOIN draft ON draft.name = name.id WHERE environment = ?1),
        (SELECT count(*) FROM data_key JOIN value ON value.data_key = data_key.id WHERE environment = ?1)";
    connection.prepare_cached(sql)?.query_row([environment.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
}
