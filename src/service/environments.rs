//! Environments: create, list, set, freeze, delete.

use super::vault::Ring;
use super::{Caller, Error, Service, random};
use crate::domain::access::{Object, Verb};
use crate::domain::command::{Act, EnvironmentAct, LockAct};
use crate::domain::decision::Reply;
use crate::domain::environment::Environment;
use crate::domain::ids::{EnvironmentId, KeyedDigest, RequestId};
use crate::domain::names::{EnvironmentName, Reason, StateName};
use crate::domain::settings::SettingsChange;
use crate::secrets::recipient::Recipient;
use crate::service::Actor;
use crate::store::{Query, Rows};

/// What is frozen: an environment, or one state in it.
#[derive(Clone, Debug)]
pub enum Target {
    /// All states of an environment.
    Environment(EnvironmentName),
    /// One state.
    State(StateName),
}

/// Who besides the server can open everything of a new environment.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// age recipients.
    pub recipients: Vec<String>,
    /// Said on purpose: nobody.
    pub none: bool,
}

/// What others may know of an environment's keys.
#[derive(Clone, Debug, Default)]
pub struct PublicKeys {
    /// Under which its sealed documents are signed.
    pub signer: String,
    /// age recipients that can open everything without the server.
    pub recovery: Vec<String>,
    /// The version of the identity that new data keys are wrapped to.
    pub identity: u32,
}

impl Recovery {
    /// The recipients, if somebody has thought of them.
    fn checked(self) -> Result<Vec<Recipient>, Error> {
        if self.recipients.is_empty() != self.none {
            return Err(Error::RecoveryRequired);
        }
        self.recipients.iter().map(|text| recipient(text)).collect()
    }
}

/// A recipient, or why it is none.
pub(super) fn recipient(text: &str) -> Result<Recipient, Error> {
    text.parse().map_err(|error| Error::Recipient(format!("{error}")))
}

impl Service {
    /// Makes an environment with a secret of its own. A repeated request id finds the first one's reply.
    ///
    /// # Errors
    /// There is one already, or a setting is out of range.
    pub async fn create_environment(
        &self,
        caller: &Caller,
        id: RequestId,
        name: EnvironmentName,
        settings: SettingsChange,
        recovery: Recovery,
    ) -> Result<Environment, Error> {
        let actor = self.allow(caller, Verb::Admin, Object::Environment(&name))?;
        let recovery = recovery.checked()?;
        let masters = self.vault.masters()?;
        let environment = EnvironmentId(random::bytes16()?);
        let keyring = Ring::create(&masters, environment, &recovery);
        let keyring = Box::new(keyring.map_err(|error| Error::internal(&error.to_string()))?);
        let text = format!("{name} {settings:?} {recovery:?}");
        let request = Some((id, self.server_key.digest(&[b"create", text.as_bytes()])));
        let act = EnvironmentAct::Create { id: environment, settings, keyring };
        match self.submit(actor, request, Act::Environment(name, act)).await? {
            Reply::Environment(environment) => Ok(environment),
            _ => Err(Error::internal("an environment act answered otherwise")),
        }
    }

    /// One environment, or all, with the number of states in each.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn environments(&self, caller: &Caller, which: Option<EnvironmentName>) -> Result<Vec<(Environment, u64)>, Error> {
        self.allow_list(caller, Verb::ALL, which.as_ref())?;
        let Rows::Environments(mut found) = self.store.select(Query::Environments(which.clone())).await? else {
            return Err(Error::internal("environments answered with other rows"));
        };
        match which {
            Some(name) if found.is_empty() => Err(crate::domain::refusal::Refusal::EnvironmentNotFound(name).into()),
            _ => {
                found.retain(|(environment, _)| self.allow_within(caller, Verb::ALL, &environment.name).is_ok());
                Ok(found)
            }
        }
    }

    /// What others may know of an environment's keys.
    ///
    /// # Errors
    /// There is no such environment.
    pub async fn public_keys(&self, caller: &Caller, name: &EnvironmentName) -> Result<PublicKeys, Error> {
        self.allow_within(caller, Verb::ALL, name)?;
        let (environment, keyring) = self.keyring(name).await?;
        Ok(PublicKeys { signer: keyring.signer.0, recovery: keyring.recovery, identity: environment.identity })
    }

    /// Changes settings. Returns the number of states as well.
    ///
    /// # Errors
    /// No such environment, or a setting is out of range.
    pub async fn set_environment(
        &self,
        caller: &Caller,
        id: RequestId,
        name: EnvironmentName,
        change: SettingsChange,
    ) -> Result<(Environment, u64), Error> {
        let actor = self.allow(caller, Verb::Admin, Object::Environment(&name))?;
        let digest = self.keys(&name).await?.request_digest(&[b"set", format!("{change:?}").as_bytes()]);
        match self.environment_act(actor, id, digest, name.clone(), EnvironmentAct::Set(change)).await? {
            Reply::Environment(environment) => {
                let states = self.environments(caller, Some(name)).await?.first().map_or(0, |(_, states)| *states);
                Ok((environment, states))
            }
            _ => Err(Error::internal("an environment act answered otherwise")),
        }
    }

    /// Stops new leases.
    ///
    /// # Errors
    /// No such environment.
    pub async fn freeze(&self, caller: &Caller, id: RequestId, target: Target, reason: Reason) -> Result<(), Error> {
        let actor = self.allow(caller, Verb::Admin, target.object())?;
        let keys = self.keys(target.environment()).await?;
        let digest = keys.request_digest(&[b"freeze", target.text().as_bytes(), reason.as_str().as_bytes()]);
        match target {
            Target::Environment(name) => self.environment_act(actor, id, digest, name, EnvironmentAct::Freeze(reason)).await?,
            Target::State(state) => self.submit(actor, Some((id, digest)), Act::Lock(state, LockAct::Freeze(reason))).await?,
        };
        Ok(())
    }

    /// Lets leases be granted again. Tells whether they were not.
    ///
    /// # Errors
    /// No such environment.
    pub async fn unfreeze(&self, caller: &Caller, id: RequestId, target: Target) -> Result<bool, Error> {
        let actor = self.allow(caller, Verb::Admin, target.object())?;
        let digest = self.keys(target.environment()).await?.request_digest(&[b"unfreeze", target.text().as_bytes()]);
        let reply = match target {
            Target::Environment(name) => self.environment_act(actor, id, digest, name, EnvironmentAct::Unfreeze).await?,
            Target::State(state) => self.submit(actor, Some((id, digest)), Act::Lock(state, LockAct::Unfreeze)).await?,
        };
        Ok(matches!(reply, Reply::Unfrozen { was: true }))
    }

    /// Deletes an environment. Returns how many states went with it.
    ///
    /// # Errors
    /// It is in use.
    pub async fn delete_environment(
        &self,
        caller: &Caller,
        id: RequestId,
        name: EnvironmentName,
        force: bool,
    ) -> Result<u64, Error> {
        let actor = self.allow(caller, Verb::Admin, Object::Environment(&name))?;
        // Its key goes with it, and a retry has to be recognised afterwards.
        let digest = self.server_key.digest(&[b"delete", format!("{name} {force}").as_bytes()]);
        let deleted = self.environment_act(actor, id, digest, name.clone(), EnvironmentAct::Delete { force }).await;
        self.forget_keys(&name);
        match deleted? {
            Reply::EnvironmentDeleted { states } => Ok(states),
            _ => Err(Error::internal("an environment act answered otherwise")),
        }
    }

    pub(super) async fn environment_act(
        &self,
        actor: Actor,
        id: RequestId,
        digest: KeyedDigest,
        name: EnvironmentName,
        act: EnvironmentAct,
    ) -> Result<Reply, Error> {
        self.submit(actor, Some((id, digest)), Act::Environment(name, act)).await
    }
}

impl Target {
    fn object(&self) -> Object<'_> {
        match self {
            Self::Environment(name) => Object::Environment(name),
            Self::State(state) => Object::State(state),
        }
    }

    fn environment(&self) -> &EnvironmentName {
        match self {
            Self::Environment(name) => name,
            Self::State(state) => &state.environment,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Environment(name) => name.to_string(),
            Self::State(state) => state.to_string(),
        }
    }
}
