//! Checkpoints: a passive one on its own connection copies the bulk, then the writer copies the small rest between two transactions,
//! so that the WAL starts over. Either alone lets it grow to hundreds of MB or stalls everybody.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::Duration;

use rusqlite::Connection;

use super::gate::Gate;
use super::writer::Job;
use crate::counts::Engine;

/// WAL pages from which a checkpoint is worth it: 16 MiB.
const PAGES: i64 = 4_000;
/// A WAL of this many pages means that a reader has pinned it for long: 256 MiB.
const ALARM: i64 = 65_536;
/// A WAL of this many pages should have started over long ago: readers are let out for it. 32 MiB.
const LARGE: i64 = 8_192;
/// How long to wait for them, for each such size, and at most.
const LET_OUT: Duration = Duration::from_millis(50);
const LET_OUT_MOST: Duration = Duration::from_secs(2);
/// Bytes that a page of the WAL takes.
const FRAME: u64 = 4_096 + 24;
/// How often the WAL is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The checkpointing thread, as the writer sees it.
pub(super) struct Checkpointer {
    stop: Option<Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    paused: Arc<AtomicBool>,
}

impl Checkpointer {
    /// Starts the thread on a connection of its own.
    pub(super) fn start(file: &Path, jobs: Sender<Job>, counts: Arc<Engine>) -> rusqlite::Result<Self> {
        let connection = super::open::connect(file)?;
        connection.execute_batch(
            "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA mmap_size=0; PRAGMA secure_delete=ON;",
        )?;
        let (stop, stopped) = channel();
        let paused = Arc::new(AtomicBool::new(false));
        let pausing = Arc::clone(&paused);
        let thread = std::thread::Builder::new()
            .name("checkpointer".to_owned())
            .spawn(move || run(&connection, &jobs, &stopped, &pausing, &counts))
            .map_err(|_| rusqlite::Error::InvalidPath(file.to_owned()))?;
        Ok(Self { stop: Some(stop), thread: Some(thread), paused })
    }

    /// Copies nothing, or goes on: a database that grows would take the room that is kept for something else.
    pub(super) fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// Ends the thread.
    pub(super) fn stop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(connection: &Connection, jobs: &Sender<Job>, stopped: &Receiver<()>, paused: &AtomicBool, counts: &Engine) {
    let mut alarmed = false;
    loop {
        match stopped.recv_timeout(LOOK) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => return,
        }
        if paused.load(Ordering::Relaxed) {
            continue;
        }
        let Ok((frames, copied)) = checkpoint(connection, "NOOP") else { continue };
        counts.log_bytes.set(u64::try_from(frames).unwrap_or(0) * FRAME);
        if !std::mem::replace(&mut alarmed, frames > ALARM) && alarmed {
            tracing::warn!(frames, "the write-ahead log is over 256 MiB: a long read keeps it from starting over");
        }
        if frames - copied < PAGES {
            continue;
        }
        if let Err(error) = checkpoint(connection, "PASSIVE") {
            tracing::warn!(%error, "a checkpoint failed; it is tried again");
        }
        let (done, wait) = channel();
        if jobs.send(Job::Checkpoint(done)).is_err() {
            return;
        }
        // The writer drops its end when it has copied the rest. It may be stopping instead, and then it waits for us.
        while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(LOOK) {
            if !matches!(stopped.try_recv(), Err(TryRecvError::Empty)) {
                return;
            }
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The writer's part, between two transactions: copies what is left, so that its next one starts the WAL over. That needs a moment in which
/// nobody reads from it; where there is none by itself, one is made.
pub(super) fn copy_the_rest(connection: &Connection, gate: &Gate) -> rusqlite::Result<()> {
    let (frames, _) = checkpoint(connection, "PASSIVE")?;
    if frames > LARGE {
        let patience = LET_OUT.saturating_mul(u32::try_from(frames / LARGE).unwrap_or(u32::MAX)).min(LET_OUT_MOST);
        // Who reads for longer than that keeps it for now; the next try comes with the next pages.
        gate.alone(patience, || checkpoint(connection, "PASSIVE")).transpose()?;
    }
    Ok(())
}

/// Copies what no reader needs, and tells how many frames the WAL has and how many of them are copied. `NOOP` only tells.
pub(super) fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<(i64, i64)> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| Ok((row.get(1)?, row.get(2)?)))
}
