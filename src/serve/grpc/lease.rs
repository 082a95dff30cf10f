//! `leasehold.v1.LeaseService`.

use tonic::{Request, Response, Status};

use super::stream::{Answers, until_stopped};
use super::{Door, decode, encode, status};
use crate::domain::command::{Acquire, Break};
use crate::domain::lock::Mode;
use crate::pb::v1 as pb;
use crate::pb::v1::lease_service_server::LeaseService;
use crate::service::acquire::{self, Told};

#[tonic::async_trait]
impl LeaseService for Door {
    type AcquireStream = Answers<pb::AcquireResponse>;

    async fn acquire(&self, request: Request<pb::AcquireRequest>) -> Result<Response<Self::AcquireStream>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let wait = decode::span(request.wait_ms).unwrap_or_default();
        let request = acquire::Request {
            state: decode::name(&request.state)?,
            id: decode::request_id(&request.request_id)?,
            wait,
            acquire: Acquire {
                session: decode::name(&request.session)?,
                mode: decode::mode(request.mode)?,
                ttl: decode::span(request.ttl_ms),
                wait: !wait.is_zero(),
                labels: decode::labels(request.labels)?,
                unattended: request.unattended,
                polls: request.polls,
                plan: false,
                once: false,
            },
        };
        let told = self.service.acquire(&caller, request).await.map_err(|error| status::of(&error))?;
        let answers = until_stopped(told, self.stopping.clone(), |told| {
            use pb::acquire_response::Event;
            let event = match told {
                Told::Queued(place) => Event::Queued(encode::queued(place)),
                Told::Granted(granted) => Event::Granted(encode::granted(*granted)),
                Told::Lost { token, kind, message } => {
                    Event::Lost(pb::Lost { token: token.map_or(0, |token| token.0), reason: encode::loss(kind).into(), message })
                }
            };
            pb::AcquireResponse { event: Some(event) }
        });
        Ok(Response::new(answers))
    }

    async fn renew(&self, request: Request<pb::RenewRequest>) -> Result<Response<pb::RenewResponse>, Status> {
        let caller = self.caller(&request)?;
        let pb::RenewRequest { state, session, token, ttl_ms } = request.into_inner();
        let (state, session, token) = (decode::name(&state)?, decode::name(&session)?, decode::token(token)?);
        let renewed = self.service.renew(&caller, state, session, token, decode::span(ttl_ms)).await;
        let renewed = renewed.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::RenewResponse {
            remaining_ms: renewed.remaining.map_or(0, encode::ms),
            ttl_ms: encode::ms(renewed.ttl),
            waiting: renewed.waiting,
        }))
    }

    async fn release(&self, request: Request<pb::ReleaseRequest>) -> Result<Response<pb::ReleaseResponse>, Status> {
        let caller = self.caller(&request)?;
        let pb::ReleaseRequest { state, session, token, abandoned } = request.into_inner();
        let (state, session, token) = (decode::name(&state)?, decode::name(&session)?, decode::token(token)?);
        let released = self.service.release(&caller, state, session, token, abandoned).await;
        let (was_live, ended) = released.map_err(|error| status::of(&error))?;
        let ended = ended.map_or(pb::LossReason::Unspecified, |end| encode::end(&end)).into();
        Ok(Response::new(pb::ReleaseResponse { was_live, ended }))
    }

    async fn cancel(&self, request: Request<pb::CancelRequest>) -> Result<Response<pb::CancelResponse>, Status> {
        let caller = self.caller(&request)?;
        let pb::CancelRequest { state, ticket, session, request_id } = request.into_inner();
        let (id, state) = (decode::request_id(&request_id)?, decode::name(&state)?);
        let (ticket, session) = (decode::ticket(ticket)?, decode::optional(&session)?);
        if ticket.is_none() && session.is_none() {
            return Err(decode::argument("a ticket or a session is needed", "set `ticket` or `session`"));
        }
        let cancelled = self.service.cancel(&caller, id, state, ticket, session).await;
        let was_waiting = cancelled.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::CancelResponse { was_waiting }))
    }

    async fn reacquire(&self, request: Request<pb::ReacquireRequest>) -> Result<Response<pb::ReacquireResponse>, Status> {
        let caller = self.caller(&request)?;
        let pb::ReacquireRequest { state, session, old_token, request_id } = request.into_inner();
        let (id, state, session) = (decode::request_id(&request_id)?, decode::name(&state)?, decode::name(&session)?);
        let granted = self.service.reacquire(&caller, id, state, session, decode::token(old_token)?).await;
        let granted = granted.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::ReacquireResponse { granted: Some(encode::granted(granted)) }))
    }

    async fn r#break(&self, request: Request<pb::BreakRequest>) -> Result<Response<pb::BreakResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let (id, state) = (decode::request_id(&request.request_id)?, decode::name(&request.state)?);
        let token = match (request.token, request.all) {
            (0, true) => None,
            (token, false) => Some(decode::token(token)?),
            _ => return Err(decode::argument("a break names one token, or `all`", "look with `leasehold lease show`")),
        };
        let take = match request.take {
            false => None,
            true => Some(Acquire {
                session: decode::name(&request.session)?,
                mode: Mode::Exclusive,
                ttl: decode::span(request.ttl_ms),
                wait: true,
                labels: decode::labels(request.labels)?,
                unattended: false,
                polls: false,
                plan: false,
                once: false,
            }),
        };
        let act = Break { token, reason: decode::name(&request.reason)?, now: request.now, forced: false, take };
        let broken = self.service.break_lease(&caller, id, state, act).await.map_err(|error| status::of(&error))?;
        let overdue = self.service.overdue();
        // They are gone: there is no time left to tell.
        let end = crate::domain::time::StoreTime(u64::MAX);
        Ok(Response::new(pb::BreakResponse {
            broken: broken.broken.into_iter().map(|holder| encode::holder(holder, end, overdue)).collect(),
            granted: broken.granted.map(encode::granted),
            queued: broken.queued.map(encode::queued),
        }))
    }

    async fn get(&self, request: Request<pb::GetLockRequest>) -> Result<Response<pb::GetLockResponse>, Status> {
        let caller = self.caller(&request)?;
        let state = decode::name(&request.get_ref().state)?;
        let (row, now) = self.service.lock(&caller, state).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::GetLockResponse { lock: Some(encode::lock(row, now, self.service.overdue())) }))
    }

    async fn list(&self, request: Request<pb::ListLocksRequest>) -> Result<Response<pb::ListLocksResponse>, Status> {
        let caller = self.caller(&request)?;
        let pb::ListLocksRequest { prefix, all, limit, after } = request.into_inner();
        let ((prefix, limit), after) = (decode::page(&prefix, limit)?, decode::optional(&after)?);
        let (rows, now) = self.service.locks(&caller, prefix, all, after, limit + 1).await.map_err(|error| status::of(&error))?;
        let full = rows.len() > limit;
        let overdue = self.service.overdue();
        let locks: Vec<_> = rows.into_iter().take(limit).map(|row| encode::lock(row, now, overdue)).collect();
        let next = locks.last().filter(|_| full).map(|lock| lock.state.clone()).unwrap_or_default();
        Ok(Response::new(pb::ListLocksResponse { locks, next }))
    }

    async fn list_tickets(&self, request: Request<pb::ListTicketsRequest>) -> Result<Response<pb::ListTicketsResponse>, Status> {
        let caller = self.caller(&request)?;
        let state = decode::name(&request.get_ref().state)?;
        let (tickets, now) = self.service.tickets(&caller, state).await.map_err(|error| status::of(&error))?;
        let tickets = (1..).zip(tickets).map(|(place, ticket)| encode::ticket(place, ticket, now)).collect();
        Ok(Response::new(pb::ListTicketsResponse { tickets }))
    }
}
