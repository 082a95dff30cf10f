//! The envelope of every wrapped key.
//!
//! ```text
//! wrapped = age(X25519 recipients, bound ‖ HMAC-SHA256(K_wrap, bound))                     binary, not armored
//! bound   = lp(kind) ‖ lp(id) ‖ … ‖ lp(key material)                                       lp(x) = u64 big-endian length ‖ x
//! K_wrap  = HKDF-SHA256(ikm = the identity above as age prints it, AGE-SECRET-KEY-1…, no salt, info = "leasehold/v1/wrap")
//! ```
//!
//! age authenticates no sender and binds nothing, so the wrapped text repeats what it belongs to and is authenticated under a key of the
//! *secret* it is wrapped to: one made by somebody who knows only the recipients, or moved from another place, is refused. Recovery recipients
//! are wrapped to as well; they do not know `K_wrap` (see [`recovery`](super::keys::recovery)).

use std::io::{Read, Write};
use std::iter;
use std::ops::Range;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::hygiene::scrubbed;
use super::recipient::Recipient;

/// A wrapped key that does not open, or is not what it should be. One error for all causes: it tells an attacker nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a wrapped key does not open, or is not the one that belongs here")]
pub struct UnwrapError;

/// Why a key cannot be wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum WrapError {
    #[error("the operating system gives no randomness")]
    Randomness,
    #[error("more than {MOST_RECIPIENTS} recovery recipients; remove some")]
    Recipients,
    #[error("a key that was just wrapped did not open again, and was not used")]
    Trial,
    #[error(transparent)]
    Unwrap(#[from] UnwrapError),
}

impl From<super::data_key::NoRandomness> for WrapError {
    fn from(_: super::data_key::NoRandomness) -> Self {
        Self::Randomness
    }
}

/// How many recovery recipients a key can be wrapped to.
pub const MOST_RECIPIENTS: usize = 32;

/// Beyond what 32 recipients take: a larger one is not ours, and is not parsed.
const MOST_BYTES: usize = 16 << 10;
const MAC: usize = 32;

/// Wraps fields — kind, ids, key material — to an identity and to recovery recipients. What is returned has been opened again with the identity
/// alone, and gave the same.
pub(super) fn wrap(holder: &Identity, recovery: &[Recipient], fields: &[&[u8]]) -> Result<Vec<u8>, WrapError> {
    if recovery.len() > MOST_RECIPIENTS {
        return Err(WrapError::Recipients);
    }
    scrubbed(|| wrap_on_the_stack(holder, recovery, fields))
}

fn wrap_on_the_stack(holder: &Identity, recovery: &[Recipient], fields: &[&[u8]]) -> Result<Vec<u8>, WrapError> {
    let size = fields.iter().map(|field| 8 + field.len()).sum::<usize>() + MAC;
    let mut plain = Zeroizing::new(Vec::with_capacity(size));
    for field in fields {
        plain.extend_from_slice(&(field.len() as u64).to_be_bytes());
        plain.extend_from_slice(field);
    }
    let mac = wrap_mac(holder, &plain);
    plain.extend_from_slice(&mac);
    let wrapped = encrypt(&Recipient::of(holder), recovery, &plain);
    let again = decrypt(holder, &wrapped).map_err(|_| WrapError::Trial)?;
    if bool::from(again.ct_eq(plain.as_slice())) { Ok(wrapped) } else { Err(WrapError::Trial) }
}

/// Opens what was wrapped to an identity: exactly this kind, with `N` fields in all.
pub(super) fn unwrap<const N: usize>(holder: &Identity, kind: &str, wrapped: &[u8]) -> Result<Fields<N>, UnwrapError> {
    unwrap_by(holder, holder, kind, wrapped)
}

/// Opens with one identity what was wrapped to another, which authenticates it: for recovery.
pub(super) fn unwrap_by<const N: usize>(
    opener: &Identity,
    holder: &Identity,
    kind: &str,
    wrapped: &[u8],
) -> Result<Fields<N>, UnwrapError> {
    scrubbed(|| {
        let plain = decrypt(opener, wrapped)?;
        let (bound, mac) = plain.split_last_chunk::<MAC>().ok_or(UnwrapError)?;
        if !bool::from(wrap_mac(holder, bound).ct_eq(mac)) {
            return Err(UnwrapError);
        }
        Fields::parse(plain, kind)
    })
}

/// Opens with an identity what is authenticated under a secret that is not at hand: whoever knows the recipient may have made it. For recovery
/// only, where something else has to vouch.
pub(super) fn danger_unwrap_unverified<const N: usize>(
    opener: &Identity,
    kind: &str,
    wrapped: &[u8],
) -> Result<Fields<N>, UnwrapError> {
    Fields::parse(decrypt(opener, wrapped)?, kind)
}

fn wrap_mac(holder: &Identity, bound: &[u8]) -> [u8; MAC] {
    let key = derive(holder, "wrap");
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_slice()).expect("HMAC takes keys of any length");
    mac.update(bound);
    mac.finalize().into_bytes().into()
}

/// A key of an identity's secret, for one purpose.
pub(super) fn derive(identity: &Identity, purpose: &str) -> Zeroizing<[u8; 32]> {
    let secret = identity.to_string();
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, secret.expose_secret().as_bytes())
        .expand_multi_info(&[b"leasehold/v1/", purpose.as_bytes()], key.as_mut())
        .expect("32 bytes are within HKDF's limit");
    key
}

/// The fields of an opened envelope.
pub(super) struct Fields<const N: usize> {
    plain: Zeroizing<Vec<u8>>,
    ranges: [Range<usize>; N],
}

impl<const N: usize> Fields<N> {
    pub(super) fn get(&self) -> [&[u8]; N] {
        self.ranges.each_ref().map(|range| &self.plain[range.clone()])
    }

    /// Strictly `N` fields, the first of which is the kind, and a MAC.
    fn parse(plain: Zeroizing<Vec<u8>>, kind: &str) -> Result<Self, UnwrapError> {
        let end = plain.len().checked_sub(MAC).ok_or(UnwrapError)?;
        let mut at = 0;
        let mut ranges = [const { 0..0 }; N];
        for range in &mut ranges {
            let length = plain[at..end].first_chunk::<8>().ok_or(UnwrapError)?;
            let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| UnwrapError)?;
            *range = at + 8..(at + 8).checked_add(length).filter(|stop| *stop <= end).ok_or(UnwrapError)?;
            at = range.end;
        }
        let fields = Self { plain, ranges };
        if at == end && fields.get()[0] == kind.as_bytes() { Ok(fields) } else { Err(UnwrapError) }
    }
}

pub(super) fn encrypt(to: &Recipient, more: &[Recipient], plain: &[u8]) -> Vec<u8> {
    let mut to: Vec<&Recipient> = iter::once(to).chain(more).collect();
    let mut seen = std::collections::HashSet::new();
    to.retain(|recipient| seen.insert(*recipient));
    let encryptor = age::Encryptor::with_recipients(to.iter().map(|recipient| recipient.as_age() as &dyn age::Recipient))
        .expect("there is a recipient, and all are of one kind");
    let mut file = Vec::with_capacity(plain.len() + 512 + 128 * to.len());
    let written = encryptor.wrap_output(&mut file).and_then(|mut writer| writer.write_all(plain).and_then(|()| writer.finish()));
    written.expect("writing to memory does not fail");
    file
}

fn decrypt(identity: &Identity, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
    if wrapped.len() > MOST_BYTES {
        return Err(UnwrapError);
    }
    decrypt_any(identity, wrapped)
}

/// Decrypts an age file. Its header has to be bounded by the caller: age's parser begins again with each line.
pub(super) fn decrypt_any(identity: &Identity, file: &[u8]) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
    let decryptor = age::Decryptor::new_buffered(file).map_err(|_| UnwrapError)?;
    let mut reader = decryptor.decrypt(iter::once(identity as &dyn age::Identity)).map_err(|_| UnwrapError)?;
    // Enough from the start: a buffer that grows leaves its old bytes behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(file.len()));
    reader.read_to_end(&mut plain).map_err(|_| UnwrapError)?;
    Ok(plain)
}
