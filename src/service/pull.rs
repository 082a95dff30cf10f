//! Reading a document, piece by piece.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Caller, Error, Service};
use crate::domain::document::{DraftMeta, VersionMeta};
use crate::domain::ids::{BodyId, DraftId, Etag, Version};
use crate::domain::names::StateName;
use crate::domain::refusal::Refusal;
use crate::secrets::document::Opener;
use crate::store::{CHUNK, Query, Rows};

/// Which content of a state.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// The current version.
    Current,
    /// A version by number.
    Version(Version),
    /// A draft.
    Draft(DraftId),
}

/// A version or a draft.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the words are those of the design")]
pub enum Meta {
    Version(VersionMeta),
    Draft(DraftMeta),
}

/// The pieces of a document, in order; the sender waits for the receiver.
pub type Pieces = mpsc::Receiver<Result<Vec<u8>, Error>>;

/// A document about to be read.
pub struct Pulled {
    /// What it is.
    pub meta: Meta,
    /// The exact size, and the pieces in order; none if it is unchanged since the caller's etag.
    pub document: Option<(u64, Pieces)>,
}

/// A document in memory.
pub(super) type Whole = Vec<u8>;

impl Service {
    /// Finds a version or a draft and begins to read it. With an etag that is still current, only its metadata.
    ///
    /// # Errors
    /// There is no such version or draft, or its bytes are gone.
    pub async fn pull(
        self: &Arc<Self>,
        caller: &Caller,
        state: &StateName,
        which: Which,
        unless: Option<Etag>,
    ) -> Result<Pulled, Error> {
        caller.principal()?;
        self.keys(&state.environment).await?;
        let meta = self.meta(state, which).await?;
        if let (Meta::Version(version), Some(etag)) = (&meta, unless)
            && version.etag == etag
        {
            return Ok(Pulled { meta, document: None });
        }
        let (size, pieces) = self.open(state, &meta).await?;
        Ok(Pulled { meta, document: Some((size, pieces)) })
    }

    /// A version or a draft without its document. The current version of a deleted state is none.
    ///
    /// # Errors
    /// There is none.
    pub(super) async fn meta(&self, state: &StateName, which: Which) -> Result<Meta, Error> {
        match which {
            Which::Draft(id) => match self.store.select(Query::Drafts(state.clone(), Some(id))).await? {
                Rows::Drafts(drafts) => {
                    let draft = drafts.into_iter().next().ok_or(Refusal::DraftNotFound(id))?;
                    Ok(Meta::Draft(draft))
                }
                _ => Err(Error::internal("a draft answered with other rows")),
            },
            Which::Current => {
                let current = self.current(state).await?.filter(|current| !current.deleted());
                Ok(Meta::Version(current.ok_or(Refusal::StateNotFound)?))
            }
            Which::Version(number) => match self.store.select(Query::Version(state.clone(), Some(number))).await? {
                Rows::Versions(rows) => {
                    let version = rows.into_iter().next().ok_or(Refusal::VersionNotFound(number))?;
                    Ok(Meta::Version(version.1))
                }
                _ => Err(Error::internal("a version answered with other rows")),
            },
        }
    }

    /// The whole document behind a version or a draft.
    pub(super) async fn whole(self: &Arc<Self>, state: &StateName, meta: &Meta) -> Result<Whole, Error> {
        let (size, mut pieces) = self.open(state, meta).await?;
        let mut document = Vec::with_capacity(usize::try_from(size.min(self.bounds.document)).unwrap_or(0));
        while let Some(piece) = pieces.recv().await {
            document.extend_from_slice(&piece?);
        }
        Ok(document)
    }

    /// Opens a body: its exact size, and its pieces through a channel that holds the reader back.
    async fn open(self: &Arc<Self>, state: &StateName, meta: &Meta) -> Result<(u64, Pieces), Error> {
        let broken = || Error::internal("a stored document does not open");
        let body = body_of(meta)?;
        let which = match meta {
            Meta::Version(version) => Which::Version(version.version),
            Meta::Draft(draft) => Which::Draft(draft.id),
        };
        let mut opener = Opener::new().map_err(|_| broken())?;
        let Some(first) = self.store.chunk(body, 0).await? else { return Err(self.missing(state, which).await) };
        let mut ready = Vec::new();
        // Only the header and what fits one piece: the rest waits until somebody takes it.
        let (head, rest) = first.split_at(first.len().min(64));
        opener
            .feed(head, CHUNK, &mut |piece| {
                ready.push(piece);
                true
            })
            .map_err(|_| broken())?;
        let size = opener.size().ok_or_else(broken)?;
        let (send, receive) = mpsc::channel(2);
        let (service, rest, state) = (Arc::clone(self), rest.to_vec(), state.clone());
        tokio::spawn(async move {
            let error = match service.stream(body, opener, ready, rest, &send).await {
                Ok(true) => return,
                Ok(false) => service.missing(&state, which).await,
                Err(error) => error,
            };
            let _ = send.send(Err(error)).await;
        });
        Ok((size, receive))
    }

    /// Why a content lacks bytes: it was purged, discarded or promoted since its metadata was read; otherwise it is damaged.
    async fn missing(&self, state: &StateName, which: Which) -> Error {
        match self.meta(state, which).await.and_then(|meta| body_of(&meta)) {
            Ok(_) => Error::internal("a stored document lacks bytes"),
            Err(error) => error,
        }
    }

    /// Hands on the pieces. False if the document ends before its end.
    async fn stream(
        &self,
        body: BodyId,
        mut opener: Opener,
        ready: Vec<Vec<u8>>,
        mut stored: Vec<u8>,
        send: &mpsc::Sender<Result<Vec<u8>, Error>>,
    ) -> Result<bool, Error> {
        let broken = || Error::internal("a stored document does not open");
        for piece in ready {
            if send.send(Ok(piece)).await.is_err() {
                return Ok(true);
            }
        }
        for n in 1.. {
            let sender = send.clone();
            // Off the async threads: opening is work, and it waits for a slow reader.
            let task = tokio::task::spawn_blocking(move || {
                let fed = opener.feed(&stored, CHUNK, &mut |piece| sender.blocking_send(Ok(piece)).is_ok());
                (fed, opener)
            });
            let (fed, back) = task.await.map_err(|error| Error::internal(&error.to_string()))?;
            opener = back;
            fed.map_err(|_| broken())?;
            if send.is_closed() {
                return Ok(true);
            }
            match self.store.chunk(body, n).await? {
                Some(next) => stored = next,
                None => break,
            }
        }
        Ok(opener.finish().is_ok())
    }
}

fn body_of(meta: &Meta) -> Result<BodyId, Error> {
    match meta {
        Meta::Draft(draft) => Ok(draft.body),
        Meta::Version(version) if version.deleted() => Err(Refusal::StateNotFound.into()),
        Meta::Version(version) => version.body.ok_or(Error::BytesGone(version.version.0)),
    }
}
