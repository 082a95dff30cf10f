//! Lease secrets: good for their lease, and for nothing that is not it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use leasehold::pb::v1 as pb;
use tonic::Code;

use crate::support::{Api, id, on_each_engine, open, refused};

/// None of the four calls believes this secret, and none of them does anything.
async fn believed_nowhere(api: &Api, secret: &str, state: &str, token: u64) {
    let cursor = api.cursor().await;
    let forger = api.with(Some(secret));
    let (code, reason) = (Code::Unauthenticated, "UNAUTHENTICATED");
    refused(forger.renew(state, "s", token).await, code, reason);
    refused(forger.release(state, "s", token).await, code, reason);
    refused(forger.push(open(state, "s", token, 2), b"{}").await, code, reason);
    let promote = pb::PromoteDraftRequest {
        state: state.to_owned(),
        draft: "0".repeat(32),
        session: "s".to_owned(),
        token,
        request_id: id(),
        ..Default::default()
    };
    refused(forger.state().promote_draft(promote).await, code, reason);
    assert_eq!(api.cursor().await, cursor);
}

#[tokio::test]
async fn forged_and_foreign_secrets_are_believed_nowhere() {
    on_each_engine(async |server| {
        let api = &server.api;
        let create = pb::CreateEnvironmentRequest {
            name: "prod".to_owned(),
            settings: None,
            request_id: id(),
            recovery: Vec::new(),
            no_recovery: true,
        };
        api.environment().create(create).await.unwrap();
        let held = api.hold("dev/app", "s").await;
        let sibling = api.hold("dev/other", "s").await;
        let elsewhere = api.hold("prod/app", "s").await;
        let secret = &held.secret;
        let bytes = URL_SAFE_NO_PAD.decode(secret.strip_prefix("lhl_").unwrap()).unwrap();
        let encoded = |bytes: &[u8]| format!("lhl_{}", URL_SAFE_NO_PAD.encode(bytes));
        let mut forged: Vec<String> = (1..secret.len()).step_by(7).map(|cut| secret[..cut].to_owned()).collect();
        for at in 0..bytes.len() {
            let mut bent = bytes.clone();
            bent[at] ^= 1;
            forged.push(encoded(&bent));
        }
        forged.extend([
            encoded(&[&bytes[..], b"x"].concat()),
            encoded(&[&[0; 32][..], b"token:admin"].concat()),
            encoded(&bytes[..32]),
            sibling.secret.clone(),
            elsewhere.secret.clone(),
        ]);
        for secret in &forged {
            believed_nowhere(api, secret, "dev/app", held.token).await;
        }
        // The right secret, for another token, session, state or environment.
        believed_nowhere(api, secret, "dev/app", held.token + 1).await;
        believed_nowhere(api, secret, "dev/other", held.token).await;
        believed_nowhere(api, secret, "prod/app", held.token).await;
        believed_nowhere(api, secret, "nowhere/app", held.token).await;
        let other_session = api.with(Some(secret)).renew("dev/app", "t", held.token).await;
        refused(other_session, Code::Unauthenticated, "UNAUTHENTICATED");
        api.with(Some(secret)).renew("dev/app", "s", held.token).await.expect("the true one");
    })
    .await;
}

#[tokio::test]
async fn secret_of_a_namesake_that_was_deleted_is_not_believed() {
    on_each_engine(async |server| {
        let api = &server.api;
        let create = || pb::CreateEnvironmentRequest {
            name: "prod".to_owned(),
            settings: None,
            request_id: id(),
            recovery: Vec::new(),
            no_recovery: true,
        };
        api.environment().create(create()).await.unwrap();
        let held = api.hold("prod/app", "s").await;
        api.release("prod/app", "s", held.token).await.unwrap();
        let delete = pb::DeleteEnvironmentRequest { name: "prod".to_owned(), force: true, request_id: id() };
        api.environment().delete(delete).await.unwrap();
        api.environment().create(create()).await.unwrap();
        believed_nowhere(api, &held.secret, "prod/app", held.token).await;
        let again = api.hold("prod/app", "s").await;
        assert!(again.token > held.token, "tokens grow across namesakes: {} then {}", held.token, again.token);
    })
    .await;
}

#[tokio::test]
async fn secret_renews_writes_promotes_and_releases() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        let bearer = api.with(Some(&held.secret));
        bearer.renew("dev/app", "s", held.token).await.expect("renewed");
        let written = bearer.write("dev/app", "s", held.token, b"{}").await;
        assert_eq!((written.version, written.principal.as_str()), (1, "token:admin"));
        let stale = pb::PushOpen { expect: Some(pb::Expect::default()), ..open("dev/app", "s", held.token, 7) };
        let kept = refused(bearer.push(stale, b"{\"a\":1}").await, Code::Aborted, "VERSION_CONFLICT");
        let promote = pb::PromoteDraftRequest {
            state: "dev/app".to_owned(),
            draft: kept.metadata["draft"].clone(),
            session: "s".to_owned(),
            token: held.token,
            request_id: id(),
            ..Default::default()
        };
        assert_eq!(bearer.state().promote_draft(promote).await.expect("promoted").into_inner().version, 2);
        assert!(bearer.release("dev/app", "s", held.token).await.expect("released").was_live);
    })
    .await;
}

#[tokio::test]
async fn secret_of_an_ended_lease_leaves_a_draft_and_nothing_else() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        api.release("dev/app", "s", held.token).await.unwrap();
        let bearer = api.with(Some(&held.secret));
        refused(bearer.renew("dev/app", "s", held.token).await, Code::FailedPrecondition, "LEASE_LOST");
        let kept = bearer.push(open("dev/app", "s", held.token, 2), b"{}").await;
        let draft = refused(kept, Code::FailedPrecondition, "LEASE_LOST").metadata["draft"].clone();
        assert_eq!(api.drafts("dev/app").await[0].draft, draft);
        let cursor = api.cursor().await;
        let promote = pb::PromoteDraftRequest {
            state: "dev/app".to_owned(),
            draft: draft.clone(),
            session: "s".to_owned(),
            token: held.token,
            request_id: id(),
            ..Default::default()
        };
        refused(bearer.state().promote_draft(promote).await, Code::FailedPrecondition, "LEASE_LOST");
        assert!(!bearer.release("dev/app", "s", held.token).await.expect("repeating it is fine").was_live);
        assert_eq!(api.cursor().await, cursor);
        refused(api.pull("dev/app", 0).await, Code::NotFound, "STATE_NOT_FOUND");
        assert_eq!(api.drafts("dev/app").await.len(), 1);
    })
    .await;
}
