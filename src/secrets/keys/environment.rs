//! The secret of each environment, under which documents are digested for request ids.

use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{UnwrapError, WrapError};
use crate::domain::ids::{EnvironmentId, KeyedDigest};
use crate::domain::rules::SealRules;
use crate::domain::sealing::{Keyring, Verified, Vouched};
use crate::secrets::data_key::NoRandomness;
use crate::secrets::hygiene::scrubbed;
use crate::secrets::master::Masters;
use crate::secrets::recipient::Recipient;
use crate::secrets::wrap::{self, Fields};

/// The secret of an environment. It outlives rotations, so that a retry is known across them. No `Debug`, wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct EnvironmentSecret {
    #[zeroize(skip)]
    environment: EnvironmentId,
    secret: [u8; SECRET],
}

const KIND: &str = "leasehold/v1/environment-secret";
const SECRET: usize = 32;

impl EnvironmentSecret {
    /// Makes the secret of a new environment, wrapped for the store.
    ///
    /// # Errors
    /// No randomness, or too many recipients.
    pub fn create(masters: &Masters, environment: EnvironmentId, recovery: &[Recipient]) -> Result<(Self, Vec<u8>), WrapError> {
        let mut made = Self { environment, secret: [0; SECRET] };
        getrandom::fill(&mut made.secret).map_err(|_| NoRandomness)?;
        let wrapped = made.rewrap(masters, recovery)?;
        Ok((made, wrapped))
    }

    /// Opens a wrapped secret; also says to which master it was wrapped. If that is not the current one, a rewrap is due.
    ///
    /// # Errors
    /// [`UnwrapError`] for a wrong key, another environment's secret, or a forged one.
    pub fn open(masters: &Masters, environment: EnvironmentId, wrapped: &[u8]) -> Result<(Self, Recipient), UnwrapError> {
        masters.open(|master| Self::read(&wrap::unwrap(master, KIND, wrapped)?, environment))
    }

    /// Wraps it to the current master and the recovery recipients.
    ///
    /// # Errors
    /// Too many recipients.
    pub fn rewrap(&self, masters: &Masters, recovery: &[Recipient]) -> Result<Vec<u8>, WrapError> {
        wrap::wrap(masters.current(), recovery, &[KIND.as_bytes(), &self.environment.0, &self.secret])
    }

    /// The keyed digest of a document, for the digest of the request that brings it: kept nowhere by itself.
    #[must_use]
    pub fn content_digest(&self, document: &[u8]) -> KeyedDigest {
        KeyedDigest(self.mac("leasehold/v1/content-digest", [document]).finalize().into_bytes().into())
    }

    /// Vouches for recovery recipients, which came with this version of the identity.
    #[must_use]
    pub fn vouch_for_recovery(&self, identity: u32, recovery: &[String]) -> [u8; 32] {
        self.recovery_mac(identity, recovery).finalize().into_bytes().into()
    }

    /// Vouches for the environment's rules.
    #[must_use]
    pub fn vouch_for_rules(&self, rules: &SealRules) -> [u8; 32] {
        self.rules_mac(rules).finalize().into_bytes().into()
    }

    /// Vouches for the epoch of the environment's data keys.
    #[must_use]
    pub fn vouch_for_epoch(&self, epoch: u32) -> [u8; 32] {
        self.epoch_mac(epoch).finalize().into_bytes().into()
    }

    /// Vouches for the outcome of opening everything, or that it was never done.
    #[must_use]
    pub fn vouch_for_verified(&self, verified: Option<&Verified>) -> [u8; 32] {
        self.verified_mac(verified).finalize().into_bytes().into()
    }

    /// Whether what is in this keyring, of an environment in this epoch, was vouched for.
    #[must_use]
    pub fn vouches_for(&self, keyring: &Keyring, epoch: u32) -> bool {
        let identity = keyring.active().map_or(0, |active| active.version);
        let Vouched { recovery, rules, epoch: vouched_epoch, verified } = &keyring.vouched;
        let all = [
            (self.recovery_mac(identity, &keyring.recovery), recovery),
            (self.rules_mac(&keyring.rules), rules),
            (self.epoch_mac(epoch), vouched_epoch),
            (self.verified_mac(keyring.verified.as_ref()), verified),
        ];
        all.into_iter().all(|(mac, vouched)| mac.verify_slice(vouched).is_ok())
    }

    fn recovery_mac(&self, identity: u32, recovery: &[String]) -> Hmac<Sha256> {
        let identity = identity.to_be_bytes();
        self.mac("leasehold/v1/recovery-recipients", std::iter::once(&identity[..]).chain(recovery.iter().map(String::as_bytes)))
    }

    fn rules_mac(&self, rules: &SealRules) -> Hmac<Sha256> {
        let revision = rules.revision().to_be_bytes();
        let lines: Vec<_> = rules.rules().iter().map(ToString::to_string).collect();
        self.mac("leasehold/v1/seal-rules", std::iter::once(&revision[..]).chain(lines.iter().map(String::as_bytes)))
    }

    fn epoch_mac(&self, epoch: u32) -> Hmac<Sha256> {
        self.mac("leasehold/v1/key-epoch", [&epoch.to_be_bytes()[..]])
    }

    fn verified_mac(&self, verified: Option<&Verified>) -> Hmac<Sha256> {
        let numbers = verified.map(|Verified { finished, documents, failures }| {
            [finished.0.to_be_bytes(), documents.to_be_bytes(), failures.to_be_bytes()]
        });
        let numbers = numbers.iter().flatten();
        self.mac("leasehold/v1/verified", numbers.map(<[u8; 8]>::as_slice))
    }

    /// Over parts of which each says how long it is.
    fn mac<'p>(&self, purpose: &str, parts: impl IntoIterator<Item = &'p [u8]>) -> Hmac<Sha256> {
        let mut key = Zeroizing::new([0; 32]);
        scrubbed(|| {
            Hkdf::<Sha256>::new(Some(&self.environment.0), &self.secret)
                .expand(purpose.as_bytes(), key.as_mut())
                .expect("32 bytes are within HKDF's limit");
        });
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_ref()).expect("HMAC takes keys of any length");
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }

    pub(super) fn unverified(
        opener: &age::x25519::Identity,
        environment: EnvironmentId,
        wrapped: &[u8],
    ) -> Result<Self, UnwrapError> {
        Self::read(&wrap::danger_unwrap_unverified(opener, KIND, wrapped)?, environment)
    }

    fn read(fields: &Fields<3>, environment: EnvironmentId) -> Result<Self, UnwrapError> {
        let [_, id, secret] = fields.get();
        if id != environment.0 {
            return Err(UnwrapError);
        }
        Ok(Self { environment, secret: secret.try_into().map_err(|_| UnwrapError)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_depend_on_the_secret_and_survive_a_rewrap() {
        let (master, other) = (Masters::ephemeral(), Masters::ephemeral());
        let id = EnvironmentId([1; 16]);
        let make =
            || EnvironmentSecret::open(&master, id, &EnvironmentSecret::create(&master, id, &[]).unwrap().1).ok().unwrap().0;
        let (one, another) = (make(), make());
        assert_ne!(one.content_digest(b"x"), another.content_digest(b"x"), "two secrets, two digests");
        let moved = EnvironmentSecret::open(&other, id, &one.rewrap(&other, &[]).unwrap()).ok().unwrap().0;
        assert_eq!(moved.content_digest(b"x"), one.content_digest(b"x"));
    }
}
