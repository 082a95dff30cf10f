//! Documents that are not what their state is.

use leasehold::pb::v1 as pb;
use tonic::Code;

use crate::support::{Api, id, on_each_engine, open, refused, terraform};

async fn set(api: &Api, settings: pb::Settings) -> pb::Environment {
    let request = pb::SetEnvironmentRequest { name: "dev".to_owned(), settings: Some(settings), request_id: id() };
    api.environment().set(request).await.expect("the settings are taken").into_inner()
}

fn of(format: pb::Format, open: pb::PushOpen) -> pb::PushOpen {
    pb::PushOpen { format: format.into(), ..open }
}

#[tokio::test]
async fn broken_json_is_never_taken_for_something_else() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        let broken: [&[u8]; 9] = [
            b"{",
            b"{} {}",
            b"{\"a\":1,\"a\":2}",
            b"{\"a\":{\"b\":1,\"b\":2}}",
            b"\xff\xfe",
            b"\xef\xbb\xbf{}",
            b"{'a':1}",
            b"NaN",
            &deep,
        ];
        let cursor = api.cursor().await;
        for document in broken {
            for format in [pb::Format::Unspecified, pb::Format::Json] {
                let open = of(format, open("dev/app", "s", held.token, document.len()));
                refused(api.push(open, document).await, Code::InvalidArgument, "DOCUMENT_INVALID");
            }
        }
        assert_eq!(api.cursor().await, cursor);
        api.write("dev/app", "s", held.token, b"{}").await;
        let cursor = api.cursor().await;
        for document in broken {
            let open = open("dev/app", "s", held.token, document.len());
            refused(api.push(open, document).await, Code::InvalidArgument, "DOCUMENT_INVALID");
        }
        assert_eq!(api.cursor().await, cursor);
        assert_eq!(api.pull("dev/app", 0).await.unwrap(), b"{}");
    })
    .await;
}

#[tokio::test]
async fn format_is_fixed_by_the_first_version() {
    on_each_engine(async |server| {
        let api = &server.api;
        let state = terraform("l", 1, "a");
        let json = api.hold("dev/json", "s").await;
        let written = api.write("dev/json", "s", json.token, b"{}").await;
        assert_eq!(written.format(), pb::Format::Json);
        for format in [pb::Format::Terraform, pb::Format::Opaque, pb::Format::Pulumi] {
            let open = of(format, open("dev/json", "s", json.token, state.len()));
            let refused = refused(api.push(open, &state).await, Code::FailedPrecondition, "FORMAT_DIFFERS");
            assert!(!refused.metadata.contains_key("draft"), "no promotion would make it right");
        }
        // Left out, the format is the state's own, and a Terraform state is JSON too: without Terraform's rules.
        assert_eq!(api.write("dev/json", "s", json.token, &state).await.format(), pb::Format::Json);

        let held = api.hold("dev/tf", "s").await;
        assert_eq!(api.write("dev/tf", "s", held.token, &state).await.format(), pb::Format::Terraform);
        refused(api.push(open("dev/tf", "s", held.token, 2), b"{}").await, Code::InvalidArgument, "DOCUMENT_INVALID");
        let as_json = of(pb::Format::Json, open("dev/tf", "s", held.token, 2));
        refused(api.push(as_json, b"{}").await, Code::FailedPrecondition, "FORMAT_DIFFERS");
        assert_eq!(api.pull("dev/tf", 0).await.unwrap(), state);
    })
    .await;
}

#[tokio::test]
async fn unsound_terraform_states_are_refused() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        let cursor = api.cursor().await;
        for document in [
            r#"{"version":3,"terraform_version":"0.11.0","serial":1,"lineage":"l"}"#,
            r#"{"version":4,"terraform_version":"1.0.0","lineage":"l"}"#,
            r#"{"version":4,"terraform_version":"1.0.0","serial":1}"#,
            r#"{"version":4,"terraform_version":"1.0.0","serial":-1,"lineage":"l"}"#,
            r#"{"version":4,"terraform_version":"1.0.0","serial":1.0,"lineage":"l"}"#,
            r#"{"version":4,"terraform_version":"1.0.0","serial":18446744073709551616,"lineage":"l"}"#,
            r#"{"version":4,"terraform_version":"1.0.0","serial":1,"lineage":""}"#,
            r#"{"version":4,"terraform_version":"1.0.0","serial":1,"lineage":"a\nb"}"#,
        ] {
            let push = api.push(open("dev/app", "s", held.token, document.len()), document.as_bytes()).await;
            refused(push, Code::InvalidArgument, "DOCUMENT_INVALID");
        }
        assert_eq!(api.cursor().await, cursor);
    })
    .await;
}

#[tokio::test]
async fn environment_refuses_opaque_or_plain_documents_if_it_is_told_to() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        let opaque = || of(pb::Format::Opaque, open("dev/app", "s", held.token, 4));
        set(api, pb::Settings { allow_opaque: Some(false), ..Default::default() }).await;
        let cursor = api.cursor().await;
        refused(api.push(opaque(), b"\0\xff\x01\x02").await, Code::FailedPrecondition, "OPAQUE_REFUSED");
        assert_eq!(api.cursor().await, cursor, "not kept either");
        set(api, pb::Settings { allow_opaque: Some(true), allow_plaintext: Some(false), ..Default::default() }).await;
        let cursor = api.cursor().await;
        refused(api.push(open("dev/app", "s", held.token, 2), b"{}").await, Code::FailedPrecondition, "PLAINTEXT_REFUSED");
        assert_eq!(api.cursor().await, cursor);
        api.push(opaque(), b"\0\xff\x01\x02").await.expect("encrypted by the client");
        assert_eq!(api.pull("dev/app", 0).await.unwrap(), b"\0\xff\x01\x02");
        let neither = pb::Settings { allow_opaque: Some(false), allow_plaintext: Some(false), ..Default::default() };
        let request = pb::SetEnvironmentRequest { name: "dev".to_owned(), settings: Some(neither), request_id: id() };
        refused(api.environment().set(request).await, Code::InvalidArgument, "ARGUMENT_INVALID");
    })
    .await;
}

#[tokio::test]
async fn serial_and_lineage_are_checked_unless_rewritten() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        api.write("dev/app", "s", held.token, &terraform("l", 5, "five")).await;
        let push = |document: Vec<u8>, rewrite| async move {
            api.push(pb::PushOpen { rewrite, ..open("dev/app", "s", held.token, document.len()) }, &document).await
        };
        for serial in [4, 5] {
            let answer = push(terraform("l", serial, "other"), false).await;
            let refused = refused(answer, Code::FailedPrecondition, "SERIAL_NOT_HIGHER");
            assert_eq!(refused.metadata["current_serial"], "5");
            assert!(api.drafts("dev/app").await.iter().any(|draft| draft.draft == refused.metadata["draft"]));
        }
        let other = push(terraform("m", 6, "other"), false).await;
        assert!(refused(other, Code::FailedPrecondition, "LINEAGE_DIFFERS").metadata.contains_key("draft"));
        assert_eq!(api.pull("dev/app", 0).await.unwrap(), terraform("l", 5, "five"));
        assert_eq!(api.drafts("dev/app").await.len(), 3);
        let lower = push(terraform("l", 2, "two"), true).await.expect("rewritten").version.unwrap();
        assert_eq!((lower.version, lower.serial), (2, 2));
        let foreign = push(terraform("m", 1, "one"), true).await.expect("rewritten").version.unwrap();
        assert_eq!((foreign.version, foreign.lineage.as_str()), (3, "m"));
    })
    .await;
}
