//! The state with 1,000 secrets end to end: over gRPC, on a server of this build with its database on disk.

use std::time::{Duration, Instant};

use leasehold::pb::v1 as pb;
use leasehold::pb::v1::lease_service_client::LeaseServiceClient;
use leasehold::pb::v1::state_service_client::StateServiceClient;
use tonic::transport::{Channel, Endpoint};

use super::documents::{Secrets, state};
use super::print;
use super::server::Server;

const STATE: &str = "dev/large";
const SESSION: &str = "bench";

pub(crate) async fn run(rounds: usize) {
    let server = Server::start(None).await;
    let (p50, p99) = server.fdatasync();
    println!("fdatasync overwrite=4096 p50_us={p50} p99_us={p99}");
    let mut client = Client::connect(&server).await;
    let _stream = client.acquire().await;
    let documents: Vec<_> = (1..=rounds as u64 + 1).map(|serial| state(10 << 20, 1_000, Secrets::Short, serial)).collect();
    let size = documents[0].len();
    print("write_first document=secrets", size, &mut [client.write(&documents[0]).await]);
    // One resource less each time would change little else; here the serial does.
    let mut took = Vec::new();
    for document in &documents[1..] {
        took.push(client.write(document).await);
    }
    print("write document=secrets floor=80", size, &mut took);
    let mut took = Vec::new();
    for _ in 0..rounds {
        let (document, each) = client.read(pb::View::Full).await;
        assert!(document == documents[rounds].as_bytes(), "another document");
        took.push(each);
    }
    print("read_full document=secrets floor=150", size, &mut took);
    let mut took = Vec::new();
    let mut redacted = 0;
    for _ in 0..rounds {
        let (document, each) = client.read(pb::View::Redacted).await;
        assert!(document != documents[rounds].as_bytes(), "not redacted");
        redacted = document.len();
        took.push(each);
    }
    print("read_redacted document=secrets floor=250", redacted, &mut took);
    let (peak, most) = (server.peak(), 6 * size as u64 + (64 << 20));
    println!(
        "leasehold memory document=secrets bytes={size} peak={peak} allowed={most} times_document={:.1}",
        peak as f64 / size as f64
    );
}

struct Client {
    authorization: tonic::metadata::MetadataValue<tonic::metadata::Ascii>,
    lease: LeaseServiceClient<Channel>,
    states: StateServiceClient<Channel>,
    token: u64,
}

impl Client {
    /// On a connection with the windows and frames that the client library asks for.
    async fn connect(server: &Server) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap().tcp_nodelay(true);
        let endpoint = endpoint.initial_stream_window_size(4 << 20).initial_connection_window_size(4 << 20);
        let channel = endpoint.max_frame_size(256 << 10).connect().await.unwrap();
        Self {
            authorization: format!("Bearer {}", server.token).parse().unwrap(),
            lease: LeaseServiceClient::new(channel.clone()),
            states: StateServiceClient::new(channel),
            token: 0,
        }
    }

    fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        request
    }

    /// Takes the lease; it lives as long as the stream.
    async fn acquire(&mut self) -> tonic::Streaming<pb::AcquireResponse> {
        let request = self.request(pb::AcquireRequest {
            state: STATE.to_owned(),
            session: SESSION.to_owned(),
            mode: pb::Mode::Exclusive.into(),
            ttl_ms: 3_600_000,
            request_id: id(),
            ..pb::AcquireRequest::default()
        });
        let mut stream = self.lease.acquire(request).await.unwrap().into_inner();
        loop {
            if let Some(pb::acquire_response::Event::Granted(granted)) = stream.message().await.unwrap().unwrap().event {
                self.token = granted.token;
                return stream;
            }
        }
    }

    async fn write(&mut self, document: &str) -> Duration {
        use pb::push_request::Part;
        let open = pb::PushOpen {
            state: STATE.to_owned(),
            session: SESSION.to_owned(),
            token: self.token,
            request_id: id(),
            size: document.len() as u64,
            ..pb::PushOpen::default()
        };
        let mut parts = vec![pb::PushRequest { part: Some(Part::Open(open)) }];
        let whole = bytes::Bytes::copy_from_slice(document.as_bytes());
        parts.extend((0..whole.len()).step_by(256 << 10).map(|at| {
            let data = whole.slice(at..whole.len().min(at + (256 << 10)));
            pb::PushRequest { part: Some(Part::Chunk(pb::Chunk { data })) }
        }));
        let request = self.request(tokio_stream::iter(parts));
        let began = Instant::now();
        let answer = self.states.push(request).await.unwrap().into_inner();
        let took = began.elapsed();
        assert!(!answer.replayed);
        took
    }

    async fn read(&mut self, view: pb::View) -> (Vec<u8>, Duration) {
        use pb::pull_response::Part;
        let request = self.request(pb::PullRequest { state: STATE.to_owned(), view: view.into(), ..pb::PullRequest::default() });
        let began = Instant::now();
        let mut stream = self.states.pull(request).await.unwrap().into_inner();
        let mut document = Vec::new();
        while let Some(message) = stream.message().await.unwrap() {
            match message.part.unwrap() {
                Part::Info(info) => document.reserve(usize::try_from(info.size).unwrap()),
                Part::Chunk(chunk) => document.extend_from_slice(&chunk.data),
            }
        }
        (document, began.elapsed())
    }
}

fn id() -> String {
    uuid::Uuid::now_v7().to_string()
}
