//! How often callers fail to say who they are, by peer: who fails too often waits.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::slots::peer_of;

/// Failed authentications by peer: an IPv4 address or an IPv6 /64. 20 at once and one more every 3 s are free; beyond that the peer is
/// blocked until the next is. 20: a runner with an old token tries again and again, and so may some beside it behind one address.
///
/// A block is for what costs something, and for what fails again. Credentials that one look-up by hash finds right are meant to pass even
/// so: nobody guesses 256 bits, and a fleet behind one address must not be shut out by the one of it whose token is old. So a guard asks:
///
/// 1. Is it an API token that is known? Then let it in.
/// 2. [`Self::blocked`]? Then refuse and say when to come again, and verify no signature.
/// 3. Verify; if that fails, [`Self::note`] it.
///
/// Memory is bounded, however many peers fail: those that failed longest ago are forgotten first.
#[derive(Debug)]
pub struct Failures {
    origin: Instant,
    /// How many failures a peer may have at once.
    free: u32,
    peers: Mutex<Peers>,
}

/// How many failures a peer may have at once, if nothing else is set.
const FREE: u32 = 20;
/// How long until it may have one more.
const EVERY: Duration = Duration::from_secs(3);
/// How many peers are remembered in each of two generations: about 1 MiB in all.
const PEERS: usize = 8_192;

impl Default for Failures {
    fn default() -> Self {
        Self::new(FREE)
    }
}

impl Failures {
    /// Nobody has failed yet; each peer may so many times at once.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "how long a peer has to wait is no decision about a lease")]
    pub fn new(free: u32) -> Self {
        Self { origin: Instant::now(), free: free.max(1), peers: Mutex::default() }
    }

    /// `addr` has failed to say who it is.
    pub fn note(&self, addr: IpAddr) {
        let now = self.origin.elapsed();
        self.peers().note(peer_of(addr), now, self.free);
    }

    /// How long `addr` has to wait until it may try again; none if it may do so now.
    #[must_use]
    pub fn blocked(&self, addr: IpAddr) -> Option<Duration> {
        let now = self.origin.elapsed();
        self.peers().blocked(peer_of(addr), now, self.free)
    }

    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When each peer's failures will be forgiven, in two generations: the older is dropped as a whole, once nobody in it is owed a wait or
/// the younger is full.
#[derive(Debug, Default)]
struct Peers {
    young: HashMap<IpAddr, Duration>,
    old: HashMap<IpAddr, Duration>,
    /// When the young one began.
    begun: Duration,
}

impl Peers {
    fn note(&mut self, peer: IpAddr, now: Duration, free: u32) {
        let forgiven = self.forgiven(peer).max(now) + EVERY;
        if self.young.len() >= PEERS && !self.young.contains_key(&peer) || now.saturating_sub(self.begun) > EVERY * free {
            self.old = std::mem::take(&mut self.young);
            self.begun = now;
        }
        // Who goes on while blocked does not wait the longer for it.
        self.young.insert(peer, forgiven.min(now + EVERY * free));
    }

    fn blocked(&self, peer: IpAddr, now: Duration, free: u32) -> Option<Duration> {
        let wait = self.forgiven(peer).saturating_sub(now + EVERY * (free - 1));
        (!wait.is_zero()).then_some(wait)
    }

    fn forgiven(&self, peer: IpAddr) -> Duration {
        self.young.get(&peer).or_else(|| self.old.get(&peer)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn fail(failures: &Failures, addr: IpAddr, times: u32) {
        for _ in 0..times {
            failures.note(addr);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn peer_waits_after_twenty_failures_and_then_has_one_every_three_seconds() {
        let (failures, peer) = (Failures::default(), addr("192.0.2.1"));
        fail(&failures, peer, FREE - 1);
        assert_eq!(failures.blocked(peer), None);
        failures.note(peer);
        assert_eq!(failures.blocked(peer), Some(EVERY));
        advance(Duration::from_secs(2)).await;
        assert_eq!(failures.blocked(peer), Some(Duration::from_secs(1)));
        advance(Duration::from_secs(1)).await;
        assert_eq!(failures.blocked(peer), None);
        failures.note(peer);
        assert_eq!(failures.blocked(peer), Some(EVERY), "one was free, and no more");
        advance(EVERY * FREE).await;
        fail(&failures, peer, FREE - 1);
        assert_eq!(failures.blocked(peer), None, "all is forgiven after a minute");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_while_blocked_do_not_make_the_wait_longer() {
        let (failures, peer) = (Failures::default(), addr("192.0.2.1"));
        fail(&failures, peer, 10_000);
        assert_eq!(failures.blocked(peer), Some(EVERY));
    }

    #[tokio::test(start_paused = true)]
    async fn ipv6_peer_is_its_64_and_others_are_not_blocked() {
        let failures = Failures::default();
        for host in 0..u16::try_from(FREE).unwrap() {
            failures.note(addr(&format!("2001:db8:0:1::{host:x}")));
        }
        assert!(failures.blocked(addr("2001:db8:0:1:ffff::9")).is_some());
        assert_eq!(failures.blocked(addr("2001:db8:0:2::1")), None);
        fail(&failures, addr("192.0.2.1"), FREE);
        assert!(failures.blocked(addr("::ffff:192.0.2.1")).is_some(), "the same host in other clothes");
        assert_eq!(failures.blocked(addr("192.0.2.2")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_who_failed_last_is_remembered() {
        let failures = Failures::default();
        let first = addr("2001:db8:ffff::1");
        fail(&failures, first, FREE);
        let peer = |n: u128| IpAddr::V6((0x2001_0db8_u128 << 96 | n << 64).into());
        for n in 0..5 * PEERS as u128 {
            failures.note(peer(n));
            let peers = failures.peers();
            assert!(peers.young.len() + peers.old.len() <= 2 * PEERS);
        }
        assert_eq!(failures.blocked(first), None, "forgotten");
        let last = peer(5 * PEERS as u128 - 1);
        fail(&failures, last, FREE - 1);
        assert!(failures.blocked(last).is_some());
        // And a peer that fails stays blocked while others come and go.
        fail(&failures, peer(u64::MAX.into()), 2);
        assert!(failures.blocked(last).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn block_outlives_the_generation_it_began_in() {
        let (failures, peer) = (Failures::default(), addr("192.0.2.1"));
        failures.note(addr("192.0.2.2"));
        advance(EVERY * FREE).await;
        fail(&failures, peer, FREE);
        advance(Duration::from_secs(1)).await;
        failures.note(addr("192.0.2.3"));
        assert_eq!(failures.blocked(peer), Some(EVERY - Duration::from_secs(1)));
    }
}
