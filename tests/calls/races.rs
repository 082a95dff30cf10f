//! What happens under a reader's feet.

use leasehold::pb::v1 as pb;
use leasehold::pb::v1::pull_response::Part;
use tonic::Code;

use crate::support::{id, on_each_engine, open, refused};

/// JSON that does not compress to much less than it is.
fn noise(size: usize) -> Vec<u8> {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let letter = |_| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        b'0' + u8::try_from(seed >> 60).expect("four bits")
    };
    [b"\"".to_vec(), (0..size).map(letter).map(|b| if b == b'"' || b == b'\\' { b'x' } else { b }).collect(), b"\"".to_vec()]
        .concat()
}

/// Reads to the end, and says how many bytes came.
async fn rest(stream: &mut tonic::Streaming<pb::PullResponse>) -> usize {
    let mut size = 0;
    while let Some(message) = stream.message().await.expect("the stream goes on to its end") {
        match message.part {
            Some(Part::Chunk(chunk)) => size += chunk.data.len(),
            other => panic!("{other:?}"),
        }
    }
    size
}

#[tokio::test]
async fn version_that_is_purged_while_it_is_read_is_read_to_its_end() {
    on_each_engine(async |server| {
        let api = &server.api;
        api.write_once("dev/app", &noise(16 << 20)).await;
        api.write_once("dev/app", b"2").await;
        let request = pb::PullRequest { state: "dev/app".to_owned(), version: 1, ..Default::default() };
        let mut stream = api.state().pull(request).await.unwrap().into_inner();
        assert!(matches!(stream.message().await.unwrap().unwrap().part, Some(Part::Info(_))));
        let purge = pb::PurgeRequest { state: "dev/app".to_owned(), version: 1, request_id: id() };
        api.state().purge(purge).await.unwrap();
        // What was checked to its last byte before its first one left is not taken back.
        assert_eq!(rest(&mut stream).await, noise(16 << 20).len());
        refused(api.pull("dev/app", 1).await, Code::FailedPrecondition, "VERSION_PURGED");
    })
    .await;
}

#[tokio::test]
async fn draft_that_is_discarded_while_it_is_read_is_read_to_its_end() {
    on_each_engine(async |server| {
        let api = &server.api;
        let document = noise(16 << 20);
        let push = api.push(open("dev/app", "s", 1, document.len()), &document).await;
        let draft = refused(push, Code::FailedPrecondition, "TOKEN_UNKNOWN").metadata["draft"].clone();
        let request = pb::PullRequest { state: "dev/app".to_owned(), draft: draft.clone(), ..Default::default() };
        let mut stream = api.state().pull(request).await.unwrap().into_inner();
        assert!(matches!(stream.message().await.unwrap().unwrap().part, Some(Part::Info(_))));
        let discard = pb::DiscardDraftRequest { state: "dev/app".to_owned(), draft: draft.clone(), request_id: id() };
        api.state().discard_draft(discard).await.unwrap();
        assert_eq!(rest(&mut stream).await, document.len());
        let request = pb::PullRequest { state: "dev/app".to_owned(), draft, ..Default::default() };
        refused(api.pull_by(request).await, Code::NotFound, "DRAFT_NOT_FOUND");
    })
    .await;
}

#[tokio::test]
async fn large_draft_is_kept_whole_and_promoted() {
    on_each_engine(async |server| {
        let api = &server.api;
        let document = noise(3 << 20);
        let push = api.push(open("dev/app", "s", 1, document.len()), &document).await;
        let draft = refused(push, Code::FailedPrecondition, "TOKEN_UNKNOWN").metadata["draft"].clone();
        let pull = pb::PullRequest { state: "dev/app".to_owned(), draft: draft.clone(), ..Default::default() };
        assert!(api.pull_by(pull).await.unwrap().1 == document);
        let held = api.hold("dev/app", "s").await;
        let promote = pb::PromoteDraftRequest {
            state: "dev/app".to_owned(),
            draft,
            session: "s".to_owned(),
            token: held.token,
            request_id: id(),
            ..Default::default()
        };
        api.state().promote_draft(promote).await.expect("promoted");
        assert!(api.pull("dev/app", 0).await.unwrap() == document);
    })
    .await;
}

#[tokio::test]
async fn writes_without_expectation_at_the_same_time_are_all_versions() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        let mut pushes = tokio::task::JoinSet::new();
        for n in 0..16 {
            let (api, document) = (api.clone(), format!("\"{n}\""));
            pushes.spawn(async move {
                api.push(open("dev/app", "s", held.token, document.len()), document.as_bytes()).await.map(drop)
            });
        }
        for answer in pushes.join_all().await {
            answer.expect("who expects nothing is never in conflict");
        }
        let history = pb::HistoryRequest { state: "dev/app".to_owned(), all: true, ..Default::default() };
        let versions = api.state().history(history).await.unwrap().into_inner().entries;
        let numbers: Vec<u64> = versions.iter().map(|entry| entry.version.as_ref().unwrap().version).collect();
        assert_eq!(numbers, (1..=16).rev().collect::<Vec<_>>());
        assert!(api.drafts("dev/app").await.is_empty());
    })
    .await;
}
