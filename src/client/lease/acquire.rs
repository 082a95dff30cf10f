//! From asking to a claimed grant.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tonic::{Status, Streaming};
use zeroize::Zeroizing;

use super::calls::{renew_message, service};
use super::{Ask, FencingToken, LeaseRef};
use crate::client::error::{may_retry, reason_of};
use crate::client::retry::{ATTEMPT, Backoff, Policy, limited, retry};
use crate::client::secret::LeaseSecret;
use crate::client::{Client, Error, clock, request_id};
use crate::pb::v1::acquire_response::Event;
use crate::pb::v1::{AcquireResponse, Granted, Lost, Mode, Queued, RenewResponse};

/// A lease that was granted and claimed. It lives for its ttl; [`Client::keep`] makes it last.
pub struct Grant {
    /// What calls about it show.
    pub reference: LeaseRef,
    /// How long it lives without a renewal.
    pub ttl: Duration,
    /// The lock delay that follows if its holder dies; zero for a shared lease.
    pub lock_delay: Duration,
    /// When the last call that gave or prolonged it was sent: its life counts from here.
    pub sent: Instant,
    pub(super) holding: Holding,
}

/// What it takes to hear of the loss of a lease.
pub(super) struct Holding {
    pub(super) ask: Ask,
    pub(super) request_id: String,
    pub(super) stream: Streaming<AcquireResponse>,
}

impl Client {
    /// Takes a lease, or waits for it in the queue for as long as the ask says; `on_queued` hears of the place meanwhile.
    ///
    /// If the stream breaks the client asks again with the same session and request id, and so keeps its place. A grant that was
    /// waited for is claimed at once. Dropping the future leaves the ticket behind, which dies by itself; [`Client::cancel`] is kinder.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it is held (`LEASE_HELD`) or the wait is over (`WAIT_OVER`); [`Error::LeaseLost`] if the place in the
    /// queue was taken away.
    pub async fn acquire(&self, ask: &Ask, mut on_queued: impl FnMut(&Queued)) -> Result<Grant, Error> {
        let started = clock::now();
        let mut request_id = request_id();
        let mut pause = Backoff::default();
        let mut seen = Seen::default();
        loop {
            let sent = clock::now();
            let ended = match self.follow(ask, &request_id, &mut seen, &mut on_queued).await {
                Ok((granted, stream)) => {
                    let at_once = !seen.queued && !seen.broken && !granted.unclaimed;
                    let holding = Holding { ask: ask.clone(), request_id: request_id.clone(), stream };
                    let mut grant = Grant::new(granted, sent, holding)?;
                    // Only a grant in answer to the one call that was sent at `sent` surely lives a whole ttl from there.
                    if at_once || (ask.unattended && !seen.unclaimed) {
                        return Ok(grant);
                    }
                    match self.renew_timed(&grant.reference, self.policy()).await {
                        Ok((sent, reply)) => {
                            grant.sent = sent;
                            grant.ttl = Duration::from_millis(reply.ttl_ms);
                            return Ok(grant);
                        }
                        Err(error) => Ended::Gone(error),
                    }
                }
                Err(ended) => ended,
            };
            let patience = if seen.answered { ask.wait.saturating_add(self.patience) } else { self.patience };
            let wait = pause.next();
            let in_time = clock::now().saturating_duration_since(started) + wait < patience;
            match ended {
                Ended::Failed(status) if may_retry(&status) && in_time => {}
                Ended::Failed(status) if seen.broken && in_time && reason_of(&status).as_deref() == Some("ACQUIRE_DEAD") => {
                    request_id = rejoin(&mut seen);
                }
                Ended::Failed(status) => return Err(status.into()),
                // Out of reach for longer than a ticket lives: queue again, as long as the wait lasts.
                Ended::Gone(Error::LeaseLost(_)) if seen.broken && in_time => request_id = rejoin(&mut seen),
                Ended::Gone(error) => return Err(error),
            }
            seen.broken = true;
            tokio::time::sleep(wait).await;
        }
    }

    /// One stream, until it grants or ends.
    async fn follow(
        &self,
        ask: &Ask,
        request_id: &str,
        seen: &mut Seen,
        on_queued: &mut impl FnMut(&Queued),
    ) -> Result<(Granted, Streaming<AcquireResponse>), Ended> {
        let limit = ask.wait.is_zero().then_some(ATTEMPT);
        let mut stream = limited(limit, self.attach(ask, request_id)).await.map_err(Ended::Failed)?;
        loop {
            let message = limited(limit, stream.message()).await.map_err(Ended::Failed)?;
            let Some(message) = message else { return Err(Ended::Failed(Status::unavailable("the server ended the stream"))) };
            seen.answered = true;
            match message.event {
                Some(Event::Granted(granted)) => {
                    seen.unclaimed = granted.unclaimed;
                    return Ok((granted, stream));
                }
                Some(Event::Queued(queued)) => {
                    seen.queued = true;
                    on_queued(&queued);
                }
                Some(Event::Lost(lost)) => return Err(Ended::Gone(gone(&lost))),
                // A newer server may tell more.
                None => {}
            }
        }
    }

    /// Opens the stream of an acquire, new or known.
    pub(super) async fn attach(&self, ask: &Ask, request_id: &str) -> Result<Streaming<AcquireResponse>, Status> {
        let request = self.request(ask.message(request_id));
        Ok(service(self.channel.clone()).acquire(request).await?.into_inner())
    }

    /// Renews, and tells when the call that succeeded was sent.
    async fn renew_timed(&self, lease: &LeaseRef, policy: Policy) -> Result<(Instant, RenewResponse), Error> {
        retry(policy, || self.renew_once(lease)).await
    }

    /// One try of a renewal.
    pub(super) async fn renew_once(&self, lease: &LeaseRef) -> Result<(Instant, RenewResponse), Status> {
        let sent = clock::now();
        let reply = self
            .with_fallback(lease, |secret| {
                let request = self.request_as(renew_message(lease, None), secret);
                let mut service = service(self.channel.clone());
                async move { service.renew(request).await }
            })
            .await?;
        Ok((sent, reply.into_inner()))
    }
}

impl Grant {
    fn new(granted: Granted, sent: Instant, holding: Holding) -> Result<Self, Error> {
        let secret = Zeroizing::new(granted.lease_secret);
        let secret = if secret.is_empty() { None } else { Some(Arc::new(LeaseSecret::parse(secret)?)) };
        let exclusive = holding.ask.mode == Mode::Exclusive;
        Ok(Self {
            reference: LeaseRef {
                state: holding.ask.state.clone(),
                session: holding.ask.session.clone(),
                token: FencingToken(granted.token),
                secret,
            },
            ttl: Duration::from_millis(granted.ttl_ms),
            lock_delay: if exclusive { Duration::from_millis(granted.lock_delay_ms) } else { Duration::ZERO },
            sent,
            holding,
        })
    }
}

/// What has been heard so far.
#[derive(Default)]
struct Seen {
    answered: bool,
    queued: bool,
    unclaimed: bool,
    /// A stream or a call failed: the server may not have heard of us for a while.
    broken: bool,
}

/// How a stream ended without a grant that could be used.
enum Ended {
    Failed(Status),
    Gone(Error),
}

/// A new place needs a new request id: the old one stands for what is gone.
fn rejoin(seen: &mut Seen) -> String {
    seen.queued = false;
    seen.unclaimed = false;
    request_id()
}

fn gone(lost: &Lost) -> Error {
    let loss = super::Loss::Told { reason: lost.reason(), message: lost.message.clone() };
    Error::lease_lost(lost.reason().as_str_name(), loss.to_string())
}
