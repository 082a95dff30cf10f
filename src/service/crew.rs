//! The threads that work on large documents: as many as there are cores.
//!
//! More would not be faster, and each keeps some of the memory that it has had: the C library gives every thread an arena, and holds on to up to
//! twice the largest document in each.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::Error;

type Job = Box<dyn FnOnce() + Send>;

/// One crew for the process. Its threads live as long as it does.
static JOBS: LazyLock<Sender<Job>> = LazyLock::new(|| {
    let (jobs, queue) = channel();
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
        let queue = Arc::clone(&queue);
        // Without a thread, its share of the work is that of the others; without any, jobs are refused.
        if let Err(error) = std::thread::Builder::new().name("documents".to_owned()).spawn(move || serve(&queue)) {
            tracing::error!(%error, "a thread for documents could not be started");
        }
    }
    jobs
});

/// Runs the work on one of the threads, after what came before.
pub(super) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let (answer, wait) = oneshot::channel();
    let job = Box::new(move || drop(answer.send(work())));
    JOBS.send(job).map_err(|_| Error::internal("there are no threads for documents"))?;
    wait.await.map_err(|_| Error::internal("work on a document did not end well"))
}

fn serve(queue: &Mutex<Receiver<Job>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
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
