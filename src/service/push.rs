//! Writing a version: the document is read, sealed and staged outside the transaction, and committed inside it.

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::{Caller, Error, PERMIT, Service, random};
use crate::domain::command::{Act, ContentAct, Write};
use crate::domain::decision::Reply;
use crate::domain::document::{Content, Expect, Origin, VersionMeta};
use crate::domain::format::{Format, inspect};
use crate::domain::ids::{BodyId, DraftId, Etag, KeyedDigest, RequestId, StateId, Token};
use crate::domain::names::{InnerLock, Principal, Session, StateName};
use crate::domain::refusal::Refusal;
use crate::secrets::document::seal;
use crate::secrets::keys::EnvironmentKeys;
use crate::store::{CHUNK, Query, Rows};

/// A write as a caller asks for it.
#[derive(Clone)]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub struct Push {
    pub state: StateName,
    pub session: Session,
    pub token: Token,
    pub id: RequestId,
    /// None: what is current when the write is checked.
    pub expect: Option<Expect>,
    /// The exact size announced.
    pub size: u64,
    pub format: Option<Format>,
    pub inner_lock: Option<InnerLock>,
    pub rewrite: bool,
}

/// A version that was written, or had been.
pub struct Written {
    /// The version.
    pub version: VersionMeta,
    /// Nothing new was written: the request, or the very same document, had been seen before.
    pub replayed: bool,
}

/// A document on its way in. It holds its share of the memory for documents in flight.
pub struct Upload {
    document: Vec<u8>,
    size: u64,
    _flight: Option<OwnedSemaphorePermit>,
}

/// How often a write without expectation looks again before it is judged by what it saw last.
const TRIES: u32 = 64;

/// A write whose document is not ready yet: what all writes have in common.
pub(super) struct Draftless<'a> {
    pub(super) state: &'a StateName,
    pub(super) session: Session,
    pub(super) token: Token,
    pub(super) expect: Expect,
    /// Nobody asked for this expectation: it was read a moment ago.
    pub(super) guessed: bool,
    pub(super) origin: Origin,
    pub(super) rewrite: bool,
    pub(super) inner_lock: Option<InnerLock>,
}

impl Service {
    /// Makes room for a document of the size announced. Wait for it before reading the document.
    ///
    /// # Errors
    /// It is larger than allowed.
    pub async fn begin_upload(&self, size: u64) -> Result<Upload, Error> {
        if size > self.bounds.document {
            return Err(Error::TooLarge { size, most: self.bounds.document });
        }
        // One document may be larger than all that may be in flight: it then flies alone.
        let permits = u32::try_from(size.div_ceil(PERMIT).min(self.permits)).unwrap_or(u32::MAX);
        let flight = tokio::sync::Semaphore::acquire_many_owned(std::sync::Arc::clone(&self.flights), permits);
        let flight = flight.await.map_err(|_| Error::Stopping)?;
        let capacity = usize::try_from(size).map_err(|_| Error::TooLarge { size, most: self.bounds.document })?;
        Ok(Upload { document: Vec::with_capacity(capacity), size, _flight: Some(flight) })
    }

    /// The principal behind a push, told before its document is read.
    ///
    /// # Errors
    /// The lease secret does not prove this lease.
    pub async fn authorise_push(&self, caller: &Caller, push: &Push) -> Result<Principal, Error> {
        self.lease_principal(caller, &push.state, &push.session, push.token).await
    }

    /// Writes a version, or keeps the document as a draft and says so in the error.
    ///
    /// # Errors
    /// The document or the write is refused.
    pub async fn push(&self, principal: Principal, push: Push, upload: Upload) -> Result<Written, Error> {
        let Upload { document, size, _flight } = upload;
        if (document.len() as u64) < size {
            return Err(Error::Truncated { got: document.len() as u64, size });
        }
        let keys = self.keys(&push.state.environment).await?;
        let current = self.current(&push.state).await?;
        let fixed = current.as_ref().filter(|current| !current.deleted()).map(|current| current.format);
        let wanted = match (fixed, push.format) {
            (Some(fixed), Some(got)) if fixed != got => return Err(Refusal::FormatDiffers { fixed, got }.into()),
            (fixed, asked) => fixed.or(asked),
        };
        let (content, pieces) = prepare(std::sync::Arc::clone(&keys), document, wanted).await?;
        self.stage(&content, pieces).await?;
        let request = push_digest(&keys, &push, content.digest);
        let mut expect = push.expect.unwrap_or_else(|| Expect::of(current.as_ref()));
        // Each conflict means that another write of the same lease went through: there is progress, and an end.
        for tries in (0..TRIES).rev() {
            let act = Draftless {
                state: &push.state,
                session: push.session.clone(),
                token: push.token,
                expect,
                guessed: push.expect.is_none() && tries > 0,
                origin: Origin::Write,
                rewrite: push.rewrite,
                inner_lock: push.inner_lock.clone(),
            };
            match self.write(principal.clone(), (push.id, request), act, Some(content.clone())).await {
                Err(Error::Refused(Refusal::VersionConflict { current, .. })) if push.expect.is_none() => expect = current,
                written => return written,
            }
        }
        Err(Error::internal("a push without expectation met conflicts without end"))
    }

    /// Submits a write.
    pub(super) async fn write(
        &self,
        principal: Principal,
        request: (RequestId, KeyedDigest),
        write: Draftless<'_>,
        content: Option<Content>,
    ) -> Result<Written, Error> {
        let Draftless { state, session, token, expect, guessed, origin, rewrite, inner_lock } = write;
        let act = ContentAct::Write(Write {
            session,
            token,
            expect,
            guessed,
            content,
            origin,
            rewrite,
            inner_lock,
            etag: Etag(random::bytes16()?),
            fresh_state: StateId(random::bytes16()?),
            draft: DraftId(random::ordered()),
        });
        match self.submit(principal, Some(request), Act::Content(state.clone(), Box::new(act))).await? {
            Reply::Wrote { version, replayed } => Ok(Written { version: *version, replayed }),
            _ => Err(Error::internal("a write answered otherwise")),
        }
    }

    /// Puts the pieces of a large skeleton into the store, ahead of the transaction that refers to them.
    pub(super) async fn stage(&self, content: &Content, pieces: Vec<u8>) -> Result<(), Error> {
        if content.inline.is_some() {
            return Ok(());
        }
        for (n, piece) in (0..).zip(pieces.chunks(CHUNK)) {
            self.store.stage(content.body, n, piece.to_vec()).await?;
        }
        Ok(())
    }

    /// The current version of a state, deleted ones included.
    pub(super) async fn current(&self, state: &StateName) -> Result<Option<VersionMeta>, Error> {
        match self.store.select(Query::Version(state.clone(), None)).await? {
            Rows::Versions(rows) => Ok(rows.into_iter().next().map(|(_, version)| version)),
            _ => Err(Error::internal("a version answered with other rows")),
        }
    }
}

impl Upload {
    /// Takes the next piece.
    ///
    /// # Errors
    /// The stream goes on after the announced size, or a piece is too large.
    pub fn piece(&mut self, piece: &Bytes) -> Result<(), Error> {
        if piece.len() > CHUNK {
            return Err(Error::Protocol("a chunk is at most 256 KiB"));
        }
        if (self.document.len() + piece.len()) as u64 > self.size {
            return Err(Error::TooLong { size: self.size });
        }
        self.document.extend_from_slice(piece);
        Ok(())
    }
}

/// Reads, digests and seals a document, off the async threads if it is large. A skeleton too large to be inline is returned beside.
pub(super) async fn prepare(
    keys: std::sync::Arc<EnvironmentKeys>,
    document: Vec<u8>,
    wanted: Option<Format>,
) -> Result<(Content, Vec<u8>), Error> {
    /// Below this, moving to another thread costs more than it gains.
    const SMALL: usize = 64 << 10;
    if document.len() <= SMALL {
        return read_and_seal(&keys, document, wanted);
    }
    let task = tokio::task::spawn_blocking(move || read_and_seal(&keys, document, wanted));
    task.await.map_err(|error| Error::internal(&error.to_string()))?
}

fn read_and_seal(keys: &EnvironmentKeys, document: Vec<u8>, wanted: Option<Format>) -> Result<(Content, Vec<u8>), Error> {
    let inspected = inspect(&document, wanted)?;
    let digest = keys.content_digest(&document);
    let sealed = seal(&document);
    drop(document);
    let inline = sealed.skeleton.len() <= CHUNK;
    let values: u64 = sealed.values.iter().map(|value| value.sealed.len() as u64).sum();
    let content = Content {
        body: BodyId(random::ordered()),
        stored_size: sealed.skeleton.len() as u64 + values,
        inline: inline.then(|| sealed.skeleton.clone()),
        values: sealed.values,
        shown_size: sealed.shown_size,
        digest,
        format: inspected.format,
        terraform: inspected.terraform,
    };
    Ok((content, if inline { Vec::new() } else { sealed.skeleton }))
}

fn push_digest(keys: &EnvironmentKeys, push: &Push, content: KeyedDigest) -> KeyedDigest {
    let Push { state, session, token, expect, format, inner_lock, rewrite, .. } = push;
    let text = format!("{state} {session} {token} {expect:?} {format:?} {inner_lock:?} {rewrite}");
    keys.request_digest(&[b"push", text.as_bytes(), &content.0])
}
