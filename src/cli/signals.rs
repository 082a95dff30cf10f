//! Signals that ask this process to end, or mean something to the command it runs.

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use super::failure::Failure;
use super::supervise::Signal;

/// From its making on, these signals end nothing by themselves.
pub(crate) struct Signals {
    streams: [(Stream, Signal); 6],
}

impl Signals {
    pub(crate) fn install() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|cause| Failure::local(format!("signals cannot be received: {cause}"), ""));
        Ok(Self {
            streams: [
                (listen(SignalKind::interrupt())?, Signal::Interrupt),
                (listen(SignalKind::terminate())?, Signal::Terminate),
                (listen(SignalKind::hangup())?, Signal::Hangup),
                (listen(SignalKind::quit())?, Signal::Quit),
                (listen(SignalKind::user_defined1())?, Signal::User1),
                (listen(SignalKind::user_defined2())?, Signal::User2),
            ],
        })
    }

    /// The next signal. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            for (stream, signal) in &mut self.streams {
                if stream.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*signal);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    /// The failure of a command that was asked to end; its exit code is 128 + the signal's number, as shells have it.
    pub(crate) async fn interrupted(&mut self) -> Failure {
        Failure::Interrupted(128 + number(self.next().await))
    }
}

fn number(signal: Signal) -> u8 {
    match signal {
        Signal::Hangup => 1,
        Signal::Interrupt => 2,
        Signal::Quit => 3,
        Signal::User1 => 10,
        Signal::User2 => 12,
        Signal::Terminate => 15,
    }
}
