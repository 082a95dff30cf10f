//! Who locks what: the operation in the lock info, and the policy of the environment.

use leasehold::pb::v1 as pb;

use super::{at, holders, info, lock, plan, read, write};
use crate::support::{Answer, Http, Running, on_each_engine, terraform};

async fn plans(server: &Running, plans: pb::Plans) {
    server.set(pb::Settings { plans: Some(plans.into()), ..Default::default() }).await;
}

async fn lock_plan(http: &Http, id: &str) -> Answer {
    http.call("LOCK", &at("dev/app"), plan(id).as_bytes()).await
}

async fn unlock_plan(http: &Http, id: &str) -> Answer {
    http.call("UNLOCK", &at("dev/app"), plan(id).as_bytes()).await
}

#[tokio::test]
async fn only_a_plan_is_shared() {
    on_each_engine(async |server| {
        let http = server.http();
        lock_plan(&http, "p1").await.is(200);
        lock_plan(&http, "p2").await.is(200);
        let modes: Vec<_> = server.api.lock("dev/app").await.holders.iter().map(pb::Holder::mode).collect();
        assert_eq!(modes, [pb::Mode::Shared; 2]);
        for (n, operation) in
            ["OperationTypeApply", "OperationTypeRefresh", "OperationTypeInvalid", "state-push", "taint", "", "operationtypeplan"]
                .into_iter()
                .enumerate()
        {
            let body = info(&format!("mine-{n}"), operation, "1.15.0");
            http.call("LOCK", &at("dev/app"), body.as_bytes()).await.is(423);
            let free = format!("dev/free-{n}");
            http.call("LOCK", &at(&free), body.as_bytes()).await.is(200);
            assert_eq!(server.api.lock(&free).await.holders[0].mode(), pb::Mode::Exclusive, "{operation:?}");
        }
        unlock_plan(&http, "p1").await.is(200);
        unlock_plan(&http, "p2").await.is(200);
        lock(&http, "dev/app", "apply").await.is(200);
        lock_plan(&http, "p3").await.is(423);
    })
    .await;
}

#[tokio::test]
async fn plan_waits_behind_an_apply_that_waits() {
    on_each_engine(async |server| {
        let http = server.http();
        lock_plan(&http, "p1").await.is(200);
        let waiting = http.send("LOCK", &format!("{}?wait=60s", at("dev/app")), super::apply("apply").as_bytes()).await;
        while server.api.lock("dev/app").await.waiting == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        lock_plan(&http, "p2").await.is(423);
        unlock_plan(&http, "p1").await.is(200);
        waiting.answer().await.is(200);
    })
    .await;
}

#[tokio::test]
async fn plan_may_begin_a_state_and_writes_nothing_after_that() {
    on_each_engine(async |server| {
        let http = server.http();
        lock_plan(&http, "p1").await.is(200);
        write(&http, "dev/app", "p1", &terraform("l", 1, "a")).await.is(200);
        write(&http, "dev/app", "p1", &terraform("l", 2, "b")).await.refused(409, "LEASE_SHARED");
        assert_eq!(read(&http, "dev/app").await.is(200).body, terraform("l", 1, "a"));
        assert_eq!(server.api.drafts("dev/app").await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn plan_takes_nothing_where_plans_are_snapshots() {
    on_each_engine(async |server| {
        plans(server, pb::Plans::Snapshot).await;
        let http = server.http();
        lock(&http, "dev/app", "apply").await.is(200);
        lock_plan(&http, "p1").await.is(200);
        assert_eq!(holders(server, "dev/app").await, ["apply"]);
        // It has no lease, and giving back what it never had is fine, as often as one likes.
        write(&http, "dev/app", "p1", &terraform("l", 1, "a")).await.is(423);
        unlock_plan(&http, "p1").await.is(200);
        unlock_plan(&http, "p1").await.is(200);
        super::unlock(&http, "dev/app", "never").await.is(409);
        assert_eq!(holders(server, "dev/app").await, ["apply"]);
    })
    .await;
}

#[tokio::test]
async fn plan_is_alone_where_plans_are_exclusive() {
    on_each_engine(async |server| {
        plans(server, pb::Plans::Exclusive).await;
        let http = server.http();
        lock_plan(&http, "p1").await.is(200);
        assert_eq!(server.api.lock("dev/app").await.holders[0].mode(), pb::Mode::Exclusive);
        lock_plan(&http, "p2").await.is(423);
        write(&http, "dev/app", "p1", &terraform("l", 1, "a")).await.is(200);
        write(&http, "dev/app", "p1", &terraform("l", 2, "b")).await.is(200);
        unlock_plan(&http, "p1").await.is(200);
    })
    .await;
}

#[tokio::test]
async fn plan_that_outlives_its_lease_is_told_so() {
    for engine in [crate::support::StoreKind::Memory, crate::support::StoreKind::Sqlite] {
        let server = Running::start_with(engine, "[limits]\nunattended_shared = \"200ms\"\n").await;
        let http = server.http();
        lock_plan(&http, "p1").await.is(200);
        while !holders(&server, "dev/app").await.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        unlock_plan(&http, "p1").await.refused(409, "LEASE_LOST");
        lock_plan(&http, "p1").await.is(409);
        lock(&http, "dev/app", "apply").await.is(200);
    }
}

#[tokio::test]
async fn id_that_plans_is_no_id_that_applies() {
    on_each_engine(async |server| {
        let http = server.http();
        lock_plan(&http, "one").await.is(200);
        lock(&http, "dev/app", "one").await.refused(409, "MODE_CONFLICT");
        assert_eq!(server.api.lock("dev/app").await.holders[0].mode(), pb::Mode::Shared);
    })
    .await;
}
