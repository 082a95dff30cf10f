//! A server whose answers are written down beforehand, over connections in memory, so that a paused clock stays exact.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::Stream;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::transport::{Endpoint, Server, Uri};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt};
use zeroize::Zeroizing;

use super::{ApiToken, Client, Settings, clock};
use crate::pb::v1::lease_service_server::{LeaseService, LeaseServiceServer};
use crate::pb::v1::state_service_server::{StateService, StateServiceServer};
use crate::pb::v1::watch_service_server::{WatchService, WatchServiceServer};
use crate::pb::v1::*;

type Answer<T> = Result<Response<T>, Status>;
type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// How a renewal is answered.
pub(crate) enum Renewal {
    Yes,
    /// Yes, this long after the call arrived.
    After(Duration),
    No(Status),
    Never,
}

#[derive(Default)]
struct Script {
    acquires: VecDeque<Vec<Result<AcquireResponse, Status>>>,
    renewals: VecDeque<Renewal>,
    cancels: VecDeque<Status>,
    pushes: VecDeque<Status>,
    pulls: VecDeque<Vec<Result<PullResponse, Status>>>,
    watches: VecDeque<Vec<Result<WatchResponse, Status>>>,
    ttl: Duration,
    seen: Seen,
    /// Streams of holders, left open.
    open: Vec<mpsc::Sender<Result<AcquireResponse, Status>>>,
}

/// What arrived, and when.
#[derive(Default, Clone)]
pub(crate) struct Seen {
    pub(crate) acquires: Vec<(Instant, AcquireRequest)>,
    pub(crate) renewals: Vec<(Instant, String)>,
    pub(crate) releases: Vec<ReleaseRequest>,
    pub(crate) cancels: Vec<CancelRequest>,
    /// The opening, and the pieces that followed.
    pub(crate) pushes: Vec<(PushOpen, Vec<bytes::Bytes>)>,
    pulls: usize,
    watches: Vec<WatchRequest>,
}

#[derive(Clone)]
pub(crate) struct Fake {
    script: Arc<Mutex<Script>>,
    connections: mpsc::UnboundedSender<DuplexStream>,
}

impl Fake {
    /// Answers every renewal with yes and a ttl of 60 s until told otherwise.
    pub(crate) fn start() -> Self {
        let (connections, incoming) = mpsc::unbounded_channel();
        let script = Script { ttl: Duration::from_secs(60), ..Script::default() };
        let fake = Self { script: Arc::new(Mutex::new(script)), connections };
        let server = Server::builder()
            .add_service(LeaseServiceServer::new(fake.clone()))
            .add_service(StateServiceServer::new(fake.clone()))
            .add_service(WatchServiceServer::new(fake.clone()));
        let incoming = UnboundedReceiverStream::new(incoming).map(Ok::<_, std::io::Error>);
        tokio::spawn(server.serve_with_incoming(incoming));
        fake
    }

    pub(crate) fn client(&self) -> Client {
        let connections = self.connections.clone();
        let channel = Endpoint::from_static("http://fake").connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            let sent = connections.send(theirs);
            async move { sent.map(|()| TokioIo::new(ours)).map_err(std::io::Error::other) }
        }));
        let token = ApiToken::parse(Zeroizing::new("lh_principal".into())).unwrap();
        Client::over(channel, Settings { token: Some(token), ..Settings::default() })
    }

    pub(crate) fn set_ttl(&self, ttl: Duration) {
        self.script.lock().unwrap().ttl = ttl;
    }

    /// The next acquire gets these messages; its stream stays open unless the last one is an error.
    pub(crate) fn script_acquire(&self, messages: impl IntoIterator<Item = Result<AcquireResponse, Status>>) {
        self.script.lock().unwrap().acquires.push_back(messages.into_iter().collect());
    }

    pub(crate) fn script_renewals(&self, answers: impl IntoIterator<Item = Renewal>) {
        self.script.lock().unwrap().renewals.extend(answers);
    }

    pub(crate) fn script_cancel(&self, failure: Status) {
        self.script.lock().unwrap().cancels.push_back(failure);
    }

    pub(crate) fn script_push(&self, failure: Status) {
        self.script.lock().unwrap().pushes.push_back(failure);
    }

    pub(crate) fn script_pull(&self, messages: impl IntoIterator<Item = Result<PullResponse, Status>>) {
        self.script.lock().unwrap().pulls.push_back(messages.into_iter().collect());
    }

    pub(crate) fn script_watch(&self, messages: impl IntoIterator<Item = Result<WatchResponse, Status>>) {
        self.script.lock().unwrap().watches.push_back(messages.into_iter().collect());
    }

    pub(crate) fn seen(&self) -> Seen {
        self.script.lock().unwrap().seen.clone()
    }

    pub(crate) fn pulls(&self) -> usize {
        self.seen().pulls
    }

    pub(crate) fn watches(&self) -> Vec<WatchRequest> {
        self.seen().watches
    }

    /// Tells the holder on its newest stream.
    pub(crate) async fn tell(&self, message: AcquireResponse) {
        let stream = self.script.lock().unwrap().open.last().expect("a stream is open").clone();
        stream.send(Ok(message)).await.unwrap();
    }

    /// Ends all streams of holders without a word.
    pub(crate) fn break_streams(&self) {
        self.script.lock().unwrap().open.clear();
    }
}

pub(crate) fn granted(token: u64, unclaimed: bool) -> AcquireResponse {
    let granted = Granted {
        token,
        ttl_ms: 60_000,
        remaining_ms: if unclaimed { 10_000 } else { 60_000 },
        unclaimed,
        lease_secret: "ls_secret".into(),
        lock_delay_ms: 15_000,
    };
    AcquireResponse { event: Some(acquire_response::Event::Granted(granted)) }
}

pub(crate) fn queued(place: u32) -> AcquireResponse {
    AcquireResponse { event: Some(acquire_response::Event::Queued(Queued { ticket: 9, place, ..Queued::default() })) }
}

pub(crate) fn lost(token: u64, reason: LossReason) -> AcquireResponse {
    AcquireResponse {
        event: Some(acquire_response::Event::Lost(Lost { token, reason: reason.into(), message: "by alice".into() })),
    }
}

pub(crate) fn mark(cursor: &str) -> WatchResponse {
    WatchResponse { message: Some(watch_response::Message::Mark(Mark { cursor: cursor.into() })) }
}

pub(crate) fn event(cursor: &str) -> WatchResponse {
    WatchResponse { message: Some(watch_response::Message::Event(Event { cursor: cursor.into(), ..Event::default() })) }
}

pub(crate) fn refused(code: Code, reason: &str, more: &[(&str, &str)]) -> Status {
    let mut details = ErrorDetails::new();
    let more: HashMap<_, _> = more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    details.set_error_info(reason, "leasehold.dev", more);
    Status::with_error_details(code, "refused", details)
}

#[tonic::async_trait]
impl LeaseService for Fake {
    type AcquireStream = ReceiverStream<Result<AcquireResponse, Status>>;

    async fn acquire(&self, request: Request<AcquireRequest>) -> Answer<Self::AcquireStream> {
        let (sender, receiver) = mpsc::channel(16);
        let mut script = self.script.lock().unwrap();
        script.seen.acquires.push((clock::now(), request.into_inner()));
        let messages = script.acquires.pop_front().unwrap_or_default();
        let ends = messages.iter().any(Result::is_err);
        for message in messages {
            sender.try_send(message).expect("few messages");
        }
        if !ends {
            script.open.push(sender);
        }
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Answer<RenewResponse> {
        let bearer = request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let (answer, ttl) = {
            let mut script = self.script.lock().unwrap();
            script.seen.renewals.push((clock::now(), bearer.unwrap_or_default()));
            (script.renewals.pop_front().unwrap_or(Renewal::Yes), script.ttl)
        };
        match answer {
            Renewal::Yes => {}
            Renewal::After(delay) => tokio::time::sleep(delay).await,
            Renewal::No(status) => return Err(status),
            Renewal::Never => std::future::pending().await,
        }
        let ttl_ms = super::lease::millis(ttl);
        Ok(Response::new(RenewResponse { remaining_ms: ttl_ms, ttl_ms, waiting: 0 }))
    }

    async fn release(&self, request: Request<ReleaseRequest>) -> Answer<ReleaseResponse> {
        self.script.lock().unwrap().seen.releases.push(request.into_inner());
        Ok(Response::new(ReleaseResponse { was_live: true, ended: 0 }))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Answer<CancelResponse> {
        let mut script = self.script.lock().unwrap();
        script.seen.cancels.push(request.into_inner());
        match script.cancels.pop_front() {
            Some(status) => Err(status),
            None => Ok(Response::new(CancelResponse { was_waiting: true })),
        }
    }

    async fn reacquire(&self, _: Request<ReacquireRequest>) -> Answer<ReacquireResponse> {
        Err(Status::unimplemented("fake"))
    }

    async fn r#break(&self, _: Request<BreakRequest>) -> Answer<BreakResponse> {
        Err(Status::unimplemented("fake"))
    }

    async fn get(&self, _: Request<GetLockRequest>) -> Answer<GetLockResponse> {
        Err(Status::unimplemented("fake"))
    }

    async fn list(&self, request: Request<ListLocksRequest>) -> Answer<ListLocksResponse> {
        // Two pages.
        let (name, next) = if request.into_inner().after.is_empty() { ("dev/a", "dev/a") } else { ("dev/b", "") };
        let lock = Lock { state: name.into(), ..Lock::default() };
        Ok(Response::new(ListLocksResponse { locks: vec![lock], next: next.into() }))
    }

    async fn list_tickets(&self, _: Request<ListTicketsRequest>) -> Answer<ListTicketsResponse> {
        Err(Status::unimplemented("fake"))
    }
}

#[tonic::async_trait]
impl StateService for Fake {
    type PullStream = Events<PullResponse>;

    async fn push(&self, request: Request<Streaming<PushRequest>>) -> Answer<PushResponse> {
        let mut parts = request.into_inner();
        let Some(push_request::Part::Open(open)) = parts.message().await?.and_then(|message| message.part) else {
            return Err(Status::invalid_argument("no opening"));
        };
        let failure = self.script.lock().unwrap().pushes.pop_front();
        let mut pieces = Vec::new();
        // A refusal comes before the document is read, a failure of the server after it.
        if failure.as_ref().is_none_or(|status| status.code() == Code::Unavailable) {
            while let Some(message) = parts.message().await? {
                if let Some(push_request::Part::Chunk(chunk)) = message.part {
                    pieces.push(chunk.data);
                }
            }
        }
        self.script.lock().unwrap().seen.pushes.push((open, pieces));
        match failure {
            Some(status) => Err(status),
            None => Ok(Response::new(PushResponse::default())),
        }
    }

    async fn pull(&self, _: Request<PullRequest>) -> Answer<Self::PullStream> {
        let mut script = self.script.lock().unwrap();
        script.seen.pulls += 1;
        let messages = script.pulls.pop_front().unwrap_or_default();
        Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
    }

    async fn list(&self, _: Request<ListStatesRequest>) -> Answer<ListStatesResponse> {
        Err(Status::unimplemented("fake"))
    }

    async fn history(&self, request: Request<HistoryRequest>) -> Answer<HistoryResponse> {
        let HistoryRequest { limit, before, .. } = request.into_inner();
        let newest = if before == 0 { 2500 } else { before - 1 };
        let entries = (0..u64::from(limit)).map_while(|n| newest.checked_sub(n).filter(|version| *version > 0));
        let entries: Vec<_> = entries.map(|version| HistoryEntry { first_version: version, ..HistoryEntry::default() }).collect();
        let next = entries.last().map_or(0, |entry| entry.first_version);
        Ok(Response::new(HistoryResponse { entries, next: if next == 1 { 0 } else { next } }))
    }

    async fn show(&self, _: Request<ShowRequest>) -> Answer<ShowResponse> {
        Err(Status::unimplemented("fake"))
    }

    async fn diff(&self, _: Request<DiffRequest>) -> Answer<DiffResponse> {
        Err(Status::unimplemented("fake"))
    }

    async fn rollback(&self, _: Request<RollbackRequest>) -> Answer<VersionInfo> {
        Err(Status::unimplemented("fake"))
    }

    async fn delete(&self, _: Request<DeleteStateRequest>) -> Answer<VersionInfo> {
        Err(Status::unimplemented("fake"))
    }

    async fn purge(&self, _: Request<PurgeRequest>) -> Answer<PurgeResponse> {
        Err(Status::unimplemented("fake"))
    }

    async fn list_drafts(&self, _: Request<ListDraftsRequest>) -> Answer<ListDraftsResponse> {
        Err(Status::unimplemented("fake"))
    }

    async fn promote_draft(&self, _: Request<PromoteDraftRequest>) -> Answer<VersionInfo> {
        Err(Status::unimplemented("fake"))
    }

    async fn discard_draft(&self, _: Request<DiscardDraftRequest>) -> Answer<DiscardDraftResponse> {
        Err(Status::unimplemented("fake"))
    }
}

#[tonic::async_trait]
impl WatchService for Fake {
    type WatchStream = Events<WatchResponse>;

    async fn watch(&self, request: Request<WatchRequest>) -> Answer<Self::WatchStream> {
        let mut script = self.script.lock().unwrap();
        script.seen.watches.push(request.into_inner());
        let messages = script.watches.pop_front().unwrap_or_default();
        let ends = messages.iter().any(Result::is_err);
        let messages = tokio_stream::iter(messages);
        Ok(Response::new(if ends { Box::pin(messages) } else { Box::pin(messages.chain(futures_util::stream::pending())) }))
    }
}
