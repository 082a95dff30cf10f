//! States that OpenTofu encrypted: stored as they are, and still with the rules of lineage and serial.

use leasehold::pb::v1 as pb;

use super::{at, lock, read, write};
use crate::support::{on_each_engine, terraform};

fn envelope(serial: u64, lineage: &str, data: &str) -> Vec<u8> {
    format!(
        r#"{{"serial":{serial},"lineage":"{lineage}","meta":{{"key_provider.pbkdf2.k":"eyJzYWx0IjoiIn0="}},"encrypted_data":"{data}","encryption_version":"v0"}}"#
    )
    .into_bytes()
}

#[tokio::test]
async fn envelope_is_stored_as_it_is_with_lineage_and_serial() {
    on_each_engine(async |server| {
        let http = server.http();
        lock(&http, "dev/app", "mine").await.is(200);
        write(&http, "dev/app", "mine", &envelope(1, "l", "AAAA")).await.is(200);
        write(&http, "dev/app", "mine", &envelope(2, "l", "BBBB")).await.is(200);
        assert_eq!(read(&http, "dev/app").await.is(200).body, envelope(2, "l", "BBBB"));
        write(&http, "dev/app", "mine", &envelope(2, "l", "BBBB")).await.is(200);
        write(&http, "dev/app", "mine", &envelope(2, "l", "CCCC")).await.refused(409, "SERIAL_NOT_HIGHER");
        write(&http, "dev/app", "mine", &envelope(3, "m", "DDDD")).await.refused(409, "LINEAGE_DIFFERS");
        assert_eq!(server.api.drafts("dev/app").await.len(), 2);
        let show = pb::ShowRequest { state: "dev/app".to_owned(), ..Default::default() };
        let shown = server.api.state().show(show).await.unwrap().into_inner().version.unwrap();
        assert_eq!((shown.version, shown.format()), (2, pb::Format::Opaque));
        for view in ["redacted", "outputs"] {
            let target = format!("{}?view={view}", at("dev/app"));
            http.call("GET", &target, b"").await.refused(400, "VIEW_UNAVAILABLE");
        }
        // Not every opaque text is an envelope: the door takes states only.
        for wrong in ["opaque", r#"{"encryption_version":""}"#, r#"{"encryption_version":"v0"}"#] {
            let answer = write(&http, "dev/app", "mine", wrong.as_bytes()).await;
            assert!(matches!(answer.status, 400 | 409), "{wrong}: {answer:?}");
        }
        write(&http, "dev/app", "mine", &terraform("l", 3, "a")).await.refused(409, "FORMAT_DIFFERS");
        assert_eq!(read(&http, "dev/app").await.body, envelope(2, "l", "BBBB"));
    })
    .await;
}

#[tokio::test]
async fn environment_can_require_or_refuse_envelopes() {
    on_each_engine(async |server| {
        let http = server.http();
        let set = async |opaque, plaintext| {
            let settings = pb::Settings { allow_opaque: Some(opaque), allow_plaintext: Some(plaintext), ..Default::default() };
            server.set(settings).await;
        };
        lock(&http, "dev/app", "mine").await.is(200);
        set(false, true).await;
        write(&http, "dev/app", "mine", &envelope(1, "l", "AAAA")).await.refused(422, "OPAQUE_REFUSED");
        set(true, false).await;
        write(&http, "dev/app", "mine", &terraform("l", 1, "a")).await.refused(422, "PLAINTEXT_REFUSED");
        read(&http, "dev/app").await.is(404);
        // A policy that was broken is nothing to keep: the draft would break it as well.
        assert!(server.api.drafts("dev/app").await.is_empty());
        write(&http, "dev/app", "mine", &envelope(1, "l", "AAAA")).await.is(200);
    })
    .await;
}
