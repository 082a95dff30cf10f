//! Writing what the store has already: rollback, promotion of a draft, deletion.

use std::sync::Arc;

use futures_util::FutureExt;
use zeroize::Zeroizing;

use super::pull::{Meta, Which};
use super::push::{Draftless, Prepared, Written};
use super::{Caller, Error, Service};
use crate::domain::access::{Object, Verb};
use crate::domain::document::{Expect, Origin, VersionMeta};
use crate::domain::format::{Format, TerraformHeader, with_serial};
use crate::domain::ids::{DraftId, RequestId, Token, Version};
use crate::domain::names::{InnerLock, Session, StateName};
use crate::domain::refusal::Refusal;
use crate::service::Actor;

/// The lease and the expectation under which something stored is written anew.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the words are those of the design")]
pub struct Under {
    pub state: StateName,
    pub session: Session,
    pub token: Token,
    pub id: RequestId,
    /// None: what is current when the write is checked.
    pub expect: Option<Expect>,
}

impl Service {
    /// Writes the content of an old version as a new one.
    ///
    /// # Errors
    /// There is no such version, its bytes are gone, or the write is refused.
    pub async fn rollback(self: &Arc<Self>, caller: &Caller, under: Under, to: Version) -> Result<Written, Error> {
        let actor = self.allow(caller, Verb::Rollback, Object::State(&under.state))?;
        self.keys(&under.state.environment).await?;
        let old = self.meta(&under.state, Which::Version(to)).await?;
        let inner_lock = None;
        self.rewrite(actor, under, &old, Origin::Rollback(to), false, inner_lock).await
    }

    /// Makes a draft the current version.
    ///
    /// # Errors
    /// There is no such draft, or the write is refused; the draft stays then.
    pub async fn promote(
        self: &Arc<Self>,
        caller: &Caller,
        under: Under,
        draft: DraftId,
        rewrite: bool,
    ) -> Result<Written, Error> {
        // A stranger must not learn which drafts there are.
        let actor = self.allow_lease(caller, &[Verb::Promote], &under.state, &under.session, under.token).await?;
        if rewrite && !caller.is_lease() {
            self.allow(caller, Verb::Rewrite, Object::State(&under.state))?;
        }
        let meta = match self.meta(&under.state, Which::Draft(draft)).await {
            // Promoted before, perhaps by this very request: then the request id knows.
            Err(error) => return self.promoted_before(actor, under, draft, rewrite, error).await,
            Ok(meta) => meta,
        };
        let inner_lock = match &meta {
            Meta::Draft(draft) => draft.inner_lock.clone(),
            Meta::Version(_) => None,
        };
        self.rewrite(actor, under, &meta, Origin::Promote(draft), rewrite, inner_lock).await
    }

    /// Writes a version without content.
    ///
    /// # Errors
    /// There is nothing to delete, or the write is refused.
    pub async fn delete_state(self: &Arc<Self>, caller: &Caller, under: Under) -> Result<Written, Error> {
        let actor = self.allow(caller, Verb::Write, Object::State(&under.state))?;
        let digest = self.keys(&under.state.environment).await?.request_digest(&[b"delete", text(&under).as_bytes()]);
        let expect = match under.expect {
            Some(expect) => expect,
            None => Expect::of(self.current(&under.state).await?.as_ref()),
        };
        let prepared = Prepared { guessed: under.expect.is_none(), ..Prepared::bare(expect)? };
        self.write(actor, Some((under.id, digest)), &draftless(&under, Origin::Delete, false, None), prepared).await
    }

    async fn rewrite(
        self: &Arc<Self>,
        actor: Actor,
        under: Under,
        from: &Meta,
        origin: Origin,
        rewrite: bool,
        inner_lock: Option<InnerLock>,
    ) -> Result<Written, Error> {
        let keys = self.keys(&under.state.environment).await?;
        let digest = keys.request_digest(&[format!("{origin:?} {rewrite}").as_bytes(), text(&under).as_bytes()]);
        let current = self.current(&under.state).await?;
        let (format, header) = match from {
            Meta::Version(version) => (version.format, version.terraform.clone()),
            Meta::Draft(draft) => (draft.format, draft.terraform.clone()),
        };
        let _flight = self.flight_of(&under.state, [from]).await?;
        let mut document = self.whole(&under.state, from).await?;
        if let Some(serial) = raised(format, header.as_ref(), current.as_ref()) {
            document = Arc::new(Zeroizing::new(with_serial(&document, serial)?));
        }
        // The serial was raised against this very version: it has to be the one that is checked.
        let expect = Some(under.expect.unwrap_or_else(|| Expect::of(current.as_ref())));
        let write = Draftless { expect, ..draftless(&under, origin, rewrite, inner_lock) };
        let digest = std::future::ready(Ok(digest)).boxed();
        self.write_document(actor, Some((under.id, digest)), write, document, Some(format)).await
    }

    async fn promoted_before(
        self: &Arc<Self>,
        actor: Actor,
        under: Under,
        draft: DraftId,
        rewrite: bool,
        missing: Error,
    ) -> Result<Written, Error> {
        let keys = self.keys(&under.state.environment).await?;
        let origin = Origin::Promote(draft);
        let digest = keys.request_digest(&[format!("{origin:?} {rewrite}").as_bytes(), text(&under).as_bytes()]);
        let write = draftless(&under, origin, rewrite, None);
        let prepared = Prepared::bare(under.expect.unwrap_or_default())?;
        self.write(actor, Some((under.id, digest)), &write, prepared).await.map_err(|error| match error {
            Error::Refused(Refusal::RequestIdReused) => Refusal::RequestIdReused.into(),
            Error::Refused(_) => missing,
            other => other,
        })
    }
}

/// Terraform's next serial, where the one of the content is not higher than the current one.
fn raised(format: Format, header: Option<&TerraformHeader>, current: Option<&VersionMeta>) -> Option<u64> {
    let current = current.filter(|current| !current.deleted())?.terraform.as_ref()?.serial;
    let own = header.filter(|_| format == Format::Terraform)?.serial;
    (own <= current).then(|| current.saturating_add(1))
}

fn draftless(under: &Under, origin: Origin, rewrite: bool, inner_lock: Option<InnerLock>) -> Draftless<'_> {
    Draftless {
        state: &under.state,
        session: under.session.clone(),
        token: under.token,
        passing: false,
        expect: under.expect,
        origin,
        rewrite,
        inner_lock,
    }
}

fn text(under: &Under) -> String {
    let Under { state, session, token, expect, .. } = under;
    format!("{state} {session} {token} {expect:?}")
}
