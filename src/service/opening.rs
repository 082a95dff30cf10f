//! Opening what is stored: a whole document at a time, checked to its last byte before its first one leaves.

use std::collections::HashMap;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::pull::{Meta, Which};
use super::sealing::{Pace, Plain, STEP, Sealings, run};
use super::vault::Ring;
use super::{Error, Service, crew};
use crate::domain::document::VersionMeta;
use crate::domain::format::json::Span;
use crate::domain::ids::{BodyId, DataKeyId, EnvironmentId, Token};
use crate::domain::names::StateName;
use crate::domain::refusal::Refusal;
use crate::domain::sealing::{SealMeta, StoredValue};
use crate::secrets::hole::Hole;
use crate::secrets::path::Path;
use crate::secrets::seal::cut::join;
use crate::secrets::seal::head::Head;
use crate::secrets::seal::mac::{Subject, VersionMac};
use crate::secrets::seal::opener::{Fed, HeadOpener};
use crate::secrets::seal::skeleton::Body;
use crate::secrets::seal::value::open_value;
use crate::secrets::seal::{Binding, Holder, OpenError, SealingKeys};
use crate::secrets::view::redacted;
use crate::store::{Query, Rows};

/// A stored document whose skeleton is open and whose values are still sealed. All of it is authentic.
pub(super) struct Skeleton {
    pub(super) head: Head,
    pub(super) text: Vec<u8>,
    /// The sealed values of the holes, in their order.
    values: Vec<Vec<u8>>,
    /// By which rules its secrets were found.
    pub(super) rules: (u32, u64),
    keys: Arc<SealingKeys>,
    binding: Binding,
}

/// What opening needs to know of a version or draft.
pub(super) struct Stored {
    pub(super) seal: SealMeta,
    body: BodyId,
    holder: Holder,
    subject: Subject,
}

impl Service {
    /// The whole document behind a version or a draft.
    ///
    /// # Errors
    /// Its bytes are gone, it does not open, or the server is locked.
    pub(super) async fn whole(&self, state: &StateName, meta: &Meta) -> Result<Plain, Error> {
        let ring = self.ring(&state.environment).await?;
        let skeleton = self.skeleton(&ring, state, meta, Pace::Awaited).await?;
        run(skeleton.text.len(), move || Ok(Arc::new(skeleton.open().map_err(|_| broken())?))).await
    }

    /// The skeleton of a version or draft, and its sealed values.
    ///
    /// # Errors
    /// As [`Self::whole`].
    pub(super) async fn skeleton(&self, ring: &Arc<Ring>, state: &StateName, meta: &Meta, pace: Pace) -> Result<Skeleton, Error> {
        match self.try_skeleton(ring, meta, pace).await {
            // Purged, discarded, promoted or sealed again since its metadata was read: look again.
            Err(Error::Internal) => {
                let again = self.meta(state, which(meta)).await?;
                match body_of(&again)? == body_of(meta)? {
                    true => Err(broken()),
                    false => self.try_skeleton(ring, &again, pace).await.map_err(logged),
                }
            }
            done => done,
        }
    }

    /// The same, if it is as its metadata says; otherwise [`Error::Internal`], and nothing is logged.
    pub(super) async fn try_skeleton(&self, ring: &Arc<Ring>, meta: &Meta, pace: Pace) -> Result<Skeleton, Error> {
        let stored = Stored::of(ring.environment.id, meta)?;
        if pace == Pace::Behind {
            self.open_behind(ring, stored.seal.data_key).await?;
        }
        let keys = self.sealing_keys(ring, stored.seal.data_key).await?;
        let mut pieces = Vec::new();
        for n in 0..stored.seal.pieces {
            pieces.push(self.store.chunk(stored.body, n).await?.ok_or(Error::Internal)?);
        }
        let size = pieces.iter().map(Vec::len).sum();
        let body = stored.body();
        let (opened, keys) = pace
            .run(size, move || {
                let opened = open_pieces(&keys, &body, pieces).map_err(|_| Error::Internal)?;
                Ok((opened, keys))
            })
            .await?;
        let (head, encoded, text) = opened;
        let ordinals: Vec<u32> = head.holes.iter().map(|hole| hole.ordinal).collect();
        let values = self.values(stored.seal.data_key, ordinals).await?;
        pace.run(size, move || Skeleton::bound(keys, &stored, (head, encoded, text), values).map_err(|_| Error::Internal)).await
    }

    /// The sealed values with these ordinals.
    pub(super) async fn values(&self, key: DataKeyId, ordinals: Vec<u32>) -> Result<Vec<Vec<u8>>, Error> {
        if ordinals.is_empty() {
            return Ok(Vec::new());
        }
        let Rows::Values(found) = self.store.select(Query::Values { key, ordinals }).await? else {
            return Err(Error::internal("values answered with other rows"));
        };
        let mut values = Vec::with_capacity(found.len());
        for value in found {
            values.push(match value.ok_or(Error::Internal)? {
                StoredValue::Inline(bytes) => bytes,
                StoredValue::Pieces(body) => {
                    let mut bytes = Vec::new();
                    for n in 0.. {
                        let Some(piece) = self.store.chunk(body, n).await? else { break };
                        bytes.extend_from_slice(&piece);
                    }
                    bytes
                }
            });
        }
        Ok(values)
    }

    /// What is sealed at a version: none if its bytes are gone.
    pub(super) async fn sealings(&self, ring: &Arc<Ring>, version: &VersionMeta) -> Result<Option<Arc<Sealings>>, Error> {
        let Some(body) = version.body else { return Ok(None) };
        if let Some(known) = self.vault.sealings(body) {
            return Ok(Some(known));
        }
        // Purged in between: nothing stays sealed for its sake.
        let Some(head) = self.head(ring, &Meta::Version(version.clone())).await? else { return Ok(None) };
        let seal = version.seal.ok_or_else(broken)?;
        let places: HashMap<_, _> = head.holes.into_iter().map(|hole| (hole.path, hole.ordinal)).collect();
        Ok(Some(self.vault.remember_sealings(None, body, Sealings { key: seal.data_key, places })))
    }

    /// The table of what is sealed at a version or draft, without its text: none if its bytes are gone.
    pub(super) async fn head(&self, ring: &Arc<Ring>, meta: &Meta) -> Result<Option<Head>, Error> {
        let stored = Stored::of(ring.environment.id, meta)?;
        let keys = self.sealing_keys(ring, stored.seal.data_key).await?;
        let mut opener = HeadOpener::new(&keys, &stored.body());
        for n in 0.. {
            let Some(piece) = self.store.chunk(stored.body, n).await? else { return Ok(None) };
            match opener.feed(piece).map_err(|_| broken())? {
                Fed::More(next) => opener = next,
                Fed::Open(opened) => return Ok(Some(opened.head)),
            }
        }
        Ok(None)
    }
}

impl Skeleton {
    /// From pieces and values at hand: nothing else is looked at.
    pub(super) fn of(
        keys: Arc<SealingKeys>,
        stored: &Stored,
        pieces: Vec<Vec<u8>>,
        value: impl Fn(u32) -> Option<Vec<u8>>,
    ) -> Result<Self, OpenError> {
        let opened = open_pieces(&keys, &stored.body(), pieces)?;
        let values = opened.0.holes.iter().map(|hole| value(hole.ordinal).ok_or(OpenError));
        let values = values.collect::<Result<_, _>>()?;
        Self::bound(keys, stored, opened, values)
    }

    /// Puts the parts of a document together, if they are those that were bound together.
    pub(super) fn bound(
        keys: Arc<SealingKeys>,
        stored: &Stored,
        opened: OpenedPieces,
        values: Vec<Vec<u8>>,
    ) -> Result<Self, OpenError> {
        let (head, encoded, text) = opened;
        let mut mac = VersionMac::new(&keys, &stored.subject, &encoded, &values);
        mac.text(&text);
        mac.verify(&stored.seal.mac.0)?;
        Ok(Self { head, text, values, rules: stored.seal.rules, keys, binding: stored.subject.binding })
    }

    /// The document.
    pub(super) fn open(&self) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        self.join(&self.tokens()?)
    }

    /// The document, and the places that were sealed in it.
    pub(super) fn open_with_holes(&self) -> Result<(Zeroizing<Vec<u8>>, Vec<Hole>), OpenError> {
        let tokens = self.tokens()?;
        let (mut sealed, mut holes) = (0, Vec::with_capacity(tokens.len()));
        for (hole, token) in self.head.holes.iter().zip(&tokens) {
            let start = hole.at + sealed;
            sealed += token.len() as u64;
            let span = Span { start: narrow(start)?, end: narrow(start + token.len() as u64)? };
            holes.push(Hole { span, kind: hole.kind, path: hole.path.clone(), reason: hole.reason });
        }
        Ok((self.join(&tokens)?, holes))
    }

    /// The document with only some of its secrets in it, masks for the rest.
    pub(super) fn open_partly(&self, wanted: impl Fn(&Path) -> bool) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let masks = redacted::masks_of(&self.text, &self.head.holes);
        let mut tokens = Vec::with_capacity(masks.len());
        for (n, (hole, mask)) in self.head.holes.iter().zip(masks).enumerate() {
            tokens.push(match wanted(&hole.path) {
                true => self.token(n)?,
                false => Zeroizing::new(mask.to_vec()),
            });
        }
        Ok(Zeroizing::new(join(&self.text, &self.head.holes, &tokens)))
    }

    fn tokens(&self) -> Result<Vec<Zeroizing<Vec<u8>>>, OpenError> {
        let token = |n: usize| {
            if n.is_multiple_of(STEP) {
                crew::give_way();
            }
            self.token(n)
        };
        (0..self.head.holes.len()).map(token).collect()
    }

    fn token(&self, n: usize) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (hole, value) = (&self.head.holes[n], self.values.get(n).ok_or(OpenError)?);
        open_value(&self.keys, &self.binding, hole.kind, &hole.path, value)
    }

    fn join(&self, tokens: &[Zeroizing<Vec<u8>>]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let document = Zeroizing::new(join(&self.text, &self.head.holes, tokens));
        if document.len() as u64 == self.head.size { Ok(document) } else { Err(OpenError) }
    }
}

fn narrow(at: u64) -> Result<u32, OpenError> {
    u32::try_from(at).map_err(|_| OpenError)
}

impl Stored {
    pub(super) fn of(environment: EnvironmentId, meta: &Meta) -> Result<Self, Error> {
        let body = body_of(meta)?;
        let (seal, holder, previous, token, format): (_, _, _, Token, _) = match meta {
            Meta::Version(version) => {
                let seal = version.seal.ok_or_else(broken)?;
                (seal, Holder::Version(version.version), version.previous_etag, version.token, version.format)
            }
            Meta::Draft(draft) => (draft.seal, Holder::Draft(draft.id), draft.expect.etag, draft.token, draft.format),
        };
        let binding = Binding { environment, state: seal.state };
        let subject = Subject { binding, holder, previous_etag: previous, token, format, rules: seal.rules };
        Ok(Self { seal, body, holder: Holder::Version(seal.version), subject })
    }

    pub(super) fn body(&self) -> Body {
        Body { binding: self.subject.binding, holder: self.holder, base: None }
    }
}

pub(super) type OpenedPieces = (Head, Vec<u8>, Vec<u8>);

pub(super) fn open_pieces(keys: &SealingKeys, body: &Body, pieces: Vec<Vec<u8>>) -> Result<OpenedPieces, OpenError> {
    let mut pieces = pieces.into_iter();
    let mut opener = HeadOpener::new(keys, body);
    let mut opened = loop {
        match opener.feed(pieces.next().ok_or(OpenError)?)? {
            Fed::More(next) => opener = next,
            Fed::Open(opened) => break opened,
        }
    };
    let mut text = Vec::with_capacity(usize::try_from(opened.head.text_size).map_err(|_| OpenError)?.min(256 << 20));
    for piece in pieces {
        opened.text.feed(piece, &mut |part| {
            text.extend_from_slice(part);
            true
        })?;
    }
    opened.text.finish()?;
    Ok((opened.head, opened.encoded, text))
}

fn which(meta: &Meta) -> Which {
    match meta {
        Meta::Version(version) => Which::Version(version.version),
        Meta::Draft(draft) => Which::Draft(draft.id),
    }
}

pub(super) fn body_of(meta: &Meta) -> Result<BodyId, Error> {
    match meta {
        Meta::Draft(draft) => Ok(draft.body),
        Meta::Version(version) if version.deleted() => Err(Refusal::StateNotFound.into()),
        Meta::Version(version) => version.body.ok_or(Error::BytesGone(version.version.0)),
    }
}

pub(super) fn broken() -> Error {
    Error::internal("a stored document does not open")
}

fn logged(error: Error) -> Error {
    match error {
        Error::Internal => broken(),
        other => other,
    }
}
