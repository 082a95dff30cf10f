//! Documents made to break the search, or to make it take forever.

use std::collections::HashSet;
use std::io::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use leasehold::domain::format::Format;
use leasehold::secrets::find::{Search, Switches, WarningKind, find};
use leasehold::secrets::hole::Reason;
use leasehold::secrets::path::Path;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{ALL, assert_sound, places, search, search_after};

fn with_secret(secret: &str, more: Value) -> Vec<u8> {
    let outputs =
        json!({"s": {"value": secret, "type": "string", "sensitive": true}, "more": {"value": more, "type": "dynamic"}});
    let state = json!({"version": 4, "terraform_version": "1", "serial": 1, "lineage": "l", "outputs": outputs, "resources": []});
    serde_json::to_vec(&state).unwrap()
}

fn packed(megabytes: usize, end: &str) -> String {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    (0..megabytes).for_each(|_| encoder.write_all(&vec![b' '; 1 << 20]).unwrap());
    encoder.write_all(end.as_bytes()).unwrap();
    STANDARD.encode(encoder.finish().unwrap())
}

#[test]
fn hostile_bombs_are_decoded_within_bounds() {
    let one = packed(0, "the bomb-canary inside");
    let found = search(&with_secret("bomb-canary", json!({"small": one, "large": packed(40, "bomb-canary")})), Format::Terraform);
    assert!(places(&found).contains("outputs.more.value.small"));
    assert!(!found.overflow, "40 MiB packed are unpacked for one only");
    // Each unpacks to the bound; together they would be 400 MiB from 400 KB.
    let bombs: Vec<Value> = vec![packed(1, "").into(); 400];
    let document = with_secret("bomb-canary", bombs.into());
    let found = search(&document, Format::Terraform);
    assert!(found.overflow);
    let (spread, rest): (Vec<_>, Vec<_>) = found.holes.iter().partition(|hole| hole.reason == Reason::Overflow);
    assert!(spread.len() > 300, "what is not decoded is sealed: {}", spread.len());
    assert_eq!(rest.len(), 1);
    assert!(found.warnings.iter().any(|warning| warning.kind == WarningKind::Overflow));
}

#[test]
fn hostile_nests_of_encodings_end_at_their_depth() {
    let deep = |layers: usize| (0..layers).fold("text with nest-canary!".to_owned(), |text, _| STANDARD.encode(text));
    let values: Vec<Value> = (0..9).map(|layers| deep(layers).into()).collect();
    let found = search(&with_secret("nest-canary", values.into()), Format::Terraform);
    let sealed: Vec<bool> = (0..9).map(|n| places(&found).contains(&format!("outputs.more.value[{n}]"))).collect();
    assert_eq!(
        sealed,
        [true, true, true, true, true, false, false, false, false],
        "three layers are undone, and one more is known by its form"
    );
    let escapes = "\\".repeat(200_000) + "%25%25" + &"%2525".repeat(20_000);
    search(&with_secret("nest-canary", json!([escapes])), Format::Terraform);
}

#[test]
fn hostile_depth_of_json_is_no_recursion() {
    let nested = "[".repeat(100) + "\"depth-canary\"" + &"]".repeat(100);
    let document = with_secret("depth-canary", Value::Null);
    let document = String::from_utf8(document).unwrap().replace("\"value\":null", &format!("\"value\":{nested}"));
    assert_eq!(search(document.as_bytes(), Format::Terraform).holes.len(), 2);
    let deeper = document.replace(&nested, &("[".repeat(200) + &"]".repeat(200)));
    assert!(find(deeper.as_bytes(), &Search::new(Format::Terraform, &[], &HashSet::new())).is_err());
    // A string with JSON deeper than is read: looked at as a text.
    let text = "[".repeat(300) + "\"depth-canary\"" + &"]".repeat(300);
    assert_eq!(search(&with_secret("depth-canary", text.into()), Format::Terraform).holes.len(), 2);
}

#[test]
fn hostile_numbers_of_secrets_overflow_and_seal_every_string() {
    let secrets = |count: usize| -> Value { (0..count).map(|n| format!("secret number {n}")).collect::<Vec<_>>().into() };
    let state = |count: usize| {
        let outputs = json!({
            "s": {"value": secrets(count), "type": "dynamic", "sensitive": true},
            "open": {"value": ["harmless", 5, {"key": "also harmless"}, "secret number 7"], "type": ["tuple", ["string"]]},
        });
        serde_json::to_vec(&json!({"version": 4, "serial": 1, "lineage": "l", "outputs": outputs, "resources": []})).unwrap()
    };
    let many = search(&state(60_000), Format::Terraform);
    assert!(!many.overflow);
    assert_eq!(places(&many), ["outputs.s.value", "outputs.open.value[3]"].map(str::to_owned).into());
    let more = search(&state(70_000), Format::Terraform);
    assert!(more.overflow && more.warnings.iter().any(|warning| warning.kind == WarningKind::Overflow));
    let expected = ["outputs.s.value", "outputs.open.value[0]", "outputs.open.value[2].key", "outputs.open.value[3]"];
    assert_eq!(places(&more), expected.map(str::to_owned).into());
}

#[test]
fn hostile_numbers_of_places_are_sealed_by_the_part() {
    let copies: Value = vec!["a copied canary"; 300_000].into();
    let document = with_secret("copied canary", copies);
    let found = search(&document, Format::Terraform);
    assert_eq!(places(&found), ["outputs.s.value", "outputs.more.value"].map(str::to_owned).into());
}

#[test]
fn hostile_repetition_costs_no_comparison_of_everything_with_everything() {
    // Prefixes of one text: each byte of the text could be the start of any of them.
    let secrets: Vec<Value> = (0..1_000).map(|n| ("a".repeat(300 + n) + "b").into()).collect();
    let outputs = json!({
        "s": {"value": secrets, "type": "dynamic", "sensitive": true}, "o": {"value": "a".repeat(1 << 19), "type": "string"},
    });
    let state = json!({"version": 4, "serial": 1, "lineage": "l", "outputs": outputs, "resources": []});
    search(&serde_json::to_vec(&state).unwrap(), Format::Terraform);
    for part in ["eyJ", "-----BEGIN PRIVATE KEY-----", "a://b:c@", "ghp_", "AKIA", "://:", "{\"", "\\u00", "%"] {
        search(&with_secret("not in there", json!([part.repeat((1 << 18) / part.len())])), Format::Terraform);
    }
}

#[test]
fn hostile_marks_in_great_number_are_followed_in_one_go() {
    let attributes: serde_json::Map<String, Value> =
        (0..8_000).map(|n| (format!("a{n}"), json!({"value": {"x": n}, "type": "dynamic"}))).collect();
    let attr = |name: String| json!({"type": "get_attr", "value": name});
    let marks: Vec<Value> = (0..8_000).map(|n| json!([attr(format!("a{n}")), attr("x".to_owned())])).collect();
    let instance = json!({"attributes": attributes, "sensitive_attributes": marks, "schema_version": 0});
    let resources = json!([{"mode": "managed", "type": "t", "name": "n", "instances": [instance]}]);
    let state = json!({"version": 4, "serial": 1, "lineage": "l", "outputs": {}, "resources": resources});
    let found = search(&serde_json::to_vec(&state).unwrap(), Format::Terraform);
    assert_eq!(found.holes.len(), 8_000);
    assert!(found.warnings.is_empty());
}

/// Documents that have the words of formats at all places, right and wrong.
fn document() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "outputs",
        "value",
        "type",
        "sensitive",
        "resources",
        "instances",
        "attributes",
        "attributes_flat",
        "sensitive_attributes",
        "index_key",
        "name",
        "mode",
        "module",
        "private",
        "check_results",
        "deployment",
        "checkpoint",
        "latest",
        "inputs",
        "urn",
        "additionalSecretOutputs",
        "plaintext",
        "ciphertext",
        "4dabf18193072939515e22adb298388d",
        "password",
        "a",
        "b",
        "hunter2-canary",
        "pending_operations",
        "resource",
    ]);
    let text = prop::sample::select(vec![
        "get_attr",
        "index",
        "a",
        "b",
        "value",
        "hunter2-canary",
        "x hunter2-canary",
        "aHVudGVyMi1jYW5hcnk=",
        "1b47061264138c4ac30d75fd1eb44270",
        "postgres://u:hunter2-canary@h",
        "{\"password\":\"hunter2-canary\"}",
        "%68unter2-canary",
        "string",
        "",
        "k7q2",
    ]);
    let leaf = prop_oneof![
        text.prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        (0..3_u8).prop_map(Value::from),
        Just(Value::Null)
    ];
    let inner = leaf.prop_recursive(7, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(key.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    prop_oneof![
        inner.clone(),
        (inner.clone(), inner.clone())
            .prop_map(|(outputs, resources)| json!({"version": 4, "outputs": outputs, "resources": resources})),
        (inner.clone(), inner.clone()).prop_map(|(attributes, marks)| json!({
            "outputs": {"s": {"value": "hunter2-canary", "sensitive": true}},
            "resources": [{"type": "t", "name": "n", "instances": [{"attributes": attributes, "sensitive_attributes": marks}]}],
        })),
        inner.prop_map(|resource| json!({"version": 3, "deployment": {"resources": [resource]}})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_documents_of_every_shape_are_searched_soundly(value in document(), pretty in any::<bool>()) {
        let bytes = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        for format in [Format::Terraform, Format::Pulumi, Format::Json] {
            let found = search(&bytes, format);
            // What was sealed once stays so by its place alone.
            let before: HashSet<Path> = found.holes.iter().map(|hole| hole.path.clone()).collect();
            let kept = search_after(&bytes, format, &[], &before, Switches { marks: false, rules: false, spread: false, beside: true });
            let spans = |found: &leasehold::secrets::find::Found| found.holes.iter().map(|hole| hole.span).map(|span| (span.start, span.end)).collect::<Vec<_>>();
            let (found, kept) = (spans(&found), spans(&kept));
            prop_assert!(found.iter().all(|span| kept.iter().any(|other| other.0 <= span.0 && span.1 <= other.1)), "{}", value);
        }
    }

    #[test]
    fn hostile_bytes_are_refused_or_searched(at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut state = include_bytes!("golden/encodings.tfstate").to_vec();
        for (index, byte) in at {
            let at = index.index(state.len());
            state[at] = byte;
        }
        for format in [Format::Terraform, Format::Json, Format::Pulumi] {
            if let Ok(found) = find(&state, &Search::new(format, &[], &HashSet::new()).with_switches(ALL)) {
                assert_sound(&state, &found);
            }
        }
    }
}

#[test]
fn type_of_an_output_without_a_value_stays_sealed() {
    let document =
        br#"{"version":4,"outputs":{"o":{"type":"hunter2-canary"}},"resources":{"u":"postgres://u:hunter2-canary@h"}}"#;
    let found = search(document, Format::Terraform);
    let before: HashSet<Path> = found.holes.iter().map(|hole| hole.path.clone()).collect();
    let kept = search_after(
        document,
        Format::Terraform,
        &[],
        &before,
        Switches { marks: false, rules: false, spread: false, beside: true },
    );
    assert_eq!((before.len(), kept.holes.len()), (2, 2), "{:?}", kept.holes);
}
