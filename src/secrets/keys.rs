//! The secret of each environment, and the keys derived from it, one per purpose.
//!
//! The secret is wrapped to the master identity. age authenticates no sender and binds nothing, so the wrapped text repeats which
//! environment it belongs to and carries an HMAC under a key of the master's *secret*: one made by somebody who knows only the recipient is
//! refused.

use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use age::secrecy::ExposeSecret;

use super::master::{Master, MasterError};
use crate::domain::ids::{EnvironmentId, KeyedDigest, Token};
use crate::domain::names::{Principal, Session, StateName};

/// A wrapped secret that does not open, or is not what it should be. One error for all causes: it tells an attacker nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment's secret does not open with this master key")]
pub struct UnwrapError;

/// The keys of one environment. No `Debug`, wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct EnvironmentKeys {
    request: [u8; 32],
    content: [u8; 32],
    lease: [u8; 32],
}

const KIND: &[u8] = b"leasehold/v1/environment-secret";
const SECRET: usize = 32;
const MAC: usize = 32;

/// Makes the secret of a new environment, wrapped for the store.
///
/// # Errors
/// The operating system gives no randomness.
pub fn create(master: &Master, environment: EnvironmentId) -> Result<Vec<u8>, MasterError> {
    let mut secret = Zeroizing::new([0; SECRET]);
    getrandom::fill(secret.as_mut()).map_err(MasterError::Randomness)?;
    let mut plain = Zeroizing::new(Vec::with_capacity(KIND.len() + 16 + SECRET + MAC));
    plain.extend_from_slice(KIND);
    plain.extend_from_slice(&environment.0);
    plain.extend_from_slice(secret.as_ref());
    let mac = wrap_mac(master, &plain);
    plain.extend_from_slice(&mac);
    let recipient = master.identity().to_public();
    Ok(age::encrypt(&recipient, &plain).expect("encrypting to an X25519 recipient in memory does not fail"))
}

/// Opens a wrapped secret and derives the environment's keys.
///
/// # Errors
/// [`UnwrapError`] for a wrong key, another environment's secret, or a forged one.
pub fn open(master: &Master, environment: EnvironmentId, wrapped: &[u8]) -> Result<EnvironmentKeys, UnwrapError> {
    let plain = Zeroizing::new(age::decrypt(master.identity(), wrapped).map_err(|_| UnwrapError)?);
    let (bound, mac) = plain.split_last_chunk::<MAC>().ok_or(UnwrapError)?;
    let (head, secret) = bound.split_last_chunk::<SECRET>().ok_or(UnwrapError)?;
    let authentic = bool::from(wrap_mac(master, bound).as_slice().ct_eq(mac.as_slice()));
    let ours = head.strip_prefix(KIND).is_some_and(|id| id == environment.0);
    if !(authentic && ours) {
        return Err(UnwrapError);
    }
    let derive = |purpose: &str| {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(Some(&environment.0), secret)
            .expand_multi_info(&[b"leasehold/v1/", purpose.as_bytes()], &mut key)
            .expect("32 bytes are within HKDF's limit");
        key
    };
    Ok(EnvironmentKeys { request: derive("request-digest"), content: derive("content-digest"), lease: derive("lease-secret") })
}

/// The keyed digest of a request about an environment that does not exist yet, or will not when the request is repeated: under a key of
/// the master, since there is none of the environment.
#[must_use]
pub fn server_digest(master: &Master, parts: &[&[u8]]) -> KeyedDigest {
    KeyedDigest(mac(&master_key(master, b"leasehold/v1/server-request-digest"), parts))
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

fn wrap_mac(master: &Master, bound: &[u8]) -> [u8; 32] {
    mac(&master_key(master, b"leasehold/v1/wrap"), &[bound])
}

fn master_key(master: &Master, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    let secret = master.identity().to_string();
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, secret.expose_secret().as_bytes())
        .expand(purpose, key.as_mut())
        .expect("32 bytes are within HKDF's limit");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_open_only_for_their_environment_and_master() {
        let (master, other) = (Master::ephemeral(), Master::ephemeral());
        let (id, another) = (EnvironmentId([1; 16]), EnvironmentId([2; 16]));
        let wrapped = create(&master, id).unwrap();
        assert!(open(&master, id, &wrapped).is_ok());
        assert!(open(&master, another, &wrapped).is_err());
        assert!(open(&other, id, &wrapped).is_err());
        for at in [0, wrapped.len() / 2, wrapped.len() - 1] {
            let mut bent = wrapped.clone();
            bent[at] ^= 1;
            assert!(open(&master, id, &bent).is_err(), "bit at {at}");
        }
    }

    #[test]
    fn secrets_forged_from_the_recipient_alone_are_refused() {
        let master = Master::ephemeral();
        let id = EnvironmentId([1; 16]);
        let forged = [KIND, &id.0, &[7; SECRET], &[0; MAC]].concat();
        let wrapped = age::encrypt(&master.identity().to_public(), &forged).unwrap();
        assert_eq!(open(&master, id, &wrapped).err(), Some(UnwrapError));
    }

    #[test]
    fn digests_keep_parts_apart_and_depend_on_the_key() {
        let master = Master::ephemeral();
        let id = EnvironmentId([1; 16]);
        let keys = open(&master, id, &create(&master, id).unwrap()).ok().unwrap();
        let same = open(&master, id, &create(&master, id).unwrap()).ok().unwrap();
        assert_ne!(keys.request_digest(&[b"ab", b"c"]), keys.request_digest(&[b"a", b"bc"]));
        assert_ne!(keys.content_digest(b"x"), same.content_digest(b"x"), "two secrets, two digests");
        assert_ne!(keys.content_digest(b"x"), keys.request_digest(&[b"x"]), "one key per purpose");
    }
}
