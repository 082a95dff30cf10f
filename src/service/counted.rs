//! How the service stands and what it has counted: numbers only, for whoever watches over the server.

use std::sync::atomic::Ordering;

use super::{PERMIT, Service};
use crate::domain::event::EventKind;

/// How it stands; what is counted is since the start.
#[derive(Clone, Debug)]
pub struct Counted {
    /// There is no master key: documents are not served.
    pub locked: bool,
    /// The store takes commands: it has not given up.
    pub open: bool,
    /// Leases, and tickets that wait for one; none: not known right now.
    pub holdings: Option<(u64, u64)>,
    /// Committed events, by kind.
    pub events: [(EventKind, u64); EventKind::ALL.len()],
    /// Renewals of leases.
    pub renewals: u64,
    /// Acquires that had to wait or were refused since others held the lock.
    pub contention: u64,
    /// Redacted reads.
    pub redacted: u64,
    /// Calls of somebody who showed nothing valid.
    pub unauthenticated: u64,
    /// Calls of a principal that has no right to them.
    pub denied: u64,
    /// Bytes that are set aside for documents that are being read, written or compared.
    pub in_flight: u64,
    /// How many there may be.
    pub in_flight_most: u64,
    /// Runners of rotations that are at work.
    pub rotations: u64,
    /// Rotations that cannot end, since something does not open.
    pub stuck: u64,
    /// Rows of the audit.
    pub audit: u64,
    /// Of these, rows that no checkpoint is on yet.
    pub unsigned: u64,
}

impl Service {
    /// How it stands. Reads what is in memory, and waits for nobody.
    #[must_use]
    pub fn counted(&self) -> Counted {
        let head = *self.store.head().borrow();
        let (counts, tally) = (&self.audit.counts, self.hub.tally());
        let read = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let free = u64::try_from(self.flights.available_permits()).unwrap_or(u64::MAX);
        let (rotations, stuck) = self.runners.counted();
        Counted {
            locked: self.is_locked(),
            open: !head.failed,
            holdings: tally.holdings().map(|holdings| (holdings.leases, holdings.tickets)),
            events: EventKind::ALL.map(|kind| (kind, tally.heard(kind))),
            renewals: read(&counts.renewals),
            contention: read(&counts.contention),
            redacted: read(&counts.redacted),
            unauthenticated: read(&counts.unauthenticated),
            denied: read(&counts.denied),
            in_flight: self.permits.saturating_sub(free) * PERMIT,
            in_flight_most: self.permits * PERMIT,
            rotations,
            stuck,
            audit: head.audit,
            unsigned: head.audit.saturating_sub(read(&counts.sealed)),
        }
    }
}
