//! How commands see and change the tables, inside the writer's transaction.

use rusqlite::{Connection, OptionalExtension, params};

use super::columns::{Column, int, json, parse};
use super::{access, audit, keys};
use crate::domain::command::{Command, Needs};
use crate::domain::decision::{Change, DraftUsage, Effect, HEAD_RUN, Reply, Snapshot};
use crate::domain::document::{Content, DraftMeta, VersionMeta};
use crate::domain::environment::Environment;
use crate::domain::event::Recorded;
use crate::domain::ids::{BodyId, DataKeyId, DraftId, Epoch, Revision, TicketId, Version};
use crate::domain::lock::{Lock, Ticket};
use crate::domain::names::{EnvironmentName, StateName};
use crate::domain::refusal::Refusal;
use crate::domain::time::{Context, StoreTime};
use crate::store::transact::{SUPERSEDED, Transaction};

/// The writer's view of its open transaction, and what it has to tell after the commit.
pub(super) struct Work<'c> {
    pub(super) connection: &'c Connection,
    pub(super) revision: Revision,
    pub(super) epoch: Epoch,
    /// The last row of the audit.
    pub(super) audit: u64,
    /// Events of the transaction, to be published after the commit.
    pub(super) events: Vec<Recorded>,
    /// Locks that an unfrozen environment has to look at.
    pub(super) settle_soon: Vec<StateName>,
    /// The row of the command's name, once it is known to exist.
    name: Option<i64>,
}

type Sql<T> = rusqlite::Result<T>;

impl<'c> Work<'c> {
    pub(super) fn new(connection: &'c Connection, revision: Revision, epoch: Epoch, audit: u64) -> Self {
        Self { connection, revision, epoch, audit, events: Vec::new(), settle_soon: Vec::new(), name: None }
    }

    fn run(&self, sql: &str, params: impl rusqlite::Params) -> Sql<usize> {
        self.connection.prepare_cached(sql)?.execute(params)
    }

    fn one<T>(&self, sql: &str, params: impl rusqlite::Params, row: impl FnOnce(&rusqlite::Row<'_>) -> Sql<T>) -> Sql<Option<T>> {
        self.connection.prepare_cached(sql)?.query_row(params, row).optional()
    }
}

impl Transaction for Work<'_> {
    type Error = rusqlite::Error;

    fn load(&mut self, command: &Command, ctx: &Context<'_>) -> Sql<Snapshot> {
        let needs = command.needs();
        self.name = None;
        let mut snapshot = Snapshot { effect: self.effect(command, ctx)?, ..Snapshot::default() };
        let Some(inside) = command.environment() else {
            access::load(self.connection, &needs, &mut snapshot)?;
            return Ok(snapshot);
        };
        snapshot.environment = environment(self.connection, inside)?;
        keys::load(self.connection, inside, &needs, &mut snapshot)?;
        if needs.usage {
            snapshot.usage = self.usage(inside, ctx.now)?;
        }
        let Some(path) = &needs.path else { return Ok(snapshot) };
        let row = self.one(
            "SELECT id, lock, current, deleted FROM name WHERE environment = ?1 AND path = ?2",
            params![inside.as_str(), path.as_str()],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Column<Lock>>(1)?.0, row.get::<_, u64>(2)?, row.get::<_, bool>(3)?)),
        )?;
        let Some((name, lock, current, deleted)) = row else { return Ok(snapshot) };
        (self.name, snapshot.lock) = (Some(name), lock);
        self.load_queue(name, &needs, &mut snapshot, ctx.now)?;
        if needs.head {
            snapshot.current = version(self.connection, name, current)?;
        }
        if let Some(Version(number)) = needs.version {
            snapshot.version = version(self.connection, name, number)?;
        }
        if let Some(DraftId(id)) = needs.draft {
            let sql = "SELECT meta FROM draft WHERE id = ?1 AND name = ?2 AND expires > ?3";
            snapshot.draft = self.one(sql, params![id, name, ctx.now.0], |row| Ok(row.get::<_, Column<DraftMeta>>(0)?.0))?;
        }
        if let Some((lease, digest)) = &needs.keepable {
            let sql = "SELECT meta FROM draft WHERE name = ?1 AND lease = ?2 AND digest = ?3 AND expires > ?4";
            let twin = params![name, json(lease), json(digest), ctx.now.0];
            snapshot.twin = self.one(sql, twin, |row| Ok(row.get::<_, Column<DraftMeta>>(0)?.0))?;
            snapshot.drafts = self.draft_usage(name, ctx.now)?;
        }
        if needs.purgeable {
            let sql = "SELECT count(*) FROM version WHERE name = ?1 AND body IS NOT NULL AND (?2 OR version <> ?3)";
            snapshot.purgeable = self.one(sql, params![name, deleted, current], |row| row.get(0))?.unwrap_or(0);
        }
        Ok(snapshot)
    }

    fn apply(&mut self, command: &Command, change: Change, reply: &Result<Reply, Refusal>, ctx: &Context<'_>) -> Sql<()> {
        match change {
            Change::PutEnvironment(environment) => {
                let sql = "INSERT INTO environment (id, name, meta) VALUES (?1, ?2, ?3)
                    ON CONFLICT (id) DO UPDATE SET meta = excluded.meta";
                self.run(sql, params![environment.id.0, environment.name.as_str(), json(&environment)])?;
            }
            Change::DropEnvironment => self.drop_environment(command.inside())?,
            Change::RaiseEpoch => {
                self.epoch.0 += 1;
                self.run("UPDATE server SET epoch = ?1 WHERE id = 1", [self.epoch.0])?;
            }
            Change::SettleAll => {
                let mut all = self.connection.prepare_cached(
                    "SELECT DISTINCT path FROM name JOIN ticket ON ticket.name = name.id WHERE environment = ?1",
                )?;
                let environment = command.inside();
                for path in all.query_map([environment.as_str()], |row| row.get::<_, String>(0))? {
                    self.settle_soon.push(StateName { environment: environment.clone(), path: parse(path?)? });
                }
            }
            Change::Event(event) => {
                self.revision.0 += 1;
                let path = command.path().map(|path| path.as_str());
                let sql = "INSERT INTO event (revision, wall, environment, path, event) VALUES (?1, ?2, ?3, ?4, ?5)";
                self.run(sql, params![self.revision.0, ctx.wall.0, command.inside().as_str(), path, json(&event)])?;
                let (environment, path) = (command.inside().clone(), command.path().cloned());
                self.events.push(Recorded { revision: self.revision, environment, path, wall: ctx.wall, event });
            }
            Change::Record(entry) => {
                self.audit += 1;
                audit::append(self.connection, self.audit, &entry.line(self.audit, ctx.wall))?;
            }
            Change::PutCheckpoint(checkpoint) => audit::seal(self.connection, &checkpoint)?,
            Change::Remember => {
                if let Some((id, digest)) = command.request {
                    // An effect older than its memory may still be there: the new one takes its place.
                    let sql = "INSERT OR REPLACE INTO request (id, principal, digest, outcome, at) VALUES (?1, ?2, ?3, ?4, ?5)";
                    self.run(sql, params![id.0, command.principal.as_str(), json(&digest), json(reply), ctx.now.0])?;
                }
            }
            Change::PutKeyring(keyring) => keys::put_keyring(self.connection, command.inside(), &keyring)?,
            Change::PutDataKeys(records) => keys::put_wraps(self.connection, command.inside(), &records)?,
            Change::PutBody(document) => keys::put_body(self.connection, command.inside(), *document)?,
            Change::PutValues(ahead) => keys::put_values(self.connection, command.inside(), *ahead)?,
            Change::DropValues { key, most } => keys::drop_values(self.connection, key, most)?,
            Change::DropStaged(key) => keys::drop_staged(self.connection, key)?,
            Change::RetireDataKey(key) => keys::retire(self.connection, key)?,
            Change::DropDataKeys { most } => keys::drop_retired(self.connection, command.inside(), most)?,
            change => {
                let Some(change) = access::apply(self.connection, change)? else { return Ok(()) };
                let name = self.name_row(command)?;
                self.change_name(command.inside(), name, change)?;
            }
        }
        Ok(())
    }
}

impl Work<'_> {
    fn effect(&self, command: &Command, ctx: &Context<'_>) -> Sql<Option<Effect>> {
        let Some((id, _)) = command.request else { return Ok(None) };
        let sql = "SELECT digest, outcome, at FROM request WHERE id = ?1 AND principal = ?2";
        let found = self.one(sql, params![id.0, command.principal.as_str()], |row| {
            let effect = Effect { digest: row.get::<_, Column<_>>(0)?.0, outcome: row.get::<_, Column<_>>(1)?.0 };
            Ok((effect, StoreTime(row.get(2)?)))
        })?;
        Ok(found.filter(|(_, at)| ctx.now.since(*at) < ctx.limits.request_memory).map(|(effect, _)| effect))
    }

    fn load_queue(&self, name: i64, needs: &Needs, snapshot: &mut Snapshot, now: StoreTime) -> Sql<()> {
        let ticket = |row: &rusqlite::Row<'_>| Ok(row.get::<_, Column<Ticket>>(0)?.0);
        let mut head = self.connection.prepare_cached("SELECT meta FROM ticket WHERE name = ?1 ORDER BY place LIMIT ?2")?;
        snapshot.head = head.query_map(params![name, HEAD_RUN], ticket)?.collect::<Sql<_>>()?;
        if snapshot.head.is_empty() {
            return Ok(());
        }
        let waiting = "SELECT count(*) FROM ticket WHERE name = ?1 AND deadline > ?2";
        snapshot.waiting = self.one(waiting, params![name, now.0], |row| row.get(0))?.unwrap_or(0);
        if let Some((principal, session)) = &needs.session {
            let sql = "SELECT meta FROM ticket WHERE name = ?1 AND session = ?2 AND principal = ?3";
            if let Some(own) = self.one(sql, params![name, session.as_str(), principal.as_str()], ticket)? {
                let ahead = "SELECT count(*) FROM ticket WHERE name = ?1 AND place < ?2 AND deadline > ?3";
                let ahead = self.one(ahead, params![name, own.order, now.0], |row| row.get(0))?.unwrap_or(0);
                snapshot.own = Some((own, ahead));
            }
        }
        if let Some(TicketId(id)) = needs.ticket {
            snapshot.ticket = self.one("SELECT meta FROM ticket WHERE name = ?1 AND id = ?2", params![name, int(id)], ticket)?;
        }
        Ok(())
    }

    fn draft_usage(&self, name: i64, now: StoreTime) -> Sql<DraftUsage> {
        let sql = "SELECT count(*), coalesce(sum(stored), 0) FROM draft WHERE name = ?1 AND expires > ?2";
        let (count, bytes) = self.one(sql, params![name, now.0], |row| Ok((row.get(0)?, row.get(1)?)))?.unwrap_or_default();
        let mut superseded = self.connection.prepare_cached(
            "SELECT id, stored FROM draft AS old WHERE name = ?1 AND expires > ?2
             AND EXISTS (SELECT 1 FROM draft AS new WHERE new.name = ?1 AND new.lease = old.lease AND new.seq > old.seq)
             ORDER BY seq LIMIT ?3",
        )?;
        let rows = superseded.query_map(params![name, now.0, SUPERSEDED], |row| Ok((DraftId(row.get(0)?), row.get(1)?)))?;
        let superseded = rows.collect::<Sql<_>>()?;
        Ok(DraftUsage { count, bytes, superseded })
    }

    fn usage(&self, environment: &EnvironmentName, now: StoreTime) -> Sql<(u64, u64)> {
        let mut all =
            self.connection.prepare_cached("SELECT current > 0 AND NOT deleted, lock FROM name WHERE environment = ?1")?;
        let rows = all.query_map([environment.as_str()], |row| Ok((row.get::<_, bool>(0)?, row.get::<_, Column<Lock>>(1)?.0)))?;
        rows.into_iter().try_fold((0, 0), |(states, leases), row| {
            let (state, lock) = row?;
            Ok((states + u64::from(state), leases + u64::from(!lock.seen_at(now).holders.is_empty())))
        })
    }

    fn name_row(&mut self, command: &Command) -> Sql<i64> {
        if let Some(name) = self.name {
            return Ok(name);
        }
        let path = command.path().map_or("", |path| path.as_str());
        let sql = "INSERT INTO name (environment, path) VALUES (?1, ?2)";
        self.run(sql, params![command.inside().as_str(), path])?;
        let name = self.connection.last_insert_rowid();
        self.name = Some(name);
        Ok(name)
    }

    fn change_name(&self, environment: &EnvironmentName, name: i64, change: Change) -> Sql<()> {
        match change {
            Change::PutLock(lock) => {
                self.run("UPDATE name SET lock = ?2 WHERE id = ?1", params![name, json(&lock)])?;
            }
            Change::PutTicket(ticket) => {
                let sql = "INSERT OR REPLACE INTO ticket (name, place, id, principal, session, deadline, meta) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
                let Ticket { order, id, principal, session, deadline, .. } = &ticket;
                self.run(sql, params![name, order, id.0, principal.as_str(), session.as_str(), deadline.0, json(&ticket)])?;
            }
            Change::DropTicket(id) => {
                self.run("DELETE FROM ticket WHERE name = ?1 AND id = ?2", params![name, id.0])?;
            }
            Change::PutVersion(version, content) => self.put_version(environment, name, &version, content)?,
            Change::PurgeVersions(which) => self.purge(name, which)?,
            Change::PutDraft(draft, content) => {
                let lease = json(&(&draft.principal, &draft.session, draft.token));
                let sql = "INSERT INTO draft (name, id, lease, token, digest, body, stored, expires, meta, data_key, ordinals)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
                let DraftMeta { id, token, digest, body, stored_size, expires, .. } = &draft;
                let (token, stored, expires) = (token.0.cast_signed(), int(*stored_size), int(expires.0));
                let (key, ordinals) = (draft.seal.data_key.0, json(&content.ordinals));
                let row = params![name, id.0, lease, token, json(digest), body.0, stored, expires, json(&draft), key, ordinals];
                self.run(sql, row)?;
                keys::keep(self.connection, environment, name, content)?;
            }
            Change::DropDraft(id) => {
                let sql = "DELETE FROM draft WHERE id = ?1 RETURNING body, data_key";
                let gone = self.one(sql, [id.0], |row| Ok((BodyId(row.get(0)?), DataKeyId(row.get(1)?))))?;
                if let Some((body, key)) = gone {
                    drop_body(self.connection, body)?;
                    keys::collect(self.connection, name, key)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn put_version(&self, environment: &EnvironmentName, name: i64, version: &VersionMeta, content: Option<Content>) -> Sql<()> {
        let sql = "INSERT INTO version (name, version, body, meta, data_key, ordinals) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let (body, key) = (version.body.map(|body| body.0), version.seal.map(|seal| seal.data_key.0));
        let ordinals = content.as_ref().map(|content| json(&content.ordinals));
        self.run(sql, params![name, version.version.0, body, json(version), key, ordinals])?;
        let sql = "UPDATE name SET current = ?2, deleted = ?3 WHERE id = ?1";
        self.run(sql, params![name, version.version.0, version.deleted()])?;
        content.map_or(Ok(()), |content| keys::keep(self.connection, environment, name, content))
    }

    fn purge(&self, name: i64, which: Option<Version>) -> Sql<()> {
        let sql =
            "SELECT body, version.meta FROM version JOIN name ON name.id = version.name WHERE name.id = ?1 AND body IS NOT NULL
            AND (version.version = ?2 OR ?2 IS NULL AND (name.deleted OR version.version <> name.current))";
        let mut old = self.connection.prepare_cached(sql)?;
        let rows = old.query_map(params![name, which.map(|which| int(which.0))], |row| {
            Ok((BodyId(row.get(0)?), row.get::<_, Column<VersionMeta>>(1)?.0))
        })?;
        let mut touched = std::collections::BTreeSet::new();
        for (body, version) in rows.collect::<Sql<Vec<_>>>()? {
            let number = version.version.0;
            let gone = VersionMeta { body: None, ..version.clone() };
            self.run(
                "UPDATE version SET body = NULL, ordinals = NULL, meta = ?3 WHERE name = ?1 AND version = ?2",
                params![name, number, json(&gone)],
            )?;
            drop_body(self.connection, body)?;
            touched.extend(version.seal.map(|seal| seal.data_key));
        }
        touched.into_iter().try_for_each(|key| keys::collect(self.connection, name, key))
    }

    fn drop_environment(&self, environment: &EnvironmentName) -> Sql<()> {
        let inside = "name IN (SELECT id FROM name WHERE environment = ?1)";
        let bodies =
            format!("SELECT body FROM version WHERE {inside} AND body IS NOT NULL UNION SELECT body FROM draft WHERE {inside}");
        let data_keys = "data_key IN (SELECT id FROM data_key WHERE environment = ?1)";
        for sql in [
            format!("DELETE FROM chunk WHERE body IN ({bodies})"),
            format!("DELETE FROM chunk WHERE body IN (SELECT body FROM value WHERE body IS NOT NULL AND {data_keys})"),
            format!("DELETE FROM value WHERE {data_keys}"),
            format!("DELETE FROM ground WHERE {data_keys}"),
            "DELETE FROM data_key WHERE environment = ?1".to_owned(),
            "DELETE FROM keyring WHERE environment = ?1".to_owned(),
            format!("DELETE FROM version WHERE {inside}"),
            format!("DELETE FROM draft WHERE {inside}"),
            format!("DELETE FROM ticket WHERE {inside}"),
            "DELETE FROM name WHERE environment = ?1".to_owned(),
            "DELETE FROM environment WHERE name = ?1".to_owned(),
        ] {
            self.connection.execute(&sql, [environment.as_str()])?;
        }
        Ok(())
    }
}

/// An environment, if there is one of that name.
pub(super) fn environment(connection: &Connection, name: &EnvironmentName) -> Sql<Option<Environment>> {
    let mut find = connection.prepare_cached("SELECT meta FROM environment WHERE name = ?1")?;
    find.query_row([name.as_str()], |row| Ok(row.get::<_, Column<Environment>>(0)?.0)).optional()
}

/// One version of a name.
pub(super) fn version(connection: &Connection, name: i64, number: u64) -> Sql<Option<VersionMeta>> {
    let mut find = connection.prepare_cached("SELECT meta FROM version WHERE name = ?1 AND version = ?2")?;
    find.query_row(params![name, int(number)], |row| Ok(row.get::<_, Column<VersionMeta>>(0)?.0)).optional()
}

/// Drops the bytes of a body.
pub(super) fn drop_body(connection: &Connection, body: BodyId) -> Sql<()> {
    for sql in ["DELETE FROM chunk WHERE body = ?1", "DELETE FROM staged WHERE body = ?1"] {
        connection.prepare_cached(sql)?.execute([body.0])?;
    }
    Ok(())
}
