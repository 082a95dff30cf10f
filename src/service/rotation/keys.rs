//! Data keys, a batch at a time: wrapped to another identity, or retired.

use std::sync::Arc;

use super::off_thread;
use super::runner::Run;
use crate::domain::command::KeyAct;
use crate::domain::ids::{DataKeyId, RequestId};
use crate::domain::names::EnvironmentName;
use crate::domain::sealing::{DataKeyRecord, Wrapped};
use crate::secrets::keys::{UnwrapError, WrapError, data_key};
use crate::secrets::recipient::Recipient;
use crate::service::vault::Ring;
use crate::service::{Error, Service, crew};
use crate::store::{Query, Rows, WhichKeys};

/// How many keys are wrapped in a batch: others wait for one, and no longer.
const REWRAPPED: usize = 24;
/// How many are retired in one, if they have few values.
const RETIRED: usize = 16;

/// How far a walk over the data keys of an environment is.
#[derive(Default)]
pub(super) struct Sweep {
    after: Option<DataKeyId>,
    /// What comes next, wrapped while what was before it was committed.
    ahead: Option<Page>,
}

/// Data keys, wrapped to the active identity and opened again with it alone.
struct Page {
    keys: Vec<DataKeyRecord>,
    /// Those that do not open.
    failed: Vec<DataKeyId>,
    last: DataKeyId,
}

impl Service {
    /// Wraps the next data keys to the active identity. False if there are none.
    pub(super) async fn rewrap_batch(&self, environment: &EnvironmentName, job: RequestId, run: &mut Run) -> Result<bool, Error> {
        let page = match run.sweep.ahead.take() {
            Some(page) => page,
            None => match self.rewrapped(environment, run.sweep.after).await? {
                Some(page) => page,
                None => return Ok(false),
            },
        };
        let act = KeyAct::Rewrapped { job, keys: page.keys };
        let (committed, ahead) = tokio::join!(self.own_key_act(environment, act), self.rewrapped(environment, Some(page.last)));
        committed?;
        run.failures.extend(page.failed.into_iter().map(|id| format!("data key {id}")));
        run.sweep.after = Some(page.last);
        // What went wrong ahead is tried again, and told, in its turn.
        run.sweep.ahead = ahead.unwrap_or_default();
        Ok(true)
    }

    async fn rewrapped(&self, environment: &EnvironmentName, after: Option<DataKeyId>) -> Result<Option<Page>, Error> {
        let ring = self.ring(environment).await?;
        let which = WhichKeys::NotUnder(ring.environment.identity);
        let records = self.data_keys(environment, which, after, REWRAPPED).await?;
        let Some(last) = records.last().map(|last| last.id) else { return Ok(None) };
        let recovery = ring.recovery()?;
        let (keys, failed) = off_thread(move || rewrap(&ring, &recovery, records)).await??;
        Ok(Some(Page { keys, failed, last }))
    }

    /// Retires the next data keys of an earlier epoch. False if there are none that could be.
    pub(super) async fn retire_batch(
        &self,
        environment: &EnvironmentName,
        job: RequestId,
        epoch: u32,
        run: &mut Run,
    ) -> Result<bool, Error> {
        let records = self.data_keys(environment, WhichKeys::Before(epoch), run.sweep.after, RETIRED).await?;
        let Some(last) = records.last().map(|last| last.id) else { return Ok(false) };
        let all = records.len() as u64;
        let keys = records.into_iter().map(|record| record.id).collect();
        let (_, done, skipped) = self.own_key_act(environment, KeyAct::Retire { job, keys }).await?;
        // The others have values left, which go a number at a time.
        if done + skipped >= all {
            run.sweep.after = Some(last);
        }
        Ok(true)
    }

    /// Data keys of an environment by id.
    pub(in crate::service) async fn data_keys(
        &self,
        environment: &EnvironmentName,
        which: WhichKeys,
        after: Option<DataKeyId>,
        limit: usize,
    ) -> Result<Vec<DataKeyRecord>, Error> {
        let query = Query::DataKeys { environment: environment.clone(), which, after, limit };
        match self.store.select(query).await? {
            Rows::DataKeys(records) => Ok(records),
            _ => Err(Error::internal("data keys answered with other rows")),
        }
    }
}

type Rewrapped = (Vec<DataKeyRecord>, Vec<DataKeyId>);

/// The same keys for the active identity, each opened again with it alone; and those that do not open.
fn rewrap(ring: &Arc<Ring>, recovery: &[Recipient], records: Vec<DataKeyRecord>) -> Result<Rewrapped, Error> {
    let to = ring.active()?;
    let (mut keys, mut failed) = (Vec::new(), Vec::new());
    for record in records {
        let from = ring.identity(record.identity).ok_or(WrapError::Unwrap(UnwrapError));
        let wrap = |from| data_key::rewrap(from, to, recovery, &record);
        match from.and_then(wrap) {
            Ok(wrapped) => {
                keys.push(DataKeyRecord { identity: ring.environment.identity, wrapped: Wrapped(wrapped), ..record });
            }
            Err(WrapError::Unwrap(_)) => failed.push(record.id),
            Err(error) => return Err(super::unwrappable(error)),
        }
        crew::give_way();
    }
    Ok((keys, failed))
}
