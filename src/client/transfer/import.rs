//! Documents into a state, in order.

use super::plan::{Why, plan};
use super::target::Target;
use super::{Document, Phase};
use crate::client::{Client, Error, LeaseRef, PushAsk};
use crate::pb::v1::{Expect, Format, Warning};

/// What is asked of an import.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImportAsk {
    /// Take a past as it is whose serials fall or whose lineage changes; needs the right to rewrite. What the target has is never rewritten.
    pub rewrite: bool,
}

/// What becomes of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It would be the next version.
    New,
    /// It was written as this version, read back, and is the same.
    Written {
        /// The version.
        version: u64,
        /// What could not be sealed as it should.
        warnings: Vec<Warning>,
    },
    /// It is this version already, byte for byte; unless its bytes were dropped there, which is told.
    There {
        /// The version.
        version: u64,
        /// Its bytes are gone: only lineage and serial were compared.
        purged: bool,
    },
    /// It cannot become a version, for this reason.
    Conflict {
        /// What is in the way.
        why: String,
        /// What to do about it.
        next: &'static str,
    },
    /// A document before it cannot become a version, so neither can it.
    Blocked,
}

/// What is told of an import while it goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// What is going on with the next document.
    Phase(Phase),
    /// What became of it; for each document once, in order.
    Done(Verdict),
}

impl Client {
    /// What an import of `documents`, the oldest first, would do, one verdict for each. Nothing is written and no lease is taken; what
    /// is there already is compared, byte by byte.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn plan_import(
        &self,
        state: &str,
        documents: &[Document],
        ask: ImportAsk,
        mut on: impl FnMut(Phase) + Send,
    ) -> Result<Vec<Verdict>, Error> {
        let target = self.target(state).await?;
        self.verdicts(state, documents, ask, &target, &mut on).await
    }

    /// Imports `documents`, the oldest first, under a live exclusive lease. Each is acknowledged, read back and compared before the next is
    /// sent; so an import that was cut off goes on where it was when it is made again.
    ///
    /// # Errors
    /// [`Error::Conflict`] before anything is written, if one of them cannot become a version; those of any write, with the draft that keeps what was
    /// refused; [`Error::Fault`] if what arrived is not what left.
    pub async fn import(
        &self,
        lease: &LeaseRef,
        documents: &[Document],
        ask: ImportAsk,
        mut on: impl FnMut(Step) + Send,
    ) -> Result<(), Error> {
        let state = &lease.state;
        let target = self.target(state).await?;
        let verdicts = self.verdicts(state, documents, ask, &target, &mut |phase| on(Step::Phase(phase))).await?;
        if let Some(error) = refusal(state, documents, &verdicts) {
            return Err(error);
        }
        let mut expect = target.expect;
        for (document, verdict) in documents.iter().zip(verdicts) {
            let verdict = match verdict {
                Verdict::New => self.write(lease, document, ask, &mut expect, &mut |phase| on(Step::Phase(phase))).await?,
                there => there,
            };
            on(Step::Done(verdict));
        }
        Ok(())
    }

    async fn verdicts(
        &self,
        state: &str,
        documents: &[Document],
        ask: ImportAsk,
        target: &Target,
        on: &mut (impl FnMut(Phase) + Send),
    ) -> Result<Vec<Verdict>, Error> {
        let headers: Vec<_> = documents.iter().map(|document| &document.header).collect();
        let there = match plan(&headers, &target.existing, ask.rewrite) {
            Ok(there) => there,
            Err(conflict) => return Ok(conflicts(documents.len(), conflict.at, conflict.why)),
        };
        let mut verdicts = Vec::new();
        for (document, index) in documents.iter().zip(there) {
            let existing = &target.existing[index];
            if !existing.purged && !self.is_same(state, existing.version, &document.source, on).await? {
                return Ok(conflicts(documents.len(), verdicts.len(), Why::OtherBytes(existing.version)));
            }
            verdicts.push(Verdict::There { version: existing.version, purged: existing.purged });
        }
        verdicts.resize(documents.len(), Verdict::New);
        Ok(verdicts)
    }

    async fn write(
        &self,
        lease: &LeaseRef,
        document: &Document,
        ask: ImportAsk,
        expect: &mut Expect,
        on: &mut (impl FnMut(Phase) + Send),
    ) -> Result<Verdict, Error> {
        let format = if document.header.encrypted { Format::Opaque } else { Format::Terraform };
        let push = PushAsk { expect: Some(expect.clone()), format, rewrite: ask.rewrite, ..PushAsk::default() };
        let pushed = self.push(lease, &push, &document.source, |progress| on(Phase::Moving(progress))).await?;
        let version = pushed.version.ok_or_else(|| Error::fault("the server wrote a version without saying which"))?;
        *expect = Expect { version: version.version, etag: version.etag };
        if !self.is_same(&lease.state, version.version, &document.source, on).await? {
            let what =
                format!("version {} of {} was written, and is not what {} is", version.version, lease.state, document.label);
            let next = "if the source changed meanwhile, run the same command again; if it did not, report this as a bug";
            return Err(Error::fault(what).with_next(next));
        }
        Ok(Verdict::Written { version: version.version, warnings: pushed.warnings })
    }
}

/// The error for a plan with a conflict in it: what [`Client::import`] would say.
#[must_use]
pub fn refusal(state: &str, documents: &[Document], verdicts: &[Verdict]) -> Option<Error> {
    documents.iter().zip(verdicts).find_map(|(document, verdict)| match verdict {
        Verdict::Conflict { why, next } => {
            Some(Error::conflict(format!("{} cannot be imported as {state}: {why}", document.label)).with_next(next))
        }
        _ => None,
    })
}

/// The documents before and after the one in conflict are told to be blocked by it: nothing of the state is written.
fn conflicts(count: usize, at: usize, why: Why) -> Vec<Verdict> {
    let conflict = || Verdict::Conflict { why: why.to_string(), next: why.next() };
    (0..count).map(|index| if index == at { conflict() } else { Verdict::Blocked }).collect()
}
