//! Leases: asked for, granted, kept.
//!
//! [`Client::acquire`] waits for a [`Grant`]; [`Client::keep`] makes it a [`Lease`] that renews itself. Programs that cannot stay
//! alive use [`Client::renew`] and [`Client::release`] with a [`LeaseRef`].

mod acquire;
mod calls;
mod keep;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::secret::LeaseSecret;
use crate::pb::v1::{AcquireRequest, Labels, LossReason, Mode};

pub use acquire::Grant;
pub use keep::{Lease, State, View};

/// The number that grows with every grant of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(pub u64);

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one lease of the caller: what every call about it must show.
#[derive(Clone)]
pub struct LeaseRef {
    /// `ENV/PATH`.
    pub state: String,
    /// The holder's session.
    pub session: String,
    /// The fencing token of the grant.
    pub token: FencingToken,
    /// Authenticates calls about this lease where the principal's token is missing or has ended.
    pub secret: Option<Arc<LeaseSecret>>,
}

/// What to ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// `ENV/PATH`.
    pub state: String,
    /// Names the holder together with the principal. Asking again with the same session gives the same lease or place.
    pub session: String,
    /// To change the state, or to read it consistently.
    pub mode: Mode,
    /// How long the lease lives without a renewal; `None`: the environment's default.
    pub ttl: Option<Duration>,
    /// How long to wait in the queue; zero: answer at once.
    pub wait: Duration,
    /// Who asks, for people to read.
    pub labels: Labels,
    /// The caller cannot renew. Such a lease must not be kept with [`super::Client::keep`].
    pub unattended: bool,
}

impl Ask {
    /// An exclusive lease with the environment's ttl, or a refusal at once.
    pub fn exclusive(state: impl Into<String>, session: impl Into<String>) -> Self {
        Self {
            state: state.into(),
            session: session.into(),
            mode: Mode::Exclusive,
            ttl: None,
            wait: Duration::ZERO,
            labels: Labels::default(),
            unattended: false,
        }
    }

    /// The message of every try: the same request id with another message would be refused.
    fn message(&self, request_id: &str) -> AcquireRequest {
        AcquireRequest {
            state: self.state.clone(),
            session: self.session.clone(),
            mode: self.mode.into(),
            ttl_ms: self.ttl.map_or(0, millis),
            wait_ms: millis(self.wait),
            request_id: request_id.to_owned(),
            labels: Some(self.labels.clone()),
            unattended: self.unattended,
            polls: false,
        }
    }
}

/// How a lease ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// The server says so.
    Told {
        /// How, in the server's terms.
        reason: LossReason,
        /// For people: who broke it and why, for example.
        message: String,
    },
    /// A renewal was refused.
    Refused {
        /// The stable code, such as `LEASE_LOST`.
        reason: String,
        /// What happened.
        message: String,
    },
    /// No renewal succeeded for so long that the lock may have been granted on; counted from the sending of the last that did.
    Silent {
        /// When that was sent.
        since: Instant,
    },
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told { reason, message } => {
                f.write_str(match reason {
                    LossReason::Expired => "it was not renewed in time",
                    LossReason::Broken => "it was broken",
                    LossReason::Released => "it was released",
                    LossReason::Unclaimed => "it was not claimed in time",
                    LossReason::TicketGone => "the place in the queue is gone",
                    LossReason::Ended => "the environment was deleted or restored",
                    LossReason::Unspecified => "it ended",
                })?;
                if message.is_empty() { Ok(()) } else { write!(f, ": {message}") }
            }
            Self::Refused { message, .. } => f.write_str(message),
            Self::Silent { .. } => f.write_str("no renewal reached the server in time"),
        }
    }
}

/// A duration as the protocol carries it.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
