//! Grants and tokens in their tables.

use rusqlite::{Connection, OptionalExtension, params};

use super::columns::{Column, json};
use crate::domain::access::{Grant, TokenRecord};
use crate::domain::command::Needs;
use crate::domain::decision::{Change, Snapshot};
use crate::domain::time::WallTime;
use crate::store::Rows;

type Sql<T> = rusqlite::Result<T>;

/// What a command about access needs to see.
pub(super) fn load(connection: &Connection, needs: &Needs, snapshot: &mut Snapshot) -> Sql<()> {
    if let Some(name) = &needs.token {
        let mut found = connection.prepare_cached("SELECT meta, used FROM api_token WHERE name = ?1")?;
        snapshot.token = found.query_row([name.as_str()], token).optional()?;
    }
    if let Some(credential) = &needs.exchanged {
        let mut found = connection.prepare_cached("SELECT 1 FROM api_token WHERE exchanged = ?1")?;
        snapshot.exchanged = found.exists([json(credential)])?;
    }
    if let Some(id) = &needs.grant {
        let mut found = connection.prepare_cached("SELECT meta FROM access_grant WHERE id = ?1")?;
        snapshot.grant = found.query_row([id.0], |row| Ok(row.get::<_, Column<Grant>>(0)?.0)).optional()?;
    }
    Ok(())
}

/// Makes a change of access; gives other changes back.
pub(super) fn apply(connection: &Connection, change: Change) -> Sql<Option<Change>> {
    let run = |sql: &str, params: &[&dyn rusqlite::ToSql]| connection.prepare_cached(sql)?.execute(params).map(drop);
    match change {
        Change::PutToken(token) => {
            let sql = "INSERT INTO api_token (name, hash, exchanged, expires, used, meta) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                ON CONFLICT (name) DO UPDATE SET hash = excluded.hash, expires = excluded.expires, meta = excluded.meta";
            let (expires, used) = (token.expires.map(|at| at.0), token.used.map(|at| at.0));
            let exchanged = token.exchanged.as_ref().map(json);
            run(sql, params![token.name.as_str(), json(&token.hash), exchanged, expires, used, json(&token)])?;
        }
        Change::PutGrant(grant) => {
            let sql = "INSERT OR REPLACE INTO access_grant (id, subject, meta) VALUES (?1, ?2, ?3)";
            run(sql, params![grant.id.0, grant.to.as_str(), json(&grant)])?;
        }
        Change::DropGrant(id) => run("DELETE FROM access_grant WHERE id = ?1", params![id.0])?,
        Change::DropGrantsTo(subject) => run("DELETE FROM access_grant WHERE subject = ?1", params![subject.as_str()])?,
        Change::TokensUsed(tokens) => {
            for (name, at) in tokens {
                run("UPDATE api_token SET used = ?2 WHERE name = ?1", params![name.as_str(), at.0])?;
            }
        }
        Change::ForgetTokens(before) => {
            let sql = "DELETE FROM api_token WHERE expires < ?1 AND (exchanged IS NOT NULL OR name GLOB
                'x-[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]')";
            run(sql, params![before.0])?;
        }
        other => return Ok(Some(other)),
    }
    Ok(None)
}

/// All of it.
pub(super) fn select(connection: &Connection) -> Sql<Rows> {
    let mut grants = connection.prepare_cached("SELECT meta FROM access_grant ORDER BY id")?;
    let grants = grants.query_map([], |row| Ok(row.get::<_, Column<Grant>>(0)?.0))?.collect::<Sql<_>>()?;
    let mut tokens = connection.prepare_cached("SELECT meta, used FROM api_token ORDER BY name")?;
    let tokens = tokens.query_map([], token)?.collect::<Sql<_>>()?;
    Ok(Rows::Access(grants, tokens))
}

fn token(row: &rusqlite::Row<'_>) -> Sql<TokenRecord> {
    let used = row.get::<_, Option<i64>>(1)?.map(WallTime);
    Ok(TokenRecord { used, ..row.get::<_, Column<TokenRecord>>(0)?.0 })
}
