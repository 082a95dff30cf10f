//! Skeletons of many pieces, and ones that only somebody with the key can make.

use super::*;
use crate::secrets::seal::cut::join;
use crate::secrets::seal::head::{FIXED, StoredHole};
use crate::secrets::seal::skeleton::{PIECE, danger_seal_parts};
use crate::secrets::seal::value::open_value;

proptest! {
    #![proptest_config(few())]

    #[test]
    fn documents_come_back_to_the_last_byte((document, holes) in documents()) {
        let sealed = seal(&keys(1), &body(7), &document, &holes);
        let (opened, text) = open(&keys(1), &body(7), &sealed.pieces).unwrap();
        prop_assert_eq!(&opened.encoded, &opened.head.encode());
        prop_assert_eq!(&opened.head, &sealed.head);
        let tokens = opened.head.holes.iter().zip(&sealed.values);
        let tokens = tokens.map(|(hole, value)| open_value(&keys(1), &binding(1, 2), hole.kind, &hole.path, value).unwrap());
        let tokens: Vec<Vec<u8>> = tokens.map(|token| token.to_vec()).collect();
        prop_assert_eq!(join(&text, &opened.head.holes, &tokens), document);
    }
}

/// A head and a text of several pieces each.
fn large() -> (Head, Vec<u8>) {
    let names = noise(600 * 800);
    let holes = names.chunks(800).enumerate().map(|(n, name)| StoredHole {
        at: n as u64 * 2,
        kind: JsonType::String,
        reason: Reason::Spread,
        path: Path::root().child(StepKind::Key, name),
        ordinal: n as u32,
    });
    let text = noise(3 * PIECE);
    let head = Head { size: text.len() as u64 + 90_000, text_size: text.len() as u64, holes: holes.collect(), overflow: true };
    (head, text)
}

#[test]
fn skeletons_of_many_pieces_open_in_their_order_only() {
    let (head, text) = large();
    let pieces = seal_skeleton(&keys(1), &body(7), &head, &[&text[..1000], &text[1000..]]).unwrap();
    assert!(pieces.len() >= 5 && pieces.iter().all(|piece| piece.len() <= PIECE));
    let (opened, read) = open(&keys(1), &body(7), &pieces).unwrap();
    assert!(opened.head == head && opened.text.size() == text.len() as u64 && read == text);
    for n in 0..pieces.len() {
        let mut fewer = pieces.clone();
        fewer.remove(n);
        assert!(open(&keys(1), &body(7), &fewer).is_err(), "without piece {n}");
        let mut swapped = pieces.clone();
        swapped.swap(n, (n + 1) % pieces.len());
        assert!(open(&keys(1), &body(7), &swapped).is_err(), "piece {n} and the next");
        let mut twice = pieces.clone();
        twice.insert(n, pieces[n].clone());
        assert!(open(&keys(1), &body(7), &twice).is_err(), "piece {n} twice");
    }
    let shorter = Head { text_size: text.len() as u64 - PIECE as u64, ..head };
    let other = seal_skeleton(&keys(1), &body(7), &shorter, &[&text[PIECE..]]).unwrap();
    let mixed = [&pieces[..4], &other[4..]].concat();
    assert!(open(&keys(1), &body(7), &mixed).is_err(), "the end of a shorter one");
}

/// The whole of it may be a hole: then there is nothing to miss.
#[test]
fn skeletons_without_text_need_their_pieces_too() {
    let hole = StoredHole { at: 0, kind: JsonType::Opaque, reason: Reason::Whole, path: Path::root(), ordinal: 0 };
    let head = Head { size: 5, text_size: 0, holes: vec![hole], overflow: false };
    let pieces = seal_skeleton(&keys(1), &body(7), &head, &[]).unwrap();
    assert_eq!(open(&keys(1), &body(7), &pieces).map(|(opened, text)| (opened.head, text)), Ok((head, Vec::new())));
    assert_eq!(open(&keys(1), &body(7), &pieces[..1]).err(), Some(OpenError));
}

#[test]
fn readers_that_stop_are_left_in_peace() {
    let text = vec![b' '; 3_000_000];
    let head = Head { size: 3_000_000, text_size: 3_000_000, holes: Vec::new(), overflow: false };
    let pieces = seal_skeleton(&keys(1), &body(7), &head, &[&text]).unwrap();
    let Fed::Open(mut opened) = HeadOpener::new(&keys(1), &body(7)).feed(pieces[0].clone()).unwrap() else { panic!("one piece") };
    let mut calls = 0;
    opened
        .text
        .feed(pieces[1].clone(), &mut |part| {
            assert!(part.len() <= 128 * 1024);
            calls += 1;
            calls < 3
        })
        .unwrap();
    assert_eq!(calls, 3);
    assert_eq!(opened.text.finish(), Err(OpenError));
}

/// The plaintext of head pieces, for a text that is said to have this size.
fn head_part(size: u64, encoded: &[u8]) -> Vec<u8> {
    let frame = zstd::bulk::compress(&encoded[FIXED..], 3).unwrap();
    let sizes = [&size.to_be_bytes()[..], &(encoded.len() as u32).to_be_bytes(), &(frame.len() as u32).to_be_bytes()].concat();
    [&sizes, &encoded[..FIXED], &frame].concat()
}

#[test]
fn texts_of_another_size_than_they_say_are_refused() {
    let nonces = [[1; 24], [2; 24]];
    let encoded = |size| Head { size, text_size: size, holes: Vec::new(), overflow: false }.encode();
    let frame = zstd::bulk::compress(&[b' '; 500_000], 3).unwrap();
    let sealed = |said: u64, text: &[u8]| danger_seal_parts(&keys(1), &body(7), &head_part(said, &encoded(said)), text, &nonces);
    assert!(open(&keys(1), &body(7), &sealed(500_000, &frame)).is_ok());
    for said in [0, 1, 499_999, 500_001, u64::MAX] {
        let pieces = sealed(said, &frame);
        let Fed::Open(mut opened) = HeadOpener::new(&keys(1), &body(7)).feed(pieces[0].clone()).unwrap() else { panic!("one") };
        let mut given = 0;
        let fed = opened.text.feed(pieces[1].clone(), &mut |part| {
            given += part.len() as u64;
            true
        });
        assert!(fed.and_then(|()| opened.text.finish()).is_err(), "{said}");
        assert!(given <= said, "{said}");
    }
    assert!(open(&keys(1), &body(7), &sealed(500_000, &[&frame[..], b"x"].concat())).is_err(), "more behind the frame");
    assert!(open(&keys(1), &body(7), &sealed(1_000_000, &[&frame[..], &frame].concat())).is_err(), "two frames");
    assert!(open(&keys(1), &body(7), &sealed(500_000, &frame[..frame.len() - 1])).is_err(), "an unfinished frame");
}

#[test]
fn heads_that_say_other_sizes_are_refused() {
    let nonces = [[1; 24], [2; 24]];
    let encoded = Head { size: 4, text_size: 4, holes: Vec::new(), overflow: false }.encode();
    let text = zstd::bulk::compress(b"text", 3).unwrap();
    let right = head_part(4, &encoded);
    let opens = |head: &[u8]| open(&keys(1), &body(7), &danger_seal_parts(&keys(1), &body(7), head, &text, &nonces)).is_ok();
    assert!(opens(&right));
    for at in 8..16 {
        for change in [1, 0x80] {
            let mut other = right.clone();
            other[at] ^= change;
            assert!(!opens(&other), "byte {at}");
        }
    }
    assert!(!opens(&right[..right.len() - 1]));
    assert!(!opens(&[&right[..], b"x"].concat()));
    assert!(!opens(&right[..20]));
}
