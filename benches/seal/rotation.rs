//! New keys for many states, as an administrator asks for them.

use std::process::{Command, Stdio};
use std::time::Instant;

use leasehold::pb::v1 as pb;
use leasehold::pb::v1::lease_service_client::LeaseServiceClient;
use leasehold::pb::v1::state_service_client::StateServiceClient;

use super::server::Server;

/// How many states are written at once.
const WRITERS: usize = 16;

pub(crate) async fn run(states: usize) {
    if !has("rewrap") || !has("reencrypt") {
        println!("leasehold rotation: SKIPPED, this build has no `keys rewrap` and `keys reencrypt`");
        return;
    }
    let server = Server::start(None).await;
    let began = Instant::now();
    let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(fill(clients(&server, writer), writer, states))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
    println!("leasehold fill states={states} states_per_s={:.0}", states as f64 / began.elapsed().as_secs_f64());
    for verb in ["rewrap", "reencrypt"] {
        let began = Instant::now();
        let done = Command::new(env!("CARGO_BIN_EXE_leasehold"))
            .args(["keys", verb, "dev"])
            .envs([("LEASEHOLD_SERVER", &server.address), ("LEASEHOLD_TOKEN", &server.token)])
            .stdout(Stdio::null())
            .status();
        assert!(done.unwrap().success(), "keys {verb} failed");
        println!("leasehold {verb} states={states} states_per_s={:.0}", states as f64 / began.elapsed().as_secs_f64());
    }
}

/// Whether this build has the command.
fn has(verb: &str) -> bool {
    let help = Command::new(env!("CARGO_BIN_EXE_leasehold")).args(["keys", verb, "--help"]).output();
    help.is_ok_and(|help| help.status.success())
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

/// Writes this writer's share of the states, each with one secret.
async fn fill(mut clients: Clients, writer: usize, states: usize) {
    use pb::push_request::Part;
    let authorization: tonic::metadata::MetadataValue<_> = clients.authorization.parse().unwrap();
    let id = || uuid::Uuid::now_v7().to_string();
    for n in (writer..states).step_by(WRITERS) {
        let (state, session) = (format!("dev/s{n}"), format!("fill-{n}"));
        let mut request = tonic::Request::new(pb::AcquireRequest {
            state: state.clone(),
            session: session.clone(),
            mode: pb::Mode::Exclusive.into(),
            request_id: id(),
            ..pb::AcquireRequest::default()
        });
        request.metadata_mut().insert("authorization", authorization.clone());
        let mut stream = clients.lease.acquire(request).await.unwrap().into_inner();
        let token = loop {
            if let Some(pb::acquire_response::Event::Granted(granted)) = stream.message().await.unwrap().unwrap().event {
                break granted.token;
            }
        };
        let document = format!("{{\"db_password\":\"Secret-{n:08}-Value\"}}");
        let size = document.len() as u64;
        let open =
            pb::PushOpen { state: state.clone(), session: session.clone(), token, request_id: id(), size, ..Default::default() };
        let chunk = pb::Chunk { data: document.into_bytes().into() };
        let parts = [Part::Open(open), Part::Chunk(chunk)].map(|part| pb::PushRequest { part: Some(part) });
        let mut request = tonic::Request::new(tokio_stream::iter(parts));
        request.metadata_mut().insert("authorization", authorization.clone());
        clients.states.push(request).await.unwrap();
        let mut request = tonic::Request::new(pb::ReleaseRequest { state, session, token, abandoned: false });
        request.metadata_mut().insert("authorization", authorization.clone());
        clients.lease.release(request).await.unwrap();
        while let Ok(Some(_)) = stream.message().await {}
    }
}
