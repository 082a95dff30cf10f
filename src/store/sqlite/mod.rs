//! The engine inside: SQLite in WAL mode, one writer thread with group commit, readers beside it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot, watch};

use self::gate::Gate;
pub use self::offline::{Found, Named, Numbered, Offline, Unreadable};
pub use self::open::OpenError;
pub use self::verify::{Tried, Verdict, verify};
use self::writer::{Job, Piece, Writer};
use super::clock::{Source, StoreClock};
use super::{Head, Later, Query, Rows, Store, StoreError};
use crate::counts::Engine;
use crate::domain::command::Command;
use crate::domain::decision::Reply;
use crate::domain::event::Recorded;
use crate::domain::ids::{BodyId, DataKeyId, Revision};
use crate::domain::refusal::Refusal;
use crate::domain::settings::Limits;
use crate::domain::{Decide, decide};

mod access;
mod audit;
mod checkpoint;
mod columns;
mod erase;
mod gate;
mod keys;
mod offline;
mod open;
mod reserve;
mod select;
mod sidecar;
mod sweep;
mod transaction;
mod verify;
mod writer;

/// How to open a data folder.
#[derive(Clone)]
pub struct Options {
    /// The folder; made if it is missing.
    pub folder: PathBuf,
    /// The server's bounds.
    pub limits: Limits,
    /// 16 random bytes: the identity of a database made now.
    pub fresh: [u8; 16],
    /// Open a database that is older than its sidecar, with a higher epoch.
    pub accept_rollback: bool,
    /// Bytes of the disk that are kept for the audit of reads.
    pub audit_reserve: u64,
    /// How many events are kept for watchers.
    pub keep_events: u64,
    /// The rules: tests hand in mutated ones.
    pub decide: Decide,
    /// What the engine counts.
    pub counts: Arc<Engine>,
    /// How commits are made durable.
    #[doc(hidden)]
    pub synchronous: Synchronous,
    /// Whether the engine settles by itself when deadlines pass. False under a test's own clock, which calls [`Sqlite::tick`].
    pub unattended: bool,
}

impl Options {
    /// The usual options for a folder.
    #[must_use]
    pub fn new(folder: &Path, limits: Limits, fresh: [u8; 16]) -> Self {
        Self {
            folder: folder.to_owned(),
            limits,
            fresh,
            accept_rollback: false,
            audit_reserve: 8 << 20,
            keep_events: 1_000_000,
            decide,
            counts: Arc::default(),
            synchronous: Synchronous::Full,
            unattended: true,
        }
    }
}

/// When a commit counts as durable.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// After a sync of the log: what an acknowledgement promises.
    #[default]
    Full,
    /// Without one: a power cut loses acknowledged commits. Only for the test that shows that its check sees the difference.
    DangerNormal,
}

/// The store on SQLite.
pub struct Sqlite {
    jobs: std::sync::mpsc::Sender<Job>,
    readers: Arc<Readers>,
    clock: Arc<StoreClock>,
    limits: Limits,
    head: watch::Receiver<Head>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// How many reads run at once: each needs a connection, and each connection descriptors.
const READERS: usize = 16;

/// Reading connections that are free.
struct Readers {
    file: PathBuf,
    free: Mutex<Vec<Connection>>,
    permits: Semaphore,
    gate: Arc<Gate>,
}

impl Sqlite {
    /// Opens the database in a folder, or makes one.
    ///
    /// # Errors
    /// [`OpenError`] says why the folder cannot be used; nothing in it was changed then.
    pub fn open(source: Arc<dyn Source>, options: &Options) -> Result<Self, OpenError> {
        let opened = open::open(options, source.wall())?;
        let clock = Arc::new(StoreClock::resume(source, opened.beat));
        let (file, gate) = (opened.file.clone(), Arc::new(Gate::default()));
        let readers = Readers { file, free: Mutex::default(), permits: Semaphore::new(READERS), gate: Arc::clone(&gate) };
        let readers = Arc::new(readers);
        let (jobs, queue) = std::sync::mpsc::channel();
        let (head, watcher) = watch::channel(Head {
            history: opened.history,
            revision: Revision(opened.revision),
            audit: opened.audit,
            trimmed: Revision(opened.trimmed),
            failed: false,
        });
        let engine = |cause| OpenError::Engine { file: readers.file.clone(), cause };
        let writer = Writer::new(opened, Arc::clone(&clock), options, head, jobs.clone(), gate).map_err(engine)?;
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(|cause| OpenError::Folder { folder: options.folder.clone(), cause })?;
        let writer = Mutex::new(Some(thread));
        Ok(Self { jobs, readers, clock, limits: options.limits.clone(), head: watcher, writer })
    }

    /// Settles every lock that is due: for tests that turn the clock themselves.
    pub fn tick(&self) {
        let (done, wait) = std::sync::mpsc::channel();
        if self.jobs.send(Job::Tick(done)).is_ok() {
            let _ = wait.recv();
        }
    }

    fn ask<T: Send + 'static>(&self, job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job) -> Later<'_, T> {
        let (answer, wait) = oneshot::channel();
        let sent = self.jobs.send(job(answer));
        async move {
            sent.map_err(|_| StoreError::Stopped)?;
            wait.await.map_err(|_| StoreError::Stopped)?
        }
        .boxed()
    }

    /// Runs a read on a free connection, off the async threads.
    fn read<T: Send + 'static>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static) -> Later<'_, T> {
        let readers = Arc::clone(&self.readers);
        async move {
            let _permit = readers.permits.acquire().await.map_err(|_| StoreError::Stopped)?;
            let reading = Arc::clone(&readers);
            let task = tokio::task::spawn_blocking(move || reading.with(read));
            task.await.map_err(|error| StoreError::Engine(error.to_string()))?.map_err(engine_error)
        }
        .boxed()
    }
}

impl Readers {
    fn with<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let free = self.free.lock().expect("no panic while held").pop();
        let connection = free.map_or_else(|| open::reader(&self.file), Ok)?;
        let result = self.gate.read(|| read(&connection));
        self.free.lock().expect("no panic while held").push(connection);
        result
    }
}

impl Store for Sqlite {
    fn submit(&self, command: Command) -> Later<'_, Result<Reply, Refusal>> {
        self.ask(|answer| Job::Submit(Box::new(command), answer))
    }

    fn select(&self, query: Query) -> Later<'_, Rows> {
        let now = self.clock.read().store;
        self.read(move |connection| select::select(connection, &query, now))
    }

    fn stage(&self, body: BodyId, key: DataKeyId, n: u32, bytes: Vec<u8>) -> Later<'_, ()> {
        self.ask(|answer| Job::Stage(Piece { body, key, n, bytes }, answer))
    }

    fn chunk(&self, body: BodyId, n: u32) -> Later<'_, Option<Vec<u8>>> {
        self.read(move |connection| select::chunk(connection, body, n))
    }

    fn events(&self, after: Revision, limit: usize) -> Later<'_, Vec<Recorded>> {
        self.read(move |connection| select::events(connection, after, limit))
    }

    fn head(&self) -> watch::Receiver<Head> {
        self.head.clone()
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn erase(&self, needles: Vec<Vec<u8>>) -> Later<'_, bool> {
        let file = self.readers.file.clone();
        async move {
            let mut cut = false;
            for _ in 0..erase::TRIES {
                let log = file.clone();
                cut = blocking(move || erase::cut_log(&log)).await?.map_err(engine_error)?;
                if cut {
                    break;
                }
                tokio::time::sleep(erase::PAUSE).await;
            }
            let gone = blocking(move || erase::is_gone(&file, &needles)).await?;
            gone.map(|gone| gone && cut).map_err(|error| StoreError::Engine(error.to_string()))
        }
        .boxed()
    }

    fn close(&self) -> Later<'_, ()> {
        async move {
            let _ = self.jobs.send(Job::Close);
            let writer = self.writer.lock().expect("no panic while held").take();
            let join = tokio::task::spawn_blocking(move || writer.map(std::thread::JoinHandle::join));
            join.await.map(drop).map_err(|error| StoreError::Engine(error.to_string()))
        }
        .boxed()
    }
}

impl Drop for Sqlite {
    /// As a kill would: what is queued is dropped, nothing is closed in order. The thread is waited for, so that the folder is free.
    fn drop(&mut self) {
        let _ = self.jobs.send(Job::Abandon);
        if let Some(writer) = self.writer.lock().expect("no panic while held").take() {
            let _ = writer.join();
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::Engine(error.to_string()))
}

/// What a failed statement means: no room, or trouble of the engine.
fn engine_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full,
        _ => StoreError::Engine(error.to_string()),
    }
}
