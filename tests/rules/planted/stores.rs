//! Stores that break their promises.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use leasehold::domain::command::Command;
use leasehold::domain::decide;
use leasehold::domain::decision::Reply;
use leasehold::domain::event::Recorded;
use leasehold::domain::ids::{BodyId, DataKeyId, Revision};
use leasehold::domain::refusal::Refusal;
use leasehold::domain::settings::Limits;
use leasehold::store::clock::{ManualSource, Source};
use leasehold::store::{Head, Later, Query, Rows, Store};
use tokio::sync::watch;

use crate::driver::block_on;
use crate::engine::{Engine, InMemory, empty, memory};

/// Answers before it commits: what is on disk is one call behind, until the store is opened for the second time.
pub(super) struct Lossy {
    front: Box<dyn Engine>,
    disk: Mutex<Option<Disk>>,
    source: Arc<ManualSource>,
    /// Whether it commits before it answers after all.
    honest: bool,
}

struct Disk {
    engine: Box<InMemory>,
    source: Arc<ManualSource>,
    pending: Option<(Duration, Option<Command>)>,
}

impl Lossy {
    pub(super) fn start(source: Arc<ManualSource>, honest: bool) -> Self {
        let behind = Arc::new(ManualSource::default());
        behind.set_monotonic(source.monotonic());
        behind.step_wall(source.wall().0);
        let engine = Box::new(InMemory::open(Arc::clone(&behind) as Arc<dyn Source>, empty(), decide));
        let disk = Mutex::new(Some(Disk { engine, source: behind, pending: None }));
        Self { front: memory(Arc::clone(&source)), disk, source, honest }
    }

    fn later(&self, command: Option<Command>) {
        if let Some(disk) = &mut *self.disk.lock().expect("no panic while held") {
            disk.catch_up();
            disk.pending = Some((self.source.monotonic(), command));
            if self.honest {
                disk.catch_up();
            }
        }
    }
}

impl Disk {
    fn catch_up(&mut self) {
        let Some((reading, command)) = self.pending.take() else { return };
        self.source.set_monotonic(reading);
        match command {
            Some(command) => drop(block_on(self.engine.memory.submit(command))),
            None => self.engine.memory.tick(),
        }
    }
}

impl Engine for Lossy {
    fn store(&self) -> &dyn Store {
        self
    }

    fn tick(&self) {
        self.front.tick();
        self.later(None);
    }

    fn restart(self: Box<Self>) -> Box<dyn Engine> {
        match self.disk.into_inner().expect("no panic while held") {
            None => self.front.restart(),
            Some(disk) => Box::new(InMemory::open(self.source, disk.engine.memory.crash(), decide)),
        }
    }

    // What is lost may be a beat.
    fn beats_always(&self) -> bool {
        false
    }
}

impl Store for Lossy {
    fn submit(&self, command: Command) -> Later<'_, Result<Reply, Refusal>> {
        self.later(Some(command.clone()));
        self.front.store().submit(command)
    }

    fn select(&self, query: Query) -> Later<'_, Rows> {
        self.front.store().select(query)
    }

    fn stage(&self, body: BodyId, key: DataKeyId, n: u32, bytes: Vec<u8>) -> Later<'_, ()> {
        self.front.store().stage(body, key, n, bytes)
    }

    fn chunk(&self, body: BodyId, n: u32) -> Later<'_, Option<Vec<u8>>> {
        self.front.store().chunk(body, n)
    }

    fn events(&self, after: Revision, limit: usize) -> Later<'_, Vec<Recorded>> {
        self.front.store().events(after, limit)
    }

    fn head(&self) -> watch::Receiver<Head> {
        self.front.store().head()
    }

    fn limits(&self) -> &Limits {
        self.front.store().limits()
    }

    fn erase(&self, needles: Vec<Vec<u8>>) -> Later<'_, bool> {
        self.front.store().erase(needles)
    }

    fn close(&self) -> Later<'_, ()> {
        self.front.store().close()
    }
}

/// Answers a read of the current version with what the read before it saw.
pub(super) struct Lagging {
    front: Box<dyn Engine>,
    seen: Mutex<Option<(String, Rows)>>,
}

impl Lagging {
    pub(super) fn start(source: Arc<ManualSource>) -> Self {
        Self { front: memory(source), seen: Mutex::new(None) }
    }
}

impl Engine for Lagging {
    fn store(&self) -> &dyn Store {
        self
    }

    fn tick(&self) {
        self.front.tick();
    }

    fn restart(self: Box<Self>) -> Box<dyn Engine> {
        Box::new(Self { front: self.front.restart(), seen: Mutex::new(None) })
    }
}

impl Store for Lagging {
    fn submit(&self, command: Command) -> Later<'_, Result<Reply, Refusal>> {
        self.front.store().submit(command)
    }

    fn select(&self, query: Query) -> Later<'_, Rows> {
        let newest = match &query {
            Query::Version(state, None) => Some(state.to_string()),
            _ => None,
        };
        let answer = self.front.store().select(query);
        Box::pin(async move {
            let rows = answer.await?;
            let Some(state) = newest else { return Ok(rows) };
            let mut seen = self.seen.lock().expect("no panic while held");
            let before = seen.replace((state.clone(), rows.clone())).filter(|(of, _)| *of == state);
            Ok(before.map_or(rows, |(_, before)| before))
        })
    }

    fn stage(&self, body: BodyId, key: DataKeyId, n: u32, bytes: Vec<u8>) -> Later<'_, ()> {
        self.front.store().stage(body, key, n, bytes)
    }

    fn chunk(&self, body: BodyId, n: u32) -> Later<'_, Option<Vec<u8>>> {
        self.front.store().chunk(body, n)
    }

    fn events(&self, after: Revision, limit: usize) -> Later<'_, Vec<Recorded>> {
        self.front.store().events(after, limit)
    }

    fn head(&self) -> watch::Receiver<Head> {
        self.front.store().head()
    }

    fn limits(&self) -> &Limits {
        self.front.store().limits()
    }

    fn erase(&self, needles: Vec<Vec<u8>>) -> Later<'_, bool> {
        self.front.store().erase(needles)
    }

    fn close(&self) -> Later<'_, ()> {
        self.front.store().close()
    }
}
