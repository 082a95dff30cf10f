//! How documents are read: nothing secret in a view that is to have none, and everything in the others.

use std::collections::BTreeSet;

use base64::prelude::{BASE64_STANDARD, Engine};
use leasehold::pb::v1 as pb;
use leasehold::secrets::identities::Identities;
use leasehold::secrets::view::redacted::MARK;
use leasehold::secrets::view::sealed::{Trust, UnsealError, unseal};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{Api, id, on_each_engine, open, refused};

/// The pair of age's own tests: nothing is sealed to it but here.
const IDENTITY: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
const RECIPIENT: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

/// What is planted, by the place that makes it known. No part of it may be in anything that is to have no secrets.
const PLANTED: [&str; 6] = [
    "Canary-Mark\"<&%é/+=1",
    "Canary-Nested-2!x",
    "Canary-Url-Pass-3",
    "Canary-Key-Name-44",
    "Canary-Name-5-Aa1",
    "Canary-Deep\n6-Bb2",
];

/// A Terraform state with secrets of every kind, and each of them again at places that say nothing of it.
fn document(serial: u64) -> Vec<u8> {
    let [mark, nested, password, key, named, deep] = PLANTED;
    let wrapped = |value: Value, kind: Value| json!({ "value": value, "type": kind });
    let step = |name: &str| json!({ "type": "get_attr", "value": name });
    let copies = json!({
        "url": format!("postgres://app:{password}@db.internal:5432/app"),
        "plain": format!("prefix {mark} suffix"),
        "base64": BASE64_STANDARD.encode(format!("user:{mark}")),
        "shifted": BASE64_STANDARD.encode(format!("xx{nested}yy")),
        "json": json!({ "inside": { "deep": [deep] } }).to_string(),
        "percent": "Canary-Name-5-Aa1".replace('-', "%2D"),
    });
    let value = json!({
        "version": 4,
        "terraform_version": "1.11.4",
        "serial": serial,
        "lineage": "l",
        "outputs": {
            "mark": { "value": mark, "type": "string", "sensitive": true },
            "object": { "value": { "a": [nested, 1234567890123456_u64] }, "type": ["object", { "a": ["tuple", ["string", "number"]] }], "sensitive": true },
            "number": { "value": 5432, "type": "number", "sensitive": true },
            "flag": { "value": true, "type": "bool", "sensitive": true },
            "keyed": { "value": { (key): "x" }, "type": ["object", { (key): "string" }] },
            "copy": { "value": format!("{key} and {deep}"), "type": "string" },
            "harmless": { "value": "eu-central-1", "type": "string" },
        },
        "resources": [{
            "mode": "managed", "type": "t", "name": "n", "provider": "p",
            "instances": [{
                "schema_version": 0,
                "attributes": {
                    "id": "i-1",
                    "secret_keys": wrapped(json!({ "s": key }), json!(["object", { "s": "string" }])),
                    "db_password": named,
                    "input": wrapped(json!({ "deep": [deep, "x"] }), json!(["object", { "deep": ["tuple", ["string", "string"]] }])),
                    "copies": copies,
                },
                "sensitive_attributes": [
                    [step("input"), step("deep"), { "type": "index", "value": { "value": 0, "type": "number" } }],
                    [step("secret_keys"), step("s")],
                ],
                "private": BASE64_STANDARD.encode(json!({ "token": mark }).to_string()),
            }],
        }],
        "check_results": [{ "object_kind": "output", "config_addr": "output.copy", "status": "fail",
            "objects": [{ "object_addr": "output.copy", "status": "fail", "failure_messages": [format!("saw {nested} there")] }] }],
    });
    // Numbers that no float carries, and space that nobody needs.
    format!("{value:#}\n \n").replace("1234567890123456", "12345678901234567890.10").into_bytes()
}

/// No canary, nor what it is within others, is in the text.
#[track_caller]
fn assert_clean(where_: &str, text: &str) {
    for word in ["Canary", "anary-", "12345678901234567890", "5432", "Q2FuYXJ5", "NhbmFyeS", "DYW5hcnkt", "%2D"] {
        assert!(!text.contains(word), "{word} is in {where_}: {text}");
    }
}

fn request(state: &str, view: pb::View) -> pb::PullRequest {
    pb::PullRequest { state: state.to_owned(), view: view.into(), ..Default::default() }
}

async fn redacted(api: &Api, state: &str) -> (pb::PullInfo, Vec<u8>) {
    let (info, bytes, _) = api.pull_by(request(state, pb::View::Redacted)).await.unwrap();
    assert_eq!((info.view(), info.size), (pb::View::Redacted, bytes.len() as u64));
    (info, bytes)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn set_rules(api: &Api, revision: u64, rules: &[&str]) -> pb::Rules {
    let rules = rules.iter().map(|rule| (*rule).to_owned()).collect();
    let request = pb::SetRulesRequest { name: "dev".to_owned(), request_id: id(), revision, rules };
    api.environment().set_rules(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn redacted_view_has_no_secret_and_says_what_is_masked() {
    on_each_engine(async |server| {
        let api = &server.api;
        let written = api.write_once("dev/app", &document(1)).await;
        let (info, bytes) = redacted(api, "dev/app").await;
        let shown = text(&bytes);
        assert_clean("the redacted form", &shown);
        assert_eq!(written.shown_size, bytes.len() as u64, "the size that is told is that of the redacted form");
        assert_eq!(info.version.as_ref().map(|version| &version.etag), Some(&written.etag));

        let value: Value = serde_json::from_str(&shown).unwrap();
        let output = |name: &str| &value["outputs"][name]["value"];
        assert_eq!((output("mark"), output("number"), output("flag")), (&json!(MARK), &json!(0), &json!(false)));
        assert!(output("object").is_null() && output("keyed").is_null());
        assert_eq!(value["outputs"]["keyed"]["type"], "dynamic");
        assert_eq!(output("harmless"), "eu-central-1", "what is no secret stays");
        let instance = &value["resources"][0]["instances"][0];
        assert!(instance["private"].is_null());
        assert_eq!(instance["attributes"]["id"], "i-1");
        assert_eq!(instance["attributes"]["input"]["value"]["deep"], json!([MARK, "x"]));
        let copies = instance["attributes"]["copies"].as_object().unwrap();
        assert!(copies.values().all(|copy| copy == MARK), "{copies:?}");

        // The places that are named are those that differ, no more and no fewer.
        assert!(!info.masked_truncated);
        assert_clean("the masked places", &info.masked.join("\n"));
        let masked: BTreeSet<&str> = info.masked.iter().map(String::as_str).collect();
        let expected = [
            "outputs.mark.value",
            "outputs.object.value",
            "outputs.number.value",
            "outputs.flag.value",
            "outputs.keyed.type",
            "outputs.keyed.value",
            "outputs.copy.value",
            "check_results[0].objects[0].failure_messages[0]",
        ];
        let attributes = [
            "db_password",
            "secret_keys.value.s",
            "input.value.deep[0]",
            "copies.url",
            "copies.plain",
            "copies.base64",
            "copies.shifted",
            "copies.json",
            "copies.percent",
        ];
        let mut expected: BTreeSet<String> = expected.map(str::to_owned).into();
        expected.extend(attributes.map(|name| format!("t.n.attributes.{name}")));
        expected.insert("t.n.private".to_owned());
        assert_eq!(masked, expected.iter().map(String::as_str).collect());

        assert!(api.pull("dev/app", 0).await.unwrap() == document(1), "the full view is what was written");
    })
    .await;
}

#[tokio::test]
async fn canaries_are_in_nothing_else_that_is_told() {
    on_each_engine(async |server| {
        let api = &server.api;
        let mut watch = api.watch().watch(pb::WatchRequest::default()).await.unwrap().into_inner();
        let held = api.hold("dev/app", "s").await;
        api.write("dev/app", "s", held.token, &document(1)).await;
        let changed =
            text(&document(2)).replace("Canary-Key-Name-44", "Canary-Key-Name-45").replace("Canary-Mark", "Canary-Bark");
        let pushed = api.push(open("dev/app", "s", held.token, changed.len()), changed.as_bytes()).await.unwrap();
        let stale = api.push(open("dev/app", "s", held.token, changed.len()), text(&document(1)).as_bytes()).await;
        let mut told = format!("{pushed:?} {stale:?}");
        for version in [0, 1] {
            let show = pb::ShowRequest { state: "dev/app".to_owned(), version, why: true, ..Default::default() };
            told += &format!("{:?}", api.state().show(show).await.unwrap());
        }
        let diff =
            api.state().diff(pb::DiffRequest { state: "dev/app".to_owned(), ..Default::default() }).await.unwrap().into_inner();
        let addresses: Vec<&str> = diff.changes.iter().map(|change| change.address.as_str()).collect();
        assert!(addresses.contains(&"mark") && addresses.contains(&"t.n"), "a changed secret shows as changed: {diff:?}");
        told += &format!("{diff:?} {:?}", api.drafts("dev/app").await);
        let history = pb::HistoryRequest { state: "dev/app".to_owned(), all: true, ..Default::default() };
        told += &format!("{:?}", api.state().history(history).await.unwrap());
        told += &format!(
            "{:?}",
            api.state().list(pb::ListStatesRequest { prefix: "dev".to_owned(), ..Default::default() }).await.unwrap()
        );
        for _ in 0..4 {
            told += &format!("{:?}", watch.message().await.unwrap());
        }
        assert!(told.contains("VersionWritten"), "events were heard: {told}");
        assert_clean("what is told", &told);
    })
    .await;
}

#[tokio::test]
async fn outputs_are_opened_to_the_last_digit_and_nothing_else_is() {
    on_each_engine(async |server| {
        let api = &server.api;
        api.write_once("dev/app", &document(1)).await;
        let (info, bytes, _) = api.pull_by(request("dev/app", pb::View::Outputs)).await.unwrap();
        let shown = text(&bytes);
        assert_eq!((info.view(), info.size, info.masked.len()), (pb::View::Outputs, bytes.len() as u64, 0));
        assert!(shown.contains("12345678901234567890.10"), "{shown}");
        let value: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(value["mark"], json!({ "sensitive": true, "type": "string", "value": PLANTED[0] }));
        assert_eq!(value["harmless"]["sensitive"], false);
        assert_eq!(value["keyed"]["value"][PLANTED[3]], "x");
        assert_eq!(value["keyed"]["type"][1][PLANTED[3]], "string");
        assert!(!shown.contains(PLANTED[4]) && !shown.contains("postgres"), "secrets of resources stay where they are");
    })
    .await;
}

#[tokio::test]
async fn stack_of_pulumi_is_redacted_and_its_outputs_are_opened() {
    on_each_engine(async |server| {
        let api = &server.api;
        let secret = |value: &Value| json!({ "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "plaintext": value.to_string() });
        let resource = |urn: &str, kind: &str, outputs: Value| json!({ "urn": urn, "type": kind, "custom": true, "inputs": {}, "outputs": outputs });
        let stack = json!({ "url": format!("https://{}.internal/", PLANTED[2]), "password": secret(&json!(PLANTED[2])), "n": secret(&json!({ "a": [1.5] })) });
        let database = json!({ "adminPassword": PLANTED[4], "engine": "postgres" });
        let document = json!({ "version": 3, "deployment": { "manifest": {}, "resources": [
            resource("urn:pulumi:dev::app::pulumi:pulumi:Stack::app-dev", "pulumi:pulumi:Stack", stack),
            resource("urn:pulumi:dev::app::aws:rds/instance:Instance::db", "aws:rds/instance:Instance", database),
        ] } });
        let written = api.write_once("dev/app", document.to_string().as_bytes()).await;
        assert_eq!(written.format(), pb::Format::Pulumi);
        let (_, shown) = redacted(api, "dev/app").await;
        assert_eq!(written.shown_size, shown.len() as u64);
        assert_clean("the redacted stack", &text(&shown));
        let shown: Value = serde_json::from_slice(&shown).unwrap();
        let outputs = &shown["deployment"]["resources"][0]["outputs"];
        assert_eq!((&outputs["url"], &outputs["password"]["plaintext"]), (&json!(MARK), &json!(json!(MARK).to_string())));
        assert_eq!(shown["deployment"]["resources"][1]["outputs"], json!({ "adminPassword": MARK, "engine": "postgres" }));
        let (_, bytes, _) = api.pull_by(request("dev/app", pb::View::Outputs)).await.unwrap();
        let expected = json!({ "url": format!("https://{}.internal/", PLANTED[2]), "password": PLANTED[2], "n": { "a": [1.5] } });
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), expected);
    })
    .await;
}

#[tokio::test]
async fn sealed_view_opens_with_the_readers_identity_to_the_very_bytes() {
    on_each_engine(async |server| {
        let api = &server.api;
        let environment = api.environment().get(pb::GetEnvironmentRequest { name: "dev".to_owned() }).await.unwrap().into_inner();
        assert_eq!((environment.identity, environment.recovery.len()), (1, 0));
        let trusted = Trust::Key(environment.signer.parse().unwrap());
        let identities = Identities::parse(IDENTITY).unwrap_or_else(|error| panic!("{error}"));
        for (state, document) in [("dev/app", document(1)), ("dev/blob", b"\0opaque Canary".to_vec())] {
            let held = api.hold(state, "s").await;
            let format = if state == "dev/blob" { pb::Format::Opaque } else { pb::Format::Terraform };
            let push = pb::PushOpen { format: format.into(), ..open(state, "s", held.token, document.len()) };
            let written = api.push(push, &document).await.unwrap().version.unwrap();
            let request = pb::PullRequest { recipient: RECIPIENT.to_owned(), ..request(state, pb::View::Sealed) };
            let (info, sealed, _) = api.pull_by(request).await.unwrap();
            assert_eq!((info.size, &info.signer), (sealed.len() as u64, &environment.signer));
            assert_clean("the sealed form", &String::from_utf8_lossy(&sealed));
            let (fields, opened) = unseal(&sealed, &identities, trusted).unwrap_or_else(|error| panic!("{error}"));
            assert!(*opened == document, "other bytes came out");
            assert_eq!(fields.subject.state.to_string(), state);
            assert_eq!((fields.subject.version.0, fields.subject.etag.to_string()), (1, written.etag));
        }
        // Signed by the environment that it is of, and by no other.
        let create = pb::CreateEnvironmentRequest {
            name: "other".to_owned(),
            settings: None,
            request_id: id(),
            recovery: vec![RECIPIENT.to_owned()],
            no_recovery: false,
        };
        let other = api.environment().create(create).await.unwrap().into_inner();
        assert_eq!(other.recovery, [RECIPIENT]);
        api.write_once("other/app", b"{}").await;
        let request = pb::PullRequest { recipient: RECIPIENT.to_owned(), ..request("other/app", pb::View::Sealed) };
        let (_, sealed, _) = api.pull_by(request).await.unwrap();
        let signer = other.signer.parse().unwrap();
        assert_eq!(unseal(&sealed, &identities, trusted).err(), Some(UnsealError::Untrusted(signer)));
        assert!(unseal(&sealed, &identities, Trust::Key(signer)).is_ok());
    })
    .await;
}

#[tokio::test]
async fn views_that_a_document_does_not_have_are_refused_by_name() {
    on_each_engine(async |server| {
        let api = &server.api;
        api.write_once("dev/json", b"{\"password\":\"hunter-2-hunter\"}").await;
        let held = api.hold("dev/blob", "s").await;
        let push = pb::PushOpen { format: pb::Format::Opaque.into(), ..open("dev/blob", "s", held.token, 3) };
        api.push(push, b"\x001\x02").await.unwrap();
        for (state, view) in [("dev/json", pb::View::Outputs), ("dev/blob", pb::View::Outputs), ("dev/blob", pb::View::Redacted)]
        {
            refused(api.pull_by(request(state, view)).await, Code::FailedPrecondition, "VIEW_UNAVAILABLE");
        }
        for recipient in ["", "age1qqqq", IDENTITY] {
            let asked = pb::PullRequest { recipient: recipient.to_owned(), ..request("dev/json", pb::View::Sealed) };
            let told = refused(api.pull_by(asked).await, Code::InvalidArgument, "RECIPIENT_INVALID");
            assert!(!told.message.contains("GQ9778"), "{}", told.message);
        }
        let asked = pb::PullRequest { recipient: RECIPIENT.to_owned(), ..request("dev/json", pb::View::Full) };
        refused(api.pull_by(asked).await, Code::InvalidArgument, "ARGUMENT_INVALID");
        let asked = pb::PullRequest { view: 9, ..request("dev/json", pb::View::Full) };
        refused(api.pull_by(asked).await, Code::InvalidArgument, "ARGUMENT_INVALID");
    })
    .await;
}

#[tokio::test]
async fn unchanged_etag_sends_no_view_and_drafts_have_them_all() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        let written = api.write("dev/app", "s", held.token, &document(2)).await;
        for view in [pb::View::Full, pb::View::Redacted, pb::View::Outputs, pb::View::Sealed] {
            let recipient = if view == pb::View::Sealed { RECIPIENT.to_owned() } else { String::new() };
            let asked = pb::PullRequest { unless_etag: written.etag.clone(), recipient, ..request("dev/app", view) };
            let (info, bytes, _) = api.pull_by(asked).await.unwrap();
            assert!(info.unchanged && bytes.is_empty(), "{view:?}");
        }
        let lower = document(1);
        let push = api.push(open("dev/app", "s", held.token, lower.len()), &lower).await;
        let draft = refused(push, Code::FailedPrecondition, "SERIAL_NOT_HIGHER").metadata["draft"].clone();
        let of_draft = |view| pb::PullRequest { draft: draft.clone(), ..request("dev/app", view) };
        let (info, bytes, _) = api.pull_by(of_draft(pb::View::Redacted)).await.unwrap();
        assert_clean("the draft's redacted form", &text(&bytes));
        assert_eq!(info.draft.as_ref().map(|draft| draft.shown_size), Some(bytes.len() as u64));
        assert_eq!(info.masked.len(), 18, "{:?}", info.masked);
        let (_, bytes, _) = api.pull_by(of_draft(pb::View::Outputs)).await.unwrap();
        assert!(text(&bytes).contains("12345678901234567890.10"));
        assert!(api.pull_by(of_draft(pb::View::Full)).await.unwrap().1 == lower);
        let asked = pb::PullRequest { recipient: RECIPIENT.to_owned(), ..of_draft(pb::View::Sealed) };
        let (_, sealed, _) = api.pull_by(asked).await.unwrap();
        let identities = Identities::parse(IDENTITY).unwrap_or_else(|error| panic!("{error}"));
        let (fields, opened) = unseal(&sealed, &identities, Trust::DangerAnyone).unwrap_or_else(|error| panic!("{error}"));
        assert!(*opened == lower && fields.subject.version.0 == 0 && fields.subject.etag.to_string() == draft);
    })
    .await;
}

#[tokio::test]
async fn redacted_form_written_back_is_refused_and_kept() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        api.write("dev/app", "s", held.token, &document(1)).await;
        let (_, shown) = redacted(api, "dev/app").await;
        let higher = text(&shown).replace("\"serial\": 1", "\"serial\": 2");
        let nested = text(&document(2))
            .replace(&serde_json::to_string(PLANTED[0]).unwrap(), &format!("{:?}", json!({ "a": MARK }).to_string()));
        for (what, document) in [("as it is", &higher), ("in JSON within a string", &nested)] {
            assert!(document.contains("5d0c8f1e"), "{what}");
            let push = api.push(open("dev/app", "s", held.token, document.len()), document.as_bytes()).await;
            let draft = refused(push, Code::FailedPrecondition, "MARK_WRITTEN").metadata["draft"].clone();
            assert!(
                api.drafts("dev/app").await.iter().any(|kept| kept.draft == draft && kept.reason == "MARK_WRITTEN"),
                "{what}"
            );
        }
        assert!(api.pull("dev/app", 0).await.unwrap() == document(1));
        api.release("dev/app", "s", held.token).await.unwrap();
        // Into a state that never had a secret there, too: the format says that it is one.
        let held = api.hold("dev/new", "s").await;
        let push = api.push(open("dev/new", "s", held.token, shown.len()), &shown).await;
        refused(push, Code::FailedPrecondition, "MARK_WRITTEN");
    })
    .await;
}

#[tokio::test]
async fn mark_where_nothing_is_sealed_is_data() {
    on_each_engine(async |server| {
        let api = &server.api;
        let document =
            |n: u32| json!({ "password": format!("hunter-{n}-hunter"), "tag": MARK, "note": format!("see {MARK}") }).to_string();
        for n in 1..3 {
            api.write_once("dev/app", document(n).as_bytes()).await;
            assert!(api.pull("dev/app", 0).await.unwrap() == document(n).into_bytes());
        }
    })
    .await;
}

/// A state whose sensitive outputs are these.
fn outputs(serial: u64, values: &[(&str, &str)]) -> String {
    let outputs = values.iter().map(|(value, kind)| format!(r#""o{kind}":{{"value":{value},"type":"{kind}","sensitive":true}}"#));
    format!(
        r#"{{"version":4,"serial":{serial},"lineage":"l","outputs":{{{}}},"resources":[]}}"#,
        outputs.collect::<Vec<_>>().join(",")
    )
}

#[tokio::test]
async fn document_that_equals_its_redacted_form_is_refused_unless_it_always_did() {
    on_each_engine(async |server| {
        let api = &server.api;
        // Secrets that are nothing, from the start and for ever: each of them may become another nothing.
        for (state, values) in [
            ("dev/null", ["null", "null", "null", "null"]),
            ("dev/false", ["false", "false", "null", "false"]),
            ("dev/zero", ["0", "0", "null", "0"]),
        ] {
            for (serial, value) in (1..).zip(values) {
                api.write_once(state, outputs(serial, &[(value, "dynamic")]).as_bytes()).await;
            }
        }
        // One real secret beside them: taken away for its redacted form, it is missed.
        let held = api.hold("dev/app", "s").await;
        let real = |serial| outputs(serial, &[("5432", "number"), ("null", "string"), ("false", "bool")]);
        let gone = |serial| outputs(serial, &[("0", "number"), ("null", "string"), ("false", "bool")]);
        api.write("dev/app", "s", held.token, real(1).as_bytes()).await;
        let push = api.push(open("dev/app", "s", held.token, gone(2).len()), gone(2).as_bytes()).await;
        let draft = refused(push, Code::FailedPrecondition, "MARK_WRITTEN").metadata["draft"].clone();
        // The same with something that is not masked is a write like any other.
        let other = outputs(2, &[("1", "number"), ("null", "string"), ("false", "bool")]);
        api.write("dev/app", "s", held.token, other.as_bytes()).await;
        api.write("dev/app", "s", held.token, real(3).as_bytes()).await;
        // Somebody who means it promotes the draft; what a history has may come back.
        let promote = pb::PromoteDraftRequest {
            state: "dev/app".to_owned(),
            draft,
            session: "s".to_owned(),
            token: held.token,
            request_id: id(),
            ..Default::default()
        };
        let promoted = api.state().promote_draft(promote).await.unwrap().into_inner();
        assert_eq!(promoted.version, 4);
        // Now it is nothing that became nothing.
        api.write("dev/app", "s", held.token, outputs(5, &[("0", "number"), ("\"x\"", "string"), ("false", "bool")]).as_bytes())
            .await;
        for to in [1, 4] {
            let rollback = pb::RollbackRequest {
                state: "dev/app".to_owned(),
                session: "s".to_owned(),
                token: held.token,
                request_id: id(),
                to_version: to,
                expect: None,
            };
            api.state().rollback(rollback).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn rules_apply_from_the_next_write_and_to_redacted_reads_of_older_versions() {
    on_each_engine(async |server| {
        let api = &server.api;
        let state = |serial: u64| {
            json!({ "version": 4, "serial": serial, "lineage": "l", "outputs": {
                "mark": { "value": "sesame-one-22", "type": "string", "sensitive": true } },
                "resources": [{ "mode": "managed", "type": "aws_instance", "name": "n", "instances": [{ "attributes": {
                    "user_data": "#!/bin/sh echo hello", "copy": "echo #!/bin/sh echo hello", "db_password": "sesame-two-22", "ami": "a" } }] }] })
            .to_string()
        };
        api.write_once("dev/app", state(1).as_bytes()).await;
        let masked = async |version| {
            let asked = pb::PullRequest { version, ..request("dev/app", pb::View::Redacted) };
            let (info, bytes, _) = api.pull_by(asked).await.unwrap();
            assert_eq!(info.size, bytes.len() as u64);
            let shown = text(&bytes);
            for (place, value) in [("user_data", "#!/bin/sh echo"), ("db_password", "sesame-two"), ("mark", "sesame-one")] {
                let named = info.masked.iter().any(|path| path.contains(place));
                assert_eq!(named, !shown.contains(&format!("\"{value}")), "{place} in {shown}\n{:?}", info.masked);
            }
            info.masked.iter().map(|path| path.rsplit('.').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(masked(0).await, ["value", "db_password"]);

        let mut watch = api.watch().watch(pb::WatchRequest::default()).await.unwrap().into_inner();
        watch.message().await.unwrap();
        let set = set_rules(api, 0, &["seal aws_instance:user_data"]).await;
        assert_eq!((set.revision, set.rules.as_slice()), (1, ["seal aws_instance:user_data".to_owned()].as_slice()));
        let Some(pb::watch_response::Message::Event(event)) = watch.message().await.unwrap().unwrap().message else { panic!("an event") };
        assert_eq!((event.kind(), event.target.as_str()), (pb::EventKind::KeysChanged, "dev"));
        // What was written before is masked on its way out, wherever it stands, though it is not sealed there yet.
        assert_eq!(masked(1).await, ["value", "db_password", "user_data"]);
        api.write_once("dev/app", state(2).as_bytes()).await;
        assert_eq!(masked(2).await, ["value", "db_password", "user_data"]);
        let show = pb::ShowRequest { state: "dev/app".to_owned(), why: true, ..Default::default() };
        let why = api.state().show(show.clone()).await.unwrap().into_inner();
        let reasons: Vec<_> = why.sealed.iter().map(|place| (place.place.as_str(), place.reason.as_str())).collect();
        let expected = [
            ("outputs.mark.value", "mark"),
            ("aws_instance.n.attributes.db_password", "key-name"),
            ("aws_instance.n.attributes.user_data", "rule"),
        ];
        assert_eq!(reasons, expected);
        assert_eq!((why.sealed_count, why.overflow), (3, false));

        // Exceptions: from the next write on; never for what the format marks. Until then, what was sealed stays masked.
        set_rules(api, 1, &["except *:**", "except output:mark"]).await;
        assert_eq!(masked(2).await, ["value", "db_password", "user_data"]);
        // A place that was sealed until now takes no mark either.
        let marked = |serial| state(serial).replace("sesame-two-22", MARK);
        let held = api.hold("dev/app", "s").await;
        let push = api.push(open("dev/app", "s", held.token, marked(3).len()), marked(3).as_bytes()).await;
        refused(push, Code::FailedPrecondition, "MARK_WRITTEN");
        api.write("dev/app", "s", held.token, state(3).as_bytes()).await;
        assert_eq!(masked(3).await, ["value"]);
        // Now it is a place like any other.
        api.write("dev/app", "s", held.token, marked(4).as_bytes()).await;
        let why = api.state().show(show).await.unwrap().into_inner();
        assert_eq!(why.sealed[0].reason, "mark");
        assert!(api.pull("dev/app", 2).await.unwrap() == state(2).into_bytes());
    })
    .await;
}

#[tokio::test]
async fn rules_are_compared_and_set_and_survive_a_restart() {
    let server = crate::support::Running::start(crate::support::StoreKind::Sqlite).await;
    let api = &server.api;
    let get = pb::GetRulesRequest { name: "dev".to_owned() };
    assert_eq!(api.environment().get_rules(get.clone()).await.unwrap().into_inner(), pb::Rules::default());
    let set = |revision, rule: &str, request_id: &str| pb::SetRulesRequest {
        name: "dev".to_owned(),
        request_id: request_id.to_owned(),
        revision,
        rules: vec![rule.to_owned()],
    };
    let first = id();
    for _ in 0..2 {
        // The same request again is the same answer, though the revision has moved.
        let done = api.environment().set_rules(set(0, "seal a:b", &first)).await.unwrap().into_inner();
        assert_eq!(done.revision, 1);
    }
    refused(api.environment().set_rules(set(0, "seal c:d", &id())).await, Code::Aborted, "KEYS_MOVED");
    refused(api.environment().set_rules(set(1, "seal c:d", &first)).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    for wrong in ["conceal a:b", "seal a", "seal a:b..c"] {
        refused(api.environment().set_rules(set(1, wrong, &id())).await, Code::InvalidArgument, "RULE_INVALID");
    }
    let twice = pb::SetRulesRequest { rules: vec!["seal a:b".to_owned(); 2], ..set(1, "", &id()) };
    refused(api.environment().set_rules(twice).await, Code::InvalidArgument, "RULE_INVALID");
    let nobody = pb::SetRulesRequest { name: "none".to_owned(), ..set(0, "seal a:b", &id()) };
    refused(api.environment().set_rules(nobody).await, Code::NotFound, "ENVIRONMENT_NOT_FOUND");
    let server = server.stop().await.restart().await;
    let kept = server.api.environment().get_rules(get).await.unwrap().into_inner();
    assert_eq!((kept.revision, kept.rules), (1, vec!["seal a:b".to_owned()]));
}

#[tokio::test]
async fn masked_places_and_reasons_are_bounded_and_say_so() {
    on_each_engine(async |server| {
        let api = &server.api;
        let many: Vec<String> = (0..1200).map(|n| format!("hunter-{n:04}-hunter")).collect();
        // Names of 1 KiB each: 64 KiB of them are told.
        let long: serde_json::Map<String, Value> =
            (0..100).map(|n| (format!("{n:0>1000}"), json!({ "password": format!("hunter-{n:04}-hunter") }))).collect();
        for (state, document, told, count) in
            [("dev/many", json!({ "passwords": many }), 1000, 1200), ("dev/long", Value::Object(long), 64, 100)]
        {
            api.write_once(state, document.to_string().as_bytes()).await;
            let (info, shown) = redacted(api, state).await;
            assert!(!text(&shown).contains("hunter"), "all are masked, also those that are not named");
            assert_eq!((info.masked.len(), info.masked_truncated), (told, true), "{state}");
            let show = pb::ShowRequest { state: state.to_owned(), why: true, ..Default::default() };
            let why = api.state().show(show).await.unwrap().into_inner();
            assert_eq!((why.sealed.len(), why.sealed_count), (count, count as u64), "{state}");
        }
    })
    .await;
}

#[tokio::test]
async fn odd_marks_are_warned_of_by_place() {
    on_each_engine(async |server| {
        let api = &server.api;
        let document = br#"{"version":4,"serial":1,"lineage":"l","outputs":{},"resources":[{"mode":"managed","type":"t","name":"n",
            "instances":[{"attributes":{"a":{"b":"Canary-1-2-3"}},"sensitive_attributes":[[{"type":"get_attr","value":"a"},{"type":"get_attr","value":"x"}]]}]}]}"#;
        let held = api.hold("dev/app", "s").await;
        let pushed = api.push(open("dev/app", "s", held.token, document.len()), document).await.unwrap();
        let [warning] = pushed.warnings.as_slice() else { panic!("{:?}", pushed.warnings) };
        assert_eq!((warning.code.as_str(), warning.place.as_str()), ("MARK_UNRESOLVED", "t.n.attributes.a"));
        assert_clean("the warning", &warning.message);
        let (_, shown) = redacted(api, "dev/app").await;
        assert_clean("the redacted form", &text(&shown));
    })
    .await;
}
