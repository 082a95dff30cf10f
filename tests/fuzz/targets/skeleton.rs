//! Skeletons: pieces of any bytes do not open; pieces that are authentic but hold any bytes open to what they say, or not at all.

use leasehold::domain::ids::Version;
use leasehold::secrets::seal::cut::{Joiner, Part};
use leasehold::secrets::seal::head::Head;
use leasehold::secrets::seal::opener::{Fed, HeadOpener};
use leasehold::secrets::seal::skeleton::{Body, danger_seal_parts, seal_skeleton};
use leasehold::secrets::seal::{Holder, OpenError};

use super::{BINDING, Source, head, keys};

const BODY: Body = Body { binding: BINDING, holder: Holder::Version(Version(3)), base: None };

/// Flags and sizes at the start of an encoded head.
const FIXED: usize = 17;

pub(crate) fn run(data: &[u8]) {
    let mut source = Source(data);
    match source.below(4) {
        0 => forged(&mut source),
        1 => sealed(&mut source),
        2 => authentic(&mut source),
        _ => framed(&mut source),
    }
}

/// Anybody's bytes.
fn forged(source: &mut Source<'_>) {
    let mut pieces = Vec::new();
    while !source.is_over() {
        let length = usize::from(source.u16());
        pieces.push(source.bytes(length).to_vec());
    }
    assert!(open(pieces).is_err(), "a forged skeleton opens");
}

/// What was sealed opens; changed in any bit, short of a piece or with two in another order it does not.
fn sealed(source: &mut Source<'_>) {
    let head = head::head(source);
    if !head.is_sound() {
        return;
    }
    let text: Vec<u8> = (0..head.text_size).map(|n| n as u8 & source.byte()).collect();
    let mut pieces = seal_skeleton(&keys(), &BODY, &head, &[&text]).expect("a sound head and its text");
    assert_eq!(open(pieces.clone()), Ok((head, text)));
    match source.below(3) {
        0 => drop(pieces.pop()),
        1 => pieces.swap(0, 1),
        _ => {
            let piece = source.below(pieces.len());
            let bit = usize::from(source.u16()) % (pieces[piece].len() * 8);
            pieces[piece][bit / 8] ^= 1 << (bit % 8);
        }
    }
    assert!(open(pieces).is_err(), "a changed skeleton opens");
}

/// Any bytes under the right key.
fn authentic(source: &mut Source<'_>) {
    let length = usize::from(source.u16());
    let head = source.bytes(length);
    check(head, source.rest());
}

/// The right form with wrong content.
fn framed(source: &mut Source<'_>) {
    let head = head::head(source);
    let mut encoded = head.encode();
    let mut text = vec![source.byte(); usize::from(source.u16())];
    if source.chance(2) {
        source.edit(&mut encoded);
        encoded.resize(encoded.len().max(FIXED), 0);
    }
    let pack = |bytes: &[u8]| zstd::bulk::compress(bytes, 1).expect("memory is there");
    let mut frame = pack(&encoded[FIXED..]);
    let mut start = (text.len() as u64).to_be_bytes().to_vec();
    start.extend_from_slice(&(encoded.len() as u32).to_be_bytes());
    start.extend_from_slice(&(frame.len() as u32).to_be_bytes());
    start.extend_from_slice(&encoded[..FIXED]);
    text = pack(&text);
    for part in [&mut start, &mut frame, &mut text] {
        if source.chance(4) {
            source.edit(part);
        }
    }
    check(&[start, frame].concat(), &text);
}

fn check(head: &[u8], text: &[u8]) {
    let nonces: Vec<[u8; 24]> = (0..(head.len() + text.len()) / (128 << 10) + 4).map(|n| [n as u8; 24]).collect();
    let Ok((head, text)) = open(danger_seal_parts(&keys(), &BODY, head, text, &nonces)) else { return };
    assert!(head.is_sound());
    let (mut joiner, mut given) = (Joiner::default(), 0);
    let mut put = |part: Part<'_>| match part {
        Part::Text(text) => given += text.len(),
        Part::Hole(n) => assert!(n < head.holes.len()),
    };
    joiner.feed(&head.holes, &text, &mut put);
    let _ = joiner.finish(&head.holes, &mut put);
    assert_eq!(given, text.len(), "text was lost");
}

/// As the service does, and never more of the text than was announced.
fn open(pieces: Vec<Vec<u8>>) -> Result<(Head, Vec<u8>), OpenError> {
    let mut pieces = pieces.into_iter();
    let mut opener = HeadOpener::new(&keys(), &BODY);
    let mut opened = loop {
        match opener.feed(pieces.next().ok_or(OpenError)?)? {
            Fed::More(next) => opener = next,
            Fed::Open(opened) => break opened,
        }
    };
    let (size, mut text) = (opened.text.size(), Vec::new());
    for piece in pieces {
        opened.text.feed(piece, &mut |part| {
            text.extend_from_slice(part);
            assert!(text.len() as u64 <= size, "more text than announced");
            true
        })?;
    }
    opened.text.finish()?;
    assert_eq!(text.len() as u64, size);
    Ok((opened.head, text))
}
