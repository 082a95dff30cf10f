//! A program that shares nothing with this one but `docs/sealing.md` opens what this one seals.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like the tests themselves")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use leasehold::domain::format::Format;
use leasehold::domain::format::json::Span;
use leasehold::domain::ids::{DataKeyId, EnvironmentId, Etag, StateId, Token, Version};
use leasehold::secrets::data_key::DataKey;
use leasehold::secrets::hole::{Hole, JsonType, Reason};
use leasehold::secrets::path::{Path, StepKind};
use leasehold::secrets::seal::cut::cut;
use leasehold::secrets::seal::mac::{Subject, mac};
use leasehold::secrets::seal::skeleton::{Body, seal_skeleton};
use leasehold::secrets::seal::value::seal_value;
use leasehold::secrets::seal::{Binding, Holder, SealingKeys};
use serde_json::{Value, json};

use super::vectors::{bytes, folder};

#[test]
fn reader_opens_the_vectors() {
    let Some(python) = python() else { return };
    for file in ["skeleton.json", "draft.json"] {
        let export: Value = serde_json::from_slice(&std::fs::read(folder().join(file)).unwrap()).unwrap();
        assert_opens(&python, &export, &bytes(&export["document"]));
    }
}

#[test]
fn reader_opens_what_is_sealed_and_refuses_what_was_changed() {
    let Some(python) = python() else { return };
    let document = large_document();
    let export = export(&document);
    assert!(export["pieces"].as_array().unwrap().len() > 3);
    assert_opens(&python, &export, &document);

    let flip = |value: &Value| {
        let text = value.as_str().unwrap();
        let (rest, last) = text.split_at(text.len() - 1);
        json!(format!("{rest}{}", if last == "0" { "1" } else { "0" }))
    };
    let pieces = export["pieces"].as_array().unwrap().len();
    for what in ["a piece", "the order of pieces", "a value", "the place of a value", "the version", "the fencing token"] {
        let mut other = export.clone();
        match what {
            "a piece" => other["pieces"][pieces - 1] = flip(&export["pieces"][pieces - 1]),
            "the order of pieces" => other["pieces"].as_array_mut().unwrap().swap(pieces - 1, pieces - 2),
            "a value" => other["values"]["2"] = flip(&export["values"]["2"]),
            "the place of a value" => other["values"]["1"] = export["values"]["2"].clone(),
            "the version" => other["holder"]["version"] = json!(8),
            _ => other["subject"]["token"] = json!(1),
        }
        let output = read(&python, &other);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{what}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("does not open"), "{what}: {output:?}");
    }
}

fn assert_opens(python: &str, export: &Value, document: &[u8]) {
    let output = read(python, export);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == document, "another document");
}

fn read(python: &str, export: &Value) -> Output {
    let mut child = Command::new(python)
        .arg(folder().join("read.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(export.to_string().as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// A document with 2,000 sealed strings, whose text and table take several pieces.
fn large_document() -> Vec<u8> {
    let mut document = String::from("[");
    let mut noise = 1_u32;
    for n in 0..2000 {
        let mut text = String::new();
        for _ in 0..60 {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            write!(text, "{noise:08x}").unwrap();
        }
        write!(document, "{}{{\"{text}\":\"öffentlich\",\"secret\":\"\\\"<&%é/+={n}\"}}", if n > 0 { "," } else { "" }).unwrap();
    }
    document.push(']');
    document.into_bytes()
}

fn export(document: &[u8]) -> Value {
    let key = DataKey::generate(DataKeyId([7; 16])).unwrap();
    let keys = SealingKeys::derive(&key);
    let binding = Binding { environment: EnvironmentId([3; 16]), state: StateId([4; 16]) };
    let body = Body { binding, holder: Holder::Version(Version(7)), base: None };
    let start = b"\"secret\":";
    let at = document.windows(start.len()).enumerate().filter(|(_, window)| window == start).map(|(at, _)| at + start.len());
    let holes = at.enumerate().map(|(n, from)| {
        let length = document[from..].iter().position(|byte| *byte == b'}').unwrap();
        let span = Span { start: from as u32, end: (from + length) as u32 };
        // A name of its own for each makes the table of holes large.
        let path = Path::root()
            .child(StepKind::Index, &(n as u64).to_be_bytes())
            .child(StepKind::Key, &document[from - 500..from - 100]);
        Hole { span, kind: JsonType::String, path, reason: Reason::Mark }
    });
    let holes: Vec<Hole> = holes.collect();
    let cut = cut(document, &holes).unwrap();
    let ordinals: Vec<u32> = (0..holes.len() as u32).map(|n| n ^ 3).collect();
    let values = holes.iter().zip(&cut.tokens);
    let values: Vec<Vec<u8>> =
        values.map(|(hole, token)| seal_value(&keys, &binding, hole.kind, &hole.path, token.bytes).unwrap()).collect();
    let head = cut.head(holes, &ordinals, false);
    let pieces = seal_skeleton(&keys, &body, &head, &cut.text).unwrap();
    let (previous_etag, token) = (Etag([6; 16]), Token(1 << 40));
    let subject =
        Subject { binding, holder: body.holder, previous_etag: Some(previous_etag), token, format: Format::Json, rules: (1, 2) };
    json!({
        "data_key_id": key.id().to_string(),
        "data_key": hex(key.expose()),
        "environment": binding.environment.to_string(),
        "state": binding.state.to_string(),
        "holder": {"version": 7},
        "base": 0,
        "pieces": pieces.iter().map(|piece| hex(piece)).collect::<Vec<_>>(),
        "values": ordinals.iter().zip(&values).map(|(n, value)| (n.to_string(), json!(hex(value)))).collect::<serde_json::Map<_, _>>(),
        "subject": {"previous_etag": previous_etag.to_string(), "token": token.0, "format": "json", "rules": [1, 2]},
        "mac": hex(&mac(&keys, &subject, &head.encode(), &values, &cut.text)),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A Python that has the two packages; otherwise the test is skipped, loudly, unless the run requires it.
#[expect(clippy::disallowed_methods, reason = "settings of the test run")]
fn python() -> Option<String> {
    let python = std::env::var("LEASEHOLD_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let required = std::env::var("LEASEHOLD_REQUIRE").unwrap_or_default();
    let imports = "import zstandard\ntry:\n import Cryptodome.Cipher\nexcept ImportError:\n import Crypto.Cipher";
    let found = Command::new(&python).args(["-c", imports]).output().is_ok_and(|output| output.status.success());
    assert!(
        found || !required.split(',').any(|entry| entry.trim() == "python-crypto"),
        "`{python}` has no pycryptodome and zstandard, and LEASEHOLD_REQUIRE names python-crypto: install them, or take it off the list"
    );
    if !found {
        // Not eprintln!, which the test harness hides while a test passes.
        let _ =
            writeln!(std::io::stderr(), "SKIPPED: `{python}` has no pycryptodome and zstandard; LEASEHOLD_PYTHON names another");
    }
    found.then_some(python)
}
