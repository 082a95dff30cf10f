//! Connections that say too little, and too many of them.

use super::*;

/// Sends `bytes` on a plain connection, and expects the door to close it at its limit, neither before nor much later.
async fn closed_after(bytes: &'static [u8]) -> Stats {
    let door = Door::open(small()).await;
    let mut tcp = door.connect().await;
    send(&mut tcp, bytes).await;
    closed_at_the_limit(tcp).await;
    door.close().await
}

async fn closed_at_the_limit(stream: impl AsyncRead + Unpin) {
    #[expect(clippy::disallowed_methods, reason = "measures how long the door waited")]
    let start = std::time::Instant::now();
    until_closed(stream).await;
    assert!(start.elapsed() >= FIRST_FRAME / 2, "closed after {:?}, before its time", start.elapsed());
    assert!(start.elapsed() < FIRST_FRAME * 10, "closed after {:?}, far beyond the limit", start.elapsed());
}

#[tokio::test]
async fn idle_connection_is_closed() {
    assert_eq!(closed_after(b"").await.timed_out, 1);
}

#[tokio::test]
async fn half_preface_is_closed() {
    assert_eq!(closed_after(&PREFACE[..12]).await.timed_out, 1);
}

#[tokio::test]
async fn preface_without_frame_is_closed() {
    assert_eq!(closed_after(PREFACE).await.timed_out, 1);
}

#[tokio::test]
async fn preface_and_half_a_frame_is_closed() {
    assert_eq!(closed_after(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0").await.timed_out, 1);
}

#[tokio::test]
async fn http1_with_half_a_head_is_closed() {
    closed_after(b"GET / HTTP/1.1\r\nhost: te").await;
}

#[tokio::test]
async fn http1_keep_alive_is_closed_when_idle() {
    let door = Door::open(small()).await;
    let mut tcp = door.connect().await;
    send(&mut tcp, b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let answer = until_closed(&mut tcp).await;
    assert!(answer.ends_with(b"hello"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(door.close().await.timed_out, 0, "the first frame was in time");
}

#[tokio::test]
async fn http2_stays_open_when_idle() {
    let door = Door::open(small()).await;
    let mut channel = door.http2().await;
    tokio::time::sleep(FIRST_FRAME * 3).await;
    let response = within(channel.send_request(get_request("http://test/"))).await.unwrap();
    assert_eq!(text(response).await, "hello");
    drop(channel);
    assert_eq!(door.close().await.timed_out, 0);
}

#[tokio::test]
async fn tls_connection_is_closed_when_idle() {
    let door = Door::open_with(small(), Some(Certificate::new().acceptor())).await;
    closed_at_the_limit(door.connect().await).await;
    assert_eq!(door.close().await.timed_out, 1);
}

#[tokio::test]
async fn half_a_client_hello_is_closed() {
    let door = Door::open_with(small(), Some(Certificate::new().acceptor())).await;
    let mut tcp = door.connect().await;
    send(&mut tcp, &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3, 9, 9, 9]).await;
    closed_at_the_limit(tcp).await;
    assert_eq!(door.close().await.timed_out, 1);
}

#[tokio::test]
async fn handshake_without_a_request_is_closed() {
    let certificate = Certificate::new();
    let door = Door::open_with(small(), Some(certificate.acceptor())).await;
    for bytes in [&b""[..], &PREFACE[..12]] {
        let mut stream = certificate.connect(door.connect().await, "h2").await;
        send(&mut stream, bytes).await;
        until_closed(stream).await;
    }
    assert_eq!(door.close().await.timed_out, 2);
}

#[tokio::test]
async fn handshake_and_first_frame_share_one_limit() {
    let certificate = Certificate::new();
    let limits = Limits { first_frame: Duration::from_secs(2), ..Limits::default() };
    let door = Door::open_with(limits, Some(certificate.acceptor())).await;
    #[expect(clippy::disallowed_methods, reason = "measures how long the door waited")]
    let start = std::time::Instant::now();
    let tcp = door.connect().await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    until_closed(certificate.connect(tcp, "h2").await).await;
    assert!(start.elapsed() < Duration::from_millis(3_200), "closed after {:?}: the limit began anew", start.elapsed());
    door.close().await;
}

#[tokio::test]
async fn http1_and_http2_are_served_over_tls_and_calls_know_their_peer() {
    let certificate = Certificate::new();
    let door = Door::open_with(small(), Some(certificate.acceptor())).await;

    let stream = certificate.connect(door.connect().await, "http/1.1").await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let local = stream.get_ref().0.local_addr().unwrap();
    let (mut sender, connection) = http1::handshake::<_, Body>(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(text(sender.send_request(get_request("/peer")).await.unwrap()).await, format!("{local} true"));

    let stream = certificate.connect(door.connect().await, "h2").await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let local = stream.get_ref().0.local_addr().unwrap();
    let (mut sender, connection) = http2::handshake::<_, _, Body>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(text(sender.send_request(get_request("https://test/peer")).await.unwrap()).await, format!("{local} true"));
    door.close().await;
}

#[tokio::test]
async fn plain_calls_know_their_peer() {
    let door = Door::open(small()).await;
    let tcp = door.connect().await;
    let local = tcp.local_addr().unwrap();
    let (mut sender, connection) = http1::handshake::<_, Body>(TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(text(sender.send_request(get_request("/peer")).await.unwrap()).await, format!("{local} false"));
    door.close().await;
}

#[tokio::test]
async fn key_file_open_to_everybody_is_refused() {
    let certificate = Certificate::new();
    certificate.set_key_mode(0o604);
    let error = open_tls(certificate.certificate(), certificate.key()).err().expect("refused");
    assert!(matches!(error, tls::TlsError::OpenToAll { mode: 0o604, .. }), "{error:?}");
    assert!(error.to_string().contains("chmod 600"), "{error}");
}

#[tokio::test]
async fn key_and_certificate_that_are_none_are_refused_without_quoting_them() {
    let certificate = Certificate::new();
    let refused = |cert: PathBuf, key: PathBuf| open_tls(cert, key).err().expect("refused");
    let swapped = refused(certificate.key(), certificate.key());
    assert!(matches!(swapped, tls::TlsError::NoCertificate { .. }), "{swapped:?}");
    std::fs::write(certificate.key(), "s3cret-but-no-key").unwrap();
    let error = refused(certificate.certificate(), certificate.key());
    assert!(matches!(error, tls::TlsError::NoKey { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("s3cret"));
    let error = refused(certificate.certificate(), PathBuf::from("/nonexistent/key.pem"));
    assert!(matches!(error, tls::TlsError::Unreadable { .. }), "{error:?}");
    std::fs::write(certificate.key(), std::fs::read(Certificate::new().key()).unwrap()).unwrap();
    let error = refused(certificate.certificate(), certificate.key());
    assert!(matches!(error, tls::TlsError::Unusable(_)), "a key of another certificate: {error:?}");
}

/// Opens idle connections one by one; the third must be closed at once, and its place be free again after another has gone.
async fn third_connection_is_refused(limits: Limits) {
    let limits = Limits { first_frame: PATIENCE * 2, ..limits };
    let door = Door::open(limits).await;
    let mut first = door.http1().await;
    assert_eq!(text(first.send_request(get_request("/")).await.unwrap()).await, "hello");
    let _second = door.connect().await;
    assert_eq!(until_closed(door.connect().await).await, b"");
    assert_eq!(text(first.send_request(get_request("/")).await.unwrap()).await, "hello", "who is in stays in");

    drop(first);
    let hello = async {
        loop {
            // The door may not have noticed yet that the first has gone.
            let (mut sender, connection) = http1::handshake::<_, Body>(TokioIo::new(door.connect().await)).await.unwrap();
            tokio::spawn(connection);
            if let Ok(response) = sender.send_request(get_request("/")).await {
                return text(response).await;
            }
        }
    };
    assert_eq!(within(hello).await, "hello");
    assert!(door.close().await.refused >= 1);
}

#[tokio::test]
async fn connections_over_the_cap_are_refused() {
    third_connection_is_refused(Limits { connections: 2, ..Limits::default() }).await;
}

#[tokio::test]
async fn connections_over_the_cap_of_a_peer_are_refused() {
    third_connection_is_refused(Limits { connections_per_peer: 2, ..Limits::default() }).await;
}

#[tokio::test]
async fn connections_of_another_peer_are_served_when_one_has_reached_its_cap() {
    let door = Door::open(Limits { connections_per_peer: 1, first_frame: PATIENCE * 2, ..Limits::default() }).await;
    let _mine = door.connect().await;
    assert_eq!(until_closed(door.connect().await).await, b"");
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let (mut other, connection) =
        http1::handshake::<_, Body>(TokioIo::new(socket.connect(door.addr).await.unwrap())).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(text(other.send_request(get_request("/")).await.unwrap()).await, "hello");
    assert_eq!(door.close().await.refused, 1);
}

#[tokio::test]
async fn limits_out_of_range_are_refused_before_serving() {
    let door = Door::open(Limits { frame_bytes: 1, ..Limits::default() }).await;
    let error = door.served.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("frame_bytes"), "{error}");
}

#[tokio::test]
async fn http2_peer_that_answers_no_ping_is_closed() {
    let keep_alive = Duration::from_millis(200);
    let door = Door::open(Limits { keep_alive_every: keep_alive, keep_alive_answer: keep_alive, ..Limits::default() }).await;
    let mut channel = door.http2().await;
    let mut silent = door.connect().await;
    send(&mut silent, &[PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat()).await;
    until_closed(silent).await;
    assert_eq!(
        text(within(channel.send_request(get_request("http://test/"))).await.unwrap()).await,
        "hello",
        "who answers stays"
    );
    drop(channel);
    door.close().await;
}

/// Each byte comes in time for some limit, and the whole head never does.
#[tokio::test]
async fn http1_head_of_a_byte_at_a_time_is_closed() {
    let door = Door::open(small()).await;
    let (read, mut write) = door.connect().await.into_split();
    let drip = async {
        let _ = write.write_all(b"GET / HTTP/1.1\r\nx: ").await;
        loop {
            tokio::time::sleep(FIRST_FRAME / 10).await;
            let _ = write.write_all(b"x").await;
        }
    };
    tokio::select! {
        _ = until_closed(read) => {}
        () = drip => unreachable!("it drips for ever"),
    }
    door.close().await;
}
