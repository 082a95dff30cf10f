//! States and their versions: list, history, show, diff, purge.

use std::sync::Arc;

use super::pull::{Meta, Which};
use super::{Caller, Error, Service};
use crate::domain::access::{Object, Verb};
use crate::domain::audit::Deed;
use crate::domain::command::{Act, ContentAct};
use crate::domain::decision::Reply;
use crate::domain::document::VersionMeta;
use crate::domain::format::Format;
use crate::domain::format::diff::{Diff, diff};
use crate::domain::ids::{RequestId, Version};
use crate::domain::names::{EnvironmentName, Prefix, StateName};
use crate::domain::refusal::Refusal;
use crate::store::{Query, Rows};

/// One entry of a history: the snapshots of one lease and inner lock id.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The last of them.
    pub version: VersionMeta,
    /// How many there are.
    pub snapshots: u32,
    /// The first of them.
    pub first: Version,
}

impl Service {
    /// Current versions by name.
    ///
    /// # Errors
    /// There is no such environment.
    pub async fn states(
        &self,
        caller: &Caller,
        prefix: Prefix,
        deleted: bool,
        after: Option<StateName>,
        limit: usize,
    ) -> Result<Vec<(EnvironmentName, VersionMeta)>, Error> {
        self.allow_list(caller, &[Verb::ReadRedacted], prefix.environment.as_ref())?;
        if let Some(environment) = &prefix.environment {
            self.keys(environment).await?;
        }
        let mut after = after;
        let mut shown = Vec::new();
        while shown.len() < limit {
            let query = Query::States { prefix: prefix.clone(), deleted, after: after.clone(), limit };
            let Rows::Versions(rows) = self.store.select(query).await? else {
                return Err(Error::internal("states answered with other rows"));
            };
            let last = rows.len() < limit;
            for (environment, version) in rows {
                let name = StateName { environment: environment.clone(), path: version.path.clone() };
                if self.verbs(caller, &Object::State(&name))?.has(Verb::ReadRedacted) && shown.len() < limit {
                    shown.push((environment, version));
                }
                after = Some(name);
            }
            if last {
                break;
            }
        }
        Ok(shown)
    }

    /// The history of a state from the newest down, by entry or (`all`) by version; and where the next page starts.
    ///
    /// # Errors
    /// There never was such a state.
    pub async fn history(
        &self,
        caller: &Caller,
        state: &StateName,
        all: bool,
        before: Option<Version>,
        limit: usize,
    ) -> Result<(Vec<Entry>, Option<Version>), Error> {
        /// Versions read at once: an apply that saves every few seconds has hundreds in one entry.
        const PAGE: usize = 1000;
        self.allow(caller, Verb::ReadRedacted, Object::State(state))?;
        self.keys(&state.environment).await?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut before = before;
        loop {
            let query = Query::History { state: state.clone(), before, limit: PAGE };
            let Rows::Versions(rows) = self.store.select(query).await? else {
                return Err(Error::internal("a history answered with other rows"));
            };
            if rows.is_empty() && entries.is_empty() && before.is_none() {
                return Err(Refusal::StateNotFound.into());
            }
            let last = rows.len() < PAGE;
            for (_, version) in rows {
                let full = entries.len() == limit;
                before = match entries.last_mut().filter(|entry| !all && same_entry(&entry.version, &version)) {
                    Some(entry) => {
                        (entry.snapshots, entry.first) = (entry.snapshots + 1, version.version);
                        Some(version.version)
                    }
                    None if full => return Ok((entries, before)),
                    None => {
                        let first = version.version;
                        entries.push(Entry { snapshots: 1, first, version });
                        Some(first)
                    }
                };
            }
            if last {
                return Ok((entries, None));
            }
        }
    }

    /// One version or draft without its document.
    ///
    /// # Errors
    /// There is none.
    pub async fn show(&self, caller: &Caller, state: &StateName, which: Which) -> Result<Meta, Error> {
        self.allow(caller, Verb::ReadRedacted, Object::State(state))?;
        self.keys(&state.environment).await?;
        self.meta(state, which).await
    }

    /// What changed between two contents of a state.
    ///
    /// # Errors
    /// One of them is not there.
    pub async fn diff(
        self: &Arc<Self>,
        caller: &Caller,
        state: &StateName,
        from: Option<Version>,
        to: Which,
    ) -> Result<Diff, Error> {
        let actor = self.allow(caller, Verb::ReadRedacted, Object::State(state))?;
        let held = self.verbs(caller, &Object::State(state))?;
        if held.has(Verb::Write) && !held.has(Verb::ReadFull) {
            // Who may write could try guesses, and see whether a secret changed.
            self.allow(caller, Verb::ReadFull, Object::State(state))?;
        }
        self.keys(&state.environment).await?;
        let to_meta = self.meta(state, to).await?;
        let from = match (from, &to_meta) {
            (Some(from), _) => Some(Which::Version(from)),
            (None, Meta::Draft(_)) => Some(Which::Current),
            (None, Meta::Version(version)) if version.version.0 > 1 => Some(Which::Version(Version(version.version.0 - 1))),
            (None, Meta::Version(_)) => None,
        };
        let with = match from {
            Some(Which::Version(version)) => format!("with version {version}"),
            Some(_) => "with the current version".to_owned(),
            None => "with nothing".to_owned(),
        };
        let format = to_meta.format();
        let from_meta = match from {
            None => None,
            Some(from) => match self.meta(state, from).await {
                // Before a state's first version, and after its deletion, there was nothing.
                Err(Error::Refused(Refusal::StateNotFound)) => None,
                Ok(Meta::Version(version)) if version.deleted() => None,
                Ok(meta) if meta.format() != format => {
                    return Err(Refusal::FormatDiffers { fixed: meta.format(), got: format }.into());
                }
                Ok(meta) => Some(meta),
                Err(error) => return Err(error),
            },
        };
        let documents = [&to_meta, from_meta.as_ref().unwrap_or(&to_meta)];
        let flight = self.flight_of(state, documents).await?;
        let new = self.whole(state, &to_meta).await?;
        let old = match &from_meta {
            Some(meta) => self.whole(state, meta).await?,
            None => Arc::new(zeroize::Zeroizing::new(empty_of(format))),
        };
        let verb = if held.has(Verb::ReadFull) { Verb::ReadFull } else { Verb::ReadRedacted };
        self.record_read(&actor, state, &to_meta, (Deed::Diff, verb), with).await?;
        let task = tokio::task::spawn_blocking(move || {
            let _flight = flight;
            diff(format, &old, &new)
        });
        Ok(task.await.map_err(|error| Error::internal(&error.to_string()))??)
    }

    /// Drops the bytes of old versions. Returns of how many.
    ///
    /// # Errors
    /// There is no such state or version, or the version is current.
    pub async fn purge(&self, caller: &Caller, id: RequestId, state: StateName, version: Option<Version>) -> Result<u64, Error> {
        let actor = self.allow(caller, Verb::Admin, Object::State(&state))?;
        let which = format!("{state} {version:?}");
        let digest = self.keys(&state.environment).await?.request_digest(&[b"purge", which.as_bytes()]);
        let act = Act::Content(state, Box::new(ContentAct::Purge(version)));
        match self.submit(actor, Some((id, digest)), act).await? {
            Reply::Purged { versions } => Ok(versions),
            _ => Err(Error::internal("a purge answered otherwise")),
        }
    }
}

/// A history entry is (lease, inner lock id).
fn same_entry(a: &VersionMeta, b: &VersionMeta) -> bool {
    a.token == b.token && a.inner_lock == b.inner_lock && a.state == b.state && a.origin == b.origin
}

/// What stands for "nothing yet" in a comparison.
fn empty_of(format: Format) -> Vec<u8> {
    match format {
        Format::Terraform | Format::Pulumi => b"{}".to_vec(),
        Format::Json => b"null".to_vec(),
        Format::Opaque => Vec::new(),
    }
}
