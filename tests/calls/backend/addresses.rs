//! Addresses and methods that are none, and the one over HTTP/2.

use axum::body::{Body, to_bytes};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{apply, at, lock, read, write};
use crate::support::{Running, StoreKind, on_each_engine, terraform};

#[tokio::test]
async fn path_that_escapes_or_breaks_the_rule_is_refused_and_leads_nowhere() {
    on_each_engine(async |server| {
        let http = server.http();
        lock(&http, "dev/app", "mine").await.is(200);
        write(&http, "dev/app", "mine", &terraform("l", 1, "planted")).await.is(200);
        let cursor = server.api.cursor().await;
        let long = format!("dev/{}", "x".repeat(65));
        let nine = format!("dev/{}", ["a"; 9].join("/"));
        for path in [
            "dev",
            "dev/",
            "dev//app",
            "//dev/app",
            "/dev/app",
            "dev/app/",
            "dev/app//",
            "dev/./app",
            "dev/../dev/app",
            "../terraform/v1/dev/app",
            "dev/%2e%2e/app",
            "dev/..%2fapp",
            "dev%2fapp",
            "dev/%61pp",
            "dev/app%00",
            "DEV/app",
            "dev/a%20b",
            "dev/a:b",
            "dev/app;x",
            "dev/lock",
            "-dev/app",
            long.as_str(),
            nine.as_str(),
            "dev/\u{e9}",
            "..",
            ".",
            "%2e%2e/dev/app",
        ] {
            for (method, body) in
                [("GET", Vec::new()), ("POST", terraform("l", 2, "a")), ("LOCK", apply("x").into_bytes()), ("UNLOCK", Vec::new())]
            {
                let answer = http.call(method, &at(path), &body).await;
                // Never 404 or 204: a client that reads would take that for a state that has not begun.
                assert!(matches!(answer.status, 400 | 405), "{method} {path}: {answer:?}");
                assert!(answer.header("location").is_none() && !answer.text().contains("planted"), "{method} {path}: {answer:?}");
            }
        }
        assert_eq!(server.api.cursor().await, cursor);
        assert_eq!(read(&http, "dev/app").await.body, terraform("l", 1, "planted"));
    })
    .await;
}

#[tokio::test]
async fn address_beside_the_door_is_no_state_that_has_not_begun() {
    let server = Running::start(StoreKind::Memory).await;
    let http = server.http();
    for path in ["/terraform", "/terraform/", "/terraform/v1", "/terraform/v1/", "/terraform/v2/dev/app", "/terraform/dev/app"] {
        for method in ["GET", "POST", "LOCK", "UNLOCK"] {
            let answer = http.call(method, path, b"{}").await.refused(400, "ARGUMENT_INVALID");
            assert!(answer.text().contains("/terraform/v1/ENV/PATH"), "{}", answer.text());
        }
    }
}

#[tokio::test]
async fn method_that_no_client_sends_is_refused_with_those_that_there_are() {
    on_each_engine(async |server| {
        let http = server.http();
        lock(&http, "dev/app", "mine").await.is(200);
        write(&http, "dev/app", "mine", &terraform("l", 1, "a")).await.is(200);
        // DELETE, too: `destroy` writes an empty state, and nothing else of the clients deletes one.
        for method in ["DELETE", "HEAD", "PATCH", "OPTIONS", "TRACE", "lock", "MOVE"] {
            for query in ["", "?ID=mine"] {
                let answer = http.call(method, &format!("{}{query}", at("dev/app")), b"").await;
                assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, POST, PUT, LOCK, UNLOCK")), "{method}");
            }
        }
        for method in ["GET", "HEAD", "PATCH", "OPTIONS"] {
            let answer = http.call(method, &at("dev/app/lock"), b"").await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some("LOCK, POST, PUT, UNLOCK, DELETE")), "{method}");
        }
        assert_eq!(read(&http, "dev/app").await.body, terraform("l", 1, "a"));
    })
    .await;
}

/// One connection of HTTP/2 carries everything, with the methods of the protocol as they are.
#[tokio::test]
async fn whole_run_over_http_2() {
    on_each_engine(async |server| {
        let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let document = terraform("l", 1, "a");
        let body = apply("mine");
        for (method, target, sent, status, got) in [
            ("LOCK", at("dev/app"), body.as_bytes(), 200, None),
            ("GET", at("dev/app"), b"", 404, None),
            ("POST", format!("{}?ID=mine", at("dev/app")), &document, 200, None),
            ("GET", at("dev/app"), b"", 200, Some(&document)),
            ("LOCK", at("dev/app"), apply("other").as_bytes(), 423, None),
            ("UNLOCK", at("dev/app"), body.as_bytes(), 200, None),
        ] {
            let request = http::Request::builder()
                .method(method)
                .uri(format!("http://{}{target}", server.address))
                .header("authorization", format!("Bearer {}", server.token()))
                .header("content-length", sent.len())
                .body(Body::from(sent.to_vec()))
                .unwrap();
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!(answer.status(), status, "{method} {target}");
            let answer = to_bytes(Body::new(answer.into_body()), 1 << 20).await.unwrap();
            assert!(got.is_none_or(|got| answer == got[..]), "{answer:?}");
        }
        drop(sender);
        connection.await.unwrap().unwrap();
    })
    .await;
}
