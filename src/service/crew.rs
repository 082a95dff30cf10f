//! The threads that work on large documents: as many as there are cores. And the one for work that nobody waits for.
//!
//! More would not be faster, and each keeps some of the memory that it has had: the C library gives every thread an arena, and holds on to up to
//! twice the largest document in each.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::Error;

type Job = Box<dyn FnOnce() + Send>;

/// One crew for the process. Its threads live as long as it does.
static CREW: LazyLock<Crew> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Crew::start("documents", cores, || serve(&CREW))
});

/// The thread that stands back.
static BEHIND: LazyLock<Crew> = LazyLock::new(|| {
    Crew::start("rotations", 1, || {
        stand_back();
        IS_BEHIND.set(true);
        serve(&BEHIND);
    })
});

/// By how much it does. With more, it would stand still on a machine that has always something to do.
#[cfg(target_os = "linux")]
const BACK: i32 = 5;

/// Threads with the same work.
struct Crew(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    /// Threads without work. The one that was busy last gets the next job: it has the memory.
    idle: Vec<Sender<Job>>,
}

/// Runs the work on one of the threads, after what came before.
pub(super) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    CREW.run(work).await
}

/// Runs work that nobody waits for, one after the other, while the processors have nothing better to do.
pub(super) async fn run_behind<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    BEHIND.run(work).await
}

impl Crew {
    fn start(name: &str, threads: usize, serve: fn()) -> Self {
        for _ in 0..threads {
            // Without a thread, its share of the work is that of the others.
            if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(serve) {
                tracing::error!(%error, "a thread for documents could not be started");
            }
        }
        Self(Mutex::default())
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let (answer, wait) = oneshot::channel();
        let job: Job = Box::new(move || drop(answer.send(work())));
        let refused = {
            let mut queue = self.queue();
            match queue.idle.pop() {
                Some(idle) => idle.send(job).err().map(|refused| refused.0),
                None => {
                    queue.waiting.push_back(job);
                    None
                }
            }
        };
        drop(refused);
        wait.await.map_err(|_| Error::internal("work on a document did not end well"))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(crew: &Crew) {
    let (own, jobs) = channel();
    loop {
        let next = {
            let mut queue = crew.queue();
            let next = queue.waiting.pop_front();
            if next.is_none() {
                queue.idle.push(own.clone());
            }
            next
        };
        let Some(job) = next.or_else(|| jobs.recv().ok()) else { return };
        // The panic itself has been told; who waits is told by the answer that does not come.
        let _ = catch_unwind(AssertUnwindSafe(job));
        // What was woken meanwhile would otherwise wait for the end of a slice, which is longer than a commit.
        give_way();
    }
}

thread_local! {
    static IS_BEHIND: Cell<bool> = const { Cell::new(false) };
}

/// To be called between the steps of long work: lets others go first where nobody waits for it, and does nothing elsewhere.
pub(super) fn give_way() {
    if IS_BEHIND.get() {
        std::thread::yield_now();
    }
}

/// On Linux, a thread can be given less of the processors than the others of its process.
fn stand_back() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpriority_process, setpriority_process};
        if let Err(error) = getpriority_process(None).and_then(|nice| setpriority_process(None, nice + BACK)) {
            tracing::warn!(%error, "rotations of keys take as much of the processors as everything else");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_behind_goes_on_after_work_that_panics() {
        assert!(run_behind(|| -> u8 { panic!("on purpose") }).await.is_err());
        assert_eq!(run_behind(|| 7).await.ok(), Some(7));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn only_work_behind_stands_back() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let here = nice();
        assert_eq!(run(nice).await.ok(), Some(here));
        // No thread stands back further than that.
        assert_eq!(run_behind(nice).await.ok(), Some((here + BACK).min(19)));
    }

    #[tokio::test]
    async fn crew_goes_on_after_work_that_panics() {
        for _ in 0..2 * std::thread::available_parallelism().map_or(1, usize::from) {
            assert!(run(|| -> u8 { panic!("on purpose") }).await.is_err());
        }
        assert_eq!(run(|| 7).await.ok(), Some(7));
    }
}
