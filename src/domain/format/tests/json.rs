use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::Value;

use super::{
    super::json::{Container, JsonError, JsonErrorKind, Leaf, MAX_DEPTH, Span, Visitor, decode_string, scan},
    Style, text, tree,
};

fn check(document: impl AsRef<[u8]>) -> Result<(), JsonError> {
    scan(document.as_ref(), &mut ())
}

fn refused(document: impl AsRef<[u8]>) -> (usize, JsonErrorKind) {
    let error = check(document).unwrap_err();
    (error.at, error.kind)
}

#[test]
fn scan_of_bad_documents_names_the_place() {
    use JsonErrorKind::*;
    let table: &[(&[u8], usize, JsonErrorKind)] = &[
        (b"", 0, UnexpectedEnd),
        (b" \n", 2, UnexpectedEnd),
        (b"{", 1, UnexpectedEnd),
        (b"[1,", 3, UnexpectedEnd),
        (b"{\"a\"", 4, UnexpectedEnd),
        (b"\"abcdefghijk", 12, UnexpectedEnd),
        (b"\"\\", 1, UnexpectedEnd),
        (b"[1,]", 3, UnexpectedByte),
        (b"[,1]", 1, UnexpectedByte),
        (b"[1 2]", 3, UnexpectedByte),
        (b"[1}", 2, UnexpectedByte),
        (b"{\"a\":1]", 6, UnexpectedByte),
        (b"{\"a\":1,}", 7, UnexpectedByte),
        (b"{\"a\" 1}", 5, UnexpectedByte),
        (b"{a:1}", 1, UnexpectedByte),
        (b"{1:1}", 1, UnexpectedByte),
        (b"nul", 0, UnexpectedByte),
        (b"True", 0, UnexpectedByte),
        (b"NaN", 0, UnexpectedByte),
        (b"'a'", 0, UnexpectedByte),
        (b"+1", 0, UnexpectedByte),
        (b".5", 0, UnexpectedByte),
        (b"[\x0b1]", 1, UnexpectedByte),
        (b"/**/1", 0, UnexpectedByte),
        (b"-", 1, BadNumber),
        (b"01", 1, BadNumber),
        (b"-01", 2, BadNumber),
        (b"1.", 2, BadNumber),
        (b"1.e5", 2, BadNumber),
        (b"1e", 2, BadNumber),
        (b"1e+", 3, BadNumber),
        (b"0x10", 1, TrailingBytes),
        (b"1 2", 2, TrailingBytes),
        (b"{}{}", 2, TrailingBytes),
        (b"[]\0", 2, TrailingBytes),
        (b"]", 0, UnexpectedByte),
        (b"\"a\nb\"", 2, ControlInString),
        (b"\"0123456\x1f\"", 8, ControlInString),
        (b"\"\x00\"", 1, ControlInString),
        (b"\"\x1f\"", 1, ControlInString),
        (b"{\"\t\":1}", 2, ControlInString),
        (b"\"\\x\"", 1, BadEscape),
        (b"\"\\u12g4\"", 1, BadEscape),
        (b"\"\\u12\"", 1, BadEscape),
        (b"\"\\u+123\"", 1, BadEscape),
        (b"\"\\ud800\"", 1, LoneSurrogate),
        (b"\"\\ud800x\"", 1, LoneSurrogate),
        (b"\"\\uDC00\"", 1, LoneSurrogate),
        (b"\"\\ud800\\ud800\"", 1, LoneSurrogate),
        (b"\"\\ud800\\n00000\"", 1, LoneSurrogate),
        (b"\"\xff\"", 1, NotUtf8),
        (b"\"\xed\xa0\x80\"", 1, NotUtf8),
        (b"\"\xc0\x80\"", 1, NotUtf8),
        (b"[1]\xc3", 3, NotUtf8),
        (b"\xEF\xBB\xBF{}", 0, ByteOrderMark),
        (b"{\"a\":1,\"a\":2}", 7, DuplicateKey),
        (b"{\"a\":1,\"\\u0061\":2}", 7, DuplicateKey),
        (b"{\"\\/\":1,\"/\":2}", 8, DuplicateKey),
        (b"{\"\":1,\"\":2}", 6, DuplicateKey),
        ("{\"𝄞\":1,\"\\ud834\\uDD1e\":2}".as_bytes(), 10, DuplicateKey),
        (b"[{\"b\":{\"a\":1,\"c\":{\"a\":1},\"a\":2}}]", 25, DuplicateKey),
    ];
    for (document, at, kind) in table {
        assert_eq!(refused(document), (*at, *kind), "{}", String::from_utf8_lossy(document));
    }
}

#[test]
fn scan_of_good_documents_passes() {
    let table: &[&[u8]] = &[
        b"0",
        b" -0.0e-0 ",
        b"1e400",
        b"123456789012345678901234567890",
        b"\"\"",
        b"\"\\u0000\\uD834\\udd1e\x7f\"",
        b"[]",
        b"{}",
        b"{ \"\" : [ ] }\r\n",
        b"{\"a\":{\"a\":1},\"b\":{\"a\":1},\"c\":[{\"a\":1},{\"a\":1}]}",
        "{\"é\":1,\"e\u{301}\":2}".as_bytes(),
    ];
    for document in table {
        assert_eq!(check(document), Ok(()), "{}", String::from_utf8_lossy(document));
    }
}

#[test]
fn scan_counts_depth_over_all_containers() {
    let nested = |depth: usize| format!("{}{}", "[{\"a\":".repeat(depth / 2) + "[]", "}]".repeat(depth / 2));
    assert_eq!(check("[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH)), Ok(()));
    assert_eq!(check(nested(MAX_DEPTH - 2)), Ok(()));
    assert_eq!(refused(nested(MAX_DEPTH)).1, JsonErrorKind::TooDeep);
    assert_eq!(refused("[".repeat(10 << 20)), (MAX_DEPTH, JsonErrorKind::TooDeep));
}

#[test]
fn scan_of_large_objects_takes_no_quadratic_time() {
    let many = |key: fn(usize) -> String, last: &str| {
        let members: Vec<String> = (0..200_000).map(|index| format!("\"{}\":0", key(index))).collect();
        format!("{{{},\"{last}\":0}}", members.join(","))
    };
    assert_eq!(check(many(|index| format!("k{index}"), "k")), Ok(()));
    let repeated = many(|index| format!("k{index}"), "k777");
    assert_eq!(refused(&repeated), (repeated.rfind("\"k777\"").unwrap(), JsonErrorKind::DuplicateKey));
    assert_eq!(refused(many(|index| format!("\\u006b{index}"), "k123")).1, JsonErrorKind::DuplicateKey);
    // Objects in objects, each with more keys than are compared one by one.
    let deep = (0..120).fold("0".to_owned(), |inner, level| {
        let keys: Vec<String> = (0..100).map(|index| format!("\"{index}\":0")).collect();
        format!("{{{},\"x{level}\":{inner}}}", keys.join(","))
    });
    assert_eq!(check(deep), Ok(()));
}

#[test]
fn error_names_the_byte_and_never_the_content() {
    let error = check("{\"hunter2\":1,\"hunter2\":2}").unwrap_err();
    assert_eq!(error.to_string(), "a key for the second time in one object at byte 13");
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[test]
fn decode_string_never_panics_on_what_scan_would_refuse() {
    for token in ["", "\"", "\\", "\"\\\"", "\"\\u12", "\\ud800", "\\ud800\\u", "\"\\ud800ééé\\u\"", "\\é", "\\uéé"] {
        decode_string(token.as_bytes());
    }
    decode_string(b"\"\\\xff\"");
}

/// Builds what the events say, and keeps the spans.
#[derive(Default)]
struct Rebuilt<'a> {
    document: &'a [u8],
    open: Vec<(u32, Option<String>, Value)>,
    root: Option<Value>,
    tokens: Vec<Span>,
}

impl Rebuilt<'_> {
    fn put(&mut self, value: Value) {
        match self.open.last_mut() {
            None => assert!(self.root.replace(value).is_none()),
            Some((_, _, Value::Array(items))) => items.push(value),
            Some((_, key, Value::Object(members))) => assert!(members.insert(key.take().unwrap(), value).is_none()),
            Some(_) => unreachable!(),
        }
    }
}

impl Visitor for Rebuilt<'_> {
    fn key(&mut self, key: Span, escaped: bool, depth: u8) {
        assert_eq!(depth as usize, self.open.len());
        assert_eq!(escaped, key.of(self.document).contains(&b'\\'));
        self.tokens.push(key);
        let text = decode_string(key.of(self.document)).into_owned();
        self.open.last_mut().unwrap().1 = Some(text);
    }

    fn leaf(&mut self, leaf: Span, kind: Leaf, depth: u8) {
        assert_eq!(depth as usize, self.open.len());
        self.tokens.push(leaf);
        let token = leaf.of(self.document);
        let value: Value = serde_json::from_slice(token).unwrap();
        match (kind, &value) {
            (Leaf::String { escaped }, Value::String(text)) => {
                assert_eq!(escaped, token.contains(&b'\\'));
                assert_eq!(decode_string(token), text.as_str());
            }
            (Leaf::Number, Value::Number(_)) | (Leaf::Bool, Value::Bool(_)) | (Leaf::Null, Value::Null) => {}
            _ => panic!("{kind:?} is not {value}"),
        }
        self.put(value);
    }

    fn begin(&mut self, kind: Container, at: u32, depth: u8) {
        assert_eq!(depth as usize, self.open.len());
        self.tokens.push(Span { start: at, end: at + 1 });
        self.open.push((
            at,
            None,
            if kind == Container::Object { Value::Object(Default::default()) } else { Value::Array(vec![]) },
        ));
    }

    fn end(&mut self, kind: Container, whole: Span, depth: u8) {
        let (at, key, value) = self.open.pop().unwrap();
        assert_eq!((depth as usize, at, key), (self.open.len(), whole.start, None));
        assert_eq!(kind == Container::Object, value.is_object());
        self.tokens.push(Span { start: whole.end - 1, end: whole.end });
        self.put(value);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn scan_of_random_documents_tells_what_stands_where(tree in tree(), style: u64) {
        let document = tree.written(style);
        let mut rebuilt = Rebuilt { document: &document, ..Rebuilt::default() };
        prop_assert_eq!(scan(&document, &mut rebuilt), Ok(()));
        prop_assert_eq!(rebuilt.root.unwrap(), serde_json::from_slice::<Value>(&document).unwrap());
        // With what lies between them, the spans are the document.
        let mut at = 0;
        for span in rebuilt.tokens {
            prop_assert!(document[at..span.start as usize].iter().all(|byte| b" \t\r\n,:".contains(byte)));
            at = span.end as usize;
        }
        prop_assert!(document[at..].iter().all(|byte| b" \t\r\n".contains(byte)));
    }

    #[test]
    fn scan_agrees_with_serde_json_on_damaged_documents(
        tree in tree(),
        style: u64,
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..3, prop::sample::select(&b"\"\\{}[],:0129.eE+-unat \n\x00\x1f\x7f\x80\xc3\xa9\xed\xa0\xf0dD8cC"[..])), 1..4),
    ) {
        let mut document = tree.written(style);
        for (place, how, byte) in damage {
            let at = place.index(document.len() + 1);
            match how {
                0 if at < document.len() => document[at] = byte,
                1 if at < document.len() => drop(document.remove(at)),
                _ => document.insert(at, byte),
            }
        }
        match (check(&document), serde_json::from_slice::<Value>(&document)) {
            (Ok(()), Ok(_)) | (Err(_), Err(_)) => {}
            (Ok(()), Err(error)) => prop_assert!(error.to_string().contains("out of range"), "{error}: {}", String::from_utf8_lossy(&document)),
            (Err(error), Ok(_)) => prop_assert_eq!(error.kind, JsonErrorKind::DuplicateKey, "{}", String::from_utf8_lossy(&document)),
        }
    }

    #[test]
    fn scan_finds_exactly_the_repeated_keys(keys in prop::collection::vec("[ab]{0,5}é?", 0..60), style: u64) {
        let mut style = Style(style);
        let mut document = Vec::new();
        style.list(b"{}", &keys, &mut document, |key, style, out| {
            style.string(key, out);
            out.extend_from_slice(b":0");
        });
        let distinct = keys.iter().collect::<HashSet<_>>().len() == keys.len();
        prop_assert_eq!(check(&document).map_err(|error| error.kind), if distinct { Ok(()) } else { Err(JsonErrorKind::DuplicateKey) });
    }

    #[test]
    fn decode_string_undoes_every_spelling(text in text(), style: u64) {
        let mut token = Vec::new();
        Style(style).string(&text, &mut token);
        prop_assert_eq!(decode_string(&token), text);
    }
}
