//! The secret of each environment, and the keys derived from it, one per purpose.

use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{UnwrapError, WrapError};
use crate::domain::ids::{EnvironmentId, KeyedDigest, Token};
use crate::domain::names::{Principal, Session, StateName};
use crate::secrets::data_key::NoRandomness;
use crate::secrets::master::Masters;
use crate::secrets::recipient::Recipient;
use crate::secrets::wrap::{self, Fields};

/// The secret that an environment's keys are derived from. No `Debug`, wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct EnvironmentSecret {
    #[zeroize(skip)]
    environment: EnvironmentId,
    secret: [u8; SECRET],
}

/// The keys of one environment. No `Debug`, wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct EnvironmentKeys {
    request: [u8; 32],
    content: [u8; 32],
    lease: [u8; 32],
}

const KIND: &str = "leasehold/v1/environment-secret";
const SECRET: usize = 32;

/// Makes the secret of a new environment, wrapped for the store.
///
/// # Errors
/// No randomness, or too many recipients.
pub fn create(masters: &Masters, environment: EnvironmentId, recovery: &[Recipient]) -> Result<Vec<u8>, WrapError> {
    let mut made = EnvironmentSecret { environment, secret: [0; SECRET] };
    getrandom::fill(&mut made.secret).map_err(|_| NoRandomness)?;
    made.rewrap(masters, recovery)
}

/// Opens a wrapped secret and derives the environment's keys.
///
/// # Errors
/// [`UnwrapError`] for a wrong key, another environment's secret, or a forged one.
pub fn open(masters: &Masters, environment: EnvironmentId, wrapped: &[u8]) -> Result<EnvironmentKeys, UnwrapError> {
    EnvironmentSecret::open(masters, environment, wrapped).map(|(secret, _)| secret.keys())
}

/// The keyed digest of a request about an environment that does not exist yet, or will not when the request is repeated: under a key of
/// the current master, since there is none of the environment.
#[must_use]
pub fn server_digest(masters: &Masters, parts: &[&[u8]]) -> KeyedDigest {
    KeyedDigest(mac(&wrap::derive(masters.current(), "server-request-digest"), parts))
}

impl EnvironmentSecret {
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

    /// The keys that everything is done with.
    #[must_use]
    pub fn keys(&self) -> EnvironmentKeys {
        let derive = |purpose: &str| {
            let mut key = [0; 32];
            Hkdf::<Sha256>::new(Some(&self.environment.0), &self.secret)
                .expand_multi_info(&[b"leasehold/v1/", purpose.as_bytes()], &mut key)
                .expect("32 bytes are within HKDF's limit");
            key
        };
        EnvironmentKeys { request: derive("request-digest"), content: derive("content-digest"), lease: derive("lease-secret") }
    }

    pub(super) fn unverified(
        opener: &age::x25519::Identity,
        environment: EnvironmentId,
        wrapped: &[u8],
    ) -> Result<Self, UnwrapError> {
        Self::read(&wrap::danger_unwrap_unverified(opener, KIND, wrapped)?, environment)
    }

    fn read(fields: &Fields<3>, environment: EnvironmentId) -> Result<Self, UnwrapError> {
        let [_, bound, material] = fields.get();
        let secret = Zeroizing::new(<[u8; SECRET]>::try_from(material).map_err(|_| UnwrapError)?);
        if bound == environment.0 { Ok(Self { environment, secret: *secret }) } else { Err(UnwrapError) }
    }
}

impl EnvironmentKeys {
    /// The keyed digest of a request, from its parts in order. Lengths keep parts apart.
    #[must_use]
    pub fn request_digest(&self, parts: &[&[u8]]) -> KeyedDigest {
        KeyedDigest(mac(&self.request, parts))
    }

    /// The keyed digest of a document.
    #[must_use]
    pub fn content_digest(&self, document: &[u8]) -> KeyedDigest {
        KeyedDigest(mac(&self.content, &[document]))
    }

    /// What proves that the bearer was granted this lease. Nothing of it is stored: it is computed again to compare.
    #[must_use]
    pub fn lease_secret(&self, state: &StateName, session: &Session, token: Token, principal: &Principal) -> [u8; 32] {
        let parts = [state.to_string(), session.to_string(), token.to_string(), principal.to_string()];
        mac(&self.lease, &parts.each_ref().map(String::as_bytes))
    }

    /// Whether `shown` is the secret of this lease, in constant time.
    #[must_use]
    pub fn is_lease_secret(
        &self,
        shown: &[u8],
        state: &StateName,
        session: &Session,
        token: Token,
        principal: &Principal,
    ) -> bool {
        self.lease_secret(state, session, token, principal).as_slice().ct_eq(shown).into()
    }
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_keep_parts_apart_and_depend_on_the_key() {
        let master = Masters::ephemeral();
        let id = EnvironmentId([1; 16]);
        let keys = open(&master, id, &create(&master, id, &[]).unwrap()).ok().unwrap();
        let same = open(&master, id, &create(&master, id, &[]).unwrap()).ok().unwrap();
        assert_ne!(keys.request_digest(&[b"ab", b"c"]), keys.request_digest(&[b"a", b"bc"]));
        assert_ne!(keys.content_digest(b"x"), same.content_digest(b"x"), "two secrets, two digests");
        assert_ne!(keys.content_digest(b"x"), keys.request_digest(&[b"x"]), "one key per purpose");
    }
}
