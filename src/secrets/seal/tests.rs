//! What holds for all that is sealed.

mod damage;
mod forms;
mod skeletons;

use proptest::prelude::*;

use super::cut::cut;
use super::head::Head;
use super::mac::Subject;
use super::opener::{Fed, HeadOpener, Opened};
use super::skeleton::{Body, seal_skeleton};
use super::value::seal_value;
use super::{Binding, Holder, OpenError, SealingKeys};
use crate::domain::format::Format;
use crate::domain::format::json::Span;
use crate::domain::ids::{DataKeyId, DraftId, EnvironmentId, Etag, StateId, Token, Version};
use crate::secrets::data_key::DataKey;
use crate::secrets::hole::{Hole, JsonType, Reason};
use crate::secrets::path::{Path, StepKind};

/// As many cases as properties of this size get in a plain `cargo test`.
fn few() -> ProptestConfig {
    ProptestConfig { cases: 64, ..ProptestConfig::default() }
}

fn keys(seed: u8) -> SealingKeys {
    SealingKeys::derive(&DataKey::new(DataKeyId([seed; 16]), &[seed ^ 0x55; 32]))
}

fn binding(environment: u8, state: u8) -> Binding {
    Binding { environment: EnvironmentId([environment; 16]), state: StateId([state; 16]) }
}

fn body(version: u64) -> Body {
    Body { binding: binding(1, 2), holder: Holder::Version(Version(version)), base: None }
}

fn subject() -> Subject {
    Subject {
        binding: binding(1, 2),
        holder: Holder::Version(Version(7)),
        previous_etag: Some(Etag([9; 16])),
        token: Token(41),
        format: Format::Terraform,
        rules: (3, 4),
    }
}

/// Short steps of few different bytes, some of which look like counts and lengths.
fn paths() -> impl Strategy<Value = Path> {
    let bytes = prop::collection::vec(prop::sample::select(vec![0, 1, 2, 8, b'a']), 0..10);
    prop::collection::vec((1..=13_u8, bytes), 0..6).prop_map(|steps| {
        let mut path = Path::root();
        for (kind, bytes) in steps {
            path.push(StepKind::of(kind).unwrap(), &bytes);
        }
        path
    })
}

fn kinds() -> impl Strategy<Value = JsonType> {
    (1..=7_u8).prop_map(|kind| JsonType::of(kind).unwrap())
}

/// A document and holes in it, next to each other, at its ends and over all of it included.
fn documents() -> impl Strategy<Value = (Vec<u8>, Vec<Hole>)> {
    let parts = prop::collection::vec((0..40_usize, 1..60_usize, kinds(), 1..=8_u8, paths()), 0..12);
    (parts, prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(parts, rest)| {
        let (mut document, mut holes) = (Vec::new(), Vec::<Hole>::new());
        for (n, (text, token, kind, reason, mut path)) in parts.into_iter().enumerate() {
            path.push(StepKind::Ordinal, &(n as u64).to_be_bytes());
            document.extend((0..text + token).map(|i| (i * 31 + n) as u8));
            let end = document.len() as u32;
            let span = Span { start: end - token as u32, end };
            holes.push(Hole { span, kind, path, reason: Reason::of(reason).unwrap() });
        }
        document.extend(rest);
        (document, holes)
    })
}

/// One document, sealed.
struct Sealed {
    head: Head,
    text: Vec<u8>,
    pieces: Vec<Vec<u8>>,
    values: Vec<Vec<u8>>,
}

fn seal(keys: &SealingKeys, body: &Body, document: &[u8], holes: &[Hole]) -> Sealed {
    let cut = cut(document, holes).unwrap();
    let ordinals: Vec<u32> = (0..holes.len() as u32).map(|n| n * 3 % 7 + n * 2).collect();
    let head = cut.head(holes.to_vec(), &ordinals, document.len() % 2 == 1);
    let pieces = seal_skeleton(keys, body, &head, &cut.text).unwrap();
    let values = holes.iter().zip(&cut.tokens);
    let values = values.map(|(hole, token)| seal_value(keys, &body.binding, hole.kind, &hole.path, token.bytes).unwrap());
    Sealed { text: cut.text.concat(), values: values.collect(), head, pieces }
}

fn open(keys: &SealingKeys, body: &Body, pieces: &[Vec<u8>]) -> Result<(Opened, Vec<u8>), OpenError> {
    let mut pieces = pieces.iter().cloned();
    let mut opener = HeadOpener::new(keys, body);
    let mut opened = loop {
        match opener.feed(pieces.next().ok_or(OpenError)?)? {
            Fed::More(more) => opener = more,
            Fed::Open(opened) => break opened,
        }
    };
    let mut text = Vec::new();
    for piece in pieces {
        opened.text.feed(piece, &mut |part| {
            text.extend_from_slice(part);
            true
        })?;
    }
    opened.text.finish().map(|()| (opened, text))
}

/// Places a test may mistake for each other.
fn holders() -> [Holder; 4] {
    let id = |last| {
        let mut id = [0; 16];
        id[7] = last;
        DraftId(id)
    };
    [Holder::Version(Version(7)), Holder::Version(Version(8)), Holder::Draft(id(7)), Holder::Draft(id(8))]
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word.to_le_bytes()
    };
    let mut noise: Vec<u8> = std::iter::repeat_with(&mut next).take(length / 8 + 1).flatten().collect();
    noise.truncate(length);
    noise
}
