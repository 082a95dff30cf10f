//! The opened keys. A locked server has none: leases, history and watching go on, documents do not.

#[cfg(test)]
mod rows;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::sealing::Sealings;
use super::{Error, Service, crew, random};
use crate::domain::environment::Environment;
use crate::domain::ids::{BodyId, DataKeyId, EnvironmentId, IdentityVersion, StateId};
use crate::domain::names::EnvironmentName;
use crate::domain::refusal::Refusal;
use crate::domain::sealing::{DataKeyRecord, IdentityRecord, KeyStatus, Keyring, SealMeta, UnderMaster, Vouched, Wrapped};
use crate::domain::time::WallTime;
use crate::secrets::cache::Cache;
use crate::secrets::data_key::DataKey;
use crate::secrets::find;
use crate::secrets::keys::{EnvironmentIdentity, EnvironmentSecret, SigningKey, UnwrapError, WrapError, data_key};
use crate::secrets::master::{MasterSource, Masters};
use crate::secrets::recipient::Recipient;
use crate::secrets::seal::SealingKeys;
use crate::store::{Query, Rows};

/// Opened data keys at hand at most.
const KEYS: usize = 8192;
/// Keyrings at hand at most.
const RINGS: usize = 1024;
/// Documents whose sealed places are at hand at most: current versions.
const DOCUMENTS: usize = 256;
/// How many places they have at most: a place takes some 250 bytes.
const PLACES: usize = 2048;

/// The master keys while the server is unlocked, and what was opened with them.
pub(super) struct Vault {
    source: MasterSource,
    masters: RwLock<Option<Arc<Masters>>>,
    rings: Cache<EnvironmentName, Ring>,
    keys: Cache<DataKeyId, SealingKeys>,
    sealings: Cache<BodyId, Sealings>,
    /// How often it was locked: an unlock that was under way meanwhile comes to nothing.
    locked: AtomicU64,
    /// One unlock at a time: opening an encrypted master key takes up to a gigabyte.
    unlocking: tokio::sync::Mutex<()>,
}

/// The opened keyring of an environment, as it was at one revision. No `Debug`.
pub(super) struct Ring {
    pub(super) environment: Environment,
    pub(super) keyring: Keyring,
    pub(super) secret: EnvironmentSecret,
    pub(super) signer: SigningKey,
    identities: Vec<(u32, EnvironmentIdentity)>,
}

impl Vault {
    pub(super) fn new(source: MasterSource) -> Self {
        Self {
            source,
            masters: RwLock::new(None),
            rings: Cache::new(RINGS),
            keys: Cache::new(KEYS),
            sealings: Cache::new(DOCUMENTS),
            locked: AtomicU64::new(0),
            unlocking: tokio::sync::Mutex::new(()),
        }
    }

    /// The master keys.
    pub(super) fn masters(&self) -> Result<Arc<Masters>, Error> {
        self.masters.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Error::Locked)
    }

    /// Forgets what was opened of an environment's keyring: it has changed.
    pub(super) fn forget(&self, environment: &EnvironmentName) {
        self.rings.remove(environment);
    }

    /// How often it was locked.
    pub(super) fn times_locked(&self) -> u64 {
        self.locked.load(Ordering::SeqCst)
    }

    /// Waits for the unlock that is under way.
    pub(super) async fn unlocking(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.unlocking.lock().await
    }

    /// Where the master keys come from.
    pub(super) fn source(&self) -> &MasterSource {
        &self.source
    }

    /// From now on, documents open; unless it was locked since `seen`, when somebody thought otherwise.
    pub(super) fn unlock(&self, masters: Masters, seen: u64) -> Result<(), Error> {
        let mut held = self.masters.write().unwrap_or_else(PoisonError::into_inner);
        if self.locked.load(Ordering::SeqCst) != seen {
            return Err(Error::Locked);
        }
        *held = Some(Arc::new(masters));
        drop(held);
        self.clear();
        Ok(())
    }

    /// Forgets all data keys: some were destroyed.
    pub(super) fn forget_data_keys(&self) {
        self.keys.clear();
    }

    /// Forgets all keys. What is being done with them ends with them. Says whether there were any.
    pub(super) fn lock(&self) -> bool {
        let mut held = self.masters.write().unwrap_or_else(PoisonError::into_inner);
        self.locked.fetch_add(1, Ordering::SeqCst);
        let masters = held.take();
        drop(held);
        self.clear();
        masters.is_some()
    }

    pub(super) fn is_locked(&self) -> bool {
        self.masters.read().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// What was opened while somebody locked may have been kept after everything was forgotten: it is forgotten once more.
    pub(super) fn settle<T>(&self, opened: T) -> T {
        if self.is_locked() {
            self.clear();
        }
        opened
    }

    fn clear(&self) {
        self.rings.clear();
        self.keys.clear();
        self.sealings.clear();
    }

    pub(super) fn sealings(&self, body: BodyId) -> Option<Arc<Sealings>> {
        self.sealings.get(&body)
    }

    /// Keeps what is sealed at a version, unless that is much; `old` is the version that it follows, which nobody asks for any more.
    pub(super) fn remember_sealings(&self, old: Option<BodyId>, body: BodyId, sealings: Sealings) -> Arc<Sealings> {
        if let Some(old) = old.filter(|old| self.sealings.get(old).is_some()) {
            self.sealings.remove(&old);
        }
        if sealings.places.len() > PLACES {
            return Arc::new(sealings);
        }
        let kept = self.sealings.get_or_open(&body, || Ok::<_, std::convert::Infallible>(sealings));
        self.settle(kept.unwrap_or_else(|never| match never {}))
    }
}

impl Ring {
    /// Opens everything of a keyring that is not destroyed, and sees whether what stands in it in the clear was vouched for.
    pub(super) fn open(masters: &Masters, environment: Environment, keyring: Keyring) -> Result<Self, UnwrapError> {
        let id = environment.id;
        let named = |key: &UnderMaster, by: &Recipient| {
            if by.to_string() == key.master { Ok(()) } else { Err(UnwrapError) }
        };
        let mut identities = Vec::new();
        for record in &keyring.identities {
            if let Some(key) = &record.key {
                let version = IdentityVersion(record.version.into());
                let (identity, by) = EnvironmentIdentity::open(masters, id, version, &key.wrapped.0)?;
                named(key, &by)?;
                if identity.recipient().to_string() != record.recipient {
                    return Err(UnwrapError);
                }
                identities.push((record.version, identity));
            }
        }
        let (secret, by) = EnvironmentSecret::open(masters, id, &keyring.secret.wrapped.0)?;
        named(&keyring.secret, &by)?;
        let (signer, by) = SigningKey::open(masters, id, &keyring.signer.1.wrapped.0)?;
        named(&keyring.signer.1, &by)?;
        if signer.verifying_key().to_string() != keyring.signer.0 {
            return Err(UnwrapError);
        }
        // Whoever can write to the database alone would be wrapped to from now on, or would have secrets left in the clear or under old keys.
        if !secret.vouches_for(&keyring, environment.key_epoch) || !in_order(&environment, &keyring) {
            tracing::error!(environment = %environment.name, "what the database says of keys, recipients or rules is not what was set: somebody else has written to it");
            return Err(UnwrapError);
        }
        Ok(Self { environment, keyring, secret, signer, identities })
    }

    /// The keyring of a new environment, everything in it fresh.
    pub(super) fn create(masters: &Masters, id: EnvironmentId, recovery: &[Recipient]) -> Result<Keyring, WrapError> {
        let under = |wrapped| UnderMaster { master: masters.recipient().to_string(), wrapped: Wrapped(wrapped) };
        let (identity, wrapped) = EnvironmentIdentity::create(masters, id, IdentityVersion(1), recovery)?;
        let (signer, signing) = SigningKey::create(masters, id, recovery)?;
        let (secret, wrapped_secret) = EnvironmentSecret::create(masters, id, recovery)?;
        let recovery: Vec<_> = recovery.iter().map(ToString::to_string).collect();
        let rules = crate::domain::rules::SealRules::default();
        let vouched = Vouched {
            recovery: secret.vouch_for_recovery(1, &recovery),
            rules: secret.vouch_for_rules(&rules),
            epoch: secret.vouch_for_epoch(Environment::FIRST_EPOCH),
            verified: secret.vouch_for_verified(None),
        };
        Ok(Keyring {
            revision: 0,
            secret: under(wrapped_secret),
            signer: (signer.verifying_key().to_string(), under(signing)),
            identities: vec![IdentityRecord {
                version: 1,
                status: KeyStatus::Active,
                recipient: identity.recipient().to_string(),
                key: Some(under(wrapped)),
                // Set where it is decided.
                created: WallTime::default(),
            }],
            recovery,
            rules,
            vouched,
            job: None,
            verified: None,
        })
    }

    /// All identities that are not destroyed.
    pub(super) fn identities(&self) -> impl Iterator<Item = (u32, &EnvironmentIdentity)> {
        self.identities.iter().map(|(version, identity)| (*version, identity))
    }

    /// What opens data keys, by version.
    pub(super) fn into_identities(self) -> Vec<(u32, EnvironmentIdentity)> {
        self.identities
    }

    /// An identity by its version.
    pub(super) fn identity(&self, version: u32) -> Option<&EnvironmentIdentity> {
        self.identities.iter().find(|(known, _)| *known == version).map(|(_, identity)| identity)
    }

    /// A data key, with the identity that it is wrapped to. There is none of an epoch to come: the keyring would be one that was put back.
    pub(super) fn open_data_key(&self, record: &DataKeyRecord) -> Result<DataKey, UnwrapError> {
        data_key::open(self.identity_of(record).ok_or(UnwrapError)?, record)
    }

    /// The identity that a data key is wrapped to. None: the key is newer than this keyring, or the keyring was put back.
    fn identity_of(&self, record: &DataKeyRecord) -> Option<&EnvironmentIdentity> {
        self.identity(record.identity).filter(|_| record.epoch <= self.environment.key_epoch)
    }

    /// Whether a document was sealed by rules that came after those of this keyring. It was put back, if it is as it is stored now.
    pub(super) fn is_behind(&self, seal: &SealMeta) -> bool {
        seal.rules.1 > self.keyring.rules.revision()
    }

    /// The identity that new data keys are wrapped to.
    pub(super) fn active(&self) -> Result<&EnvironmentIdentity, Error> {
        let missing = || Error::internal("an environment has no active identity");
        self.identity(self.environment.identity).ok_or_else(missing)
    }

    /// Who else can open everything.
    pub(super) fn recovery(&self) -> Result<Vec<Recipient>, Error> {
        let parsed = self.keyring.recovery.iter().map(|text| text.parse());
        parsed.collect::<Result<_, _>>().map_err(|_| Error::internal("a stored recovery recipient is none"))
    }

    /// By which rules secrets are found now.
    pub(super) fn rules(&self) -> (u32, u64) {
        (find::REVISION, self.keyring.rules.revision())
    }
}

/// Whether the lives of the identities are such as rotations leave them: the newest is active and the environment's, no other is, and the
/// destroyed have no key.
fn in_order(environment: &Environment, keyring: &Keyring) -> bool {
    let newest = keyring.identities.last().map(|identity| identity.version);
    let fits = |identity: &IdentityRecord| {
        let destroyed = identity.status == KeyStatus::Destroyed;
        let active = identity.status == KeyStatus::Active;
        identity.key.is_none() == destroyed && active == (Some(identity.version) == newest)
    };
    newest == Some(environment.identity) && keyring.identities.iter().all(fits)
}

impl Service {
    /// The opened keyring of an environment.
    ///
    /// # Errors
    /// There is no such environment, the server is locked, or it does not open with this master key.
    pub(super) async fn ring(&self, environment: &EnvironmentName) -> Result<Arc<Ring>, Error> {
        let masters = self.vault.masters()?;
        // What changes while the keyring is read must not be hidden by what was read.
        let before = self.vault.rings.generation();
        if let Some(ring) = self.vault.rings.get(environment) {
            return Ok(ring);
        }
        let (found, keyring) = self.keyring(environment).await?;
        let opened = Ring::open(&masters, found, keyring).map_err(|_| {
            tracing::error!(%environment, "the keys of an environment do not open with this master key");
            Error::WrongMaster
        })?;
        Ok(self.vault.settle(self.vault.rings.keep(environment, opened, before)))
    }

    /// The keyring as it is now, whatever is at hand.
    pub(super) async fn fresh_ring(&self, environment: &EnvironmentName) -> Result<Arc<Ring>, Error> {
        self.vault.forget(environment);
        self.ring(environment).await
    }

    /// The keyring to seal by what follows a document, or takes its place: one that knows the rules by which it was sealed.
    ///
    /// # Errors
    /// The keyring that is stored does not: somebody has put an earlier one back.
    pub(super) async fn ring_after(&self, ring: &Arc<Ring>, seal: Option<SealMeta>) -> Result<Arc<Ring>, Error> {
        let Some(seal) = seal.filter(|seal| ring.is_behind(seal)) else { return Ok(Arc::clone(ring)) };
        let ring = self.fresh_ring(&ring.environment.name).await?;
        if ring.is_behind(&seal) {
            let (environment, revision) = (&ring.environment.name, seal.rules.1);
            tracing::error!(%environment, revision, "documents were sealed by later rules than the environment has now: they were put back; set the rules again until they have this revision");
            return Err(Error::Internal);
        }
        Ok(ring)
    }

    /// The keyring of an environment as it is stored.
    ///
    /// # Errors
    /// There is no such environment.
    pub(super) async fn keyring(&self, environment: &EnvironmentName) -> Result<(Environment, Keyring), Error> {
        let Rows::Keyrings(found) = self.store.select(Query::Keyring(environment.clone())).await? else {
            return Err(Error::internal("a keyring answered with other rows"));
        };
        found.into_iter().next().ok_or_else(|| Refusal::EnvironmentNotFound(environment.clone()).into())
    }

    /// The keys that hang from a data key.
    pub(super) async fn sealing_keys(&self, ring: &Ring, id: DataKeyId) -> Result<Arc<SealingKeys>, Error> {
        if let Some(keys) = self.vault.keys.get(&id) {
            return Ok(keys);
        }
        let Rows::DataKeys(found) = self.store.select(Query::DataKey(id)).await? else {
            return Err(Error::internal("a data key answered with other rows"));
        };
        let record = found.into_iter().next().ok_or_else(|| Error::internal("a data key is missing"))?;
        self.data_keys_of(ring, &record).await
    }

    /// The keys that hang from a data key whose record is at hand.
    pub(super) async fn data_keys_of(&self, ring: &Ring, record: &DataKeyRecord) -> Result<Arc<SealingKeys>, Error> {
        if let Some(keys) = self.vault.keys.get(&record.id) {
            return Ok(keys);
        }
        let newer = match ring.identity_of(record) {
            Some(_) => None,
            // Made or wrapped after the keyring was read.
            None => Some(self.fresh_ring(&ring.environment.name).await?),
        };
        let ring = newer.as_deref().unwrap_or(ring);
        let open = || ring.open_data_key(record).map(|key| SealingKeys::derive(&key));
        self.vault.settle(self.vault.keys.get_or_open(&record.id, open)).map_err(|_| Error::internal("a data key does not open"))
    }

    /// Opens the keys that hang from a data key for work that nobody waits for: after this, they are at hand.
    pub(super) async fn open_behind(&self, ring: &Arc<Ring>, id: DataKeyId) -> Result<(), Error> {
        if self.vault.keys.get(&id).is_some() {
            return Ok(());
        }
        let Rows::DataKeys(found) = self.store.select(Query::DataKey(id)).await? else {
            return Err(Error::internal("a data key answered with other rows"));
        };
        let (me, ring) = (self.me.upgrade().ok_or(Error::Stopping)?, Arc::clone(ring));
        crew::run_behind(move || {
            // What does not open is told by whoever needs it.
            for record in found {
                let open = || ring.open_data_key(&record).map(|key| SealingKeys::derive(&key));
                let _ = me.vault.settle(me.vault.keys.get_or_open(&record.id, open));
            }
        })
        .await
    }

    /// A fresh data key for a state, made as work that nobody waits for.
    pub(super) async fn new_data_key_behind(
        &self,
        ring: &Arc<Ring>,
        state: StateId,
    ) -> Result<(Arc<SealingKeys>, DataKeyRecord), Error> {
        let (me, ring) = (self.me.upgrade().ok_or(Error::Stopping)?, Arc::clone(ring));
        crew::run_behind(move || me.new_data_key(&ring, state)).await?
    }

    /// A fresh data key for a state, wrapped for the store.
    pub(super) fn new_data_key(&self, ring: &Ring, state: StateId) -> Result<(Arc<SealingKeys>, DataKeyRecord), Error> {
        let failed = |error: &dyn std::error::Error| Error::internal(&error.to_string());
        let key = DataKey::generate(DataKeyId(random::ordered())).map_err(|error| failed(&error))?;
        let (identity, epoch) = (ring.environment.identity, ring.environment.key_epoch);
        let wrapped = data_key::wrap(&key, ring.active()?, &ring.recovery()?, state, epoch).map_err(|error| failed(&error))?;
        let record = DataKeyRecord { id: key.id(), state, identity, epoch, status: KeyStatus::Active, wrapped: Wrapped(wrapped) };
        // Not kept at hand before it is stored: the write may be refused.
        Ok((Arc::new(SealingKeys::derive(&key)), record))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const KEY: DataKeyId = DataKeyId([1; 16]);
    const BODY: BodyId = BodyId([2; 16]);

    fn unlocked() -> Vault {
        let vault = Vault::new(MasterSource::File("unused".into()));
        vault.unlock(Masters::ephemeral(), 0).ok().unwrap();
        vault
    }

    /// Opens a key as a request does that somebody else's `lock` comes upon.
    fn open(vault: &Vault, meanwhile: impl FnOnce()) -> Arc<SealingKeys> {
        meanwhile();
        let opened = vault.keys.get_or_open(&KEY, || Ok::<_, Infallible>(SealingKeys::derive(&DataKey::new(KEY, &[3; 32]))));
        opened.unwrap_or_else(|never| match never {})
    }

    fn sealings() -> Sealings {
        Sealings { key: KEY, places: std::collections::HashMap::new() }
    }

    #[test]
    fn what_is_opened_while_nobody_locks_stays_at_hand() {
        let vault = unlocked();
        let opened = vault.settle(open(&vault, || ()));
        assert!(vault.keys.get(&KEY).is_some_and(|kept| Arc::ptr_eq(&kept, &opened)));
        vault.remember_sealings(None, BODY, sealings());
        assert!(vault.sealings(BODY).is_some());
    }

    #[test]
    fn what_is_opened_while_somebody_locks_is_not_kept() {
        let vault = unlocked();
        let opened = open(&vault, || assert!(vault.lock()));
        assert!(vault.keys.get(&KEY).is_some(), "the cache by itself keeps what comes after everything was forgotten");
        let opened = vault.settle(opened);
        assert!(vault.keys.get(&KEY).is_none(), "nothing is at hand while it is locked");
        assert_eq!(opened.id(), KEY, "whoever has it already ends what it is doing");
        vault.remember_sealings(None, BODY, sealings());
        assert!(vault.sealings(BODY).is_none(), "nor is what was sealed at a version");
    }

    #[test]
    fn unlock_that_was_under_way_while_somebody_locked_comes_to_nothing() {
        let vault = unlocked();
        let seen = vault.times_locked();
        vault.lock();
        assert!(vault.unlock(Masters::ephemeral(), seen).is_err() && vault.is_locked());
        assert!(vault.unlock(Masters::ephemeral(), vault.times_locked()).is_ok() && !vault.is_locked());
    }
}
