//! Caps on connections, in total and per peer.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The slots that connections take while they are open.
#[derive(Clone)]
pub(super) struct Slots {
    total: usize,
    per_peer: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    total: usize,
    by_peer: HashMap<IpAddr, usize>,
}

impl Slots {
    pub(super) fn new(total: usize, per_peer: usize) -> Self {
        Self { total, per_peer, taken: Arc::default() }
    }

    /// A slot that is free again when dropped.
    ///
    /// # Errors
    /// The cap that forbids one more connection from `addr`.
    pub(super) fn take(&self, addr: IpAddr) -> Result<Slot, Cap> {
        let peer = peer_of(addr);
        let mut taken = self.taken();
        let of_peer = taken.by_peer.get(&peer).copied().unwrap_or(0);
        if taken.total >= self.total {
            return Err(Cap::Total);
        }
        if of_peer >= self.per_peer {
            return Err(Cap::Peer);
        }
        taken.total += 1;
        taken.by_peer.insert(peer, of_peer + 1);
        Ok(Slot { slots: self.clone(), peer })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which cap is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cap {
    /// That on all connections.
    Total,
    /// That on those of one peer.
    Peer,
}

/// One open connection.
pub(super) struct Slot {
    slots: Slots,
    peer: IpAddr,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken();
        taken.total -= 1;
        let of_peer = taken.by_peer.get(&self.peer).copied().unwrap_or(0);
        if of_peer > 1 {
            taken.by_peer.insert(self.peer, of_peer - 1);
        } else {
            taken.by_peer.remove(&self.peer);
        }
    }
}

/// Whom caps and counts by peer mean: one IPv4 address, or one IPv6 /64, since a single host owns all of the latter.
pub(super) fn peer_of(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn total_is_capped_and_a_dropped_slot_is_free_again() {
        let slots = Slots::new(2, 2);
        let first = slots.take(addr("192.0.2.1")).ok().unwrap();
        let _second = slots.take(addr("192.0.2.2")).ok().unwrap();
        assert_eq!(slots.take(addr("192.0.2.3")).err(), Some(Cap::Total));
        drop(first);
        assert!(slots.take(addr("192.0.2.3")).is_ok());
    }

    #[test]
    fn peer_is_capped_and_leaves_no_trace() {
        let slots = Slots::new(10, 1);
        let one = slots.take(addr("192.0.2.1")).ok().unwrap();
        assert_eq!(slots.take(addr("192.0.2.1")).err(), Some(Cap::Peer));
        assert!(slots.take(addr("::ffff:192.0.2.1")).is_err(), "the same host in other clothes");
        assert!(slots.take(addr("192.0.2.2")).is_ok());
        drop(one);
        assert!(slots.taken().by_peer.is_empty());
        assert_eq!(slots.taken().total, 0);
    }

    #[test]
    fn ipv6_peer_is_its_64() {
        let slots = Slots::new(10, 1);
        let _one = slots.take(addr("2001:db8:0:1::1")).ok().unwrap();
        assert!(slots.take(addr("2001:db8:0:1:ffff::9")).is_err());
        assert!(slots.take(addr("2001:db8:0:2::1")).is_ok());
    }
}
