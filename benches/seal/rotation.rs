//! New keys for many states, as an administrator asks for them.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use leasehold::pb::v1 as pb;
use leasehold::pb::v1::lease_service_client::LeaseServiceClient;
use leasehold::pb::v1::state_service_client::StateServiceClient;

use super::server::Server;

/// How many states are written at once.
const WRITERS: usize = 16;

/// How long the latency of locks is taken while nothing else is done.
const IDLE: Duration = Duration::from_secs(5);

/// Rotates the keys of so many states with so many secrets each, beside one client that takes and gives back a lock all the time.
pub(crate) async fn run(states: usize, secrets: usize) {
    let server = Server::start(None).await;
    let began = Instant::now();
    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(fill(clients(&server, writer), writer, states, secrets))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let rate = |what: &str, began: Instant| {
        let took = began.elapsed().as_secs_f64();
        let (per_s, secrets_per_s) = (states as f64 / took, (states * secrets) as f64 / took);
        println!(
            "leasehold {what} states={states} secrets={} took_s={took:.1} states_per_s={per_s:.0} secrets_per_s={secrets_per_s:.0}",
            states * secrets
        );
    };
    rate("fill", began);
    let idle = beside(&server, async { tokio::time::sleep(IDLE).await }).await;
    println!("leasehold lock_beside what=nothing p50_us={} p99_us={}", idle.0, idle.1);
    for verb in ["rewrap", "reencrypt"] {
        let began = Instant::now();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_leasehold"));
        let command = command
            .args(["keys", verb, "dev"])
            .envs([("LEASEHOLD_SERVER", &server.address), ("LEASEHOLD_TOKEN", &server.token)])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let (p50, p99) =
            beside(&server, async { assert!(command.status().await.unwrap().success(), "keys {verb} failed") }).await;
        rate(verb, began);
        let ratio = p99 as f64 / idle.1 as f64;
        println!("leasehold lock_beside what={verb} p50_us={p50} p99_us={p99} p99_to_idle={ratio:.2} most=2");
    }
}

/// Median and 99th percentile, in microseconds, of taking and giving back a lock for as long as something is done.
async fn beside(server: &Server, work: impl Future<Output = ()>) -> (u128, u128) {
    let done = Arc::new(AtomicBool::new(false));
    let probe = tokio::spawn({
        let (mut clients, done) = (clients(server, 0), Arc::clone(&done));
        async move {
            let mut took = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let began = Instant::now();
                let held = clients.acquire("dev/probe".to_owned(), format!("probe-{}", took.len())).await;
                clients.release(held).await;
                took.push(began.elapsed());
            }
            took
        }
    });
    work.await;
    done.store(true, Ordering::Relaxed);
    let mut took = probe.await.unwrap();
    took.sort_unstable();
    (took[took.len() / 2].as_micros(), took[took.len() * 99 / 100].as_micros())
}

struct Clients {
    authorization: String,
    lease: LeaseServiceClient<tonic::transport::Channel>,
    states: StateServiceClient<tonic::transport::Channel>,
}

fn clients(server: &Server, writer: usize) -> Clients {
    let channel = server.channels[writer % server.channels.len()].clone();
    let authorization = format!("Bearer {}", server.token);
    Clients { authorization, lease: LeaseServiceClient::new(channel.clone()), states: StateServiceClient::new(channel) }
}

/// A lease that was granted.
struct Held {
    state: String,
    session: String,
    token: u64,
    stream: tonic::Streaming<pb::AcquireResponse>,
}

impl Clients {
    fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.parse().unwrap());
        request
    }

    async fn acquire(&mut self, state: String, session: String) -> Held {
        let request = self.request(pb::AcquireRequest {
            state: state.clone(),
            session: session.clone(),
            mode: pb::Mode::Exclusive.into(),
            request_id: id(),
            ..pb::AcquireRequest::default()
        });
        let mut stream = self.lease.acquire(request).await.unwrap().into_inner();
        loop {
            if let Some(pb::acquire_response::Event::Granted(granted)) = stream.message().await.unwrap().unwrap().event {
                return Held { state, session, token: granted.token, stream };
            }
        }
    }

    async fn release(&mut self, held: Held) {
        let Held { state, session, token, mut stream } = held;
        let request = self.request(pb::ReleaseRequest { state, session, token, abandoned: false });
        self.lease.release(request).await.unwrap();
        while let Ok(Some(_)) = stream.message().await {}
    }
}

fn id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// Writes this writer's share of the states.
async fn fill(mut clients: Clients, writer: usize, states: usize, secrets: usize) {
    use pb::push_request::Part;
    for n in (writer..states).step_by(WRITERS) {
        let held = clients.acquire(format!("dev/s{n}"), format!("fill-{n}")).await;
        let secrets: Vec<String> = (0..secrets).map(|k| format!("{{\"db_password\":\"Secret-{n:08}-{k}-Value\"}}")).collect();
        let document = format!("[{}]", secrets.join(","));
        let (state, session, token, size) = (held.state.clone(), held.session.clone(), held.token, document.len() as u64);
        let open = pb::PushOpen { state, session, token, request_id: id(), size, ..Default::default() };
        let mut parts = vec![Part::Open(open)];
        parts.extend(document.into_bytes().chunks(64 << 10).map(|data| Part::Chunk(pb::Chunk { data: data.to_vec().into() })));
        let parts = parts.into_iter().map(|part| pb::PushRequest { part: Some(part) });
        let request = clients.request(tokio_stream::iter(parts.collect::<Vec<_>>()));
        clients.states.push(request).await.unwrap();
        clients.release(held).await;
    }
}
