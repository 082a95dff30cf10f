//! Answers that were lost, and callers that went away: what was done is told again to whoever did it, and holds.

use std::sync::Arc;

use leasehold::domain::access::AccessAct;
use leasehold::domain::command::{Act, Command, StoreAct};
use leasehold::domain::ids::{GrantId, RequestId};
use leasehold::pb::v1 as pb;
use leasehold::service::{Caller, Error};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::turned::Turned;
use super::wire::{bearer, grant, make_token, revoke_grant, scope};
use crate::support::holding::{At, Hold};
use crate::support::{id, on_each_engine, refused};

#[tokio::test]
async fn grant_that_was_taken_back_is_told_again_to_who_did_it_and_to_nobody_else() {
    on_each_engine(async |server| {
        // Neither has `admin` on the store: what the grant was on is all that counts, and that is gone with it.
        let lead = bearer(&server.api, "lead", &[scope("verb:admin", "dev/**")]).await;
        let other = bearer(&server.api, "other", &[scope("verb:admin", "dev/app")]).await;
        let granted = grant(&lead, "oidc:test:ci", scope("write", "dev/net/**")).await.unwrap();
        let kept = grant(&lead, "oidc:test:ci", scope("write", "dev/net/**")).await.unwrap();
        let request = pb::RevokeGrantRequest { id: granted.id.clone(), request_id: id() };
        assert_eq!(lead.access().revoke_grant(request.clone()).await.unwrap().into_inner(), granted);
        assert_eq!(lead.access().revoke_grant(request.clone()).await.unwrap().into_inner(), granted, "its answer was lost");
        // Another request of the same caller asks for what is not there. The same id for another grant is no retry.
        refused(revoke_grant(&lead, &granted.id).await, Code::PermissionDenied, "NOT_ALLOWED");
        let never = uuid::Uuid::from_bytes([7; 16]).to_string();
        let bent = pb::RevokeGrantRequest { id: never.clone(), ..request.clone() };
        refused(lead.access().revoke_grant(bent).await, Code::PermissionDenied, "NOT_ALLOWED");
        // To somebody else it is all the same: gone, there, or never there, and even with the very request.
        let mut answers = vec![other.access().revoke_grant(request).await.map(drop)];
        for grant in [&granted.id, &kept.id, &never] {
            answers.push(revoke_grant(&other, grant).await.map(drop));
        }
        let mut told: Vec<_> = answers.into_iter().map(words).collect();
        told.dedup();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].1.as_deref() == Some("NOT_ALLOWED"), "{told:?}");
    })
    .await;
}

/// Everything that a refusal says.
fn words(answer: Result<(), Status>) -> (Code, Option<String>, String) {
    let status = answer.expect_err("refused");
    (status.code(), status.get_details_error_info().map(|info| info.reason), status.message().to_owned())
}

#[tokio::test]
async fn grant_is_told_again_when_its_principal_has_gone() {
    on_each_engine(async |server| {
        make_token(&server.api, "ci", &[scope("reader", "dev/**")]).await;
        let request = pb::GrantRequest { to: "token:ci".to_owned(), scope: Some(scope("write", "dev/**")), request_id: id() };
        let granted = server.api.access().grant(request.clone()).await.unwrap().into_inner();
        super::wire::revoke(&server.api, "ci").await.unwrap();
        assert_eq!(server.api.access().grant(request.clone()).await.unwrap().into_inner(), granted);
        let fresh = pb::GrantRequest { request_id: id(), ..request };
        refused(server.api.access().grant(fresh).await, Code::NotFound, "API_TOKEN_NOT_FOUND");
    })
    .await;
}

fn of_access(command: &Command) -> Option<&AccessAct> {
    match &command.act {
        Act::Store(act) => match &**act {
            StoreAct::Access(act) => Some(act),
            StoreAct::Audit(_) => None,
        },
        _ => None,
    }
}

/// The store has committed it, and the caller's connection breaks before this process takes note.
#[tokio::test]
async fn revocation_whose_caller_went_away_holds_at_once() {
    let (server, holding) = Turned::held().await;
    let ci = bearer(&server.api, "ci", &[scope("pipeline", "dev/**")]).await;
    let granted = grant(&server.api, "token:ci", scope("keys", "dev")).await.unwrap();
    let held = ci.hold("dev/app", "s").await;
    let of_grant = |command: &Command| matches!(of_access(command), Some(AccessAct::RevokeGrant(_)));
    let of_token = |command: &Command| matches!(of_access(command), Some(AccessAct::RevokeToken(_)));
    let (owner, fresh) = (Caller::owner("owner".parse().unwrap()), || RequestId(uuid::Uuid::now_v7().into_bytes()));
    let id = GrantId(uuid::Uuid::parse_str(&granted.id).unwrap().into_bytes());
    goes_away(&server, holding.hold(At::End, of_grant), {
        let (service, owner, request) = (Arc::clone(&server.service), owner.clone(), fresh());
        async move { service.revoke_grant(&owner, request, id).await.map(drop) }
    })
    .await;
    let left = server.api.access().list_grants(pb::ListGrantsRequest {}).await.unwrap().into_inner().grants;
    assert_eq!(left, []);
    goes_away(&server, holding.hold(At::End, of_token), {
        let (service, request) = (Arc::clone(&server.service), fresh());
        async move { service.revoke_token(&owner, request, "ci".parse().unwrap()).await.map(drop) }
    })
    .await;
    refused(ci.renew("dev/app", "s", held.token).await, Code::Unauthenticated, "UNAUTHENTICATED");
    while !server.api.lock("dev/app").await.holders.is_empty() {
        tokio::task::yield_now().await;
    }
}

/// The call is given up when the store has done what it asks for, and only then is that known here.
async fn goes_away(server: &Turned, mut hold: Hold, call: impl Future<Output = Result<(), Error>> + Send + 'static) {
    let call = tokio::spawn(call);
    hold.reached().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    hold.go();
    // Changes come one after the other.
    make_token(&server.api, "", &[scope("reader", "dev/**")]).await;
}
