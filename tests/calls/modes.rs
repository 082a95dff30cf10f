//! Shared and unattended leases.

use leasehold::pb::v1 as pb;
use tonic::Code;

use crate::support::{acquire, granted_in_turn, id, on_each_engine, refused};

fn shared(session: &str) -> pb::AcquireRequest {
    pb::AcquireRequest { mode: pb::Mode::Shared.into(), ..acquire("dev/app", session) }
}

fn waiting(request: pb::AcquireRequest) -> pb::AcquireRequest {
    pb::AcquireRequest { wait_ms: 60_000, ..request }
}

#[tokio::test]
async fn neighbouring_shared_waiters_are_granted_together_and_pass_nobody() {
    on_each_engine(async |server| {
        let api = &server.api;
        let first = api.hold_by(shared("r1")).await;
        let second = api.hold_by(shared("r2")).await;
        let (_, mut writer) = api.queue(waiting(acquire("dev/app", "w"))).await;
        refused(api.lease().acquire(shared("r3")).await, Code::FailedPrecondition, "LEASE_HELD");
        let (queued, mut third) = api.queue(waiting(shared("r3"))).await;
        let (_, mut fourth) = api.queue(waiting(shared("r4"))).await;
        assert_eq!((queued.place, queued.holders.len()), (2, 2));
        api.release("dev/app", "r1", first.token).await.unwrap();
        api.release("dev/app", "r2", second.token).await.unwrap();
        let (_, exclusive) = granted_in_turn(&mut writer).await;
        api.release("dev/app", "w", exclusive.token).await.unwrap();
        let (_, third) = granted_in_turn(&mut third).await;
        let (_, fourth) = granted_in_turn(&mut fourth).await;
        assert!(second.token < exclusive.token && exclusive.token < third.token && third.token < fourth.token);
        assert_eq!(api.lock("dev/app").await.holders.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn unattended_exclusive_lease_has_no_deadline() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold_by(pb::AcquireRequest { unattended: true, ttl_ms: 300, ..acquire("dev/app", "s") }).await;
        assert_eq!((held.granted.remaining_ms, held.granted.ttl_ms), (0, 300));
        let reader = pb::AcquireRequest { unattended: true, ttl_ms: 300, ..shared("s") };
        let reader = api.hold_by(pb::AcquireRequest { state: "dev/b".to_owned(), ..reader }).await;
        assert!(reader.granted.remaining_ms > 500_000, "ten minutes: {}", reader.granted.remaining_ms);
        // An attended lease with the same ttl dies meanwhile.
        let mut dies = api.hold_by(pb::AcquireRequest { ttl_ms: 300, ..acquire("dev/c", "s") }).await;
        dies.lost().await;
        let [holder] = &api.lock("dev/app").await.holders[..] else { panic!("still held") };
        assert!(holder.unattended && !holder.overdue && holder.remaining_ms == 0);
        assert_eq!(api.renew("dev/app", "s", held.token).await.unwrap().remaining_ms, 0);
        api.write("dev/app", "s", held.token, b"1").await;
    })
    .await;
}

#[tokio::test]
async fn refusal_that_names_a_holder_with_long_labels_reaches_the_caller() {
    on_each_engine(async |server| {
        let long = || "é".repeat(128);
        let labels = pb::Labels {
            who: long(),
            host: long(),
            pid: long(),
            run_url: long(),
            commit: long(),
            operation: long(),
            tool_version: long(),
        };
        let session = "s".repeat(128);
        let request = pb::AcquireRequest { labels: Some(labels), session: session.clone(), ..acquire("dev/app", "s") };
        let _held = server.api.hold_by(request).await;
        let held = refused(server.api.lease().acquire(acquire("dev/app", "t")).await, Code::FailedPrecondition, "LEASE_HELD");
        assert_eq!(held.metadata["holder_session"], session);
        assert!(held.message.contains(&long()));
        let cancel = pb::CancelRequest { state: "dev/app".to_owned(), ticket: 0, session: "t".to_owned(), request_id: id() };
        assert!(!server.api.lease().cancel(cancel).await.unwrap().into_inner().was_waiting);
    })
    .await;
}
