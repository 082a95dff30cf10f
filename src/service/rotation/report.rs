//! What keys an environment has, and what is under them.

use crate::domain::access::{Object, Verb};
use crate::domain::decision::Left;
use crate::domain::environment::Environment;
use crate::domain::ids::DataKeyId;
use crate::domain::names::EnvironmentName;
use crate::domain::sealing::{DataKeyRecord, KeyStatus, Keyring};
use crate::service::{Caller, Error, Service};
use crate::store::{Query, Rows, WhichKeys};

/// How many data keys are looked at at once.
const PAGE: usize = 1000;

/// The keys of an environment.
#[derive(Clone, Debug)]
pub struct Report {
    /// The environment: its active identity, its epoch.
    pub environment: Environment,
    /// Its keyring, without the wrapped keys.
    pub keyring: Keyring,
    /// How many data keys are where in their life.
    pub left: Left,
    /// How many documents with bytes: versions and drafts.
    pub documents: u64,
    /// How many sealed values.
    pub values: u64,
    /// Data keys by identity, epoch and status.
    pub groups: Vec<Group>,
}

/// Data keys that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words are those of the design")]
pub struct Group {
    pub identity: u32,
    pub epoch: u32,
    pub status: KeyStatus,
    pub keys: u64,
}

impl Service {
    /// The keys of an environment; also while the server is locked.
    ///
    /// # Errors
    /// There is no such environment.
    pub async fn report_keys(&self, caller: &Caller, name: &EnvironmentName) -> Result<Report, Error> {
        self.allow(caller, Verb::Keys, Object::Environment(name))?;
        let (environment, keyring) = self.keyring(name).await?;
        let Rows::Census { left, documents, values } = self.store.select(Query::Census(name.clone())).await? else {
            return Err(Error::internal("a census answered with other rows"));
        };
        let mut groups = std::collections::BTreeMap::new();
        let mut after = None;
        loop {
            let page = self.data_keys(name, WhichKeys::All, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for record in page {
                *groups.entry((record.identity, record.epoch, record.status)).or_insert(0) += 1;
            }
        }
        let group = |((identity, epoch, status), keys)| Group { identity, epoch, status, keys };
        let groups = groups.into_iter().map(group).collect();
        Ok(Report { environment, keyring: keyring.told(), left, documents, values, groups })
    }

    /// Data keys by id, after an id.
    ///
    /// # Errors
    /// There is no such environment.
    pub async fn list_data_keys(
        &self,
        caller: &Caller,
        name: &EnvironmentName,
        after: Option<DataKeyId>,
        limit: usize,
    ) -> Result<Vec<DataKeyRecord>, Error> {
        self.allow(caller, Verb::Keys, Object::Environment(name))?;
        self.keys(name).await?;
        self.data_keys(name, WhichKeys::All, after, limit).await
    }
}
