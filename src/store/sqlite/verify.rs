//! Checks the database of a server that is not running: the file, the rules that every history keeps, and every stored document.

use super::{Offline, OpenError};
use crate::domain::ids::{Etag, Token};
use crate::store::Document;
use crate::store::sqlite::offline::Named;

/// What was looked at, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Names with a lock, with or without a state.
    pub names: u64,
    /// Versions.
    pub versions: u64,
    /// Drafts.
    pub drafts: u64,
    /// Documents that were opened to the end.
    pub opened: u64,
    /// Documents that are there, and were not opened for want of a key.
    pub unopened: u64,
    /// Each says what is wrong and where.
    pub problems: Vec<String>,
}

/// What came of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// It is what was written, to its last byte.
    Opened,
    /// There is no key to try it with.
    NoKey,
    /// It does not open, or is not what was written.
    Broken,
}

/// How many problems are told before the rest is left out.
const TOLD: usize = 100;

/// Looks at everything. `open` is handed each document with bytes, and the environment and the path that it stands under.
///
/// # Errors
/// A table cannot be read.
pub fn verify(offline: &Offline, open: &mut dyn FnMut(&Named, &Document) -> Tried) -> Result<Verdict, OpenError> {
    let mut verdict = Verdict { problems: offline.structure()?, ..Verdict::default() };
    for found in offline.environments()? {
        if found.environment.is_err() || found.keyring.is_err() {
            verdict.problems.push(format!("{}: the environment or its keys cannot be read", found.name));
        }
    }
    for (environment, id) in offline.altered_keys()? {
        verdict.problems.push(format!("{environment}: the row of data key {id} was altered"));
    }
    for name in offline.names()? {
        verdict.names += 1;
        Check { offline, name: &name, verdict: &mut verdict, open }.run()?;
    }
    let surplus = verdict.problems.len().saturating_sub(TOLD);
    if surplus > 0 {
        verdict.problems.truncate(TOLD);
        verdict.problems.push(format!("and {surplus} more"));
    }
    Ok(verdict)
}

struct Check<'c> {
    offline: &'c Offline,
    name: &'c Named,
    verdict: &'c mut Verdict,
    open: &'c mut dyn FnMut(&Named, &Document) -> Tried,
}

impl Check<'_> {
    fn run(mut self) -> Result<(), OpenError> {
        let last = self.versions()?;
        if last != self.name.current {
            self.wrong(&format!("version {} is current, but the last one is {last}", self.name.current));
        }
        for draft in self.offline.drafts(self.name)? {
            self.verdict.drafts += 1;
            match draft {
                Ok(draft) => {
                    let place = format!("draft {}", draft.id);
                    self.document(Document::Draft(draft), &place);
                }
                Err(error) => self.wrong(&format!("a draft: {error}")),
            }
        }
        Ok(())
    }

    /// Versions are contiguous, each with the etag of the one before and a token that is no lower. Returns the last number.
    fn versions(&mut self) -> Result<u64, OpenError> {
        let (mut last, mut etag, mut token): (u64, Option<Etag>, Token) = (0, None, Token(0));
        let granted = match &self.name.lock {
            Ok(lock) => lock.last_token,
            Err(error) => {
                self.wrong(&format!("the lock: {error}"));
                Token(u64::MAX)
            }
        };
        for (number, version) in self.offline.versions(self.name)? {
            self.verdict.versions += 1;
            let place = format!("version {number}");
            if number != last + 1 {
                self.wrong(&format!("{place} follows version {last}"));
            }
            last = number;
            let version = match version {
                Ok(version) if version.version.0 == number && version.path.as_str() == self.name.path => version,
                _ => {
                    self.wrong(&format!("{place}: its row cannot be read, or belongs elsewhere"));
                    continue;
                }
            };
            if version.previous_etag != etag {
                self.wrong(&format!("{place} does not continue the version before it"));
            }
            if version.token < token || version.token > granted {
                self.wrong(&format!("{place} has a token out of order"));
            }
            (etag, token) = (Some(version.etag), version.token);
            if version.body.is_some() {
                self.document(Document::Version(version), &place);
            }
        }
        Ok(last)
    }

    fn document(&mut self, document: Document, place: &str) {
        match (self.open)(self.name, &document) {
            Tried::Opened if self.offline.is_complete(&document) => self.verdict.opened += 1,
            Tried::NoKey if self.offline.is_complete(&document) => self.verdict.unopened += 1,
            Tried::Broken => self.wrong(&format!("{place} does not open")),
            Tried::Opened | Tried::NoKey => self.wrong(&format!("something that {place} consists of is missing")),
        }
    }

    fn wrong(&mut self, what: &str) {
        self.verdict.problems.push(format!("{}/{}: {what}", self.name.environment, self.name.path));
    }
}
