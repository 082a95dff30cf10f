//! Reading the memory engine's tables.

use super::tables::{Name, Tables};
use crate::domain::document::VersionMeta;
use crate::domain::names::{EnvironmentName, Prefix, StateName};
use crate::domain::time::StoreTime;
use crate::store::{LockRow, Query, Rows};

impl Tables {
    pub(super) fn select(&self, query: &Query, now: StoreTime) -> Rows {
        match query {
            Query::Environments(which) => {
                let wanted = |name: &EnvironmentName| which.as_ref().is_none_or(|which| which == name);
                let rows = self.environments.iter().filter(|(name, _)| wanted(name));
                Rows::Environments(rows.map(|(name, environment)| (environment.clone(), self.states_in(name))).collect())
            }
            Query::Lock(state) => {
                let exists = self.environments.contains_key(&state.environment);
                let fresh = Name::default();
                let name = self.names.get(state).unwrap_or(&fresh);
                Rows::Locks(exists.then(|| self.lock_row(state, name, now)).into_iter().collect(), now)
            }
            Query::Locks { prefix, all, after, limit } => {
                let rows = self.after(after.as_ref(), prefix).map(|(state, name)| self.lock_row(state, name, now));
                Rows::Locks(rows.filter(|row| *all || row.busy(now)).take(*limit).collect(), now)
            }
            Query::Tickets(state) => {
                let tickets = self.names.get(state).map(|name| name.tickets.values().cloned().collect());
                Rows::Tickets(tickets.unwrap_or_default(), now)
            }
            Query::Holdings => {
                let count = |of: fn(&Name) -> usize| self.names.values().map(|name| of(name) as u64).sum();
                let (leases, tickets) = (count(|name| name.lock.holders.len()), count(|name| name.tickets.len()));
                Rows::Holdings { leases, tickets, revision: self.head().revision }
            }
            Query::States { prefix, deleted, after, limit } => {
                let current = |(state, name): (&StateName, &Name)| {
                    Some((state.environment.clone(), name.versions.values().last()?.clone()))
                };
                let rows = self.after(after.as_ref(), prefix).filter_map(current);
                Rows::Versions(rows.filter(|(_, version)| *deleted || !version.deleted()).take(*limit).collect())
            }
            Query::Version(state, version) => {
                let find = |name: &Name| match version {
                    Some(version) => name.versions.get(version).cloned(),
                    None => name.versions.values().last().cloned(),
                };
                self.versions(state, self.names.get(state).and_then(find))
            }
            Query::History { state, before, limit } => {
                let below = |version: &&VersionMeta| before.is_none_or(|before| version.version < before);
                let rows = self.names.get(state).into_iter().flat_map(|name| name.versions.values().rev());
                self.versions(state, rows.filter(below).take(*limit).cloned())
            }
            Query::Drafts(state, which) => {
                let rows = self.names.get(state).into_iter().flat_map(|name| name.drafts(now).rev());
                let live = rows.filter(|draft| which.is_none_or(|id| id == draft.id));
                Rows::Drafts(live.cloned().collect())
            }
            Query::Access => {
                Rows::Access(self.access.grants.values().cloned().collect(), self.access.tokens.values().cloned().collect())
            }
            Query::Audit { after, limit } => {
                let rows = (1..).zip(&self.audit).skip(usize::try_from(*after).unwrap_or(usize::MAX)).take(*limit);
                Rows::Audit(rows.map(|(n, line)| (n, line.clone())).collect())
            }
            Query::Checkpoint(at) => {
                let last = self.checkpoints.iter().rfind(|checkpoint| at.is_none_or(|at| checkpoint.n <= at));
                Rows::Checkpoints(last.cloned().into_iter().collect())
            }
            Query::Checkpoints { after, limit } => {
                let rows = self.checkpoints.iter().filter(|checkpoint| checkpoint.n > *after).take(*limit);
                Rows::Checkpoints(rows.cloned().collect())
            }
            keys => self.select_keys(keys),
        }
    }

    fn versions(&self, state: &StateName, versions: impl IntoIterator<Item = VersionMeta>) -> Rows {
        Rows::Versions(versions.into_iter().map(|version| (state.environment.clone(), version)).collect())
    }

    fn after<'a>(&'a self, after: Option<&'a StateName>, prefix: &'a Prefix) -> impl Iterator<Item = (&'a StateName, &'a Name)> {
        let covered = |state: &StateName| {
            prefix.environment.as_ref().is_none_or(|environment| *environment == state.environment)
                && prefix.covers(state.path.as_str())
        };
        let rows = self.names.iter().filter(move |(state, _)| after.is_none_or(|after| *state > after));
        rows.filter(move |(state, _)| covered(state))
    }

    fn lock_row(&self, state: &StateName, name: &Name, now: StoreTime) -> LockRow {
        let environment = self.environments.get(&state.environment);
        LockRow {
            environment: state.environment.clone(),
            path: state.path.clone(),
            lock: name.lock.clone(),
            waiting: name.waiting(now),
            frozen: environment.and_then(|environment| environment.frozen.as_ref()).map(ToString::to_string),
        }
    }

    fn states_in(&self, environment: &EnvironmentName) -> u64 {
        let inside = self.names.iter().filter(|(state, _)| state.environment == *environment);
        inside.filter(|(_, name)| name.versions.values().last().is_some_and(|last| !last.deleted())).count() as u64
    }
}
