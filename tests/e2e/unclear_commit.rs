//! A commit that ends in an unclear way: the caller is told so, the server ends, and the same request again has one effect.

use leasehold::client::{Ask, Client, LeaseRef, PushAsk, Source};
use leasehold::pb::v1::state_service_client::StateServiceClient;
use leasehold::pb::v1::{Chunk, Expect, PushOpen, PushRequest, PushResponse, push_request::Part};
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::process::{end, finish, leasehold};
use crate::rig::{Server, TIGHT};
use crate::shim::Shim;

const FIRST: &[u8] = b"{\"n\": 1}";
const SECOND: &[u8] = b"{\"n\": 2}";
/// Only the write in question has it, and its row in the log.
const MARK: &str = "the-unclear-one";

/// A server whose disk can be made to fail, with a state of one version and a live lease on it.
async fn rigged(test: &str) -> Option<(Server, Shim, std::path::PathBuf, LeaseRef)> {
    let shim = Shim::fault(test)?;
    let mut server = Server::stopped(TIGHT);
    let trigger = server.file("fault");
    server.start_as(|command| shim.fail(command, &trigger));
    let client: Client = server.client();
    let lease = client.acquire(&Ask::exclusive("dev/app", "holder".to_owned()), |_| ()).await.unwrap().reference;
    client.push(&lease, &PushAsk::default(), &Source::from_bytes(FIRST.to_vec()), |_| ()).await.unwrap();
    Some((server, shim, trigger, lease))
}

/// Writes as a client that does not try again by itself.
async fn push(server: &Server, open: &PushOpen, document: &[u8]) -> Result<PushResponse, Status> {
    let (address, token) = server.door();
    let parts = [Part::Open(open.clone()), Part::Chunk(Chunk { data: document.to_vec().into() })];
    let mut request = Request::new(tokio_stream::iter(parts.map(|part| PushRequest { part: Some(part) })));
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let channel = Endpoint::from_shared(address).unwrap().connect_lazy();
    Ok(StateServiceClient::new(channel).push(request).await?.into_inner())
}

/// The server says why it ended, and its folder is in order.
#[track_caller]
fn ended(server: &mut Server, trigger: &std::path::Path) {
    assert!(!trigger.exists(), "the fault was never met");
    assert_eq!(server.ends(), Some(1));
    assert!(server.logged().contains("error: the store gave up after an unclear commit: start again"), "{}", server.logged());
    let folder = server.data().into_os_string().into_string().unwrap();
    let verified = end(&mut leasehold(&["doctor", "verify", "--data-dir", &folder]));
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
}

fn history(server: &Server) -> Vec<String> {
    let entries = server.ok(&["state", "history", "dev/app", "--all", "--output", "json"]).json();
    entries.as_array().unwrap().iter().map(|entry| entry["version"]["version"].as_str().unwrap().to_owned()).collect()
}

/// `kept`: whether what was unclear turns out to have happened.
async fn unclear_write(test: &str, fault: &str, kept: bool) {
    let Some((mut server, _shim, trigger, lease)) = rigged(test).await else { return };
    let current = server.client().show("dev/app", &leasehold::client::Which::Current).await.unwrap().version.unwrap();
    let open = PushOpen {
        state: lease.state.clone(),
        session: lease.session.clone(),
        token: lease.token.0,
        request_id: "01900000-0000-7000-8000-000000000001".into(),
        // With an expectation, a second effect could not hide behind a version that is current.
        expect: Some(Expect { version: 1, etag: current.etag }),
        size: SECOND.len() as u64,
        inner_lock_id: MARK.into(),
        ..PushOpen::default()
    };
    std::fs::write(&trigger, format!("{fault}:{MARK}")).unwrap();
    let status = push(&server, &open, SECOND).await.expect_err("the commit failed");
    assert_eq!(status.code(), Code::Unknown, "{status:?}");
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "OUTCOME_UNKNOWN");
    assert_eq!(info.metadata["next"], "try again with the same request id: what was done is not done twice");
    ended(&mut server, &trigger);

    server.restart();
    let (versions, document): (&[&str], _) = if kept { (&["2", "1"], SECOND) } else { (&["1"], FIRST) };
    assert_eq!(history(&server), versions);
    assert_eq!(server.ok(&["state", "pull", "dev/app"]).out.as_bytes(), document);
    server.client().renew(&lease, None).await.expect("the lease is still the holder's");

    let again = push(&server, &open, SECOND).await.unwrap();
    assert_eq!((again.version.as_ref().unwrap().version, again.replayed), (2, kept));
    let third = push(&server, &open, SECOND).await.unwrap();
    assert_eq!((third.version, third.replayed), (again.version, true));
    assert_eq!(history(&server), ["2", "1"]);
    assert_eq!(server.ok(&["state", "pull", "dev/app"]).out.as_bytes(), SECOND);
    assert_eq!(server.ok(&["state", "drafts", "list", "dev/app", "--all", "--output", "json"]).json(), serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_whose_sync_failed_is_unknown_and_was_done() {
    unclear_write("write_whose_sync_failed_is_unknown_and_was_done", "sync", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_whose_log_failed_is_unknown_and_is_done_by_the_retry() {
    unclear_write("write_whose_log_failed_is_unknown_and_is_done_by_the_retry", "write", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_line_tries_an_unclear_write_again_until_it_is_done_once() {
    let test = "command_line_tries_an_unclear_write_again_until_it_is_done_once";
    let Some((mut server, _shim, trigger, lease)) = rigged(test).await else { return };
    let file = server.file("second.json");
    std::fs::write(&file, SECOND).unwrap();
    // Only a write has the session in its rows; nobody renews this lease.
    std::fs::write(&trigger, format!("sync:{}", lease.session)).unwrap();
    let args = ["state", "push", "dev/app", file.to_str().unwrap(), "--retry-for", "60s", "--output", "json"];
    let mut command = server.leasehold(&args);
    command.env("LEASEHOLD_STATE", &lease.state).env("LEASEHOLD_SESSION", &lease.session);
    let pushing = command.env("LEASEHOLD_FENCE", lease.token.0.to_string()).spawn().unwrap();
    assert_eq!(server.ends(), Some(1), "{}", server.logged());
    assert!(!trigger.exists() && server.logged().contains("the store gave up after an unclear commit"), "{}", server.logged());
    server.restart();
    let pushed = finish(pushing);
    assert_eq!(pushed.json()["version"]["version"], "2");
    assert_eq!(history(&server), ["2", "1"]);
}
