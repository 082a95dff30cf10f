//! A lease that is granted while its principal is being revoked: the rights were looked at before, and the leases broken before this one was
//! there, or after and before its holder heard of it. Each order is forced; none may leave a lease.

use std::sync::Arc;
use std::time::Duration;

use leasehold::domain::command::{Acquire, Act, Command, LockAct};
use leasehold::domain::ids::RequestId;
use leasehold::domain::lock::Mode;
use leasehold::domain::names::Labels;
use leasehold::pb::v1 as pb;
use leasehold::service::Caller;
use leasehold::service::acquire::Request;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use super::revocation::stranger;
use super::turned::Turned;
use super::wire::{make_token, revoke, scope};
use crate::support::holding::{At, Hold, Holding};
use crate::support::{Api, Http, acquire, id, refused};

/// What asks for a lease.
fn asks(command: &Command) -> bool {
    matches!(&command.act, Act::Lock(_, LockAct::Acquire(_) | LockAct::Reacquire { .. } | LockAct::Break(_)))
}

/// A way to ask for `dev/app`.
#[derive(Clone, Copy, Debug)]
enum Way {
    Acquire,
    Queue,
    Reacquire,
    Take,
    Terraform,
}

struct Asked {
    server: Turned,
    holding: Arc<Holding>,
    secret: String,
    ci: Api,
}

impl Asked {
    async fn new() -> Self {
        let (server, holding) = Turned::held().await;
        let secret = make_token(&server.api, "ci", &[scope("pipeline break", "dev/**")]).await;
        let ci = server.api.with(Some(&secret));
        Self { server, holding, secret, ci }
    }

    /// The call, held in the store.
    async fn call(&self, way: Way, at: At) -> (JoinHandle<()>, Hold) {
        let ci = self.ci.clone();
        let not_allowed = |answer: Result<(), Status>| {
            refused(answer, Code::PermissionDenied, "NOT_ALLOWED");
        };
        let old = match way {
            Way::Reacquire => {
                let old = ci.hold_by(pb::AcquireRequest { ttl_ms: 10_000, ..acquire("dev/app", "s") }).await;
                // One step of a clock counts for two seconds at most.
                (0..15).for_each(|_| self.server.pass(Duration::from_secs(1)));
                old.token
            }
            Way::Queue | Way::Take => self.server.api.hold("dev/app", "other").await.token,
            Way::Acquire | Way::Terraform => 0,
        };
        let mut hold = self.holding.hold(at, asks);
        let http = Http::new(self.server.address, &self.secret);
        let call = tokio::spawn(async move {
            match way {
                Way::Acquire => not_allowed(ci.lease().acquire(acquire("dev/app", "s")).await.map(drop)),
                Way::Queue => {
                    let waits = pb::AcquireRequest { wait_ms: 60_000, unattended: true, ..acquire("dev/app", "s") };
                    not_allowed(ci.lease().acquire(waits).await.map(drop));
                }
                Way::Reacquire => {
                    let (state, session) = ("dev/app".to_owned(), "s".to_owned());
                    let again = pb::ReacquireRequest { state, session, old_token: old, request_id: id() };
                    not_allowed(ci.lease().reacquire(again).await.map(drop));
                }
                Way::Take => {
                    let take = pb::BreakRequest {
                        state: "dev/app".to_owned(),
                        token: old,
                        reason: "mine".to_owned(),
                        now: true,
                        take: true,
                        session: "s".to_owned(),
                        request_id: id(),
                        ..pb::BreakRequest::default()
                    };
                    not_allowed(ci.lease().r#break(take).await.map(drop));
                }
                Way::Terraform => {
                    let info =
                        br#"{"ID":"x","Operation":"OperationTypeApply","Info":"","Who":"u@h","Version":"1.15.0","Path":""}"#;
                    http.call("LOCK", "/terraform/v1/dev/app", info).await.refused(403, "NOT_ALLOWED");
                }
            }
        });
        hold.reached().await;
        (call, hold)
    }
}

#[tokio::test]
async fn lease_that_is_granted_during_a_revocation_is_nobodys() {
    for way in [Way::Acquire, Way::Queue, Way::Reacquire, Way::Take, Way::Terraform] {
        for at in [At::Begin, At::End] {
            println!("{way:?}, {at:?}");
            let asked = Asked::new().await;
            let (call, hold) = asked.call(way, at).await;
            revoke(&asked.server.api, "ci").await.unwrap();
            hold.go();
            call.await.unwrap();
            let lock = asked.server.api.lock("dev/app").await;
            let others = lock.holders.iter().all(|holder| holder.principal == "token:admin");
            assert!(others && lock.waiting == 0, "{way:?}, {at:?}: {lock:?}");
        }
    }
}

/// Nobody is there to be told, and it must end all the same: a lease without supervision would stand for ever.
#[tokio::test]
async fn lease_that_is_granted_during_a_revocation_ends_though_its_caller_went_away() {
    let (server, holding) = Turned::held().await;
    let owner = Caller::owner("owner".parse().unwrap());
    let fresh = || RequestId(uuid::Uuid::now_v7().into_bytes());
    let right = leasehold::domain::access::Scope::new("pipeline".parse().unwrap(), "dev/**".parse().unwrap());
    let granted = server.service.grant(&owner, fresh(), "oidc:test:ci".parse().unwrap(), right).await.unwrap();
    let mut hold = holding.hold(At::Begin, asks);
    let asking = {
        let (service, id) = (Arc::clone(&server.service), fresh());
        let acquire = Acquire {
            session: "s".parse().unwrap(),
            mode: Mode::Exclusive,
            ttl: None,
            wait: false,
            labels: Labels::default(),
            unattended: true,
            polls: false,
            plan: false,
            once: false,
        };
        let request = Request { state: "dev/app".parse().unwrap(), acquire, wait: Duration::ZERO, id };
        tokio::spawn(async move { service.acquire(&stranger("oidc:test:ci"), request).await.map(drop) })
    };
    hold.reached().await;
    server.service.revoke_grant(&owner, fresh(), granted.id).await.unwrap();
    let mut end = holding.hold(At::End, asks);
    hold.go();
    end.reached().await;
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    assert_eq!(server.api.lock("dev/app").await.holders.len(), 1, "it was granted");
    end.go();
    let ends = async {
        while !server.api.lock("dev/app").await.holders.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ends).await.expect("it ends");
}
