//! The door's limits and the reasons for their defaults.

use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the door grants to connections and calls.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections in total; more are closed at once. 4,096: the thousands of runners and agents of one installation, and
    /// the worst that unread uploads can pin is this times [`Self::window_bytes`].
    pub connections: usize,
    /// Open connections of one peer: an IPv4 address or an IPv6 /64. 2,048: half of all, because whole fleets stand behind one
    /// NAT address, and nobody alone may shut everybody else out.
    pub connections_per_peer: usize,
    /// Time for the TLS handshake and the first frame together; also how long an HTTP/1.1 connection may idle. 10 s.
    pub first_frame: Duration,
    /// How often an HTTP/2 connection without traffic is pinged. 30 s.
    pub keep_alive_every: Duration,
    /// How long an answer to that ping may take. 10 s.
    pub keep_alive_answer: Duration,
    /// How long a peer may leave our bytes unread. 60 s. Keepalive finds such peers on HTTP/2; HTTP/1.1 has nothing else. On both, a document of the
    /// Terraform door has to be taken by 256 KiB in that time.
    pub write_stall: Duration,
    /// Calls at a time on one HTTP/2 connection. 2,048: a thousand waiters may hang on one channel, each in an endless stream, and a
    /// client silently queues whatever goes over this limit. If renewals queued behind waiters, leases would be lost.
    pub streams_per_connection: u32,
    /// Size of a request's header list on HTTP/2. 16 KiB. (HTTP/1.1 heads have to fit in a read buffer of 64 KiB.)
    pub header_bytes: u32,
    /// HTTP/2 flow-control window of a stream and of a connection. 4 MiB carry 80 MB/s over 50 ms.
    pub window_bytes: u32,
    /// Largest HTTP/2 frame taken. 256 KiB: one chunk of a document in one frame.
    pub frame_bytes: u32,
    /// How long a new connection of a peer has to wait whose connections were closed for frames in vain again and again. 1 s: those that are open go
    /// on, and neighbours behind one address are held up and not shut out.
    pub flood_pause: Duration,
    /// How long a call that is not in [`Self::streaming`] may take until its answer begins, whatever `grpc-timeout` it sends. 30 s.
    pub call: Duration,
    /// How long a request body may be waited for, streams included. 10 s.
    pub body: Duration,
    /// What extends [`Self::call`] and [`Self::body`]: a request body may take the time that this many bytes per second need. 64 KiB/s, so that
    /// a large document over a thin line is served and one that trickles is not.
    pub slowest_upload: u64,
    /// Prefixes of the gRPC paths (`/package.Service/Method`) that [`Self::call`] does not bind, because they run long by design.
    /// A `grpc-timeout` still does. Empty by default.
    pub streaming: Vec<String>,
    /// Prefixes of paths where [`Self::body`] does not hold, because the caller says something now and then. Empty by default.
    pub conversing: Vec<String>,
    /// Prefixes of paths, other than gRPC ones, where an answer may be held back once the request has arrived.
    pub patient: Vec<String>,
    /// For how long. 11 minutes: a minute more than a client of the Terraform door may ask for.
    pub patience: Duration,
    /// How long calls in flight may go on after the stop. 10 s, below the grace periods of the usual supervisors.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            connections_per_peer: 2_048,
            first_frame: Duration::from_secs(10),
            keep_alive_every: Duration::from_secs(30),
            keep_alive_answer: Duration::from_secs(10),
            write_stall: Duration::from_secs(60),
            streams_per_connection: 2_048,
            header_bytes: 16 << 10,
            window_bytes: 4 << 20,
            frame_bytes: 256 << 10,
            flood_pause: Duration::from_secs(1),
            call: Duration::from_secs(30),
            body: Duration::from_secs(10),
            slowest_upload: 64 << 10,
            streaming: Vec::new(),
            conversing: Vec::new(),
            patient: Vec::new(),
            patience: Duration::from_secs(660),
            drain: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// File descriptors that connections may not use: the store, its checkpointer and backups, logs and the runtime need them.
    pub const RESERVED_DESCRIPTORS: usize = 128;
    /// Of few descriptors, connections get half, and these are kept for the rest: the store's readers take two each.
    const LEAST_RESERVED: usize = 64;

    /// Makes the connections and the process's file descriptors fit each other: raises the soft limit of descriptors as far as
    /// the hard one allows, then lowers [`Self::connections`] to what is left after [`Self::RESERVED_DESCRIPTORS`], or to half of all if
    /// they are few.
    ///
    /// # Errors
    /// When there are not enough descriptors for a single connection.
    pub fn fit_descriptors(mut self) -> io::Result<Self> {
        let wanted = (self.connections + Self::RESERVED_DESCRIPTORS) as u64;
        let limit = getrlimit(Resource::Nofile);
        let mut soft = limit.current.unwrap_or(u64::MAX);
        if soft < wanted {
            let raised = wanted.min(limit.maximum.unwrap_or(u64::MAX));
            if setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }).is_ok() {
                soft = raised;
            }
        }
        let descriptors = usize::try_from(soft).unwrap_or(usize::MAX);
        let reserved = (descriptors / 2).clamp(Self::LEAST_RESERVED, Self::RESERVED_DESCRIPTORS);
        let available = descriptors.saturating_sub(reserved);
        if available == 0 {
            return Err(io::Error::other(format!(
                "only {soft} file descriptors are allowed, and {reserved} are needed besides connections: raise `ulimit -n`"
            )));
        }
        if available < self.connections {
            tracing::warn!(wanted = self.connections, available, "fewer connections than configured: raise `ulimit -n`");
            self.connections = available;
            self.connections_per_peer = self.connections_per_peer.min(available.div_ceil(2));
        }
        Ok(self)
    }

    /// Whether the values are ones that the protocols allow and the door can keep.
    ///
    /// # Errors
    /// Names the first value out of range, and the range.
    pub fn check(&self) -> Result<(), LimitsError> {
        within("connections", self.connections as u64, 1..=u64::from(u32::MAX))?;
        within("connections_per_peer", self.connections_per_peer as u64, 1..=u64::from(u32::MAX))?;
        within("streams_per_connection", self.streams_per_connection.into(), 1..=u64::from(u32::MAX))?;
        within("header_bytes", self.header_bytes.into(), 1_024..=1 << 20)?;
        within("window_bytes", self.window_bytes.into(), 65_535..=(1 << 31) - 1)?;
        within("frame_bytes", self.frame_bytes.into(), 1 << 14..=(1 << 24) - 1)?;
        within("slowest_upload", self.slowest_upload, 1..=u64::MAX)
    }

    pub(super) fn is_patient(&self, path: &str) -> bool {
        self.patient.iter().any(|prefix| path.starts_with(prefix.as_str()))
    }

    pub(super) fn is_conversing(&self, path: &str) -> bool {
        self.conversing.iter().any(|prefix| path.starts_with(prefix.as_str()))
    }

    pub(super) fn is_streaming(&self, path: &str) -> bool {
        self.streaming.iter().any(|prefix| path.starts_with(prefix.as_str()))
    }
}

/// A limit that no door can keep.
#[derive(Debug, thiserror::Error)]
#[error("the limit `{name}` is {value}: choose between {} and {}", .range.start(), .range.end())]
pub struct LimitsError {
    name: &'static str,
    value: u64,
    range: RangeInclusive<u64>,
}

fn within(name: &'static str, value: u64, range: RangeInclusive<u64>) -> Result<(), LimitsError> {
    if range.contains(&value) { Ok(()) } else { Err(LimitsError { name, value, range }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_in_range() {
        Limits::default().check().unwrap();
    }

    #[test]
    fn value_out_of_range_is_named_with_its_range() {
        let error = Limits { frame_bytes: 1, ..Limits::default() }.check().unwrap_err();
        assert_eq!(error.to_string(), "the limit `frame_bytes` is 1: choose between 16384 and 16777215");
    }

    #[test]
    fn thousand_waiters_leave_room_for_their_renewals() {
        assert!(Limits::default().streams_per_connection >= 2 * 1_000);
    }
}
