//! How documents are sealed and opened, byte by byte; `docs/sealing.md` says the same for people, and `tests/vectors/` holds it still.
//!
//! A document is [cut](cut::cut) into its text and its tokens. Each token is sealed by itself, bound to its place ([`value`]). The text and
//! the table of holes ([`head`]) are compressed and sealed in pieces: the [`skeleton`]. A [`mac`] holds the parts of a version together.

pub mod cut;
mod encoding;
pub mod head;
pub mod mac;
pub mod opener;
mod piece;
pub mod skeleton;
#[cfg(test)]
mod tests;
pub mod value;

use std::sync::Arc;

use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use self::encoding::lp;
use super::data_key::{DataKey, NoRandomness};
use super::hygiene::scrubbed_use;
use crate::domain::ids::{DataKeyId, DraftId, EnvironmentId, KeyedDigest, StateId, Version};

/// The number of the suite: HKDF, HMAC-SHA256, XChaCha20-Poly1305, zstd and the encodings here. Part of all that is authenticated.
pub const SUITE: [u8; 2] = [0, 1];

/// What all sealed things of a state belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words are those of the design")]
pub struct Binding {
    pub environment: EnvironmentId,
    pub state: StateId,
}

/// What a document is the content of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words are those of the design")]
pub enum Holder {
    Version(Version),
    Draft(DraftId),
}

impl Holder {
    /// u8 kind (1 version, 2 draft) ‖ u64 number or 16 bytes of id, with its length before it.
    fn lp(self, out: &mut Vec<u8>) {
        match self {
            Self::Version(Version(number)) => lp(out, &[&[1], number.to_be_bytes().as_slice()]),
            Self::Draft(DraftId(id)) => lp(out, &[&[2], id.as_slice()]),
        }
    }
}

/// The keys of one state, derived once from its data key. No `Debug`; wiped on drop, and not moved about in memory before.
pub struct SealingKeys {
    id: DataKeyId,
    keys: Arc<Keys>,
}

#[derive(Default, Zeroize, ZeroizeOnDrop)]
struct Keys {
    encryption: [u8; 32],
    nonce: [u8; 32],
    skeleton: [u8; 32],
    mac: [u8; 32],
    digest: [u8; 32],
}

impl SealingKeys {
    /// The keys that hang from this data key.
    #[must_use]
    pub fn derive(key: &DataKey) -> Self {
        let mut keys = Arc::<Keys>::default();
        let Keys { encryption, nonce, skeleton, mac, digest } = Arc::get_mut(&mut keys).expect("nobody else has it yet");
        for (purpose, derived) in [
            ("value-encryption", encryption),
            ("value-nonce", nonce),
            ("skeleton-encryption", skeleton),
            ("version-mac", mac),
            ("document-digest", digest),
        ] {
            key.derive(purpose, derived);
        }
        Self { id: key.id(), keys }
    }

    /// Which data key they hang from.
    #[must_use]
    pub fn id(&self) -> DataKeyId {
        self.id
    }

    /// The keyed digest of a plain document.
    #[must_use]
    pub fn document_digest(&self, document: &[u8]) -> KeyedDigest {
        let mut digest = hmac(&self.keys.digest);
        digest.update(&(document.len() as u64).to_be_bytes());
        digest.update(document);
        KeyedDigest(digest.finalize().into_bytes().into())
    }
}

/// Something stored does not open: damaged, moved, put back, or under another key. One error for all causes, which tells an attacker nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("something sealed does not open")]
pub struct OpenError;

/// Why a document is not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The operating system's doing.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// One place holds 4 GiB or more.
    #[error("a sealed place holds 4 GiB or more; split the document")]
    TooLong,
    /// The names of the places that are to be sealed take too much memory.
    #[error("the places to seal are too many and too deep; split the document, or keep it in a state of the format `opaque`")]
    TooManyPlaces,
    /// The caller's: holes that overlap, stand outside of the document or twice at one path, or do not fit the text.
    #[error("the places to seal do not fit the document")]
    Places,
}

/// The state that an HMAC begins with. It is as good as the key, but is not the key.
fn hmac(key: &[u8; 32]) -> Hmac<Sha256> {
    scrubbed_use(|| Mac::new_from_slice(key).expect("HMAC takes keys of any length"))
}

/// Does something with a cipher, which holds its key by value: what has one is not moved, and lives on the stack no longer than this.
fn with_cipher<T>(key: &[u8; 32], work: impl FnOnce(&XChaCha20Poly1305) -> T) -> T {
    scrubbed_use(|| work(&XChaCha20Poly1305::new(key.into())))
}
