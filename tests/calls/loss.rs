//! The end of a lease is told to its holder at once, on the stream that granted it.

use leasehold::pb::v1 as pb;
use tonic::Code;

use crate::support::{acquire, granted_in_turn, id, on_each_engine, refused};

fn breaking(token: u64) -> pb::BreakRequest {
    pb::BreakRequest {
        state: "dev/app".to_owned(),
        token,
        all: token == 0,
        reason: "runner is gone".to_owned(),
        request_id: id(),
        ..Default::default()
    }
}

#[tokio::test]
async fn release_is_told() {
    on_each_engine(async |server| {
        let mut held = server.api.hold("dev/app", "s").await;
        server.api.release("dev/app", "s", held.token).await.unwrap();
        let lost = held.lost().await;
        assert_eq!((lost.token, lost.reason()), (held.token, pb::LossReason::Released));
        let again = server.api.release("dev/app", "s", held.token).await.unwrap();
        assert_eq!((again.was_live, again.ended()), (false, pb::LossReason::Released));
    })
    .await;
}

#[tokio::test]
async fn expiry_is_told_and_leaves_the_lock_delay() {
    on_each_engine(async |server| {
        let api = &server.api;
        let mut held = api.hold_by(pb::AcquireRequest { ttl_ms: 300, ..acquire("dev/app", "s") }).await;
        let lost = held.lost().await;
        assert_eq!((lost.token, lost.reason()), (held.token, pb::LossReason::Expired));
        refused(api.renew("dev/app", "s", held.token).await, Code::FailedPrecondition, "LEASE_LOST");
        assert!(api.lock("dev/app").await.cooldown_ms > 0);
        refused(api.lease().acquire(acquire("dev/app", "t")).await, Code::FailedPrecondition, "LEASE_HELD");
        let reacquire = pb::ReacquireRequest {
            state: "dev/app".to_owned(),
            session: "s".to_owned(),
            old_token: held.token,
            request_id: id(),
        };
        let granted = api.lease().reacquire(reacquire.clone()).await.unwrap().into_inner().granted.unwrap();
        assert!(granted.token > held.token);
        let again = api.lease().reacquire(reacquire).await.unwrap().into_inner().granted.unwrap();
        assert_eq!(again.token, granted.token, "a retry gets the same");
        api.renew("dev/app", "s", granted.token).await.expect("it lives");
    })
    .await;
}

#[tokio::test]
async fn break_is_told_with_who_and_why_and_a_stale_one_changes_nothing() {
    on_each_engine(async |server| {
        let api = &server.api;
        let mut held = api.hold("dev/app", "s").await;
        let cursor = api.cursor().await;
        refused(api.lease().r#break(breaking(held.token + 1)).await, Code::FailedPrecondition, "BREAK_STALE");
        assert_eq!(api.cursor().await, cursor);
        let request = breaking(held.token);
        let broken = api.lease().r#break(request.clone()).await.unwrap().into_inner().broken;
        assert_eq!(broken.iter().map(|holder| holder.token).collect::<Vec<_>>(), [held.token]);
        let lost = held.lost().await;
        assert_eq!((lost.token, lost.reason()), (held.token, pb::LossReason::Broken));
        assert!(lost.message.contains("token:admin") && lost.message.contains("runner is gone"), "{}", lost.message);
        let again = api.lease().r#break(request).await.unwrap().into_inner().broken;
        assert_eq!(again.len(), 1, "a retry hears what the first one did");
        let renew = refused(api.renew("dev/app", "s", held.token).await, Code::FailedPrecondition, "LEASE_LOST");
        assert!(renew.message.contains("runner is gone"), "{}", renew.message);
        assert!(api.lock("dev/app").await.cooldown_ms > 0);
        refused(api.lease().r#break(breaking(0)).await, Code::FailedPrecondition, "BREAK_STALE");
    })
    .await;
}

#[tokio::test]
async fn break_that_takes_passes_the_queue() {
    on_each_engine(async |server| {
        let api = &server.api;
        let mut held = api.hold("dev/app", "s").await;
        let (queued, mut waiter) = api.queue(pb::AcquireRequest { wait_ms: 60_000, ..acquire("dev/app", "w") }).await;
        assert_eq!(queued.place, 1);
        let take = pb::BreakRequest { now: true, take: true, session: "boss".to_owned(), ..breaking(held.token) };
        let granted = api.lease().r#break(take).await.unwrap().into_inner().granted.expect("at once");
        held.lost().await;
        api.renew("dev/app", "boss", granted.token).await.expect("it holds");
        api.release("dev/app", "boss", granted.token).await.unwrap();
        let (_, next) = granted_in_turn(&mut waiter).await;
        assert!(next.token > granted.token);
    })
    .await;
}

#[tokio::test]
async fn abandoned_release_leaves_the_lock_delay() {
    on_each_engine(async |server| {
        let held = server.api.hold("dev/app", "s").await;
        let release =
            pb::ReleaseRequest { state: "dev/app".to_owned(), session: "s".to_owned(), token: held.token, abandoned: true };
        server.api.lease().release(release).await.unwrap();
        assert!(server.api.lock("dev/app").await.cooldown_ms > 0);
    })
    .await;
}

#[tokio::test]
async fn waiter_hears_that_its_environment_is_deleted() {
    on_each_engine(async |server| {
        let api = &server.api;
        let freeze = pb::FreezeRequest { target: "dev".to_owned(), reason: "closing".to_owned(), request_id: id() };
        api.environment().freeze(freeze).await.unwrap();
        let (queued, mut waiter) = api.queue(pb::AcquireRequest { wait_ms: 60_000, ..acquire("dev/app", "w") }).await;
        assert_eq!(queued.frozen, "closing");
        let delete = pb::DeleteEnvironmentRequest { name: "dev".to_owned(), force: true, request_id: id() };
        api.environment().delete(delete).await.unwrap();
        let lost = crate::support::lost(&mut waiter).await;
        assert_eq!((lost.token, lost.reason()), (0, pb::LossReason::Ended));
    })
    .await;
}
