//! The formats stand still: `tests/vectors/` was computed from `docs/sealing.md` by other code than this.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like the tests themselves")]

use std::path::PathBuf;

use leasehold::domain::format::Format;
use leasehold::domain::ids::{DataKeyId, DraftId, EnvironmentId, Etag, StateId, Token, Version};
use leasehold::secrets::data_key::DataKey;
use leasehold::secrets::hole::{JsonType, Reason};
use leasehold::secrets::path::{Path, StepKind};
use leasehold::secrets::seal::cut::join;
use leasehold::secrets::seal::head::{Head, StoredHole};
use leasehold::secrets::seal::mac::{Subject, mac};
use leasehold::secrets::seal::opener::{Fed, HeadOpener};
use leasehold::secrets::seal::skeleton::{Body, danger_seal_parts};
use leasehold::secrets::seal::value::{context, nonce, open_value, padded, seal_value};
use leasehold::secrets::seal::{Binding, Holder, SealingKeys};
use serde_json::Value;

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

#[test]
fn keys_are_derived_as_written() {
    let vectors = load("keys.json");
    let key = data_key(&vectors);
    for (purpose, derived) in vectors["derived"].as_object().unwrap() {
        let mut made = [0; 32];
        key.derive(purpose, &mut made);
        assert_eq!(made.to_vec(), bytes(derived), "{purpose}");
    }
    assert_eq!(vectors["derived"].as_object().unwrap().len(), 5);
    let digest = SealingKeys::derive(&key).document_digest(&bytes(&vectors["document"]));
    assert_eq!(digest.0.to_vec(), bytes(&vectors["document_digest"]));
}

#[test]
fn values_are_sealed_as_written() {
    let vectors = load("values.json");
    let (keys, binding) = (SealingKeys::derive(&data_key(&vectors)), binding(&vectors));
    for vector in vectors["values"].as_array().unwrap() {
        let (what, token) = (&vector["what"], bytes(&vector["token"]));
        let (kind, path) = (kind(&vector["type"]), path(&vector["path"]));
        let context = context(keys.id(), &binding, kind, &path);
        assert_eq!(context, bytes(&vector["context"]), "{what}");
        assert_eq!(nonce(&keys, &context, &token).to_vec(), bytes(&vector["nonce"]), "{what}");
        assert_eq!(padded(token.len()), bytes(&vector["padded"]).len(), "{what}");
        let sealed = bytes(&vector["sealed"]);
        assert_eq!(seal_value(&keys, &binding, kind, &path, &token).unwrap(), sealed, "{what}");
        assert_eq!(open_value(&keys, &binding, kind, &path, &sealed).unwrap().to_vec(), token, "{what}");
    }
    for pair in vectors["padded_sizes"].as_array().unwrap() {
        assert_eq!(padded(number(&pair[0]) as usize) as u64, number(&pair[1]), "{}", pair[0]);
    }
}

#[test]
fn heads_are_encoded_as_written() {
    for vector in load("heads.json")["heads"].as_array().unwrap() {
        let holes = vector["holes"].as_array().unwrap().iter().map(|hole| StoredHole {
            at: number(&hole["at"]),
            kind: kind(&hole["type"]),
            reason: Reason::of(number(&hole["reason"]) as u8).unwrap(),
            path: path(&hole["path"]),
            ordinal: number(&hole["ordinal"]) as u32,
        });
        let (size, text_size) = (number(&vector["size"]), number(&vector["text_size"]));
        let head = Head { size, text_size, holes: holes.collect(), overflow: vector["overflow"].as_bool().unwrap() };
        let encoded = bytes(&vector["encoded"]);
        assert_eq!(head.encode(), encoded, "{}", vector["what"]);
        assert_eq!(Head::decode(&encoded).unwrap(), head, "{}", vector["what"]);
    }
}

/// What the compressor makes of a text is not fixed: only what is made of that, and that it opens.
#[test]
fn skeletons_and_macs_are_sealed_as_written() {
    for file in ["skeleton.json", "draft.json", "difference.json"] {
        let vector = load(file);
        let (keys, body) = (SealingKeys::derive(&data_key(&vector)), body(&vector));
        let pieces: Vec<Vec<u8>> = vector["pieces"].as_array().unwrap().iter().map(bytes).collect();
        let nonces: Vec<[u8; 24]> =
            vector["nonces"].as_array().unwrap().iter().map(|nonce| bytes(nonce).try_into().unwrap()).collect();
        let (head, text) = (bytes(&vector["head_part"]), bytes(&vector["text_part"]));
        assert_eq!(danger_seal_parts(&keys, &body, &head, &text, &nonces), pieces, "{file}");

        let Ok(Fed::Open(mut opened)) = HeadOpener::new(&keys, &body).feed(pieces[0].clone()) else { panic!("{file}") };
        let mut text = Vec::new();
        let mut take = |part: &[u8]| {
            text.extend_from_slice(part);
            true
        };
        opened.text.feed(pieces[1].clone(), &mut take).and_then(|()| opened.text.finish()).unwrap();
        let values = opened.head.holes.iter().map(|hole| bytes(&vector["values"][hole.ordinal.to_string()]));
        let values: Vec<Vec<u8>> = values.collect();
        assert_eq!(
            mac(&keys, &subject(&vector, &body), &opened.encoded, &values, &[&text]).to_vec(),
            bytes(&vector["mac"]),
            "{file}"
        );
        let tokens = opened.head.holes.iter().zip(&values);
        let tokens =
            tokens.map(|(hole, sealed)| open_value(&keys, &body.binding, hole.kind, &hole.path, sealed).unwrap().to_vec());
        assert_eq!(join(&text, &opened.head.holes, &tokens.collect::<Vec<_>>()), bytes(&vector["document"]), "{file}");
    }
}

fn load(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder().join(name)).unwrap()).unwrap()
}

fn data_key(vector: &Value) -> DataKey {
    DataKey::new(DataKeyId(id(&vector["data_key_id"])), &bytes(&vector["data_key"]).try_into().unwrap())
}

fn binding(vector: &Value) -> Binding {
    Binding { environment: EnvironmentId(id(&vector["environment"])), state: StateId(id(&vector["state"])) }
}

fn body(vector: &Value) -> Body {
    let holder = match &vector["holder"] {
        holder if holder["draft"].is_string() => Holder::Draft(DraftId(id(&holder["draft"]))),
        holder => Holder::Version(Version(number(&holder["version"]))),
    };
    let base = Some(Version(number(&vector["base"]))).filter(|base| base.0 > 0);
    Body { binding: binding(vector), holder, base }
}

fn subject(vector: &Value, body: &Body) -> Subject {
    let said = &vector["subject"];
    Subject {
        binding: body.binding,
        holder: body.holder,
        previous_etag: bytes(&said["previous_etag"]).try_into().ok().map(Etag),
        token: Token(number(&said["token"])),
        format: said["format"].as_str().unwrap().parse::<Format>().ok().unwrap(),
        rules: (number(&said["rules"][0]) as u32, number(&said["rules"][1])),
    }
}

fn path(steps: &Value) -> Path {
    let mut path = Path::root();
    for step in steps.as_array().unwrap() {
        path.push(StepKind::of(number(&step[0]) as u8).unwrap(), &bytes(&step[1]));
    }
    path
}

fn kind(number: &Value) -> JsonType {
    JsonType::of(number.as_u64().unwrap() as u8).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn id(hex: &Value) -> [u8; 16] {
    bytes(hex).try_into().unwrap()
}

pub(crate) fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap().as_bytes();
    hex.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
