//! Reading documents in other ways than in full, and the rules on what is sealed.

use leasehold::pb::v1::View;
use serde_json::json;

use crate::fake::{DOCUMENT, FakeServer};
use crate::process::end;

#[test]
fn view_and_recipient_are_asked_for_as_they_are_written() {
    let server = FakeServer::start();
    let recipient = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
    for args in [
        vec!["state", "pull", "dev/app"],
        vec!["state", "pull", "dev/app", "--view", "redacted"],
        vec!["state", "pull", "dev/app", "--view", "sealed", "--recipient", recipient],
        vec!["state", "outputs", "dev/app", "--version", "3"],
    ] {
        let ended = end(&mut server.leasehold(&args));
        assert_eq!((ended.code, ended.out.as_str()), (0, DOCUMENT), "{args:?}: {}", ended.err);
    }
    let pulls = server.seen().pulls;
    let asked: Vec<_> = pulls.iter().map(|pull| (pull.view(), pull.recipient.as_str(), pull.version)).collect();
    let expected = [(View::Full, "", 0), (View::Redacted, "", 0), (View::Sealed, recipient, 0), (View::Outputs, "", 3)];
    assert_eq!(asked, expected);
}

#[test]
fn sealed_view_without_recipient_is_a_usage_error() {
    let server = FakeServer::start();
    let ended = end(&mut server.leasehold(&["state", "pull", "dev/app", "--view", "sealed"]));
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.contains("--recipient") && server.seen().pulls.is_empty(), "{}", ended.err);
}

#[test]
fn masked_places_are_noted_on_stderr_and_all_of_them_in_json() {
    let server = FakeServer::start();
    let ended = end(&mut server.leasehold(&["state", "pull", "dev/app", "--view", "redacted"]));
    assert_eq!(ended.out, DOCUMENT, "nothing but the document is on stdout");
    assert!(ended.err.contains("masked: outputs.o19.value\nmasked: … and 10 more\n"), "{}", ended.err);
    assert!(!ended.err.contains("o20"), "{}", ended.err);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let args = ["state", "pull", "dev/app", "--view", "redacted", "--to", path.to_str().unwrap(), "--output", "json"];
    let ended = end(&mut server.leasehold(&args));
    let value = ended.json();
    assert_eq!((&value["view"], &value["masked"][29]), (&json!("redacted"), &json!("outputs.o29.value")));
    assert!(!ended.err.contains("masked"), "a program gets them once: {}", ended.err);
}

#[test]
fn signer_of_a_sealed_view_is_named() {
    let server = FakeServer::start();
    let ended = end(&mut server.leasehold(&["state", "pull", "dev/app", "--view", "sealed", "--recipient", "age1x"]));
    assert!(ended.err.contains("signed by lhs1fake"), "{}", ended.err);
    let shown = end(&mut server.leasehold(&["env", "show", "dev", "--output", "json"])).json();
    assert_eq!((&shown["signer"], &shown["identity"]), (&json!("lhs1fake"), &json!(2)));
    let card = end(&mut server.leasehold(&["env", "show", "dev"]));
    assert!(card.out.contains("lhs1fake"), "{}", card.out);
}

#[test]
fn reasons_are_shown_by_place_when_asked_for() {
    let server = FakeServer::start();
    let plain = end(&mut server.leasehold(&["state", "show", "dev/app"]));
    assert!(!plain.out.contains("outputs.o.value"), "{}", plain.out);
    let ended = end(&mut server.leasehold(&["state", "show", "dev/app", "--why"]));
    assert!(ended.out.contains("mark  outputs.o.value"), "{}", ended.out);
    assert!(ended.err.contains("2 sealed places, of which the first 1:"), "{}", ended.err);
    let value = end(&mut server.leasehold(&["state", "show", "dev/app", "--why", "--output", "json"])).json();
    assert_eq!(value["sealed"], json!([{ "place": "outputs.o.value", "reason": "mark" }]));
    assert_eq!((&value["sealed_count"], &value["version"]["etag"]), (&json!("2"), &json!("e4")));
}

#[test]
fn warnings_of_a_push_are_on_stderr_by_place_and_bounded() {
    let server = FakeServer::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), DOCUMENT).unwrap();
    let path = file.path().to_str().unwrap();
    let ended = end(&mut server.leasehold(&["state", "push", "dev/odd", path]));
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(ended.err.matches("warning: t.n.attributes: a mark is odd [MARK_SHAPE]").count(), 20, "{}", ended.err);
    assert!(ended.err.contains("warning: … and 5 more"), "{}", ended.err);
    let value = end(&mut server.leasehold(&["state", "push", "dev/odd", path, "--output", "json"])).json();
    assert_eq!(value["warnings"].as_array().map(Vec::len), Some(25));
}

#[test]
fn rules_are_changed_on_top_of_what_others_made_of_them() {
    let server = FakeServer::start();
    let listed = end(&mut server.leasehold(&["env", "rules", "list", "dev"]));
    assert_eq!(listed.out, "except *:tags.**\n");
    // The first try meets somebody else's change.
    let added = end(&mut server.leasehold(&["env", "rules", "add", "dev", "seal aws_instance:user_data", "except *:tags.**"]));
    assert_eq!((added.code, added.out.as_str()), (0, "except *:tags.**\nseal aws_instance:user_data\n"), "{}", added.err);
    let tries: Vec<_> = server.seen().rules.iter().map(|request| request.revision).collect();
    assert_eq!(tries, [6, 7]);
    let ids: std::collections::HashSet<_> = server.seen().rules.into_iter().map(|request| request.request_id).collect();
    assert_eq!(ids.len(), 2, "another request has another id");
    let value = end(&mut server.leasehold(&["env", "rules", "remove", "dev", "except *:tags.**", "--output", "json"])).json();
    assert_eq!(value, json!({ "revision": "9", "rules": [] }));
    let missing = end(&mut server.leasehold(&["env", "rules", "remove", "dev", "seal a:b"]));
    missing.fails_with(1, "there is no rule `seal a:b`", "env rules list");
    let same = end(&mut server.leasehold(&["env", "rules", "add", "dev", "except *:tags.**"]));
    assert!(same.code == 0 && same.err.contains("nothing to change"), "{}", same.err);
    assert_eq!(server.seen().rules.len(), 3);
}
