//! Taking leases: with the place in the queue told meanwhile, and for one write.

use std::time::Duration;

use super::context::{Context, new_session};
use super::environ::Around;
use super::failure::Failure;
use super::flags::state::LeaseFlags;
use super::output::{behind, note};
use super::signals::Signals;
use crate::client::{Ask, Error, FencingToken, Grant, Lease, LeaseRef};
use crate::pb::v1::Queued;

/// Takes a lease. Who waits at stderr hears of the place in the queue; a signal gives the place up.
pub(crate) async fn acquire(context: &Context, ask: &Ask, signals: &mut Signals) -> Result<Grant, Failure> {
    let mut told = String::new();
    let on_queued = |queued: &Queued| {
        let line = match behind(queued) {
            behind if behind.is_empty() => format!("waiting for {}: place {}", ask.state, queued.place),
            behind => format!("waiting for {}: place {}, {behind}", ask.state, queued.place),
        };
        // The server tells every second; people want to hear of what changed.
        if line != told {
            note(&line);
            told = line;
        }
    };
    tokio::select! {
        grant = context.client.acquire(ask, on_queued) => Ok(grant?),
        failure = signals.interrupted() => {
            // If it fails, the ticket dies by itself within half a minute.
            let cancel = context.client.cancel(&ask.state, &ask.session, None);
            let _ = tokio::time::timeout(Duration::from_secs(2), cancel).await;
            Err(failure)
        }
    }
}

/// Does one write under the lease that the flags or the `run` around name, or under one that is taken for it and released after.
pub(crate) async fn under_lease<T>(
    context: &Context,
    state: &str,
    flags: &LeaseFlags,
    write: impl AsyncFnOnce(&LeaseRef) -> Result<T, Error>,
) -> Result<T, Failure> {
    let mut signals = Signals::install()?;
    if let Some(lease) = held(context, state, flags.session.as_ref().zip(flags.token)) {
        return tokio::select! {
            done = write(&lease) => Ok(done?),
            failure = signals.interrupted() => Err(failure),
        };
    }
    let ask = Ask { wait: flags.wait, labels: context.environ.labels.clone(), ..Ask::exclusive(state, new_session()) };
    let lease = context.client.keep(acquire(context, &ask, &mut signals).await?);
    let done = tokio::select! {
        done = write(lease.reference()) => done.map_err(Failure::from),
        failure = signals.interrupted() => Err(failure),
    };
    give_back(lease, false).await;
    done
}

/// The lease that the flags name, or else the one of the `run` around, if it is on this state.
pub(crate) fn held(context: &Context, state: &str, given: Option<(&String, u64)>) -> Option<LeaseRef> {
    let (session, token) = match (given, &context.environ.around) {
        (Some((session, token)), _) => (session.clone(), FencingToken(token)),
        (None, Some(Around { state: of, session, token })) if of == state => (session.clone(), *token),
        (None, _) => return None,
    };
    Some(LeaseRef { state: state.to_owned(), session, token, secret: None })
}

/// Releases, and tells whether the lease had lived until then; `None` if that is not known.
pub(crate) async fn give_back(lease: Lease, abandoned: bool) -> Option<bool> {
    let state = lease.reference().state.clone();
    match lease.release(abandoned).await {
        Ok(reply) => Some(reply.was_live),
        Err(Error::LeaseLost(_)) => Some(false),
        Err(error) => {
            note(format!("warning: the lease on {state} could not be released and ends by its ttl: {error}"));
            None
        }
    }
}
