//! Environments: made, changed, frozen, deleted; and strangers to each other.

use leasehold::pb::v1 as pb;
use tonic::Code;

use crate::support::{Api, acquire, granted_in_turn, id, on_each_engine, refused};

fn create(name: &str) -> pb::CreateEnvironmentRequest {
    pb::CreateEnvironmentRequest {
        name: name.to_owned(),
        settings: None,
        request_id: id(),
        recovery: Vec::new(),
        no_recovery: true,
    }
}

fn delete(name: &str, force: bool) -> pb::DeleteEnvironmentRequest {
    pb::DeleteEnvironmentRequest { name: name.to_owned(), force, request_id: id() }
}

async fn names(api: &Api) -> Vec<String> {
    let listed = api.environment().list(pb::ListEnvironmentsRequest {}).await.unwrap().into_inner();
    listed.environments.into_iter().map(|environment| environment.name).collect()
}

#[tokio::test]
async fn environment_is_made_once_per_request_id() {
    on_each_engine(async |server| {
        let api = &server.api;
        let request = create("prod");
        let made = api.environment().create(request.clone()).await.unwrap().into_inner();
        assert_eq!(api.environment().create(request).await.expect("a retry").into_inner(), made);
        refused(api.environment().create(create("prod")).await, Code::AlreadyExists, "ENVIRONMENT_EXISTS");
        let defaults = made.settings.unwrap();
        assert_eq!(
            (defaults.lock_delay_ms, defaults.default_ttl_ms, defaults.max_tickets),
            (Some(15_000), Some(60_000), Some(1024))
        );
        assert_eq!(names(api).await, ["dev", "prod"]);
    })
    .await;
}

#[tokio::test]
async fn settings_that_are_not_named_stay_and_bad_ones_change_nothing() {
    on_each_engine(async |server| {
        let api = &server.api;
        api.write_once("dev/app", b"1").await;
        let set = |settings| pb::SetEnvironmentRequest { name: "dev".to_owned(), settings: Some(settings), request_id: id() };
        let request = set(pb::Settings { max_tickets: Some(7), ..Default::default() });
        let changed = api.environment().set(request.clone()).await.unwrap().into_inner();
        let settings = changed.settings.unwrap();
        assert_eq!((settings.max_tickets, settings.lock_delay_ms, changed.states), (Some(7), Some(15_000), 1));
        assert_eq!(api.environment().set(request).await.expect("a retry").into_inner(), changed);
        let cursor = api.cursor().await;
        let none = pb::Settings::default();
        for bad in [
            pb::Settings { lock_delay_ms: Some(60_001), ..none },
            pb::Settings { lock_delay_ms: Some(u64::MAX), ..none },
            pb::Settings { default_ttl_ms: Some(1), ..none },
            pb::Settings { default_ttl_ms: Some(u64::MAX), ..none },
            pb::Settings { max_tickets: Some(0), ..none },
            pb::Settings { max_tickets: Some(u32::MAX), ..none },
            pb::Settings { max_drafts: Some(0), ..none },
            pb::Settings { max_draft_bytes: Some(0), ..none },
            pb::Settings { draft_life_ms: Some(0), ..none },
            pb::Settings { draft_life_ms: Some(u64::MAX), ..none },
        ] {
            let bad = pb::Settings { max_tickets: bad.max_tickets.or(Some(9)), ..bad };
            refused(api.environment().set(set(bad)).await, Code::InvalidArgument, "ARGUMENT_INVALID");
            let request = pb::CreateEnvironmentRequest { settings: Some(bad), ..create("prod") };
            refused(api.environment().create(request).await, Code::InvalidArgument, "ARGUMENT_INVALID");
        }
        assert_eq!(api.cursor().await, cursor);
        let got = api.environment().get(pb::GetEnvironmentRequest { name: "dev".to_owned() }).await.unwrap().into_inner();
        assert_eq!(got, changed);
    })
    .await;
}

#[tokio::test]
async fn frozen_environment_grants_nothing_until_it_is_unfrozen() {
    on_each_engine(async |server| {
        let api = &server.api;
        for target in ["dev", "dev/app"] {
            let held = api.hold("dev/app", "s").await;
            let freeze = pb::FreezeRequest { target: target.to_owned(), reason: "audit week".to_owned(), request_id: id() };
            api.environment().freeze(freeze.clone()).await.expect("frozen");
            api.environment().freeze(freeze).await.expect("a retry");
            assert_eq!(api.lock("dev/app").await.frozen, "audit week");
            api.renew("dev/app", "s", held.token).await.expect("live leases go on");
            api.write("dev/app", "s", held.token, b"1").await;
            let (queued, mut waiter) = api.queue(pb::AcquireRequest { wait_ms: 60_000, ..acquire("dev/app", "w") }).await;
            assert_eq!(queued.frozen, "audit week");
            api.release("dev/app", "s", held.token).await.unwrap();
            let refused = refused(api.lease().acquire(acquire("dev/app", "t")).await, Code::FailedPrecondition, "FROZEN");
            assert!(refused.message.contains("audit week"), "{}", refused.message);
            assert!(api.lock("dev/app").await.holders.is_empty(), "the waiter is not served either");
            let unfreeze = pb::UnfreezeRequest { target: target.to_owned(), request_id: id() };
            assert!(api.environment().unfreeze(unfreeze.clone()).await.unwrap().into_inner().was_frozen);
            assert!(api.environment().unfreeze(unfreeze.clone()).await.unwrap().into_inner().was_frozen, "a retry");
            let anew = pb::UnfreezeRequest { request_id: id(), ..unfreeze };
            assert!(!api.environment().unfreeze(anew).await.unwrap().into_inner().was_frozen);
            let (_, granted) = granted_in_turn(&mut waiter).await;
            api.release("dev/app", "w", granted.token).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn environment_in_use_is_deleted_only_without_leases_and_by_force() {
    on_each_engine(async |server| {
        let api = &server.api;
        api.write_once("dev/app", b"1").await;
        let held = api.hold("dev/app", "s").await;
        let cursor = api.cursor().await;
        let (code, reason) = (Code::FailedPrecondition, "ENVIRONMENT_IN_USE");
        refused(api.environment().delete(delete("dev", false)).await, code, reason);
        refused(api.environment().delete(delete("dev", true)).await, code, reason);
        assert_eq!(api.cursor().await, cursor);
        api.release("dev/app", "s", held.token).await.unwrap();
        refused(api.environment().delete(delete("dev", false)).await, code, reason);
        let request = delete("dev", true);
        assert_eq!(api.environment().delete(request.clone()).await.unwrap().into_inner().states, 1);
        assert_eq!(api.environment().delete(request).await.expect("a retry").into_inner().states, 1);
        refused(api.environment().delete(delete("dev", true)).await, Code::NotFound, "ENVIRONMENT_NOT_FOUND");
        assert!(names(api).await.is_empty());
        api.environment().create(create("dev")).await.unwrap();
        refused(api.pull("dev/app", 0).await, Code::NotFound, "STATE_NOT_FOUND");
        assert!(api.hold("dev/app", "s").await.token > held.token);
    })
    .await;
}

#[tokio::test]
async fn environments_do_not_see_each_other() {
    on_each_engine(async |server| {
        let api = &server.api;
        api.environment().create(create("dev-2")).await.unwrap();
        api.write_once("dev/app", b"1").await;
        let held = api.hold("dev/app", "s").await;
        refused(api.pull("dev-2/app", 0).await, Code::NotFound, "STATE_NOT_FOUND");
        let other = api.hold("dev-2/app", "s").await;
        refused(api.renew("dev-2/app", "s", held.token + 1).await, Code::FailedPrecondition, "TOKEN_UNKNOWN");
        api.release("dev-2/app", "s", other.token).await.unwrap();
        let list = |prefix: &str| pb::ListStatesRequest { prefix: prefix.to_owned(), ..Default::default() };
        assert!(api.state().list(list("dev-2")).await.unwrap().into_inner().states.is_empty());
        assert_eq!(api.state().list(list("dev")).await.unwrap().into_inner().states.len(), 1);
        api.environment().delete(delete("dev-2", true)).await.unwrap();
        assert_eq!(api.pull("dev/app", 0).await.unwrap(), b"1");
        api.renew("dev/app", "s", held.token).await.expect("untouched");
    })
    .await;
}
