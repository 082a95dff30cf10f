//! Pushes that do not keep the protocol: nothing is written of them, not even a draft.

use leasehold::pb::v1 as pb;
use leasehold::pb::v1::push_request::Part;
use tonic::Code;

use crate::support::{Held, Running, StoreKind, chunks, on_each_engine, open, refused};

fn chunk(bytes: &[u8]) -> pb::PushRequest {
    pb::PushRequest { part: Some(Part::Chunk(pb::Chunk { data: bytes.to_vec().into() })) }
}

fn head(open: pb::PushOpen) -> pb::PushRequest {
    pb::PushRequest { part: Some(Part::Open(open)) }
}

/// Nothing was written, the lease is still there, and the next push succeeds.
async fn untouched(server: &Running, held: &Held, cursor: &str) {
    assert_eq!(server.api.cursor().await, cursor, "no effect");
    assert!(server.api.drafts("dev/app").await.is_empty(), "no draft");
    refused(server.api.pull("dev/app", 0).await, Code::NotFound, "STATE_NOT_FOUND");
    server.api.renew("dev/app", "s", held.token).await.expect("the lease lives");
}

#[tokio::test]
async fn stream_that_breaks_the_protocol_is_refused_without_effect() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        let cursor = api.cursor().await;
        let open = |size| open("dev/app", "s", held.token, size);
        let nothing = pb::PushRequest { part: None };
        for parts in [
            vec![],
            vec![nothing.clone()],
            vec![chunk(b"{}")],
            vec![chunk(b"{}"), head(open(2))],
            vec![head(open(2)), head(open(2))],
            vec![head(open(4)), chunk(b"{}"), head(open(2)), chunk(b"{}")],
            vec![head(open(2)), nothing, chunk(b"{}")],
            vec![head(open(300 << 10)), chunk(&vec![b' '; (256 << 10) + 1])],
        ] {
            refused(api.push_parts(parts).await, Code::InvalidArgument, "ARGUMENT_INVALID");
        }
        for (announced, sent) in [(3, &b"{}"[..]), (1000, b""), (300 << 10, &[b' '; 256 << 10])] {
            refused(api.push(open(announced), sent).await, Code::InvalidArgument, "STREAM_TRUNCATED");
        }
        for (announced, sent) in [(1, &b"{}"[..]), (256 << 10, &[b' '; (256 << 10) + 1])] {
            refused(api.push(open(announced), sent).await, Code::InvalidArgument, "STREAM_TOO_LONG");
        }
        refused(api.push(open(0), b"").await, Code::InvalidArgument, "DOCUMENT_EMPTY");
        untouched(server, &held, &cursor).await;
        api.write("dev/app", "s", held.token, b"{}").await;
    })
    .await;
}

#[tokio::test]
async fn chunk_over_four_mebibytes_is_refused_as_a_message() {
    let server = Running::start(StoreKind::Memory).await;
    let held = server.api.hold("dev/app", "s").await;
    let cursor = server.api.cursor().await;
    let parts = vec![head(open("dev/app", "s", held.token, 8 << 20)), chunk(&vec![b' '; 5 << 20])];
    refused(server.api.push_parts(parts).await, Code::InvalidArgument, "MESSAGE_INVALID");
    untouched(&server, &held, &cursor).await;
}

#[tokio::test]
async fn document_over_the_limit_is_refused_by_its_announcement() {
    for engine in [StoreKind::Memory, StoreKind::Sqlite] {
        let server = Running::start_with(engine, "max_document = 100000").await;
        let held = server.api.hold("dev/app", "s").await;
        let cursor = server.api.cursor().await;
        for size in [100_001, 1 << 40, u64::MAX] {
            let open = pb::PushOpen { size, ..open("dev/app", "s", held.token, 0) };
            let refused = refused(server.api.push(open, b"{}").await, Code::ResourceExhausted, "DOCUMENT_TOO_LARGE");
            assert!(refused.message.contains("100000"), "{}", refused.message);
        }
        untouched(&server, &held, &cursor).await;
        let just = [b"\"".to_vec(), vec![b'x'; 99_998], b"\"".to_vec()].concat();
        server.api.write("dev/app", "s", held.token, &just).await;
        assert_eq!(server.api.pull("dev/app", 0).await.unwrap(), just);
    }
}

#[tokio::test]
async fn document_larger_than_all_that_may_fly_still_lands() {
    let server = Running::start_with(StoreKind::Memory, "max_in_flight = 1000").await;
    let held = server.api.hold("dev/app", "s").await;
    let document = [b"\"".to_vec(), vec![b'x'; 3 << 20], b"\"".to_vec()].concat();
    server.api.write("dev/app", "s", held.token, &document).await;
    assert!(server.api.pull("dev/app", 0).await.unwrap() == document);
}

#[tokio::test]
async fn push_that_is_abandoned_midway_leaves_nothing() {
    on_each_engine(async |server| {
        let held = server.api.hold("dev/app", "s").await;
        let cursor = server.api.cursor().await;
        let document = vec![b' '; 2 << 20];
        let parts = chunks(open("dev/app", "s", held.token, document.len()), &document);
        let (send, receive) = tokio::sync::mpsc::channel(1);
        let mut state = server.api.state();
        let push = tokio::spawn(async move { state.push(tokio_stream::wrappers::ReceiverStream::new(receive)).await.map(drop) });
        for part in parts.into_iter().take(4) {
            send.send(part).await.unwrap();
        }
        push.abort();
        assert!(push.await.is_err_and(|error| error.is_cancelled()));
        untouched(server, &held, &cursor).await;
        server.api.write("dev/app", "s", held.token, b"{}").await;
    })
    .await;
}

#[test]
fn push_that_stalls_has_a_deadline() {
    let path = "/leasehold.v1.StateService/Push";
    let endless = leasehold::serve::grpc::STREAMING.iter().any(|prefix| path.starts_with(prefix));
    assert!(!endless, "a stalled push would keep its share of the memory for documents in flight");
}
