//! Wrapping data keys to the environment's identity.

use super::{EnvironmentIdentity, UnwrapError, WrapError};
use crate::domain::ids::{EnvironmentId, StateId};
use crate::domain::sealing::DataKeyRecord;
use crate::secrets::data_key::DataKey;
use crate::secrets::recipient::Recipient;
use crate::secrets::wrap::{self, Fields};

const KIND: &str = "leasehold/v1/data-key";

/// Wraps a state's data key, made in this epoch of its environment, to an identity and to recovery recipients. What is returned was opened
/// again with the identity alone and gave the same key, compared in constant time: also the last step of a rewrap, where the key is at hand.
///
/// # Errors
/// Too many recipients.
pub fn wrap(
    key: &DataKey,
    to: &EnvironmentIdentity,
    recovery: &[Recipient],
    state: StateId,
    epoch: u32,
) -> Result<Vec<u8>, WrapError> {
    let epoch = epoch.to_be_bytes();
    let fields: [&[u8]; 6] = [KIND.as_bytes(), &to.environment().0, &state.0, &key.id().0, &epoch, key.expose()];
    wrap::wrap(to.as_age(), recovery, &fields)
}

/// Opens the wrapped data key of a record.
///
/// # Errors
/// [`UnwrapError`] for a wrong identity, the key of another environment, state or epoch, another key, or a forged one.
pub fn open(identity: &EnvironmentIdentity, record: &DataKeyRecord) -> Result<DataKey, UnwrapError> {
    read(&wrap::unwrap(identity.as_age(), KIND, &record.wrapped.0)?, identity.environment(), record)
}

/// Moves a wrapped data key to another identity of the same environment, or to other recovery recipients.
///
/// # Errors
/// It does not open, the identities are of two environments, or there are too many recipients.
pub fn rewrap(
    from: &EnvironmentIdentity,
    to: &EnvironmentIdentity,
    recovery: &[Recipient],
    record: &DataKeyRecord,
) -> Result<Vec<u8>, WrapError> {
    if from.environment() != to.environment() {
        return Err(UnwrapError.into());
    }
    wrap(&open(from, record)?, to, recovery, record.state, record.epoch)
}

pub(super) fn open_by(
    opener: &age::x25519::Identity,
    identity: &EnvironmentIdentity,
    record: &DataKeyRecord,
) -> Result<DataKey, UnwrapError> {
    read(&wrap::unwrap_by(opener, identity.as_age(), KIND, &record.wrapped.0)?, identity.environment(), record)
}

fn read(fields: &Fields<6>, environment: EnvironmentId, record: &DataKeyRecord) -> Result<DataKey, UnwrapError> {
    let [_, bound_environment, bound_state, bound_id, bound_epoch, material] = fields.get();
    let key = <&[u8; 32]>::try_from(material).map_err(|_| UnwrapError)?;
    let ours = bound_environment == environment.0
        && bound_state == record.state.0
        && bound_id == record.id.0
        && bound_epoch == record.epoch.to_be_bytes();
    if ours { Ok(DataKey::new(record.id, key)) } else { Err(UnwrapError) }
}
