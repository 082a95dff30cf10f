//! The master identity: an age X25519 key in a file that only its owner can read. Never in the database.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use zeroize::Zeroizing;

/// Why a master key cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum MasterError {
    #[error("cannot read or write the master key {}: {cause}", .file.display())]
    Io { file: PathBuf, cause: io::Error },
    #[error("others can read the master key {}; `chmod 600` it, and think about who may have read it", .0.display())]
    Readable(PathBuf),
    #[error("{} holds no age identity (AGE-SECRET-KEY-1…); put the right file there", .0.display())]
    Malformed(PathBuf),
    #[error("the master key {} is missing, but the database has secrets under one; put the key back", .0.display())]
    Missing(PathBuf),
    #[error("the operating system gives no randomness: {0}")]
    Randomness(getrandom::Error),
}

/// The key at the top of the tree. It has no `Debug`; age wipes it on drop.
pub struct Master(Identity);

impl Master {
    /// Reads the key from its file, or makes one if `fresh` says that nothing can be under an older key.
    ///
    /// # Errors
    /// A missing, malformed or world-readable file.
    pub fn open(file: &Path, fresh: bool) -> Result<Self, MasterError> {
        let failed = |cause| MasterError::Io { file: file.to_owned(), cause };
        match File::open(file) {
            Ok(mut opened) => {
                if opened.metadata().map_err(failed)?.mode() & 0o077 != 0 {
                    return Err(MasterError::Readable(file.to_owned()));
                }
                let mut text = Zeroizing::new(String::new());
                opened.read_to_string(&mut text).map_err(failed)?;
                let line = text.lines().find(|line| !line.starts_with('#') && !line.trim().is_empty());
                let identity = line.and_then(|line| Identity::from_str(line.trim()).ok());
                identity.map(Self).ok_or_else(|| MasterError::Malformed(file.to_owned()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && fresh => {
                let identity = Identity::generate();
                let mut made = OpenOptions::new().create_new(true).write(true).mode(0o600).open(file).map_err(failed)?;
                made.write_all(b"# the master key of this leasehold: back it up apart from the database\n").map_err(failed)?;
                made.write_all(identity.to_string().expose_secret().as_bytes()).map_err(failed)?;
                made.write_all(b"\n").and_then(|()| made.sync_all()).map_err(failed)?;
                Ok(Self(identity))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(MasterError::Missing(file.to_owned())),
            Err(cause) => Err(failed(cause)),
        }
    }

    /// A key that is never written down: for tests and stores in memory.
    #[must_use]
    pub fn ephemeral() -> Self {
        Self(Identity::generate())
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.0
    }
}
