//! What committed events come to: how many there were of each kind, and how many leases and tickets there are.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::counts::Count;
use crate::domain::event::{EventKind, Recorded};
use crate::domain::ids::Revision;
use crate::store::{Query, Rows, Store};

/// Kept by the one task that hears of everything, so no caller waits for it.
#[derive(Default)]
pub struct Tally {
    kinds: [Count; EventKind::ALL.len()],
    holdings: Mutex<Option<Holdings>>,
}

/// How many leases and tickets there are, as the events up to a revision leave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// Holders of all locks, offers that were not claimed yet among them.
    pub leases: u64,
    /// Tickets in all queues.
    pub tickets: u64,
    revision: Revision,
}

impl Tally {
    /// How many of a kind were told.
    #[must_use]
    pub fn heard(&self, kind: EventKind) -> u64 {
        self.kinds[kind as usize].get()
    }

    /// None: not known right now.
    #[must_use]
    pub fn holdings(&self) -> Option<Holdings> {
        *self.lock()
    }

    /// These were committed, in this order.
    pub fn tell(&self, events: &[Recorded]) {
        let mut known = self.lock();
        for event in events {
            self.kinds[event.event.kind as usize].one();
            *known = known.and_then(|holdings| holdings.after(event));
        }
    }

    /// Counts leases and tickets, if they are not known: at the start, and when an event does not say how many went with it.
    pub async fn find_out(&self, store: &dyn Store) {
        if self.lock().is_some() {
            return;
        }
        match store.select(Query::Holdings).await {
            Ok(Rows::Holdings { leases, tickets, revision }) => *self.lock() = Some(Holdings { leases, tickets, revision }),
            Ok(_) => tracing::error!("holdings answered with other rows"),
            Err(error) => {
                tracing::warn!(%error, "leases and tickets could not be counted; it is tried again with the next event")
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Holdings>> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holdings {
    /// None: some events are missing, or what is gone has to be counted.
    fn after(mut self, event: &Recorded) -> Option<Self> {
        use EventKind::{
            EnvironmentDeleted, LeaseBroken, LeaseExpired, LeaseGranted, LeaseReleased, LeaseUnclaimed, TicketGone, TicketQueued,
        };
        if event.revision <= self.revision {
            return Some(self);
        }
        if event.revision.0 != self.revision.0 + 1 {
            return None;
        }
        self.revision = event.revision;
        match event.event.kind {
            LeaseGranted => {
                self.leases += 1;
                self.tickets = self.tickets.saturating_sub(u64::from(event.event.ticket.is_some()));
            }
            LeaseReleased | LeaseExpired | LeaseBroken | LeaseUnclaimed => self.leases = self.leases.saturating_sub(1),
            TicketQueued => self.tickets += 1,
            TicketGone => self.tickets = self.tickets.saturating_sub(1),
            EnvironmentDeleted => return None,
            _ => {}
        }
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Event;
    use crate::domain::ids::TicketId;
    use crate::domain::time::WallTime;

    fn at(revision: u64, event: Event) -> Recorded {
        let (environment, wall) = ("dev".parse().unwrap(), WallTime(0));
        Recorded { revision: Revision(revision), environment, path: None, wall, event }
    }

    fn knows(leases: u64, tickets: u64, revision: u64) -> Tally {
        let holdings = Holdings { leases, tickets, revision: Revision(revision) };
        Tally { holdings: Mutex::new(Some(holdings)), ..Tally::default() }
    }

    fn counts(tally: &Tally) -> Option<(u64, u64)> {
        tally.holdings().map(|known| (known.leases, known.tickets))
    }

    #[test]
    fn what_was_counted_already_is_not_counted_again() {
        let tally = knows(5, 2, 10);
        let granted = |revision| at(revision, Event::new(EventKind::LeaseGranted));
        tally.tell(&[granted(9), granted(10), granted(11)]);
        assert_eq!(counts(&tally), Some((6, 2)));
        assert_eq!(tally.heard(EventKind::LeaseGranted), 3);
    }

    #[test]
    fn ticket_that_is_served_is_none_any_more() {
        let tally = knows(0, 1, 0);
        tally.tell(&[at(1, Event { ticket: Some(TicketId(7)), ..Event::new(EventKind::LeaseGranted) })]);
        assert_eq!(counts(&tally), Some((1, 0)));
        tally.tell(&[at(2, Event { ticket: Some(TicketId(7)), ..Event::new(EventKind::LeaseExpired) })]);
        assert_eq!(counts(&tally), Some((0, 0)));
    }

    #[test]
    fn gap_and_deleted_environment_make_it_unknown() {
        let tally = knows(1, 1, 0);
        tally.tell(&[at(2, Event::new(EventKind::VersionWritten))]);
        assert_eq!(counts(&tally), None);
        let tally = knows(1, 1, 0);
        tally.tell(&[at(1, Event::new(EventKind::EnvironmentDeleted)), at(2, Event::new(EventKind::LeaseGranted))]);
        assert_eq!(counts(&tally), None, "it is counted anew");
    }
}
