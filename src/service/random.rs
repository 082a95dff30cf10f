//! Randomness from the operating system, for what commands carry.

use super::Error;

/// 16 random bytes.
pub(super) fn bytes16() -> Result<[u8; 16], Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::internal(&format!("no randomness: {error}")))?;
    Ok(bytes)
}

/// A time-ordered id: what the store keeps under it is appended.
pub(super) fn ordered() -> [u8; 16] {
    uuid::Uuid::now_v7().into_bytes()
}
