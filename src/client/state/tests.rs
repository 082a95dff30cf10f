//! Documents over the wire.

use tonic::{Code, Status};

use super::{Progress, PullAsk, PushAsk, Source, Which};
use crate::client::fake::{Fake, refused};
use crate::client::{Error, FencingToken, LeaseRef};
use crate::pb::v1::pull_response::Part;
use crate::pb::v1::{Chunk, Expect, PullInfo, PullResponse};

fn lease() -> LeaseRef {
    LeaseRef { state: "dev/app".into(), session: "s".into(), token: FencingToken(7), secret: None }
}

fn info(size: u64) -> Result<PullResponse, Status> {
    Ok(PullResponse { part: Some(Part::Info(PullInfo { size, ..PullInfo::default() })) })
}

fn chunk(data: &'static str) -> Result<PullResponse, Status> {
    Ok(PullResponse { part: Some(Part::Chunk(Chunk { data: data.into() })) })
}

#[tokio::test(start_paused = true)]
async fn pushed_document_goes_in_pieces_after_its_opening() {
    let fake = Fake::start();
    let document: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
    let ask = PushAsk { expect: Some(Expect { version: 3, etag: "e".into() }), rewrite: true, ..PushAsk::default() };
    let mut last = None;
    let source = Source::from_bytes(document.clone());
    fake.client().push(&lease(), &ask, &source, |progress| last = Some(progress)).await.unwrap();
    let (open, pieces) = fake.seen().pushes.remove(0);
    assert_eq!((open.state.as_str(), open.token, open.size, open.rewrite), ("dev/app", 7, 1_000_000, true));
    assert_eq!(open.expect, ask.expect);
    assert!(pieces.len() == 4 && pieces.iter().all(|piece| piece.len() <= 256 << 10));
    assert!(pieces.concat() == document);
    assert_eq!(last, Some(Progress { done: 1_000_000, total: 1_000_000 }));
}

#[tokio::test(start_paused = true)]
async fn push_is_tried_again_under_the_same_request_id() {
    let fake = Fake::start();
    fake.script_push(Status::unavailable("restarting"));
    fake.script_push(refused(Code::Unknown, "OUTCOME_UNKNOWN", &[]));
    fake.client().push(&lease(), &PushAsk::default(), &Source::from_bytes("{}"), |_| ()).await.unwrap();
    let ids: Vec<_> = fake.seen().pushes.into_iter().map(|(open, _)| open.request_id).collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| *id == ids[0] && id.len() == 36));
}

#[tokio::test(start_paused = true)]
async fn document_that_can_be_read_once_is_not_sent_twice() {
    let fake = Fake::start();
    fake.script_push(Status::unavailable("restarting"));
    let source = Source::from_reader(std::io::Cursor::new(b"{}".to_vec()), 2);
    let error = fake.client().push(&lease(), &PushAsk::default(), &source, |_| ()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert_eq!(fake.seen().pushes.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn refused_push_names_the_draft_and_ends_early() {
    let fake = Fake::start();
    fake.script_push(refused(Code::Aborted, "VERSION_CONFLICT", &[("draft", "d-1"), ("next", "pull again")]));
    let source = Source::from_bytes(vec![0; 20 << 20]);
    let error = fake.client().push(&lease(), &PushAsk::default(), &source, |_| ()).await.unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error:?}");
    assert_eq!((error.draft(), error.next()), (Some("d-1"), "pull again"));
}

#[tokio::test(start_paused = true)]
async fn pulled_document_is_the_same_to_the_last_byte() {
    let fake = Fake::start();
    fake.script_pull([info(7), chunk("{ 1"), chunk(" }\n ")]);
    let mut document = Vec::new();
    let ask = PullAsk { state: "dev/app".into(), which: Which::Version(3), ..PullAsk::default() };
    fake.client().pull(&ask, &mut document, |_| ()).await.unwrap();
    assert_eq!(document, b"{ 1 }\n ");
}

#[tokio::test(start_paused = true)]
async fn pull_is_tried_again_only_before_the_first_byte() {
    let fake = Fake::start();
    fake.script_pull([Err(Status::unavailable("restarting"))]);
    fake.script_pull([info(4), chunk("ab"), Err(Status::unavailable("restarting"))]);
    fake.script_pull([info(4), chunk("abcd")]);
    let mut document = Vec::new();
    let error = fake.client().pull(&PullAsk::default(), &mut document, |_| ()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert_eq!(fake.pulls(), 2);
}

#[tokio::test(start_paused = true)]
async fn document_that_ends_early_is_an_error() {
    let fake = Fake::start();
    fake.script_pull([info(4), chunk("ab")]);
    let error = fake.client().pull(&PullAsk::default(), &mut Vec::new(), |_| ()).await.unwrap_err();
    assert!(error.to_string().contains("2 bytes of a document of 4"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn history_goes_over_pages_up_to_its_limit() {
    let client = Fake::start().client();
    let versions = |entries: Vec<crate::pb::v1::HistoryEntry>| entries.into_iter().map(|e| e.first_version).collect::<Vec<_>>();
    let all = versions(client.history("dev/app", true, usize::MAX).await.unwrap());
    assert_eq!(all, (1..=2500).rev().collect::<Vec<_>>());
    assert_eq!(versions(client.history("dev/app", true, 3).await.unwrap()), [2500, 2499, 2498]);
}
