//! What only SQLite can be asked: settings, commits, files that are wrong, old, locked or full.

mod commits;
mod durability;
mod files;
mod full;
mod images;
mod log;
mod opening;
mod sidecar;
mod unattended;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use leasehold::store::clock::ManualSource;
use leasehold::store::sqlite::{OpenError, Options, Sqlite};
use rusqlite::Connection;

use crate::engines::{clock, options};
use crate::rig::Rig;

pub(crate) use self::rigged::OnDisk;

mod rigged;

/// The database file in a folder.
pub(crate) fn database(folder: &Path) -> PathBuf {
    folder.join("leasehold.db")
}

/// Writes a file of a data folder as the server keeps it: nobody else's.
pub(crate) fn write_private(file: &Path, bytes: impl AsRef<[u8]>) {
    std::fs::write(file, bytes).unwrap();
    make_private(file);
}

pub(crate) fn make_private(file: &Path) {
    std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// Why a folder cannot be opened.
pub(crate) fn refusal(options: &Options) -> OpenError {
    match Sqlite::open(clock(), options) {
        Ok(_) => panic!("the folder was opened"),
        Err(error) => error,
    }
}

/// One number of the single row about the server.
pub(crate) fn server(folder: &Path, column: &str) -> i64 {
    let connection = Connection::open(database(folder)).unwrap();
    connection.query_row(&format!("SELECT {column} FROM server"), [], |row| row.get(0)).unwrap()
}

/// A rig on a folder, with the usual options.
pub(crate) fn on(folder: &Path) -> Rig<OnDisk> {
    on_with(clock(), options(folder))
}

pub(crate) fn on_with(clock: Arc<ManualSource>, options: Options) -> Rig<OnDisk> {
    Rig::of(OnDisk::open(clock, options))
}
