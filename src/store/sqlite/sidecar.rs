//! The sidecar: what the last server knew of its database, kept beside it, so that a file put back to an earlier time is noticed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::ids::Epoch;

/// Written after the commits it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sidecar {
    pub(super) instance: [u8; 16],
    pub(super) epoch: Epoch,
    pub(super) seq: u64,
}

fn path(database: &Path) -> PathBuf {
    database.with_extension("sidecar")
}

/// What the sidecar says; none if there is none. An unreadable one says nothing: it is only ever a second witness.
pub(super) fn read(database: &Path) -> Option<Sidecar> {
    let path = path(database);
    let read = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        read => read.and_then(|bytes| Ok(serde_json::from_slice(&bytes)?)),
    };
    read.inspect_err(|error| {
        let path = path.display();
        tracing::warn!(%path, %error, "the sidecar cannot be read: a database put back to an earlier time would go unnoticed");
    })
    .ok()
}

/// Replaces the sidecar, durably.
pub(super) fn write(database: &Path, sidecar: &Sidecar) -> io::Result<()> {
    let path = path(database);
    let new = path.with_extension("sidecar.new");
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(&serde_json::to_vec(sidecar)?)?;
    file.sync_data()?;
    fs::rename(&new, &path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
