//! Fields that hold what they cannot hold, and bytes that are no message.

use http::uri::PathAndQuery;
use leasehold::pb::v1 as pb;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};

use crate::support::{Running, StoreKind, acquire, id, on_each_engine, open, refused};

/// Sends bytes as they are.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, bytes: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(out, &bytes);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, input: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        let rest = bytes::Buf::remaining(input);
        bytes::Buf::advance(input, rest);
        Ok(Some(()))
    }
}

async fn send(server: &Running, path: &'static str, messages: Vec<Vec<u8>>) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(server.api.channel.clone());
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let mut request = Request::new(tokio_stream::iter(messages));
    request.metadata_mut().insert("authorization", format!("Bearer {}", server.token()).parse().unwrap());
    let mut answers = grpc.streaming(request, PathAndQuery::from_static(path), Raw).await?.into_inner();
    answers.message().await.map(drop)
}

/// A length-delimited field.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("a short field");
    [&[number << 3 | 2, length], bytes].concat()
}

#[tokio::test]
async fn labels_that_are_not_utf8_are_refused_by_name() {
    on_each_engine(async |server| {
        let cursor = server.api.cursor().await;
        let labels = field(7, &field(1, b"\xff\xfe"));
        let message = [field(1, b"dev/app"), field(2, b"s"), vec![3 << 3, 1], field(6, id().as_bytes()), labels].concat();
        let answer = send(server, "/leasehold.v1.LeaseService/Acquire", vec![message]).await;
        let refused = refused(answer, Code::InvalidArgument, "MESSAGE_INVALID");
        assert!(refused.message.contains("who") && refused.message.contains("UTF-8"), "{}", refused.message);
        assert_eq!(server.api.cursor().await, cursor);
        server.api.hold("dev/app", "s").await;
    })
    .await;
}

#[tokio::test]
async fn bytes_that_are_no_message_are_refused() {
    let server = Running::start(StoreKind::Memory).await;
    for path in ["/leasehold.v1.LeaseService/Renew", "/leasehold.v1.StateService/Push", "/leasehold.v1.WatchService/Watch"] {
        for bytes in [vec![0xff; 20], vec![0x0a, 0x7f, 1], vec![0x08]] {
            refused(send(&server, path, vec![bytes]).await, Code::InvalidArgument, "MESSAGE_INVALID");
        }
    }
    // A message over the library's own bound of 4 MiB.
    let big = vec![vec![0x3a, 0x80, 0x80, 0x80, 0x04, 0].into_iter().chain(std::iter::repeat_n(b'x', 8 << 20)).collect()];
    refused(send(&server, "/leasehold.v1.LeaseService/Acquire", big).await, Code::InvalidArgument, "MESSAGE_INVALID");
    server.api.hold("dev/app", "s").await;
}

#[tokio::test]
async fn malformed_ids_are_refused() {
    on_each_engine(async |server| {
        let cursor = server.api.cursor().await;
        let (api, word) = (&server.api, "nonsense".to_owned());
        for request_id in ["", "1", "zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz", "0189a5a5-a5a5-7a5a-a5a5-a5a5a5a5a5a5a5"] {
            let request = pb::AcquireRequest { request_id: request_id.to_owned(), ..acquire("dev/app", "s") };
            refused(api.lease().acquire(request).await, Code::InvalidArgument, "REQUEST_ID_INVALID");
            let open = pb::PushOpen { request_id: request_id.to_owned(), ..open("dev/app", "s", 1, 2) };
            refused(api.push(open, b"{}").await, Code::InvalidArgument, "REQUEST_ID_INVALID");
        }
        let state = "dev/app".to_owned();
        let pull = |draft: &str, unless_etag: &str, version| pb::PullRequest {
            state: state.clone(),
            version,
            draft: draft.to_owned(),
            unless_etag: unless_etag.to_owned(),
            ..Default::default()
        };
        for request in [pull(&word, "", 0), pull("", &word, 0), pull(&"0".repeat(32), "", 1)] {
            refused(api.pull_by(request).await, Code::InvalidArgument, "ARGUMENT_INVALID");
        }
        let half = [pb::Expect { version: 1, etag: String::new() }, pb::Expect { version: 0, etag: "0".repeat(32) }];
        for expect in half.into_iter().chain([pb::Expect { version: 1, etag: word.clone() }]) {
            let open = pb::PushOpen { expect: Some(expect), ..open("dev/app", "s", 1, 2) };
            refused(api.push(open, b"{}").await, Code::InvalidArgument, "ARGUMENT_INVALID");
        }
        for cursor in ["x", "AAAA", "!", &"A".repeat(300)] {
            let request = pb::WatchRequest { prefix: String::new(), cursor: cursor.to_owned() };
            refused(api.watch().watch(request).await, Code::InvalidArgument, "CURSOR_INVALID");
        }
        let discard = pb::DiscardDraftRequest { state: state.clone(), draft: word, request_id: id() };
        refused(api.state().discard_draft(discard).await, Code::InvalidArgument, "ARGUMENT_INVALID");
        assert_eq!(api.cursor().await, cursor);
    })
    .await;
}

#[tokio::test]
async fn unknown_values_of_enums_are_refused() {
    on_each_engine(async |server| {
        for mode in [0, 3, -1, i32::MAX] {
            let request = pb::AcquireRequest { mode, ..acquire("dev/app", "s") };
            refused(server.api.lease().acquire(request).await, Code::InvalidArgument, "ARGUMENT_INVALID");
        }
        for format in [5, -1, i32::MAX] {
            let open = pb::PushOpen { format, ..open("dev/app", "s", 1, 2) };
            refused(server.api.push(open, b"{}").await, Code::InvalidArgument, "ARGUMENT_INVALID");
        }
    })
    .await;
}

#[tokio::test]
async fn numbers_beyond_what_stores_hold_are_refused_and_not_passed_on() {
    on_each_engine(async |server| {
        let api = &server.api;
        server.api.write_once("dev/app", b"{}").await;
        let state = || "dev/app".to_owned();
        for number in [1 << 63, u64::MAX] {
            refused(api.renew("dev/app", "s", number).await, Code::InvalidArgument, "ARGUMENT_INVALID");
            refused(api.push(open("dev/app", "s", number, 2), b"{}").await, Code::InvalidArgument, "ARGUMENT_INVALID");
            refused(api.pull("dev/app", number).await, Code::InvalidArgument, "ARGUMENT_INVALID");
            let history = pb::HistoryRequest { state: state(), before: number, ..Default::default() };
            refused(api.state().history(history).await, Code::InvalidArgument, "ARGUMENT_INVALID");
            let cancel = pb::CancelRequest { state: state(), ticket: number, session: String::new(), request_id: id() };
            refused(api.lease().cancel(cancel).await, Code::InvalidArgument, "ARGUMENT_INVALID");
            let purge = pb::PurgeRequest { state: state(), version: number, request_id: id() };
            refused(api.state().purge(purge).await, Code::InvalidArgument, "ARGUMENT_INVALID");
            let expect = Some(pb::Expect { version: number, etag: "0".repeat(32) });
            let push = pb::PushOpen { expect, ..open("dev/app", "s", 1, 2) };
            refused(api.push(push, b"{}").await, Code::InvalidArgument, "ARGUMENT_INVALID");
            let settings = pb::Settings { draft_life_ms: Some(number), ..Default::default() };
            let set = pb::SetEnvironmentRequest { name: "dev".to_owned(), settings: Some(settings), request_id: id() };
            refused(api.environment().set(set).await, Code::InvalidArgument, "ARGUMENT_INVALID");
        }
        // Large ones below are merely unknown.
        let most = u64::MAX >> 1;
        refused(api.renew("dev/app", "s", most).await, Code::FailedPrecondition, "TOKEN_UNKNOWN");
        refused(api.pull("dev/app", most).await, Code::NotFound, "VERSION_NOT_FOUND");
        let kept = api.push(open("dev/app", "s", most, 3), b"{ }").await;
        assert!(refused(kept, Code::FailedPrecondition, "TOKEN_UNKNOWN").metadata.contains_key("draft"));
    })
    .await;
}

#[tokio::test]
async fn missing_numbers_and_contradictions_are_refused() {
    on_each_engine(async |server| {
        let api = &server.api;
        let state = || "dev/app".to_owned();
        refused(api.renew("dev/app", "s", 0).await, Code::InvalidArgument, "ARGUMENT_INVALID");
        let cancel = pb::CancelRequest { state: state(), request_id: id(), ..Default::default() };
        refused(api.lease().cancel(cancel).await, Code::InvalidArgument, "ARGUMENT_INVALID");
        for (token, all) in [(0, false), (1, true)] {
            let request =
                pb::BreakRequest { state: state(), token, all, reason: "r".to_owned(), request_id: id(), ..Default::default() };
            refused(api.lease().r#break(request).await, Code::InvalidArgument, "ARGUMENT_INVALID");
        }
        let rollback =
            pb::RollbackRequest { state: state(), session: "s".to_owned(), token: 1, request_id: id(), ..Default::default() };
        refused(api.state().rollback(rollback).await, Code::InvalidArgument, "ARGUMENT_INVALID");
    })
    .await;
}
