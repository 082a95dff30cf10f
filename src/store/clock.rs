//! The store clock, and the only reading of clocks for decisions (design 3, "Time").

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::time::{Beat, StoreTime, WallTime};

/// Where clock readings come from.
pub trait Source: Send + Sync + 'static {
    /// A monotonic reading since any origin.
    fn monotonic(&self) -> Duration;

    /// The wall clock, for people and for epochs at start.
    fn wall(&self) -> WallTime;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemSource {
    origin: Instant,
}

impl Default for SystemSource {
    #[allow(clippy::disallowed_methods, reason = "the store clock's own source")]
    fn default() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Source for SystemSource {
    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    #[allow(clippy::disallowed_methods, reason = "the store clock's own source")]
    fn wall(&self) -> WallTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Clocks that a test turns by hand.
#[derive(Debug, Default)]
pub struct ManualSource {
    readings: Mutex<(Duration, i64)>,
}

impl ManualSource {
    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let mut readings = self.readings.lock().expect("no panic while held");
        readings.0 += by;
        readings.1 += i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    }

    /// Steps the wall clock only, either way.
    pub fn step_wall(&self, by_ms: i64) {
        self.readings.lock().expect("no panic while held").1 += by_ms;
    }

    /// Sets the monotonic reading, as a restart on another machine would.
    pub fn set_monotonic(&self, to: Duration) {
        self.readings.lock().expect("no panic while held").0 = to;
    }
}

impl Source for ManualSource {
    fn monotonic(&self) -> Duration {
        self.readings.lock().expect("no panic while held").0
    }

    fn wall(&self) -> WallTime {
        WallTime(self.readings.lock().expect("no panic while held").1)
    }
}

/// Store time as it runs between commits.
pub(crate) struct StoreClock {
    source: std::sync::Arc<dyn Source>,
    beat: Mutex<Beat>,
}

impl StoreClock {
    /// Goes on from the last beat that was committed, rebased on the source as it reads now.
    pub(crate) fn resume(source: std::sync::Arc<dyn Source>, store: StoreTime) -> Self {
        let beat = Beat { store, source: source.monotonic() };
        Self { source, beat: Mutex::new(beat) }
    }

    /// Store time now, with the reading that [`StoreClock::beat`] takes after the commit.
    pub(crate) fn read(&self) -> Beat {
        let source = self.source.monotonic();
        Beat { store: self.beat.lock().expect("no panic while held").now(source), source }
    }

    /// Store time at the last beat: what a crash now would not undo.
    pub(crate) fn last(&self) -> StoreTime {
        self.beat.lock().expect("no panic while held").store
    }

    /// A beat was committed. Time that the commit itself took counts for at most [`crate::domain::time::LONGEST_STEP`].
    pub(crate) fn beat(&self, beat: Beat) {
        *self.beat.lock().expect("no panic while held") = beat;
    }

    /// The wall clock, for people.
    pub(crate) fn wall(&self) -> WallTime {
        self.source.wall()
    }
}
