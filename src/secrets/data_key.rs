//! The key of one state, and the keys derived from it, one per purpose.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::hygiene::scrubbed;
use crate::domain::ids::DataKeyId;

/// The random key that everything stored of one state hangs from. No `Debug`, wiped on drop, and never moved about in memory before: a move
/// leaves a copy behind that nothing wipes.
pub struct DataKey {
    id: DataKeyId,
    key: Box<[u8; 32]>,
}

impl Zeroize for DataKey {
    fn zeroize(&mut self) {
        self.key.as_mut_slice().zeroize();
    }
}

impl Drop for DataKey {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for DataKey {}

/// The operating system gives no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no randomness")]
pub struct NoRandomness;

impl DataKey {
    /// A fresh key with this id, which no other key may have.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn generate(id: DataKeyId) -> Result<Self, NoRandomness> {
        let mut made = Self { id, key: Box::new([0; 32]) };
        getrandom::fill(made.key.as_mut()).map_err(|_| NoRandomness)?;
        Ok(made)
    }

    /// The key with this id and these bytes, which are copied: the caller wipes its own.
    #[must_use]
    pub fn new(id: DataKeyId, key: &[u8; 32]) -> Self {
        let mut made = Self { id, key: Box::new([0; 32]) };
        made.key.copy_from_slice(key);
        made
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

    /// The derived key for a purpose, where it is to stand: HKDF-SHA256(ikm = key, salt = id, info = "leasehold/v1/" ‖ purpose).
    pub fn derive(&self, purpose: &str, derived: &mut [u8; 32]) {
        scrubbed(|| {
            Hkdf::<Sha256>::new(Some(&self.id.0), self.key.as_ref())
                .expand_multi_info(&[b"leasehold/v1/", purpose.as_bytes()], derived)
                .expect("32 bytes are within HKDF's limit");
        });
    }
}
