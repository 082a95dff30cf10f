//! Sealing a stored document again, for the place that it has: the same bytes under the key that its state is sealed on now.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::command::Resealed;
use crate::domain::document::{Content, DraftMeta, Expect, VersionMeta};
use crate::domain::format::Format;
use crate::domain::ids::{DataKeyId, DraftId, StateId, Version};
use crate::domain::names::StatePath;
use crate::domain::sealing::{DataKeyRecord, Ground, SealMeta, StoredValue, Target};
use crate::secrets::seal::value::TAG;
use crate::secrets::seal::{Binding, SealingKeys};
use crate::service::crew::run_behind;
use crate::service::opening::{Skeleton, Stored, body_of};
use crate::service::pull::Meta;
use crate::service::sealing::{Pace, Place, Plain, Sealed, Sealings, Work};
use crate::service::vault::Ring;
use crate::service::{Error, Service};
use crate::store::{Query, Rows};

/// What the documents of one state are sealed on, as they follow upon each other in a batch.
pub(super) struct Track {
    ground: Ground,
    keys: Arc<SealingKeys>,
    /// The key, until the first document takes it along.
    new_key: Option<DataKeyRecord>,
    /// Whether the store knows the key.
    stored: bool,
    /// The sealed values under the key that were looked at or are on their way, by tag and by number.
    tags: HashMap<[u8; TAG], u32>,
    values: HashMap<u32, Vec<u8>>,
}

impl Service {
    /// What a state is sealed on now, whatever became of it.
    pub(super) async fn track(&self, ring: &Arc<Ring>, state: StateId) -> Result<Track, Error> {
        let Rows::Grounds(found) = self.store.select(Query::Ground(state)).await? else {
            return Err(Error::internal("a ground answered with other rows"));
        };
        let epoch = ring.environment.key_epoch;
        let (tags, values) = (HashMap::new(), HashMap::new());
        if let Some((ground, record)) = found.into_iter().next().filter(|(ground, _)| ground.epoch >= epoch) {
            self.open_behind(ring, record.id).await?;
            let keys = self.data_keys_of(ring, &record).await?;
            return Ok(Track { ground, keys, new_key: None, stored: true, tags, values });
        }
        let (keys, record) = self.new_data_key_behind(ring, state).await?;
        let ground = Ground { state, data_key: record.id, epoch, next_ordinal: 0, collected: 0 };
        Ok(Track { ground, keys, new_key: Some(record), stored: false, tags, values })
    }

    /// Opens a document and seals it again. What is returned was opened once more from its new parts alone, and gave the same bytes.
    ///
    /// # Errors
    /// [`Error::Internal`] if it does not open.
    pub(super) async fn reseal(
        &self,
        ring: &Arc<Ring>,
        track: &mut Track,
        path: &StatePath,
        meta: &Meta,
    ) -> Result<Resealed, Error> {
        let ring = &self.ring_after(ring, seal_of(meta)).await?;
        let (size, format) = size_and_format(meta);
        let _flight = self.flight(size).await?;
        let skeleton = self.try_skeleton(ring, meta, Pace::Behind).await?;
        let (ring_too, keys) = (Arc::clone(ring), Arc::clone(&track.keys));
        let binding = Binding { environment: ring.environment.id, state: track.ground.state };
        let (document, work, found) = run_behind(move || {
            let places = skeleton.head.holes.iter().map(|hole| (hole.path.clone(), hole.ordinal)).collect();
            let document: Plain = Arc::new(skeleton.open().map_err(|_| Error::Internal)?);
            let work = Work {
                ring: ring_too,
                binding,
                document: Arc::clone(&document),
                keys,
                head_keys: None,
                // What is sealed stays sealed, whatever the rules say now.
                before: Some(Arc::new(Sealings { key: DataKeyId::default(), places })),
                history: true,
            };
            let found = work.find(Some(format))?;
            Ok::<_, Error>((document, work, found))
        })
        .await??;
        self.look_up(track, &found.tags).await?;
        let known: Vec<Option<u32>> = found.tags.iter().map(|tag| track.tags.get(tag).copied()).collect();
        let (place, ground, new_key) = (place(track.ground, meta), track.ground, track.new_key.clone());
        let mut sealed = run_behind(move || work.finish(found, &known, &place, ground, new_key)).await??;
        track.note(&sealed);
        self.check(ring, track, meta, &sealed, document).await?;
        self.stage(&mut sealed).await?;
        track.follow(&sealed.content);
        let target = match meta {
            Meta::Version(version) => Target::Version(version.version),
            Meta::Draft(draft) => Target::Draft(draft.id),
        };
        Ok(Resealed { path: path.clone(), target, old: body_of(meta)?, content: sealed.content })
    }

    /// Finds out which values the store has already, and what they are there.
    async fn look_up(&self, track: &mut Track, tags: &[[u8; TAG]]) -> Result<(), Error> {
        let unknown: Vec<[u8; TAG]> = tags.iter().filter(|tag| !track.tags.contains_key(*tag)).copied().collect();
        if !track.stored || unknown.is_empty() {
            return Ok(());
        }
        let query = Query::Tags { key: track.ground.data_key, tags: unknown.clone() };
        let Rows::Ordinals(ordinals) = self.store.select(query).await? else {
            return Err(Error::internal("tags answered with other rows"));
        };
        let known: Vec<([u8; TAG], u32)> =
            unknown.into_iter().zip(ordinals).filter_map(|(tag, known)| Some((tag, known?))).collect();
        let numbers = known.iter().map(|(_, ordinal)| *ordinal).collect();
        let values = self.values(track.ground.data_key, numbers).await?;
        for ((tag, ordinal), value) in known.into_iter().zip(values) {
            track.tags.insert(tag, ordinal);
            track.values.insert(ordinal, value);
        }
        Ok(())
    }

    /// Opens what is about to be stored as a reader would, under the new key alone.
    async fn check(&self, ring: &Ring, track: &Track, meta: &Meta, sealed: &Sealed, document: Plain) -> Result<(), Error> {
        let stored = Stored::of(ring.environment.id, &moved(meta, &sealed.content))?;
        let staged = || sealed.staged.iter().find(|(body, _)| *body == sealed.content.body).map(|(_, pieces)| pieces.clone());
        let pieces = sealed.content.inline.clone().or_else(staged).ok_or_else(|| Error::internal("a skeleton without pieces"))?;
        let numbers = sealed.content.ordinals.iter();
        let values: HashMap<u32, Vec<u8>> =
            numbers.filter_map(|ordinal| Some((ordinal, track.values.get(&ordinal)?.clone()))).collect();
        let keys = Arc::clone(&track.keys);
        run_behind(move || {
            let again = Skeleton::of(keys, &stored, pieces, |ordinal| values.get(&ordinal).cloned()).and_then(|new| new.open());
            match again.is_ok_and(|again| *again == **document) {
                true => Ok(()),
                false => Err(Error::internal("a document that was sealed again did not open, and the old one stays")),
            }
        })
        .await?
    }
}

impl Track {
    pub(super) fn state(&self) -> StateId {
        self.ground.state
    }

    /// Remembers the values that a document brings.
    fn note(&mut self, sealed: &Sealed) {
        for value in &sealed.content.values {
            let bytes = match &value.sealed {
                StoredValue::Inline(bytes) => bytes.clone(),
                StoredValue::Pieces(body) => {
                    let staged = sealed.staged.iter().find(|(staged, _)| staged == body);
                    staged.map(|(_, pieces)| pieces.concat()).unwrap_or_default()
                }
            };
            self.tags.insert(value.tag, value.ordinal);
            self.values.insert(value.ordinal, bytes);
        }
    }

    /// What the next document of the state is sealed on.
    fn follow(&mut self, content: &Content) {
        let values = u32::try_from(content.values.len()).unwrap_or(u32::MAX);
        self.ground.next_ordinal = self.ground.next_ordinal.saturating_add(values);
        self.new_key = None;
    }
}

pub(super) fn seal_of(meta: &Meta) -> Option<SealMeta> {
    match meta {
        Meta::Version(version) => version.seal,
        Meta::Draft(draft) => Some(draft.seal),
    }
}

/// Its size, about, and what it is.
pub(super) fn size_and_format(meta: &Meta) -> (u64, Format) {
    match meta {
        Meta::Version(version) => (version.shown_size, version.format),
        Meta::Draft(draft) => (draft.shown_size, draft.format),
    }
}

/// The place that the document has.
fn place(ground: Ground, meta: &Meta) -> Place {
    let (version, previous, token, draft) = match meta {
        Meta::Version(meta) => {
            let previous = Expect { version: Version(meta.version.0.saturating_sub(1)), etag: meta.previous_etag };
            (meta.version, previous, meta.token, DraftId::default())
        }
        Meta::Draft(meta) => (meta.seal.version, meta.expect, meta.token, meta.id),
    };
    Place { ground: None, before: None, state: ground.state, version, previous, token, draft }
}

/// Its metadata as the store will have it.
fn moved(meta: &Meta, content: &Content) -> Meta {
    match meta.clone() {
        Meta::Version(version) => Meta::Version(VersionMeta { seal: Some(content.seal), body: Some(content.body), ..version }),
        Meta::Draft(draft) => {
            let seal = SealMeta { mac: content.draft_mac, ..content.seal };
            Meta::Draft(DraftMeta { seal, body: content.body, ..draft })
        }
    }
}
