//! A server that stops tells everybody who listens, at once.

use std::time::Duration;

use leasehold::pb::v1 as pb;
use tonic::Code;

use crate::support::{Running, StoreKind, acquire, open, refused};

#[tokio::test]
async fn endless_streams_end_with_unavailable_when_the_server_stops() {
    for engine in [StoreKind::Memory, StoreKind::Sqlite] {
        let mut server = Running::start(engine).await;
        let api = server.api.clone();
        let mut held = api.hold("dev/app", "holder").await;
        let (_, mut waiter) = api.queue(pb::AcquireRequest { wait_ms: 600_000, ..acquire("dev/app", "w") }).await;
        let mut watch = api.watch().watch(pb::WatchRequest::default()).await.unwrap().into_inner();
        watch.message().await.unwrap().expect("a mark");
        server.begin_stop();
        let told = async {
            let (code, reason) = (Code::Unavailable, "STORE_UNAVAILABLE");
            refused(held.stream.message().await, code, reason);
            refused(waiter.message().await, code, reason);
            refused(watch.message().await, code, reason);
        };
        // Half of the time that calls in flight are given, so that being cut off then is no pass.
        tokio::time::timeout(Duration::from_secs(5), told).await.expect("at once, not when the drain is over");
        tokio::time::timeout(Duration::from_secs(5), server.stop()).await.expect("nothing holds the server up");
    }
}

#[tokio::test]
async fn leases_and_places_survive_a_restart() {
    let server = Running::start(StoreKind::Sqlite).await;
    let held = server.api.hold("dev/app", "holder").await;
    let request = pb::AcquireRequest { wait_ms: 60_000, ..acquire("dev/app", "w") };
    let (queued, stream) = server.api.queue(request.clone()).await;
    drop(stream);
    server.api.write("dev/app", "holder", held.token, b"1").await;
    let server = server.stop().await.restart().await;
    let api = &server.api;
    api.with(Some(&held.secret)).renew("dev/app", "holder", held.token).await.expect("the lease lives");
    assert_eq!(api.queue(request).await.0.ticket, queued.ticket);
    assert_eq!(api.pull("dev/app", 0).await.unwrap(), b"1");
    api.release("dev/app", "holder", held.token).await.unwrap();
}

/// Each write that is under way when the stop comes is either answered, and there afterwards, or was never made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_under_way_at_the_stop_are_finished_or_refused() {
    const WRITERS: usize = 32;
    let mut server = Running::start(StoreKind::Sqlite).await;
    let mut writing = tokio::task::JoinSet::new();
    let (began, mut first) = tokio::sync::mpsc::channel(WRITERS);
    for n in 0..WRITERS {
        // A connection of its own: one that is told to go takes no new calls.
        let (api, began) = (server.caller(Some(&server.token())), began.clone());
        let state = format!("dev/s{n}");
        let held = api.hold(&state, "s").await;
        writing.spawn(async move {
            let mut acknowledged = 0_u64;
            loop {
                let document = format!("{{\"n\": {}}}", acknowledged + 1);
                match api.push(open(&state, "s", held.token, document.len()), document.as_bytes()).await {
                    Ok(_) => acknowledged += 1,
                    Err(status) => return (state, acknowledged, status),
                }
                let _ = began.try_send(());
            }
        });
    }
    for _ in 0..WRITERS {
        first.recv().await.expect("a write went through");
    }
    server.begin_stop();
    let ended = tokio::time::timeout(Duration::from_secs(20), writing.join_all()).await.expect("nobody waits for ever");
    let server = server.stop().await.restart().await;
    for (state, acknowledged, status) in ended {
        // Of calls that come too late for their connection, the library of the client says different things.
        assert!(matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::Internal | Code::Unknown), "{status:?}");
        let there = server.api.pull(&state, 0).await.unwrap_or_default();
        let lost = format!("{{\"n\": {acknowledged}}}");
        assert!(acknowledged == 0 || there == lost.as_bytes(), "{state}: {}", String::from_utf8_lossy(&there));
    }
}
