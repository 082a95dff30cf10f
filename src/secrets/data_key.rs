//! The key of one state, and the keys derived from it, one per purpose.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::domain::ids::DataKeyId;

/// The random key that everything stored of one state hangs from. No `Debug`, wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct DataKey {
    #[zeroize(skip)]
    id: DataKeyId,
    key: [u8; 32],
}

/// The operating system gives no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no randomness")]
pub struct NoRandomness;

impl DataKey {
    /// A fresh key.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut made = Self { id: DataKeyId([0; 16]), key: [0; 32] };
        getrandom::fill(&mut made.id.0).and_then(|()| getrandom::fill(&mut made.key)).map_err(|_| NoRandomness)?;
        Ok(made)
    }

    /// The key with this id and these bytes, which are copied: the caller wipes its own.
    #[must_use]
    pub fn new(id: DataKeyId, key: &[u8; 32]) -> Self {
        Self { id, key: *key }
    }

    /// Which key it is.
    #[must_use]
    pub fn id(&self) -> DataKeyId {
        self.id
    }

    /// The key itself: for wrapping it.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.key
    }

    /// The derived key for a purpose: HKDF-SHA256(ikm = key, salt = id, info = "leasehold/v1/" ‖ purpose).
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut derived = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(&self.id.0), &self.key)
            .expand_multi_info(&[b"leasehold/v1/", purpose.as_bytes()], derived.as_mut())
            .expect("32 bytes are within HKDF's limit");
        derived
    }
}
