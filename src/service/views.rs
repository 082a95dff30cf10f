//! How a document is read: full, redacted, its outputs only, or sealed to the reader's own key.

use std::collections::HashSet;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::environments::recipient;
use super::opening::{Skeleton, broken};
use super::pull::{Meta, Which};
use super::sealing::{Pace, Plain, run};
use super::vault::Ring;
use super::{Caller, Error, Service};
use crate::domain::access::{Object, Verb};
use crate::domain::audit::Deed;
use crate::domain::format::Format;
use crate::domain::ids::{Etag, Version};
use crate::domain::names::StateName;
use crate::secrets::find::{self, Search};
use crate::secrets::hole::{Hole, Reason};
use crate::secrets::path::Path;
use crate::secrets::seal::OpenError;
use crate::secrets::view::outputs::{OutputsError, is_output, outputs, outputs_state};
use crate::secrets::view::redacted::{redact, redact_whole};
use crate::secrets::view::sealed::{Subject, seal_for};
use crate::service::Actor;

/// How a document is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// The bytes that were written.
    #[default]
    Full,
    /// Readable by stock tools, without secrets.
    Redacted,
    /// The outputs, opened, and nothing else.
    Outputs,
    /// The same as a state of Terraform's that has nothing else, for its data source `terraform_remote_state`.
    OutputsState,
    /// The bytes that were written, sealed to this age recipient and signed by the environment.
    Sealed(String),
}

/// How outputs are printed.
type Render = fn(Format, &[u8]) -> Result<Zeroizing<Vec<u8>>, OutputsError>;

/// A document as its reader gets it.
pub(super) struct Viewed {
    pub(super) document: Plain,
    pub(super) masked: Masked,
    /// Of a sealed one: the environment's public signing key.
    pub(super) signer: Option<String>,
}

/// The places of a redacted form that are masked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masked {
    /// Where, in order; at most 1,000, and 64 KiB of text.
    pub paths: Vec<String>,
    /// There are more.
    pub truncated: bool,
}

/// A place that is sealed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedPlace {
    /// Where.
    pub path: String,
    /// Why; none for a reader who may not have all of the document.
    pub reason: Option<&'static str>,
}

/// What is sealed at a version or a draft.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SealedPlaces {
    /// In order; at most 10,000, and 1 MiB of text.
    pub places: Vec<SealedPlace>,
    /// How many there are.
    pub count: u64,
    /// The document has more secrets than are searched for: every string that is not structure is sealed.
    pub overflow: bool,
}

impl Service {
    /// The one place where a reader's rights on a state are checked: `full` and `sealed` need `read.full`, `outputs` `read.outputs`, and
    /// `redacted` `read.redacted`, where `read.full` includes the others; `sealed` only to a recipient that is registered for the caller,
    /// or that somebody with `admin` there names.
    ///
    /// # Errors
    /// A lease secret is no right to read.
    pub(super) fn authorise_read(&self, caller: &Caller, state: &StateName, view: &View) -> Result<Actor, Error> {
        let object = Object::State(state);
        let actor = self.allow(caller, view.verb(), object)?;
        if let View::Sealed(reader) = view
            && !self.verbs(caller, &object)?.has(Verb::Admin)
            && !self.is_registered(caller, state, reader)
        {
            return Err(Error::RecipientForeign);
        }
        Ok(actor)
    }

    /// A version or a draft, as the view has it. With secrets opened it is recorded before a byte of it is handed on.
    ///
    /// # Errors
    /// Its bytes are gone, its format has no such view, it does not open, the server is locked, or the read cannot be recorded.
    pub(super) async fn viewed(&self, actor: &Actor, state: &StateName, meta: &Meta, view: &View) -> Result<Viewed, Error> {
        let viewed = self.opened(state, meta, view).await?;
        let detail = match view {
            View::Redacted => {
                self.count_redacted();
                return Ok(viewed);
            }
            View::Full | View::Outputs | View::OutputsState => String::new(),
            View::Sealed(reader) => format!("sealed to {reader}"),
        };
        self.record_read(actor, state, meta, (Deed::Read, view.verb()), detail).await?;
        Ok(viewed)
    }

    async fn opened(&self, state: &StateName, meta: &Meta, view: &View) -> Result<Viewed, Error> {
        let plain = |document| Viewed { document, masked: Masked::default(), signer: None };
        let unavailable = |view| Error::ViewUnavailable { view, format: meta.format() };
        match view {
            View::Full => self.whole(state, meta).await.map(plain),
            View::Redacted if meta.format() == Format::Opaque => Err(unavailable("redacted")),
            View::Redacted => self.redacted(state, meta).await,
            View::Outputs if !matches!(meta.format(), Format::Terraform | Format::Pulumi) => Err(unavailable("outputs")),
            View::OutputsState if meta.format() != Format::Terraform => Err(unavailable("outputs")),
            View::Outputs => self.outputs(state, meta, outputs).await.map(plain),
            View::OutputsState => self.outputs(state, meta, |_, document| outputs_state(document)).await.map(plain),
            View::Sealed(reader) => {
                let reader = recipient(reader)?;
                let ring = self.ring(&state.environment).await?;
                let document = self.whole(state, meta).await?;
                let subject = subject(state, meta)?;
                let signer = Some(ring.signer.verifying_key().to_string());
                let size = document.len();
                let seal = move || Ok(Zeroizing::new(seal_for(&reader, &ring.signer, &subject, &document)));
                Ok(Viewed { document: Arc::new(run(size, seal).await?), masked: Masked::default(), signer })
            }
        }
    }

    async fn redacted(&self, state: &StateName, meta: &Meta) -> Result<Viewed, Error> {
        let ring = self.ring(&state.environment).await?;
        let skeleton = self.skeleton(&ring, state, meta, Pace::Awaited).await?;
        let format = meta.format();
        let done = run(skeleton.text.len(), move || {
            if skeleton.rules == ring.rules() {
                let masked = Masked::of(skeleton.head.holes.iter().map(|hole| &hole.path));
                return Ok((redact(&skeleton.text, &skeleton.head.holes), masked));
            }
            let (document, holes) = under_todays_rules(&ring, format, &skeleton).map_err(|_| broken())?;
            let masked = Masked::of(holes.iter().map(|hole| &hole.path));
            Ok((redact_whole(&document, &holes), masked))
        });
        let (document, masked) = done.await?;
        Ok(Viewed { document: Arc::new(Zeroizing::new(document)), masked, signer: None })
    }

    async fn outputs(&self, state: &StateName, meta: &Meta, render: Render) -> Result<Plain, Error> {
        let ring = self.ring(&state.environment).await?;
        let skeleton = self.skeleton(&ring, state, meta, Pace::Awaited).await?;
        let format = meta.format();
        run(skeleton.text.len(), move || {
            let document = skeleton.open_partly(|path| is_output(format, path)).map_err(|_| broken())?;
            Ok(Arc::new(render(format, &document).map_err(|_| broken())?))
        })
        .await
    }

    /// What is sealed at a version or a draft, and why: of the head alone. Places are for who may read the redacted form; reasons need `read.full`,
    /// and the count is to need `keys`, beyond what the list shows by itself.
    ///
    /// # Errors
    /// There is none, its bytes are gone, or the server is locked.
    pub async fn sealed_places(&self, caller: &Caller, state: &StateName, which: Which) -> Result<SealedPlaces, Error> {
        self.authorise_read(caller, state, &View::Redacted)?;
        let told = self.may(caller, Verb::ReadFull, Object::State(state));
        self.keys(&state.environment).await?;
        let ring = self.ring(&state.environment).await?;
        let meta = self.meta(state, which).await?;
        let head = match self.head(&ring, &meta).await? {
            Some(head) => head,
            // Purged, promoted or sealed again since: look again.
            None => self.head(&ring, &self.meta(state, which).await?).await?.ok_or_else(broken)?,
        };
        let count = head.holes.len() as u64;
        let places =
            head.holes.iter().map(|hole| SealedPlace { path: hole.path.to_string(), reason: told.then(|| reason(hole.reason)) });
        let places = bounded(places, |place| place.path.len(), 10_000, 1 << 20);
        Ok(SealedPlaces { places, count, overflow: head.overflow })
    }
}

/// A document that was sealed under other rules than today's, and what is masked in it: what was sealed, and what would be now.
fn under_todays_rules(ring: &Ring, format: Format, skeleton: &Skeleton) -> Result<(Zeroizing<Vec<u8>>, Vec<Hole>), OpenError> {
    let (document, sealed) = skeleton.open_with_holes()?;
    let before: HashSet<Path> = sealed.iter().map(|hole| hole.path.clone()).collect();
    let search = Search::new(format, ring.keyring.rules.rules(), &before);
    let mut holes = find::find(&document, &search).map_err(|_| OpenError)?.holes;
    holes.extend(sealed);
    holes.sort_by_key(|hole| (hole.span.start, std::cmp::Reverse(hole.span.end)));
    let mut end = 0;
    holes.retain(|hole| {
        let is_new = hole.span.start >= end;
        end = end.max(hole.span.end);
        is_new
    });
    Ok((document, holes))
}

/// What a sealed document is signed as. A draft has neither version nor etag: it is signed as version 0, with its id for the etag.
fn subject(state: &StateName, meta: &Meta) -> Result<Subject, Error> {
    let (state_id, version, etag) = match meta {
        Meta::Version(version) => (version.state, version.version, version.etag),
        Meta::Draft(draft) => (draft.seal.state, Version(0), Etag(draft.id.0)),
    };
    Ok(Subject { state: state.clone(), state_id, version, etag })
}

fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Mark => "mark",
        Reason::Shape => "shape",
        Reason::KeyName => "key-name",
        Reason::Environment => "rule",
        Reason::Spread => "spread",
        Reason::Before => "before",
        Reason::Overflow => "overflow",
        Reason::Whole => "whole",
    }
}

impl View {
    /// What reading it needs.
    #[must_use]
    pub fn verb(&self) -> Verb {
        match self {
            Self::Full | Self::Sealed(_) => Verb::ReadFull,
            Self::Outputs | Self::OutputsState => Verb::ReadOutputs,
            Self::Redacted => Verb::ReadRedacted,
        }
    }
}

impl Masked {
    fn of<'p>(paths: impl ExactSizeIterator<Item = &'p Path>) -> Self {
        let count = paths.len();
        let paths = bounded(paths.map(ToString::to_string), String::len, 1000, 64 << 10);
        Self { truncated: paths.len() < count, paths }
    }
}

/// The first of the things, as long as they are not too many and not too long together.
fn bounded<T>(things: impl Iterator<Item = T>, length: impl Fn(&T) -> usize, most: usize, bytes: usize) -> Vec<T> {
    let mut left = bytes;
    let fits = |thing: &T| {
        let rest = left.checked_sub(length(thing));
        left = rest.unwrap_or_default();
        rest.is_some()
    };
    things.take(most).take_while(fits).collect()
}
