//! The engines under test. A new one is an implementation of [`Engine`] and a line in [`engines!`].

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leasehold::domain::ids::HistoryId;
use leasehold::domain::settings::Limits;
use leasehold::domain::{Decide, decide};
use leasehold::store::Store;
use leasehold::store::clock::{ManualSource, Source};
use leasehold::store::memory::{Image, Memory};
use leasehold::store::sqlite::{Options, Sqlite};
use tempfile::TempDir;

/// A store that the harness can tick and kill.
pub(crate) trait Engine: Send + Sync + 'static {
    /// The store under test.
    fn store(&self) -> &dyn Store;

    /// Settles what is due, and beats, as the server's sweeper would.
    fn tick(&self);

    /// Dies as a killed process would, and opens again what it left, with the same source.
    fn restart(self: Box<Self>) -> Box<dyn Engine>;

    /// Whether a command that changed nothing is a durable beat, too.
    fn beats_always(&self) -> bool {
        true
    }
}

/// Starts an engine on an empty folder.
pub(crate) type Start = fn(Arc<ManualSource>) -> Box<dyn Engine>;

/// Runs `$run(start, cases)` as a test named `$name` on every engine, with as many cases as half a minute of a debug build allows.
macro_rules! engines {
    ($name:ident, $run:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn memory() {
                $run(crate::engine::memory, 2_000);
            }

            #[test]
            fn sqlite() {
                $run(crate::engine::sqlite, 500);
            }
        }
    };
}
pub(crate) use engines;

/// The memory engine with the true rules.
pub(crate) fn memory(source: Arc<ManualSource>) -> Box<dyn Engine> {
    mutated(source, decide)
}

/// SQLite in a folder of its own, in memory where the machine has a place for that: the harness kills processes, not machines.
pub(crate) fn sqlite(source: Arc<ManualSource>) -> Box<dyn Engine> {
    let shm = Path::new("/dev/shm");
    let mut private = tempfile::Builder::new();
    let private = private.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    let folder = if shm.is_dir() { private.tempdir_in(shm) } else { private.tempdir() };
    Box::new(OnSqlite::open(source, folder.expect("a temporary folder can be made")))
}

/// The memory engine with rules of the caller's choice.
pub(crate) fn mutated(source: Arc<dyn Source>, decide: Decide) -> Box<dyn Engine> {
    Box::new(InMemory::open(source, empty(), decide))
}

/// Short times, so that schedules of a few dozen steps see leases live and die.
pub(crate) fn limits() -> Limits {
    Limits {
        min_ttl: Duration::from_secs(2),
        max_ttl: Duration::from_secs(60),
        max_lock_delay: Duration::from_secs(10),
        claim: Duration::from_secs(2),
        claim_polling: Duration::from_secs(4),
        ticket_life: Duration::from_secs(8),
        ticket_life_polling: Duration::from_secs(16),
        overdue: Duration::from_secs(40),
        unattended_shared: Duration::from_secs(20),
        request_memory: Duration::from_secs(120),
    }
}

/// What a store that was never written to leaves behind.
pub(crate) fn empty() -> Image {
    Memory::new(Arc::new(ManualSource::default()), limits(), HistoryId([7; 16])).crash()
}

pub(crate) struct InMemory {
    pub(crate) memory: Memory,
    source: Arc<dyn Source>,
    decide: Decide,
}

impl InMemory {
    pub(crate) fn open(source: Arc<dyn Source>, image: Image, decide: Decide) -> Self {
        Self { memory: Memory::open(Arc::clone(&source), limits(), image, decide), source, decide }
    }
}

impl Engine for InMemory {
    fn store(&self) -> &dyn Store {
        &self.memory
    }

    fn tick(&self) {
        self.memory.tick();
    }

    fn restart(self: Box<Self>) -> Box<dyn Engine> {
        Box::new(Self::open(self.source, self.memory.crash(), self.decide))
    }
}

struct OnSqlite {
    store: Sqlite,
    source: Arc<ManualSource>,
    folder: TempDir,
}

impl OnSqlite {
    fn open(source: Arc<ManualSource>, folder: TempDir) -> Self {
        let options = Options { unattended: false, ..Options::new(folder.path(), limits(), [7; 16]) };
        let store = Sqlite::open(Arc::clone(&source) as Arc<dyn Source>, &options).expect("the folder is the harness's own");
        Self { store, source, folder }
    }
}

impl Engine for OnSqlite {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn tick(&self) {
        self.store.tick();
    }

    fn restart(self: Box<Self>) -> Box<dyn Engine> {
        let Self { store, source, folder } = *self;
        drop(store);
        Box::new(Self::open(source, folder))
    }

    fn beats_always(&self) -> bool {
        false
    }
}
