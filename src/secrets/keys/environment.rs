//! The secret of each environment, under which documents are digested for request ids.

use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{UnwrapError, WrapError};
use crate::domain::ids::{EnvironmentId, KeyedDigest};
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
    pub fn create(masters: &Masters, environment: EnvironmentId, recovery: &[Recipient]) -> Result<Vec<u8>, WrapError> {
        let mut made = Self { environment, secret: [0; SECRET] };
        getrandom::fill(&mut made.secret).map_err(|_| NoRandomness)?;
        made.rewrap(masters, recovery)
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
        let mut key = Zeroizing::new([0; 32]);
        scrubbed(|| {
            Hkdf::<Sha256>::new(Some(&self.environment.0), &self.secret)
                .expand(b"leasehold/v1/content-digest", key.as_mut())
                .expect("32 bytes are within HKDF's limit");
        });
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_ref()).expect("HMAC takes keys of any length");
        mac.update(&(document.len() as u64).to_be_bytes());
        mac.update(document);
        KeyedDigest(mac.finalize().into_bytes().into())
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
        let make = || EnvironmentSecret::open(&master, id, &EnvironmentSecret::create(&master, id, &[]).unwrap()).ok().unwrap().0;
        let (one, another) = (make(), make());
        assert_ne!(one.content_digest(b"x"), another.content_digest(b"x"), "two secrets, two digests");
        let moved = EnvironmentSecret::open(&other, id, &one.rewrap(&other, &[]).unwrap()).ok().unwrap().0;
        assert_eq!(moved.content_digest(b"x"), one.content_digest(b"x"));
    }
}
