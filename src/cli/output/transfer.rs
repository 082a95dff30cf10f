//! What became of documents that were moved, shown.

use serde_json::{Value, json};

use super::{Show, wide};
use crate::client::{Document, Header, Leaving, Verdict, Written};

/// A document that was or would be imported.
pub(crate) struct Arrived {
    pub(crate) state: String,
    pub(crate) source: String,
    pub(crate) header: Header,
    pub(crate) verdict: Verdict,
}

impl Arrived {
    pub(crate) fn of(state: &str, document: &Document, verdict: Verdict) -> Self {
        Self { state: state.to_owned(), source: document.label.clone(), header: document.header.clone(), verdict }
    }

    fn version(&self) -> Option<u64> {
        match self.verdict {
            Verdict::Written { version, .. } | Verdict::There { version, .. } => Some(version),
            _ => None,
        }
    }

    /// In one word, and for people.
    fn what(&self) -> (&'static str, String) {
        match &self.verdict {
            Verdict::New => ("new", "new".to_owned()),
            Verdict::Written { .. } => ("written", "written and compared".to_owned()),
            Verdict::There { purged: false, .. } => ("there", "already there, compared".to_owned()),
            Verdict::There { purged: true, .. } => ("there", "already there, its bytes dropped: not compared".to_owned()),
            Verdict::Conflict { why, .. } => ("conflict", format!("would conflict: {why}")),
            Verdict::Blocked => ("blocked", "not without the one in conflict".to_owned()),
        }
    }
}

impl Show for Arrived {
    const HEAD: &'static [&'static str] = &["STATE", "SERIAL", "FROM", "VERSION", "WHAT"];

    fn row(&self) -> Vec<String> {
        let version = self.version().map(|version| version.to_string()).unwrap_or_default();
        vec![self.state.clone(), self.header.serial.to_string(), self.source.clone(), version, self.what().1]
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        Self::HEAD.iter().copied().zip(self.row()).collect()
    }

    fn json(&self) -> Value {
        let (what, _) = self.what();
        let (why, next) = match &self.verdict {
            Verdict::Conflict { why, next } => (Some(why.as_str()), Some(*next)),
            _ => (None, None),
        };
        json!({
            "state": self.state,
            "source": self.source,
            "lineage": self.header.lineage,
            "serial": wide(self.header.serial),
            "encrypted": self.header.encrypted,
            "version": self.version().map(wide),
            "what": what,
            "compared": matches!(self.verdict, Verdict::Written { .. } | Verdict::There { purged: false, .. }),
            "why": why,
            "next": next,
        })
    }
}

/// A version that was or would be exported.
pub(crate) struct Left<'a> {
    pub(crate) leaving: &'a Leaving,
    /// Not only planned.
    pub(crate) done: bool,
}

impl Left<'_> {
    fn what(&self) -> (&'static str, &'static str) {
        match (self.leaving.there, self.done) {
            (Written::Same, _) => ("there", "already there, compared"),
            (Written::Missing, false) => ("new", "new"),
            (Written::Other, false) => ("conflict", "something else is there"),
            (_, true) => ("written", "written and compared"),
        }
    }
}

impl Show for Left<'_> {
    const HEAD: &'static [&'static str] = &["STATE", "VERSION", "SERIAL", "TO", "WHAT"];

    fn row(&self) -> Vec<String> {
        let Leaving { state, version, header, file, .. } = self.leaving;
        let serial = header.as_ref().map(|header| header.serial.to_string()).unwrap_or_default();
        vec![state.clone(), version.to_string(), serial, file.display().to_string(), self.what().1.to_owned()]
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        Self::HEAD.iter().copied().zip(self.row()).collect()
    }

    fn json(&self) -> Value {
        let Leaving { state, version, header, file, .. } = self.leaving;
        json!({
            "state": state,
            "version": wide(*version),
            "lineage": header.as_ref().map(|header| header.lineage.as_str()),
            "serial": header.as_ref().map(|header| wide(header.serial)),
            "file": file.display().to_string(),
            "what": self.what().0,
        })
    }
}
