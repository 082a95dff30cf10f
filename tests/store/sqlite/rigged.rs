//! SQLite in a folder of the test's choice.

use std::sync::Arc;

use leasehold::store::Store;
use leasehold::store::clock::ManualSource;
use leasehold::store::sqlite::{Options, Sqlite};

use crate::engines::Engine;

pub(crate) struct OnDisk {
    clock: Arc<ManualSource>,
    options: Options,
    store: Sqlite,
}

impl OnDisk {
    pub(crate) fn open(clock: Arc<ManualSource>, options: Options) -> Self {
        Self { store: Sqlite::open(clock.clone(), &options).unwrap(), clock, options }
    }
}

impl Engine for OnDisk {
    fn new() -> Self {
        unreachable!("needs a folder")
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
        Self::open(self.clock, self.options)
    }
}
