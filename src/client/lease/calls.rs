//! The short calls about leases, locks and queues.

use std::time::Duration;

use tonic::transport::Channel;

use super::{LeaseRef, millis};
use crate::client::{Client, Error, FencingToken, MAX_REPLY, request_id};
use crate::pb::v1::lease_service_client::LeaseServiceClient;
use crate::pb::v1::{
    BreakRequest, BreakResponse, CancelRequest, GetLockRequest, Granted, ListLocksRequest, ListTicketsRequest, Lock,
    ReacquireRequest, ReleaseRequest, ReleaseResponse, RenewRequest, RenewResponse, Ticket,
};

impl Client {
    /// Keeps a lease alive, and claims one that was offered. `ttl` sets a new time to live from now on.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] if it is not live any more: a renewal never revives.
    pub async fn renew(&self, lease: &LeaseRef, ttl: Option<Duration>) -> Result<RenewResponse, Error> {
        let message = renew_message(lease, ttl);
        self.unary_for(lease, message, |channel, request| async move { service(channel).renew(request).await }).await
    }

    /// Gives a lease back; repeating it is fine. `abandoned` says that its child had to be killed: the lock delay follows then, as
    /// after an expiry.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] if the token was never this session's.
    pub async fn release(&self, lease: &LeaseRef, abandoned: bool) -> Result<ReleaseResponse, Error> {
        let message =
            ReleaseRequest { state: lease.state.clone(), session: lease.session.clone(), token: lease.token.0, abandoned };
        self.unary_for(lease, message, |channel, request| async move { service(channel).release(request).await }).await
    }

    /// Leaves the queue of a state: with `ticket` that place, otherwise the one of `session`. False if there was none any more.
    ///
    /// # Errors
    /// [`Error::Denied`] for the place of somebody else, without the right to break.
    pub async fn cancel(&self, state: &str, session: &str, ticket: Option<u64>) -> Result<bool, Error> {
        let message = CancelRequest {
            state: state.to_owned(),
            ticket: ticket.unwrap_or(0),
            session: session.to_owned(),
            request_id: request_id(),
        };
        let reply = self.unary(message, |channel, request| async move { service(channel).cancel(request).await }).await?;
        Ok(reply.was_waiting)
    }

    /// Takes an exclusive lease again that has expired, if nobody had the lock since. The lease has a new token.
    ///
    /// # Errors
    /// [`Error::Caller`] with `REACQUIRE_REFUSED` if somebody had it, or it did not end by expiry.
    pub async fn reacquire(&self, state: &str, session: &str, old_token: FencingToken) -> Result<Granted, Error> {
        let message = ReacquireRequest {
            state: state.to_owned(),
            session: session.to_owned(),
            old_token: old_token.0,
            request_id: request_id(),
        };
        let reply = self.unary(message, |channel, request| async move { service(channel).reacquire(request).await }).await?;
        reply.granted.ok_or_else(|| Error::fault("the server said yes to the reacquire and granted nothing"))
    }

    /// Ends somebody's lease. The request id of `ask` is made here.
    ///
    /// # Errors
    /// [`Error::Conflict`] with `BREAK_STALE` if the lock has moved on from the expected token: nothing was broken then.
    pub async fn break_lease(&self, ask: BreakRequest) -> Result<BreakResponse, Error> {
        let message = BreakRequest { request_id: request_id(), ..ask };
        // `break` is a word of the language; the generated method has an escaped name.
        self.unary(message, |channel, request| async move { service(channel).r#break(request).await }).await
    }

    /// One lock with its holders.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such environment.
    pub async fn lock(&self, state: &str) -> Result<Lock, Error> {
        let message = GetLockRequest { state: state.to_owned() };
        let reply = self.unary(message, |channel, request| async move { service(channel).get(request).await }).await?;
        reply.lock.ok_or_else(|| Error::fault("the server answered without the lock"))
    }

    /// The locks below a prefix (`ENV`, `ENV/PREFIX`, or empty for all) on which something happens; with `all` the others too.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn locks(&self, prefix: &str, all: bool) -> Result<Vec<Lock>, Error> {
        let mut locks = Vec::new();
        let mut after = String::new();
        loop {
            let message = ListLocksRequest { prefix: prefix.to_owned(), all, limit: 0, after };
            let mut page = self.unary(message, |channel, request| async move { service(channel).list(request).await }).await?;
            locks.append(&mut page.locks);
            if page.next.is_empty() {
                return Ok(locks);
            }
            after = page.next;
        }
    }

    /// The queue of one lock, in the order of service.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such environment.
    pub async fn tickets(&self, state: &str) -> Result<Vec<Ticket>, Error> {
        let message = ListTicketsRequest { state: state.to_owned() };
        let reply = self.unary(message, |channel, request| async move { service(channel).list_tickets(request).await }).await?;
        Ok(reply.tickets)
    }
}

pub(super) fn renew_message(lease: &LeaseRef, ttl: Option<Duration>) -> RenewRequest {
    RenewRequest {
        state: lease.state.clone(),
        session: lease.session.clone(),
        token: lease.token.0,
        ttl_ms: ttl.map_or(0, millis),
    }
}

pub(super) fn service(channel: Channel) -> LeaseServiceClient<Channel> {
    LeaseServiceClient::new(channel).max_decoding_message_size(MAX_REPLY)
}
