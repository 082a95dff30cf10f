//! Wrapping data keys to the environment's identity.

use super::{EnvironmentIdentity, UnwrapError, WrapError};
use crate::domain::ids::{DataKeyId, EnvironmentId, StateId};
use crate::secrets::data_key::DataKey;
use crate::secrets::recipient::Recipient;
use crate::secrets::wrap::{self, Fields};

const KIND: &str = "leasehold/v1/data-key";

/// Wraps a state's data key to an identity and to recovery recipients. What is returned was opened again with the identity alone and gave the
/// same key, compared in constant time: also the last step of a rewrap, where the key is at hand.
///
/// # Errors
/// Too many recipients.
pub fn wrap(key: &DataKey, to: &EnvironmentIdentity, recovery: &[Recipient], state: StateId) -> Result<Vec<u8>, WrapError> {
    let fields: [&[u8]; 5] = [KIND.as_bytes(), &to.environment().0, &state.0, &key.id().0, key.expose()];
    wrap::wrap(to.as_age(), recovery, &fields)
}

/// Opens a wrapped data key.
///
/// # Errors
/// [`UnwrapError`] for a wrong identity, the key of another environment or state, another key, or a forged one.
pub fn open(identity: &EnvironmentIdentity, state: StateId, id: DataKeyId, wrapped: &[u8]) -> Result<DataKey, UnwrapError> {
    read(&wrap::unwrap(identity.as_age(), KIND, wrapped)?, identity.environment(), state, id)
}

/// Moves a wrapped data key to another identity of the same environment, or to other recovery recipients.
///
/// # Errors
/// It does not open, the identities are of two environments, or there are too many recipients.
pub fn rewrap(
    from: &EnvironmentIdentity,
    to: &EnvironmentIdentity,
    recovery: &[Recipient],
    state: StateId,
    id: DataKeyId,
    wrapped: &[u8],
) -> Result<Vec<u8>, WrapError> {
    if from.environment() != to.environment() {
        return Err(UnwrapError.into());
    }
    wrap(&open(from, state, id, wrapped)?, to, recovery, state)
}

pub(super) fn open_by(
    opener: &age::x25519::Identity,
    identity: &EnvironmentIdentity,
    state: StateId,
    id: DataKeyId,
    wrapped: &[u8],
) -> Result<DataKey, UnwrapError> {
    read(&wrap::unwrap_by(opener, identity.as_age(), KIND, wrapped)?, identity.environment(), state, id)
}

fn read(fields: &Fields<5>, environment: EnvironmentId, state: StateId, id: DataKeyId) -> Result<DataKey, UnwrapError> {
    let [_, bound_environment, bound_state, bound_id, material] = fields.get();
    let key = <&[u8; 32]>::try_from(material).map_err(|_| UnwrapError)?;
    let ours = bound_environment == environment.0 && bound_state == state.0 && bound_id == id.0;
    if ours { Ok(DataKey::new(id, key)) } else { Err(UnwrapError) }
}
