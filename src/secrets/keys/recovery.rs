//! Break-glass: opening keys with a recovery identity, where the master is not at hand.
//!
//! What is wrapped to a master is authenticated under the master's secret, which recovery does not know. So an identity, signing key or environment
//! secret that opens here is the one that belongs to the environment *as far as its text says*: somebody who could write to the database and knows
//! the recovery recipients (they are public) could have put another there. For an identity and a signing key the stored public half must agree;
//! compare it with one noted elsewhere if the database is not trusted. For the environment secret there is nothing to compare: whoever made a
//! forged one could compute lease secrets and test guesses at documents. Data keys are authenticated in full, once the identity is trusted.

use super::data_key;
use super::{EnvironmentIdentity, EnvironmentSecret, SigningKey, UnwrapError, VerifyingKey};
use crate::domain::ids::{EnvironmentId, IdentityVersion};
use crate::domain::sealing::DataKeyRecord;
use crate::secrets::data_key::DataKey;
use crate::secrets::identities::Identities;
use crate::secrets::recipient::Recipient;

/// Opens an environment's identity with any of the recovery identities. It must be the one of the recipient that is stored.
///
/// # Errors
/// [`UnwrapError`]: not wrapped to any of them, of another environment or version, or not that of the recipient.
pub fn environment_identity(
    recovery: &Identities,
    environment: EnvironmentId,
    version: IdentityVersion,
    recipient: &Recipient,
    wrapped: &[u8],
) -> Result<EnvironmentIdentity, UnwrapError> {
    let opened = any(recovery, |opener| EnvironmentIdentity::unverified(opener, environment, version, wrapped))?;
    if opened.recipient() == *recipient { Ok(opened) } else { Err(UnwrapError) }
}

/// Opens a data key with any of the recovery identities, and authenticates it under the environment's identity.
///
/// # Errors
/// [`UnwrapError`]: not wrapped to any of them, the key of another environment, state or epoch, another key, or a forged one.
pub fn data_key(recovery: &Identities, identity: &EnvironmentIdentity, record: &DataKeyRecord) -> Result<DataKey, UnwrapError> {
    any(recovery, |opener| data_key::open_by(opener, identity, record))
}

/// Opens an environment's signing key with any of the recovery identities. It must be that of the public key that is stored.
///
/// # Errors
/// [`UnwrapError`]: not wrapped to any of them, of another environment, or not that of the public key.
pub fn signing_key(
    recovery: &Identities,
    environment: EnvironmentId,
    public: &VerifyingKey,
    wrapped: &[u8],
) -> Result<SigningKey, UnwrapError> {
    let opened = any(recovery, |opener| SigningKey::unverified(opener, environment, wrapped))?;
    if opened.verifying_key() == *public { Ok(opened) } else { Err(UnwrapError) }
}

/// Opens an environment's secret with any of the recovery identities, to wrap it to a new master. Nothing authenticates it: only for a database
/// or backup that is trusted.
///
/// # Errors
/// [`UnwrapError`]: not wrapped to any of them, or of another environment.
pub fn danger_environment_secret(
    recovery: &Identities,
    environment: EnvironmentId,
    wrapped: &[u8],
) -> Result<EnvironmentSecret, UnwrapError> {
    any(recovery, |opener| EnvironmentSecret::unverified(opener, environment, wrapped))
}

fn any<T>(
    recovery: &Identities,
    mut open: impl FnMut(&age::x25519::Identity) -> Result<T, UnwrapError>,
) -> Result<T, UnwrapError> {
    recovery.iter().find_map(|identity| open(identity).ok()).ok_or(UnwrapError)
}
