//! Secrets are found wherever they stand and however they are written; and every part of the search is needed for that.

use std::collections::{BTreeSet, HashSet};
use std::io::Write;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use flate2::{Compression, write::GzEncoder};
use leasehold::domain::format::Format;
use leasehold::secrets::find::{Switches, WarningKind};
use leasehold::secrets::hole::Reason;
use serde_json::{Value, json};

use crate::support::{ALL, places, search, search_after, search_under, skeleton, strings};

/// Characters that need escaping in every form.
const CANARY: &str = "c\"\\<&%\u{e9}/+=\nanary";

fn state(resources: Value, outputs: Value) -> Vec<u8> {
    let state = json!({
        "version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "some-lineage", "outputs": outputs, "resources": resources,
        "check_results": null,
    });
    serde_json::to_vec_pretty(&state).unwrap()
}

fn resource(of_type: &str, name: &str, attributes: Value, marks: Value) -> Value {
    json!({
        "mode": "managed", "type": of_type, "name": name, "provider": "p",
        "instances": [{"schema_version": 0, "attributes": attributes, "sensitive_attributes": marks}],
    })
}

fn mark(attribute: &str) -> Value {
    json!([[{"type": "get_attr", "value": attribute}]])
}

fn json_string(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn lines(text: &str, width: usize) -> String {
    text.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect::<Vec<_>>().join("\n")
}

/// Every form in which a secret is looked for.
fn forms(secret: &str) -> Vec<(String, String)> {
    let wide: Vec<u8> = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let object = |text: &str| format!("{{\"a\":[{{\"b\":{}}}]}}", json_string(text));
    let nested = (0..3).fold(object(secret), |inner, _| object(&inner));
    let mut forms = vec![
        ("as it is", secret.to_owned()),
        ("in a text", format!("#!/bin/sh\nrun --with '{secret}' --now\n")),
        ("in JSON", object(secret)),
        ("in JSON four deep", nested),
        ("as a key in JSON", format!("{{{}:1}}", json_string(secret))),
        ("in JSON within a text", format!("cat <<END\n{}\nEND\n", object(secret))),
        ("in JSON with every character as a number", {
            let units: String = secret.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            format!("{{\"a\":\"{units}\"}}")
        }),
        ("percent-encoded", format!("scheme:{}?x", percent(secret))),
        ("percent-encoded twice", percent(&percent(secret))),
        ("in UTF-16", STANDARD.encode(wide)),
        ("packed", STANDARD.encode(gzip(&format!("echo {secret}")))),
        ("packed JSON", STANDARD.encode(gzip(&object(secret)))),
        ("JSON in base64", STANDARD.encode(object(secret))),
        ("base64 in base64 in base64", STANDARD.encode(STANDARD.encode(format!("a text with {}", STANDARD.encode(secret))))),
        ("percent in base64", STANDARD.encode(percent(secret))),
        ("base64 in JSON", object(&STANDARD.encode(format!("user {secret}")))),
        ("base64 in a text", format!("Authorization: Basic {}", STANDARD.encode(format!("user:{secret}")))),
    ]
    .into_iter()
    .map(|(name, text)| (name.to_owned(), text))
    .collect::<Vec<_>>();
    for shift in 0..3 {
        let text = format!("{}{secret}{}", &"xyz"[..shift], "tail");
        forms.push((format!("base64 after {shift}"), STANDARD.encode(&text)));
        forms.push((format!("bare base64 after {shift}"), STANDARD_NO_PAD.encode(&text)));
        forms.push((format!("base64url after {shift}"), URL_SAFE.encode(&text)));
        forms.push((format!("bare base64url after {shift}"), URL_SAFE_NO_PAD.encode(&text)));
        forms.push((format!("base64 after {shift} in lines"), lines(&STANDARD.encode(&text), 7)));
        forms.push((
            format!("base64 after {shift} in lines of a text"),
            format!("key: |\n  {}\n", lines(&STANDARD.encode(&text), 7).replace('\n', "\n  ")),
        ));
    }
    forms
}

#[test]
fn finding_canaries_in_every_form_at_innocent_keys() {
    for secret in [CANARY, "\u{e9}-two&words<", "exactly8", "\u{1f511}\u{1f512}", "pa ss+wo rd/%41"] {
        let forms = forms(secret);
        let attributes: serde_json::Map<String, Value> =
            forms.iter().enumerate().map(|(n, (_, text))| (format!("field{n}"), text.as_str().into())).collect();
        let source = resource("made_up", "source", json!({"origin": secret, "other": "left alone"}), mark("origin"));
        let other = json!({"mode": "data", "type": "made_up", "name": "other", "provider": "p", "instances": [
            {"schema_version": 0, "attributes": attributes, "private": STANDARD.encode(object_with(secret)), "sensitive_attributes": []},
        ]});
        for resources in [json!([source, other]), json!([other, source])] {
            let document = state(resources, json!({}));
            let found = search(&document, Format::Terraform);
            let sealed = places(&found);
            for (n, (name, _)) in forms.iter().enumerate() {
                assert!(sealed.contains(&format!("data.made_up.other.attributes.field{n}")), "{secret:?} {name}: {sealed:?}");
            }
            assert!(sealed.contains("data.made_up.other.private") && sealed.contains("made_up.source.attributes.origin"));
            assert_eq!(sealed.len(), forms.len() + 2, "and nothing else");
            let left = skeleton(&document, &found);
            assert!(!strings(&left).iter().any(|text| text.contains(secret)), "{secret:?} is left");
        }
    }
}

fn object_with(secret: &str) -> String {
    json!({"schema_version": "1", "inner": secret}).to_string()
}

/// A state with three secrets: one that only its mark gives away, one that only rules do, and one copy that only spread finds.
fn three_canaries() -> Vec<u8> {
    let marked = resource("made_up", "marked", json!({"field": "canary-of-marks<&>", "id": "1"}), mark("field"));
    let ruled = resource("made_up", "ruled", json!({"db_password": "Canary-0f-rules<&>", "id": "2"}), json!([]));
    let copies = resource(
        "made_up",
        "copies",
        json!({"a": "x canary-of-marks<&> x", "b": "y Canary-0f-rules<&> y", "id": "3"}),
        json!([]),
    );
    state(json!([marked, ruled, copies]), json!({}))
}

/// How many strings still hold a canary.
fn left(switches: Switches) -> usize {
    let document = three_canaries();
    let found = search_under(&document, Format::Terraform, &[], switches);
    let left = skeleton(&document, &found);
    strings(&left).iter().filter(|text| text.contains("canary-of") || text.contains("Canary-0f")).count()
}

#[test]
fn finding_needs_each_of_marks_rules_and_spread() {
    assert_eq!(left(ALL), 0);
    assert_eq!(left(Switches { marks: false, ..ALL }), 2, "the marked one and its copy");
    assert_eq!(left(Switches { rules: false, ..ALL }), 2, "the one by name and its copy");
    assert_eq!(left(Switches { spread: false, ..ALL }), 2, "both copies");
}

#[test]
fn finding_follows_marks_through_wrappers_lists_maps_and_sets() {
    let index = |value: Value, of: &str| json!({"type": "index", "value": {"value": value, "type": of}});
    let attr = |name: &str| json!({"type": "get_attr", "value": name});
    let attributes = json!({
        "input": {"value": {"a": {"deep": "secret-a1"}, "list": ["no", "secret-b2"], "m": {"k.1": "secret-c3", "o": "no"}}, "type": ["object", {}]},
        "plain": [{"inner": "secret-d4", "size": 1}], "number": 12345678, "flag": true, "nothing": null, "empty": "", "set": ["secret-e5", "in-the-set"],
    });
    let marks = json!([
        [attr("input"), attr("a"), attr("deep")],
        [attr("input"), attr("list"), index(1.into(), "number")],
        [attr("input"), attr("m"), index("k.1".into(), "string")],
        [attr("plain"), index(0.into(), "number"), attr("inner")],
        [attr("number")],
        [attr("flag")],
        [attr("nothing")],
        [attr("empty")],
        [attr("set"), index("secret-e5".into(), "string")],
    ]);
    let found = search(&state(json!([resource("t", "r", attributes, marks)]), json!({})), Format::Terraform);
    let expected = [
        "input.value.a.deep",
        "input.value.list[1]",
        "input.value.m.k.1",
        "plain[0].inner",
        "number",
        "flag",
        "nothing",
        "empty",
        "set",
    ];
    let mut expected: BTreeSet<String> = expected.iter().map(|place| format!("t.r.attributes.{place}")).collect();
    // The mark itself quotes the element.
    expected.insert("t.r.sensitive_attributes[8][1].value.value".to_owned());
    assert_eq!(places(&found), expected);
    let warnings: Vec<_> = found.warnings.iter().map(|warning| (warning.kind, warning.path.to_string())).collect();
    assert_eq!(warnings, [(WarningKind::MarkUnresolved, "t.r.attributes.set".to_owned())]);
}

#[test]
fn finding_seals_the_nearest_ancestor_of_marks_that_lead_nowhere() {
    let attr = |name: &str| json!({"type": "get_attr", "value": name});
    let attributes = json!({"a": null, "b": {"c": [1, 2]}, "d": "x", "w": {"value": {"k": 1}, "type": "dynamic"}});
    for (marks, kind, sealed) in [
        (json!([[attr("a"), attr("x")]]), WarningKind::MarkUnresolved, "t.r.attributes.a"),
        (json!([[attr("b"), attr("x"), attr("y")]]), WarningKind::MarkUnresolved, "t.r.attributes.b"),
        (json!([[attr("b"), attr("c"), attr("y")]]), WarningKind::MarkUnresolved, "t.r.attributes.b.c"),
        (json!([[attr("w"), attr("missing")]]), WarningKind::MarkUnresolved, "t.r.attributes.w"),
        (json!([[attr("missing")]]), WarningKind::MarkUnresolved, "t.r.attributes"),
        (json!([[attr("b"), {"type": "odd", "value": "c"}]]), WarningKind::MarkShape, "t.r.attributes.b"),
        (json!([[attr("b"), "c"]]), WarningKind::MarkShape, "t.r.attributes.b"),
        (json!(["a"]), WarningKind::MarkShape, "t.r.attributes"),
        (json!("a"), WarningKind::MarkShape, "t.r.attributes"),
        (json!({}), WarningKind::MarkShape, "t.r.attributes"),
    ] {
        let found = search(&state(json!([resource("t", "r", attributes.clone(), marks.clone())]), json!({})), Format::Terraform);
        assert_eq!(places(&found), [sealed.to_owned()].into(), "{marks}");
        assert_eq!(found.warnings.iter().map(|warning| warning.kind).collect::<Vec<_>>(), [kind], "{marks}");
    }
    for none in [json!([]), json!(null)] {
        let found = search(&state(json!([resource("t", "r", attributes.clone(), none)]), json!({})), Format::Terraform);
        assert!(found.holes.is_empty() && found.warnings.is_empty());
    }
    let whole = search(&state(json!([resource("t", "r", attributes, json!([[]]))]), json!({})), Format::Terraform);
    assert_eq!(places(&whole), ["t.r.attributes".to_owned()].into());
    assert!(whole.warnings.is_empty());
}

#[test]
fn finding_seals_outputs_that_are_sensitive_or_oddly_so() {
    let output = |sensitive: Value| json!({"value": {"a": [1, "s"]}, "type": "dynamic", "sensitive": sensitive});
    let outputs = json!({
        "yes": output(true.into()), "no": output(false.into()), "null": output(Value::Null), "odd": output("true".into()),
        "open": {"value": "v", "type": "string"}, "db_password": {"value": "short", "type": "string"}, "first": {"sensitive": true, "value": "x"},
    });
    let found = search(&state(json!([]), outputs), Format::Terraform);
    let expected = ["outputs.yes.value", "outputs.odd.value", "outputs.db_password.value", "outputs.first.value"];
    assert_eq!(places(&found), expected.map(str::to_owned).into());
    assert_eq!(found.warnings.iter().map(|warning| warning.kind).collect::<Vec<_>>(), [WarningKind::MarkShape]);
}

#[test]
fn finding_keys_of_objects_seals_the_object_and_the_type_beside_it() {
    let source = resource("t", "source", json!({"field": "key-canary-1"}), mark("field"));
    let wrapped = json!({"value": {"key-canary-1": 1, "b": 2}, "type": ["object", {"key-canary-1": "number", "b": "number"}]});
    let mapped = json!({"value": {"deep": {"key-canary-1": 1}, "b": "x"}, "type": ["map", "dynamic"]});
    let other = resource("t", "other", json!({"w": wrapped, "m": mapped, "plain": {"inner": {"key-canary-1": 1}}}), json!([]));
    let outputs = json!({
        "top": {"value": {"key-canary-1": 1}, "type": ["object", {"key-canary-1": "number"}]},
        "deep": {"value": {"a": {"key-canary-1": 1}}, "type": ["object", {"a": ["object", {"key-canary-1": "number"}]}]},
        "map": {"value": {"key-canary-1": 1}, "type": ["map", "number"]},
        "open": {"value": {"a": 1}, "type": ["object", {"a": "number"}]},
    });
    let found = search(&state(json!([source, other]), outputs), Format::Terraform);
    let expected = [
        "t.source.attributes.field",
        "t.other.attributes.w.value",
        "t.other.attributes.w.type",
        "t.other.attributes.m.value.deep",
        "t.other.attributes.plain.inner",
        "outputs.top.value",
        "outputs.top.type",
        "outputs.deep.value",
        "outputs.deep.type",
        "outputs.map.value",
        "outputs.map.type",
    ];
    assert_eq!(places(&found), expected.map(str::to_owned).into());
}

#[test]
fn finding_weak_secrets_stays_in_their_resource_and_with_whole_leaves() {
    let source = resource(
        "t",
        "one",
        json!({"field": "k7q2", "same": " k7q2", "part": "xk7q2", "number": 1, "list": ["k7q2"]}),
        mark("field"),
    );
    let pin = resource("t", "pin", json!({"field": "48151623", "same": 48151623, "other": "48151624"}), mark("field"));
    let word = resource("t", "word", json!({"field": "eu-west-1", "same": "eu-west-1", "zone": "eu-west-1a"}), mark("field"));
    let tiny =
        resource("t", "tiny", json!({"field": "abc", "same": "abc", "flag": "true"}), json!([mark("field")[0], mark("flag")[0]]));
    let other =
        resource("t", "other", json!({"a": "k7q2", "b": "48151623", "c": "eu-west-1", "d": "true", "e": true}), json!([]));
    let found = search(&state(json!([source, pin, word, tiny, other]), json!({})), Format::Terraform);
    let expected = [
        "t.one.attributes.field",
        "t.one.attributes.same",
        "t.one.attributes.list[0]",
        "t.pin.attributes.field",
        "t.pin.attributes.same",
        "t.word.attributes.field",
        "t.word.attributes.same",
        "t.tiny.attributes.field",
        "t.tiny.attributes.flag",
    ];
    assert_eq!(places(&found), expected.map(str::to_owned).into());
}

#[test]
fn finding_numbers_goes_by_how_they_are_written() {
    let attributes = json!({"field": 0});
    let document = state(json!([resource("t", "r", attributes, mark("field"))]), json!({"a": {"value": [], "type": "dynamic"}}));
    for (number, value, sealed) in [
        ("1e400", "[1e400, \"1e400\", 1e401]", 1),
        ("90071992547409931234", "[\"id-90071992547409931234\", 90071992547409931234, 9007199254740993123]", 3),
    ] {
        let text = String::from_utf8(document.clone()).unwrap();
        let text = text
            .replace("\"field\": 0", &format!("\"field\": {number}"))
            .replace("\"value\": []", &format!("\"value\": {value}"));
        let found = search_after(text.as_bytes(), Format::Terraform, &[], &HashSet::new(), ALL);
        assert_eq!(found.holes.len(), sealed, "{number}: {:?}", places(&found));
        assert_eq!(
            found.holes.iter().filter(|hole| hole.span.of(text.as_bytes()) == number.as_bytes()).count(),
            1 + usize::from(sealed > 1)
        );
    }
}

#[test]
fn finding_in_structure_warns_and_seals_nothing_there() {
    let source = resource("t", "source", json!({"field": "structural-canary"}), mark("field"));
    let mut other = resource("t", "structural-canary", json!({"structural-canary": 1, "ok": "no"}), json!([]));
    other["provider"] = "ghp_012345678901234567890123456789012345".into();
    other["instances"][0]["dependencies"] = json!(["t.structural-canary"]);
    let outputs = json!({"structural-canary": {"value": 1, "type": "number"}});
    let document = state(json!([source, other]), outputs);
    let found = search(&document, Format::Terraform);
    assert_eq!(places(&found), ["t.source.attributes.field".to_owned()].into());
    let warned: BTreeSet<String> = found.warnings.iter().map(|warning| warning.path.to_string()).collect();
    let expected = [
        "t.structural-canary.provider",
        "t.structural-canary.name",
        "t.structural-canary.dependencies[0]",
        "t.structural-canary.attributes.structural-canary",
        "outputs.structural-canary",
    ];
    assert_eq!(warned, expected.map(str::to_owned).into());
    assert!(found.warnings.iter().all(|warning| warning.kind == WarningKind::StructuralSecret));
}

#[test]
fn finding_goes_by_the_rules_of_the_environment() {
    let attributes = json!({
        "user_data": "run", "db_password": "Tr0ub4dor&3-words", "tags": {"password": "shown", "Name": "n"}, "list": [{"x": "y"}], "field": "marked-text",
        "copy": "marked-text",
    });
    let document = state(
        json!([resource("aws_instance", "r", attributes, mark("field"))]),
        json!({"o": {"value": {"a": "b"}, "type": "dynamic"}}),
    );
    let sealed = |rules: &[&str]| {
        let found = search_under(&document, Format::Terraform, rules, ALL);
        found
            .holes
            .iter()
            .map(|hole| (hole.path.to_string().replace("aws_instance.r.attributes.", ""), hole.reason))
            .collect::<BTreeSet<_>>()
    };
    let base =
        [("copy", Reason::Spread), ("db_password", Reason::KeyName), ("field", Reason::Mark), ("tags.password", Reason::KeyName)];
    let with = |more: &[(&str, Reason)], without: &[&str]| -> BTreeSet<(String, Reason)> {
        let all = base.iter().chain(more).filter(|(place, _)| !without.contains(place));
        all.map(|(place, reason)| ((*place).to_owned(), *reason)).collect()
    };
    assert_eq!(sealed(&[]), with(&[], &[]));
    assert_eq!(sealed(&["seal aws_instance:user_data"]), with(&[("user_data", Reason::Environment)], &[]));
    assert_eq!(sealed(&["seal aws_*:list.*.x"]), with(&[("list[0].x", Reason::Environment)], &[]));
    assert_eq!(sealed(&["seal *:list"]), with(&[("list", Reason::Environment)], &[]));
    assert_eq!(sealed(&["seal google_*:**"]), with(&[], &[]));
    assert_eq!(sealed(&["seal output:o.a"]), with(&[("outputs.o.value.a", Reason::Environment)], &[]));
    assert_eq!(sealed(&["except *:tags.**"]), with(&[], &["tags.password"]));
    assert_eq!(sealed(&["seal *:user_data", "except *:user_data"]), with(&[], &[]), "exceptions win");
    assert_eq!(sealed(&["except *:**"]), with(&[], &["db_password", "tags.password"]), "marks and spread stay");
}

#[test]
fn finding_keeps_sealed_what_was_sealed_before() {
    let plain = |value: Value| {
        state(json!([resource("t", "r", json!({"a": "x", "b": value, "l": [1, {"y": 2}]}), json!([]))]), json!({}))
    };
    let marks = json!([mark("b")[0], [{"type": "get_attr", "value": "l"}]]);
    let first =
        search(&state(json!([resource("t", "r", json!({"a": "x", "b": "old", "l": []}), marks)]), json!({})), Format::Terraform);
    let before: HashSet<_> = first.holes.into_iter().map(|hole| hole.path).collect();
    for value in [json!("new"), json!(5), json!(null), json!({"in": "it"})] {
        let found = search_after(&plain(value), Format::Terraform, &[], &before, ALL);
        assert_eq!(places(&found), ["t.r.attributes.b".to_owned(), "t.r.attributes.l".to_owned()].into());
        assert!(found.holes.iter().all(|hole| hole.reason == Reason::Before));
    }
    let lifted = search_after(&plain(json!("new")), Format::Terraform, &["except *:b".parse().unwrap()], &before, ALL);
    assert_eq!(places(&lifted), ["t.r.attributes.l".to_owned()].into());
}

#[test]
fn finding_names_places_alike_however_resources_are_ordered() {
    let secret = |name: &str| resource("t", name, json!({"field": format!("secret of {name}")}), mark("field"));
    let mut keyed = secret("keyed");
    let instance = keyed["instances"][0].clone();
    let with = |key: &str, value: Value| {
        let mut changed = instance.clone();
        changed[key] = value;
        changed
    };
    keyed["instances"] =
        json!([with("index_key", "0".into()), with("index_key", 0.into()), with("deposed", "0a1b2c3d".into()), instance]);
    let (a, b) = (secret("a"), secret("b"));
    let one = search(&state(json!([a, b, keyed]), json!({})), Format::Terraform);
    let other = search(&state(json!([keyed, b, a]), json!({})), Format::Terraform);
    let paths =
        |found: &leasehold::secrets::find::Found| found.holes.iter().map(|hole| hole.path.clone()).collect::<HashSet<_>>();
    assert_eq!(paths(&one), paths(&other));
    assert_eq!(one.holes.len(), 6);
    // Two resources that nothing tells apart.
    let twice = search(&state(json!([a, a]), json!({})), Format::Terraform);
    assert_eq!(places(&twice), ["t.a.attributes.field".to_owned(), "t.a.attributes.field (no. 2)".to_owned()].into());
}

#[test]
fn finding_in_legacy_flat_attributes_goes_by_the_last_word() {
    let mut flat = resource("t", "r", json!(null), mark("marked"));
    flat["instances"][0].as_object_mut().unwrap().remove("attributes");
    flat["instances"][0]["attributes_flat"] = json!({
        "id": "1", "tokens.0": "a", "tokens.#": "1", "tags.db_password": "b", "marked.0.x": "marked-canary", "password_length": "8", "copy": "<marked-canary>",
    });
    let found = search(&state(json!([flat]), json!({})), Format::Terraform);
    let expected = ["tokens.0", "tags.db_password", "marked.0.x", "copy"].map(|name| format!("t.r.attributes_flat.{name}"));
    assert_eq!(places(&found), expected.into_iter().collect());
}

const SIGNATURE: &str = "4dabf18193072939515e22adb298388d";
const SECRET: &str = "1b47061264138c4ac30d75fd1eb44270";

#[test]
fn finding_in_pulumi_goes_by_its_secrets_and_secret_outputs() {
    let plain = json!({SIGNATURE: SECRET, "plaintext": json_string("pulumi-canary<&>")});
    let cipher = json!({SIGNATURE: SECRET, "ciphertext": "v1:abcdefghijklmnop:xyz"});
    let odd = json!({SIGNATURE: SECRET, "plaintext": "1", "ciphertext": "2"});
    let urn = "urn:pulumi:dev::p::aws:rds/instance:Instance::db";
    let document = json!({"version": 3, "deployment": {
        "manifest": {"time": "t", "magic": "m", "version": "v3"},
        "resources": [
            {"urn": urn, "custom": true, "id": "id of pulumi-canary<&>", "type": "aws:rds/instance:Instance",
             "inputs": {"a": plain, "b": cipher, "c": odd, "adminPassword": "hunter2"},
             "outputs": {"named": {"x": "named-canary-1"}, "sealed": cipher, "copy": "x named-canary-1 x", "rule": "by rule"},
             "parent": "urn:pulumi:dev::p::pulumi:pulumi:Stack::s", "additionalSecretOutputs": ["named", "sealed"]},
            {"urn": "urn:pulumi:dev::p::x:y:Z::other", "custom": true, "type": "x:y:Z", "initErrors": ["failed with pulumi-canary<&>"],
             "outputs": {"here": 1}, "additionalSecretOutputs": ["gone"]},
        ],
        "pending_operations": [{"type": "creating", "resource": {"urn": urn, "type": "x:y:Z", "inputs": {"a": plain}}}],
    }});
    let found = search_under(&serde_json::to_vec(&document).unwrap(), Format::Pulumi, &["seal aws:rds/*:Instance:rule"], ALL);
    let other = "urn:pulumi:dev::p::x:y:Z::other";
    let expected = [
        format!("{urn}.id"),
        format!("{urn}.inputs.a.plaintext"),
        format!("{urn}.inputs.c"),
        format!("{urn}.inputs.adminPassword"),
        format!("{urn}.outputs.named"),
        format!("{urn}.outputs.copy"),
        format!("{urn}.outputs.rule"),
        format!("{other}.initErrors[0]"),
        format!("{other}.outputs"),
        format!("pending_operations.{urn}.inputs.a.plaintext"),
    ];
    assert_eq!(places(&found), expected.into_iter().collect());
    let kinds: BTreeSet<String> = found.warnings.iter().map(|warning| format!("{:?}", warning.kind)).collect();
    assert_eq!(kinds, ["MarkShape".to_owned(), "MarkUnresolved".to_owned()].into());
}

#[test]
fn finding_in_strings_that_are_json_seals_the_string() {
    let definitions =
        json!([{"name": "app", "environment": [{"name": "DB_PASSWORD", "value": "Nested-pair-0ne"}], "image": "nginx"}])
            .to_string();
    let twice = json!({"inner": definitions}).to_string();
    let harmless = json!([{"name": "app", "environment": [{"name": "DB_HOST", "value": "db"}]}]).to_string();
    let document = json!({"definitions": definitions, "twice": twice, "harmless": harmless, "copy": "x Nested-pair-0ne x", "other": "Nested-pair"});
    let found = search(&serde_json::to_vec(&document).unwrap(), Format::Json);
    assert_eq!(places(&found), ["definitions", "twice", "copy"].map(str::to_owned).into());
}

#[test]
fn finding_leaves_opaque_documents_whole() {
    let found = leasehold::secrets::find::find(
        b"\xff not json",
        &leasehold::secrets::find::Search::new(Format::Opaque, &[], &HashSet::new()),
    );
    let found = found.unwrap();
    assert_eq!(found.holes.len(), 1);
    assert_eq!((found.holes[0].reason, found.holes[0].span.start, found.holes[0].span.end), (Reason::Whole, 0, 10));
}

/// What two threads find in a large document is what one finds, also where bounds are met, or were by one and not by the other.
#[test]
fn large_document_is_searched_alike_by_one_thread_and_by_two() {
    let secret = "canary-of-LARGE-documents/+=";
    let encode = |text: &str| STANDARD.encode(text);
    let filler = |n: usize| format!("\"a harmless text, number {n}, with words of some length\"");
    let leaf = |kind: usize, n: usize| match (n % 97, kind) {
        (0, _) => format!("\"it is {secret}, you see\""),
        (1, _) => format!("\"{}\"", encode(&format!("{n} {secret}"))),
        (2, _) => format!("{{\"{secret}\":1,\"type\":\"x\",\"value\":[{n}]}}"),
        (3, _) => format!("{{\"type\":\"{secret}\",\"value\":[{n}]}}"),
        // Many layers: more to decode than is decoded.
        (_, 1) => format!("\"{}\"", (0..4).fold(format!("text number {n} that is wrapped"), |text, _| encode(&text))),
        // Nearly the secret, again and again: more to compare than is compared.
        (_, 2) => format!("\"{}\"", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".repeat(4)),
        (_, 3) => format!("\"{}\"", r"\u0061%2525\\".repeat(40)),
        _ => filler(n),
    };
    for kind in 0..4 {
        let mut document = format!(r#"{{"password":"{secret}","token":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaB7","a":["#);
        for n in 0.. {
            // All that is hard stands in one of the two parts.
            let part = if document.len() < 700_000 { kind } else { 0 };
            document += &leaf(if kind == 3 { 3 } else { part }, n);
            if document.len() > 1_500_000 {
                break;
            }
            document.push(',');
        }
        document += "]}";
        let two = search_under(document.as_bytes(), Format::Json, &[], ALL);
        let one = search_under(document.as_bytes(), Format::Json, &[], Switches { beside: false, ..ALL });
        assert!(one == two, "kind {kind}: {} places by one, {} by two", one.holes.len(), two.holes.len());
        assert!(one.holes.len() > 100, "kind {kind}: {}", one.holes.len());
    }
}
