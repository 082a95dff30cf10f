//! The one port: an accept loop of our own in front of tonic and axum.
//!
//! A stock tonic server keeps idle, half-open and half-encrypted connections for ever, spins when descriptors run out, and an
//! own loop without tonic's layers ignores `grpc-timeout`. This one bounds all of it:
//!
//! | what | bound | where |
//! |---|---|---|
//! | connections, in total and per peer | [`Limits::connections`], [`Limits::connections_per_peer`] | `slots` |
//! | TLS handshake and first frame together | [`Limits::first_frame`] | `connection`, `first_frame` |
//! | a peer that vanished, or stopped reading | keepalive, [`Limits::write_stall`] | `connection`, `first_frame` |
//! | a peer that leaves a document unread, and answers pings | the same | `reader` |
//! | a peer that sends frames in vain | an allowance of them; again and again: [`Limits::flood_pause`] | `flood`, `connection` |
//! | a request body | [`Limits::body`], [`Limits::slowest_upload`] | `deadline` |
//! | a call | `grpc-timeout`, [`Limits::call`] | `deadline` |
//! | a stop | [`Limits::drain`] | here |
//! | failed authentication | [`Failures`], asked by the guards behind | `failures` |
//!
//! No clock is read for what is bounded here: every bound of the door's own is a timer.

mod connection;
mod counts;
mod deadline;
mod failures;
mod first_frame;
mod flood;
mod limits;
mod peer;
mod reader;
mod slots;
mod stopping;
pub mod tls;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};

use connection::{Connections, End};
pub use counts::Counts;
pub use failures::Failures;
pub use limits::{Limits, LimitsError};
pub use peer::Peer;
pub use reader::Reader;
use slots::Slots;
pub use stopping::{Stop, Stopping, stop_signal};
use tls::Tls;

/// What a door did between its start and its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections taken in.
    pub accepted: u64,
    /// Connections closed at once because a cap was reached, or descriptors were missing for long.
    pub refused: u64,
    /// Connections closed because TLS and first frame took too long.
    pub timed_out: u64,
    /// Connections that ended with a TLS, protocol or socket error.
    pub failed: u64,
    /// Connections still busy when the drain limit ran out, cut off.
    pub cut: u64,
    /// Failures of `accept` itself, such as running out of file descriptors.
    pub accept_errors: u64,
}

/// A listener for [`serve`] whose queue takes a thousand clients that come at once, as they do after a restart. The queue of a
/// plain `TcpListener::bind` is so short that the kernel drops some, which then wait for seconds.
///
/// # Errors
/// As from the system: the address is taken, not ours, or not permitted.
pub fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that was killed leaves its address in TIME_WAIT; the next one must not wait for that.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(QUEUE)
}

/// How many connections wait to be accepted.
const QUEUE: u32 = 1_024;

/// Serves `app` on `listener` until `stop` completes and the connections have drained.
///
/// HTTP/1.1 and HTTP/2 are told apart by the first bytes, gRPC and HTTP by `app`'s routes. Requests carry a [`Peer`] extension.
/// After `stop`, no connection is accepted, idle ones close, calls in flight have [`Limits::drain`] to finish, and what is left
/// then is cut off. Streams without an end of their own have to watch a [`Stopping`].
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] with a [`LimitsError`] inside, before anything is accepted. Failures of single connections
/// and of `accept` are counted and logged; they never end the door.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    app: Router,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> io::Result<Stats> {
    serve_counted(listener, tls, app, limits, Arc::default(), stop).await
}

/// The same, and what it does can be read in `counts` meanwhile: those of one door only.
///
/// # Errors
/// As [`serve`].
pub async fn serve_counted(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    app: Router,
    limits: Limits,
    counts: Arc<Counts>,
    stop: impl Future<Output = ()>,
) -> io::Result<Stats> {
    limits.check().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let drain = limits.drain;
    let (stop_connections, stopping) = stop_signal();
    let slots = Slots::new(limits.connections, limits.connections_per_peer);
    let mut watching = JoinSet::new();
    if let Some(tls) = &tls {
        watching.spawn(Arc::clone(tls).watch());
    }
    let connections = Arc::new(Connections::new(tls, app, limits, Arc::clone(&counts), stopping));
    let mut open = JoinSet::new();
    let mut backoff = Backoff::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(end) = open.join_next() => {
                counts.ended(&told(end));
                backoff.retry_now();
            }
            accepted = backoff.accept(&listener) => match accepted {
                Ok((tcp, addr)) => match slots.take(addr.ip()) {
                    Ok(slot) => {
                        counts.accepted.one();
                        counts.open.up();
                        let connections = connections.clone();
                        open.spawn(async move {
                            let _slot = slot;
                            connections.run(tcp, addr).await
                        });
                    }
                    Err(cap) => {
                        counts.refused(cap);
                        let refused = counts.all_refused();
                        warn_rarely(refused, || tracing::warn!(%addr, refused, "too many connections: refused"));
                    }
                },
                Err(error) => {
                    let failures = counts.accept_errors.one();
                    counts.turned_away.more(backoff.turn_away(&listener));
                    warn_rarely(failures, || tracing::warn!(%error, failures, "cannot accept connections"));
                }
            },
        }
    }
    drop(listener);
    stop_connections.stop();
    let drained = timeout(drain, async {
        while let Some(end) = open.join_next().await {
            counts.ended(&told(end));
        }
    });
    if drained.await.is_err() {
        let cut = counts.cut.more(open.len() as u64);
        tracing::warn!(connections = cut, "drain limit reached: connections cut off");
        open.shutdown().await;
        counts.open.set(0);
    }
    Ok(counts.stats())
}

fn told(end: Result<End, JoinError>) -> End {
    end.unwrap_or_else(|error| {
        tracing::error!(%error, "a connection's task panicked");
        End::Failed
    })
}

/// Waits between failed accepts: a listener without free descriptors stays readable, and asking again at once spins.
struct Backoff {
    next: Duration,
    waiting: Option<Duration>,
    /// A descriptor that is kept for the time when there are no others.
    spare: Option<File>,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(5);
    const LAST: Duration = Duration::from_millis(500);

    fn new() -> Self {
        Self { next: Self::FIRST, waiting: None, spare: spare() }
    }

    async fn accept(&mut self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        if let Some(wait) = self.waiting {
            sleep(wait).await;
            self.waiting = None;
        }
        let accepted = listener.accept().await;
        match &accepted {
            Ok(_) => self.next = Self::FIRST,
            Err(error) if is_of_one_connection(error) => {}
            Err(_) => {
                self.waiting = Some(self.next);
                self.next = (self.next * 2).min(Self::LAST);
            }
        }
        accepted
    }

    /// A connection ended, so a descriptor is free again. Without this, connections that end faster than the wait would put
    /// the next attempt off for ever.
    fn retry_now(&mut self) {
        (self.next, self.waiting) = (Self::FIRST, None);
    }

    /// Once descriptors have been missing for about a second: closes what waits in the queue, one after the other in the place of the spare
    /// one, so that clients hear it instead of hanging. A shorter want is waited out. Returns how many there were.
    fn turn_away(&mut self, listener: &TcpListener) -> u64 {
        if self.waiting != Some(Self::LAST) || self.spare.take().is_none() {
            return 0;
        }
        let mut turned_away = 0;
        while turned_away < u64::from(QUEUE) && matches!(listener.accept().now_or_never(), Some(Ok(_))) {
            turned_away += 1;
        }
        self.spare = spare();
        turned_away
    }
}

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// The connection died in the queue; the listener is well.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted)
}

/// Logs the 1st, 2nd, 4th, 8th … occurrence, so that a flood of connections is not a flood of log lines.
fn warn_rarely(count: u64, log: impl FnOnce()) {
    if count.is_power_of_two() {
        log();
    }
}
