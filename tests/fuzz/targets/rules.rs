//! An environment's rules: what is accepted is written as it was read, and searching by it ends well.

use std::collections::HashSet;

use leasehold::domain::format::Format;
use leasehold::domain::rules::SealRule;
use leasehold::secrets::find::{Search, find};
use leasehold::secrets::seal::cut::cut;

const DOCUMENT: &[u8] = br#"{"version":4,"terraform_version":"1.11.4","serial":1,"lineage":"l","outputs":{"o":{"value":"ooooooooo","type":"string"}},"resources":[{"mode":"managed","type":"aws_a","name":"n","provider":"p","instances":[{"attributes":{"a":{"b":[{"c":"cccccccccc"},{"c":"d"}]},"tags":{"x.y":"eeeeeeeee","**":"f"}},"sensitive_attributes":[]}]}]}"#;

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut rules = Vec::new();
    for line in text.split('\n').take(300) {
        if let Ok(rule) = line.parse::<SealRule>() {
            assert_eq!(rule.to_string(), line);
            let json = serde_json::to_string(&rule).expect("a string");
            assert_eq!(serde_json::from_str::<SealRule>(&json).expect("what was written reads back"), rule);
            rules.push(rule);
        }
    }
    let none = HashSet::new();
    let found = find(DOCUMENT, &Search::new(Format::Terraform, &rules, &none)).expect("it is JSON");
    assert!(cut(DOCUMENT, &found.holes).is_ok());
}
