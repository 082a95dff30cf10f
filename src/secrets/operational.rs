//! The key of the server that is not under the master key: for digests of requests and for lease secrets, which a locked server needs too.
//!
//! It rests in a file beside the database, never in it: who has only a copy of the database can neither test guesses against digests nor
//! forge a lease secret. No document is digested under it alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::domain::ids::{EnvironmentId, KeyedDigest, Token};
use crate::domain::names::{Principal, Session, StateName};

/// Why the server's key cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum ServerKeyError {
    #[error("cannot read or write the server's key {}: {cause}", .file.display())]
    Io { file: PathBuf, cause: io::Error },
    #[error("others can read the server's key {}; delete it and start again: lease secrets that were given out end with it", .0.display())]
    Readable(PathBuf),
    #[error("{} holds no server key; delete it and start again: lease secrets that were given out end with it", .0.display())]
    Malformed(PathBuf),
    #[error("the operating system gives no randomness")]
    Randomness,
}

/// The key of the server. No `Debug`, wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ServerKey([u8; 32]);

/// What of it belongs to one environment.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct OperationKeys {
    request: [u8; 32],
    lease: [u8; 32],
}

const PREFIX: &str = "lhk_";

impl ServerKey {
    /// Reads the key from its file, or makes one.
    ///
    /// # Errors
    /// A file that others can read, or that holds something else.
    pub fn open(file: &Path) -> Result<Self, ServerKeyError> {
        let failed = |cause| ServerKeyError::Io { file: file.to_owned(), cause };
        match File::open(file) {
            Ok(mut opened) => {
                if opened.metadata().map_err(failed)?.mode() & 0o077 != 0 {
                    return Err(ServerKeyError::Readable(file.to_owned()));
                }
                let mut text = Zeroizing::new(String::new());
                opened.read_to_string(&mut text).map_err(failed)?;
                let key = text.trim().strip_prefix(PREFIX).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).map(Zeroizing::new);
                let key = key.and_then(|key| <[u8; 32]>::try_from(key.as_slice()).ok());
                key.map(Self).ok_or_else(|| ServerKeyError::Malformed(file.to_owned()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = Self::ephemeral()?;
                let text = Zeroizing::new(format!("{PREFIX}{}\n", URL_SAFE_NO_PAD.encode(key.0)));
                let mut made = OpenOptions::new().create_new(true).write(true).mode(0o600).open(file).map_err(failed)?;
                made.write_all(text.as_bytes()).and_then(|()| made.sync_all()).map_err(failed)?;
                Ok(key)
            }
            Err(cause) => Err(failed(cause)),
        }
    }

    /// A key that is never written down: for stores in memory and tests.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn ephemeral() -> Result<Self, ServerKeyError> {
        let mut key = Self([0; 32]);
        getrandom::fill(&mut key.0).map_err(|_| ServerKeyError::Randomness)?;
        Ok(key)
    }

    /// The keys of an environment.
    #[must_use]
    pub fn environment(&self, id: EnvironmentId) -> OperationKeys {
        OperationKeys { request: self.derive(Some(&id.0), "request-digest"), lease: self.derive(Some(&id.0), "lease-secret") }
    }

    /// The keyed digest of a request about an environment that does not exist yet, or will not when the request is repeated.
    #[must_use]
    pub fn digest(&self, parts: &[&[u8]]) -> KeyedDigest {
        KeyedDigest(mac(&self.derive(None, "server-request-digest"), parts))
    }

    /// What the audit is signed with: a locked server has it too.
    #[must_use]
    pub fn audit_signer(&self) -> super::audit::AuditSigner {
        super::audit::AuditSigner::from_seed(&Zeroizing::new(self.derive(None, "audit-signing")))
    }

    fn derive(&self, salt: Option<&[u8]>, purpose: &str) -> [u8; 32] {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(salt, &self.0)
            .expand_multi_info(&[b"leasehold/v1/", purpose.as_bytes()], &mut key)
            .expect("32 bytes are within HKDF's limit");
        key
    }
}

impl OperationKeys {
    /// The keyed digest of a request, from its parts in order. Lengths keep parts apart.
    #[must_use]
    pub fn request_digest(&self, parts: &[&[u8]]) -> KeyedDigest {
        KeyedDigest(mac(&self.request, parts))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_keep_parts_environments_and_purposes_apart() {
        let key = ServerKey::ephemeral().unwrap();
        let (one, other) = (key.environment(EnvironmentId([1; 16])), key.environment(EnvironmentId([2; 16])));
        assert_ne!(one.request_digest(&[b"ab", b"c"]), one.request_digest(&[b"a", b"bc"]));
        assert_ne!(one.request_digest(&[b"x"]), other.request_digest(&[b"x"]));
        assert_ne!(one.request_digest(&[b"x"]), key.digest(&[b"x"]));
        assert_ne!(one.request, one.lease);
    }

    #[test]
    fn the_key_is_made_once_and_guarded() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("server.key");
        let made = ServerKey::open(&file).unwrap();
        assert!(ServerKey::open(&file).unwrap().0 == made.0, "the second start finds the first one's key");
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(matches!(ServerKey::open(&file), Err(ServerKeyError::Readable(_))));
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(&file, "lhk_short\n").unwrap();
        assert!(matches!(ServerKey::open(&file), Err(ServerKeyError::Malformed(_))));
    }
}
