//! A server with one rule per state name, on a port of its own.

use std::collections::HashMap;
use std::pin::Pin;
use std::process::Command;
use std::sync::{Arc, Mutex};

use futures_util::Stream;
use leasehold::pb::v1::environment_service_server::{EnvironmentService, EnvironmentServiceServer};
use leasehold::pb::v1::lease_service_server::{LeaseService, LeaseServiceServer};
use leasehold::pb::v1::server_service_server::{ServerService, ServerServiceServer};
use leasehold::pb::v1::state_service_server::{StateService, StateServiceServer};
use leasehold::pb::v1::watch_service_server::{WatchService, WatchServiceServer};
use leasehold::pb::v1::*;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt};

use crate::process::leasehold;

pub(crate) const TOKEN: &str = "lh_test";
pub(crate) const DOCUMENT: &str = "{ \"serial\" : 3 }\n \n";
/// The size of a document that is worth a progress bar.
pub(crate) const LARGE: usize = 6_000_000;
/// Above 2⁵³: what a JSON number cannot carry.
pub(crate) const FENCE: u64 = (1 << 60) + 1;

type Answer<T> = Result<Response<T>, Status>;
type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What arrived.
#[derive(Default, Clone)]
pub(crate) struct Seen {
    pub(crate) acquires: Vec<AcquireRequest>,
    pub(crate) releases: Vec<ReleaseRequest>,
    pub(crate) cancels: Vec<CancelRequest>,
    pub(crate) breaks: Vec<BreakRequest>,
    pub(crate) pushes: Vec<(PushOpen, Vec<u8>)>,
    pub(crate) locked: bool,
    pub(crate) pulls: Vec<PullRequest>,
    pub(crate) rules: Vec<SetRulesRequest>,
}

#[derive(Clone, Default)]
struct Fake {
    seen: Arc<Mutex<Seen>>,
    broken: watch::Sender<bool>,
}

pub(crate) struct FakeServer {
    address: String,
    seen: Arc<Mutex<Seen>>,
    broken: watch::Sender<bool>,
    _runtime: Runtime,
}

impl FakeServer {
    pub(crate) fn start() -> Self {
        Self::start_with(Server::builder())
    }

    /// With TLS, under a certificate and key in PEM.
    pub(crate) fn start_tls(certificate: &str, key: &str) -> Self {
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
        Self::start_with(Server::builder().tls_config(tls).unwrap())
    }

    fn start_with(mut server: Server) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let fake = Fake::default();
        let (seen, broken) = (Arc::clone(&fake.seen), fake.broken.clone());
        let guard = |request: Request<()>| match request.metadata().get("authorization") {
            Some(value) if value == format!("Bearer {TOKEN}").as_str() => Ok(request),
            _ => Err(refused(Code::Unauthenticated, "UNAUTHENTICATED", "no such token", &[("next", "check the token")])),
        };
        runtime.spawn(async move {
            let (_, health) = tonic_health::server::health_reporter();
            server
                .add_service(health)
                .add_service(EnvironmentServiceServer::with_interceptor(fake.clone(), guard))
                .add_service(LeaseServiceServer::with_interceptor(fake.clone(), guard))
                .add_service(ServerServiceServer::with_interceptor(fake.clone(), guard))
                .add_service(StateServiceServer::with_interceptor(fake.clone(), guard))
                .add_service(WatchServiceServer::with_interceptor(fake, guard))
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
        });
        Self { address, seen, broken, _runtime: runtime }
    }

    /// The binary, with this server and its token in the environment.
    pub(crate) fn leasehold(&self, args: &[&str]) -> Command {
        let mut command = leasehold(args);
        command.env("LEASEHOLD_SERVER", &self.address).env("LEASEHOLD_TOKEN", TOKEN);
        command
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Breaks the leases on all states.
    pub(crate) fn break_leases(&self) {
        self.broken.send_replace(true);
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

fn refused(code: Code, reason: &str, message: &str, more: &[(&str, &str)]) -> Status {
    let more: HashMap<_, _> = more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, "leasehold.dev", more);
    Status::with_error_details(code, message, details)
}

fn holder() -> Holder {
    Holder {
        principal: "token:ci".into(),
        session: "ci-1".into(),
        mode: Mode::Exclusive.into(),
        token: FENCE,
        ttl_ms: 60_000,
        remaining_ms: 42_000,
        claimed: true,
        labels: Some(Labels { who: "ci".into(), host: "runner-3".into(), ..Labels::default() }),
        ..Holder::default()
    }
}

fn version(state: &str) -> VersionInfo {
    VersionInfo {
        state: state.into(),
        version: 4,
        etag: "e4".into(),
        token: FENCE,
        format: Format::Terraform.into(),
        serial: 3,
        origin: Origin::Write.into(),
        written_unix_ms: 1_700_000_000_000,
        ..VersionInfo::default()
    }
}

fn granted(unclaimed: bool, ttl_ms: u64) -> AcquireResponse {
    let granted = Granted {
        token: FENCE,
        ttl_ms,
        remaining_ms: ttl_ms,
        unclaimed,
        lease_secret: "ls_planted".into(),
        lock_delay_ms: 1_000,
    };
    AcquireResponse { event: Some(acquire_response::Event::Granted(granted)) }
}

#[tonic::async_trait]
impl LeaseService for Fake {
    type AcquireStream = ReceiverStream<Result<AcquireResponse, Status>>;

    async fn acquire(&self, request: Request<AcquireRequest>) -> Answer<Self::AcquireStream> {
        let request = request.into_inner();
        self.seen.lock().unwrap().acquires.push(request.clone());
        let ttl_ms = if request.ttl_ms == 0 { 60_000 } else { request.ttl_ms };
        let queued = |place| {
            let queued = Queued { ticket: 5, place, holders: vec![holder()], ..Queued::default() };
            AcquireResponse { event: Some(acquire_response::Event::Queued(queued)) }
        };
        let (sender, receiver) = mpsc::channel(8);
        let state = request.state.as_str();
        let waits = request.wait_ms > 0;
        match state {
            "dev/held" if !waits => {
                let next = [("next", "wait with --wait, or see `leasehold lease show dev/held`")];
                return Err(refused(Code::FailedPrecondition, "LEASE_HELD", "dev/held is held by ci@runner-3", &next));
            }
            "dev/held" => sender.try_send(Ok(queued(1))).unwrap(),
            "dev/queue" => {
                for message in [queued(2), queued(2), queued(1), granted(true, ttl_ms)] {
                    sender.try_send(Ok(message)).unwrap();
                }
            }
            _ => sender.try_send(Ok(granted(false, ttl_ms))).unwrap(),
        }
        let mut broken = self.broken.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                _ = broken.wait_for(|broken| *broken) => {}
                () = sender.closed() => return,
            }
            let lost = Lost { token: FENCE, reason: LossReason::Broken.into(), message: "by alice: stuck".into() };
            let _ = sender.send(Ok(AcquireResponse { event: Some(acquire_response::Event::Lost(lost)) })).await;
            sender.closed().await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Answer<RenewResponse> {
        let request = request.into_inner();
        if request.state == "dev/silent" {
            return Err(Status::unavailable("down"));
        }
        if request.token != FENCE {
            return Err(refused(Code::FailedPrecondition, "LEASE_LOST", "the lease is gone", &[("next", "acquire again")]));
        }
        let ttl_ms = if request.ttl_ms == 0 { 60_000 } else { request.ttl_ms };
        Ok(Response::new(RenewResponse { remaining_ms: ttl_ms, ttl_ms, waiting: 0 }))
    }

    async fn release(&self, request: Request<ReleaseRequest>) -> Answer<ReleaseResponse> {
        let request = request.into_inner();
        let was_live = request.state != "dev/gone";
        self.seen.lock().unwrap().releases.push(request);
        Ok(Response::new(ReleaseResponse { was_live, ended: 0 }))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Answer<CancelResponse> {
        self.seen.lock().unwrap().cancels.push(request.into_inner());
        Ok(Response::new(CancelResponse { was_waiting: true }))
    }

    async fn reacquire(&self, _: Request<ReacquireRequest>) -> Answer<ReacquireResponse> {
        Err(Status::unimplemented("fake"))
    }

    async fn r#break(&self, request: Request<BreakRequest>) -> Answer<BreakResponse> {
        self.seen.lock().unwrap().breaks.push(request.into_inner());
        Ok(Response::new(BreakResponse { broken: vec![holder()], ..BreakResponse::default() }))
    }

    async fn get(&self, request: Request<GetLockRequest>) -> Answer<GetLockResponse> {
        let lock =
            Lock { state: request.into_inner().state, holders: vec![holder()], waiting: 2, last_token: FENCE, ..Lock::default() };
        Ok(Response::new(GetLockResponse { lock: Some(lock) }))
    }

    async fn list(&self, _: Request<ListLocksRequest>) -> Answer<ListLocksResponse> {
        let lock = Lock { state: "dev/app".into(), holders: vec![holder()], waiting: 2, last_token: FENCE, ..Lock::default() };
        Ok(Response::new(ListLocksResponse { locks: vec![lock], next: String::new() }))
    }

    async fn list_tickets(&self, _: Request<ListTicketsRequest>) -> Answer<ListTicketsResponse> {
        Ok(Response::new(ListTicketsResponse::default()))
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
        let mut document = Vec::new();
        while let Some(message) = parts.message().await? {
            if let Some(push_request::Part::Chunk(chunk)) = message.part {
                document.extend_from_slice(&chunk.data);
            }
        }
        let state = open.state.clone();
        self.seen.lock().unwrap().pushes.push((open, document));
        if state == "dev/conflict" {
            let more = [("draft", "d-7"), ("next", "pull, merge and push again")];
            return Err(refused(Code::Aborted, "VERSION_CONFLICT", "version 5 is current, not 4", &more));
        }
        let warning = Warning { code: "MARK_SHAPE".into(), place: "t.n.attributes".into(), message: "a mark is odd".into() };
        let warnings = vec![warning; if state == "dev/odd" { 25 } else { 0 }];
        Ok(Response::new(PushResponse { version: Some(version(&state)), replayed: false, warnings }))
    }

    async fn pull(&self, request: Request<PullRequest>) -> Answer<Self::PullStream> {
        let request = request.into_inner();
        if request.state == "dev/none" {
            return Err(refused(Code::NotFound, "STATE_NOT_FOUND", "dev/none has no version", &[("next", "push one")]));
        }
        let unchanged = request.unless_etag == "e4";
        let size = if unchanged { 0 } else { DOCUMENT.len() as u64 };
        if request.state == "dev/large" {
            let info = PullInfo { version: Some(version(&request.state)), size: LARGE as u64, ..PullInfo::default() };
            let chunk = || pull_response::Part::Chunk(Chunk { data: vec![b' '; LARGE / 24].into() });
            let parts = std::iter::once(pull_response::Part::Info(info)).chain(std::iter::repeat_with(chunk).take(24));
            return Ok(Response::new(Box::pin(tokio_stream::iter(parts.map(|part| Ok(PullResponse { part: Some(part) }))))));
        }
        let view = request.view();
        self.seen.lock().unwrap().pulls.push(request.clone());
        let masked = if view == View::Redacted { 30 } else { 0 };
        let info = PullInfo {
            version: Some(version(&request.state)),
            unchanged,
            size,
            view: view.into(),
            masked: (0..masked).map(|n| format!("outputs.o{n}.value")).collect(),
            signer: if view == View::Sealed { "lhs1fake".into() } else { String::new() },
            ..PullInfo::default()
        };
        let mut parts = vec![pull_response::Part::Info(info)];
        if request.state == "dev/cut" {
            parts.push(pull_response::Part::Chunk(Chunk { data: DOCUMENT[..4].into() }));
        } else if !unchanged {
            parts.extend([&DOCUMENT[..4], &DOCUMENT[4..]].map(|data| pull_response::Part::Chunk(Chunk { data: data.into() })));
        }
        let parts: Vec<_> = parts.into_iter().map(|part| Ok(PullResponse { part: Some(part) })).collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(parts))))
    }

    async fn list(&self, _: Request<ListStatesRequest>) -> Answer<ListStatesResponse> {
        Ok(Response::new(ListStatesResponse { states: vec![version("dev/app")], next: String::new() }))
    }

    async fn history(&self, _: Request<HistoryRequest>) -> Answer<HistoryResponse> {
        Ok(Response::new(HistoryResponse::default()))
    }

    async fn show(&self, request: Request<ShowRequest>) -> Answer<ShowResponse> {
        let ShowRequest { state, why, .. } = request.into_inner();
        let place = SealedPlace { place: "outputs.o.value".into(), reason: "mark".into() };
        let sealed: Vec<_> = std::iter::once(place).filter(|_| why).collect();
        let sealed_count = sealed.len() as u64 * 2;
        Ok(Response::new(ShowResponse { version: Some(version(&state)), sealed, sealed_count, ..ShowResponse::default() }))
    }

    async fn diff(&self, _: Request<DiffRequest>) -> Answer<DiffResponse> {
        let change = Change {
            kind: change::Kind::Changed.into(),
            what: "resource".into(),
            address: "aws_subnet.a".into(),
            attributes: vec!["cidr".into()],
        };
        Ok(Response::new(DiffResponse { changes: vec![change], ..DiffResponse::default() }))
    }

    async fn rollback(&self, request: Request<RollbackRequest>) -> Answer<VersionInfo> {
        Ok(Response::new(version(&request.into_inner().state)))
    }

    async fn delete(&self, request: Request<DeleteStateRequest>) -> Answer<VersionInfo> {
        Ok(Response::new(version(&request.into_inner().state)))
    }

    async fn purge(&self, _: Request<PurgeRequest>) -> Answer<PurgeResponse> {
        Ok(Response::new(PurgeResponse { purged: 3 }))
    }

    async fn list_drafts(&self, _: Request<ListDraftsRequest>) -> Answer<ListDraftsResponse> {
        Ok(Response::new(ListDraftsResponse::default()))
    }

    async fn promote_draft(&self, request: Request<PromoteDraftRequest>) -> Answer<VersionInfo> {
        Ok(Response::new(version(&request.into_inner().state)))
    }

    async fn discard_draft(&self, _: Request<DiscardDraftRequest>) -> Answer<DiscardDraftResponse> {
        Ok(Response::new(DiscardDraftResponse {}))
    }
}

#[tonic::async_trait]
impl EnvironmentService for Fake {
    async fn create(&self, request: Request<CreateEnvironmentRequest>) -> Answer<Environment> {
        let request = request.into_inner();
        Ok(Response::new(Environment { name: request.name, settings: request.settings, ..Environment::default() }))
    }

    async fn list(&self, _: Request<ListEnvironmentsRequest>) -> Answer<ListEnvironmentsResponse> {
        let environment =
            Environment { name: "dev".into(), states: 2, created_unix_ms: 1_700_000_000_000, ..Environment::default() };
        Ok(Response::new(ListEnvironmentsResponse { environments: vec![environment] }))
    }

    async fn get(&self, request: Request<GetEnvironmentRequest>) -> Answer<Environment> {
        let name = request.into_inner().name;
        Ok(Response::new(Environment { name, signer: "lhs1fake".into(), identity: 2, ..Environment::default() }))
    }

    async fn get_rules(&self, _: Request<GetRulesRequest>) -> Answer<Rules> {
        let tries = self.seen.lock().unwrap().rules.len() as u64;
        Ok(Response::new(Rules { revision: 6 + tries, rules: vec!["except *:tags.**".into()] }))
    }

    /// The first try is too late: somebody else was quicker.
    async fn set_rules(&self, request: Request<SetRulesRequest>) -> Answer<Rules> {
        let request = request.into_inner();
        let mut seen = self.seen.lock().unwrap();
        seen.rules.push(request.clone());
        match seen.rules.len() {
            1 => Err(refused(Code::Aborted, "KEYS_MOVED", "the rules have moved", &[("next", "try again")])),
            _ => Ok(Response::new(Rules { revision: request.revision + 1, rules: request.rules })),
        }
    }

    async fn set(&self, request: Request<SetEnvironmentRequest>) -> Answer<Environment> {
        let request = request.into_inner();
        Ok(Response::new(Environment { name: request.name, settings: request.settings, ..Environment::default() }))
    }

    async fn freeze(&self, _: Request<FreezeRequest>) -> Answer<FreezeResponse> {
        Ok(Response::new(FreezeResponse {}))
    }

    async fn unfreeze(&self, _: Request<UnfreezeRequest>) -> Answer<UnfreezeResponse> {
        Ok(Response::new(UnfreezeResponse { was_frozen: true }))
    }

    async fn delete(&self, _: Request<DeleteEnvironmentRequest>) -> Answer<DeleteEnvironmentResponse> {
        Ok(Response::new(DeleteEnvironmentResponse { states: 2 }))
    }
}

/// A locked server, which opens with the passphrase `correct horse`.
#[tonic::async_trait]
impl ServerService for Fake {
    async fn status(&self, _: Request<StatusRequest>) -> Answer<StatusResponse> {
        let locked = self.seen.lock().unwrap().locked;
        Ok(Response::new(StatusResponse { locked, version: "1.2.3".into(), asks_passphrase: true }))
    }

    async fn lock(&self, _: Request<LockRequest>) -> Answer<LockResponse> {
        let was_locked = std::mem::replace(&mut self.seen.lock().unwrap().locked, true);
        Ok(Response::new(LockResponse { was_locked }))
    }

    async fn unlock(&self, request: Request<UnlockRequest>) -> Answer<UnlockResponse> {
        if request.into_inner().passphrase.as_deref() != Some("correct horse") {
            return Err(refused(Code::FailedPrecondition, "MASTER_UNAVAILABLE", "wrong passphrase", &[("next", "try again")]));
        }
        let was_locked = std::mem::replace(&mut self.seen.lock().unwrap().locked, false);
        Ok(Response::new(UnlockResponse { was_locked }))
    }
}

#[tonic::async_trait]
impl WatchService for Fake {
    type WatchStream = Events<WatchResponse>;

    /// Two messages, and then a refusal, which ends the command.
    async fn watch(&self, _: Request<WatchRequest>) -> Answer<Self::WatchStream> {
        let mark = watch_response::Message::Mark(Mark { cursor: "h.1".into() });
        let event = watch_response::Message::Event(Event {
            cursor: "h.2".into(),
            kind: EventKind::VersionWritten.into(),
            target: "dev/app".into(),
            version: 4,
            token: FENCE,
            ..Event::default()
        });
        let end = refused(Code::PermissionDenied, "DENIED", "not any more", &[("next", "ask an administrator")]);
        let messages = [mark, event].map(|message| Ok(WatchResponse { message: Some(message) })).into_iter().chain([Err(end)]);
        Ok(Response::new(Box::pin(tokio_stream::iter(messages.collect::<Vec<_>>()))))
    }
}
