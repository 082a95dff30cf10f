//! Reading a document, piece by piece.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::sealing::Plain;
use super::views::{Masked, View, Viewed};
use super::{Caller, Error, Service};
use crate::domain::access::{Object, Verb};
use crate::domain::document::{DraftMeta, VersionMeta};
use crate::domain::format::Format;
use crate::domain::ids::{DraftId, Etag, Version};
use crate::domain::names::StateName;
use crate::domain::refusal::Refusal;
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
    /// Of a redacted view: what is masked.
    pub masked: Masked,
    /// Of a sealed view: the environment's public signing key.
    pub signer: Option<String>,
}

/// A whole document, with its share of the memory for documents in flight.
pub struct Whole {
    /// What it is.
    pub meta: Meta,
    document: Plain,
    share: Share,
}

/// A share of the memory for documents in flight; others wait for it until it is dropped.
pub struct Share(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

impl Whole {
    /// Drops the document, and keeps its share for what is made of it.
    #[must_use]
    pub fn into_share(self) -> Share {
        self.share
    }
}

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.document
    }
}

impl Meta {
    /// What the bytes are.
    #[must_use]
    pub fn format(&self) -> Format {
        match self {
            Self::Version(version) => version.format,
            Self::Draft(draft) => draft.format,
        }
    }
}

impl Service {
    /// Finds a version or a draft and begins to read it. With an etag that is still current, only its metadata.
    ///
    /// # Errors
    /// There is no such version or draft, its bytes are gone, or its format has no such view.
    pub async fn pull(
        self: &Arc<Self>,
        caller: &Caller,
        state: &StateName,
        which: Which,
        unless: Option<Etag>,
        view: &View,
    ) -> Result<Pulled, Error> {
        let mut allowed = self.authorise_read(caller, state, view);
        if !matches!(which, Which::Draft(_)) {
            allowed = Ok(allowed?);
        }
        let actor = self.allow_any(caller, Verb::ALL, Object::State(state))?;
        self.keys(&state.environment).await?;
        let meta = self.meta(state, which).await?;
        // A draft opens to its writer, too.
        if !matches!(&meta, Meta::Draft(draft) if draft.principal == *caller.principal()) {
            allowed?;
        }
        if let (Meta::Version(version), Some(etag)) = (&meta, unless)
            && version.etag == etag
        {
            return Ok(Pulled { meta, document: None, masked: Masked::default(), signer: None });
        }
        // Before it is opened: many large documents that are opened at once would need memory without bound.
        let flight = self.flight_of(state, [&meta]).await?;
        let Viewed { document, masked, signer } = self.viewed(&actor, state, &meta, view).await?;
        Ok(Pulled { meta, document: Some(pieces(document, flight)), masked, signer })
    }

    /// The current version as a whole, for a door that sends it with what is computed over all of it.
    ///
    /// # Errors
    /// As [`Self::pull`].
    pub async fn document(self: &Arc<Self>, caller: &Caller, state: &StateName, view: &View) -> Result<Whole, Error> {
        let actor = self.authorise_read(caller, state, view)?;
        self.keys(&state.environment).await?;
        let meta = self.meta(state, Which::Current).await?;
        let flight = self.flight_of(state, [&meta]).await?;
        let document = self.viewed(&actor, state, &meta, view).await?.document;
        Ok(Whole { meta, document, share: Share(flight) })
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
}

/// How long a piece may wait for its reader: who takes less than 4 KiB each second must not keep others from theirs.
const STALLED: Duration = Duration::from_secs(60);

/// A document in memory, handed on in pieces. Its share of the memory for documents in flight goes with the last one, or with a reader that
/// takes none.
fn pieces(document: Plain, flight: OwnedSemaphorePermit) -> (u64, Pieces) {
    let size = document.len() as u64;
    let (send, receive) = mpsc::channel(3);
    tokio::spawn(async move {
        let _flight = flight;
        // A place for the last word, which no piece takes.
        let Ok(last_word) = send.clone().reserve_owned().await else { return };
        for piece in document.chunks(CHUNK) {
            match tokio::time::timeout(STALLED, send.send(Ok(piece.to_vec()))).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => {
                    last_word.send(Err(Error::ReaderStalled));
                    return;
                }
            }
        }
    });
    (size, receive)
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;
    use zeroize::Zeroizing;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn reader_that_takes_nothing_loses_its_share_and_is_told() {
        let flights = Arc::new(Semaphore::new(1));
        let document = Arc::new(Zeroizing::new(vec![b'x'; 10 * CHUNK]));
        let flight = Arc::clone(&flights).acquire_owned().await.unwrap();
        let (_, mut slow) = pieces(Arc::clone(&document), flight);
        for _ in 0..6 {
            tokio::time::sleep(STALLED / 2).await;
            assert_eq!(slow.recv().await.unwrap().unwrap().len(), CHUNK, "slow is enough");
        }
        assert_eq!(flights.available_permits(), 0);
        tokio::time::sleep(STALLED + Duration::from_secs(1)).await;
        assert_eq!(flights.available_permits(), 1, "others may read");
        assert_eq!(Arc::strong_count(&document), 1, "the document is gone");
        let mut rest = Vec::new();
        while let Some(piece) = slow.recv().await {
            rest.push(piece);
        }
        assert!(matches!(rest.last(), Some(Err(Error::ReaderStalled))) && rest.len() < 4, "it is no whole document");
    }
}
