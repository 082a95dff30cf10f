//! The generated clients, under one authorization header.

use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use super::{acquire, chunks, open};
use leasehold::pb::v1 as pb;
use leasehold::pb::v1::access_service_client::AccessServiceClient;
use leasehold::pb::v1::audit_service_client::AuditServiceClient;
use leasehold::pb::v1::environment_service_client::EnvironmentServiceClient;
use leasehold::pb::v1::key_service_client::KeyServiceClient;
use leasehold::pb::v1::lease_service_client::LeaseServiceClient;
use leasehold::pb::v1::server_service_client::ServerServiceClient;
use leasehold::pb::v1::state_service_client::StateServiceClient;
use leasehold::pb::v1::watch_service_client::WatchServiceClient;

/// A caller.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) channel: Channel,
    bearer: Bearer,
}

/// What carries calls.
pub(crate) type Client = InterceptedService<Channel, Bearer>;

/// Puts a header on every call.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.0 {
            request.metadata_mut().insert("authorization", header.clone());
        }
        Ok(request)
    }
}

/// A lease that was granted, with the stream that tells of its end.
pub(crate) struct Held {
    pub(crate) token: u64,
    pub(crate) secret: String,
    pub(crate) granted: pb::Granted,
    pub(crate) stream: Streaming<pb::AcquireResponse>,
}

/// An answer that has not come after this is not coming.
const PATIENCE: Duration = Duration::from_secs(20);

impl Api {
    pub(crate) fn new(channel: Channel, token: Option<String>) -> Self {
        let header = token.map(|token| format!("Bearer {token}").parse().expect("a token is ASCII"));
        Self { channel, bearer: Bearer(header) }
    }

    /// The same connection with another token, or none.
    pub(crate) fn with(&self, token: Option<&str>) -> Self {
        Self::new(self.channel.clone(), token.map(str::to_owned))
    }

    pub(crate) fn access(&self) -> AccessServiceClient<Client> {
        AccessServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub(crate) fn audit(&self) -> AuditServiceClient<Client> {
        AuditServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub(crate) fn environment(&self) -> EnvironmentServiceClient<Client> {
        EnvironmentServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub(crate) fn keys(&self) -> KeyServiceClient<Client> {
        KeyServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub(crate) fn lease(&self) -> LeaseServiceClient<Client> {
        LeaseServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub(crate) fn server(&self) -> ServerServiceClient<Client> {
        ServerServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub(crate) fn state(&self) -> StateServiceClient<Client> {
        StateServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub(crate) fn watch(&self) -> WatchServiceClient<Client> {
        WatchServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    /// An exclusive lease, granted at once.
    pub(crate) async fn hold(&self, state: &str, session: &str) -> Held {
        self.hold_by(acquire(state, session)).await
    }

    /// A lease that is granted without a wait.
    pub(crate) async fn hold_by(&self, request: pb::AcquireRequest) -> Held {
        let mut stream = self.lease().acquire(request).await.expect("the lease is granted").into_inner();
        let granted = granted(&mut stream).await;
        Held { token: granted.token, secret: granted.lease_secret.clone(), granted, stream }
    }

    /// Queues, and returns the stream after its first place.
    pub(crate) async fn queue(&self, request: pb::AcquireRequest) -> (pb::Queued, Streaming<pb::AcquireResponse>) {
        let mut stream = self.lease().acquire(request).await.expect("the ticket is queued").into_inner();
        match told(&mut stream).await.expect("a place") {
            pb::acquire_response::Event::Queued(queued) => (queued, stream),
            other => panic!("a place in the queue was expected: {other:?}"),
        }
    }

    pub(crate) async fn renew(&self, state: &str, session: &str, token: u64) -> Result<pb::RenewResponse, Status> {
        let request = pb::RenewRequest { state: state.to_owned(), session: session.to_owned(), token, ttl_ms: 0 };
        Ok(self.lease().renew(request).await?.into_inner())
    }

    pub(crate) async fn release(&self, state: &str, session: &str, token: u64) -> Result<pb::ReleaseResponse, Status> {
        let request = pb::ReleaseRequest { state: state.to_owned(), session: session.to_owned(), token, abandoned: false };
        Ok(self.lease().release(request).await?.into_inner())
    }

    /// Pushes a document as `open` says.
    pub(crate) async fn push(&self, open: pb::PushOpen, document: &[u8]) -> Result<pb::PushResponse, Status> {
        self.push_parts(chunks(open, document)).await
    }

    /// Pushes these very messages.
    pub(crate) async fn push_parts(&self, parts: Vec<pb::PushRequest>) -> Result<pb::PushResponse, Status> {
        Ok(self.state().push(tokio_stream::iter(parts)).await?.into_inner())
    }

    /// Writes under a lease, which must succeed.
    pub(crate) async fn write(&self, state: &str, session: &str, token: u64, document: &[u8]) -> pb::VersionInfo {
        let pushed = self.push(open(state, session, token, document.len()), document).await.expect("the write succeeds");
        pushed.version.expect("with the version")
    }

    /// Takes a lease, writes, and gives it back.
    pub(crate) async fn write_once(&self, state: &str, document: &[u8]) -> pb::VersionInfo {
        let held = self.hold(state, "writer").await;
        let version = self.write(state, "writer", held.token, document).await;
        assert!(self.release(state, "writer", held.token).await.expect("released").was_live);
        version
    }

    /// Reads a version (0: the current one) or a draft.
    pub(crate) async fn pull_by(&self, request: pb::PullRequest) -> Result<(pb::PullInfo, Vec<u8>, usize), Status> {
        let mut stream = self.state().pull(request).await?.into_inner();
        let Some(pb::pull_response::Part::Info(info)) = stream.message().await?.and_then(|message| message.part) else {
            panic!("the first message of a pull is `info`");
        };
        let (mut document, mut pieces) = (Vec::new(), 0);
        while let Some(message) = stream.message().await? {
            let Some(pb::pull_response::Part::Chunk(chunk)) = message.part else { panic!("after `info` come chunks only") };
            assert!(chunk.data.len() <= 256 << 10);
            document.extend_from_slice(&chunk.data);
            pieces += 1;
        }
        Ok((info, document, pieces))
    }

    /// The bytes of a version; 0: of the current one.
    pub(crate) async fn pull(&self, state: &str, version: u64) -> Result<Vec<u8>, Status> {
        let request = pb::PullRequest { state: state.to_owned(), version, ..pb::PullRequest::default() };
        Ok(self.pull_by(request).await?.1)
    }

    /// The drafts of a state, all of them.
    pub(crate) async fn drafts(&self, state: &str) -> Vec<pb::DraftInfo> {
        let request = pb::ListDraftsRequest { state: state.to_owned(), all: true };
        self.state().list_drafts(request).await.expect("drafts").into_inner().drafts
    }

    pub(crate) async fn lock(&self, state: &str) -> pb::Lock {
        let answer = self.lease().get(pb::GetLockRequest { state: state.to_owned() }).await;
        answer.expect("a lock").into_inner().lock.expect("in the answer")
    }

    /// Where the history stands. Every effect moves it.
    pub(crate) async fn cursor(&self) -> String {
        let mut stream = self.watch().watch(pb::WatchRequest::default()).await.expect("a watch").into_inner();
        match stream.message().await.expect("the watch lives").and_then(|message| message.message) {
            Some(pb::watch_response::Message::Mark(mark)) => mark.cursor,
            other => panic!("a watch begins with a mark: {other:?}"),
        }
    }
}

impl Held {
    /// Waits for the loss that the stream must tell next, and for the end that follows.
    pub(crate) async fn lost(&mut self) -> pb::Lost {
        lost(&mut self.stream).await
    }
}

/// What an acquire tells next; none at its end.
pub(crate) async fn told(stream: &mut Streaming<pb::AcquireResponse>) -> Option<pb::acquire_response::Event> {
    let message = tokio::time::timeout(PATIENCE, stream.message()).await.expect("told in time").expect("without an error");
    message.map(|message| message.event.expect("an event"))
}

/// The grant that must come next.
pub(crate) async fn granted(stream: &mut Streaming<pb::AcquireResponse>) -> pb::Granted {
    match told(stream).await {
        Some(pb::acquire_response::Event::Granted(granted)) => granted,
        other => panic!("a grant was expected: {other:?}"),
    }
}

/// The grant that comes after any number of places; with those places.
pub(crate) async fn granted_in_turn(stream: &mut Streaming<pb::AcquireResponse>) -> (Vec<u32>, pb::Granted) {
    let mut places = Vec::new();
    loop {
        match told(stream).await {
            Some(pb::acquire_response::Event::Queued(queued)) => places.push(queued.place),
            Some(pb::acquire_response::Event::Granted(granted)) => return (places, granted),
            other => panic!("a place or a grant was expected: {other:?}"),
        }
    }
}

/// The loss that must come next, and the end that follows.
pub(crate) async fn lost(stream: &mut Streaming<pb::AcquireResponse>) -> pb::Lost {
    match told(stream).await {
        Some(pb::acquire_response::Event::Lost(lost)) => {
            assert_eq!(told(stream).await, None, "nothing follows a loss");
            lost
        }
        other => panic!("a loss was expected: {other:?}"),
    }
}
