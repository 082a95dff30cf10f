//! Grants and tokens of the memory engine.

use std::collections::BTreeMap;

use crate::domain::access::{Grant, TokenName, TokenRecord};
use crate::domain::command::Needs;
use crate::domain::decision::{Change, Snapshot};
use crate::domain::ids::GrantId;

#[derive(Default)]
pub(super) struct AccessTables {
    pub(super) grants: BTreeMap<GrantId, Grant>,
    pub(super) tokens: BTreeMap<TokenName, TokenRecord>,
}

impl AccessTables {
    pub(super) fn load(&self, needs: &Needs, snapshot: &mut Snapshot) {
        snapshot.token = needs.token.as_ref().and_then(|name| self.tokens.get(name)).cloned();
        snapshot.exchanged = needs.exchanged.is_some() && self.tokens.values().any(|token| token.exchanged == needs.exchanged);
        snapshot.grant = needs.grant.and_then(|id| self.grants.get(&id)).cloned();
    }

    /// Makes a change of access; gives other changes back.
    pub(super) fn apply(&mut self, change: Change) -> Option<Change> {
        match change {
            Change::PutToken(token) => drop(self.tokens.insert(token.name.clone(), *token)),
            Change::PutGrant(grant) => drop(self.grants.insert(grant.id, *grant)),
            Change::DropGrant(id) => drop(self.grants.remove(&id)),
            Change::DropGrantsTo(subject) => self.grants.retain(|_, grant| grant.to != subject),
            Change::TokensUsed(tokens) => {
                for (name, at) in tokens {
                    self.tokens.entry(name).and_modify(|token| token.used = Some(at));
                }
            }
            Change::ForgetTokens(before) => self.tokens.retain(|_, token| !token.is_spent(before)),
            other => return Some(other),
        }
        None
    }
}
