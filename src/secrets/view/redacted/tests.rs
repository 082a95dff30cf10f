use std::collections::HashSet;

use super::*;
use crate::domain::format::Format;
use crate::secrets::find::{Search, find};
use crate::secrets::seal::cut::cut;

/// The redacted form by both ways, which have to agree; and the kinds and paths of the holes.
fn redacted(format: Format, document: &str) -> (String, Vec<String>) {
    let none = HashSet::new();
    let found = find(document.as_bytes(), &Search::new(format, &[], &none)).unwrap();
    let whole = redact_whole(document.as_bytes(), &found.holes);
    let parts = cut(document.as_bytes(), &found.holes).unwrap();
    let paths = found.holes.iter().map(|hole| hole.path.to_string()).collect();
    let ordinals: Vec<u32> = (0..).take(found.holes.len()).collect();
    let text = parts.text.concat();
    let head = parts.head(found.holes, &ordinals, found.overflow);
    assert!(redact(&text, &head.holes) == whole, "the skeleton and the document give two redacted forms");
    (String::from_utf8(whole).unwrap(), paths)
}

fn terraform(outputs: &str, attributes: &str, marks: &str) -> String {
    format!(
        r#"{{"version":4,"serial":1,"lineage":"l","outputs":{{{outputs}}},"resources":[{{"mode":"managed","type":"t","name":"n","instances":[{{
        "schema_version":0,"attributes":{{{attributes}}},"sensitive_attributes":[{marks}],"private":"cHJpdmF0ZSBzZXNhbWUtMQ=="}}]}}]}}"#
    )
}

fn get_attr(names: &[&str]) -> String {
    let steps: Vec<String> = names.iter().map(|name| format!(r#"{{"type":"get_attr","value":"{name}"}}"#)).collect();
    format!("[{}]", steps.join(","))
}

const KEY: &str = "open-sesame-Key-77";

#[test]
fn each_kind_of_secret_has_its_mask() {
    let outputs = r#""s":{"value":"sesame-1","type":"string","sensitive":true},
        "n":{"value":12.50,"type":"number","sensitive":true},"b":{"value":true,"type":"bool","sensitive":true},
        "o":{"value":{"a":[1]},"type":["object",{"a":["list","number"]}],"sensitive":true},
        "l":{"value":[1,2],"type":["list","number"],"sensitive":true},"z":{"value":null,"type":"dynamic","sensitive":true}"#;
    let (shown, paths) = redacted(Format::Terraform, &terraform(outputs, r#""id":"x""#, ""));
    let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let output = |name: &str| value["outputs"][name]["value"].clone();
    assert_eq!(output("s"), MARK);
    assert_eq!((output("n"), output("b")), (0.into(), false.into()));
    assert!(output("o").is_null() && output("l").is_null() && output("z").is_null());
    assert_eq!(value["outputs"]["o"]["type"][0], "object", "types that say nothing stay");
    assert!(value["resources"][0]["instances"][0]["private"].is_null(), "{shown}");
    assert_eq!(paths.len(), 7, "{paths:?}");
}

#[test]
fn type_beside_a_value_sealed_for_its_key_is_dynamic_and_the_value_null() {
    // A secret key: at the top of an output, and deep in one; in a dynamic attribute, in either order.
    let outputs = format!(
        r#""key":{{"value":"{KEY}","type":"string","sensitive":true}},
        "top":{{"type":["object",{{"{KEY}":"string"}}],"value":{{"{KEY}":"x"}}}},
        "deep":{{"value":{{"a":{{"{KEY}":"x"}},"b":"y"}},"type":["object",{{"a":["object",{{"{KEY}":"string"}}],"b":"string"}}]}},
        "map":{{"value":{{"{KEY}":"x"}},"type":["map","string"]}}"#
    );
    let attributes = format!(
        r#""input":{{"value":{{"a":{{"{KEY}":1}}}}, "type" : ["object",{{"a":["object",{{"{KEY}":"number"}}]}}]}},
        "other":{{ "type":["object",{{"{KEY}":"number"}}] ,"value":{{"{KEY}":1}} }},
        "plain":{{"value":"v","type":"string"}}"#
    );
    let (shown, _) = redacted(Format::Terraform, &terraform(&outputs, &attributes, ""));
    assert!(!shown.contains(KEY), "{shown}");
    let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
    for name in ["top", "deep", "map"] {
        let output = &value["outputs"][name];
        assert!(output["value"].is_null() && output["type"] == "dynamic", "{name}: {output}");
    }
    let attributes = &value["resources"][0]["instances"][0]["attributes"];
    for name in ["input", "other"] {
        let wrapper = &attributes[name];
        assert!(wrapper["value"].is_null() && wrapper["type"] == "dynamic", "{name}: {wrapper}");
    }
    assert_eq!((&attributes["plain"]["value"], &attributes["plain"]["type"]), (&"v".into(), &"string".into()));
}

#[test]
fn names_of_keys_in_a_type_are_no_secrets_of_theirs() {
    let attributes = r#""input":{"value":{"password":"hunter-2-hunter","tokens":["t-1"]},
        "type":["object",{"password":"string","tokens":["list","string"]}]}"#;
    let (shown, paths) = redacted(Format::Terraform, &terraform("", attributes, ""));
    assert!(shown.contains(r#""type":["object",{"password":"string","tokens":["list","string"]}]"#), "{shown}");
    assert_eq!(paths.iter().filter(|path| path.contains("password")).count(), 1, "{paths:?}");
}

#[test]
fn mark_on_an_attribute_that_is_called_type_leaves_a_readable_wrapper() {
    let attributes = r#""input":{"value":{"type":"sesame-22"},"type":["object",{"type":"string"}]},
        "type":["a","b"],"value":"x""#;
    let marks = [get_attr(&["input", "type"]), get_attr(&["type"])].join(",");
    let (shown, _) = redacted(Format::Terraform, &terraform("", attributes, &marks));
    let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let attributes = &value["resources"][0]["instances"][0]["attributes"];
    assert!(attributes["input"]["value"].is_null() && attributes["input"]["type"] == "dynamic", "{shown}");
    // An attribute of that name is none beside a value.
    assert!(attributes["type"].is_null(), "{shown}");
}

#[test]
fn secret_of_pulumi_stays_json_within_its_string() {
    let secret = r#"{"4dabf18193072939515e22adb298388d":"1b47061264138c4ac30d75fd1eb44270","plaintext":"\"sesame-3\""}"#;
    let document = format!(
        r#"{{"version":3,"deployment":{{"resources":[{{"urn":"urn:x","type":"t","outputs":{{"a":{secret},"plaintext":"b"}}}}]}}}}"#
    );
    let (shown, _) = redacted(Format::Pulumi, &document);
    let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let text = value["deployment"]["resources"][0]["outputs"]["a"]["plaintext"].as_str().unwrap().to_owned();
    assert_eq!(serde_json::from_str::<String>(&text).unwrap(), MARK);
}

#[test]
fn pairs_of_plain_json_are_none_of_terraform() {
    let document = format!(r#"{{"password":"{KEY}","x":{{"value":"{KEY}","type":"a {KEY}"}}}}"#);
    let (shown, _) = redacted(Format::Json, &document);
    let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&value["x"]["value"], &value["x"]["type"]), (&MARK.into(), &MARK.into()));
}

#[test]
fn overflowing_document_masks_every_string_and_stays_readable() {
    let secrets: Vec<String> = (0..66_000).map(|n| format!(r#""sesame-number-{n:06}""#)).collect();
    let list = secrets.join(",");
    let outputs = format!(r#""o":{{"value":[{list}],"type":["list","string"],"sensitive":true}}"#);
    let attributes = r#""id":"harmless","input":{"value":{"a":"b"},"type":["object",{"a":"string"}]},"tags":{"a":"harmless"}"#;
    let (shown, _) = redacted(Format::Terraform, &terraform(&outputs, attributes, ""));
    let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let attributes = &value["resources"][0]["instances"][0]["attributes"];
    assert_eq!((&attributes["id"], &attributes["tags"]["a"]), (&MARK.into(), &MARK.into()));
    assert!(attributes["input"]["value"].is_null() && attributes["input"]["type"] == "dynamic", "{attributes}");
    assert!(!shown.contains("harmless") && !shown.contains("sesame"));
}

#[test]
fn mark_is_seen_however_a_tool_may_have_quoted_it() {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    let json = serde_json::to_string(&serde_json::json!({ "a": [MARK] })).unwrap();
    let twice = serde_json::to_string(&json).unwrap();
    let percent = "%28sealed+by+leasehold%3A%205d0c8f1e7a3b4296b8e1d47c90fa6325%29";
    let escaped: String = MARK.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    for text in [MARK.to_owned(), json.clone(), twice, percent.to_owned(), MARK.to_uppercase(), format!("\"{escaped}\"")] {
        assert!(has_mark(text.as_bytes()), "{text}");
    }
    for offset in 0..3 {
        let text = format!("{}{MARK}, and more", "x".repeat(offset));
        assert!(has_mark(BASE64_STANDARD.encode(&text).as_bytes()), "offset {offset}");
        assert!(has_mark(BASE64_URL_SAFE_NO_PAD.encode(&text).as_bytes()), "offset {offset}");
    }
    for text in ["(sealed by leasehold)", "\"5d0c8f1e7a3b4296b8e1d47c90fa632\"", "", "\"\\u0035\""] {
        assert!(!has_mark(text.as_bytes()), "{text}");
    }
}
