//! Streams of answers that end when the server stops.

use std::pin::Pin;

use futures_util::Stream;
use tokio::sync::mpsc;
use tonic::Status;

use super::status;
use crate::serve::door::Stopping;
use crate::service::Error;

/// A stream of answers.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Passes on what a use case tells, encoded, until it ends, or with `Unavailable` when the server stops: an endless stream would
/// otherwise hold up the shutdown and be cut.
pub(super) fn until_stopped<A: Send + 'static, T: Send + 'static>(
    told: mpsc::Receiver<Result<A, Error>>,
    stopping: Stopping,
    mut encode: impl FnMut(A) -> T + Send + 'static,
) -> Answers<T> {
    let state = Some((told, stopping));
    let answers = futures_util::stream::unfold(state, |state| async move {
        let (mut told, stopping) = state?;
        let next = tokio::select! {
            biased;
            next = told.recv() => next?,
            () = stopping.stopped() => Err(Error::Stopping),
        };
        let state = next.is_ok().then_some((told, stopping));
        Some((next, state))
    });
    Box::pin(futures_util::StreamExt::map(answers, move |next| next.map(&mut encode).map_err(|error| status::of(&error))))
}
