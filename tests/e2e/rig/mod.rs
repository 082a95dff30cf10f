//! What the tests stand on: a server as a process of its own, processes that can be watched, and waits with a bound.

mod post;
mod server;
mod watched;
mod writer;

use std::time::Duration;

pub(crate) use post::{metrics, post};
pub(crate) use server::{Server, TIGHT};
pub(crate) use watched::{Watched, signal, signal_group};
pub(crate) use writer::{Writer, read};

/// Far beyond what any step takes; only a failing test waits this long.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// A number from the environment, for the longer forms of the tests.
#[expect(clippy::disallowed_methods, reason = "tests have no command line of their own to take settings from")]
pub(crate) fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Now, to bound what the issue bounds.
#[expect(clippy::disallowed_methods, reason = "tests measure what the clock under test must keep")]
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// Waits for something that nobody tells of.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, holds: impl FnMut() -> F) {
    until_in(BOUND, what, holds).await;
}

/// The same with a bound of its own.
pub(crate) async fn until_in<F: Future<Output = bool>>(bound: Duration, what: &str, mut holds: impl FnMut() -> F) {
    let give_up = now() + bound;
    while !holds().await {
        assert!(now() < give_up, "{what}: not within {bound:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Bounds a wait for something that is told.
pub(crate) async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    within_in(BOUND, what, wait).await
}

/// The same with a bound of its own.
pub(crate) async fn within_in<T>(bound: Duration, what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(bound, wait).await.unwrap_or_else(|_| panic!("{what}: not within {bound:?}"))
}
