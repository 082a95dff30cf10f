//! The engine that keeps everything in memory: for tests and simulation. It runs the same rules as the others, so it is no oracle.

use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::FutureExt;
use tokio::sync::watch;

use self::tables::{Tables, Work};
use super::clock::{Source, StoreClock};
use super::due::Due;
use super::transact::{store_settles, transact};
use super::{Head, Later, Query, Rows, Store, StoreError};
use crate::domain::command::Command;
use crate::domain::decision::Reply;
use crate::domain::event::Recorded;
use crate::domain::ids::{BodyId, DataKeyId, Epoch, HistoryId, Revision};
use crate::domain::names::StateName;
use crate::domain::refusal::Refusal;
use crate::domain::settings::Limits;
use crate::domain::time::{Context, StoreTime};
use crate::domain::{Decide, decide};

mod access;
mod keys;
mod select;
mod tables;

/// The store in memory.
pub struct Memory {
    inner: Mutex<Inner>,
    clock: StoreClock,
    limits: Limits,
    decide: Decide,
    head: watch::Sender<Head>,
}

struct Inner {
    tables: Tables,
    due: Due<StateName>,
    closed: bool,
}

/// What a memory engine left behind when it was dropped: what a restart finds.
pub struct Image {
    tables: Tables,
    now: StoreTime,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new(source: Arc<dyn Source>, limits: Limits, history: HistoryId) -> Self {
        let tables = Tables { history, ..Tables::default() };
        Self::open(source, limits, Image { tables, now: StoreTime(0) }, decide)
    }

    /// The store as an image holds it, with rules of the caller's choice: tests hand in mutated ones.
    #[must_use]
    pub fn open(source: Arc<dyn Source>, limits: Limits, image: Image, decide: Decide) -> Self {
        let Image { mut tables, now } = image;
        let wall = u64::try_from(source.wall().0 / 1000).unwrap_or(0);
        tables.epoch = Epoch((tables.epoch.0 + 1).max(wall));
        tables.drop_staged();
        let mut due = Due::new();
        for name in tables.lock_names() {
            due.set(name, Some(now));
        }
        let (head, _) = watch::channel(tables.head());
        Self {
            inner: Mutex::new(Inner { tables, due, closed: false }),
            clock: StoreClock::resume(source, now),
            limits,
            decide,
            head,
        }
    }

    /// Stops as a killed process would, and gives what was committed.
    #[must_use]
    pub fn crash(self) -> Image {
        let tables = std::mem::take(&mut self.lock().tables);
        Image { now: tables.beat, tables }
    }

    /// Settles every lock that is due: what a server does by itself when time passes.
    pub fn tick(&self) {
        let mut inner = self.lock();
        let beat = self.clock.read();
        while let Some(state) = inner.due.pop(beat.store) {
            let _ = self.run(&mut inner, &store_settles(state), beat.store);
        }
        inner.tables.sweep(beat.store);
        inner.tables.beat = beat.store;
        self.clock.beat(beat);
        self.publish(&inner);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic while held")
    }

    fn run(&self, inner: &mut Inner, command: &Command, now: StoreTime) -> Result<Reply, Refusal> {
        let epoch = inner.tables.epoch;
        let ctx = Context { now, wall: self.clock.wall(), epoch, limits: &self.limits };
        let Ok(done) = transact(&mut Work { tables: &mut inner.tables }, self.decide, command, &ctx);
        if let Some(state) = command.state() {
            inner.due.set(state.clone(), done.due);
        }
        for state in std::mem::take(&mut inner.tables.settle_soon) {
            inner.due.set(state, Some(now));
        }
        done.reply
    }

    fn publish(&self, inner: &Inner) {
        let head = inner.tables.head();
        self.head.send_if_modified(|old| std::mem::replace(old, head) != head);
    }
}

impl Store for Memory {
    fn submit(&self, command: Command) -> Later<'_, Result<Reply, Refusal>> {
        async move {
            let mut inner = self.lock();
            if inner.closed {
                return Err(StoreError::Stopped);
            }
            let beat = self.clock.read();
            let reply = self.run(&mut inner, &command, beat.store);
            inner.tables.beat = beat.store;
            self.clock.beat(beat);
            self.publish(&inner);
            Ok(reply)
        }
        .boxed()
    }

    fn select(&self, query: Query) -> Later<'_, Rows> {
        async move { Ok(self.lock().tables.select(&query, self.clock.read().store)) }.boxed()
    }

    fn stage(&self, body: BodyId, key: DataKeyId, n: u32, bytes: Vec<u8>) -> Later<'_, ()> {
        async move {
            let mut inner = self.lock();
            if inner.closed {
                return Err(StoreError::Stopped);
            }
            // As on disk: what is sealed under a retired key is committed on no ground.
            if inner.tables.is_retired(key) {
                return Ok(());
            }
            inner.tables.staged.insert(body, key);
            inner.tables.bodies.entry(body).or_default().insert(n, bytes);
            Ok(())
        }
        .boxed()
    }

    fn chunk(&self, body: BodyId, n: u32) -> Later<'_, Option<Vec<u8>>> {
        async move { Ok(self.lock().tables.bodies.get(&body).and_then(|pieces| pieces.get(&n)).cloned()) }.boxed()
    }

    fn events(&self, after: Revision, limit: usize) -> Later<'_, Vec<Recorded>> {
        async move {
            let inner = self.lock();
            let from = inner.tables.events.partition_point(|event| event.revision <= after);
            Ok(inner.tables.events[from..].iter().take(limit).cloned().collect())
        }
        .boxed()
    }

    fn head(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn erase(&self, _needles: Vec<Vec<u8>>) -> Later<'_, bool> {
        async move { Ok(true) }.boxed()
    }

    fn close(&self) -> Later<'_, ()> {
        async move {
            self.lock().closed = true;
            Ok(())
        }
        .boxed()
    }
}
