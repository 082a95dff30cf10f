//! What asks for a rotation, or joins the one that is under way.

use std::sync::Arc;

use super::{Telling, unwrappable};
use crate::domain::access::{Object, Verb};
use crate::domain::command::KeyAct;
use crate::domain::ids::{IdentityVersion, KeyedDigest, RequestId};
use crate::domain::names::EnvironmentName;
use crate::domain::refusal::Refusal;
use crate::domain::sealing::{IdentityRecord, Job, JobKind, KeyStatus, UnderMaster, Wrapped};
use crate::domain::time::WallTime;
use crate::secrets::keys::{EnvironmentIdentity, WrapError};
use crate::secrets::master::Masters;
use crate::secrets::recipient::Recipient;
use crate::service::Actor;
use crate::service::environments::recipient;
use crate::service::vault::Ring;
use crate::service::{Caller, Error, Service};
use crate::store::{Query, Rows};

/// How often a change that others were faster than is made anew.
pub(super) const TRIES: u32 = 64;

/// Other recovery recipients.
#[derive(Clone, Debug, Default)]
pub struct RecipientsChange {
    /// Those to add: age recipients.
    pub add: Vec<String>,
    /// Those to take away.
    pub remove: Vec<String>,
    /// Said on purpose: nobody may be left.
    pub none: bool,
}

impl Service {
    /// Puts a new identity in front and wraps all data keys of an environment to it. Joins a rewrap that is under way.
    ///
    /// # Errors
    /// No such environment, the server is locked, or a reencrypt is under way.
    pub async fn rewrap(&self, caller: &Caller, id: RequestId, environment: EnvironmentName) -> Result<Telling, Error> {
        let actor = self.allow(caller, Verb::Keys, Object::Environment(&environment))?;
        let digest = self.keys(&environment).await?.request_digest(&[b"rewrap"]);
        if let Some(job) = self.running(&environment, JobKind::Rewrap).await? {
            return self.join(environment, job.id);
        }
        let ring = self.fresh_ring(&environment).await?;
        let recovery = ring.recovery()?;
        self.begin_rewrap(actor, (id, digest), environment, recovery).await
    }

    /// The same with other recovery recipients.
    ///
    /// # Errors
    /// As [`Self::rewrap`]; a recipient is none, or nobody would be left; any rotation is under way.
    pub async fn change_recipients(
        &self,
        caller: &Caller,
        id: RequestId,
        environment: EnvironmentName,
        change: RecipientsChange,
    ) -> Result<Telling, Error> {
        let actor = self.allow(caller, Verb::Keys, Object::Environment(&environment))?;
        // Whoever is named can read everything.
        self.allow_all_of(caller, Verb::ReadFull, &environment)?;
        let digest = self.keys(&environment).await?.request_digest(&[b"recipients", format!("{change:?}").as_bytes()]);
        let (found, keyring) = self.keyring(&environment).await?;
        if let Some(job) = keyring.job {
            // The very request that began it.
            return match job.id == id {
                true => self.join(found.name, id),
                false => Err(Refusal::RotationRunning { kind: job.kind, done: job.done, total: job.total }.into()),
            };
        }
        let mut recovery: Vec<Recipient> = keyring.recovery.iter().map(|text| recipient(text)).collect::<Result<_, _>>()?;
        let add = change.add.iter().map(|text| recipient(text)).collect::<Result<Vec<_>, _>>()?;
        let remove = change.remove.iter().map(|text| recipient(text)).collect::<Result<Vec<_>, _>>()?;
        recovery.retain(|known| !remove.contains(known));
        for one in add {
            if !recovery.contains(&one) {
                recovery.push(one);
            }
        }
        if recovery.is_empty() && !change.none {
            return Err(Error::RecoveryRequired);
        }
        self.begin_rewrap(actor, (id, digest), environment, recovery).await
    }

    /// Asks for new data keys, and seals everything of an environment again under them. Joins a reencrypt that is under way.
    ///
    /// # Errors
    /// No such environment, the server is locked, or a rewrap is under way.
    pub async fn reencrypt(&self, caller: &Caller, id: RequestId, environment: EnvironmentName) -> Result<Telling, Error> {
        let actor = self.allow(caller, Verb::Keys, Object::Environment(&environment))?;
        let digest = self.keys(&environment).await?.request_digest(&[b"reencrypt"]);
        self.vault.masters()?;
        if let Some(job) = self.running(&environment, JobKind::Reencrypt).await? {
            return self.join(environment, job.id);
        }
        let total = match self.store.select(Query::Census(environment.clone())).await? {
            Rows::Census { documents, .. } => documents,
            _ => return Err(Error::internal("a census answered with other rows")),
        };
        for _ in 0..TRIES {
            let ring = self.fresh_ring(&environment).await?;
            let epoch = ring.environment.key_epoch + 1;
            let act = KeyAct::BeginReencrypt { total, epoch, vouched: ring.secret.vouch_for_epoch(epoch) };
            match self.key_act(actor.clone(), Some((id, digest)), &environment, act).await {
                // Another one was begun and ended in between.
                Err(Error::Refused(Refusal::KeysMoved)) => {}
                begun => return self.begun(environment, id, JobKind::Reencrypt, begun.map(drop)).await,
            }
        }
        Err(Refusal::KeysMoved.into())
    }

    async fn begin_rewrap(
        &self,
        actor: Actor,
        request: (RequestId, KeyedDigest),
        environment: EnvironmentName,
        recovery: Vec<Recipient>,
    ) -> Result<Telling, Error> {
        let masters = self.vault.masters()?;
        for _ in 0..TRIES {
            let ring = self.fresh_ring(&environment).await?;
            let act = new_identity(&masters, &ring, &recovery).map_err(unwrappable)?;
            match self.key_act(actor.clone(), Some(request), &environment, act).await {
                // Something else changed the keyring in between.
                Err(Error::Refused(Refusal::KeysMoved)) => {}
                begun => return self.begun(environment, request.0, JobKind::Rewrap, begun.map(drop)).await,
            }
        }
        Err(Refusal::KeysMoved.into())
    }

    /// The rotation of this kind that is under way.
    async fn running(&self, environment: &EnvironmentName, kind: JobKind) -> Result<Option<Job>, Error> {
        let (_, keyring) = self.keyring(environment).await?;
        Ok(keyring.job.filter(|job| job.kind == kind))
    }

    async fn begun(
        &self,
        environment: EnvironmentName,
        id: RequestId,
        kind: JobKind,
        begun: Result<(), Error>,
    ) -> Result<Telling, Error> {
        // New data keys are made as the environment says now.
        self.vault.forget(&environment);
        match begun {
            Ok(()) => self.join(environment, id),
            // Two asked at once: the other one was first.
            Err(Error::Refused(Refusal::RotationRunning { kind: other, .. })) if other == kind => {
                let job = self.running(&environment, kind).await?.map_or(id, |job| job.id);
                self.join(environment, job)
            }
            Err(error) => Err(error),
        }
    }
}

/// A new identity under the current master key, and the keyring's own keys for the same recipients.
fn new_identity(masters: &Masters, ring: &Arc<Ring>, recovery: &[Recipient]) -> Result<KeyAct, WrapError> {
    let version = ring.keyring.identities.last().map_or(0, |last| last.version) + 1;
    let under = |wrapped| UnderMaster { master: masters.recipient().to_string(), wrapped: Wrapped(wrapped) };
    let (identity, wrapped) =
        EnvironmentIdentity::create(masters, ring.environment.id, IdentityVersion(version.into()), recovery)?;
    let recipients: Vec<_> = recovery.iter().map(ToString::to_string).collect();
    Ok(KeyAct::BeginRewrap {
        revision: ring.keyring.revision,
        identity: IdentityRecord {
            version,
            status: KeyStatus::Active,
            recipient: identity.recipient().to_string(),
            key: Some(under(wrapped)),
            // Set where it is decided.
            created: WallTime::default(),
        },
        secret: under(ring.secret.rewrap(masters, recovery)?),
        signer: under(ring.signer.rewrap(masters, recovery)?),
        vouched: ring.secret.vouch_for_recovery(version, &recipients),
        recovery: recipients,
    })
}
