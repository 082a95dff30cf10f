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

/// How long the latency of locks is taken while nothing else is done, before and after each rotation.
const IDLE: Duration = Duration::from_secs(3);

/// Rotates the keys of so many states with so many secrets each, so many times, beside one client that takes and gives back a lock all the time.
/// How long that takes is compared with what it took just before and just after, when nothing else was done: others may use the machine.
pub(crate) async fn run(states: usize, secrets: usize, rounds: usize) {
    let server = Server::start(None).await;
    let (p50, p99) = server.fdatasync();
    println!("fdatasync overwrite=4096 p50_us={p50} p99_us={p99}");
    let began = Instant::now();
    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(fill(clients(&server, writer), writer, states, secrets))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let rate = |what: &str, took: f64| {
        let (per_s, secrets_per_s) = (states as f64 / took, (states * secrets) as f64 / took);
        println!(
            "leasehold {what} states={states} secrets={} took_s={took:.1} states_per_s={per_s:.0} secrets_per_s={secrets_per_s:.0}",
            states * secrets
        );
    };
    rate("fill", began.elapsed().as_secs_f64());
    // What the first rotation leaves behind, and pages that are not in memory yet, are no part of it.
    let mut idle = beside(&server, async { tokio::time::sleep(IDLE).await }).await;
    println!("leasehold lock_beside what=nothing cycles={} p50_us={} p99_us={}", idle.cycles, idle.p50, idle.p99);
    let mut ratios = [const { Vec::new() }; 2];
    for _ in 0..rounds {
        for (verb, ratios) in ["rewrap", "reencrypt"].into_iter().zip(&mut ratios) {
            let began = Instant::now();
            let with = beside(&server, keys(&server, &[verb, "dev"])).await;
            rate(verb, began.elapsed().as_secs_f64());
            // Or the next rewrap would have more keys to wrap than there are states.
            if verb == "reencrypt" {
                keys(&server, &["destroy", "dev", "--yes"]).await;
            }
            let after = beside(&server, async { tokio::time::sleep(IDLE).await }).await;
            let (before, ratio) = (idle.p99, 2.0 * with.p99 as f64 / (idle.p99 + after.p99) as f64);
            println!(
                "leasehold lock_beside what={verb} cycles={} p50_us={} p99_us={} idle_p99_us={before},{} p99_to_idle={ratio:.2}",
                with.cycles, with.p50, with.p99, after.p99
            );
            ratios.push(ratio);
            idle = after;
        }
    }
    for (verb, ratios) in ["rewrap", "reencrypt"].into_iter().zip(&mut ratios) {
        ratios.sort_unstable_by(f64::total_cmp);
        let (median, least, most) = (ratios[ratios.len() / 2], ratios[0], ratios[ratios.len() - 1]);
        println!("leasehold lock_beside what={verb} p99_to_idle median={median:.2} least={least:.2} greatest={most:.2} most=2");
    }
}

/// Runs `leasehold keys`.
async fn keys(server: &Server, arguments: &[&str]) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_leasehold"));
    let command = command.arg("keys").args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    let command = command.envs([("LEASEHOLD_SERVER", &server.address), ("LEASEHOLD_TOKEN", &server.token)]);
    assert!(command.status().await.unwrap().success(), "keys {arguments:?} failed");
}

/// How long it took to take a lock and give it back.
struct Latency {
    cycles: usize,
    p50: u128,
    p99: u128,
}

/// Takes and gives back a lock for as long as something is done.
async fn beside(server: &Server, work: impl Future<Output = ()>) -> Latency {
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
    Latency { cycles: took.len(), p50: took[took.len() / 2].as_micros(), p99: took[took.len() * 99 / 100].as_micros() }
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
