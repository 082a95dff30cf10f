//! Documents of all formats and spellings, through everything that a write and a read do to them.

use std::collections::HashSet;

use leasehold::domain::format::inspect;
use leasehold::domain::ids::Version;
use leasehold::secrets::find::{Search, find};
use leasehold::secrets::seal::cut::{cut, join};
use leasehold::secrets::seal::opener::{Fed, HeadOpener};
use leasehold::secrets::seal::skeleton::{Body, seal_skeleton};
use leasehold::secrets::seal::value::{open_value, seal_value};
use leasehold::secrets::seal::{Holder, SealingKeys};

use super::fuzz::generate::{Made, document};
use super::fuzz::{BINDING, Source, keys, noise};

#[test]
#[expect(clippy::disallowed_methods, reason = "tests have no command line of their own to take settings from")]
fn documents_come_back_to_the_last_byte() {
    let count = std::env::var("LEASEHOLD_DOCUMENTS").ok().map_or(500, |text| text.parse().expect("a number of documents"));
    let (keys, mut bytes, mut sealed) = (keys(), 0, 0);
    for seed in 0..count {
        let noise = noise(seed, 64 << (seed % 6));
        let Made { format, bytes: document, .. } = document(&mut Source(&noise));
        assert_eq!(inspect(&document, Some(format)).map(|found| found.format), Ok(format), "seed {seed} makes no document");
        let none = HashSet::new();
        let found = find(&document, &Search::new(format, &[], &none)).unwrap();
        let parts = cut(&document, &found.holes).unwrap();
        let values = found.holes.iter().zip(&parts.tokens);
        let values = values.map(|(hole, token)| seal_value(&keys, &BINDING, hole.kind, &hole.path, token.bytes).unwrap());
        let values: Vec<_> = values.collect();
        let ordinals: Vec<u32> = (0..values.len() as u32).rev().collect();
        let body = Body { binding: BINDING, holder: Holder::Version(Version(seed + 1)), base: None };
        let head = parts.head(found.holes, &ordinals, found.overflow);
        let pieces = seal_skeleton(&keys, &body, &head, &parts.text).unwrap();
        assert!(open(&keys, &body, pieces, &values) == document, "seed {seed} comes back as something else");
        (bytes, sealed) = (bytes + document.len(), sealed + values.len());
    }
    println!("{count} documents, {bytes} bytes, {sealed} sealed values");
    assert!(sealed as u64 > count, "hardly anything was sealed");
}

/// The document, from what is stored alone.
fn open(keys: &SealingKeys, body: &Body, pieces: Vec<Vec<u8>>, values: &[Vec<u8>]) -> Vec<u8> {
    let mut pieces = pieces.into_iter();
    let mut opener = HeadOpener::new(keys, body);
    let mut opened = loop {
        match opener.feed(pieces.next().unwrap()).unwrap() {
            Fed::More(next) => opener = next,
            Fed::Open(opened) => break opened,
        }
    };
    let mut text = Vec::new();
    for piece in pieces {
        let mut put = |part: &[u8]| {
            text.extend_from_slice(part);
            true
        };
        opened.text.feed(piece, &mut put).unwrap();
    }
    opened.text.finish().unwrap();
    let holes = &opened.head.holes;
    let tokens = holes.iter().map(|hole| {
        let value = &values[values.len() - 1 - hole.ordinal as usize];
        open_value(keys, &BINDING, hole.kind, &hole.path, value).unwrap()
    });
    let document = join(&text, holes, &tokens.collect::<Vec<_>>());
    assert_eq!(document.len() as u64, opened.head.size);
    document
}
