//! Who may call: on every route and method of the door, before anything else of the request is looked at.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use leasehold::pb::v1 as pb;

use super::{apply, at, force, lock, read, unlock, write};
use crate::support::{Http, on_each_engine, terraform};

#[tokio::test]
async fn request_without_a_valid_token_is_refused_on_every_route() {
    on_each_engine(async |server| {
        let token = server.token();
        let held = server.api.hold("dev/app", "s").await;
        server.api.write("dev/app", "s", held.token, &terraform("l", 1, "planted")).await;
        let cursor = server.api.cursor().await;
        let basic = |credentials: &str| Some(format!("Basic {}", BASE64_STANDARD.encode(credentials)));
        let wrong = [
            None,
            Some(String::new()),
            Some("Bearer".to_owned()),
            Some(token.clone()),
            Some(format!("Basic {token}")),
            Some(format!("Bearer {token}x")),
            Some("Digest x".to_owned()),
            basic(""),
            basic(":"),
            basic("ci:"),
            basic(&format!("{token}:")),
            basic(&token),
            basic(&format!("ci:{token}x")),
            basic(&format!("ci:{}", &token[..token.len() - 1])),
            // The secret of a lease is good for four calls of gRPC, and for nothing here.
            Some(format!("Bearer {}", held.secret)),
            basic(&format!("s:{}", held.secret)),
        ];
        for header in wrong {
            let http = Http::with(server.address, header.clone());
            for method in ["GET", "POST", "PUT", "LOCK", "UNLOCK", "DELETE", "HEAD", "PATCH", "X"] {
                for target in ["dev/app", "dev/app/lock", "dev/none", "none/app", "nonsense//", "dev/app?ID=s", "dev/app?view=x"]
                {
                    let answer = http.call(method, &at(target), apply("s").as_bytes()).await;
                    assert_eq!(answer.status, 401, "{method} {target} {header:?}: {answer:?}");
                    assert!(answer.header("www-authenticate").is_some_and(|how| how.starts_with("Basic ")));
                    assert!(method == "HEAD" || answer.text().starts_with("UNAUTHENTICATED: "), "{}", answer.text());
                }
            }
            // Nothing is read of what a stranger announces.
            let sent = http.send_with("POST", &at("dev/app"), &[("content-length", "1000000000000")], b"").await;
            sent.answer().await.refused(401, "UNAUTHENTICATED");
        }
        assert_eq!(server.api.cursor().await, cursor, "nothing happened");
    })
    .await;
}

#[tokio::test]
async fn token_is_taken_as_bearer_and_as_the_password_of_any_user() {
    on_each_engine(async |server| {
        let token = server.token();
        let headers = [
            format!("Bearer {token}"),
            format!("bearer {token}"),
            format!("Basic {}", BASE64_STANDARD.encode(format!("ci:{token}"))),
            format!("basic {}", BASE64_STANDARD.encode(format!(":{token}"))),
        ];
        for (n, header) in headers.into_iter().enumerate() {
            let http = Http::with(server.address, Some(header));
            let state = format!("dev/{n}");
            lock(&http, &state, "a").await.is(200);
            write(&http, &state, "a", &terraform("l", 1, "a")).await.is(200);
            read(&http, &state).await.is(200);
            unlock(&http, &state, "a").await.is(200);
        }
    })
    .await;
}

#[tokio::test]
async fn locked_server_locks_and_unlocks_but_takes_and_gives_no_document() {
    on_each_engine(async |server| {
        let http = server.http();
        lock(&http, "dev/app", "a").await.is(200);
        write(&http, "dev/app", "a", &terraform("l", 1, "a")).await.is(200);
        server.api.server().lock(pb::LockRequest {}).await.unwrap();
        let refused = [read(&http, "dev/app").await, write(&http, "dev/app", "a", &terraform("l", 2, "a")).await];
        for answer in refused.map(|answer| answer.refused(503, "LOCKED")) {
            assert!(answer.header("retry-after").is_some_and(|wait| wait.parse::<u32>().is_ok()));
        }
        lock(&http, "dev/app", "b").await.is(423);
        unlock(&http, "dev/app", "a").await.is(200);
        lock(&http, "dev/app", "b").await.is(200);
        force(&http, "dev/app").await.is(200);
        server.api.server().unlock(pb::UnlockRequest { passphrase: None }).await.unwrap();
        assert_eq!(read(&http, "dev/app").await.is(200).body, terraform("l", 1, "a"));
    })
    .await;
}
