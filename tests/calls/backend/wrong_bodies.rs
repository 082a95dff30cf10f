//! Bodies that are not what they should be: the exact status, and nothing stored.

use super::{apply, at, holders, lock, read, write};
use crate::support::{Running, StoreKind, on_each_engine, terraform};

async fn nothing_stored(server: &Running) {
    read(&server.http(), "dev/app").await.is(404);
    assert!(server.api.drafts("dev/app").await.is_empty());
}

#[tokio::test]
async fn document_that_is_no_state_is_refused_and_not_kept() {
    on_each_engine(async |server| {
        let http = server.http();
        lock(&http, "dev/app", "mine").await.is(200);
        let good = String::from_utf8(terraform("l", 1, "planted")).unwrap();
        let cursor = server.api.cursor().await;
        for (document, code) in [
            (String::new(), "DOCUMENT_EMPTY"),
            (" \n".to_owned(), "DOCUMENT_INVALID"),
            ("planted".to_owned(), "DOCUMENT_INVALID"),
            (good[..good.len() / 2].to_owned(), "DOCUMENT_INVALID"),
            ("{}".to_owned(), "DOCUMENT_INVALID"),
            ("[]".to_owned(), "DOCUMENT_INVALID"),
            ("null".to_owned(), "DOCUMENT_INVALID"),
            ("\"planted\"".to_owned(), "DOCUMENT_INVALID"),
            (apply("mine"), "DOCUMENT_INVALID"),
            (good.replace("\"version\": 4", "\"version\": 3"), "DOCUMENT_INVALID"),
            (good.replace("\"version\": 4", "\"version\": 5"), "DOCUMENT_INVALID"),
            (good.replace("\"version\": 4", "\"version\": \"4\""), "DOCUMENT_INVALID"),
            (good.replace("\"version\": 4,", ""), "DOCUMENT_INVALID"),
            (good.replace("\"serial\": 1,", ""), "DOCUMENT_INVALID"),
            (good.replace("\"serial\": 1,", "\"serial\": -1,"), "DOCUMENT_INVALID"),
            (good.replace("\"lineage\": \"l\",", ""), "DOCUMENT_INVALID"),
            (good.clone() + &good, "DOCUMENT_INVALID"),
        ] {
            let answer = write(&http, "dev/app", "mine", document.as_bytes()).await.refused(400, code);
            assert!(!answer.text().contains("planted"), "{}", answer.text());
        }
        assert_eq!(server.api.cursor().await, cursor);
        nothing_stored(server).await;
        assert_eq!(holders(server, "dev/app").await, ["mine"]);
    })
    .await;
}

#[tokio::test]
async fn document_damaged_on_its_way_is_refused() {
    on_each_engine(async |server| {
        let http = server.http();
        lock(&http, "dev/app", "mine").await.is(200);
        let (document, target) = (terraform("l", 1, "a"), format!("{}?ID=mine", at("dev/app")));
        let size = document.len().to_string();
        let with = async |digest: &str| {
            let headers = [("content-length", size.as_str()), ("content-md5", digest)];
            http.call_with("POST", &target, &headers, &document).await
        };
        // Of another document; then what is no digest.
        for digest in ["1B2M2Y8AsgTpgAmY7PhCfg==", "1B2M2Y8AsgTpgAmY7PhCfg", "d41d8cd98f00b204e9800998ecf8427e", "", "x", "AAAA"]
        {
            with(digest).await.refused(400, "ARGUMENT_INVALID");
        }
        // Two that differ are one too many, whichever is right.
        let right = leasehold::backend::ContentMd5::of(&document).to_string();
        for digests in [[right.as_str(), "1B2M2Y8AsgTpgAmY7PhCfg=="], ["1B2M2Y8AsgTpgAmY7PhCfg==", right.as_str()]] {
            let headers = [("content-length", size.as_str()), ("content-md5", digests[0]), ("content-md5", digests[1])];
            http.call_with("POST", &target, &headers, &document).await.refused(400, "ARGUMENT_INVALID");
        }
        nothing_stored(server).await;
        // None is no error: PUT by a script.
        http.call_with("PUT", &target, &[("content-length", size.as_str())], &document).await.is(200);
    })
    .await;
}

#[tokio::test]
async fn half_a_body_is_refused() {
    on_each_engine(async |server| {
        let http = server.http();
        lock(&http, "dev/app", "mine").await.is(200);
        let (document, target) = (terraform("l", 1, "a"), format!("{}?ID=mine", at("dev/app")));
        let size = document.len().to_string();
        let half = http.send_with("POST", &target, &[("content-length", size.as_str())], &document[..document.len() / 2]).await;
        half.end().await.answer_if_any().await.into_iter().for_each(|answer| drop(answer.refused(400, "STREAM_TRUNCATED")));
        let body = apply("next");
        let size = body.len().to_string();
        let half = http.send_with("LOCK", &at("dev/b"), &[("content-length", size.as_str())], &body.as_bytes()[..20]).await;
        half.end().await.answer_if_any().await.into_iter().for_each(|answer| drop(answer.refused(400, "STREAM_TRUNCATED")));
        nothing_stored(server).await;
        assert!(holders(server, "dev/b").await.is_empty());
        write(&http, "dev/app", "mine", &document).await.is(200);
    })
    .await;
}

#[tokio::test]
async fn document_without_a_size_too_large_or_compressed_is_refused_before_it_is_read() {
    for engine in [StoreKind::Memory, StoreKind::Sqlite] {
        let server = Running::start_with(engine, "max_document = 5000\n").await;
        let http = server.http();
        lock(&http, "dev/app", "mine").await.is(200);
        let target = format!("{}?ID=mine", at("dev/app"));
        let chunked = [("transfer-encoding", "chunked")];
        http.call_with("POST", &target, &chunked, b"2\r\n{}\r\n0\r\n\r\n").await.refused(411, "ARGUMENT_INVALID");
        // The size alone is enough for an answer.
        let announced = http.send_with("POST", &target, &[("content-length", "5001")], b"").await;
        announced.answer().await.refused(413, "DOCUMENT_TOO_LARGE");
        let huge = http.send_with("POST", &target, &[("content-length", "9223372036854775807")], b"").await;
        huge.answer().await.refused(413, "DOCUMENT_TOO_LARGE");
        let headers = [("content-length", "20"), ("content-encoding", "gzip")];
        http.call_with("POST", &target, &headers, &[b'x'; 20]).await.refused(415, "ARGUMENT_INVALID");
        nothing_stored(&server).await;
        let padded = [terraform("l", 1, "a"), vec![b' '; 4000]].concat();
        write(&http, "dev/app", "mine", &padded).await.is(200);
        let identity = [("content-length", "2"), ("content-encoding", "identity")];
        http.call_with("POST", &target, &identity, b"{}").await.refused(400, "DOCUMENT_INVALID");
    }
}

#[tokio::test]
async fn lock_info_that_is_none_is_refused_and_locks_nothing() {
    on_each_engine(async |server| {
        let http = server.http();
        let long = format!(r#"{{"ID":"{}"}}"#, "x".repeat(129));
        for body in ["", " \n", "{", "[]", "null", "{}", r#"{"ID":""}"#, r#"{"ID":7}"#, &long, "ID=mine", r#"{"id_":"x"}"#] {
            for (method, target) in [("LOCK", at("dev/app")), ("POST", at("dev/app/lock"))] {
                http.call(method, &target, body.as_bytes()).await.refused(400, "ARGUMENT_INVALID");
            }
        }
        for id in ["é", "a/b", "a,b", "%61"] {
            http.call("LOCK", &at("dev/app"), apply(id).as_bytes()).await.refused(400, "SESSION_INVALID");
        }
        let wrong = [("content-length", "2"), ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")];
        http.call_with("LOCK", &at("dev/app"), &wrong, b"{}").await.refused(400, "ARGUMENT_INVALID");
        let coded = [("content-length", "2"), ("content-encoding", "deflate")];
        http.call_with("LOCK", &at("dev/app"), &coded, b"{}").await.refused(415, "ARGUMENT_INVALID");
        // What is no lock info forces nothing, either.
        lock(&http, "dev/app", "mine").await.is(200);
        for body in ["{", "{}", r#"{"ID":""}"#, "null", "x"] {
            http.call("UNLOCK", &at("dev/app"), body.as_bytes()).await.refused(400, "ARGUMENT_INVALID");
            http.call("DELETE", &at("dev/app/lock"), body.as_bytes()).await.refused(400, "ARGUMENT_INVALID");
        }
        for query in ["ID=", "ID", "ID=a&ID=b", "ID=%FF"] {
            http.call("DELETE", &format!("{}?{query}", at("dev/app/lock")), b"").await.refused(400, "ARGUMENT_INVALID");
        }
        assert_eq!(holders(server, "dev/app").await, ["mine"]);
    })
    .await;
}

#[tokio::test]
async fn enormous_lock_info_is_refused_whatever_it_announces() {
    on_each_engine(async |server| {
        let http = server.http();
        let enormous = format!(r#"{{"ID":"mine","Info":"{}"}}"#, "x".repeat(1 << 20));
        for method in ["LOCK", "UNLOCK"] {
            http.call(method, &at("dev/app"), enormous.as_bytes()).await.refused(413, "ARGUMENT_INVALID");
            let chunked = format!("{:x}\r\n{enormous}\r\n0\r\n\r\n", enormous.len());
            let headers = [("transfer-encoding", "chunked")];
            http.call_with(method, &at("dev/app"), &headers, chunked.as_bytes()).await.refused(413, "ARGUMENT_INVALID");
            let announced = http.send_with(method, &at("dev/app"), &[("content-length", "1000000000000")], b"").await;
            announced.answer().await.refused(413, "ARGUMENT_INVALID");
        }
        assert!(holders(server, "dev/app").await.is_empty());
        let largest = format!(r#"{{"ID":"mine","Info":"{}"}}"#, "x".repeat((64 << 10) - 23));
        assert_eq!(largest.len(), 64 << 10);
        http.call("LOCK", &at("dev/app"), largest.as_bytes()).await.is(200);
    })
    .await;
}
