//! Writes that come too late, and request ids that were used before.

use leasehold::pb::v1 as pb;
use tonic::Code;

use crate::support::{acquire, id, on_each_engine, open, refused, terraform};

#[tokio::test]
async fn stale_version_or_etag_is_kept_as_a_draft_that_the_error_names() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        let first = api.write("dev/app", "s", held.token, b"1").await;
        let second = api.write("dev/app", "s", held.token, b"2").await;
        let stale = [
            pb::Expect::default(),
            pb::Expect { version: 1, etag: first.etag.clone() },
            pb::Expect { version: 2, etag: first.etag.clone() },
            pb::Expect { version: 1, etag: second.etag.clone() },
            pb::Expect { version: 3, etag: second.etag.clone() },
        ];
        for (n, expect) in stale.into_iter().enumerate() {
            let document = format!("\"draft {n}\"");
            let open = pb::PushOpen { expect: Some(expect), ..open("dev/app", "s", held.token, document.len()) };
            let refused = refused(api.push(open, document.as_bytes()).await, Code::Aborted, "VERSION_CONFLICT");
            assert_eq!(
                (&refused.metadata["current_version"], &refused.metadata["current_etag"]),
                (&"2".to_owned(), &second.etag)
            );
            let request =
                pb::PullRequest { state: "dev/app".to_owned(), draft: refused.metadata["draft"].clone(), ..Default::default() };
            let (info, kept, _) = api.pull_by(request).await.expect("the draft is there");
            assert_eq!(kept, document.as_bytes());
            assert_eq!(info.draft.unwrap().reason, "VERSION_CONFLICT");
        }
        assert_eq!(api.pull("dev/app", 0).await.unwrap(), b"2");
        let right = Some(pb::Expect { version: 2, etag: second.etag });
        let push = pb::PushOpen { expect: right, ..open("dev/app", "s", held.token, 1) };
        assert_eq!(api.push(push, b"3").await.unwrap().version.unwrap().version, 3);
    })
    .await;
}

#[tokio::test]
async fn dead_foreign_and_unknown_tokens_write_nothing_but_drafts() {
    on_each_engine(async |server| {
        let api = &server.api;
        let dead = api.hold("dev/app", "dead").await;
        api.release("dev/app", "dead", dead.token).await.unwrap();
        let held = api.hold("dev/app", "s").await;
        api.write("dev/app", "s", held.token, b"1").await;
        for (session, token, reason) in [
            ("dead", dead.token, "LEASE_LOST"),
            ("s", dead.token, "LEASE_FOREIGN"),
            ("t", held.token, "LEASE_FOREIGN"),
            ("s", held.token + 1, "TOKEN_UNKNOWN"),
        ] {
            refused(api.renew("dev/app", session, token).await, Code::FailedPrecondition, reason);
            let document = format!("\"{session} {token}\"");
            let push = api.push(open("dev/app", session, token, document.len()), document.as_bytes()).await;
            assert!(refused(push, Code::FailedPrecondition, reason).metadata.contains_key("draft"));
            let delete = pb::DeleteStateRequest {
                state: "dev/app".to_owned(),
                session: session.to_owned(),
                token,
                request_id: id(),
                expect: None,
            };
            refused(api.state().delete(delete).await, Code::FailedPrecondition, reason);
            let rollback = pb::RollbackRequest {
                state: "dev/app".to_owned(),
                session: session.to_owned(),
                token,
                request_id: id(),
                to_version: 1,
                expect: None,
            };
            refused(api.state().rollback(rollback).await, Code::FailedPrecondition, reason);
        }
        refused(api.release("dev/app", "t", held.token).await, Code::FailedPrecondition, "LEASE_FOREIGN");
        assert_eq!(api.drafts("dev/app").await.len(), 4);
        assert_eq!(api.pull("dev/app", 0).await.unwrap(), b"1");
        api.renew("dev/app", "s", held.token).await.expect("the holder goes on");
    })
    .await;
}

#[tokio::test]
async fn shared_holder_writes_only_the_first_version() {
    on_each_engine(async |server| {
        let api = &server.api;
        let shared = || pb::AcquireRequest { mode: pb::Mode::Shared.into(), ..acquire("dev/app", "s") };
        let held = api.hold_by(shared()).await;
        api.write("dev/app", "s", held.token, b"1").await;
        let push = api.push(open("dev/app", "s", held.token, 1), b"2").await;
        assert!(refused(push, Code::FailedPrecondition, "LEASE_SHARED").metadata.contains_key("draft"));
        let upgrade = api.lease().acquire(acquire("dev/app", "s")).await;
        refused(upgrade, Code::FailedPrecondition, "MODE_CONFLICT");
    })
    .await;
}

#[tokio::test]
async fn request_id_with_another_request_is_refused_whatever_the_call() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        let request_id = id();
        let push =
            |document: &[u8]| pb::PushOpen { request_id: request_id.clone(), ..open("dev/app", "s", held.token, document.len()) };
        api.push(push(b"1"), b"1").await.unwrap();
        let cursor = api.cursor().await;
        let (code, reason) = (Code::AlreadyExists, "REQUEST_ID_REUSED");
        refused(api.push(push(b"2"), b"2").await, code, reason);
        refused(api.push(pb::PushOpen { rewrite: true, ..push(b"1") }, b"1").await, code, reason);
        let other = pb::AcquireRequest { request_id: request_id.clone(), ..acquire("dev/b", "s") };
        refused(api.lease().acquire(other).await, code, reason);
        let create = pb::CreateEnvironmentRequest {
            name: "prod".to_owned(),
            settings: None,
            request_id: request_id.clone(),
            recovery: Vec::new(),
            no_recovery: true,
        };
        refused(api.environment().create(create).await, code, reason);
        let purge = pb::PurgeRequest { state: "dev/app".to_owned(), version: 0, request_id: request_id.clone() };
        refused(api.state().purge(purge).await, code, reason);
        let promote = pb::PromoteDraftRequest {
            state: "dev/app".to_owned(),
            draft: "0".repeat(32),
            session: "s".to_owned(),
            token: held.token,
            request_id,
            ..Default::default()
        };
        refused(api.state().promote_draft(promote).await, code, reason);
        assert_eq!(api.cursor().await, cursor);
    })
    .await;
}

#[tokio::test]
async fn push_is_replayed_by_its_request_id_even_after_the_release() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        let push = pb::PushOpen { request_id: id(), ..open("dev/app", "s", held.token, 1) };
        let first = api.push(push.clone(), b"1").await.unwrap();
        assert!(!first.replayed);
        api.write("dev/app", "s", held.token, b"2").await;
        api.release("dev/app", "s", held.token).await.unwrap();
        let cursor = api.cursor().await;
        for caller in [api.clone(), api.with(Some(&held.secret))] {
            let again = caller.push(push.clone(), b"1").await.expect("answered as then");
            assert!(again.replayed);
            assert_eq!(again.version, first.version);
        }
        assert_eq!(api.cursor().await, cursor);
        assert_eq!(api.pull("dev/app", 0).await.unwrap(), b"2");
    })
    .await;
}

#[tokio::test]
async fn refused_push_is_replayed_as_the_same_draft() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        api.release("dev/app", "s", held.token).await.unwrap();
        let push = pb::PushOpen { request_id: id(), ..open("dev/app", "s", held.token, 1) };
        let (code, reason) = (Code::FailedPrecondition, "LEASE_LOST");
        let first = refused(api.push(push.clone(), b"1").await, code, reason).metadata["draft"].clone();
        let cursor = api.cursor().await;
        let retried = refused(api.push(push.clone(), b"1").await, code, reason).metadata["draft"].clone();
        // The same bytes by the same lease under a new id are no second draft either.
        let anew = refused(api.push(pb::PushOpen { request_id: id(), ..push }, b"1").await, code, reason);
        assert_eq!((&retried, &anew.metadata["draft"]), (&first, &first));
        assert_eq!(api.cursor().await, cursor);
        assert_eq!(api.drafts("dev/app").await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn same_terraform_document_with_another_request_id_is_a_replay() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        let document = terraform("l", 1, "a");
        let written = api.write("dev/app", "s", held.token, &document).await;
        api.release("dev/app", "s", held.token).await.unwrap();
        let cursor = api.cursor().await;
        let again = api.push(open("dev/app", "s", held.token, document.len()), &document).await.expect("a replay");
        assert!(again.replayed);
        assert_eq!(again.version, Some(written));
        let spaced = [&document[..], b" "].concat();
        let other = api.push(open("dev/app", "s", held.token, spaced.len()), &spaced).await;
        refused(other, Code::FailedPrecondition, "LEASE_LOST");
        assert_ne!(api.cursor().await, cursor, "other bytes are a draft");
    })
    .await;
}
