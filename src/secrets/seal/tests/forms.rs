//! Encodings: one form each, no two things in one form.

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::*;
use crate::secrets::seal::cut::{Joiner, Part, join};
use crate::secrets::seal::head::StoredHole;
use crate::secrets::seal::value::{TAG, context, length_of, open_value, padded, sealed_size};
use crate::secrets::seal::{Keys, SUITE, SealError};

/// What a context says, read back: that it can be is why no two places share one.
fn read_context(mut bytes: &[u8]) -> Option<(Vec<Vec<u8>>, u8, Path)> {
    let mut parts = Vec::new();
    for _ in 0..4 {
        let (length, rest) = bytes.split_first_chunk::<8>()?;
        let (part, rest) = rest.split_at_checked(u64::from_be_bytes(*length) as usize)?;
        parts.push(part.to_vec());
        bytes = rest;
    }
    let (kind, path) = bytes.split_first()?;
    Some((parts, *kind, Path::from_bytes(path)?))
}

proptest! {
    #[test]
    fn contexts_say_exactly_what_they_bind(ids: [[u8; 16]; 3], kind in kinds(), path in paths()) {
        let binding = Binding { environment: EnvironmentId(ids[0]), state: StateId(ids[1]) };
        let bytes = context(DataKeyId(ids[2]), &binding, kind, &path);
        let parts = vec![SUITE.to_vec(), ids[0].to_vec(), ids[1].to_vec(), ids[2].to_vec()];
        prop_assert_eq!(read_context(&bytes), Some((parts, kind as u8, path)));
    }

    #[test]
    fn padding_adds_little_and_has_few_sizes(token in 0..50_000_000_usize) {
        let (size, padded) = (token + 4, padded(token));
        prop_assert!(padded >= 32 && padded >= size);
        // Padmé's bound, a little above at the smallest sizes.
        prop_assert!(padded - size <= (size * 12 / 100).max(32));
        let exponent = padded.ilog2();
        prop_assert_eq!(padded % (1 << (exponent - exponent.ilog2() - 1)), 0);
    }

    #[test]
    fn values_open_to_their_very_bytes(kind in kinds(), path in paths(), token in prop::collection::vec(any::<u8>(), 0..300)) {
        let sealed = seal_value(&keys(1), &binding(1, 2), kind, &path, &token).unwrap();
        prop_assert_eq!(sealed.len(), sealed_size(token.len()));
        let again = seal_value(&keys(1), &binding(1, 2), kind, &path, &token).unwrap();
        prop_assert_eq!(&sealed, &again, "an unchanged secret at an unchanged place is one row");
        let opened = open_value(&keys(1), &binding(1, 2), kind, &path, &sealed).unwrap();
        prop_assert_eq!(&*opened, &token);
    }

    #[test]
    fn documents_join_from_what_was_cut((document, holes) in documents(), step in 1..50_usize) {
        let cut = cut(&document, &holes).unwrap();
        let text = cut.text.concat();
        prop_assert_eq!(cut.text_size, text.len() as u64);
        let head = cut.head(holes.clone(), &vec![0; holes.len()], false);
        let tokens: Vec<&[u8]> = cut.tokens.iter().map(|token| token.bytes).collect();
        prop_assert_eq!(join(&text, &head.holes, &tokens), &*document);
        let (mut joiner, mut joined) = (Joiner::default(), Vec::new());
        let mut put = |part: Part<'_>| match part {
            Part::Text(text) => joined.extend_from_slice(text),
            Part::Hole(n) => joined.extend_from_slice(tokens[n]),
        };
        text.chunks(step).for_each(|chunk| joiner.feed(&head.holes, chunk, &mut put));
        prop_assert!(joiner.finish(&head.holes, &mut put));
        prop_assert_eq!(joined, document);
    }

    #[test]
    fn heads_read_back((document, holes) in documents(), ordinals in prop::collection::vec(any::<u32>(), 12)) {
        let head = cut(&document, &holes).unwrap().head(holes.clone(), &ordinals[..holes.len()], true);
        let encoded = head.encode();
        prop_assert_eq!(Head::decode(&encoded), Ok(head));
        for end in 0..encoded.len() {
            prop_assert_eq!(Head::decode(&encoded[..end]), Err(OpenError));
        }
    }

    #[test]
    fn heads_have_one_encoding((document, holes) in documents(), at: prop::sample::Index, byte: u8) {
        let head = cut(&document, &holes).unwrap().head(holes.clone(), &vec![5; holes.len()], false);
        let mut encoded = head.encode();
        let at = at.index(encoded.len());
        encoded[at] = byte;
        if let Ok(other) = Head::decode(&encoded) {
            prop_assert_eq!(other.encode(), encoded);
        }
    }

    #[test]
    fn noise_is_no_head(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(head) = Head::decode(&noise) {
            prop_assert_eq!(head.encode(), noise);
        }
    }
}

fn hole(start: u32, end: u32, name: &[u8]) -> Hole {
    let path = Path::root().child(StepKind::Key, name);
    Hole { span: Span { start, end }, kind: JsonType::String, path, reason: Reason::Mark }
}

#[test]
fn holes_that_do_not_fit_are_refused() {
    let document = [b'x'; 10];
    for holes in [
        vec![hole(0, 11, b"a")],
        vec![hole(3, 3, b"a")],
        vec![hole(5, 6, b"a"), hole(4, 5, b"b")],
        vec![hole(2, 5, b"a"), hole(4, 6, b"b")],
        vec![hole(2, 3, b"a"), hole(4, 6, b"a")],
    ] {
        assert_eq!(cut(&document, &holes).err(), Some(SealError::Places), "{holes:?}");
    }
    assert!(cut(&document, &[hole(2, 5, b"a"), hole(5, 6, b"b")]).is_ok());
}

#[test]
fn heads_whose_parts_do_not_fit_are_neither_read_nor_sealed() {
    let stored =
        |at, name: &[u8]| StoredHole { at, kind: JsonType::Bool, reason: Reason::Shape, path: hole(0, 1, name).path, ordinal: 0 };
    let sound = Head { size: 10, text_size: 4, holes: vec![stored(2, b"a"), stored(2, b"b")], overflow: false };
    assert_eq!(Head::decode(&sound.encode()), Ok(sound.clone()));
    for unsound in [
        Head { size: 5, ..sound.clone() },
        Head { size: 3, ..sound.clone() },
        Head { text_size: 1, ..sound.clone() },
        Head { holes: vec![], ..sound.clone() },
        Head { holes: vec![stored(2, b"a"), stored(2, b"a")], ..sound.clone() },
        Head { holes: vec![stored(2, b"a"), stored(1, b"b")], ..sound.clone() },
    ] {
        assert_eq!(Head::decode(&unsound.encode()), Err(OpenError), "{unsound:?}");
        assert_eq!(seal_skeleton(&keys(1), &body(1), &unsound, &[b"text"]), Err(SealError::Places), "{unsound:?}");
    }
    assert_eq!(seal_skeleton(&keys(1), &body(1), &sound, &[b"tex"]), Err(SealError::Places), "another text");
}

/// Steps that a path has in common with the one before, written out: another encoding of the same head.
#[test]
fn heads_that_repeat_what_they_could_share_are_refused() {
    let root = Path::root().child(StepKind::Key, b"ab");
    let hole = |path| StoredHole { at: 0, kind: JsonType::Bool, reason: Reason::Shape, path, ordinal: 0 };
    let holes = vec![hole(root.child(StepKind::Key, b"c")), hole(root.child(StepKind::Key, b"d"))];
    let encoded = Head { size: 10, text_size: 4, holes, overflow: false }.encode();
    let (shared, repeated) = (&[1, 1, 1, 1, b'd'][..], &[0, 2, 1, 2, b'a', b'b', 1, 1, b'd'][..]);
    let rest = encoded.strip_suffix(shared).unwrap();
    assert!(Head::decode(&encoded).is_ok());
    assert_eq!(Head::decode(&[rest, repeated].concat()), Err(OpenError));
    assert_eq!(Head::decode(&[rest, &[2, 1, 1, 1, b'd']].concat()).map(|head| head.holes[1].path.steps().count()), Ok(3));
    assert_eq!(Head::decode(&[rest, &[3, 0]].concat()), Err(OpenError), "more steps than there are");
}

#[test]
fn tokens_of_4_gib_are_refused() {
    assert_eq!(length_of((1 << 32) - 1), Ok(u32::MAX));
    assert_eq!(length_of(1 << 32), Err(SealError::TooLong));
}

#[test]
fn heads_of_many_holes_are_small() {
    let mut path = Path::root();
    for (kind, bytes) in [
        (StepKind::Section, &b"attributes"[..]),
        (StepKind::Mode, b"managed"),
        (StepKind::Type, b"aws_db_instance"),
        (StepKind::Name, b"main"),
    ] {
        path.push(kind, bytes);
    }
    let holes = (0..1000_u32).map(|n| StoredHole {
        at: 900 * u64::from(n) + 40,
        kind: JsonType::String,
        reason: Reason::Mark,
        path: path.child(StepKind::NumberKey, n.to_string().as_bytes()).child(StepKind::Key, b"password"),
        ordinal: n,
    });
    let head = Head { size: 1_000_000, text_size: 900_000, holes: holes.collect(), overflow: false };
    let encoded = head.encode();
    assert!(encoded.len() < 26_000, "{}", encoded.len());
    let packed = zstd::bulk::compress(&encoded, 3).unwrap().len();
    assert!(packed < 4_000, "{packed}");
}

#[test]
fn keys_are_wiped_on_drop_and_differ_by_purpose() {
    fn wiped<T: ZeroizeOnDrop>(_: &T) {}
    let keys = keys(1).keys;
    wiped(keys.as_ref());
    let all = [keys.encryption, keys.nonce, keys.skeleton, keys.mac, keys.digest];
    for (n, key) in all.iter().enumerate() {
        assert!(all.iter().skip(n + 1).all(|other| other != key), "no. {n}");
    }
    let mut keys = std::sync::Arc::into_inner(keys).unwrap();
    keys.zeroize();
    let Keys { encryption, nonce, skeleton, mac, digest } = &keys;
    assert_eq!([*encryption, *nonce, *skeleton, *mac, *digest], [[0; 32]; 5]);
}

#[test]
fn digests_depend_on_the_key_and_the_document() {
    let (one, other) = (keys(1), keys(2));
    assert_eq!(one.document_digest(b"x"), keys(1).document_digest(b"x"));
    assert_ne!(one.document_digest(b"x"), other.document_digest(b"x"));
    assert_ne!(one.document_digest(b"x"), one.document_digest(b"y"));
}

#[test]
fn tags_are_shared_by_equal_values_of_one_place_only() {
    let tag = |keys: &SealingKeys, binding: &Binding, kind, name: &[u8], token: &[u8]| {
        let path = Path::root().child(StepKind::Key, name);
        seal_value(keys, binding, kind, &path, token).unwrap()[..TAG].to_vec()
    };
    let tags = [
        tag(&keys(1), &binding(1, 2), JsonType::String, b"a", b"\"1\""),
        tag(&keys(2), &binding(1, 2), JsonType::String, b"a", b"\"1\""),
        tag(&keys(1), &binding(2, 2), JsonType::String, b"a", b"\"1\""),
        tag(&keys(1), &binding(1, 1), JsonType::String, b"a", b"\"1\""),
        tag(&keys(1), &binding(1, 2), JsonType::Number, b"a", b"\"1\""),
        tag(&keys(1), &binding(1, 2), JsonType::String, b"b", b"\"1\""),
        tag(&keys(1), &binding(1, 2), JsonType::String, b"a", b"\"2\""),
    ];
    assert_eq!(tags.iter().collect::<std::collections::HashSet<_>>().len(), tags.len());
}
