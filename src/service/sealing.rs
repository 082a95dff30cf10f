//! Sealing a document for its place in the store: secrets are found and sealed, the skeleton is sealed in pieces, and everything is bound to
//! the version that it is to be.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use zeroize::Zeroizing;

use super::vault::Ring;
use super::{Error, Service, crew, random};
use crate::domain::document::{Content, Expect, VersionMeta};
use crate::domain::format::{Format, FormatError, Inspected, inspect};
use crate::domain::ids::{BodyId, DataKeyId, DraftId, KeyedDigest, StateId, Token, Version};
use crate::domain::rules::Effect;
use crate::domain::sealing::{DataKeyRecord, Ground, NewValue, Ordinals, SealMeta, StoredValue};
use crate::secrets::find::{self, Search, Warning};
use crate::secrets::hole::Hole;
use crate::secrets::path::Path;
use crate::secrets::seal::cut::{Cut, cut};
use crate::secrets::seal::mac::{Subject, mac};
use crate::secrets::seal::skeleton::{Body, seal_skeleton};
use crate::secrets::seal::value::{TAG, seal_value};
use crate::secrets::seal::{Binding, Holder, SealError, SealingKeys};
use crate::secrets::view::redacted;
use crate::store::{CHUNK, Query, Rows};

/// A plain document in memory: wiped when its last user is done.
pub(super) type Plain = Arc<Zeroizing<Vec<u8>>>;

/// What a document is sealed as.
#[derive(Clone)]
pub(super) struct Place {
    /// What the state is sealed on; none: not at all yet.
    pub(super) ground: Option<(Ground, DataKeyRecord)>,
    /// The version before, if its content is of the same state.
    pub(super) before: Option<VersionMeta>,
    /// The state.
    pub(super) state: StateId,
    /// The version number and the etag before it.
    pub(super) version: Version,
    pub(super) previous: Expect,
    /// The token it is written under.
    pub(super) token: Token,
    /// The draft that it becomes if it is refused.
    pub(super) draft: DraftId,
}

/// A document that is ready for the store.
pub(super) struct Sealed {
    pub(super) content: Content,
    /// Pieces of the skeleton and of large values that have to be staged, by body.
    pub(super) staged: Vec<(BodyId, Vec<Vec<u8>>)>,
    /// The mark of a redacted view stands where a secret stands or stood.
    pub(super) masked: bool,
    pub(super) warnings: Vec<Warning>,
    /// What the next write will ask of this one, once it is written.
    pub(super) sealings: Sealings,
}

/// What was sealed at a version: the ordinals of its values by their places.
pub(super) struct Sealings {
    pub(super) key: DataKeyId,
    pub(super) places: HashMap<Path, u32>,
}

/// Whether somebody waits for work on a document, or it is done behind everything else.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    Awaited,
    Behind,
}

/// How many pieces are on their way into the store at once: as much as one transaction may take without others noticing.
const STAGED_AT_ONCE: usize = 8;

/// After how many sealed values others may go first.
pub(super) const STEP: usize = 32;

/// Below this, moving to another thread costs more than it gains.
const SMALL: usize = 64 << 10;

/// From here on, a second thread gains more than it costs.
const LARGE: usize = 1 << 20;

impl Service {
    /// Seals a document.
    ///
    /// # Errors
    /// It is not what it should be, or the server is locked.
    pub(super) async fn seal(
        &self,
        ring: &Arc<Ring>,
        place: &Place,
        document: &Plain,
        wanted: Option<Format>,
    ) -> Result<Sealed, Error> {
        let ring = &self.ring_after(ring, place.before.as_ref().and_then(|version| version.seal)).await?;
        let before = match &place.before {
            Some(version) => self.sealings(ring, version).await?,
            None => None,
        };
        let (ground, keys, new_key) = self.ground(ring, place).await?;
        let head_keys = match place.before.as_ref().and_then(|version| version.seal) {
            Some(seal) if seal.data_key != keys.id() => Some(self.sealing_keys(ring, seal.data_key).await?),
            _ => None,
        };
        let work = Work {
            ring: Arc::clone(ring),
            binding: Binding { environment: ring.environment.id, state: place.state },
            document: Arc::clone(document),
            keys,
            head_keys,
            before,
            history: false,
        };
        let found = run(document.len(), {
            let work = work.clone();
            move || work.find(wanted)
        })
        .await?;
        let known = match found.tags.is_empty() || new_key.is_some() {
            true => vec![None; found.tags.len()],
            false => self.known(ground.data_key, found.tags.clone()).await?,
        };
        let masked = found.marked || self.is_redacted_form(&work, &found).await?;
        let place = place.clone();
        let sealed = run(document.len(), move || work.finish(found, &known, &place, ground, new_key)).await?;
        Ok(Sealed { masked, ..sealed })
    }

    /// The ordinals of sealed values by their tags.
    async fn known(&self, key: DataKeyId, tags: Vec<[u8; TAG]>) -> Result<Vec<Option<u32>>, Error> {
        match self.store.select(Query::Tags { key, tags }).await? {
            Rows::Ordinals(known) => Ok(known),
            _ => Err(Error::internal("tags answered with other rows")),
        }
    }

    /// Whether every sealed place equals its redacted form, though before there stood something else at one of them. That cannot be seen in
    /// what stands there now alone: a secret may be 0, false or null.
    async fn is_redacted_form(&self, work: &Work, found: &Found) -> Result<bool, Error> {
        let Some(before) = work.before.as_ref().filter(|_| found.all_masked && !found.holes.is_empty()) else { return Ok(false) };
        let keys = work.head_keys.as_ref().unwrap_or(&work.keys);
        let places = found.holes.iter().filter_map(|hole| Some((&hole.path, *before.places.get(&hole.path)?)));
        let places: Vec<(&Path, u32)> = places.collect();
        let mut tags = Vec::with_capacity(places.len() * redacted::BARE.len());
        for (path, _) in &places {
            for (kind, token) in redacted::BARE {
                let value = seal_value(keys, &work.binding, kind, path, token).map_err(unsealable)?;
                tags.push(tag(&value));
            }
        }
        let known = self.known(before.key, tags).await?;
        let was_bare = |(n, (_, ordinal)): (usize, &(&Path, u32))| {
            known.iter().skip(n * redacted::BARE.len()).take(redacted::BARE.len()).any(|known| *known == Some(*ordinal))
        };
        Ok(!places.iter().enumerate().all(was_bare))
    }

    /// What the state is sealed on, its keys, and the key's record if it is new.
    async fn ground(&self, ring: &Ring, place: &Place) -> Result<(Ground, Arc<SealingKeys>, Option<DataKeyRecord>), Error> {
        let epoch = ring.environment.key_epoch;
        if let Some((ground, record)) = place.ground.as_ref().filter(|(ground, _)| ground.epoch >= epoch) {
            return Ok((*ground, self.data_keys_of(ring, record).await?, None));
        }
        let (keys, record) = self.new_data_key(ring, place.state)?;
        let ground = Ground { state: place.state, data_key: record.id, epoch, next_ordinal: 0, collected: 0 };
        Ok((ground, keys, Some(record)))
    }

    /// Puts what is large into the store, ahead of the transaction that refers to it.
    pub(super) async fn stage(&self, sealed: &mut Sealed) -> Result<(), Error> {
        let key = sealed.content.ground.data_key;
        let pieces = sealed.staged.drain(..).flat_map(|(body, pieces)| (0..).zip(pieces).map(move |(n, piece)| (body, n, piece)));
        // Several at once share a commit; not all of them, or others would wait for the whole document.
        let staged = stream::iter(pieces).map(|(body, n, piece)| self.store.stage(body, key, n, piece));
        staged.buffer_unordered(STAGED_AT_ONCE).try_collect().await.map_err(Error::from)
    }
}

/// What sealing one document has at hand.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) ring: Arc<Ring>,
    pub(super) binding: Binding,
    pub(super) document: Plain,
    pub(super) keys: Arc<SealingKeys>,
    /// The keys of the current version, if they are others.
    pub(super) head_keys: Option<Arc<SealingKeys>>,
    /// What is sealed whatever is found.
    pub(super) before: Option<Arc<Sealings>>,
    /// The document is history: no exception unseals anything in it.
    pub(super) history: bool,
}

/// What was found in a document, and sealed.
pub(super) struct Found {
    inspected: Inspected,
    holes: Vec<Hole>,
    values: Vec<Vec<u8>>,
    pub(super) tags: Vec<[u8; TAG]>,
    warnings: Vec<Warning>,
    overflow: bool,
    /// The size of the redacted form.
    shown: u64,
    /// The mark of a redacted view stands in a sealed place.
    marked: bool,
    /// Every sealed place equals its redacted form.
    all_masked: bool,
    digest: KeyedDigest,
    head_digest: Option<KeyedDigest>,
}

impl Work {
    pub(super) fn find(&self, wanted: Option<Format>) -> Result<Found, Error> {
        let document = self.document.as_slice();
        // Without a format that is asked for, the document has to be looked at before it is searched.
        let inspected = match wanted {
            Some(_) => None,
            None => Some(inspect(document, None)?),
        };
        let format = inspected.as_ref().map(|inspected| inspected.format).or(wanted).unwrap_or(Format::Opaque);
        let none = HashSet::new();
        let before = self.before.as_ref().map_or_else(|| none, |before| before.places.keys().cloned().collect());
        let search = Search::new(format, self.ring.keyring.rules.rules(), &before).keeping(self.history);
        let look = || (inspected.map_or_else(|| inspect(document, wanted), Ok), self.digests(document));
        let ((inspected, (digest, head_digest)), found) = both(document.len(), look, || find::find(document, &search));
        let (inspected, found) = (inspected?, found.map_err(FormatError::NotJson)?);
        let parts = cut(document, &found.holes).map_err(unsealable)?;
        let seal = |(n, (hole, token)): (usize, (&Hole, &crate::secrets::seal::cut::Token<'_>))| {
            if n.is_multiple_of(STEP) {
                crew::give_way();
            }
            seal_value(&self.keys, &self.binding, hole.kind, &hole.path, token.bytes)
        };
        let values =
            found.holes.iter().zip(&parts.tokens).enumerate().map(seal).collect::<Result<Vec<_>, _>>().map_err(unsealable)?;
        let masks = masks(&found.holes, &parts);
        Ok(Found {
            shown: parts.text_size + masks.iter().map(|mask| mask.len() as u64).sum::<u64>(),
            marked: parts.tokens.iter().any(|token| redacted::has_mark(token.bytes))
                || self.is_marked_where_it_was_sealed(inspected.format, &parts)?,
            all_masked: parts.tokens.iter().zip(&masks).all(|(token, mask)| token.bytes == *mask),
            tags: values.iter().map(|value| tag(value)).collect(),
            values,
            digest,
            head_digest,
            inspected,
            holes: found.holes,
            warnings: found.warnings,
            overflow: found.overflow,
        })
    }

    /// Whether the mark stands at a place that was sealed before, and is not any more: an exception was made for it in between.
    fn is_marked_where_it_was_sealed(&self, format: Format, parts: &Cut<'_>) -> Result<bool, Error> {
        let Some(before) = self.before.as_ref().filter(|before| !before.places.is_empty()) else { return Ok(false) };
        let excepted = self.ring.keyring.rules.rules().iter().any(|rule| rule.effect() == Effect::Except);
        if !excepted || !parts.text.iter().any(|part| redacted::has_mark(part)) {
            return Ok(false);
        }
        let places = before.places.keys().cloned().collect();
        let found = find::find(&self.document, &Search::new(format, &[], &places)).map_err(FormatError::NotJson)?;
        let mut were = found.holes.iter().filter(|hole| before.places.contains_key(&hole.path));
        Ok(were.any(|hole| redacted::has_mark(hole.span.of(&self.document))))
    }

    /// Under the key to be, and under that of the current version if it is another.
    fn digests(&self, document: &[u8]) -> (KeyedDigest, Option<KeyedDigest>) {
        (self.keys.document_digest(document), self.head_keys.as_ref().map(|keys| keys.document_digest(document)))
    }

    pub(super) fn finish(
        self,
        found: Found,
        known: &[Option<u32>],
        place: &Place,
        ground: Ground,
        new_key: Option<DataKeyRecord>,
    ) -> Result<Sealed, Error> {
        let mut next = ground.next_ordinal;
        let mut ordinals = Vec::with_capacity(known.len());
        for known in known {
            ordinals.push(known.unwrap_or(next));
            if known.is_none() {
                next = next.checked_add(1).ok_or_else(|| Error::internal("a state has had 2^32 secrets"))?;
            }
        }
        let parts = cut(&self.document, &found.holes).map_err(unsealable)?;
        let head = parts.head(found.holes, &ordinals, found.overflow);
        let rules = self.ring.rules();
        let subject = |holder| Subject {
            binding: self.binding,
            holder,
            previous_etag: place.previous.etag,
            token: place.token,
            format: found.inspected.format,
            rules,
        };
        let encoded = head.encode();
        let bound = |holder| KeyedDigest(mac(&self.keys, &subject(holder), &encoded, &found.values, &parts.text));
        let bind = || (bound(Holder::Version(place.version)), bound(Holder::Draft(place.draft)));
        let body = Body { binding: self.binding, holder: Holder::Version(place.version), base: None };
        let ((as_version, as_draft), pieces) =
            both(self.document.len(), bind, || seal_skeleton(&self.keys, &body, &head, &parts.text));
        let pieces = pieces.map_err(unsealable)?;
        let seal = SealMeta {
            state: place.state,
            version: place.version,
            data_key: ground.data_key,
            rules,
            overflow: found.overflow,
            pieces: u32::try_from(pieces.len()).unwrap_or(u32::MAX),
            mac: as_version,
        };
        let mut stored_size: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        let mut staged = Vec::new();
        let mut values = Vec::new();
        let fresh = found.values.into_iter().zip(found.tags).zip(&ordinals).zip(known).filter(|(_, known)| known.is_none());
        for (((value, tag), ordinal), _) in fresh {
            stored_size += value.len() as u64;
            let sealed = if value.len() <= CHUNK {
                StoredValue::Inline(value)
            } else {
                let body = BodyId(random::ordered());
                staged.push((body, value.chunks(CHUNK).map(<[u8]>::to_vec).collect()));
                StoredValue::Pieces(body)
            };
            values.push(NewValue { ordinal: *ordinal, tag, sealed });
        }
        let body = BodyId(random::ordered());
        let inline = match pieces.iter().map(Vec::len).sum::<usize>() <= CHUNK {
            true => Some(pieces),
            false => {
                staged.push((body, pieces));
                None
            }
        };
        let content = Content {
            body,
            inline,
            values,
            ordinals: Ordinals::of(ordinals),
            ground,
            new_key,
            seal,
            draft_mac: as_draft,
            stored_size,
            shown_size: found.shown,
            digest: found.digest,
            head_digest: found.head_digest,
            format: found.inspected.format,
            terraform: found.inspected.terraform,
        };
        let places = head.holes.into_iter().map(|hole| (hole.path, hole.ordinal)).collect();
        let sealings = Sealings { key: ground.data_key, places };
        Ok(Sealed { content, staged, masked: found.marked, warnings: found.warnings, sealings })
    }
}

/// Runs work on a document, off the async threads if it is large.
pub(super) async fn run<T: Send + 'static>(
    size: usize,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    if size <= SMALL { work() } else { crew::run(work).await? }
}

impl Pace {
    /// Runs work on a document: off the async threads if it is large, or if nobody waits for it.
    pub(super) async fn run<T: Send + 'static>(
        self,
        size: usize,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        match self {
            Self::Awaited => run(size, work).await,
            Self::Behind => crew::run_behind(work).await?,
        }
    }
}

/// Does two things to a document, at once if it is large: digests take a third of the time of what goes on beside them.
fn both<A: Send, B>(size: usize, beside: impl FnOnce() -> A + Send, here: impl FnOnce() -> B) -> (A, B) {
    if size <= LARGE {
        return (beside(), here());
    }
    std::thread::scope(|scope| {
        let beside = scope.spawn(beside);
        let here = here();
        (beside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), here)
    })
}

fn masks(holes: &[Hole], parts: &Cut<'_>) -> Vec<&'static [u8]> {
    let places: Vec<_> = holes.iter().map(|hole| redacted::Place { kind: hole.kind, path: &hole.path }).collect();
    redacted::masks(&places, &parts.text)
}

fn tag(value: &[u8]) -> [u8; TAG] {
    *value.first_chunk().expect("a sealed value begins with its tag")
}

fn unsealable(error: SealError) -> Error {
    match error {
        SealError::TooLong | SealError::TooManyPlaces => Error::Unsealable(error.to_string()),
        SealError::NoRandomness(_) | SealError::Places => Error::internal(&error.to_string()),
    }
}
