//! Store time, and the one rule by which it advances.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ids::Epoch;
use super::settings::Limits;

/// A point in store time, in microseconds since the store was made. Deadlines are kept in it; no wall clock enters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StoreTime(pub u64);

impl StoreTime {
    /// The time `span` later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// A wall-clock time in milliseconds since 1970, for people. It decides nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WallTime(pub i64);

/// No step of any clock, and no time in which the store could not commit, counts for more than this.
pub const LONGEST_STEP: Duration = Duration::from_secs(2);

/// Store time and the reading of the clock it was taken at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// Store time at the beat.
    pub store: StoreTime,
    /// The source's reading at the beat, since any origin.
    pub source: Duration,
}

impl Beat {
    /// Store time when the source reads `source`: the time of the beat plus what has passed since, at least nothing and at most
    /// [`LONGEST_STEP`].
    #[must_use]
    pub fn now(self, source: Duration) -> StoreTime {
        self.store.after(source.saturating_sub(self.source).min(LONGEST_STEP))
    }
}

/// What a decision may know of the world besides the snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Store time of the transaction.
    pub now: StoreTime,
    /// The wall clock, for people.
    pub wall: WallTime,
    /// The epoch of tokens granted now.
    pub epoch: Epoch,
    /// The server's bounds.
    pub limits: &'a Limits,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_steps_count_for_two_seconds_at_most_and_never_backwards() {
        let beat = Beat { store: StoreTime(1_000_000), source: Duration::from_secs(100) };
        assert_eq!(beat.now(Duration::from_millis(100_500)), StoreTime(1_500_000));
        assert_eq!(beat.now(Duration::from_secs(4_000)), StoreTime(3_000_000));
        assert_eq!(beat.now(Duration::from_secs(1)), StoreTime(1_000_000));
    }
}
