//! Writing a version: the document is read, sealed and staged outside the transaction, and committed inside it.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, OptionFuture, maybe_done};
use tokio::sync::OwnedSemaphorePermit;
use zeroize::Zeroizing;

use super::audit::About;
use super::pull::Meta;
use super::sealing::{Place, Plain, run};
use super::{Caller, Error, PERMIT, Service, random};
use crate::domain::access::{Object, Verb};
use crate::domain::command::{Act, ContentAct, Write};
use crate::domain::decision::Reply;
use crate::domain::document::{Content, Expect, Origin, VersionMeta};
use crate::domain::format::Format;
use crate::domain::ids::{DraftId, Etag, KeyedDigest, RequestId, StateId, Token, Version};
use crate::domain::names::{InnerLock, Session, StateName};
use crate::domain::refusal::Refusal;
use crate::domain::sealing::{DataKeyRecord, Ground};
pub use crate::secrets::find::{Warning, WarningKind};
use crate::secrets::operational::OperationKeys;
use crate::service::Actor;
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
    /// What could not be sealed as it should, by place.
    pub warnings: Vec<Warning>,
}

/// A document on its way in. It holds its share of the memory for documents in flight.
pub struct Upload {
    document: Zeroizing<Vec<u8>>,
    size: u64,
    _flight: Option<OwnedSemaphorePermit>,
}

/// How often a write without expectation looks again before it is judged by what it saw last.
const TRIES: u32 = 64;

/// A write whose document is not ready yet: what all writes have in common.
#[derive(Clone)]
pub(super) struct Draftless<'a> {
    pub(super) state: &'a StateName,
    pub(super) session: Session,
    /// Of a passing write: a guess at the token that comes next.
    pub(super) token: Token,
    /// There is no lease: the write takes the lock and gives it back.
    pub(super) passing: bool,
    /// None: what is current when the write is checked.
    pub(super) expect: Option<Expect>,
    pub(super) origin: Origin,
    pub(super) rewrite: bool,
    pub(super) inner_lock: Option<InnerLock>,
}

/// The rest of a write, made for where the state stood.
pub(super) struct Prepared {
    pub(super) expect: Expect,
    /// Nobody asked for this expectation: it was read a moment ago.
    pub(super) guessed: bool,
    pub(super) fresh: StateId,
    pub(super) draft: DraftId,
    pub(super) masked: bool,
    pub(super) content: Option<Content>,
}

impl Prepared {
    /// A write without content.
    pub(super) fn bare(expect: Expect) -> Result<Self, Error> {
        let (fresh, draft) = (StateId(random::bytes16()?), DraftId(random::ordered()));
        Ok(Self { expect, guessed: false, fresh, draft, masked: false, content: None })
    }
}

impl Service {
    /// Makes room for a document of the size announced. Wait for it before reading the document.
    ///
    /// # Errors
    /// It is larger than allowed, or the server is locked: then nobody sends it in vain.
    pub async fn begin_upload(&self, size: u64) -> Result<Upload, Error> {
        if self.is_locked() {
            return Err(Error::Locked);
        }
        if size > self.bounds.document {
            return Err(Error::TooLarge { size, most: self.bounds.document });
        }
        let flight = self.flight(size).await?;
        let capacity = usize::try_from(size).map_err(|_| Error::TooLarge { size, most: self.bounds.document })?;
        Ok(Upload { document: Zeroizing::new(Vec::with_capacity(capacity)), size, _flight: Some(flight) })
    }

    /// A share of the memory for documents in flight. One document may be larger than all of it: it then flies alone.
    pub(super) async fn flight(&self, size: u64) -> Result<OwnedSemaphorePermit, Error> {
        let permits = u32::try_from(size.div_ceil(PERMIT).min(self.permits)).unwrap_or(u32::MAX);
        let flight = tokio::sync::Semaphore::acquire_many_owned(Arc::clone(&self.flights), permits);
        flight.await.map_err(|_| Error::Stopping)
    }

    /// A share for reading these documents of a state, all of it at once: two callers who each had half of what they need would wait for each
    /// other. A locked server opens nothing, and says so at once.
    pub(super) async fn flight_of<const N: usize>(
        &self,
        state: &StateName,
        documents: [&Meta; N],
    ) -> Result<OwnedSemaphorePermit, Error> {
        self.vault.masters()?;
        let mut sum = 0_u64;
        for meta in documents {
            sum = sum.saturating_add(self.size_of(state, meta).await?);
        }
        self.flight(sum).await
    }

    /// How much memory a document takes. What is told of its size outside is that of its redacted form, which says nothing where all of it is
    /// sealed: there its head is asked, and has next to nothing besides.
    async fn size_of(&self, state: &StateName, meta: &Meta) -> Result<u64, Error> {
        let shown = match meta {
            Meta::Version(version) if version.deleted() || version.body.is_none() => return Ok(0),
            Meta::Version(version) => version.shown_size,
            Meta::Draft(draft) => draft.shown_size,
        };
        if meta.format() != Format::Opaque {
            return Ok(shown);
        }
        let head = self.head(&self.ring(&state.environment).await?, meta).await?;
        Ok(head.map_or(shown, |head| head.size))
    }

    /// The principal behind a push, told before its document is read.
    ///
    /// # Errors
    /// The lease secret does not prove this lease.
    pub async fn authorise_push(&self, caller: &Caller, push: &Push) -> Result<Actor, Error> {
        let actor = self.allow_lease(caller, &[Verb::Write], &push.state, &push.session, push.token).await?;
        if push.rewrite && !caller.is_lease() {
            self.allow(caller, Verb::Rewrite, Object::State(&push.state))?;
        }
        // A locked server would read the document in vain.
        self.vault.masters()?;
        Ok(actor)
    }

    /// Writes a version, or keeps the document as a draft and says so in the error.
    ///
    /// # Errors
    /// The document or the write is refused.
    pub async fn push(&self, actor: Actor, push: Push, upload: Upload) -> Result<Written, Error> {
        let (document, _flight) = upload.whole()?;
        let ring = self.ring(&push.state.environment).await?;
        let digest = run(document.len(), {
            let (ring, document) = (Arc::clone(&ring), Arc::clone(&document));
            move || Ok(ring.secret.content_digest(&document))
        });
        let keys = self.keys(&push.state.environment).await?;
        let digest = async { Ok(push_digest(&keys, &push, digest.await?)) };
        let write = Draftless {
            state: &push.state,
            session: push.session.clone(),
            token: push.token,
            passing: false,
            expect: push.expect,
            origin: Origin::Write,
            rewrite: push.rewrite,
            inner_lock: push.inner_lock.clone(),
        };
        self.write_document(actor, Some((push.id, digest.boxed())), write, document, push.format).await
    }

    /// The same, and a document that is none is recorded as a refused write.
    pub(super) async fn write_document(
        &self,
        actor: Actor,
        request: Option<(RequestId, BoxFuture<'_, Result<KeyedDigest, Error>>)>,
        write: Draftless<'_>,
        document: Plain,
        wanted: Option<Format>,
    ) -> Result<Written, Error> {
        let wrote = self.try_document(actor.clone(), request, write.clone(), document, wanted).await;
        wrote.inspect_err(|error| self.audit_unwritable(&actor, &write, error))
    }

    /// Seals a document for where the state stands and writes it; again if the state has moved in between.
    pub(super) async fn try_document(
        &self,
        actor: Actor,
        request: Option<(RequestId, BoxFuture<'_, Result<KeyedDigest, Error>>)>,
        mut write: Draftless<'_>,
        document: Plain,
        wanted: Option<Format>,
    ) -> Result<Written, Error> {
        let state = write.state;
        let (id, digest) = request.unzip();
        let mut digest = digest.map(maybe_done);
        // Each time that the state has moved, something else went through: there is progress, and an end.
        for tries in (0..TRIES).rev() {
            let ring = self.ring(&state.environment).await?;
            let (current, ground) = self.top(state).await?;
            let live = current.as_ref().filter(|current| !current.deleted());
            let format = match (live.map(|live| live.format), wanted) {
                (Some(fixed), Some(got)) if fixed != got => {
                    let Draftless { session, token, .. } = write;
                    let about = About::Write { state: state.clone(), session, token, guessed: false };
                    let refusal = Refusal::FormatDiffers { fixed, got };
                    self.heed(&actor, about, &Err(refusal.clone()));
                    return Err(refusal.into());
                }
                (fixed, asked) => fixed.or(asked),
            };
            let expect = write.expect.unwrap_or_else(|| Expect::of(current.as_ref()));
            let fresh = match &ground {
                Some((ground, _)) => ground.state,
                None => StateId(random::bytes16()?),
            };
            let place = Place {
                ground,
                before: live.cloned(),
                state: live.map_or(fresh, |live| live.state),
                version: Version(expect.version.0.saturating_add(1)),
                previous: expect,
                token: write.token,
                draft: DraftId(random::ordered()),
            };
            // A request is told by its digest only when it is submitted: until then that goes on beside.
            let (sealed, _) = tokio::join!(self.seal(&ring, &place, &document, format), OptionFuture::from(digest.as_mut()));
            let mut sealed = sealed?;
            let request = match digest.as_mut().and_then(|digest| Pin::new(digest).output_mut()) {
                Some(Ok(digest)) => id.map(|id| (id, *digest)),
                // It has said in the log what it was.
                Some(Err(_)) => return Err(Error::Internal),
                None => None,
            };
            self.stage(&mut sealed).await?;
            let body = sealed.content.body;
            let prepared = Prepared {
                expect,
                guessed: write.expect.is_none() && tries > 0,
                fresh,
                draft: place.draft,
                masked: sealed.masked,
                content: Some(sealed.content),
            };
            match self.write(actor.clone(), request, &write, prepared).await {
                Err(Error::Refused(Refusal::VersionConflict { .. })) if write.expect.is_none() && tries > 0 => {}
                Err(Error::Refused(Refusal::GroundMoved)) if tries > 0 => self.vault.forget(&state.environment),
                Err(Error::Refused(Refusal::TokenMoved(coming))) if tries > 0 => write.token = coming,
                Ok(written) => {
                    if written.version.body == Some(body) {
                        let old = place.before.and_then(|before| before.body);
                        self.vault.remember_sealings(old, body, sealed.sealings);
                    }
                    return Ok(Written { warnings: sealed.warnings, ..written });
                }
                refused => return refused,
            }
        }
        Err(Error::internal("a write met others without end"))
    }

    /// Submits a write.
    pub(super) async fn write(
        &self,
        actor: Actor,
        request: Option<(RequestId, KeyedDigest)>,
        write: &Draftless<'_>,
        prepared: Prepared,
    ) -> Result<Written, Error> {
        let Draftless { state, session, token, passing, origin, rewrite, inner_lock, .. } = write;
        let Prepared { expect, guessed, fresh, draft, masked, content } = prepared;
        let act = ContentAct::Write(Write {
            session: session.clone(),
            token: *token,
            passing: *passing,
            expect,
            guessed,
            content,
            origin: *origin,
            rewrite: *rewrite,
            masked,
            inner_lock: inner_lock.clone(),
            etag: Etag(random::bytes16()?),
            fresh_state: fresh,
            draft,
        });
        match self.submit(actor, request, Act::Content((*state).clone(), Box::new(act))).await? {
            Reply::Wrote { version, replayed } => Ok(Written { version: *version, replayed, warnings: Vec::new() }),
            _ => Err(Error::internal("a write answered otherwise")),
        }
    }

    /// The current version of a state, deleted ones included, and what its next one is sealed on.
    pub(super) async fn top(&self, state: &StateName) -> Result<(Option<VersionMeta>, Option<(Ground, DataKeyRecord)>), Error> {
        match self.store.select(Query::Top(state.clone())).await? {
            Rows::Top(current, ground) => Ok((current.map(|current| *current), ground)),
            _ => Err(Error::internal("a state answered with other rows")),
        }
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
    /// What has arrived, all of it, with its share of the memory.
    ///
    /// # Errors
    /// It is shorter than announced.
    pub(super) fn whole(self) -> Result<(Plain, Option<OwnedSemaphorePermit>), Error> {
        let Self { document, size, _flight } = self;
        let got = document.len() as u64;
        if got < size { Err(Error::Truncated { got, size }) } else { Ok((Arc::new(document), _flight)) }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// The stream goes on after the announced size, or a piece is too large.
    pub fn piece(&mut self, piece: &Bytes) -> Result<(), Error> {
        if piece.len() > CHUNK {
            return Err(Error::Protocol("a chunk is at most 256 KiB"));
        }
        self.take(piece)
    }

    /// Takes the next bytes, as many as they are.
    ///
    /// # Errors
    /// They go on after the announced size.
    pub fn take(&mut self, piece: &[u8]) -> Result<(), Error> {
        if (self.document.len() + piece.len()) as u64 > self.size {
            return Err(Error::TooLong { size: self.size });
        }
        self.document.extend_from_slice(piece);
        Ok(())
    }
}

fn push_digest(keys: &OperationKeys, push: &Push, content: KeyedDigest) -> KeyedDigest {
    let Push { state, session, token, expect, format, inner_lock, rewrite, .. } = push;
    let text = format!("{state} {session} {token} {expect:?} {format:?} {inner_lock:?} {rewrite}");
    keys.request_digest(&[b"push", text.as_bytes(), &content.0])
}
