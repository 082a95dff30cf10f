//! The reader of JSON against serde_json: it accepts nothing else, refuses more, and reads the same where both accept.

use leasehold::domain::format::json::{Container, JsonErrorKind, Leaf, Span, Visitor, decode_string, scan, scan_again};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Begin,
    End,
    Key(String),
    Text(String),
    Number,
    Bool(bool),
    Null,
}

pub(crate) fn run(data: &[u8]) {
    let mut ours = Ours { document: data, events: Vec::new(), deepest: 0 };
    let scanned = scan(data, &mut ours);
    let Ok(text) = std::str::from_utf8(data) else {
        assert!(scanned.is_err(), "not UTF-8");
        return;
    };
    let ignored = serde_json::from_str::<IgnoredAny>(text);
    match scanned {
        // Theirs counts one level less.
        Ok(()) => assert!(ignored.is_ok() || ours.deepest >= 127, "accepted what serde_json refuses: {ignored:?}"),
        Err(error) => {
            let stricter = [JsonErrorKind::DuplicateKey, JsonErrorKind::LoneSurrogate, JsonErrorKind::TooDeep];
            assert!(ignored.is_err() || stricter.contains(&error.kind), "refused what serde_json accepts: {error}");
            return;
        }
    }
    let mut again = Ours { document: data, events: Vec::new(), deepest: 0 };
    scan_again(data, &mut again).expect("it was accepted before");
    assert_eq!(again.events, ours.events);
    let mut theirs = Vec::new();
    let mut reader = serde_json::Deserializer::from_str(text);
    // Numbers beyond f64 are none for them.
    if Theirs(&mut theirs).deserialize(&mut reader).is_ok() {
        assert_eq!(ours.events, theirs);
    }
}

struct Ours<'d> {
    document: &'d [u8],
    events: Vec<Event>,
    deepest: u8,
}

impl Visitor for Ours<'_> {
    fn key(&mut self, key: Span, escaped: bool, _depth: u8) {
        assert_eq!(escaped, key.of(self.document).contains(&b'\\'));
        self.events.push(Event::Key(decode_string(key.of(self.document)).into_owned()));
    }

    fn leaf(&mut self, leaf: Span, kind: Leaf, _depth: u8) {
        let token = leaf.of(self.document);
        self.events.push(match kind {
            Leaf::String { escaped } => {
                assert_eq!(escaped, token.contains(&b'\\'));
                Event::Text(decode_string(token).into_owned())
            }
            Leaf::Number => {
                assert!(serde_json::from_slice::<IgnoredAny>(token).is_ok(), "a number that is none");
                Event::Number
            }
            Leaf::Bool => Event::Bool(token == b"true"),
            Leaf::Null => Event::Null,
        });
    }

    fn begin(&mut self, _kind: Container, at: u32, depth: u8) {
        assert!(matches!(self.document[at as usize], b'{' | b'['));
        self.deepest = self.deepest.max(depth + 1);
        self.events.push(Event::Begin);
    }

    fn end(&mut self, kind: Container, whole: Span, _depth: u8) {
        let whole = whole.of(self.document);
        let brackets = if kind == Container::Object { (b'{', b'}') } else { (b'[', b']') };
        assert_eq!((whole[0], whole[whole.len() - 1]), brackets);
        self.events.push(Event::End);
    }
}

struct Theirs<'e>(&'e mut Vec<Event>);

impl<'de> DeserializeSeed<'de> for Theirs<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> serde::de::Visitor<'de> for Theirs<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.0.push(Event::Bool(value));
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.0.push(Event::Number);
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.0.push(Event::Number);
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.0.push(Event::Number);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.push(Event::Text(text.to_owned()));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.push(Event::Null);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.0.push(Event::Begin);
        while seq.next_element_seed(Theirs(self.0))?.is_some() {}
        self.0.push(Event::End);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.0.push(Event::Begin);
        while let Some(key) = map.next_key::<String>()? {
            self.0.push(Event::Key(key));
            map.next_value_seed(Theirs(self.0))?;
        }
        self.0.push(Event::End);
        Ok(())
    }
}
