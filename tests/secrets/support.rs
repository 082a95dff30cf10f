//! Searching documents, and saying what was found.

use std::collections::{BTreeSet, HashSet};

use leasehold::domain::format::Format;
use leasehold::domain::rules::SealRule;
use leasehold::secrets::find::{Found, Search, Switches, find};
use leasehold::secrets::hole::JsonType;
use leasehold::secrets::path::Path;

/// Everything on.
pub(crate) const ALL: Switches = Switches { marks: true, rules: true, spread: true, beside: true };

pub(crate) fn search(document: &[u8], format: Format) -> Found {
    search_under(document, format, &[], ALL)
}

pub(crate) fn search_under(document: &[u8], format: Format, rules: &[&str], switches: Switches) -> Found {
    let rules: Vec<SealRule> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    search_after(document, format, &rules, &HashSet::new(), switches)
}

pub(crate) fn search_after(
    document: &[u8],
    format: Format,
    rules: &[SealRule],
    before: &HashSet<Path>,
    switches: Switches,
) -> Found {
    let found = find(document, &Search::new(format, rules, before).with_switches(switches)).unwrap();
    assert_sound(document, &found);
    found
}

/// What holds of every set of holes.
pub(crate) fn assert_sound(document: &[u8], found: &Found) {
    let mut end = 0;
    let mut paths = HashSet::new();
    for hole in &found.holes {
        assert!(hole.span.start >= end, "holes overlap or are out of order at {}", hole.path);
        end = hole.span.end;
        assert!(paths.insert(hole.path.clone()), "{} twice", hole.path);
        let value: &serde_json::value::RawValue =
            serde_json::from_slice(hole.span.of(document)).expect("a hole is exactly one value");
        let kind = match value.get().as_bytes()[0] {
            b'{' => JsonType::Object,
            b'[' => JsonType::Array,
            b'"' => JsonType::String,
            b't' | b'f' => JsonType::Bool,
            b'n' => JsonType::Null,
            _ => JsonType::Number,
        };
        assert_eq!(kind, hole.kind, "{}", hole.path);
        assert_eq!(Path::from_bytes(hole.path.as_bytes()).as_ref(), Some(&hole.path));
    }
}

/// The sealed places as people read them.
pub(crate) fn places(found: &Found) -> BTreeSet<String> {
    found.holes.iter().map(|hole| hole.path.to_string()).collect()
}

/// The document without what is sealed.
pub(crate) fn skeleton(document: &[u8], found: &Found) -> Vec<u8> {
    let mut left = Vec::new();
    let mut from = 0;
    for hole in &found.holes {
        left.extend_from_slice(&document[from..hole.span.start as usize]);
        left.extend_from_slice(b"null");
        from = hole.span.end as usize;
    }
    left.extend_from_slice(&document[from..]);
    left
}

/// Every string of a document, keys included, as it reads.
pub(crate) fn strings(document: &[u8]) -> Vec<String> {
    fn collect(value: serde_json::Value, into: &mut Vec<String>) {
        match value {
            serde_json::Value::String(text) => into.push(text),
            serde_json::Value::Array(list) => list.into_iter().for_each(|value| collect(value, into)),
            serde_json::Value::Object(members) => members.into_iter().for_each(|(key, value)| {
                into.push(key);
                collect(value, into);
            }),
            _ => {}
        }
    }
    let mut all = Vec::new();
    collect(serde_json::from_slice(document).unwrap(), &mut all);
    all
}
