//! Who calls: until the access rules land, one bootstrap token, made at first start; and lease secrets.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::domain::names::Principal;
use crate::service::{Caller, LeaseSecret};

/// Why the bootstrap token cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum TokenError {
    #[error("cannot read or write the token file {}: {cause}", .file.display())]
    Io { file: PathBuf, cause: io::Error },
    #[error("others can read the token file {}; delete it and start again for a new token, since this one may be known", .0.display())]
    Readable(PathBuf),
    #[error("{} holds no token (lh_…); delete it and start again for a new one", .0.display())]
    Malformed(PathBuf),
}

/// The tokens that are accepted: by hash, since the server needs no more.
pub struct Tokens {
    bootstrap: [u8; 32],
    principal: Principal,
}

/// What API tokens begin with.
const PREFIX: &str = "lh_";

impl Tokens {
    /// Reads the bootstrap token from its file, or makes one. Returns it as well, for `--dev` to print.
    ///
    /// # Errors
    /// A file that others can read, or that holds something else.
    pub fn open(file: &Path) -> Result<(Self, Zeroizing<String>), TokenError> {
        let failed = |cause| TokenError::Io { file: file.to_owned(), cause };
        let token = match File::open(file) {
            Ok(mut opened) => {
                if opened.metadata().map_err(failed)?.mode() & 0o077 != 0 {
                    return Err(TokenError::Readable(file.to_owned()));
                }
                let mut text = Zeroizing::new(String::new());
                opened.read_to_string(&mut text).map_err(failed)?;
                Zeroizing::new(text.trim().to_owned())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut bytes = Zeroizing::new([0; 32]);
                getrandom::fill(bytes.as_mut()).map_err(|error| failed(io::Error::other(error.to_string())))?;
                let token = Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(*bytes)));
                let mut made = OpenOptions::new().create_new(true).write(true).mode(0o600).open(file).map_err(failed)?;
                made.write_all(token.as_bytes()).and_then(|()| made.write_all(b"\n")).map_err(failed)?;
                made.sync_all().map_err(failed)?;
                token
            }
            Err(cause) => return Err(failed(cause)),
        };
        if !token.starts_with(PREFIX) || token.len() < 40 {
            return Err(TokenError::Malformed(file.to_owned()));
        }
        let principal = "bootstrap".parse().expect("a plain word is a principal");
        Ok((Self { bootstrap: Sha256::digest(token.as_bytes()).into(), principal }, token))
    }

    /// The caller behind an `Authorization` header; none if it shows nothing valid. A lease secret is verified where the lease is known.
    #[must_use]
    pub fn caller(&self, header: Option<&str>) -> Option<Caller> {
        let (scheme, shown) = header?.split_once(' ')?;
        let password;
        let token = if scheme.eq_ignore_ascii_case("bearer") {
            shown.trim()
        } else if scheme.eq_ignore_ascii_case("basic") {
            password = basic_password(shown.trim())?;
            &password
        } else {
            return None;
        };
        if let Some(secret) = LeaseSecret::parse(token) {
            return Some(Caller::Lease(secret));
        }
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        bool::from(hash.ct_eq(&self.bootstrap)).then(|| Caller::Principal(self.principal.clone()))
    }
}

/// The password of basic credentials, whoever the user: stock Terraform can show a token in no other way.
fn basic_password(shown: &str) -> Option<Zeroizing<String>> {
    let decoded = Zeroizing::new(STANDARD.decode(shown).ok()?);
    let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(Zeroizing::new(password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_taken_as_the_password_of_any_user() {
        let folder = tempfile::tempdir().unwrap();
        let (tokens, token) = Tokens::open(&folder.path().join("bootstrap.token")).unwrap();
        let caller = |credentials: &str| tokens.caller(Some(&format!("Basic {}", STANDARD.encode(credentials))));
        for good in [format!("ci:{}", *token), format!(":{}", *token)] {
            assert!(matches!(caller(&good), Some(Caller::Principal(_))));
        }
        for wrong in [token.to_string(), format!("{}:", *token), format!("ci:{}x", *token), "ci:".to_owned(), String::new()] {
            assert!(caller(&wrong).is_none());
        }
        for malformed in ["", "=", "%%%", "/w=="] {
            assert!(tokens.caller(Some(&format!("Basic {malformed}"))).is_none(), "{malformed}");
        }
    }

    #[test]
    fn only_the_bootstrap_token_is_a_principal() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bootstrap.token");
        let (tokens, token) = Tokens::open(&file).unwrap();
        let caller = |header: &str| tokens.caller(Some(header));
        assert!(matches!(caller(&format!("Bearer {}", *token)), Some(Caller::Principal(_))));
        assert!(matches!(caller(&format!("bearer {}", *token)), Some(Caller::Principal(_))));
        for wrong in ["", "Bearer", "Bearer ", "Bearer lh_x", "Basic abc", &format!("Bearer {}x", *token), &token] {
            assert!(caller(wrong).is_none(), "{wrong}");
        }
        assert_eq!(*Tokens::open(&file).unwrap().1, *token, "the second start finds the first one's token");
    }

    #[test]
    fn a_token_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bootstrap.token");
        Tokens::open(&file).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(matches!(Tokens::open(&file), Err(TokenError::Readable(_))));
    }
}
