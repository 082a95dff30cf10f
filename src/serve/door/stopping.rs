//! The stop signal, for streams that have no end of their own.

use tokio::sync::watch;

/// Makes a signal: the one end gives it, the other is cloned to everybody who has to hear it.
pub fn stop_signal() -> (Stop, Stopping) {
    let (sender, receiver) = watch::channel(false);
    (Stop(sender), Stopping(receiver))
}

/// Gives the stop signal. Dropping it gives the signal too, so that nobody waits for a server that is gone.
#[derive(Debug)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// Gives the signal; once is enough.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// Hears the stop signal. An endless stream selects on [`Stopping::stopped`] and ends with `Unavailable`: the connection's
/// graceful shutdown waits for streams, and cuts those that do not end by themselves with a protocol error.
#[derive(Clone, Debug)]
pub struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Completes once the signal has been given, at once if it was given before. Safe to cancel and to call again.
    pub async fn stopped(&self) {
        // An error means that `Stop` was dropped, which is the signal as well.
        let _ = self.0.clone().wait_for(|stopped| *stopped).await;
    }

    /// Whether the signal has been given.
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn signal_reaches_clones_made_before_and_after() {
        let (stop, before) = stop_signal();
        assert!(!before.is_stopped());
        stop.stop();
        let after = before.clone();
        before.stopped().await;
        after.stopped().await;
        assert!(after.is_stopped());
    }

    #[tokio::test]
    async fn dropping_the_giver_is_the_signal() {
        let (stop, stopping) = stop_signal();
        drop(stop);
        stopping.stopped().await;
        assert!(stopping.is_stopped());
    }
}
