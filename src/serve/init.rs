//! The first token: made by whoever has the data folder, shown once. The folder keeps its hash, and the next start takes it over.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::domain::ids::TokenHash;
use crate::service::access::{Secret, fresh_secret, hash_of};

/// Why there is no first token.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum InitError {
    #[error("cannot read or write {}: {cause}", .file.display())]
    Io { file: PathBuf, cause: io::Error },
    #[error("others can read or write {}; delete it and run `leasehold init` again", .0.display())]
    Open(PathBuf),
    #[error("{} is damaged; delete it and run `leasehold init` again", .0.display())]
    Malformed(PathBuf),
    #[error("a token was made for {} that no server has taken over yet; start the server, or delete {} to make another one", .folder.display(), .file.display())]
    Pending { folder: PathBuf, file: PathBuf },
    #[error("the operating system gives no randomness")]
    Randomness,
}

/// What waits in the data folder for the next start.
const FILE: &str = "admin.init";

/// Makes a token with all rights for the next start of a server with this data folder, which is there.
///
/// # Errors
/// The folder cannot be written, or another such token waits there.
pub fn init(folder: &Path) -> Result<Secret, InitError> {
    let secret = fresh_secret().map_err(|_| InitError::Randomness)?;
    offer(folder, &secret)?;
    Ok(secret)
}

/// Leaves the hash of a token for the next start.
///
/// # Errors
/// As [`init`].
pub fn offer(folder: &Path, token: &str) -> Result<(), InitError> {
    let file = folder.join(FILE);
    let failed = |cause| InitError::Io { file: file.clone(), cause };
    let made = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&file);
    let mut made = made.map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists => InitError::Pending { folder: folder.to_owned(), file: file.clone() },
        _ => failed(cause),
    })?;
    // Root makes it for the user that the server runs as.
    let owner = std::fs::metadata(folder).map_err(failed)?;
    if owner.uid() != made.metadata().map_err(failed)?.uid() {
        fchown(&made, Some(owner.uid()), Some(owner.gid())).map_err(failed)?;
    }
    let text = serde_json::to_string(&hash_of(token)).map_err(|cause| failed(cause.into()))?;
    made.write_all(text.as_bytes()).and_then(|()| made.sync_all()).map_err(failed)
}

/// The hash that waits to be taken over.
///
/// # Errors
/// The file cannot be read, or is not what it should be.
pub(super) fn offered(folder: &Path) -> Result<Option<TokenHash>, InitError> {
    let file = folder.join(FILE);
    let failed = |cause| InitError::Io { file: file.clone(), cause };
    let mut opened = match File::open(&file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(failed(cause)),
    };
    if opened.metadata().map_err(failed)?.mode() & 0o077 != 0 {
        return Err(InitError::Open(file));
    }
    let mut text = String::new();
    opened.read_to_string(&mut text).map_err(failed)?;
    serde_json::from_str(&text).map(Some).map_err(|_| InitError::Malformed(file))
}

/// The token is in the store.
///
/// # Errors
/// The file cannot be removed.
pub(super) fn taken_over(folder: &Path) -> Result<(), InitError> {
    let file = folder.join(FILE);
    std::fs::remove_file(&file).map_err(|cause| InitError::Io { file, cause })
}
