//! Keyrings, data keys and sealed values in the memory engine.

use std::collections::{BTreeMap, HashMap};

use super::tables::{Name, Tables};
use crate::domain::command::{Ahead, Needs, Resealed};
use crate::domain::decision::{Left, Snapshot, Under};
use crate::domain::document::{Content, DraftMeta, VersionMeta};
use crate::domain::ids::{BodyId, DataKeyId, DraftId, StateId};
use crate::domain::names::{EnvironmentName, StateName, StatePath};
use crate::domain::sealing::{DataKeyRecord, Ground, KeyStatus, Keyring, NewValue, Ordinals, SealMeta, StoredValue, Target};
use crate::store::{Document, Query, Rows, WhichDocuments, WhichKeys};

#[derive(Default)]
pub(super) struct Keys {
    pub(super) rings: BTreeMap<EnvironmentName, Keyring>,
    /// With the name whose documents are under each.
    data: BTreeMap<DataKeyId, (StateName, DataKeyRecord)>,
    grounds: HashMap<StateId, Ground>,
    values: BTreeMap<(DataKeyId, u32), NewValue>,
    tags: HashMap<(DataKeyId, [u8; 24]), u32>,
    ordinals: HashMap<BodyId, Ordinals>,
}

impl Keys {
    pub(super) fn put_wraps(&mut self, records: Vec<DataKeyRecord>) {
        for record in records {
            if let Some((_, stored)) = self.data.get_mut(&record.id) {
                (stored.identity, stored.wrapped) = (record.identity, record.wrapped);
            }
        }
    }

    pub(super) fn retire(&mut self, key: DataKeyId) {
        if let Some((_, record)) = self.data.get_mut(&key) {
            record.status = KeyStatus::Retired;
        }
    }

    pub(super) fn drop_retired(&mut self, environment: &EnvironmentName, most: u64) {
        let (data, mut left) = (&mut self.data, most);
        data.retain(|_, (name, record)| {
            let goes = name.environment == *environment && record.status == KeyStatus::Retired && left > 0;
            left -= u64::from(goes);
            !goes
        });
        self.grounds.retain(|_, ground| data.contains_key(&ground.data_key));
    }

    fn left(&self, environment: &EnvironmentName, identity: u32, epoch: u32) -> Left {
        let mut left = Left::default();
        for (_, record) in self.data.values().filter(|(name, _)| name.environment == *environment) {
            left.keys += 1;
            left.old_identity += u64::from(record.identity != identity);
            left.old_epoch += u64::from(record.epoch < epoch && record.status != KeyStatus::Retired);
            left.retired += u64::from(record.status == KeyStatus::Retired);
        }
        left
    }

    fn ground(&self, state: StateId) -> Option<(Ground, DataKeyRecord)> {
        let ground = self.grounds.get(&state).copied()?;
        let (_, record) = self.data.get(&ground.data_key)?;
        Some((ground, record.clone()))
    }

    fn values_of(&self, key: DataKeyId) -> impl Iterator<Item = u32> {
        self.values.range((key, 0)..=(key, u32::MAX)).map(|((_, ordinal), _)| *ordinal)
    }
}

impl Tables {
    pub(super) fn load_keys(&self, environment: &EnvironmentName, needs: &Needs, snapshot: &mut Snapshot) {
        if needs.keyring {
            snapshot.keyring = self.keys.rings.get(environment).cloned();
        }
        if needs.left {
            snapshot.left = self.left(environment);
        }
        snapshot.grounds = needs.grounds.iter().map(|state| self.keys.grounds.get(state).copied()).collect();
        let body = |(path, target): &(StatePath, Target)| {
            let name = self.names.get(&StateName { environment: environment.clone(), path: path.clone() })?;
            match target {
                Target::Version(version) => name.versions.get(version)?.body,
                Target::Draft(id) => name.drafts.iter().find(|draft| draft.id == *id).map(|draft| draft.body),
            }
        };
        snapshot.bodies = needs.bodies.iter().map(body).collect();
        snapshot.under = needs.under.iter().map(|key| self.under(*key)).collect();
    }

    fn left(&self, environment: &EnvironmentName) -> Left {
        let found = self.environments.get(environment);
        let (identity, epoch) = found.map_or((0, 0), |found| (found.identity, found.key_epoch));
        self.keys.left(environment, identity, epoch)
    }

    fn under(&self, key: DataKeyId) -> Option<Under> {
        let (state, record) = self.keys.data.get(&key)?;
        let documents = self.names.get(state).map_or(0, |name| bodies_under(name, key).count());
        let staged = self.staged.values().filter(|staged| **staged == key).count();
        let values = self.keys.values_of(key).count();
        let (documents, staged, values) = (documents as u64, staged as u64, values as u64);
        Some(Under { epoch: record.epoch, documents, staged, values })
    }

    pub(super) fn drop_staged_under(&mut self, key: DataKeyId) {
        let Self { staged, bodies, .. } = self;
        staged.retain(|body, under| {
            let stays = *under != key;
            if !stays {
                bodies.remove(body);
            }
            stays
        });
    }

    /// Whether a key is retired: nothing new comes under it.
    pub(super) fn is_retired(&self, key: DataKeyId) -> bool {
        self.keys.data.get(&key).is_some_and(|(_, record)| record.status == KeyStatus::Retired)
    }

    /// A staged body is there already; an inline one is put now.
    pub(super) fn keep(&mut self, state: &StateName, content: Content) {
        self.staged.remove(&content.body);
        if let Some(pieces) = content.inline {
            self.bodies.insert(content.body, (0..).zip(pieces).collect());
        }
        self.keys.ordinals.insert(content.body, content.ordinals);
        self.keep_values(state, content.new_key, content.ground, content.values);
    }

    pub(super) fn put_values(&mut self, environment: &EnvironmentName, ahead: Ahead) {
        let Ahead { path, ground, new_key, values } = ahead;
        self.keep_values(&StateName { environment: environment.clone(), path }, new_key, ground, values);
    }

    fn keep_values(&mut self, state: &StateName, new_key: Option<DataKeyRecord>, ground: Ground, values: Vec<NewValue>) {
        let count = u32::try_from(values.len()).unwrap_or(u32::MAX);
        if let Some(key) = new_key {
            if let Some((_, old)) = self.keys.grounds.get(&key.state).and_then(|old| self.keys.data.get_mut(&old.data_key)) {
                old.status = KeyStatus::DecryptOnly;
            }
            self.keys.data.insert(key.id, (state.clone(), key));
        }
        let ground = Ground { next_ordinal: ground.next_ordinal.saturating_add(count), ..ground };
        self.keys.grounds.insert(ground.state, ground);
        for value in values {
            if let StoredValue::Pieces(body) = &value.sealed {
                self.staged.remove(body);
            }
            self.keys.tags.insert((ground.data_key, value.tag), value.ordinal);
            self.keys.values.insert((ground.data_key, value.ordinal), value);
        }
    }

    pub(super) fn put_body(&mut self, environment: &EnvironmentName, document: Resealed) {
        let Resealed { path, target, old, content } = document;
        let state = StateName { environment: environment.clone(), path };
        let Some(name) = self.names.get_mut(&state) else { return };
        match target {
            Target::Version(number) => {
                if let Some(version) = name.versions.get_mut(&number) {
                    (version.seal, version.digest) = (Some(content.seal), Some(content.digest));
                    (version.body, version.shown_size) = (Some(content.body), content.shown_size);
                }
            }
            Target::Draft(id) => {
                if let Some(draft) = name.drafts.iter_mut().find(|draft| draft.id == id) {
                    draft.seal = SealMeta { mac: content.draft_mac, ..content.seal };
                    (draft.digest, draft.stored_size, draft.body) = (content.digest, content.stored_size, content.body);
                    draft.shown_size = content.shown_size;
                }
            }
        }
        self.bodies.remove(&old);
        self.keys.ordinals.remove(&old);
        self.keep(&state, content);
    }

    pub(super) fn drop_values(&mut self, key: DataKeyId, most: u64) {
        let gone: Vec<u32> = self.keys.values_of(key).take(usize::try_from(most).unwrap_or(usize::MAX)).collect();
        gone.into_iter().for_each(|ordinal| self.drop_value(key, ordinal));
    }

    fn drop_value(&mut self, key: DataKeyId, ordinal: u32) {
        if let Some(value) = self.keys.values.remove(&(key, ordinal)) {
            self.keys.tags.remove(&(key, value.tag));
            if let StoredValue::Pieces(body) = value.sealed {
                self.bodies.remove(&body);
            }
        }
    }

    /// Drops the values of a key that no document has any more.
    pub(super) fn collect(&mut self, state: &StateName, key: DataKeyId) {
        let Some(name) = self.names.get(state) else { return };
        let live: Vec<&Ordinals> = bodies_under(name, key).filter_map(|body| self.keys.ordinals.get(&body)).collect();
        let dead = |ordinal: &u32| !live.iter().any(|ordinals| ordinals.contains(*ordinal));
        let gone: Vec<u32> = self.keys.values_of(key).filter(dead).collect();
        if gone.is_empty() {
            return;
        }
        for ground in self.keys.grounds.values_mut().filter(|ground| ground.data_key == key) {
            ground.collected += 1;
        }
        gone.into_iter().for_each(|ordinal| self.drop_value(key, ordinal));
    }

    pub(super) fn drop_draft(&mut self, state: &StateName, id: DraftId) {
        let Some(name) = self.names.get_mut(state) else { return };
        if let Some(at) = name.drafts.iter().position(|draft| draft.id == id) {
            let draft = name.drafts.remove(at);
            self.bodies.remove(&draft.body);
            self.keys.ordinals.remove(&draft.body);
            self.collect(state, draft.seal.data_key);
        }
    }

    pub(super) fn drop_keys(&mut self, environment: &EnvironmentName) {
        self.keys.rings.remove(environment);
        let gone = self.keys.data.iter().filter(|(_, (name, _))| name.environment == *environment);
        for key in gone.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.drop_values(key, u64::MAX);
            self.keys.data.remove(&key);
        }
        let Keys { data, grounds, .. } = &mut self.keys;
        grounds.retain(|_, ground| data.contains_key(&ground.data_key));
    }

    /// Answers the queries about keys and what is under them.
    pub(super) fn select_keys(&self, query: &Query) -> Rows {
        match query {
            Query::Keyring(name) => {
                let found = self.environments.get(name).cloned().zip(self.keys.rings.get(name).cloned());
                Rows::Keyrings(found.into_iter().collect())
            }
            Query::Top(state) => {
                let current = self.names.get(state).and_then(|name| name.versions.values().last()).cloned();
                let next = match &current {
                    Some(live) if !live.deleted() => Some(live.state),
                    gone => self.begun(state, gone.as_ref().map(|gone| gone.state)),
                };
                Rows::Top(current.map(Box::new), next.and_then(|next| self.keys.ground(next)))
            }
            Query::Ground(state) => Rows::Grounds(self.keys.ground(*state).into_iter().collect()),
            Query::DataKey(id) => Rows::DataKeys(self.keys.data.get(id).map(|(_, record)| record.clone()).into_iter().collect()),
            Query::DataKeys { environment, which, after, limit } => {
                let wanted = |record: &DataKeyRecord| match which {
                    WhichKeys::All => true,
                    WhichKeys::NotUnder(identity) => record.identity != *identity,
                    WhichKeys::Before(epoch) => record.epoch < *epoch && record.status != KeyStatus::Retired,
                };
                let inside = self.keys.data.values().filter(|(name, _)| name.environment == *environment);
                let found = inside.map(|(_, record)| record).filter(|record| after.is_none_or(|after| record.id > after));
                Rows::DataKeys(found.filter(|record| wanted(record)).take(*limit).cloned().collect())
            }
            Query::Tags { key, tags } => {
                Rows::Ordinals(tags.iter().map(|tag| self.keys.tags.get(&(*key, *tag)).copied()).collect())
            }
            Query::Values { key, ordinals } => {
                let value = |ordinal: &u32| self.keys.values.get(&(*key, *ordinal)).map(|value| value.sealed.clone());
                Rows::Values(ordinals.iter().map(value).collect())
            }
            Query::Documents { environment, which, after, limit } => {
                let mut found = Vec::new();
                let inside = self.names.iter().filter(|(name, _)| name.environment == *environment);
                for (state, name) in inside.filter(|(name, _)| after.as_ref().is_none_or(|after| name.path > *after)) {
                    let before = found.len();
                    found.extend(
                        documents_of(name)
                            .filter(|document| self.wanted(document, *which))
                            .map(|document| (state.path.clone(), document)),
                    );
                    if found.len() > before && found.len() >= *limit {
                        break;
                    }
                }
                Rows::Documents(found)
            }
            Query::Census(name) => {
                let inside = self.names.iter().filter(|(state, _)| state.environment == *name);
                let documents: usize = inside.map(|(_, name)| documents_of(name).count()).sum();
                let keys = self.keys.data.values().filter(|(state, _)| state.environment == *name);
                let values: usize = keys.map(|(_, record)| self.keys.values_of(record.id).count()).sum();
                Rows::Census { left: self.left(name), documents: documents as u64, values: values as u64 }
            }
            _ => Rows::Documents(Vec::new()),
        }
    }

    /// The state that drafts under a name are of, while it has no version.
    fn begun(&self, state: &StateName, gone: Option<StateId>) -> Option<StateId> {
        let name = self.names.get(state)?;
        let mut drafts = name.drafts.iter().map(|draft| draft.seal);
        let was = |state: StateId| name.versions.values().any(|version| version.state == state);
        let begun = drafts.find(|seal| Some(seal.state) != gone && !was(seal.state));
        begun.map(|seal| seal.state)
    }

    fn wanted(&self, document: &Document, which: WhichDocuments) -> bool {
        let seal = match document {
            Document::Version(version) => version.seal.as_ref(),
            Document::Draft(draft) => Some(&draft.seal),
        };
        seal.is_some_and(|seal| match which {
            WhichDocuments::All => true,
            WhichDocuments::Before(epoch) => self.keys.data.get(&seal.data_key).is_some_and(|(_, record)| record.epoch < epoch),
            WhichDocuments::OtherRules(shipped, own) => seal.rules != (shipped, own),
        })
    }
}

fn bodies_under(name: &Name, key: DataKeyId) -> impl Iterator<Item = BodyId> {
    let under = move |seal: &SealMeta| seal.data_key == key;
    let versions = name.versions.values().filter(move |version| version.seal.as_ref().is_some_and(under));
    let drafts = name.drafts.iter().filter(move |draft| draft.seal.data_key == key).map(|draft: &DraftMeta| draft.body);
    versions.filter_map(|version: &VersionMeta| version.body).chain(drafts)
}

fn documents_of(name: &Name) -> impl Iterator<Item = Document> {
    let versions = name.versions.values().rev().filter(|version| version.body.is_some()).cloned().map(Document::Version);
    versions.chain(name.drafts.iter().cloned().map(Document::Draft))
}
