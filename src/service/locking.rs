//! Locking and unlocking: with the master key documents are served, without it they are not.

use zeroize::Zeroizing;

use super::vault::Ring;
use super::{Caller, Error, Service};
use crate::domain::access::{Object, Verb};
use crate::domain::audit::Deed;
use crate::domain::sealing::{Keyring, UnderMaster};
use crate::secrets::master::{MasterError, Masters};
use crate::secrets::recipient::Recipient;
use crate::store::{Query, Rows};

/// Whether the server serves documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockStatus {
    /// It has no master key.
    pub locked: bool,
    /// Unlocking needs a passphrase.
    pub asks_passphrase: bool,
}

impl Service {
    /// Whether the server is locked, and what unlocking takes.
    ///
    /// # Errors
    /// The caller is no principal.
    pub fn lock_status(&self, caller: &Caller) -> Result<LockStatus, Error> {
        self.allow_somewhere(caller, Verb::ALL)?;
        Ok(LockStatus { locked: self.is_locked(), asks_passphrase: self.vault.source().asks_passphrase() })
    }

    /// Fetches the master key again, and serves documents from then on. Says whether the server was locked.
    ///
    /// # Errors
    /// The key cannot be had, or is the wrong one: the server stays as it was. [`Error::Locked`] if it was locked meanwhile.
    pub async fn unlock(&self, caller: &Caller, passphrase: Option<Zeroizing<String>>) -> Result<bool, Error> {
        let actor = self.allow(caller, Verb::Keys, Object::Store)?;
        let principal = &actor.principal;
        let _alone = self.vault.unlocking().await;
        let seen = self.vault.times_locked();
        let source = self.vault.source().clone();
        let loading = tokio::task::spawn_blocking(move || source.load(passphrase.as_deref().map(String::as_str)));
        let loaded = loading.await.map_err(|error| Error::internal(&error.to_string()))?;
        let masters = loaded.map_err(|error: MasterError| {
            tracing::warn!(%error, %principal, "unlocking failed");
            Error::Master(error.to_string())
        })?;
        let was_locked = self.is_locked();
        self.take(masters, seen).await?;
        tracing::info!(%principal, "unlocked");
        self.record_keys(&actor, Deed::ServerUnlock);
        Ok(was_locked)
    }

    /// Takes the master keys that a starting server has.
    ///
    /// # Errors
    /// They are the wrong ones: the server stays locked.
    pub async fn begin_unlocked(&self, masters: Masters) -> Result<(), Error> {
        self.take(masters, self.vault.times_locked()).await
    }

    /// Forgets all keys: documents are not served until the next unlock. What is under way goes on to its end. Says whether the server
    /// was locked before.
    ///
    /// # Errors
    /// The caller is no principal.
    pub fn lock_down(&self, caller: &Caller) -> Result<bool, Error> {
        let actor = self.allow(caller, Verb::Keys, Object::Store)?;
        let had_keys = self.vault.lock();
        self.record_keys(&actor, Deed::ServerLock);
        tracing::info!(principal = %actor.principal, "locked: documents are not served until `leasehold unlock`");
        Ok(!had_keys)
    }

    /// Whether documents are not served.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.vault.is_locked()
    }

    async fn take(&self, masters: Masters, seen: u64) -> Result<(), Error> {
        self.check_masters(&masters).await?;
        self.vault.unlock(masters, seen)?;
        self.resume_rotations().await
    }

    /// Keys that are wrapped to another master make these the wrong ones, and so does it if none at all opens: nothing is served then. An
    /// environment whose stored keys are damaged does not keep the others from being served.
    async fn check_masters(&self, masters: &Masters) -> Result<(), Error> {
        let Rows::Environments(all) = self.store.select(Query::Environments(None)).await? else {
            return Err(Error::internal("environments answered with other rows"));
        };
        let (mut opened, mut damaged) = (0, Vec::new());
        for (environment, _) in all {
            let name = environment.name;
            let (environment, keyring) = match self.keyring(&name).await {
                Err(Error::Internal) => {
                    damaged.push(name);
                    continue;
                }
                found => found?,
            };
            let foreign = is_under_another(masters, &keyring);
            if Ring::open(masters, environment, keyring).is_ok() {
                opened += 1;
            } else if foreign {
                tracing::error!(environment = %name, "the keys are wrapped to another master key than this one");
                return Err(Error::WrongMaster);
            } else {
                damaged.push(name);
            }
        }
        for name in &damaged {
            tracing::error!(environment = %name, "the stored keys are damaged, or not those of this master key");
        }
        if opened == 0 && !damaged.is_empty() { Err(Error::WrongMaster) } else { Ok(()) }
    }
}

/// Whether something says that it is wrapped to a master that is not among these. A name that was damaged says nothing: recipients have
/// checksums.
fn is_under_another(masters: &Masters, keyring: &Keyring) -> bool {
    let ours: Vec<Recipient> = masters.recipients().collect();
    let identities = keyring.identities.iter().filter_map(|identity| identity.key.as_ref());
    let mut all = [&keyring.secret, &keyring.signer.1].into_iter().chain(identities);
    all.any(|UnderMaster { master, .. }| master.parse().is_ok_and(|named: Recipient| !ours.contains(&named)))
}
