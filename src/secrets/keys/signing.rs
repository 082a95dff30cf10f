//! The signing key of each environment, and what others verify with.

use std::fmt;
use std::str::FromStr;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Hrp};
use ed25519_dalek::{Signature, Signer};
use zeroize::Zeroizing;

use super::{UnwrapError, WrapError};
use crate::domain::ids::EnvironmentId;
use crate::secrets::data_key::NoRandomness;
use crate::secrets::master::Masters;
use crate::secrets::recipient::Recipient;
use crate::secrets::wrap::{self, Fields};

/// What an environment signs with (Ed25519). No `Debug`, wiped on drop.
pub struct SigningKey {
    environment: EnvironmentId,
    key: ed25519_dalek::SigningKey,
}

/// The public half of a [`SigningKey`]. As text it is Bech32m with the prefix `lhs` (`lhs1…`), which finds typing errors.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey([u8; 32]);

/// A text that is no public key of an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum PublicKeyError {
    #[error("not the public key of an environment (lhs1…)")]
    Other,
    #[error("the public key has a typing error: its checksum does not match; copy it again, whole")]
    Typo,
}

const KIND: &str = "leasehold/v1/signing-key";
const PREFIX: Hrp = Hrp::parse_unchecked("lhs");

impl SigningKey {
    /// Makes the signing key of a new environment, wrapped for the store.
    ///
    /// # Errors
    /// No randomness, or too many recipients.
    pub fn create(masters: &Masters, environment: EnvironmentId, recovery: &[Recipient]) -> Result<(Self, Vec<u8>), WrapError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|_| NoRandomness)?;
        let made = Self { environment, key: ed25519_dalek::SigningKey::from_bytes(&seed) };
        let wrapped = made.rewrap(masters, recovery)?;
        Ok((made, wrapped))
    }

    /// Opens a wrapped signing key; also says to which master it was wrapped. If that is not the current one, a rewrap is due.
    ///
    /// # Errors
    /// [`UnwrapError`] for a wrong key, another environment's signing key, or a forged one.
    pub fn open(masters: &Masters, environment: EnvironmentId, wrapped: &[u8]) -> Result<(Self, Recipient), UnwrapError> {
        masters.open(|master| Self::read(&wrap::unwrap(master, KIND, wrapped)?, environment))
    }

    /// Wraps it to the current master and the recovery recipients.
    ///
    /// # Errors
    /// Too many recipients.
    pub fn rewrap(&self, masters: &Masters, recovery: &[Recipient]) -> Result<Vec<u8>, WrapError> {
        let public = self.key.verifying_key();
        let fields: [&[u8]; 4] = [KIND.as_bytes(), &self.environment.0, public.as_bytes(), self.key.as_bytes()];
        wrap::wrap(masters.current(), recovery, &fields)
    }

    /// Whose it is.
    #[must_use]
    pub fn environment(&self) -> EnvironmentId {
        self.environment
    }

    /// The public half.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.key.verifying_key().to_bytes())
    }

    /// Signs `lp(purpose) ‖ message`, where lp puts a u64 big-endian length before: what is signed for one purpose says nothing for another.
    #[must_use]
    pub fn sign(&self, purpose: &str, message: &[u8]) -> [u8; 64] {
        self.key.sign(&bound(purpose, message)).to_bytes()
    }

    pub(super) fn unverified(
        opener: &age::x25519::Identity,
        environment: EnvironmentId,
        wrapped: &[u8],
    ) -> Result<Self, UnwrapError> {
        Self::read(&wrap::danger_unwrap_unverified(opener, KIND, wrapped)?, environment)
    }

    fn read(fields: &Fields<4>, environment: EnvironmentId) -> Result<Self, UnwrapError> {
        let [_, bound, public, material] = fields.get();
        let seed = Zeroizing::new(<[u8; 32]>::try_from(material).map_err(|_| UnwrapError)?);
        let key = ed25519_dalek::SigningKey::from_bytes(&seed);
        let ours = bound == environment.0 && public == key.verifying_key().as_bytes();
        if ours { Ok(Self { environment, key }) } else { Err(UnwrapError) }
    }
}

impl VerifyingKey {
    /// Whether this is the signature of a message for a purpose. Weak keys and the several encodings of one signature are refused.
    #[must_use]
    pub fn verifies(&self, purpose: &str, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        self.point().is_some_and(|key| key.verify_strict(&bound(purpose, message), &signature).is_ok())
    }

    /// The 32 bytes of the key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key, unless it is none: a point that is not on the curve, or one of small order, under which anybody signs.
    fn point(&self) -> Option<ed25519_dalek::VerifyingKey> {
        ed25519_dalek::VerifyingKey::from_bytes(&self.0).ok().filter(|key| !key.is_weak())
    }
}

impl FromStr for VerifyingKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        if !text.starts_with("lhs1") {
            return Err(PublicKeyError::Other);
        }
        let checked = CheckedHrpstring::new::<Bech32m>(text).map_err(|_| PublicKeyError::Typo)?;
        let bytes: Vec<u8> = checked.byte_iter().collect();
        let key = Self(bytes.try_into().map_err(|_| PublicKeyError::Other)?);
        if key.point().is_some() { Ok(key) } else { Err(PublicKeyError::Other) }
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32::encode_lower_to_fmt::<Bech32m, _>(f, PREFIX, self.as_bytes()).map_err(|_| fmt::Error)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn bound(purpose: &str, message: &[u8]) -> Vec<u8> {
    [&(purpose.len() as u64).to_be_bytes(), purpose.as_bytes(), message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> VerifyingKey {
        VerifyingKey(ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes())
    }

    #[test]
    fn public_keys_read_back_what_they_print_and_typing_errors_are_found() {
        let text = key().to_string();
        assert_eq!(text.parse(), Ok(key()));
        for at in 4..text.len() {
            let mut bent = text.clone();
            bent.replace_range(at..=at, if text.as_bytes()[at] == b'q' { "p" } else { "q" });
            assert_eq!(bent.parse::<VerifyingKey>(), Err(PublicKeyError::Typo), "at {at}");
        }
        assert_eq!("age1qqqq".parse::<VerifyingKey>(), Err(PublicKeyError::Other));
        let mut weak = [0; 32];
        weak[0] = 1;
        let weak = bech32::encode::<Bech32m>(PREFIX, &weak).unwrap();
        assert_eq!(weak.parse::<VerifyingKey>(), Err(PublicKeyError::Other), "the neutral element verifies anything");
    }

    #[test]
    fn signatures_hold_for_one_purpose_and_message() {
        let signer = SigningKey { environment: EnvironmentId([1; 16]), key: ed25519_dalek::SigningKey::from_bytes(&[7; 32]) };
        let signature = signer.sign("a", b"bc");
        assert!(key().verifies("a", b"bc", &signature));
        assert!(!key().verifies("ab", b"c", &signature));
        assert!(!key().verifies("a", b"bd", &signature));
        let mut bent = signature;
        bent[63] ^= 0x20;
        assert!(!key().verifies("a", b"bc", &bent));
    }
}
