//! The threads that work on large documents: as many as there are cores.
//!
//! More would not be faster, and each keeps some of the memory that it has had: the C library gives every thread an arena, and holds on to up to
//! twice the largest document in each.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::Error;

type Job = Box<dyn FnOnce() + Send>;

/// One crew for the process. Its threads live as long as it does.
static CREW: LazyLock<Mutex<Crew>> = LazyLock::new(|| {
    for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
        // Without a thread, its share of the work is that of the others.
        if let Err(error) = std::thread::Builder::new().name("documents".to_owned()).spawn(serve) {
            tracing::error!(%error, "a thread for documents could not be started");
        }
    }
    Mutex::default()
});

#[derive(Default)]
struct Crew {
    waiting: VecDeque<Job>,
    /// Threads without work. The one that was busy last gets the next job: it has the memory.
    idle: Vec<Sender<Job>>,
}

/// Runs the work on one of the threads, after what came before.
pub(super) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let (answer, wait) = oneshot::channel();
    let job: Job = Box::new(move || drop(answer.send(work())));
    let refused = {
        let mut crew = crew();
        match crew.idle.pop() {
            Some(idle) => idle.send(job).err().map(|refused| refused.0),
            None => {
                crew.waiting.push_back(job);
                None
            }
        }
    };
    drop(refused);
    wait.await.map_err(|_| Error::internal("work on a document did not end well"))
}

fn crew() -> MutexGuard<'static, Crew> {
    CREW.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve() {
    let (own, jobs) = channel();
    loop {
        let next = {
            let mut crew = crew();
            let next = crew.waiting.pop_front();
            if next.is_none() {
                crew.idle.push(own.clone());
            }
            next
        };
        let Some(job) = next.or_else(|| jobs.recv().ok()) else { return };
        // The panic itself has been told; who waits is told by the answer that does not come.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn crew_goes_on_after_work_that_panics() {
        for _ in 0..2 * std::thread::available_parallelism().map_or(1, usize::from) {
            assert!(run(|| -> u8 { panic!("on purpose") }).await.is_err());
        }
        assert_eq!(run(|| 7).await.ok(), Some(7));
    }
}
