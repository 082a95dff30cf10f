//! A reader at the Terraform door that asks for a document, shuts its window, and answers every ping.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use leasehold::serve::door::Limits;
use leasehold::service::Bounds;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::access::turned::Turned;
use crate::support::{Api, Http, id, terraform};

const SIZE: u64 = 2 << 20;

/// A server in whose memory there is room for one document of this size.
async fn crowded(write_stall: Duration) -> (Turned, Vec<u8>, String) {
    let bounds = Bounds { document: SIZE + (1 << 20), in_flight: SIZE + (1 << 20) };
    let limits = Limits { write_stall, keep_alive_every: Duration::from_millis(100), ..Limits::default() };
    let server = Turned::bounded(bounds, limits).await;
    let document = terraform("l", 1, &"x".repeat(usize::try_from(SIZE).unwrap()));
    server.api.write_once("dev/app", &document).await;
    let secret = token(&server.api).await;
    (server, document, secret)
}

async fn token(api: &Api) -> String {
    let scope = leasehold::pb::v1::Scope { verbs: vec!["pipeline".to_owned()], on: "dev/**".to_owned(), recipients: Vec::new() };
    let new = leasehold::pb::v1::CreateTokenRequest { name: "ci".to_owned(), scopes: vec![scope], life_ms: 0, request_id: id() };
    api.access().create_token(new).await.unwrap().into_inner().secret
}

/// A connection with windows of 64 KiB, and the answer to a read of which nothing is taken yet.
async fn asks(server: &Turned, secret: &str) -> (JoinHandle<hyper::Result<()>>, Response<Incoming>) {
    let tcp = TcpStream::connect(server.address).await.unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    let (mut sender, connection) = builder.handshake(TokioIo::new(tcp)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get(format!("http://{}/terraform/v1/dev/app", server.address))
        .header("authorization", format!("Basic {}", BASE64_STANDARD.encode(format!("ci:{secret}"))))
        .body(Empty::<Bytes>::new())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    (connection, answer)
}

#[tokio::test]
async fn reader_that_shuts_its_window_loses_its_share_of_the_memory() {
    let (server, _, secret) = crowded(Duration::from_millis(500)).await;
    let (connection, mut unread) = asks(&server, &secret).await;
    // There is no room for a second one until the first has gone.
    let http = Http::new(server.address, &secret);
    let other = tokio::time::timeout(Duration::from_secs(20), http.call("GET", "/terraform/v1/dev/app", b"")).await;
    other.expect("there is room again").is(200);
    assert!(tokio::time::timeout(Duration::from_secs(20), connection).await.is_ok(), "and its connection has ended");
    let broken = loop {
        match unread.frame().await {
            Some(Ok(_)) => {}
            Some(Err(_)) => break true,
            None => break false,
        }
    };
    assert!(broken, "what it has is not taken for the document");
}

#[tokio::test]
async fn reader_that_takes_its_document_gets_it_whole() {
    let (server, document, secret) = crowded(Duration::from_secs(60)).await;
    for _ in 0..3 {
        let (connection, answer) = asks(&server, &secret).await;
        assert_eq!(answer.headers()["content-length"], document.len().to_string());
        assert!(answer.into_body().collect().await.unwrap().to_bytes() == document, "as it was written");
        connection.abort();
    }
}
