//! A token sealed by itself, bound to its place: the same token at the same place of the same state under the same data key gives the
//! same bytes, and so one row for all versions; anything else gives others.

use chacha20poly1305::AeadInPlace;
use hmac::Mac;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::encoding::lp;
use super::{Binding, OpenError, SUITE, SealError, SealingKeys, hmac, with_cipher};
use crate::domain::ids::DataKeyId;
use crate::secrets::hole::JsonType;
use crate::secrets::path::Path;

/// A sealed value begins with its nonce of this many bytes: what equal values of one place share, and no others.
pub const TAG: usize = 24;

/// What a sealed value is longer than what is in it, padded.
const OVERHEAD: usize = TAG + POLY1305;
const POLY1305: usize = 16;
const LENGTH: usize = 4;
const LEAST: usize = 32;

/// Seals the raw bytes of a token, quotes and escapes included: nonce ‖ ciphertext ‖ tag.
///
/// # Errors
/// The token has 4 GiB or more.
pub fn seal_value(
    keys: &SealingKeys,
    binding: &Binding,
    kind: JsonType,
    path: &Path,
    token: &[u8],
) -> Result<Vec<u8>, SealError> {
    let length = length_of(token.len())?;
    let context = context(keys.id, binding, kind, path);
    let nonce = nonce(keys, &context, token);
    let padded = padded(token.len());
    let mut sealed = Vec::with_capacity(OVERHEAD + padded);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&length.to_be_bytes());
    sealed.extend_from_slice(token);
    sealed.resize(TAG + padded, 0);
    let tag = with_cipher(&keys.keys.encryption, |cipher| {
        cipher.encrypt_in_place_detached(&nonce.into(), &context, &mut sealed[TAG..])
    })
    .expect("a token is far below the cipher's 256 GiB");
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

/// Opens a sealed value: the very bytes of the token.
///
/// # Errors
/// It is not what was sealed at this place of this state under this data key.
pub fn open_value(
    keys: &SealingKeys,
    binding: &Binding,
    kind: JsonType,
    path: &Path,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let (stored, rest) = sealed.split_first_chunk::<TAG>().ok_or(OpenError)?;
    let (encrypted, tag) = rest.split_last_chunk::<POLY1305>().ok_or(OpenError)?;
    let context = context(keys.id, binding, kind, path);
    let mut token = Zeroizing::new(encrypted.to_vec());
    with_cipher(&keys.keys.encryption, |cipher| {
        cipher.decrypt_in_place_detached(&(*stored).into(), &context, &mut token, &(*tag).into())
    })
    .map_err(|_| OpenError)?;
    unpad(&mut token)?;
    if bool::from(nonce(keys, &context, &token).as_slice().ct_eq(stored)) { Ok(token) } else { Err(OpenError) }
}

/// How long a sealed value is whose token has this many bytes.
#[must_use]
pub fn sealed_size(token: usize) -> usize {
    OVERHEAD + padded(token)
}

/// What binds a value to its place: lp(suite) ‖ lp(environment) ‖ lp(state) ‖ lp(data key) ‖ u8 type ‖ path.
#[doc(hidden)]
#[must_use]
pub fn context(key: DataKeyId, binding: &Binding, kind: JsonType, path: &Path) -> Vec<u8> {
    let path = path.as_bytes();
    let mut context = Vec::with_capacity(4 * 8 + SUITE.len() + 3 * 16 + 1 + path.len());
    lp(&mut context, &[&SUITE]);
    lp(&mut context, &[&binding.environment.0]);
    lp(&mut context, &[&binding.state.0]);
    lp(&mut context, &[&key.0]);
    context.push(kind as u8);
    context.extend_from_slice(path);
    context
}

/// HMAC-SHA256(K_siv, u64 |ctx| ‖ ctx ‖ u64 |token| ‖ token), its first 24 bytes.
#[doc(hidden)]
#[must_use]
pub fn nonce(keys: &SealingKeys, context: &[u8], token: &[u8]) -> [u8; TAG] {
    let mut mac = hmac(&keys.keys.nonce);
    for part in [context, token] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    *mac.finalize().into_bytes().first_chunk().expect("24 of 32 bytes")
}

/// A size as it is written before the token.
pub(super) fn length_of(token: usize) -> Result<u32, SealError> {
    u32::try_from(token).map_err(|_| SealError::TooLong)
}

/// The size of the padded form of a token of this size: that of u32 length ‖ token, rounded up by Padmé to a number whose lowest bits
/// are zero, so that at most 12 % are added and a size tells O(log log) bits; at least 32.
#[doc(hidden)]
#[must_use]
pub fn padded(token: usize) -> usize {
    let size = (token + LENGTH).max(LEAST);
    let exponent = size.ilog2();
    let low = (1 << (exponent - exponent.ilog2() - 1)) - 1;
    (size + low) & !low
}

/// Leaves the token of a padded one, if that is exactly what padding makes of it.
fn unpad(padded_token: &mut Zeroizing<Vec<u8>>) -> Result<(), OpenError> {
    let length = padded_token.first_chunk::<LENGTH>().ok_or(OpenError)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| OpenError)?;
    let (size, end) = (padded_token.len(), LENGTH + length);
    if size != padded(length) || padded_token[end..].iter().fold(0, |any, byte| any | byte) != 0 {
        return Err(OpenError);
    }
    padded_token.copy_within(LENGTH..end, 0);
    // What is left behind the end is wiped with the rest of the allocation.
    padded_token.truncate(length);
    Ok(())
}
