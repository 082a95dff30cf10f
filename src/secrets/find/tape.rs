//! What a first pass saw of a document, for the passes after it: eight bytes for each token, so that it is read as text only once.

use crate::domain::format::json::{self, Container, JsonError, Leaf, Span, Visitor};

/// The tokens of a document in their order.
#[derive(Default)]
pub(super) struct Tape {
    /// u32 where it begins (of an end: where it ends) ‖ 28 bits of length ‖ 4 bits of what it is.
    tokens: Vec<u64>,
    most: usize,
    /// The document has more tokens than are kept, or longer ones: it is read again.
    torn: bool,
}

const KEY: u64 = 0;
const STRING: u64 = 2;
/// Beside [`KEY`] and [`STRING`].
const ESCAPED: u64 = 1;
const NUMBER: u64 = 4;
const BOOL: u64 = 5;
const NULL: u64 = 6;
const OBJECT: u64 = 7;
const ARRAY: u64 = 8;
const END: u64 = 9;

const KIND_BITS: u32 = 4;
const LENGTH_BITS: u32 = 28;

impl Tape {
    /// An empty one: at most as long as the document.
    pub(super) fn of(document: &[u8]) -> Self {
        Self { tokens: Vec::with_capacity(document.len() / 64), most: document.len() / 8, torn: false }
    }

    /// Shows the document that was recorded to a visitor.
    pub(super) fn play(&self, document: &[u8], visitor: &mut impl Visitor) -> Result<(), JsonError> {
        if self.torn {
            return json::scan_again(document, visitor);
        }
        let mut open: Vec<(Container, u32)> = Vec::with_capacity(16);
        for token in &self.tokens {
            let at = (token >> (KIND_BITS + LENGTH_BITS)) as u32;
            let length = (token >> KIND_BITS) as u32 & ((1 << LENGTH_BITS) - 1);
            let (span, depth) = (Span { start: at, end: at.wrapping_add(length) }, open.len() as u8);
            match token & ((1 << KIND_BITS) - 1) {
                kind @ (KEY..STRING) => visitor.key(span, kind & ESCAPED != 0, depth),
                kind @ (STRING..NUMBER) => visitor.leaf(span, Leaf::String { escaped: kind & ESCAPED != 0 }, depth),
                NUMBER => visitor.leaf(span, Leaf::Number, depth),
                BOOL => visitor.leaf(span, Leaf::Bool, depth),
                NULL => visitor.leaf(span, Leaf::Null, depth),
                kind @ (OBJECT | ARRAY) => {
                    let kind = if kind == OBJECT { Container::Object } else { Container::Array };
                    visitor.begin(kind, at, depth);
                    open.push((kind, at));
                }
                _ => {
                    let (kind, start) = open.pop().expect("only an open container ends");
                    visitor.end(kind, Span { start, end: at }, depth - 1);
                }
            }
        }
        Ok(())
    }

    /// The strings and numbers that begin at `from` or later, with whether they have escapes; none if the document has to be read again.
    pub(super) fn leaves(&self, from: u32) -> Option<impl Iterator<Item = (Span, Leaf)> + '_> {
        let at = |token: &u64| (token >> (KIND_BITS + LENGTH_BITS)) as u32;
        // Ends are told by where they end, so the order is that of the document.
        let first = self.tokens.partition_point(|token| at(token) < from);
        let leaf = move |token: &u64| {
            let (start, length) = (at(token), (token >> KIND_BITS) as u32 & ((1 << LENGTH_BITS) - 1));
            let kind = match token & ((1 << KIND_BITS) - 1) {
                kind @ (STRING..NUMBER) => Leaf::String { escaped: kind & ESCAPED != 0 },
                NUMBER => Leaf::Number,
                _ => return None,
            };
            Some((Span { start, end: start.wrapping_add(length) }, kind))
        };
        (!self.torn).then(|| self.tokens[first..].iter().filter_map(leaf))
    }

    fn put(&mut self, kind: u64, at: u32, length: u32) {
        if self.tokens.len() >= self.most || length >> LENGTH_BITS != 0 {
            self.torn = true;
            self.tokens = Vec::new();
        }
        if !self.torn {
            self.tokens.push(u64::from(at) << (KIND_BITS + LENGTH_BITS) | u64::from(length) << KIND_BITS | kind);
        }
    }
}

/// Records what passes by on its way to a visitor.
pub(super) struct Recording<'t, V> {
    pub(super) tape: &'t mut Tape,
    pub(super) visitor: V,
}

impl<V: Visitor> Visitor for Recording<'_, V> {
    fn key(&mut self, key: Span, escaped: bool, depth: u8) {
        self.tape.put(KEY | u64::from(escaped), key.start, key.end - key.start);
        self.visitor.key(key, escaped, depth);
    }

    fn leaf(&mut self, leaf: Span, kind: Leaf, depth: u8) {
        let what = match kind {
            Leaf::String { escaped } => STRING | u64::from(escaped),
            Leaf::Number => NUMBER,
            Leaf::Bool => BOOL,
            Leaf::Null => NULL,
        };
        self.tape.put(what, leaf.start, leaf.end - leaf.start);
        self.visitor.leaf(leaf, kind, depth);
    }

    fn begin(&mut self, kind: Container, at: u32, depth: u8) {
        self.tape.put(if kind == Container::Object { OBJECT } else { ARRAY }, at, 0);
        self.visitor.begin(kind, at, depth);
    }

    fn end(&mut self, kind: Container, whole: Span, depth: u8) {
        self.tape.put(END, whole.end, 0);
        self.visitor.end(kind, whole, depth);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, PartialEq, Eq, Debug)]
    struct Seen(Vec<(String, u8)>);

    impl Visitor for Seen {
        fn key(&mut self, key: Span, escaped: bool, depth: u8) {
            self.0.push((format!("key {key:?} {escaped}"), depth));
        }
        fn leaf(&mut self, leaf: Span, kind: Leaf, depth: u8) {
            self.0.push((format!("leaf {leaf:?} {kind:?}"), depth));
        }
        fn begin(&mut self, kind: Container, at: u32, depth: u8) {
            self.0.push((format!("begin {kind:?} {at}"), depth));
        }
        fn end(&mut self, kind: Container, whole: Span, depth: u8) {
            self.0.push((format!("end {kind:?} {whole:?}"), depth));
        }
    }

    fn played(document: &[u8]) -> (Seen, Seen, bool) {
        let mut tape = Tape::of(document);
        let mut recording = Recording { tape: &mut tape, visitor: Seen::default() };
        json::scan(document, &mut recording).unwrap();
        let (first, mut again) = (recording.visitor, Seen::default());
        tape.play(document, &mut again).unwrap();
        (first, again, tape.torn)
    }

    #[test]
    fn tape_shows_what_was_recorded() {
        let document = br#"  {"name of a thing" : [ 1.5e3, "a text of some length", "\u00e9scaped text in it", true, null, {}, [ ] ], "\n key with an escape": false }  "#;
        let (first, again, torn) = played(document);
        assert!(!torn && first == again, "{again:?}");
    }

    #[test]
    fn tape_that_does_not_hold_everything_gives_way_to_the_document() {
        let (first, again, torn) = played(b"[1,2,3,[],{},4,5,6]");
        assert!(torn && first == again, "{again:?}");
    }
}
