//! Drafts: what a refused write leaves, and what becomes of it.

use leasehold::pb::v1 as pb;
use tonic::Code;

use crate::support::{Api, id, on_each_engine, open, refused, terraform};

/// Leaves a draft by a write that expects no version.
async fn leave(api: &Api, session: &str, token: u64, document: &[u8]) -> String {
    let stale = pb::PushOpen { expect: Some(pb::Expect::default()), ..open("dev/app", session, token, document.len()) };
    refused(api.push(stale, document).await, Code::Aborted, "VERSION_CONFLICT").metadata["draft"].clone()
}

fn promote(draft: &str, session: &str, token: u64) -> pb::PromoteDraftRequest {
    pb::PromoteDraftRequest {
        state: "dev/app".to_owned(),
        draft: draft.to_owned(),
        session: session.to_owned(),
        token,
        request_id: id(),
        ..Default::default()
    }
}

#[tokio::test]
async fn drafts_are_listed_one_per_lease_or_all_newest_first() {
    on_each_engine(async |server| {
        let api = &server.api;
        let a = api.hold("dev/app", "a").await;
        api.write("dev/app", "a", a.token, b"1").await;
        let first = leave(api, "a", a.token, b"\"a1\"").await;
        let second = leave(api, "a", a.token, b"\"a2\"").await;
        api.release("dev/app", "a", a.token).await.unwrap();
        let b = api.hold("dev/app", "b").await;
        let third = leave(api, "b", b.token, b"\"b1\"").await;
        let all: Vec<_> = api.drafts("dev/app").await.into_iter().map(|draft| draft.draft).collect();
        assert_eq!(all, [third.clone(), second.clone(), first]);
        let request = pb::ListDraftsRequest { state: "dev/app".to_owned(), all: false };
        let shown = api.state().list_drafts(request).await.unwrap().into_inner().drafts;
        let shown: Vec<_> = shown.into_iter().map(|draft| (draft.draft, draft.snapshots, draft.session)).collect();
        assert_eq!(shown, [(third.clone(), 1, "b".to_owned()), (second, 2, "a".to_owned())]);
        let show = pb::ShowRequest { state: "dev/app".to_owned(), draft: third, ..Default::default() };
        let draft = api.state().show(show).await.unwrap().into_inner().draft.expect("a draft");
        assert_eq!((&draft.reason[..], draft.token, draft.format()), ("VERSION_CONFLICT", b.token, pb::Format::Json));
        assert!(draft.expires_unix_ms > draft.written_unix_ms);
    })
    .await;
}

#[tokio::test]
async fn promotion_raises_the_serial_and_leaves_every_other_byte() {
    on_each_engine(async |server| {
        let api = &server.api;
        let old = api.hold("dev/app", "old").await;
        api.write("dev/app", "old", old.token, &terraform("l", 1, "one")).await;
        api.release("dev/app", "old", old.token).await.unwrap();
        let new = api.hold("dev/app", "new").await;
        api.write("dev/app", "new", new.token, &terraform("l", 2, "two")).await;
        let late = terraform("l", 2, "late");
        let push = api.push(open("dev/app", "old", old.token, late.len()), &late).await;
        let draft = refused(push, Code::FailedPrecondition, "LEASE_LOST").metadata["draft"].clone();

        let request = promote(&draft, "new", new.token);
        let written = api.state().promote_draft(request.clone()).await.expect("promoted").into_inner();
        assert_eq!((written.version, written.serial, written.origin()), (3, 3, pb::Origin::Promote));
        assert_eq!(written.origin_draft, draft);
        assert_eq!(api.pull("dev/app", 0).await.unwrap(), terraform("l", 3, "late"));
        assert!(api.drafts("dev/app").await.is_empty(), "it is a version now");

        let cursor = api.cursor().await;
        let again = api.state().promote_draft(request).await.expect("the same request").into_inner();
        assert_eq!(again, written);
        let anew = promote(&draft, "new", new.token);
        refused(api.state().promote_draft(anew).await, Code::NotFound, "DRAFT_NOT_FOUND");
        assert_eq!(api.cursor().await, cursor);
    })
    .await;
}

#[tokio::test]
async fn promotion_is_fenced_and_checked_like_a_write() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        api.write("dev/app", "s", held.token, &terraform("l", 1, "one")).await;
        let same = leave(api, "s", held.token, &terraform("l", 1, "same")).await;
        let other = leave(api, "s", held.token, &terraform("m", 9, "other")).await;
        let cursor = api.cursor().await;
        let foreign = promote(&same, "t", held.token);
        refused(api.state().promote_draft(foreign).await, Code::FailedPrecondition, "LEASE_FOREIGN");
        let expect = Some(pb::Expect { version: 7, etag: "0".repeat(32) });
        let stale = pb::PromoteDraftRequest { expect, ..promote(&same, "s", held.token) };
        refused(api.state().promote_draft(stale).await, Code::Aborted, "VERSION_CONFLICT");
        let lineage = promote(&other, "s", held.token);
        refused(api.state().promote_draft(lineage.clone()).await, Code::FailedPrecondition, "LINEAGE_DIFFERS");
        assert_eq!(api.cursor().await, cursor);
        assert_eq!(api.drafts("dev/app").await.len(), 2, "refused promotions leave the draft, and no other");
        let rewrite = pb::PromoteDraftRequest { rewrite: true, request_id: id(), ..lineage };
        assert_eq!(api.state().promote_draft(rewrite).await.unwrap().into_inner().lineage, "m");
    })
    .await;
}

#[tokio::test]
async fn discarded_draft_is_gone_once() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        api.write("dev/app", "s", held.token, b"1").await;
        let draft = leave(api, "s", held.token, b"2").await;
        let request = pb::DiscardDraftRequest { state: "dev/app".to_owned(), draft: draft.clone(), request_id: id() };
        api.state().discard_draft(request.clone()).await.expect("discarded");
        api.state().discard_draft(request.clone()).await.expect("a retry");
        let anew = pb::DiscardDraftRequest { request_id: id(), ..request };
        refused(api.state().discard_draft(anew).await, Code::NotFound, "DRAFT_NOT_FOUND");
        let pull = pb::PullRequest { state: "dev/app".to_owned(), draft, ..Default::default() };
        refused(api.pull_by(pull).await, Code::NotFound, "DRAFT_NOT_FOUND");
    })
    .await;
}

#[tokio::test]
async fn draft_of_another_state_is_not_found() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        api.write("dev/app", "s", held.token, b"1").await;
        let draft = leave(api, "s", held.token, b"2").await;
        api.write_once("dev/other", b"1").await;
        let other = api.hold("dev/other", "s").await;
        let pull = pb::PullRequest { state: "dev/other".to_owned(), draft: draft.clone(), ..Default::default() };
        refused(api.pull_by(pull).await, Code::NotFound, "DRAFT_NOT_FOUND");
        let promote = pb::PromoteDraftRequest { state: "dev/other".to_owned(), ..promote(&draft, "s", other.token) };
        refused(api.state().promote_draft(promote).await, Code::NotFound, "DRAFT_NOT_FOUND");
        let discard = pb::DiscardDraftRequest { state: "dev/other".to_owned(), draft, request_id: id() };
        refused(api.state().discard_draft(discard).await, Code::NotFound, "DRAFT_NOT_FOUND");
        assert_eq!(api.drafts("dev/app").await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn full_quota_drops_superseded_drafts_first_and_then_refuses() {
    on_each_engine(async |server| {
        let api = &server.api;
        let settings = pb::Settings { max_drafts: Some(2), ..Default::default() };
        let set = pb::SetEnvironmentRequest { name: "dev".to_owned(), settings: Some(settings), request_id: id() };
        api.environment().set(set).await.unwrap();
        let a = api.hold("dev/app", "a").await;
        api.write("dev/app", "a", a.token, b"1").await;
        leave(api, "a", a.token, b"\"a1\"").await;
        let kept = leave(api, "a", a.token, b"\"a2\"").await;
        api.release("dev/app", "a", a.token).await.unwrap();
        let b = api.hold("dev/app", "b").await;
        let other = leave(api, "b", b.token, b"\"b1\"").await;
        let left: Vec<_> = api.drafts("dev/app").await.into_iter().map(|draft| draft.draft).collect();
        assert_eq!(left, [other.clone(), kept.clone()], "the superseded one made room");
        api.release("dev/app", "b", b.token).await.unwrap();
        let c = api.hold("dev/app", "c").await;
        let cursor = api.cursor().await;
        let stale = pb::PushOpen { expect: Some(pb::Expect::default()), ..open("dev/app", "c", c.token, 4) };
        let full = refused(api.push(stale, b"\"c1\"").await, Code::ResourceExhausted, "DRAFT_QUOTA");
        assert!(full.message.contains("NOT kept") && full.metadata["next"].contains("KEEP YOUR COPY"), "{}", full.message);
        assert!(!full.metadata.contains_key("draft"));
        assert_eq!(api.cursor().await, cursor);
        let left: Vec<_> = api.drafts("dev/app").await.into_iter().map(|draft| draft.draft).collect();
        assert_eq!(left, [other, kept]);
    })
    .await;
}
