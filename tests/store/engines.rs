//! The engines under test, each with clocks that the test turns.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leasehold::domain::decide;
use leasehold::domain::ids::HistoryId;
use leasehold::domain::settings::Limits;
use leasehold::store::Store;
use leasehold::store::clock::ManualSource;
use leasehold::store::memory::Memory;
use leasehold::store::sqlite::{Options, Sqlite};
use tempfile::TempDir;

/// What the contract suite needs of an engine.
pub(crate) trait Engine: Sized {
    fn new() -> Self;
    fn store(&self) -> &dyn Store;
    fn clock(&self) -> &ManualSource;
    /// Settles what is due, as a server does by itself.
    fn tick(&self);
    /// Stops as a killed process would, and starts again.
    fn restart(self) -> Self;
}

/// Short spans, so that virtual time passes quickly.
pub(crate) fn limits() -> Limits {
    Limits { min_ttl: Duration::from_secs(1), request_memory: Duration::from_secs(120), ..Limits::default() }
}

pub(crate) fn clock() -> Arc<ManualSource> {
    let clock = ManualSource::default();
    clock.step_wall(1_700_000_000_000);
    Arc::new(clock)
}

/// A folder for a database; in memory where that exists, when no disk is asked for.
pub(crate) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { private(&mut tempfile::Builder::new()).tempdir_in(memory).unwrap() } else { folder_on_disk() }
}

/// A folder for a database, on a disk.
pub(crate) fn folder_on_disk() -> TempDir {
    private(&mut tempfile::Builder::new()).tempdir().unwrap()
}

/// Nobody else's, as a data folder has to be, whatever the umask.
fn private<'a, 'b>(folder: &'a mut tempfile::Builder<'b, 'b>) -> &'a mut tempfile::Builder<'b, 'b> {
    folder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
}

/// Options under a test's own clock.
pub(crate) fn options(folder: &Path) -> Options {
    Options { unattended: false, audit_reserve: 256 << 10, ..Options::new(folder, limits(), [7; 16]) }
}

pub(crate) struct InMemory {
    clock: Arc<ManualSource>,
    store: Memory,
}

impl Engine for InMemory {
    fn new() -> Self {
        let clock = clock();
        Self { store: Memory::new(clock.clone(), limits(), HistoryId([7; 16])), clock }
    }

    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn clock(&self) -> &ManualSource {
        &self.clock
    }

    fn tick(&self) {
        self.store.tick();
    }

    fn restart(self) -> Self {
        let image = self.store.crash();
        Self { store: Memory::open(self.clock.clone(), limits(), image, decide), clock: self.clock }
    }
}

pub(crate) struct OnSqlite {
    clock: Arc<ManualSource>,
    store: Sqlite,
    folder: TempDir,
}

impl Engine for OnSqlite {
    fn new() -> Self {
        let (clock, folder) = (clock(), folder());
        Self { store: Sqlite::open(clock.clone(), &options(folder.path())).unwrap(), clock, folder }
    }

    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn clock(&self) -> &ManualSource {
        &self.clock
    }

    fn tick(&self) {
        self.store.tick();
    }

    fn restart(self) -> Self {
        drop(self.store);
        Self { store: Sqlite::open(self.clock.clone(), &options(self.folder.path())).unwrap(), ..self }
    }
}
