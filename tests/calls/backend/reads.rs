//! GET: the bytes as they were written, and the views.

use std::io::Read;

use leasehold::backend::ContentMd5;
use leasehold::pb::v1 as pb;

use super::{at, lock, read, unlock, write};
use crate::support::{Answer, Http, Running, acquire, id, on_each_engine, terraform};

/// A state with a secret output and a plain one.
fn secretive() -> Vec<u8> {
    br#"{
  "version": 4,
  "terraform_version": "1.9.0",
  "serial": 1,
  "lineage": "l",
  "outputs": {
    "password": { "value": "planted-hunter2", "type": "string", "sensitive": true },
    "url": { "value": "https://app.example", "type": "string" }
  },
  "resources": []
}
"#
    .to_vec()
}

async fn written(server: &Running, document: &[u8]) -> Http {
    let http = server.http();
    lock(&http, "dev/app", "writer").await.is(200);
    write(&http, "dev/app", "writer", document).await.is(200);
    unlock(&http, "dev/app", "writer").await.is(200);
    http
}

async fn view(http: &Http, view: &str) -> Answer {
    http.call("GET", &format!("{}?view={view}", at("dev/app")), b"").await
}

#[tokio::test]
async fn state_is_read_with_its_digest_and_its_etag() {
    on_each_engine(async |server| {
        let document = terraform("l", 1, "a");
        let http = written(server, &document).await;
        let answer = read(&http, "dev/app").await.is(200);
        assert_eq!(answer.body, document);
        assert_eq!(answer.header("content-md5"), Some(ContentMd5::of(&document).to_string().as_str()));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!((answer.header("cache-control"), answer.header("content-encoding")), (Some("no-store"), None));
        let show = pb::ShowRequest { state: "dev/app".to_owned(), ..Default::default() };
        let etag = server.api.state().show(show).await.unwrap().into_inner().version.unwrap().etag;
        assert_eq!(answer.header("etag"), Some(format!("\"{etag}\"").as_str()));
    })
    .await;
}

#[tokio::test]
async fn large_state_is_compressed_for_who_takes_it_and_the_same_byte_for_byte() {
    on_each_engine(async |server| {
        let document = terraform("l", 1, &"compress me ".repeat(50_000));
        let http = written(server, &document).await;
        let packed = read(&http, "dev/app").await.is(200);
        assert_eq!((packed.header("content-encoding"), packed.header("vary")), (Some("gzip"), Some("accept-encoding")));
        assert!(packed.body.len() < document.len() / 4);
        let mut opened = Vec::new();
        flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut opened).unwrap();
        assert_eq!(opened, document);
        assert_eq!(packed.header("content-md5"), Some(ContentMd5::of(&document).to_string().as_str()));
        for refuses in [&[][..], &[("accept-encoding", "gzip;q=0")], &[("accept-encoding", "br, identity")]] {
            let plain = http.call_with("GET", &at("dev/app"), refuses, b"").await.is(200);
            assert_eq!((plain.header("content-encoding"), &plain.body), (None, &document));
        }
    })
    .await;
}

#[tokio::test]
async fn state_that_is_not_there_is_404_and_an_environment_that_is_not_is_not() {
    on_each_engine(async |server| {
        let http = written(server, &terraform("l", 1, "a")).await;
        read(&http, "dev/none").await.refused(404, "STATE_NOT_FOUND");
        lock(&http, "dev/none", "mine").await.is(200);
        read(&http, "dev/none").await.refused(404, "STATE_NOT_FOUND");
        // With 404 a client would begin a new state where somebody mistyped the environment.
        for (method, body) in
            [("GET", vec![]), ("LOCK", super::apply("a").into_bytes()), ("UNLOCK", super::apply("a").into_bytes())]
        {
            http.call(method, &at("prod/app"), &body).await.refused(400, "ENVIRONMENT_NOT_FOUND");
        }
        http.call("POST", &format!("{}?ID=a", at("prod/app")), &terraform("l", 1, "a"))
            .await
            .refused(400, "ENVIRONMENT_NOT_FOUND");
        // One that was deleted has no state any more, and may begin again.
        let held = server.api.hold_by(acquire("dev/app", "admin")).await;
        let delete = pb::DeleteStateRequest {
            state: "dev/app".to_owned(),
            session: "admin".to_owned(),
            token: held.token,
            request_id: id(),
            ..Default::default()
        };
        server.api.state().delete(delete).await.unwrap();
        read(&http, "dev/app").await.refused(404, "STATE_NOT_FOUND");
    })
    .await;
}

#[tokio::test]
async fn views_show_what_they_should_and_are_for_reading_only() {
    on_each_engine(async |server| {
        let http = written(server, &secretive()).await;
        assert_eq!(view(&http, "full").await.is(200).body, secretive());
        let redacted = view(&http, "redacted").await.is(200).text();
        assert!(!redacted.contains("hunter2") && redacted.contains("https://app.example"), "{redacted}");
        let outputs: serde_json::Value = serde_json::from_slice(&view(&http, "outputs").await.is(200).body).unwrap();
        assert_eq!((&outputs["version"], &outputs["serial"], &outputs["lineage"]), (&4.into(), &1.into(), &"l".into()));
        assert_eq!(outputs["outputs"]["password"]["value"], "planted-hunter2");
        assert_eq!(outputs["resources"], serde_json::json!([]));
        for wrong in ["", "sealed", "Redacted", "full&view=x"] {
            view(&http, wrong).await.refused(400, "ARGUMENT_INVALID");
        }
        // A masked state must not come back: the address of a view takes neither writes nor locks.
        for (method, path) in
            [("POST", "?view=redacted&ID=x"), ("PUT", "?view=full"), ("LOCK", "?view=outputs"), ("UNLOCK", "?view=full")]
        {
            let answer = http.call(method, &format!("{}{path}", at("dev/app")), &terraform("l", 2, "b")).await;
            answer.refused(400, "ARGUMENT_INVALID");
        }
        assert_eq!(read(&http, "dev/app").await.body, secretive());
        assert!(server.api.lock("dev/app").await.holders.is_empty());
    })
    .await;
}

#[tokio::test]
async fn redacted_state_that_is_written_back_is_refused() {
    on_each_engine(async |server| {
        let http = written(server, &secretive()).await;
        let masked = view(&http, "redacted").await.is(200).text().replace("\"serial\": 1", "\"serial\": 2");
        lock(&http, "dev/app", "mine").await.is(200);
        write(&http, "dev/app", "mine", masked.as_bytes()).await.refused(422, "MARK_WRITTEN");
        assert_eq!(read(&http, "dev/app").await.body, secretive());
    })
    .await;
}
