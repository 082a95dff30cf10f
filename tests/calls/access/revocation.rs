//! What revoking ends: leases and places in queues, at once, for whoever was revoked and whoever had its rights from there.

use std::sync::Arc;

use leasehold::domain::access::{AccessAct, Credential, Scope};
use leasehold::domain::command::{Acquire, Act, Command, StoreAct, Trace};
use leasehold::domain::ids::RequestId;
use leasehold::domain::lock::Mode;
use leasehold::domain::names::Labels;
use leasehold::domain::settings::Limits;
use leasehold::pb::v1 as pb;
use leasehold::pb::v1::acquire_response::Event;
use leasehold::service::acquire::{Request, Told};
use leasehold::service::{Caller, Known};
use leasehold::store::Store;
use leasehold::store::clock::SystemSource;
use leasehold::store::sqlite::{Options, Sqlite};
use tonic::Code;

use super::turned::Turned;
use super::wire::{bearer, revoke, scope};
use crate::support::{Held, Running, StoreKind, acquire, id, on_each_engine, open, refused, told};

/// The lease is nobody's any more, whatever is shown for it.
async fn is_over(server: &Running, held: &Held, state: &str) {
    let secret = server.api.with(Some(&held.secret));
    let token = held.token;
    refused(secret.renew(state, "s", token).await, Code::Unauthenticated, "UNAUTHENTICATED");
    refused(secret.push(open(state, "s", token, 1), b"1").await, Code::Unauthenticated, "UNAUTHENTICATED");
    refused(secret.release(state, "s", token).await, Code::Unauthenticated, "UNAUTHENTICATED");
    let lock = server.api.lock(state).await;
    assert!(lock.holders.is_empty() && lock.waiting == 0, "{lock:?}");
}

#[tokio::test]
async fn revoked_token_loses_its_leases_and_so_do_those_it_made() {
    on_each_engine(async |server| {
        let ci = bearer(&server.api, "ci", &[scope("pipeline", "dev/**")]).await;
        let child = bearer(&ci, "child", &[scope("pipeline", "dev/**")]).await;
        let grandchild = bearer(&child, "grandchild", &[scope("pipeline", "dev/**")]).await;
        let other = bearer(&server.api, "other", &[scope("pipeline", "dev/**")]).await;
        let mut leases = Vec::new();
        for (api, state) in [(&ci, "dev/a"), (&child, "dev/b"), (&grandchild, "dev/c")] {
            leases.push((api.hold(state, "s").await, state));
        }
        let unattended = pb::AcquireRequest { unattended: true, ..acquire("dev/d", "s") };
        leases.push((ci.hold_by(unattended).await, "dev/d"));
        let mut kept = other.hold("dev/e", "s").await;
        revoke(&server.api, "ci").await.unwrap();
        for (held, state) in &mut leases {
            let lost = held.lost().await;
            assert_eq!((lost.reason(), lost.token), (pb::LossReason::Broken, held.token), "{state}");
            assert!(lost.message.contains("was revoked"), "{}", lost.message);
            is_over(server, held, state).await;
        }
        other.renew("dev/e", "s", kept.token).await.expect("others go on");
        other.release("dev/e", "s", kept.token).await.unwrap();
        kept.lost().await;
    })
    .await;
}

#[tokio::test]
async fn revoked_token_leaves_the_queues_and_is_never_served() {
    on_each_engine(async |server| {
        let ci = bearer(&server.api, "ci", &[scope("pipeline", "dev/**")]).await;
        let child = bearer(&ci, "child", &[scope("pipeline", "dev/**")]).await;
        let holder = server.api.hold("dev/app", "holder").await;
        let wait = |session: &str, unattended| pb::AcquireRequest { wait_ms: 60_000, unattended, ..acquire("dev/app", session) };
        let (_, mut first) = child.queue(wait("first", true)).await;
        let (_, mut second) = server.api.queue(wait("second", false)).await;
        let (_, mut third) = ci.queue(wait("third", false)).await;
        revoke(&server.api, "ci").await.unwrap();
        for stream in [&mut first, &mut third] {
            let lost = loop {
                match told(stream).await {
                    Some(Event::Queued(_)) => {}
                    Some(Event::Lost(lost)) => break lost,
                    other => panic!("a loss was expected: {other:?}"),
                }
            };
            assert_eq!(lost.reason(), pb::LossReason::TicketGone);
        }
        server.api.release("dev/app", "holder", holder.token).await.unwrap();
        let (_, granted) = crate::support::granted_in_turn(&mut second).await;
        server.api.release("dev/app", "second", granted.token).await.unwrap();
        let lock = server.api.lock("dev/app").await;
        assert!(lock.holders.is_empty() && lock.waiting == 0, "{lock:?}");
    })
    .await;
}

#[tokio::test]
async fn lock_of_terraform_that_waits_is_not_given_to_a_revoked_token() {
    let server = Running::start(StoreKind::Memory).await;
    let secret = super::wire::make_token(&server.api, "ci", &[scope("pipeline", "dev/**")]).await;
    let http = crate::support::Http::new(server.address, &secret);
    let info = br#"{"ID":"waits","Operation":"OperationTypeApply","Info":"","Who":"u@h","Version":"1.15.0","Path":""}"#;
    let holder = server.api.hold("dev/app", "holder").await;
    let waits = http.send("LOCK", "/terraform/v1/dev/app?wait=60s", info).await;
    while server.api.lock("dev/app").await.waiting == 0 {
        tokio::task::yield_now().await;
    }
    revoke(&server.api, "ci").await.unwrap();
    waits.answer().await.refused(403, "NOT_ALLOWED");
    server.api.release("dev/app", "holder", holder.token).await.unwrap();
    let lock = server.api.lock("dev/app").await;
    assert!(lock.holders.is_empty() && lock.waiting == 0, "{lock:?}");
}

#[tokio::test]
async fn revocation_that_a_crash_cut_short_is_finished_at_the_next_start() {
    let server = Running::start(StoreKind::Sqlite).await;
    let ci = bearer(&server.api, "ci", &[scope("pipeline", "dev/**")]).await;
    let unattended = pb::AcquireRequest { unattended: true, ..acquire("dev/app", "s") };
    let held = ci.hold_by(unattended).await;
    let kept = server.api.hold("dev/other", "s").await;
    let stopped = server.stop().await;
    // What the crash leaves: the token is revoked, and its lease is not broken yet.
    let store = Sqlite::open(Arc::new(SystemSource::default()), &Options::new(&stopped.data(), Limits::default(), [9; 16]));
    let store = store.unwrap_or_else(|error| panic!("{error}"));
    let act = Act::Store(Box::new(StoreAct::Access(AccessAct::RevokeToken("ci".parse().unwrap()))));
    let command = Command { principal: "token:admin".parse().unwrap(), trace: Arc::new(Trace::default()), request: None, act };
    store.submit(command).await.unwrap().unwrap_or_else(|refusal| panic!("{refusal}"));
    store.close().await.unwrap();
    drop(store);
    let server = stopped.restart().await;
    is_over(&server, &held, "dev/app").await;
    server.api.with(Some(&kept.secret)).renew("dev/other", "s", kept.token).await.expect("others go on");
}

pub(super) fn stranger(name: &str) -> Caller {
    let principal: leasehold::domain::names::Principal = name.parse().unwrap();
    Caller::known(
        Known { credential: Credential::Principal(principal.clone()), principal, once: None, until: None },
        Arc::default(),
    )
}

/// Of principals that others vouch for: until the doors know any, through the service.
#[tokio::test]
async fn principal_without_a_grant_left_loses_its_leases_and_those_of_its_tokens() {
    let server = Turned::start().await;
    let service = &server.service;
    let owner = Caller::owner("owner".parse().unwrap());
    let fresh = || RequestId(uuid::Uuid::now_v7().into_bytes());
    let granted = async |verbs: &str| {
        let scope = Scope::new(verbs.parse().unwrap(), "dev/**".parse().unwrap());
        service.grant(&owner, fresh(), "oidc:test:*".parse().unwrap(), scope).await.unwrap()
    };
    let (first, second) = (granted("pipeline").await, granted("reader").await);
    let ci = stranger("oidc:test:ci");
    let new = leasehold::service::access::NewToken {
        name: Some("made".parse().unwrap()),
        scopes: vec![Scope::new("pipeline".parse().unwrap(), "dev/**".parse().unwrap())],
        life: None,
    };
    let (record, secret) = service.create_token(&ci, fresh(), new).await.unwrap();
    assert!(record.expires.is_some(), "an hour at most");
    let made = server.api.with(Some(&secret));
    let mut theirs = made.hold("dev/theirs", "s").await;
    let acquire = Acquire {
        session: "s".parse().unwrap(),
        mode: Mode::Exclusive,
        ttl: None,
        wait: false,
        labels: Labels::default(),
        unattended: false,
        polls: false,
        plan: false,
        once: false,
    };
    let request = Request { state: "dev/own".parse().unwrap(), acquire, wait: std::time::Duration::ZERO, id: fresh() };
    let mut own = service.acquire(&ci, request).await.unwrap();
    assert!(matches!(own.recv().await, Some(Ok(Told::Granted(_)))));
    service.revoke_grant(&owner, fresh(), first.id).await.unwrap();
    assert_eq!(server.api.lock("dev/own").await.holders.len(), 1, "it has another grant still");
    service.revoke_grant(&owner, fresh(), second.id).await.unwrap();
    assert!(matches!(own.recv().await, Some(Ok(Told::Lost { .. }))));
    assert!(theirs.lost().await.message.contains("token:made was revoked"));
    for state in ["dev/own", "dev/theirs"] {
        assert!(server.api.lock(state).await.holders.is_empty(), "{state}");
    }
    let secret = server.api.with(Some(&theirs.secret));
    refused(secret.renew("dev/theirs", "s", theirs.token).await, Code::Unauthenticated, "UNAUTHENTICATED");
}

#[tokio::test]
async fn only_its_maker_or_an_admin_of_the_store_revokes_a_token() {
    let server = Running::start(StoreKind::Memory).await;
    let lead = bearer(&server.api, "lead", &[scope("admin", "**")]).await;
    let ci = bearer(&lead, "ci", &[scope("pipeline", "dev/**")]).await;
    bearer(&server.api, "other", &[scope("pipeline", "dev/**")]).await;
    for name in ["other", "admin", "lead", "nobody"] {
        refused(revoke(&ci, name).await, Code::PermissionDenied, "NOT_ALLOWED");
    }
    for name in ["other", "admin", "nobody"] {
        refused(revoke(&lead, name).await, Code::PermissionDenied, "NOT_ALLOWED");
    }
    let listed = async |api: &crate::support::Api| {
        let tokens = api.access().list_tokens(pb::ListTokensRequest {}).await.unwrap().into_inner().tokens;
        tokens.into_iter().map(|token| token.name).collect::<Vec<_>>()
    };
    assert_eq!(listed(&ci).await, ["ci"]);
    assert_eq!(listed(&lead).await, ["ci", "lead"]);
    assert_eq!(listed(&server.api).await, ["admin", "ci", "lead", "other"]);
    // A leaked token can be given up by whoever has it.
    let retry = pb::RevokeTokenRequest { name: "ci".to_owned(), request_id: id() };
    let first = ci.access().revoke_token(retry).await.unwrap().into_inner();
    assert_ne!(first.revoked_unix_ms, 0);
    revoke(&lead, "ci").await.expect("again is fine");
    revoke(&server.api, "lead").await.expect("an admin of the store");
}

#[tokio::test]
async fn watches_and_tails_end_with_the_right_to_them() {
    on_each_engine(async |server| {
        let scopes = [scope("reader", "dev/**"), scope("audit", "/")];
        let ci = bearer(&server.api, "ci", &scopes).await;
        let mut watch = ci.watch().watch(pb::WatchRequest::default()).await.unwrap().into_inner();
        watch.message().await.unwrap().expect("where it stands");
        let follow = pb::TailRequest { follow: true, from: Some(pb::tail_request::From::Last(1)) };
        let mut tail = ci.audit().tail(follow).await.unwrap().into_inner();
        tail.message().await.unwrap().expect("the last entry");
        revoke(&server.api, "ci").await.unwrap();
        server.api.hold("dev/planted", "s").await;
        let told = tokio::time::timeout(std::time::Duration::from_secs(20), async {
            let watch = loop {
                match watch.message().await {
                    Ok(Some(more)) => assert!(!format!("{more:?}").contains("planted"), "{more:?}"),
                    ended => break ended.map(drop),
                }
            };
            let tail = loop {
                match tail.message().await {
                    Ok(Some(more)) => assert!(!format!("{more:?}").contains("planted"), "{more:?}"),
                    ended => break ended.map(drop),
                }
            };
            (watch, tail)
        });
        let (watch, tail) = told.await.expect("told in time");
        refused(watch, Code::PermissionDenied, "NOT_ALLOWED");
        refused(tail, Code::PermissionDenied, "NOT_ALLOWED");
    })
    .await;
}
