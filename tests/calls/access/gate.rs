//! Before everything: no call and no route without a principal that has some right. The calls are those that the running server tells of by
//! reflection, so that a new one cannot be forgotten.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use leasehold::domain::access::Role;
use leasehold::pb::{Rpc, v1 as pb};
use leasehold::serve::verbs::{Page, demand};
use prost::Message;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::wire::{bearer, make_token, revoke, scope, send, send_nothing};
use crate::support::{Api, Http, Running, StoreKind, open, refused, terraform};

/// A refusal that has not come after this waits for a body.
const SOON: Duration = Duration::from_secs(10);

async fn reflect(channel: &Channel, header: Option<&str>, ask: MessageRequest) -> Result<MessageResponse, Status> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
    let mut ask = Request::new(tokio_stream::iter([request]));
    if let Some(header) = header {
        ask.metadata_mut().insert("authorization", header.parse().expect("ASCII"));
    }
    let mut answers = ServerReflectionClient::new(channel.clone()).server_reflection_info(ask).await?.into_inner();
    Ok(answers.message().await?.expect("an answer").message_response.expect("with something in it"))
}

/// The paths of all calls that the server tells of, but for health.
async fn methods(server: &Running) -> BTreeSet<String> {
    let header = format!("Bearer {}", server.token());
    let ask = |ask| reflect(&server.api.channel, Some(&header), ask);
    let MessageResponse::ListServicesResponse(list) = ask(MessageRequest::ListServices(String::new())).await.unwrap() else {
        panic!("a list of services")
    };
    let mut paths = BTreeSet::new();
    for service in list.service.into_iter().map(|service| service.name).filter(|name| name != "grpc.health.v1.Health") {
        let MessageResponse::FileDescriptorResponse(files) =
            ask(MessageRequest::FileContainingSymbol(service.clone())).await.unwrap()
        else {
            panic!("the file of {service}")
        };
        for file in &files.file_descriptor_proto {
            let file = prost_types::FileDescriptorProto::decode(&file[..]).unwrap();
            let named = file.service.iter().filter(|known| format!("{}.{}", file.package(), known.name()) == service);
            paths.extend(named.flat_map(|known| known.method.iter().map(|method| format!("/{service}/{}", method.name()))));
        }
    }
    let ours: BTreeSet<String> = Rpc::ALL.iter().map(|rpc| rpc.path().to_owned()).collect();
    let told: BTreeSet<String> = paths.iter().filter(|path| path.starts_with("/leasehold.")).cloned().collect();
    assert_eq!(told, ours, "the table has an entry for every call that the server tells of");
    paths
}

/// Somebody whom the server knows, and who has no right at all any more: its maker is gone.
async fn without_rights(server: &Running) -> String {
    let maker = bearer(&server.api, "maker", &[scope("admin", "**"), scope("admin", "/")]).await;
    let token = make_token(&maker, "orphan", &[scope("admin", "**"), scope("admin", "/")]).await;
    revoke(&server.api, "maker").await.expect("revoked");
    token
}

#[tokio::test]
async fn every_call_is_refused_without_a_right_whether_its_message_comes_or_not() {
    let server = Running::start(StoreKind::Memory).await;
    let held = server.api.hold("dev/app", "s").await;
    let orphan = format!("Bearer {}", without_rights(&server).await);
    let wrong = "Bearer lh_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let methods = methods(&server).await;
    let cursor = server.api.cursor().await;
    assert!(methods.iter().any(|path| path.starts_with("/grpc.reflection.v1.")), "{methods:?}");
    let unlisted = ["/leasehold.v1.StateService/Steal".to_owned()];
    for path in methods.iter().chain(&unlisted) {
        let channel = server.caller(None).channel;
        for (header, code, reason) in [
            (None, Code::Unauthenticated, "UNAUTHENTICATED"),
            (Some(wrong), Code::Unauthenticated, "UNAUTHENTICATED"),
            (Some(orphan.as_str()), Code::PermissionDenied, "NOT_ALLOWED"),
        ] {
            refused(send(&channel, path, header, Vec::new()).await, code, reason);
            // No message at all: a refusal that waits for one would never come.
            let told = tokio::time::timeout(SOON, send_nothing(&channel, path, header)).await;
            refused(told.unwrap_or_else(|_| panic!("{path} waits for a message")), code, reason);
        }
        // With every right it fails for something else: an empty message names nothing.
        let known = send(&server.api.channel, path, Some(&format!("bearer {}", server.token())), Vec::new()).await;
        let refusals = [Code::Unauthenticated, Code::PermissionDenied];
        assert!(!known.is_err_and(|status| refusals.contains(&status.code())), "{path}");
    }
    let moved = server.api.cursor().await;
    server.api.renew("dev/app", "s", held.token).await.expect("the server goes on");
    assert_eq!(moved, cursor, "nothing happened");
}

#[tokio::test]
async fn credentials_that_are_nearly_right_are_wrong() {
    let server = Running::start(StoreKind::Memory).await;
    let token = server.token();
    let held = server.api.hold("dev/app", "s").await;
    let cursor = server.api.cursor().await;
    let wrong = [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some(token.clone()),
        Some(format!("Basic {token}")),
        Some(format!("Bearer{token}")),
        Some(format!("Bearer {token}x")),
        Some(format!("Bearer {}", &token[..token.len() - 1])),
        Some(format!("Bearer {}", token.to_uppercase())),
        Some(format!("Bearer {}", &token["lh_".len()..])),
        Some(format!("Bearer {token},{token}")),
        Some(format!("Bearer {token} {token}")),
        Some("Bearer lhl_".to_owned()),
        Some("Bearer lhl_AAAA".to_owned()),
    ];
    for header in &wrong {
        let channel = server.caller(None).channel;
        for rpc in [Rpc::StatePull, Rpc::LeaseRenew, Rpc::StatePush, Rpc::AccessCreateToken, Rpc::WatchWatch] {
            let answer = send(&channel, rpc.path(), header.as_deref(), Vec::new()).await;
            refused(answer, Code::Unauthenticated, "UNAUTHENTICATED");
        }
    }
    assert_eq!(server.api.cursor().await, cursor, "nothing happened");
    server.api.renew("dev/app", "s", held.token).await.expect("the server goes on");
}

#[tokio::test]
async fn lease_secret_is_good_for_the_calls_that_the_table_says_and_for_its_own_lease() {
    let server = Running::start(StoreKind::Memory).await;
    let held = server.api.hold("dev/app", "s").await;
    let header = format!("Bearer {}", held.secret);
    let good: Vec<&str> = Rpc::ALL.iter().filter(|rpc| demand(**rpc).lease_secret).map(|rpc| rpc.path()).collect();
    assert_eq!(good.len(), 4, "renew, release, push, promote: {good:?}");
    for path in methods(&server).await {
        let answer = send(&server.api.channel, &path, Some(&header), Vec::new()).await;
        if good.contains(&path.as_str()) {
            assert_ne!(answer.expect_err("an empty message names nothing").code(), Code::Unauthenticated, "{path}");
        } else {
            refused(answer, Code::Unauthenticated, "UNAUTHENTICATED");
        }
    }
    let secret = server.api.with(Some(&held.secret));
    let get = pb::GetLockRequest { state: "dev/app".to_owned() };
    refused(secret.lease().get(get).await, Code::Unauthenticated, "UNAUTHENTICATED");
    secret.renew("dev/app", "s", held.token).await.expect("its own lease");
}

/// Pushes the head of a document that never comes.
async fn begin_push(api: &Api, open: pb::PushOpen) -> Result<(), Status> {
    use tokio_stream::StreamExt as _;

    let head = pb::PushRequest { part: Some(pb::push_request::Part::Open(open)) };
    let parts = tokio_stream::iter([head]).chain(tokio_stream::pending());
    let mut state = api.state();
    let pushed = tokio::time::timeout(SOON, state.push(parts)).await.expect("refused before the document comes");
    pushed.map(drop)
}

#[tokio::test]
async fn push_is_refused_by_its_head_before_the_document_comes() {
    let server = Running::start(StoreKind::Memory).await;
    let ci = bearer(&server.api, "ci", &[scope("pipeline", "dev/own/**")]).await;
    let promoter = bearer(&server.api, "promoter", &[scope("write", "dev/own/**"), scope("reader", "dev/**")]).await;
    for state in ["dev/app", "dev/own", "other/app", "dev/own2/app"] {
        refused(begin_push(&ci, open(state, "s", 1, 1 << 30)).await, Code::PermissionDenied, "NOT_ALLOWED");
    }
    let told = refused(begin_push(&promoter, open("dev/app", "s", 1, 100)).await, Code::PermissionDenied, "PERMISSION_DENIED");
    assert!(told.message.contains("token:promoter") && told.message.contains("`write` on dev/app"), "{}", told.message);
    let rewrite = pb::PushOpen { rewrite: true, ..open("dev/own/app", "s", 1, 100) };
    let told = refused(begin_push(&ci, rewrite).await, Code::PermissionDenied, "PERMISSION_DENIED");
    assert!(told.message.contains("`rewrite` on dev/own/app"), "{}", told.message);
    let secret = server.api.with(Some(&server.api.hold("dev/app", "s").await.secret));
    refused(begin_push(&secret, open("dev/own/app", "s", 1, 100)).await, Code::Unauthenticated, "UNAUTHENTICATED");
}

#[tokio::test]
async fn health_is_for_everybody_and_reflection_only_where_that_is_said() {
    for is_open in [false, true] {
        let settings = format!("open_reflection = {is_open}");
        let server = Running::start_with(StoreKind::Memory, &settings).await;
        let orphan = format!("Bearer {}", without_rights(&server).await);
        let request = HealthCheckRequest { service: String::new() };
        HealthClient::new(server.caller(None).channel).check(request).await.expect("health");
        for path in [
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ] {
            let list = ServerReflectionRequest {
                host: String::new(),
                message_request: Some(MessageRequest::ListServices(String::new())),
            };
            let ask = |header| send(&server.api.channel, path, header, list.encode_to_vec());
            match is_open {
                true => ask(None).await.expect("open"),
                false => {
                    refused(ask(None).await, Code::Unauthenticated, "UNAUTHENTICATED");
                    refused(ask(Some(&orphan)).await, Code::PermissionDenied, "NOT_ALLOWED");
                    ask(Some(&format!("Bearer {}", server.token()))).await.expect("for who has any right");
                }
            }
        }
        // Open reflection opens nothing else.
        let answer = send(&server.api.channel, Rpc::ServerStatus.path(), None, Vec::new()).await;
        refused(answer, Code::Unauthenticated, "UNAUTHENTICATED");
    }
}

#[tokio::test]
async fn every_route_is_refused_without_a_right_before_its_body_is_read() {
    let server = Running::start(StoreKind::Memory).await;
    server.api.write_once("dev/app", &terraform("l", 1, "planted")).await;
    let cursor = server.api.cursor().await;
    let orphan = without_rights(&server).await;
    let basic = |token: &str| Some(format!("Basic {}", BASE64_STANDARD.encode(format!("ci:{token}"))));
    let wrong = "lh_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (header, status, code) in [
        (None, 401, "UNAUTHENTICATED"),
        (basic(wrong), 401, "UNAUTHENTICATED"),
        (Some(format!("Bearer {wrong}")), 401, "UNAUTHENTICATED"),
        (basic(&orphan), 403, "NOT_ALLOWED"),
        (Some(format!("Bearer {orphan}")), 403, "NOT_ALLOWED"),
    ] {
        for method in ["GET", "POST", "PUT", "LOCK", "UNLOCK", "DELETE"] {
            for target in ["dev/app", "dev/nil", "void/app", "dev/app?ID=s", "dev/app/lock", "dev/nil/lock?ID=s"] {
                if method == "GET" && target.contains("/lock") {
                    continue;
                }
                let at = format!("/terraform/v1/{target}");
                let http = Http::with(server.address, header.clone());
                // Nothing of it ever comes: not after an announced size, not in pieces without end, not to whoever waits for a word first.
                for headers in [
                    &[("content-length", "1000000")][..],
                    &[("transfer-encoding", "chunked")],
                    &[("content-length", "1000000"), ("expect", "100-continue")],
                ] {
                    let sent = http.send_with(method, &at, headers, b"").await;
                    let told = tokio::time::timeout(SOON, sent.answer()).await;
                    told.unwrap_or_else(|_| panic!("{method} {target} waits for {headers:?}")).refused(status, code);
                }
            }
        }
    }
    assert_eq!(server.api.cursor().await, cursor, "nothing happened");
}

#[tokio::test]
async fn every_page_is_refused_without_a_right_unless_it_is_open() {
    for is_open in [false, true] {
        let settings = format!("open_metrics = {is_open}\nopen_reflection = true");
        let server = Running::start_with(StoreKind::Memory, &settings).await;
        let orphan = without_rights(&server).await;
        let secret = server.api.hold("dev/app", "s").await.secret;
        let wrong = "lh_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let basic = |token: &str| Some(format!("Basic {}", BASE64_STANDARD.encode(format!("prometheus:{token}"))));
        let strangers = [
            (None, 401, "UNAUTHENTICATED"),
            (basic(wrong), 401, "UNAUTHENTICATED"),
            (Some(format!("Bearer {wrong}")), 401, "UNAUTHENTICATED"),
            (Some(format!("Bearer {secret}")), 401, "UNAUTHENTICATED"),
            (basic(&orphan), 403, "NOT_ALLOWED"),
            (Some(format!("Bearer {orphan}")), 403, "NOT_ALLOWED"),
        ];
        for page in Page::ALL {
            for (header, status, code) in &strangers {
                for method in ["GET", "HEAD", "POST", "DELETE", "BREW"] {
                    let http = Http::with(server.address, header.clone());
                    let answer = http.call(method, page.path(), b"").await;
                    match (is_open, method) {
                        (true, "GET" | "HEAD") => drop(answer.is(200)),
                        (true, _) => drop(answer.is(405)),
                        (false, "HEAD") => drop(answer.is(*status)),
                        (false, _) => {
                            let told = answer.refused(*status, code);
                            let challenge = (*status == 401).then_some("Basic realm=\"leasehold\", charset=\"UTF-8\"");
                            assert_eq!(told.header("www-authenticate"), challenge);
                            assert!(!told.text().contains("leasehold_"), "{}", told.text());
                        }
                    }
                }
            }
            // Any right will do, and any way to show who has it.
            for role in Role::ALL {
                let name = format!("{role}-{page:?}").to_lowercase();
                let on = if role.verbs().has(leasehold::domain::access::Verb::Audit) { "/" } else { "dev/a" };
                let token = make_token(&server.api, &name, &[scope(&role.to_string(), on)]).await;
                for header in [basic(&token), Some(format!("Bearer {token}"))] {
                    Http::with(server.address, header).call("GET", page.path(), b"").await.is(200);
                }
            }
        }
        // Open pages open nothing else.
        Http::with(server.address, None).call("GET", "/terraform/v1/dev/app", b"").await.refused(401, "UNAUTHENTICATED");
    }
}
