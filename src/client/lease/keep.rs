//! A lease that renews itself and tells its owner when it is lost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::Status;

use super::acquire::{Grant, Holding};
use super::{FencingToken, LeaseRef, Loss};
use crate::client::error::{may_retry, reason_of};
use crate::client::retry::{ATTEMPT, Backoff, a_little_early, limited};
use crate::client::{Client, Error, clock};
use crate::pb::v1::acquire_response::Event;
use crate::pb::v1::{ReleaseResponse, RenewResponse};

/// The longest pause between renewals.
const RENEW_EVERY: Duration = Duration::from_secs(20);

/// How a lease stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Renewals succeed.
    Held,
    /// No renewal succeeded for two thirds of the ttl. Stop softly what the lease protects; it may be `Held` again.
    Silent,
    /// It is gone, or must be taken as gone. This does not change any more.
    Lost(Loss),
}

/// How a lease stands, and the times that follow from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// How it stands.
    pub state: State,
    /// When the last renewal (or grant) that succeeded was sent.
    pub last_send: Instant,
    /// How long the lease lives without a renewal.
    pub ttl: Duration,
    /// How long after its expiry nobody else is granted the lock.
    pub lock_delay: Duration,
}

impl View {
    /// Without a renewal until here, stop softly what the lease protects: two thirds of the ttl.
    pub fn soft_stop_at(&self) -> Instant {
        self.last_send + self.ttl * 2 / 3
    }

    /// Without a renewal until here, it must have stopped: nine tenths of the ttl, and the lock delay.
    pub fn hard_stop_at(&self) -> Instant {
        self.last_send + self.ttl * 9 / 10 + self.lock_delay
    }
}

/// A live lease. Renewals, the holder's stream and the deadlines run in tasks of their own until it is released or dropped.
///
/// Dropping it without [`Lease::release`] leaves the lease to its ttl.
pub struct Lease {
    client: Client,
    reference: LeaseRef,
    view: Arc<watch::Sender<View>>,
    tasks: JoinSet<()>,
    released: bool,
}

impl Client {
    /// Begins to renew a grant: every min(ttl/3, 20 s), or up to a tenth earlier. Must be called within a tokio runtime.
    ///
    /// A network that is cut for less than three tenths of the ttl goes unnoticed: a third and three tenths leave a thirtieth of the ttl
    /// until [`View::soft_stop_at`], and in trouble no pause and no wait for the next try on a new connection takes longer than half of that.
    pub fn keep(&self, grant: Grant) -> Lease {
        let Grant { reference, ttl, lock_delay, sent, holding } = grant;
        let view = Arc::new(watch::Sender::new(View { state: State::Held, last_send: sent, ttl, lock_delay }));
        let mut tasks = JoinSet::new();
        tasks.spawn(renew(self.clone(), reference.clone(), Arc::clone(&view)));
        tasks.spawn(listen(self.clone(), holding, reference.token, Arc::clone(&view)));
        tasks.spawn(count(Arc::clone(&view)));
        Lease { client: self.clone(), reference, view, tasks, released: false }
    }
}

impl Lease {
    /// What calls about it show.
    pub fn reference(&self) -> &LeaseRef {
        &self.reference
    }

    /// How it stands now.
    pub fn state(&self) -> State {
        self.view.borrow().state.clone()
    }

    /// How it stands, with its times, now.
    pub fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// Hears of every renewal and every change of [`State`].
    pub fn subscribe(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    /// When the last renewal (or grant) that succeeded was sent.
    pub fn last_send(&self) -> Instant {
        self.view.borrow().last_send
    }

    /// Waits until the lease is lost.
    pub async fn lost(&self) -> Loss {
        let mut views = self.view.subscribe();
        loop {
            if let State::Lost(loss) = &views.borrow_and_update().state {
                return loss.clone();
            }
            views.changed().await.expect("the lease itself keeps the sender");
        }
    }

    /// Stops renewing and gives the lease back. `abandoned`: what it protected had to be killed, so the lock delay must follow.
    ///
    /// # Errors
    /// Those of [`Client::release`]; the lease ends by its ttl then.
    pub async fn release(mut self, abandoned: bool) -> Result<ReleaseResponse, Error> {
        self.released = true;
        self.tasks.shutdown().await;
        self.client.release(&self.reference, abandoned).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.released && !matches!(self.view.borrow().state, State::Lost(_)) {
            tracing::warn!(state = %self.reference.state, token = %self.reference.token, "lease dropped without release; it ends by its ttl");
        }
    }
}

/// Renews until the lease is lost.
async fn renew(client: Client, lease: LeaseRef, view: Arc<watch::Sender<View>>) {
    loop {
        let View { last_send, ttl, .. } = view.borrow().clone();
        sleep_until(last_send + a_little_early((ttl / 3).min(RENEW_EVERY))).await;
        let mut pause = Backoff::new((ttl / 100).clamp(millis(10), millis(500)), (ttl / 60).clamp(millis(30), millis(1000)));
        loop {
            let renewed = tokio::select! {
                renewed = renew_somehow(&client, &lease, ttl) => renewed,
                () = lost(&view) => return,
            };
            match renewed {
                Ok((sent, reply)) => {
                    if !prolong(&view, sent, Duration::from_millis(reply.ttl_ms)) {
                        return;
                    }
                    break;
                }
                Err(status) => {
                    if let Some(loss) = refusal(&status) {
                        return lose(&view, loss);
                    }
                    tracing::debug!(code = ?status.code(), "renewal failed");
                }
            }
            tokio::select! {
                () = sleep(pause.next()) => {}
                () = lost(&view) => return,
            }
        }
    }
}

/// Waits until the lease is lost.
async fn lost(view: &watch::Sender<View>) {
    // It fails only without a sender, and then there is nobody to tell.
    _ = view.subscribe().wait_for(|view| matches!(view.state, State::Lost(_))).await;
}

/// One renewal. It is tried on the connection that is there, and where that does not answer soon, on new ones beside it, one after the other but
/// none waiting for the one before: a connection that died without a word takes longer to be given up than a lease has, and so does one that was
/// made just before the network came back. At most four new ones are tried at a time.
async fn renew_somehow(client: &Client, lease: &LeaseRef, ttl: Duration) -> Result<(Instant, RenewResponse), Status> {
    let every = (ttl / 60).clamp(millis(50), millis(1000));
    let renewal = |client: Client, limit| async move { limited(Some(limit), client.renew_once(lease)).await };
    let mut tries = FuturesUnordered::from_iter([renewal(client.clone(), ttl / 6)]);
    let mut next = std::pin::pin!(sleep(2 * every));
    let mut renewable = true;
    loop {
        tokio::select! {
            Some(answer) = tries.next() => match answer {
                Err(status) if may_retry(&status) && !tries.is_empty() => {}
                decided => return decided,
            },
            () = &mut next, if renewable => match client.reconnected() {
                None => renewable = false,
                Some(anew) => {
                    tries.push(renewal(anew, 4 * every));
                    next.as_mut().reset(clock::now() + every);
                }
            },
        }
    }
}

/// Follows the holder's stream, which tells of the loss at once; when it breaks, asks again with the same session and request id.
async fn listen(client: Client, holding: Holding, token: FencingToken, view: Arc<watch::Sender<View>>) {
    let Holding { ask, request_id, stream } = holding;
    let mut pause = Backoff::new(millis(100), Duration::from_secs(5));
    let mut stream = Some(stream);
    loop {
        let failed = match &mut stream {
            Some(open) => match open.message().await {
                Ok(Some(message)) => match message.event {
                    Some(Event::Lost(lost)) if lost.token == token.0 => {
                        return lose(&view, Loss::Told { reason: lost.reason(), message: lost.message });
                    }
                    Some(Event::Granted(granted)) if granted.token != token.0 => {
                        let message = "the lock has been granted anew since".to_owned();
                        return lose(&view, Loss::Refused { reason: "LEASE_LOST".to_owned(), message });
                    }
                    Some(Event::Granted(_)) => {
                        pause = Backoff::new(millis(100), Duration::from_secs(5));
                        continue;
                    }
                    _ => continue,
                },
                Ok(None) => Status::unavailable("the server ended the stream"),
                Err(status) => status,
            },
            None => match limited(Some(ATTEMPT), client.attach(&ask, &request_id)).await {
                Ok(open) => {
                    stream = Some(open);
                    continue;
                }
                Err(status) => status,
            },
        };
        stream = None;
        if !may_retry(&failed) {
            match Error::from(failed) {
                Error::LeaseLost(report) => {
                    return lose(&view, Loss::Refused { reason: report.reason, message: report.message });
                }
                // The principal's token may have ended, and only it opens this stream. Renewals go on, and tell of a loss too.
                other => return tracing::debug!(reason = other.reason(), "holder's stream refused"),
            }
        }
        if matches!(view.borrow().state, State::Lost(_)) {
            return;
        }
        sleep(pause.next()).await;
    }
}

/// Tells of silence when its time comes, whatever renewals are doing.
async fn count(view: Arc<watch::Sender<View>>) {
    let mut views = view.subscribe();
    loop {
        let seen = views.borrow_and_update().clone();
        let at = match seen.state {
            State::Held => seen.soft_stop_at(),
            State::Silent => seen.hard_stop_at(),
            State::Lost(_) => return,
        };
        tokio::select! {
            () = sleep_until(at) => { view.send_if_modified(fall_silent); }
            changed = views.changed() => if changed.is_err() { return },
        }
    }
}

/// Moves on to what the time is for; judged anew, since a renewal may have come in between.
fn fall_silent(view: &mut View) -> bool {
    let now = clock::now();
    match view.state {
        State::Held if now >= view.soft_stop_at() => view.state = State::Silent,
        State::Silent if now >= view.hard_stop_at() => view.state = State::Lost(Loss::Silent { since: view.last_send }),
        _ => return false,
    }
    true
}

/// Takes note of a renewal. False if the lease is lost already.
fn prolong(view: &watch::Sender<View>, sent: Instant, ttl: Duration) -> bool {
    view.send_if_modified(|view| {
        if matches!(view.state, State::Lost(_)) {
            return false;
        }
        view.state = State::Held;
        view.last_send = view.last_send.max(sent);
        view.ttl = ttl;
        true
    })
}

fn lose(view: &watch::Sender<View>, loss: Loss) {
    view.send_if_modified(|view| {
        let first = !matches!(view.state, State::Lost(_));
        if first {
            view.state = State::Lost(loss);
        }
        first
    });
}

/// What a failed renewal means, if it means that the lease is gone.
fn refusal(status: &Status) -> Option<Loss> {
    if may_retry(status) {
        return None;
    }
    let reason = reason_of(status).unwrap_or_default();
    match Error::from(status.clone()) {
        Error::Fault(_) | Error::Unavailable(_) => None,
        refused => Some(Loss::Refused { reason, message: refused.to_string() }),
    }
}

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}
