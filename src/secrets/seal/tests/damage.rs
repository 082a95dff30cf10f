//! What is changed, moved or put elsewhere is refused.

use std::collections::HashSet;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};

use super::*;
use crate::secrets::seal::mac::{VersionMac, mac};
use crate::secrets::seal::piece::{BEFORE, Lock, PartOf};
use crate::secrets::seal::value::{TAG, context, nonce, open_value};

/// Every form of `bytes` with one bit changed.
fn bent(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(|bit| {
        let mut bent = bytes.to_vec();
        bent[bit / 8] ^= 1 << (bit % 8);
        bent
    })
}

fn sample() -> (Vec<u8>, Vec<Hole>) {
    let document = br#"{"user":"admin","password":"hunter2 \"&%/+=","pin":1234,"list":["hunter2 \"&%/+=",true]}"#.to_vec();
    let path = |name: &[u8]| Path::root().child(StepKind::Key, name);
    let hole = |token: &[u8], kind, path, nth| {
        let at = document.windows(token.len()).enumerate().filter(|(_, window)| window == &token).nth(nth).unwrap().0 as u32;
        Hole { span: Span { start: at, end: at + token.len() as u32 }, kind, path, reason: Reason::KeyName }
    };
    let secret = br#""hunter2 \"&%/+=""#;
    let holes = vec![
        hole(secret, JsonType::String, path(b"password"), 0),
        hole(b"1234", JsonType::Number, path(b"pin"), 0),
        hole(secret, JsonType::String, path(b"list").child(StepKind::Index, &[0; 8]), 1),
    ];
    (document, holes)
}

#[test]
fn values_with_any_bit_changed_are_refused() {
    let path = Path::root().child(StepKind::Key, b"password");
    let sealed = seal_value(&keys(1), &binding(1, 2), JsonType::String, &path, b"\"hunter2\"").unwrap();
    for (bit, bent) in bent(&sealed).enumerate() {
        assert!(open_value(&keys(1), &binding(1, 2), JsonType::String, &path, &bent).is_err(), "bit {bit}");
    }
    for end in 0..sealed.len() {
        assert!(open_value(&keys(1), &binding(1, 2), JsonType::String, &path, &sealed[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn values_open_nowhere_else() {
    let (key, index) = (Path::root().child(StepKind::Key, b"0"), Path::root().child(StepKind::Index, b"0"));
    let open = |keys: &SealingKeys, binding: &Binding, kind, path: &Path, sealed: &[u8]| {
        open_value(keys, binding, kind, path, sealed).map(|token| token.to_vec())
    };
    let sealed = seal_value(&keys(1), &binding(1, 2), JsonType::String, &key, b"\"x\"").unwrap();
    assert_eq!(open(&keys(1), &binding(1, 2), JsonType::String, &key, &sealed).as_deref(), Ok(&b"\"x\""[..]));
    assert_eq!(open(&keys(1), &binding(1, 2), JsonType::String, &index, &sealed), Err(OpenError), "another place");
    assert_eq!(open(&keys(1), &binding(1, 2), JsonType::Number, &key, &sealed), Err(OpenError), "another type");
    assert_eq!(open(&keys(1), &binding(1, 3), JsonType::String, &key, &sealed), Err(OpenError), "another state");
    assert_eq!(open(&keys(1), &binding(2, 2), JsonType::String, &key, &sealed), Err(OpenError), "another environment");
    assert_eq!(open(&keys(2), &binding(1, 2), JsonType::String, &key, &sealed), Err(OpenError), "another key");
    let renamed = SealingKeys::derive(&DataKey::new(DataKeyId([9; 16]), &[1 ^ 0x55; 32]));
    assert_eq!(open(&renamed, &binding(1, 2), JsonType::String, &key, &sealed), Err(OpenError), "the key under another name");
}

/// Somebody has K_enc, or the cipher does not commit: what it takes for authentic must still be what sealing makes.
#[test]
fn values_that_sealing_does_not_make_are_refused_though_authentic() {
    let path = Path::root().child(StepKind::Key, b"password");
    let (keys, binding) = (keys(1), binding(1, 2));
    let context = context(keys.id(), &binding, JsonType::String, &path);
    let open = |nonce: [u8; TAG], padded: &[u8]| {
        let key = XChaCha20Poly1305::new(&keys.keys.encryption.into());
        let sealed = key.encrypt(&nonce.into(), Payload { msg: padded, aad: &context }).unwrap();
        open_value(&keys, &binding, JsonType::String, &path, &[&nonce[..], &sealed].concat()).map(|token| token.to_vec())
    };
    let padded = |length: u32, token: &[u8], size: usize| {
        let mut padded = [&length.to_be_bytes()[..], token].concat();
        padded.resize(size, 0);
        padded
    };
    let right = nonce(&keys, &context, b"\"x\"");
    assert_eq!(open(right, &padded(3, b"\"x\"", 32)).as_deref(), Ok(&b"\"x\""[..]));
    assert_eq!(open(nonce(&keys, &context, b"\"y\""), &padded(3, b"\"x\"", 32)), Err(OpenError), "the nonce of another token");
    assert_eq!(open([7; TAG], &padded(3, b"\"x\"", 32)), Err(OpenError), "a nonce of nothing");
    assert_eq!(open(right, &padded(3, b"\"x\"\0\0\x01", 32)), Err(OpenError), "padding that is not zero");
    for size in [0, 3, 7, 31, 34, 64] {
        assert_eq!(open(right, &padded(3, b"\"x\"", size)), Err(OpenError), "padded to {size}");
    }
    for length in [29, 32, u32::MAX] {
        assert_eq!(open(right, &padded(length, b"\"x\"", 32)), Err(OpenError), "a length of {length}");
    }
}

#[test]
fn skeletons_with_any_bit_changed_are_refused() {
    let (document, holes) = sample();
    let sealed = seal(&keys(1), &body(7), &document, &holes);
    for n in 0..sealed.pieces.len() {
        for (bit, bent) in bent(&sealed.pieces[n]).enumerate() {
            let mut pieces = sealed.pieces.clone();
            pieces[n] = bent;
            assert!(open(&keys(1), &body(7), &pieces).is_err(), "bit {bit} of piece {n}");
        }
    }
}

#[test]
fn skeletons_open_nowhere_else() {
    let (document, holes) = sample();
    let bodies: Vec<Body> = holders()
        .into_iter()
        .flat_map(|holder| {
            [(1, 2, None), (2, 2, None), (1, 1, None), (1, 2, Some(Version(3))), (1, 2, Some(Version(4)))]
                .map(|(environment, state, base)| Body { binding: binding(environment, state), holder, base })
        })
        .collect();
    for sealed_as in &bodies {
        let sealed = seal(&keys(1), sealed_as, &document, &holes);
        for opened_as in &bodies {
            let opened = open(&keys(1), opened_as, &sealed.pieces);
            assert_eq!(opened.is_ok(), sealed_as == opened_as, "sealed as {sealed_as:?}, opened as {opened_as:?}");
        }
        assert!(open(&keys(2), sealed_as, &sealed.pieces).is_err(), "another key");
    }
}

/// By the associated data alone, whatever is in it.
#[test]
fn pieces_open_under_their_number_only() {
    let lock = Lock::of(&keys(1), &body(7));
    let mut piece = vec![0; BEFORE + 5];
    lock.close(&mut piece, PartOf::Text, 3, 9, [1; 24]);
    let open = |change: &dyn Fn(&mut Vec<u8>), number| {
        let mut piece = piece.clone();
        change(&mut piece);
        lock.open(&mut piece, number).map(|(part, count)| (part, count, piece[BEFORE..].to_vec()))
    };
    assert_eq!(open(&|_| {}, 3), Ok((PartOf::Text, 9, vec![0; 5])));
    for number in [0, 2, 4, 8, 9, u32::MAX] {
        assert_eq!(open(&|_| {}, number), Err(OpenError), "as number {number}");
    }
    assert_eq!(open(&|piece| piece[1] = PartOf::Head as u8, 3), Err(OpenError), "as part of the head");
    assert_eq!(open(&|piece| piece[5] = 10, 3), Err(OpenError), "as one of ten");
    assert_eq!(open(&|piece| piece[0] = 3, 3), Err(OpenError), "in another format");
    for length in 0..piece.len() {
        assert_eq!(open(&|piece| piece.truncate(length), 3), Err(OpenError), "cut at {length}");
    }
}

#[test]
fn macs_notice_any_change_of_what_they_hold_together() {
    let (document, holes) = sample();
    let sealed = seal(&keys(1), &body(7), &document, &holes);
    let (head, text, values) = (sealed.head.encode(), sealed.text, sealed.values);
    let of = |subject: &Subject, head: &[u8], values: &[Vec<u8>], text: &[u8]| mac(&keys(1), subject, head, values, &[text]);
    let right = of(&subject(), &head, &values, &text);

    let mut macs = HashSet::from([right]);
    let mut different = |other: [u8; 32], what: &str| assert!(macs.insert(other), "{what}");
    bent(&head).for_each(|bent| different(of(&subject(), &bent, &values, &text), "the head"));
    bent(&text).for_each(|bent| different(of(&subject(), &head, &values, &bent), "the text"));
    for n in 0..values.len() {
        for bent in bent(&values[n]) {
            let mut values = values.clone();
            values[n] = bent;
            different(of(&subject(), &head, &values, &text), "a value");
        }
        let mut fewer = values.clone();
        fewer.remove(n);
        different(of(&subject(), &head, &fewer, &text), "a value dropped");
        let mut moved = values.clone();
        moved.swap(n, (n + 1) % values.len());
        different(of(&subject(), &head, &moved, &text), "values swapped");
    }
    different(of(&subject(), &head, &[], &[values.concat(), text.clone()].concat()), "values as text");
    different(of(&subject(), &[&head[..], &text].concat(), &values, b""), "text as head");
    different(mac(&keys(2), &subject(), &head, &values, &[&text]), "another key");
    for other in holders().into_iter().skip(1) {
        different(of(&Subject { holder: other, ..subject() }, &head, &values, &text), "another holder");
    }
    for other in [
        Subject { binding: binding(2, 2), ..subject() },
        Subject { binding: binding(1, 1), ..subject() },
        Subject { previous_etag: None, ..subject() },
        Subject { previous_etag: Some(Etag([8; 16])), ..subject() },
        Subject { token: Token(42), ..subject() },
        Subject { format: Format::Json, ..subject() },
        Subject { rules: (4, 4), ..subject() },
        Subject { rules: (3, 5), ..subject() },
    ] {
        different(of(&other, &head, &values, &text), "another subject");
    }
    let streamed = || {
        let mut streamed = VersionMac::new(&keys(1), &subject(), &head, &values);
        text.chunks(7).for_each(|chunk| streamed.text(chunk));
        streamed
    };
    assert_eq!(streamed().verify(&right), Ok(()));
    assert!(bent(&right).all(|bent| streamed().verify(&bent) == Err(OpenError)));
    assert_eq!(streamed().verify(&right[..31]), Err(OpenError));
}

#[test]
fn environments_with_the_same_content_share_no_16_bytes() {
    let (document, holes) = sample();
    let document = [document, noise(300_000)].concat();
    let stored = |seed: u8, environment: u8| {
        let body = Body { binding: binding(environment, 2), ..body(7) };
        let sealed = seal(&keys(seed), &body, &document, &holes);
        assert!(sealed.pieces.len() > 2);
        sealed.pieces.into_iter().chain(sealed.values)
    };
    let windows: HashSet<Vec<u8>> =
        stored(1, 1).flat_map(|row| row.windows(16).map(<[u8]>::to_vec).collect::<Vec<_>>()).collect();
    assert!(windows.len() > 300_000);
    // Other keys, as environments have them; and even under one key.
    for row in stored(2, 2).chain(stored(1, 2)) {
        assert!(!row.windows(16).any(|window| windows.contains(window)));
    }
}
