//! The tables of the memory engine, and how commands see and change them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;

use super::access::AccessTables;
use super::keys::Keys;
use crate::domain::audit::Checkpoint;
use crate::domain::command::Command;
use crate::domain::decision::{Change, DraftUsage, Effect, HEAD_RUN, Reply, Snapshot};
use crate::domain::document::{DraftMeta, VersionMeta};
use crate::domain::environment::Environment;
use crate::domain::event::Recorded;
use crate::domain::ids::{BodyId, DataKeyId, Epoch, HistoryId, RequestId, Revision, Version};
use crate::domain::lock::{Lock, Ticket};
use crate::domain::names::{EnvironmentName, Principal, StateName, StatePath};
use crate::domain::refusal::Refusal;
use crate::domain::time::{Context, StoreTime};
use crate::store::Head;
use crate::store::transact::{SUPERSEDED, Transaction};

#[derive(Default)]
pub(super) struct Tables {
    pub(super) history: HistoryId,
    pub(super) epoch: Epoch,
    pub(super) beat: StoreTime,
    pub(super) environments: BTreeMap<EnvironmentName, Environment>,
    pub(super) names: BTreeMap<StateName, Name>,
    pub(super) bodies: HashMap<BodyId, BTreeMap<u32, Vec<u8>>>,
    /// Bodies on their way in, that nothing refers to yet.
    pub(super) staged: HashMap<BodyId, DataKeyId>,
    pub(super) events: Vec<Recorded>,
    pub(super) effects: HashMap<(RequestId, Principal), (StoreTime, Effect)>,
    pub(super) settle_soon: Vec<StateName>,
    pub(super) keys: Keys,
    pub(super) access: AccessTables,
    /// The rows of the audit: entry n at n - 1.
    pub(super) audit: Vec<String>,
    pub(super) checkpoints: Vec<Checkpoint>,
}

/// Everything under one name.
#[derive(Default)]
pub(super) struct Name {
    pub(super) lock: Lock,
    pub(super) tickets: BTreeMap<i64, Ticket>,
    pub(super) versions: BTreeMap<Version, VersionMeta>,
    pub(super) drafts: Vec<DraftMeta>,
}

impl Tables {
    pub(super) fn head(&self) -> Head {
        let revision = self.events.last().map(|event| event.revision).unwrap_or_default();
        Head { history: self.history, revision, audit: self.audit.len() as u64, trimmed: Revision(0), failed: false }
    }

    /// Uploads that were under way end with the server that took them.
    pub(super) fn drop_staged(&mut self) {
        for (body, _) in self.staged.drain() {
            self.bodies.remove(&body);
        }
    }

    /// Drafts past their life go.
    pub(super) fn sweep(&mut self, now: StoreTime) {
        let mut gone = Vec::new();
        for (state, name) in &self.names {
            gone.extend(name.drafts.iter().filter(|draft| draft.expires <= now).map(|draft| (state.clone(), draft.id)));
        }
        gone.into_iter().for_each(|(state, id)| self.drop_draft(&state, id));
    }

    pub(super) fn lock_names(&self) -> Vec<StateName> {
        self.names.keys().cloned().collect()
    }
}

impl Name {
    pub(super) fn waiting(&self, now: StoreTime) -> u32 {
        count(self.tickets.values().filter(|ticket| now < ticket.deadline).count())
    }

    /// Drafts in the order in which they were kept.
    pub(super) fn drafts(&self, now: StoreTime) -> impl DoubleEndedIterator<Item = &DraftMeta> {
        self.drafts.iter().filter(move |draft| now < draft.expires)
    }

    fn usage(&self, now: StoreTime) -> DraftUsage {
        let last = |draft: &DraftMeta| self.drafts.iter().rfind(|other| lease(other) == lease(draft)).map(|other| other.id);
        DraftUsage {
            count: count(self.drafts(now).count()),
            bytes: self.drafts(now).map(|draft| draft.stored_size).sum(),
            superseded: self
                .drafts(now)
                .filter(|draft| last(draft) != Some(draft.id))
                .map(|draft| (draft.id, draft.stored_size))
                .take(SUPERSEDED)
                .collect(),
        }
    }
}

/// The tables, in a transaction: nothing here fails, so nothing is ever rolled back.
pub(super) struct Work<'a> {
    pub(super) tables: &'a mut Tables,
}

impl Transaction for Work<'_> {
    type Error = Infallible;

    fn load(&mut self, command: &Command, ctx: &Context<'_>) -> Result<Snapshot, Infallible> {
        let (needs, now) = (command.needs(), ctx.now);
        let effect = command.request.and_then(|(id, _)| {
            let (at, effect) = self.tables.effects.get(&(id, command.principal.clone()))?;
            (now.since(*at) < ctx.limits.request_memory).then(|| effect.clone())
        });
        let mut snapshot = Snapshot { effect, ..Snapshot::default() };
        let Some(inside) = command.environment() else {
            self.tables.access.load(&needs, &mut snapshot);
            return Ok(snapshot);
        };
        snapshot.environment = self.tables.environments.get(inside).cloned();
        self.tables.load_keys(inside, &needs, &mut snapshot);
        if needs.usage {
            let inside = self.tables.names.iter().filter(|(name, _)| name.environment == *command.inside());
            for (_, name) in inside {
                snapshot.usage.0 += u64::from(name.versions.values().last().is_some_and(|last| !last.deleted()));
                snapshot.usage.1 += u64::from(!name.lock.clone().seen_at(now).holders.is_empty());
            }
        }
        let Some(path) = needs.path else { return Ok(snapshot) };
        let state = StateName { environment: command.inside().clone(), path };
        let Some(name) = self.tables.names.get(&state) else { return Ok(snapshot) };
        snapshot.lock = name.lock.clone();
        snapshot.head = name.tickets.values().take(HEAD_RUN).cloned().collect();
        snapshot.waiting = name.waiting(now);
        snapshot.own = needs.session.and_then(|(principal, session)| {
            let mine = |ticket: &&Ticket| ticket.principal == principal && ticket.session == session;
            let own = name.tickets.values().find(mine)?.clone();
            let ahead = name.tickets.range(..own.order).filter(|(_, ticket)| now < ticket.deadline).count();
            Some((own, count(ahead)))
        });
        snapshot.ticket = needs.ticket.and_then(|id| name.tickets.values().find(|ticket| ticket.id == id).cloned());
        snapshot.current = name.versions.values().last().filter(|_| needs.head).cloned();
        snapshot.version = needs.version.and_then(|version| name.versions.get(&version).cloned());
        snapshot.draft = needs.draft.and_then(|id| name.drafts(now).find(|draft| draft.id == id).cloned());
        if let Some(((principal, session, token), digest)) = needs.keepable {
            let twin = |draft: &&DraftMeta| lease(draft) == (&principal, &session, token) && draft.digest == digest;
            snapshot.twin = name.drafts(now).find(twin).cloned();
            snapshot.drafts = name.usage(now);
        }
        if needs.purgeable {
            let gone = name.versions.values().last().is_some_and(VersionMeta::deleted);
            let current = name.versions.keys().last().copied();
            let old = |version: &&VersionMeta| version.body.is_some() && (gone || Some(version.version) != current);
            snapshot.purgeable = u64::from(count(name.versions.values().filter(old).count()));
        }
        Ok(snapshot)
    }

    fn apply(
        &mut self,
        command: &Command,
        change: Change,
        reply: &Result<Reply, Refusal>,
        ctx: &Context<'_>,
    ) -> Result<(), Infallible> {
        match change {
            Change::PutEnvironment(environment) => {
                self.tables.environments.insert(environment.name.clone(), environment);
            }
            Change::DropEnvironment => self.drop_environment(command.inside()),
            Change::RaiseEpoch => self.tables.epoch.0 += 1,
            Change::SettleAll => {
                let inside = self.tables.names.keys().filter(|name| name.environment == *command.inside());
                let inside: Vec<_> = inside.cloned().collect();
                self.tables.settle_soon.extend(inside);
            }
            Change::Event(event) => {
                let revision = Revision(self.tables.head().revision.0 + 1);
                let (environment, path) = (command.inside().clone(), command.path().cloned());
                self.tables.events.push(Recorded { revision, environment, path, wall: ctx.wall, event });
            }
            Change::Record(entry) => {
                let n = self.tables.audit.len() as u64 + 1;
                self.tables.audit.push(entry.line(n, ctx.wall));
            }
            Change::PutCheckpoint(checkpoint) => self.tables.checkpoints.push(checkpoint),
            Change::Remember => {
                if let Some((id, digest)) = command.request {
                    let effect = Effect { digest, outcome: reply.clone() };
                    self.tables.effects.insert((id, command.principal.clone()), (ctx.now, effect));
                }
            }
            Change::PutKeyring(keyring) => {
                self.tables.keys.rings.insert(command.inside().clone(), *keyring);
            }
            Change::PutDataKeys(records) => self.tables.keys.put_wraps(records),
            Change::PutBody(document) => self.tables.put_body(command.inside(), *document),
            Change::PutValues(ahead) => self.tables.put_values(command.inside(), *ahead),
            Change::DropValues { key, most } => self.tables.drop_values(key, most),
            Change::DropStaged(key) => self.tables.drop_staged_under(key),
            Change::RetireDataKey(key) => self.tables.keys.retire(key),
            Change::DropDataKeys { most } => self.tables.keys.drop_retired(command.inside(), most),
            other => {
                let Some(other) = self.tables.access.apply(other) else { return Ok(()) };
                if let Some(path) = command.path() {
                    self.change_name(command.inside(), path, other);
                }
            }
        }
        Ok(())
    }
}

impl Work<'_> {
    fn change_name(&mut self, environment: &EnvironmentName, path: &StatePath, change: Change) {
        let state = StateName { environment: environment.clone(), path: path.clone() };
        let name = self.tables.names.entry(state.clone()).or_default();
        match change {
            Change::PutLock(lock) => name.lock = lock,
            Change::PutTicket(ticket) => {
                // A dead one of the same session may still stand somewhere behind the head run.
                let other = |old: &Ticket| (&old.principal, &old.session) != (&ticket.principal, &ticket.session);
                name.tickets.retain(|_, old| other(old));
                name.tickets.insert(ticket.order, ticket);
            }
            Change::DropTicket(id) => name.tickets.retain(|_, ticket| ticket.id != id),
            Change::PutVersion(version, content) => {
                name.versions.insert(version.version, version);
                content.into_iter().for_each(|content| self.tables.keep(&state, content));
            }
            Change::PutDraft(draft, content) => {
                name.drafts.push(draft);
                self.tables.keep(&state, content);
            }
            Change::DropDraft(id) => self.tables.drop_draft(&state, id),
            Change::PurgeVersions(which) => {
                let gone = name.versions.values().last().is_some_and(VersionMeta::deleted);
                let current = name.versions.keys().last().copied();
                let mut touched = HashSet::new();
                for (number, version) in &mut name.versions {
                    if which.map_or(gone || Some(*number) != current, |which| which == *number)
                        && let Some(body) = version.body.take()
                    {
                        self.tables.bodies.remove(&body);
                        touched.extend(version.seal.map(|seal| seal.data_key));
                    }
                }
                touched.into_iter().for_each(|key| self.tables.collect(&state, key));
            }
            _ => {}
        }
    }

    fn drop_environment(&mut self, environment: &EnvironmentName) {
        self.tables.environments.remove(environment);
        self.tables.drop_keys(environment);
        let (gone, kept) =
            std::mem::take(&mut self.tables.names).into_iter().partition(|(name, _)| name.environment == *environment);
        self.tables.names = kept;
        let gone: BTreeMap<StateName, Name> = gone;
        for name in gone.into_values() {
            let versions = name.versions.into_values().filter_map(|version| version.body);
            versions.chain(name.drafts.into_iter().map(|draft| draft.body)).for_each(|body| {
                self.tables.bodies.remove(&body);
            });
        }
    }
}

fn lease(draft: &DraftMeta) -> (&Principal, &crate::domain::names::Session, crate::domain::ids::Token) {
    (&draft.principal, &draft.session, draft.token)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
