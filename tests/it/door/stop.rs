//! The graceful stop.

use super::*;

#[tokio::test]
async fn slow_call_finishes_and_new_connections_are_refused() {
    let door = Door::open(Limits::default()).await;
    for version in [1, 2] {
        let door = if version == 1 { &door } else { &Door::open(Limits::default()).await };
        let call = if version == 1 {
            let mut channel = door.http1().await;
            tokio::spawn(async move { channel.send_request(get_request("/slow")).await })
        } else {
            let mut channel = door.http2().await;
            tokio::spawn(async move { channel.send_request(get_request("http://test/slow")).await })
        };
        within(door.slow.begun.notified()).await;
        door.stop.stop();
        let refused = async { while TcpStream::connect(door.addr).await.is_ok() {} };
        within(refused).await;
        assert!(!door.served.is_finished(), "a call is in flight");
        door.slow.end.notify_one();
        let response = within(call).await.unwrap().unwrap();
        assert_eq!(text(response).await, "done");
    }
    let stats = door.close().await;
    assert_eq!((stats.accepted >= 1, stats.cut, stats.failed), (true, 0, 0));
}

#[tokio::test]
async fn idle_connections_close_at_once() {
    let door = Door::open(Limits { drain: PATIENCE * 2, ..Limits::default() }).await;
    let (_idle, mut one, mut two) = (door.connect().await, door.http1().await, door.http2().await);
    one.send_request(get_request("/")).await.unwrap();
    two.send_request(get_request("http://test/")).await.unwrap();
    let stats = door.close().await;
    assert_eq!((stats.accepted, stats.cut), (3, 0));
}

#[tokio::test]
async fn half_handshake_does_not_hold_up_the_stop() {
    let limits = Limits { drain: PATIENCE * 2, first_frame: PATIENCE * 2, ..Limits::default() };
    let certificate = Certificate::new();
    let door = Door::open_with(limits, Some(certificate.acceptor())).await;
    let _half = door.connect().await;
    let mut whole = certificate.connect(door.connect().await, "h2").await;
    send(&mut whole, &PREFACE[..9]).await;
    assert_eq!(door.close().await.cut, 0);
}

#[tokio::test]
async fn endless_stream_that_hears_the_stop_ends_with_unavailable() {
    let door = Door::open(Limits { drain: PATIENCE * 2, ..Limits::default() }).await;
    let mut channel = door.http2().await;
    let response = channel.send_request(grpc_request("/test.Stream/Endless", None)).await.unwrap();
    door.stop.stop();
    assert_eq!(within(trailers(response)).await["grpc-status"], "14");
    assert_eq!(door.close().await.cut, 0);
}

#[tokio::test]
async fn call_that_does_not_end_is_cut_at_the_drain_limit() {
    let door = Door::open(Limits { drain: Duration::from_millis(200), ..Limits::default() }).await;
    let mut channel = door.http1().await;
    let call = tokio::spawn(async move { channel.send_request(get_request("/slow")).await });
    within(door.slow.begun.notified()).await;
    assert_eq!(door.close().await.cut, 1);
    assert!(within(call).await.unwrap().is_err());
}
