//! Trying again, with growing pauses, what may be tried again.

use std::future::Future;
use std::time::Duration;

use tonic::Status;

use super::clock;
use super::error::{Error, may_retry};

/// How long to go on, how long one try may take, and how the pauses grow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// No try begins later than this after the first.
    pub(crate) patience: Duration,
    /// The limit of one try; `None` where a try has no natural length (documents, streams).
    pub(crate) attempt: Option<Duration>,
}

/// The limit of one try of a short call.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(60);

/// Calls until it succeeds, is refused, or patience ends; the last failure is the answer.
pub(crate) async fn retry<R, F, Fut>(policy: Policy, mut call: F) -> Result<R, Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<R, Status>>,
{
    let give_up = clock::now() + policy.patience;
    let mut pause = Backoff::default();
    loop {
        let status = match limited(policy.attempt, call()).await {
            Ok(reply) => return Ok(reply),
            Err(status) => status,
        };
        let wait = pause.next();
        if !may_retry(&status) || clock::now() + wait >= give_up {
            return Err(status.into());
        }
        tracing::debug!(code = ?status.code(), "trying again");
        tokio::time::sleep(wait).await;
    }
}

/// Awaits a call for at most `limit`; longer is a failure that may be retried.
pub(crate) async fn limited<R>(limit: Option<Duration>, call: impl Future<Output = Result<R, Status>>) -> Result<R, Status> {
    match limit {
        None => call.await,
        Some(limit) => tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
            Err(Status::deadline_exceeded(format!("no answer within {}", humantime::format_duration(limit))))
        }),
    }
}

/// Pauses that double up to a limit, each cut by chance to between a half and the whole, so that many clients do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    limit: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, limit: Duration) -> Self {
        Self { next: first, limit }
    }

    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next.mul_f64(0.5 + 0.5 * chance());
        self.next = (self.next * 2).min(self.limit);
        pause
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(2))
    }
}

/// The duration, by chance up to a tenth shorter.
pub(crate) fn a_little_early(duration: Duration) -> Duration {
    duration.mul_f64(0.9 + 0.1 * chance())
}

/// An even number in [0, 1).
fn chance() -> f64 {
    let bits = getrandom::u32().expect("the operating system has random bits");
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test(start_paused = true)]
    async fn undecided_call_is_tried_again_until_it_succeeds() {
        let calls = Cell::new(0);
        let policy = Policy { patience: Duration::from_secs(10), attempt: None };
        let reply = retry(policy, || {
            calls.set(calls.get() + 1);
            let n = calls.get();
            async move { if n < 4 { Err(Status::unavailable("down")) } else { Ok(n) } }
        });
        assert_eq!(reply.await.unwrap(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_with_the_last_failure() {
        let start = clock::now();
        let policy = Policy { patience: Duration::from_secs(10), attempt: None };
        let reply: Result<(), Error> = retry(policy, || async { Err(Status::unavailable("down")) }).await;
        assert!(matches!(reply, Err(Error::Unavailable(_))));
        let waited = clock::now() - start;
        assert!(waited >= Duration::from_secs(7) && waited <= Duration::from_secs(10), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn call_without_an_answer_is_given_up_and_tried_again() {
        let calls = Cell::new(0);
        let policy = Policy { patience: Duration::from_secs(10), attempt: Some(Duration::from_secs(1)) };
        let reply = retry(policy, || {
            calls.set(calls.get() + 1);
            let n = calls.get();
            async move { if n == 1 { std::future::pending().await } else { Ok(n) } }
        });
        assert_eq!(reply.await.unwrap(), 2);
    }

    #[test]
    fn jitter_stays_within_a_tenth_and_is_never_late() {
        let whole = Duration::from_secs(10);
        for _ in 0..1000 {
            let d = a_little_early(whole);
            assert!(d >= Duration::from_secs(9) && d <= whole);
        }
    }
}
