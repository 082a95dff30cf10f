//! Files that only their owner can read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::{IdentitiesError, MasterError, Masters};
use crate::secrets::identities::Identities;

/// The largest file, and the most that a command may print.
pub(super) const MOST: usize = 64 << 10;

pub(super) fn load(path: &Path) -> Result<Masters, MasterError> {
    let malformed = |cause| MasterError::Malformed { file: path.to_owned(), cause };
    let bytes = read_private(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| malformed(IdentitiesError::None))?;
    Masters::parse(text).map_err(malformed)
}

pub(super) fn create(path: &Path) -> Result<Masters, MasterError> {
    let (masters, text) = generate();
    write_private(path, text.as_bytes())?;
    Ok(masters)
}

/// A new identity and the text to keep of it.
pub(super) fn generate() -> (Masters, Zeroizing<String>) {
    use age::secrecy::ExposeSecret;

    let identities = Identities::generate();
    let secret = identities.first().to_string();
    let comment = "# the master key of this leasehold: back it up apart from the database\n";
    let mut text = Zeroizing::new(String::with_capacity(comment.len() + secret.expose_secret().len() + 1));
    for part in [comment, secret.expose_secret(), "\n"] {
        text.push_str(part);
    }
    (Masters(identities), text)
}

/// Reads a file that nobody else can read or replace.
pub(super) fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, MasterError> {
    let failed = |cause| MasterError::Io { file: path.to_owned(), cause };
    // A named pipe would hold us here until somebody writes.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag of open(2) is an int");
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Err(MasterError::Missing(path.to_owned())),
        opened => opened.map_err(failed)?,
    };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(MasterError::NotAFile(path.to_owned()));
    }
    let ours = rustix::process::geteuid().as_raw();
    if metadata.uid() != ours && metadata.uid() != 0 {
        return Err(MasterError::Owner { file: path.to_owned(), owner: metadata.uid(), ours });
    }
    if metadata.mode() & 0o077 != 0 && !is_credential(&metadata) {
        return Err(MasterError::Readable(path.to_owned()));
    }
    // Enough from the start: a buffer that grows leaves its old bytes behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST + 1));
    file.take(MOST as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MOST { Err(MasterError::TooLarge(path.to_owned())) } else { Ok(bytes) }
}

/// Writes a new file that nobody else can read, and makes it last.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), MasterError> {
    let write = || {
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
        file.write_all(bytes).and_then(|()| file.sync_all())?;
        // Without its name in the folder the key would be gone after a power cut, and all that is under it.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    };
    write().map_err(|cause| MasterError::Io { file: path.to_owned(), cause })
}

/// How systemd hands a credential to a service: root's, and readable by its group only because the entry for our user stands in an access control
/// list, whose mask shows there.
fn is_credential(metadata: &std::fs::Metadata) -> bool {
    metadata.uid() == 0 && metadata.gid() == 0 && metadata.mode() & 0o777 == 0o440
}
