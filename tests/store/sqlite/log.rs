//! The write-ahead log stays small under load, and says so when a reader keeps it from that.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use leasehold::domain::document::Expect;
use leasehold::domain::ids::{Revision, Token};
use leasehold::store::Store;
use leasehold::store::sqlite::Sqlite;
use rusqlite::Connection;
use tokio::runtime::Runtime;

use super::database;
use crate::commands::{create, document, write, writes};
use crate::engines::{clock, options};

/// These fill the disk's queue; one at a time is enough.
static ALONE: Mutex<()> = Mutex::new(());
const MIB: u64 = 1 << 20;

fn log_size(folder: &Path) -> u64 {
    std::fs::metadata(folder.join("leasehold.db-wal")).unwrap().len()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
}

/// `clients` write `each` documents of `size` bytes, which are kept as drafts; the largest log seen.
fn load(store: &Arc<Sqlite>, folder: &Path, clients: u64, each: u64, size: usize) -> u64 {
    let runtime = runtime();
    let peak = Arc::new(Mutex::new(0));
    runtime.block_on(async {
        let tasks = (0..clients).map(|client| {
            let (store, peak, folder) = (store.clone(), peak.clone(), folder.to_owned());
            tokio::spawn(async move {
                for n in 0..each {
                    let mut content = document(&(client * each + n).to_be_bytes().repeat(size / 8));
                    content.stored_size = 1;
                    if size > 1 << 18 {
                        for (n, piece) in (0..).zip(content.inline.take().unwrap().concat().chunks(1 << 18)) {
                            store.stage(content.body, content.ground.data_key, n, piece.to_vec()).await.unwrap();
                        }
                    }
                    let name = format!("dev/app{client}");
                    let refused = store.submit(write(&name, writes("s", Token(n + 1), Expect::default(), content))).await;
                    assert!(refused.unwrap().unwrap_err().draft().is_some());
                    let mut peak = peak.lock().unwrap();
                    *peak = log_size(&folder).max(*peak);
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
    *peak.lock().unwrap()
}

fn open(folder: &Path) -> Arc<Sqlite> {
    let store = Sqlite::open(clock(), &options(folder)).unwrap();
    runtime().block_on(store.submit(create("dev"))).unwrap().unwrap();
    Arc::new(store)
}

#[test]
fn log_stays_small_under_load() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (clients, each, size) in [(64, 90, 4096), (8, 25, 1 << 20)] {
        let folder = crate::engines::folder_on_disk();
        let store = open(folder.path());
        let peak = load(&store, folder.path(), clients, each, size);
        println!("{clients} clients, {size} bytes: the log took up to {} MiB", peak / MIB);
        assert!(peak > 16 * MIB, "the load was too small to show anything: {} KiB", peak / 1024);
        assert!(peak < 64 * MIB, "{clients} clients, {size} bytes: the log took {} MiB", peak / MIB);
    }
}

#[test]
fn log_stays_small_under_reads_that_never_pause() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = crate::engines::folder_on_disk();
    let store = open(folder.path());
    // Something to read that takes a while.
    load(&store, folder.path(), 16, 40, 4096);
    let stop = Arc::new(AtomicBool::new(false));
    let reading = std::thread::spawn({
        let (store, stop) = (store.clone(), stop.clone());
        move || {
            runtime().block_on(async {
                let readers = (0..8).map(|_| {
                    let (store, stop) = (store.clone(), stop.clone());
                    tokio::spawn(async move {
                        let mut reads = 0_u64;
                        while !stop.load(Ordering::Relaxed) {
                            store.events(Revision(0), usize::MAX).await.unwrap();
                            reads += 1;
                        }
                        reads
                    })
                });
                let mut reads = 0;
                for reader in readers.collect::<Vec<_>>() {
                    reads += reader.await.unwrap();
                }
                reads
            })
        }
    });
    let peak = load(&store, folder.path(), 8, 25, 1 << 20);
    stop.store(true, Ordering::Relaxed);
    let reads = reading.join().unwrap();
    println!("beside {reads} reads the log took up to {} MiB", peak / MIB);
    assert!(reads > 8, "there was nothing beside the writes");
    assert!(peak < 128 * MIB, "the log took {} MiB", peak / MIB);
}

/// What was logged, over all threads of the test binary.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn long_read_that_pins_the_log_is_told_of() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let said = Said::default();
    let writer = said.clone();
    let logger = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    tracing::subscriber::set_global_default(logger).unwrap();
    let folder = crate::engines::folder();
    let store = open(folder.path());
    let reader = Connection::open(database(folder.path())).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM event").unwrap();
    let told = || String::from_utf8_lossy(&said.0.lock().unwrap()).matches("a long read keeps it").count();
    load(&store, folder.path(), 4, 32, 1 << 20);
    assert!(log_size(folder.path()) < 256 * MIB);
    assert_eq!(told(), 0);
    let mut rounds = 0;
    while told() == 0 && rounds < 10 {
        load(&store, folder.path(), 4, 16, 1 << 20);
        rounds += 1;
    }
    assert_eq!(told(), 1, "{} MiB", log_size(folder.path()) / MIB);
    drop(reader);
    // Without it the log starts over, and its file shrinks.
    load(&store, folder.path(), 8, 20, 1 << 20);
    assert!(log_size(folder.path()) <= 80 * MIB, "{} MiB", log_size(folder.path()) / MIB);
}
