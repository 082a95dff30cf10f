//! Documents, a batch at a time, sealed again.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;

use super::reseal::{Track, seal_of, size_and_format};
use super::runner::Run;
use crate::domain::command::{Ahead, KeyAct, Resealed};
use crate::domain::ids::{BodyId, RequestId, StateId};
use crate::domain::names::{EnvironmentName, StatePath};
use crate::domain::sealing::NewValue;
use crate::service::opening::body_of;
use crate::service::pull::Meta;
use crate::service::vault::Ring;
use crate::service::{Error, Service};
use crate::store::{Document, Query, Rows, WhichDocuments};

/// How many documents are in a batch, unless others write the same states meanwhile. Others wait for one, and no longer.
const BATCH: usize = 8;
/// How many bytes of documents: a larger one comes alone.
const BYTES: u64 = 16 << 20;
/// How many new sealed values, about: each is a row that the store's one writer puts. Those of a document with more go ahead of it.
const VALUES: usize = 32;
/// How many paths are worked on at once, so that none waits for what the store reads for another. It competes with the clients as so many of
/// them would.
const AT_ONCE: usize = 4;

/// How far a walk over the documents of an environment is.
pub(super) struct Pass {
    after: Option<StatePath>,
    /// Whether anything was tried since the walk last began: if not, what is left was given up.
    tried: bool,
    /// How many documents the next batch has at most.
    most: usize,
    /// What did not open, and how often: it may have been moved the first time.
    failed: HashMap<BodyId, u32>,
}

impl Pass {
    pub(super) fn after(after: Option<StatePath>) -> Self {
        // Somebody else may have passed over what is before.
        Self { tried: after.is_some(), after, most: BATCH, failed: HashMap::new() }
    }

    /// A document that did not open twice stays as it is.
    fn is_lost(&self, meta: &Meta) -> bool {
        body_of(meta).ok().and_then(|body| self.failed.get(&body)).is_some_and(|times| *times > 1)
    }
}

/// What became of documents under one path.
struct SealedPath<'r> {
    documents: Vec<Resealed>,
    /// The one that did not open, after the others.
    broken: Option<&'r (StatePath, Meta)>,
    /// There were too many new values for one batch.
    full: bool,
}

/// The documents that are sealed again together.
struct Batch {
    documents: Vec<Resealed>,
    /// How many were looked at.
    taken: usize,
    /// One did not open.
    broken: bool,
}

impl Service {
    /// Seals the next documents again, as part of a rotation or because of other rules. False if there are none.
    pub(super) async fn reseal_batch(
        &self,
        environment: &EnvironmentName,
        job: Option<RequestId>,
        which: WhichDocuments,
        run: &mut Run,
    ) -> Result<bool, Error> {
        let query = Query::Documents { environment: environment.clone(), which, after: run.pass.after.clone(), limit: BATCH };
        let Rows::Documents(rows) = self.store.select(query).await? else {
            return Err(Error::internal("documents answered with other rows"));
        };
        let Some((last, _)) = rows.last().cloned() else {
            // What was passed over stands before.
            run.pass.after = None;
            return Ok(std::mem::take(&mut run.pass.tried));
        };
        let mut rows: Vec<(StatePath, Meta)> = rows.into_iter().map(|(path, document)| (path, meta(document))).collect();
        rows.retain(|(_, meta)| !run.pass.is_lost(meta));
        if rows.is_empty() {
            run.pass.after = Some(last);
            return Ok(true);
        }
        run.pass.tried = true;
        let mut batch = self.seal_batch(environment, &rows, run).await?;
        for document in &mut batch.documents {
            if !self.put_ahead(environment, document).await? {
                // Somebody has written the state. What is put stays, and is found again.
                run.pass.most = (run.pass.most / 2).max(1);
                self.vault.forget(environment);
                return Ok(true);
            }
        }
        // The next rows begin behind the last path when all of this one's are done.
        let whole = batch.taken == rows.len() && !batch.broken;
        let cursor = whole.then(|| last.clone());
        let all = batch.documents.len() as u64;
        if all > 0 {
            let act = KeyAct::Resealed { job, cursor, documents: batch.documents };
            let (_, done, skipped) = self.own_key_act(environment, act).await?;
            // Whoever writes the same state is faster, the larger the batch is.
            run.pass.most = if skipped > 0 { (run.pass.most / 2).max(1) } else { (run.pass.most * 2).min(BATCH) };
            if done < all {
                self.vault.forget(environment);
                return Ok(true);
            }
        }
        if whole {
            run.pass.after = Some(last);
        }
        Ok(true)
    }

    /// Puts the new sealed values of a document that has many, ahead of it. False if the state has moved.
    async fn put_ahead(&self, environment: &EnvironmentName, document: &mut Resealed) -> Result<bool, Error> {
        let content = &mut document.content;
        if content.values.len() <= VALUES {
            return Ok(true);
        }
        let mut values = std::mem::take(&mut content.values).into_iter().peekable();
        while values.peek().is_some() {
            let values: Vec<NewValue> = values.by_ref().take(VALUES).collect();
            let count = u32::try_from(values.len()).unwrap_or(u32::MAX);
            let (ground, new_key) = (content.ground, content.new_key.take());
            let act = KeyAct::Ahead(Ahead { path: document.path.clone(), ground, new_key, values });
            if self.own_key_act(environment, act).await?.1 == 0 {
                return Ok(false);
            }
            content.ground.next_ordinal = ground.next_ordinal.saturating_add(count);
        }
        Ok(true)
    }

    async fn seal_batch(&self, environment: &EnvironmentName, rows: &[(StatePath, Meta)], run: &mut Run) -> Result<Batch, Error> {
        let ring = self.ring(environment).await?;
        let mut waiting = fitting(rows, run.pass.most).chunk_by(|(one, _), (other, _)| one == other);
        let mut under_way = FuturesOrdered::new();
        let mut batch = Batch { documents: Vec::new(), taken: 0, broken: false };
        let mut values = 0;
        loop {
            while under_way.len() < AT_ONCE && values <= VALUES {
                let Some(rows) = waiting.next() else { break };
                under_way.push_back(self.seal_path(&ring, rows));
            }
            let Some(sealed) = under_way.next().await else { return Ok(batch) };
            let sealed = sealed?;
            values += sealed.documents.iter().map(|document| document.content.values.len()).sum::<usize>();
            batch.taken += sealed.documents.len();
            batch.documents.extend(sealed.documents);
            if let Some((path, meta)) = sealed.broken {
                let times = run.pass.failed.entry(body_of(meta)?).or_default();
                *times += 1;
                if *times > 1 {
                    run.failures.push(place(environment, path, meta));
                }
                batch.broken = true;
            }
            if batch.broken || sealed.full {
                return Ok(batch);
            }
        }
    }

    /// Documents under one path, one upon the other: those of one state share the values that they have in common.
    async fn seal_path<'r>(&self, ring: &Arc<Ring>, rows: &'r [(StatePath, Meta)]) -> Result<SealedPath<'r>, Error> {
        let mut tracks: HashMap<StateId, Track> = HashMap::new();
        let (mut sealed, mut values) = (SealedPath { documents: Vec::new(), broken: None, full: false }, 0);
        for row in rows {
            let (path, meta) = row;
            let Some(seal) = seal_of(meta) else { continue };
            sealed.full = values > VALUES;
            if sealed.full {
                break;
            }
            let mut track = match tracks.remove(&seal.state) {
                Some(track) => track,
                None => self.track(ring, seal.state).await?,
            };
            match self.reseal(ring, &mut track, path, meta).await {
                Ok(document) => {
                    values += document.content.values.len();
                    sealed.documents.push(document);
                    tracks.insert(track.state(), track);
                }
                // Gone or moved since it was listed, or damaged. The track is not sound any more.
                Err(Error::Internal | Error::Document(_)) => {
                    sealed.broken = Some(row);
                    break;
                }
                Err(error) => return Err(error),
            }
            tokio::task::yield_now().await;
        }
        Ok(sealed)
    }
}

/// As many documents as go into one batch, and at least one.
fn fitting(rows: &[(StatePath, Meta)], most: usize) -> &[(StatePath, Meta)] {
    let sizes = rows.iter().map(|(_, meta)| size_and_format(meta).0);
    let sums = sizes.scan(0_u64, |sum, size| {
        *sum = sum.saturating_add(size);
        Some(*sum)
    });
    let fit = sums.take(most).take_while(|sum| *sum <= BYTES).count();
    &rows[..fit.clamp(1, rows.len())]
}

pub(super) fn meta(document: Document) -> Meta {
    match document {
        Document::Version(version) => Meta::Version(version),
        Document::Draft(draft) => Meta::Draft(draft),
    }
}

/// A document for people.
pub(super) fn place(environment: &EnvironmentName, path: &StatePath, meta: &Meta) -> String {
    match meta {
        Meta::Version(version) => format!("{environment}/{path} version {}", version.version),
        Meta::Draft(draft) => format!("{environment}/{path} draft {}", draft.id),
    }
}
