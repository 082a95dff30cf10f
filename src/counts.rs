//! What is counted while the server runs: numbers without locks, that know nobody and decide nothing. Whoever reads them reads one after the
//! other, so two of them may differ by what happens meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more; returns how many there are.
    pub fn one(&self) -> u64 {
        self.more(1)
    }

    /// So many more; returns how many there are.
    pub fn more(&self, by: u64) -> u64 {
        self.0.fetch_add(by, Ordering::Relaxed).wrapping_add(by)
    }

    /// How many there are.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    /// It is this now.
    pub fn set(&self, to: u64) {
        self.0.store(to, Ordering::Relaxed);
    }

    /// One more.
    pub fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less. Who goes down has gone up before.
    pub fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// What it is.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many observations were how large.
#[derive(Debug)]
pub struct Histogram {
    /// The largest value of each bucket, in ascending order; the last bucket has none.
    bounds: &'static [u64],
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// A histogram as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// The largest value of each bucket, the last one infinite, and how many observations are in that bucket alone.
    pub buckets: Vec<(f64, u64)>,
    /// How many there are.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

/// Buckets for times of calls and commits, in microseconds: from what a local disk takes to what a client gives up on.
pub const TIMES: &[u64] = &[500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000, 30_000_000];
/// Buckets for numbers of things at once.
pub const SIZES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

impl Histogram {
    /// An empty one with these buckets, ascending, and one for what is beyond.
    #[must_use]
    pub fn new(bounds: &'static [u64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum: AtomicU64::new(0) }
    }

    /// One observation.
    pub fn see(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// A time, in microseconds.
    pub fn took(&self, time: Duration) {
        self.see(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// What it looks like, in units of so many of the observations': 1,000,000 makes seconds of microseconds.
    #[must_use]
    pub fn shape(&self, unit: f64) -> Shape {
        let bounds = self.bounds.iter().map(|bound| *bound as f64 / unit).chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(&self.buckets).map(|(bound, bucket)| (bound, bucket.load(Ordering::Relaxed))).collect();
        // Not counted apart, so that it is never less than what is in the buckets.
        let count = buckets.iter().map(|(_, count)| count).sum();
        Shape { buckets, count, sum: self.sum.load(Ordering::Relaxed) as f64 / unit }
    }
}

/// What an engine of the store counts.
#[derive(Debug)]
pub struct Engine {
    /// How long commits took, in microseconds.
    pub commits: Histogram,
    /// How many requests shared a commit.
    pub batches: Histogram,
    /// Commits that failed.
    pub failed: Count,
    /// Bytes of the write-ahead log when it was last looked at.
    pub log_bytes: Level,
    /// 1: the disk was full at the last try.
    pub full: Level,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            commits: Histogram::new(TIMES),
            batches: Histogram::new(SIZES),
            failed: Count::default(),
            log_bytes: Level::default(),
            full: Level::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_counts_each_value_in_the_first_bucket_that_takes_it() {
        let histogram = Histogram::new(&[10, 20]);
        [0, 10, 11, 20, 21, 1_000].into_iter().for_each(|value| histogram.see(value));
        let Shape { buckets, count, sum } = histogram.shape(10.0);
        assert_eq!(buckets, [(1.0, 2), (2.0, 2), (f64::INFINITY, 2)]);
        assert_eq!((count, sum), (6, 106.2));
    }

    #[test]
    fn bounds_ascend() {
        for bounds in [TIMES, SIZES] {
            assert!(bounds.is_sorted_by(|one, next| one < next), "{bounds:?}");
        }
    }
}
