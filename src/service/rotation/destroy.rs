//! The end of retired keys.

use crate::domain::access::{Object, Verb};
use crate::domain::command::KeyAct;
use crate::domain::ids::{DataKeyId, RequestId};
use crate::domain::names::EnvironmentName;
use crate::domain::sealing::KeyStatus;
use crate::service::{Caller, Error, Service};
use crate::store::WhichKeys;

/// How many data keys are looked at at once.
const PAGE: usize = 1000;

/// What is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destroyed {
    /// How many identities and data keys.
    pub keys: u64,
    /// Whether nothing of their wraps is left in the store's files.
    pub erased: bool,
}

impl Service {
    /// Drops the wraps of all retired keys, and looks whether they are gone from the store's files. Copies that were made before still open.
    ///
    /// # Errors
    /// No such environment, a rotation is under way, or nothing is retired.
    pub async fn destroy_keys(&self, caller: &Caller, id: RequestId, environment: EnvironmentName) -> Result<Destroyed, Error> {
        let actor = self.allow(caller, Verb::Keys, Object::Environment(&environment))?;
        let digest = self.keys(&environment).await?.request_digest(&[b"destroy"]);
        let mut wraps = self.retired_wraps(&environment).await?;
        let mut keys = 0;
        // Only the last is remembered by its id: what comes before is safe to repeat.
        loop {
            let destroyed = self.key_act(actor.clone(), Some((id, digest)), &environment, KeyAct::Destroy).await;
            self.vault.forget(&environment);
            self.vault.forget_data_keys();
            let (_, done, left) = destroyed?;
            keys += done;
            if left == 0 {
                break;
            }
        }
        // Of a row that was altered it is not known what its wrap was.
        let all = wraps.len();
        wraps.retain(|wrap| !wrap.is_empty());
        let known = wraps.len() == all;
        Ok(Destroyed { keys, erased: self.store.erase(wraps).await? && known })
    }

    async fn retired_wraps(&self, environment: &EnvironmentName) -> Result<Vec<Vec<u8>>, Error> {
        let (_, keyring) = self.keyring(environment).await?;
        let retired = keyring.identities.into_iter().filter(|identity| identity.status == KeyStatus::Retired);
        let mut wraps: Vec<Vec<u8>> = retired.filter_map(|identity| Some(identity.key?.wrapped.0)).collect();
        let mut after: Option<DataKeyId> = None;
        loop {
            let page = self.data_keys(environment, WhichKeys::All, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(wraps) };
            after = Some(last.id);
            let retired = page.into_iter().filter(|record| record.status == KeyStatus::Retired);
            wraps.extend(retired.map(|record| record.wrapped.0));
        }
    }
}
