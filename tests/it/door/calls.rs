//! Deadlines and limits of calls.

use super::*;

const CALL: Duration = Duration::from_millis(300);

fn quick() -> Limits {
    Limits { call: CALL, streaming: vec!["/test.Stream/".to_owned()], ..Limits::default() }
}

fn status_of(headers: &HeaderMap) -> &str {
    headers.get("grpc-status").expect("a gRPC status").to_str().unwrap()
}

#[tokio::test]
async fn body_that_never_comes_is_answered_with_408() {
    let door = Door::open(quick()).await;
    let mut tcp = door.connect().await;
    send(&mut tcp, b"POST /body HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n").await;
    let answer = String::from_utf8(until_closed(tcp).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    door.close().await;
}

#[tokio::test]
async fn body_that_never_comes_on_http2_is_answered_with_408() {
    let door = Door::open(quick()).await;
    let mut channel = door.http2().await;
    let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, io::Error>>());
    let request = Request::post("http://test/body").body(never).unwrap();
    assert_eq!(within(channel.send_request(request)).await.unwrap().status(), 408);
    let response = within(channel.send_request(get_request("http://test/"))).await.unwrap();
    assert_eq!(text(response).await, "hello", "the channel goes on");
    drop(channel);
    door.close().await;
}

#[tokio::test]
async fn body_that_keeps_arriving_may_take_longer_than_a_call() {
    let door = Door::open(Limits { slowest_upload: 1, ..quick() }).await;
    let chunks = futures_util::stream::unfold(0, |sent| async move {
        if sent == 5 {
            return None;
        }
        tokio::time::sleep(CALL / 2).await;
        Some((Ok::<_, io::Error>(Bytes::from_static(b"a bit more")), sent + 1))
    });
    let request = Request::post("http://test/body").body(Body::from_stream(chunks)).unwrap();
    let response = within(door.http2().await.send_request(request)).await.unwrap();
    assert_eq!((response.status().as_u16(), text(response).await.as_str()), (200, "50"));
    door.close().await;
}

#[tokio::test]
async fn handler_that_does_not_finish_is_answered_with_503() {
    let door = Door::open(quick()).await;
    let request = Request::post("/stuck").header("host", "test").body(Body::from("whole")).unwrap();
    let response = within(door.http1().await.send_request(request)).await.unwrap();
    assert_eq!(response.status(), 503, "the body did arrive");
    door.close().await;
}

#[tokio::test]
async fn unary_grpc_call_without_deadline_ends_at_the_limit() {
    let door = Door::open(quick()).await;
    for deadline in [None, Some("99999999H")] {
        let response = within(door.http2().await.send_request(grpc_request("/test.Stuck/Unary", deadline))).await.unwrap();
        assert_eq!((response.status().as_u16(), status_of(response.headers())), (200, "4"));
    }
    door.close().await;
}

/// A plain HTTP/2 client: a tonic client enforces the header itself, and would pass with any server.
#[tokio::test]
async fn grpc_timeout_is_enforced_by_the_server() {
    let limits = Limits { call: PATIENCE * 2, ..quick() };
    let door = Door::open(limits).await;
    for path in ["/test.Stuck/Unary", "/test.Stream/Stuck"] {
        let response = within(door.http2().await.send_request(grpc_request(path, Some("100m")))).await.unwrap();
        assert_eq!((response.status().as_u16(), status_of(response.headers())), (200, "4"), "{path}");
        assert_eq!(response.headers()["content-type"], "application/grpc");
        let status = tonic::Status::from_header_map(response.headers()).unwrap();
        let details = tonic_types::StatusExt::get_details_error_info(&status).expect("what to do next");
        assert_eq!((details.reason.as_str(), details.domain.as_str()), ("DEADLINE_EXCEEDED", "leasehold.dev"));
        assert!(hyper::body::Body::is_end_stream(response.body()), "trailers only");
    }
    door.close().await;
}

#[tokio::test]
async fn grpc_timeout_ends_a_stream_that_has_begun() {
    let door = Door::open(quick()).await;
    let response = within(door.http2().await.send_request(grpc_request("/test.Stream/Endless", Some("500m")))).await.unwrap();
    assert!(response.headers().get("grpc-status").is_none(), "it has begun");
    assert_eq!(status_of(&within(trailers(response)).await), "4");
    door.close().await;
}

#[tokio::test]
async fn stream_without_deadline_outlives_the_limit_of_calls() {
    let door = Door::open(quick()).await;
    let mut channel = door.http2().await;
    let stuck = channel.send_request(grpc_request("/test.Stream/Stuck", None));
    assert!(timeout(CALL * 4, stuck).await.is_err(), "exempt, and nothing answers it");
    drop(channel);
    door.close().await;
}

#[tokio::test]
async fn malformed_grpc_timeout_is_refused() {
    let door = Door::open(quick()).await;
    let response = within(door.http2().await.send_request(grpc_request("/test.Stuck/Unary", Some("soon")))).await.unwrap();
    assert_eq!(status_of(response.headers()), "3");
    door.close().await;
}

#[tokio::test]
async fn header_list_over_the_limit_is_refused() {
    let door = Door::open(quick()).await;
    let request = Request::get("http://test/").header("x-large", "x".repeat(20 << 10)).body(Body::empty()).unwrap();
    let refused = within(door.http2().await.send_request(request)).await;
    assert!(refused.as_ref().map_or(true, |response| response.status() == 431), "{refused:?}");
    door.close().await;
}

#[tokio::test]
async fn thousand_streams_on_one_channel_leave_room_for_a_call() {
    let door = Door::open(quick()).await;
    let mut channel = door.http2().await;
    let mut waiting = Vec::new();
    for _ in 0..1_000 {
        let response = within(channel.send_request(grpc_request("/test.Stream/Endless", None))).await.unwrap();
        waiting.push(response);
    }
    let response = within(channel.send_request(get_request("http://test/"))).await.unwrap();
    assert_eq!(text(response).await, "hello");
    drop(channel);
    door.close().await;
}

#[tokio::test]
async fn tonic_client_and_http_client_are_served_on_one_port() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

    let door = Door::open(Limits::default()).await;
    let channel = tonic::transport::Endpoint::new(format!("http://{}", door.addr)).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    let answer = health.check(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    assert_eq!(answer.status, 1, "serving");
    let unknown = health.check(HealthCheckRequest { service: "no such service".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
    assert_eq!(text(door.http1().await.send_request(get_request("/")).await.unwrap()).await, "hello");
    let response = within(door.http2().await.send_request(grpc_request("/no.Such/Method", None))).await.unwrap();
    assert_eq!(status_of(response.headers()), "12");
    drop(health);
    door.close().await;
}
