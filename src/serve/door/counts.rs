//! What a door counts.

use super::Stats;
use super::connection::End;
use super::slots::Cap;
use crate::counts::{Count, Level};
use crate::serve::metrics::Calls;

/// What a door has done so far, and what it is at.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "those of `Stats` are what they are there")]
pub struct Counts {
    /// Connections that are open.
    pub open: Level,
    pub accepted: Count,
    /// Refused by the cap on all connections.
    pub over_total: Count,
    /// Refused by the cap on those of one peer.
    pub over_peer: Count,
    /// Closed unheard, since descriptors were missing for long.
    pub turned_away: Count,
    pub timed_out: Count,
    /// Ended by a TLS handshake that failed.
    pub untrusted: Count,
    /// Closed since the peer sent frames in vain.
    pub flooded: Count,
    /// Ended with any other error.
    pub failed: Count,
    pub cut: Count,
    pub accept_errors: Count,
    /// What was called.
    pub calls: Calls,
}

impl Counts {
    pub(super) fn refused(&self, cap: Cap) {
        match cap {
            Cap::Total => self.over_total.one(),
            Cap::Peer => self.over_peer.one(),
        };
    }

    pub(super) fn ended(&self, end: &End) {
        self.open.down();
        match end {
            End::Closed => 0,
            End::TimedOut => self.timed_out.one(),
            End::Untrusted => self.untrusted.one(),
            End::Flooded => self.flooded.one(),
            End::Failed => self.failed.one(),
        };
    }

    /// How many connections were refused.
    pub(super) fn all_refused(&self) -> u64 {
        self.over_total.get() + self.over_peer.get() + self.turned_away.get()
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            accepted: self.accepted.get(),
            refused: self.all_refused(),
            timed_out: self.timed_out.get(),
            failed: self.untrusted.get() + self.flooded.get() + self.failed.get(),
            cut: self.cut.get(),
            accept_errors: self.accept_errors.get(),
        }
    }
}
