//! Rows that nobody waits for: refusals. Somebody who is refused all the time must not fill the disk, so of each principal only the first
//! ones in a minute are rows of their own; the others are counted in one. Who is not known at all is counted by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::audit::{AuditAct, Deed, Entry};
use crate::domain::names::Principal;
use crate::service::Service;

/// How many refusals of a principal in a minute are rows of their own.
pub(super) const EACH: u64 = 10;
/// How many addresses are told apart in a minute.
const PEERS: usize = 64;
/// How many principals are told apart in a minute: each has shown a credential.
const PRINCIPALS: usize = 10_000;
/// How many rows wait for a disk that takes none.
const WAITING: usize = 1000;
const MINUTE: Duration = Duration::from_secs(60);

/// What was refused and is not written yet.
#[derive(Default)]
pub(super) struct Refusals {
    rows: Vec<Entry>,
    /// Of this minute.
    principals: HashMap<Option<Principal>, Of>,
    peers: HashMap<Option<IpAddr>, u64>,
}

/// The refusals of one principal in this minute.
#[derive(Default)]
struct Of {
    count: u64,
    /// The last one that is no row of its own: it stands for the others.
    last: Option<Entry>,
}

impl Refusals {
    /// A row, while there are few of its principal.
    pub(super) fn add(&mut self, entry: Entry) {
        let known = self.principals.contains_key(&entry.who) || self.principals.len() < PRINCIPALS;
        let of = self.principals.entry(entry.who.clone().filter(|_| known)).or_default();
        of.count += 1;
        if of.count <= EACH && self.rows.len() < WAITING {
            self.rows.push(entry);
        } else {
            let more = of.last.take().map_or(0, |last| last.count);
            of.last = Some(Entry { count: more + entry.count, ..entry });
        }
    }

    pub(super) fn unauthenticated(&mut self, peer: Option<IpAddr>) {
        let known = self.peers.contains_key(&peer) || self.peers.len() < PEERS;
        *self.peers.entry(peer.filter(|_| known)).or_default() += 1;
    }

    /// The rows that are to be written now.
    fn take(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.rows)
    }

    /// The same, and what stands for the rest of the minute. A new one begins.
    fn take_minute(&mut self) -> Vec<Entry> {
        let mut rows = self.take();
        let others = self.principals.drain().filter_map(|(who, of)| of.last.map(|last| Entry { who, ..last }));
        rows.extend(others.map(|last| Entry { detail: "the last of so many more within a minute".to_owned(), ..last }));
        rows.extend(self.peers.drain().map(|(peer, count)| Entry {
            outcome: "refused: UNAUTHENTICATED".to_owned(),
            count,
            from: Some(peer.map_or_else(|| "others".to_owned(), |peer| peer.to_string())),
            ..Entry::new(Deed::Unauthenticated, "/")
        }));
        rows
    }

    /// Rows that could not be written, to be tried again. What is too much is lost, and the number told.
    fn put_back(&mut self, mut rows: Vec<Entry>) -> usize {
        rows.append(&mut self.rows);
        let lost = rows.len().saturating_sub(WAITING);
        rows.truncate(WAITING);
        self.rows = rows;
        lost
    }
}

impl Service {
    /// Writes rows as they come, and once a minute those that stand for several.
    pub(super) fn write_what_is_pending(self: &Arc<Self>) {
        let me = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut minute = tokio::time::interval(MINUTE);
            minute.tick().await;
            loop {
                let Some(service) = me.upgrade() else { return };
                let audit = Arc::clone(&service.audit);
                drop(service);
                let whole = tokio::select! {
                    _ = minute.tick() => true,
                    () = audit.pending.notified() => false,
                };
                drop(audit);
                let Some(service) = me.upgrade() else { return };
                service.write_refusals(whole).await;
            }
        });
    }

    /// Writes what is to be written now, or (`whole`) everything.
    pub(super) async fn write_refusals(&self, whole: bool) {
        let rows = {
            let mut refusals = self.audit.refusals.lock().expect("no panic while held");
            if whole { refusals.take_minute() } else { refusals.take() }
        };
        if rows.is_empty() {
            return;
        }
        if let Err(error) = self.audit_act(AuditAct::Record(rows.clone())).await {
            let lost = self.audit.refusals.lock().expect("no panic while held").put_back(rows);
            tracing::warn!(%error, lost, "refusals could not be recorded; they are tried again within a minute");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(who: &str) -> Entry {
        Entry { who: Some(who.parse().unwrap()), ..Entry::new(Deed::Denied, "prod/net") }
    }

    #[test]
    fn first_refusals_of_a_minute_are_rows_and_the_rest_is_one_with_a_count() {
        let mut refusals = Refusals::default();
        for _ in 0..1_000_000 {
            refusals.add(refused("noisy"));
        }
        refusals.add(refused("quiet"));
        let rows = refusals.take();
        assert_eq!(rows.len() as u64, EACH + 1, "who is quiet is not lost among the noise");
        let rest = refusals.take_minute();
        assert_eq!(rest.len(), 1);
        assert_eq!((rest[0].count, rest[0].who.as_ref().unwrap().as_str()), (1_000_000 - EACH, "noisy"));
        refusals.add(refused("noisy"));
        assert_eq!((refusals.take().len(), refusals.take_minute().len()), (1, 0), "another minute");
    }

    #[test]
    fn strangers_are_counted_by_address_in_bounded_memory() {
        let mut refusals = Refusals::default();
        for n in 0..100_000_u32 {
            refusals.unauthenticated(Some(IpAddr::from(n.to_be_bytes())));
            refusals.unauthenticated(Some(IpAddr::from([0, 0, 0, 7])));
        }
        let rows = refusals.take_minute();
        assert_eq!(rows.len(), PEERS + 1);
        assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), 200_000, "none is lost");
        let from = |peer: &str| rows.iter().find(|row| row.from.as_deref() == Some(peer)).unwrap().count;
        assert_eq!((from("0.0.0.7"), from("others")), (100_001, 100_000 - PEERS as u64));
    }

    #[test]
    fn rows_that_could_not_be_written_wait_in_bounded_memory() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.put_back((0..WAITING + 5).map(|n| refused(&format!("p{n}"))).collect()), 5);
        let rows = refusals.take();
        assert_eq!((rows.len(), rows[0].who.as_ref().unwrap().as_str()), (WAITING, "p0"), "the oldest stay");
    }
}
