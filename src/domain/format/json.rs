//! A strict reader of RFC 8259 JSON over the original bytes: it builds nothing, it tells a [`Visitor`] where everything stands.
//!
//! Stricter than most parsers, because two parsers that read one document differently are a hole: refused are duplicate keys
//! (also when spelt with escapes), lone surrogates, bytes that are not UTF-8, byte order marks and nesting beyond [`MAX_DEPTH`].
//! Numbers have no range here (`1e400` is one). Time is linear in the document, apart from sorting the keys of large objects;
//! memory is 12 bytes for each key of the objects that are open.

use std::fmt;

pub use super::strings::decode_string;
use super::strings::{compare_strings, hexadecimal, unquoted};

/// How many containers may be open at once.
pub const MAX_DEPTH: usize = 128;

/// Up to this many keys of an object are compared with each other one by one; from then on they are sorted at the object's end.
const FEW_KEYS: usize = 16;

/// Reads the whole document and tells the visitor what stands where, in order.
///
/// # Errors
/// If the document is not strict JSON. The visitor has then seen a prefix of it, which means nothing.
pub fn scan(document: &[u8], visitor: &mut impl Visitor) -> Result<(), JsonError> {
    if u32::try_from(document.len()).is_err() {
        return Err(JsonError { at: u32::MAX as usize, kind: JsonErrorKind::TooLong });
    }
    if let Err(error) = std::str::from_utf8(document) {
        return Err(JsonError { at: error.valid_up_to(), kind: JsonErrorKind::NotUtf8 });
    }
    if document.starts_with(b"\xEF\xBB\xBF") {
        return Err(JsonError { at: 0, kind: JsonErrorKind::ByteOrderMark });
    }
    Scanner::<_, true>::over(document, visitor).document()
}

/// Shows a visitor a document that [`scan`] has accepted, in a third less time: what needs memory or a look at every byte is not checked again.
///
/// # Errors
/// Most of what [`scan`] refuses, if it had not accepted the document; but not bytes that are no UTF-8, nor keys that are there twice.
pub fn scan_again(document: &[u8], visitor: &mut impl Visitor) -> Result<(), JsonError> {
    Scanner::<_, false>::over(document, visitor).document()
}

/// Where something stands in the document: bytes `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// The byte after the last one.
    pub end: u32,
}

impl Span {
    /// These bytes of the document that was scanned.
    pub fn of(self, document: &[u8]) -> &[u8] {
        &document[self.start as usize..self.end as usize]
    }
}

/// What a value without parts is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// A string; its span includes the quotes.
    String {
        /// It has at least one backslash, so that its bytes are not what it says.
        escaped: bool,
    },
    /// A number of any size.
    Number,
    /// `true` or `false`.
    Bool,
    /// `null`.
    Null,
}

/// What a value with parts is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
}

/// Sees a document go by. Depth is the number of containers around the thing: 0 for the outermost value.
///
/// Within an object each `key` comes right before the `leaf` or `begin` of its value. Nothing is certain until [`scan`] returns `Ok`.
pub trait Visitor {
    /// A key of the innermost open object, with its quotes; `escaped` as in [`Leaf::String`].
    fn key(&mut self, _key: Span, _escaped: bool, _depth: u8) {}
    /// A string, number, boolean or null.
    fn leaf(&mut self, _leaf: Span, _kind: Leaf, _depth: u8) {}
    /// A container whose bracket stands at `at`.
    fn begin(&mut self, _kind: Container, _at: u32, _depth: u8) {}
    /// The end of the container begun last; the span is the whole of it, the depth that of its `begin`.
    fn end(&mut self, _kind: Container, _whole: Span, _depth: u8) {}
}

/// Looks at nothing: for the check alone.
impl Visitor for () {}

/// Why a document is not strict JSON. Names a place and never what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// The byte where it shows, counted from 0.
    pub at: usize,
    /// What is wrong there.
    pub kind: JsonErrorKind,
}

/// What can be wrong with a JSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonErrorKind {
    /// Over 4 GiB.
    TooLong,
    /// Not UTF-8.
    NotUtf8,
    /// Begins with U+FEFF.
    ByteOrderMark,
    /// Ends in the middle.
    UnexpectedEnd,
    /// A byte that cannot stand there.
    UnexpectedByte,
    /// An unescaped control character inside a string.
    ControlInString,
    /// A backslash before something that cannot be escaped.
    BadEscape,
    /// Half a surrogate pair.
    LoneSurrogate,
    /// Something like `01`, `1.` or `-`.
    BadNumber,
    /// The same key again in one object.
    DuplicateKey,
    /// More than [`MAX_DEPTH`] containers in each other.
    TooDeep,
    /// Something after the end of the value.
    TrailingBytes,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            JsonErrorKind::TooLong => "the document is longer than 4 GiB",
            JsonErrorKind::NotUtf8 => "not UTF-8",
            JsonErrorKind::ByteOrderMark => "a byte order mark",
            JsonErrorKind::UnexpectedEnd => "the document ends too early",
            JsonErrorKind::UnexpectedByte => "a byte that cannot stand here",
            JsonErrorKind::ControlInString => "an unescaped control character in a string",
            JsonErrorKind::BadEscape => "an escape that does not exist",
            JsonErrorKind::LoneSurrogate => "half a surrogate pair",
            JsonErrorKind::BadNumber => "a malformed number",
            JsonErrorKind::DuplicateKey => "a key for the second time in one object",
            JsonErrorKind::TooDeep => "nested deeper than 128 levels",
            JsonErrorKind::TrailingBytes => "something after the end of the document",
        };
        write!(f, "{what} at byte {}", self.at)
    }
}

impl std::error::Error for JsonError {}

/// `STRICT` looks for keys that are there twice.
struct Scanner<'a, V, const STRICT: bool> {
    document: &'a [u8],
    at: usize,
    open: Vec<Frame>,
    /// The keys so far of all open objects, the innermost last.
    keys: Vec<Key>,
    visitor: &'a mut V,
}

struct Frame {
    kind: Container,
    start: usize,
    /// Where its keys begin in `Scanner::keys`.
    keys: usize,
}

struct Key {
    start: u32,
    end: u32,
    /// Equal for equal keys; only a filter, so nothing is won by making it collide.
    mark: u32,
}

impl<'a, V: Visitor, const STRICT: bool> Scanner<'a, V, STRICT> {
    fn over(document: &'a [u8], visitor: &'a mut V) -> Self {
        Self { document, at: 0, open: Vec::with_capacity(16), keys: Vec::with_capacity(64), visitor }
    }

    fn document(mut self) -> Result<(), JsonError> {
        self.blank();
        loop {
            if self.value()? {
                continue;
            }
            // A value has ended: so have all containers that end here, up to one that goes on.
            loop {
                self.blank();
                match (self.open.last().map(|frame| frame.kind), self.peek()) {
                    (None, None) => return Ok(()),
                    (None, Some(_)) => return self.fail(JsonErrorKind::TrailingBytes),
                    (Some(kind), Some(b',')) => {
                        self.at += 1;
                        self.blank();
                        if kind == Container::Object {
                            self.key()?;
                        }
                        break;
                    }
                    (Some(Container::Object), Some(b'}')) | (Some(Container::Array), Some(b']')) => self.end()?,
                    (Some(_), _) => return self.unexpected(),
                }
            }
        }
    }

    /// Reads a leaf, an empty container, or a container up to its first value; the last is told by `true`.
    fn value(&mut self) -> Result<bool, JsonError> {
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => return self.begin(Container::Object, b'}'),
            Some(b'[') => return self.begin(Container::Array, b']'),
            Some(b'"') => Leaf::String { escaped: self.string()? },
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.literal(b"true", Leaf::Bool)?,
            Some(b'f') => self.literal(b"false", Leaf::Bool)?,
            Some(b'n') => self.literal(b"null", Leaf::Null)?,
            _ => return self.unexpected(),
        };
        let (span, depth) = (self.since(start), self.depth());
        self.visitor.leaf(span, kind, depth);
        Ok(false)
    }

    fn begin(&mut self, kind: Container, closing: u8) -> Result<bool, JsonError> {
        if self.open.len() == MAX_DEPTH {
            return self.fail(JsonErrorKind::TooDeep);
        }
        let depth = self.depth();
        self.visitor.begin(kind, self.at as u32, depth);
        self.open.push(Frame { kind, start: self.at, keys: self.keys.len() });
        self.at += 1;
        self.blank();
        if self.peek() == Some(closing) {
            self.end()?;
            return Ok(false);
        }
        if kind == Container::Object {
            self.key()?;
        }
        Ok(true)
    }

    fn end(&mut self) -> Result<(), JsonError> {
        let frame = self.open.pop().expect("only an open container ends");
        self.at += 1;
        if self.keys.len() - frame.keys > FEW_KEYS {
            self.refuse_duplicates(frame.keys)?;
        }
        self.keys.truncate(frame.keys);
        let (span, depth) = (self.since(frame.start), self.depth());
        self.visitor.end(frame.kind, span, depth);
        Ok(())
    }

    /// Reads a key and its colon, up to the value.
    fn key(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return self.unexpected();
        }
        let escaped = self.string()?;
        let span = self.since(start);
        if STRICT {
            self.refuse_duplicate(span, escaped)?;
        }
        let depth = self.depth();
        self.visitor.key(span, escaped, depth);
        self.blank();
        if self.peek() != Some(b':') {
            return self.unexpected();
        }
        self.at += 1;
        self.blank();
        Ok(())
    }

    /// Compares a key with the ones before it in its object, if they are few.
    fn refuse_duplicate(&mut self, span: Span, escaped: bool) -> Result<(), JsonError> {
        let token = span.of(self.document);
        let mark = if escaped { mark(decode_string(token).as_bytes()) } else { mark(unquoted(token)) };
        let first = self.open.last().expect("a key stands in an open object").keys;
        let siblings = &self.keys[first..];
        if siblings.len() < FEW_KEYS
            && siblings.iter().any(|key| key.mark == mark && compare_strings(key.token(self.document), token).is_eq())
        {
            return Err(JsonError { at: span.start as usize, kind: JsonErrorKind::DuplicateKey });
        }
        self.keys.push(Key { start: span.start, end: span.end, mark });
        Ok(())
    }

    /// Sorting costs a third of a hash set's memory and cannot be driven into quadratic time by chosen keys.
    fn refuse_duplicates(&mut self, first: usize) -> Result<(), JsonError> {
        let document = self.document;
        let keys = &mut self.keys[first..];
        let same_text = |a: &Key, b: &Key| compare_strings(a.token(document), b.token(document));
        keys.sort_unstable_by(|a, b| a.mark.cmp(&b.mark).then_with(|| same_text(a, b)).then(a.start.cmp(&b.start)));
        let repeated = keys.windows(2).filter(|pair| pair[0].mark == pair[1].mark && same_text(&pair[0], &pair[1]).is_eq());
        match repeated.map(|pair| pair[1].start).min() {
            Some(at) => Err(JsonError { at: at as usize, kind: JsonErrorKind::DuplicateKey }),
            None => Ok(()),
        }
    }

    /// Reads a string; `true` if it has escapes.
    fn string(&mut self) -> Result<bool, JsonError> {
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at = special(self.document, self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.fail(JsonErrorKind::ControlInString),
                None => return self.fail(JsonErrorKind::UnexpectedEnd),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        match self.document.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => match self.unit(self.at)? {
                0xD800..=0xDBFF => {
                    if self.document.get(self.at + 6..self.at + 8) != Some(b"\\u")
                        || !(0xDC00..=0xDFFF).contains(&self.unit(self.at + 6)?)
                    {
                        return self.fail(JsonErrorKind::LoneSurrogate);
                    }
                    self.at += 12;
                }
                0xDC00..=0xDFFF => return self.fail(JsonErrorKind::LoneSurrogate),
                _ => self.at += 6,
            },
            Some(_) => return self.fail(JsonErrorKind::BadEscape),
            None => return self.fail(JsonErrorKind::UnexpectedEnd),
        }
        Ok(())
    }

    /// The code unit of the four digits after `\u` at `at`.
    fn unit(&self, at: usize) -> Result<u32, JsonError> {
        let digits = self.document.get(at + 2..at + 6);
        digits.and_then(hexadecimal).ok_or(JsonError { at, kind: JsonErrorKind::BadEscape })
    }

    fn number(&mut self) -> Result<Leaf, JsonError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        match self.peek() {
            Some(b'0'..=b'9') => self.fail(JsonErrorKind::BadNumber),
            _ => Ok(Leaf::Number),
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { self.fail(JsonErrorKind::BadNumber) } else { Ok(()) }
    }

    fn literal(&mut self, text: &[u8], kind: Leaf) -> Result<Leaf, JsonError> {
        if !self.document[self.at..].starts_with(text) {
            return self.fail(JsonErrorKind::UnexpectedByte);
        }
        self.at += text.len();
        Ok(kind)
    }

    fn blank(&mut self) {
        self.at = past_blank(self.document, self.at);
    }

    fn peek(&self) -> Option<u8> {
        self.document.get(self.at).copied()
    }

    fn since(&self, start: usize) -> Span {
        Span { start: start as u32, end: self.at as u32 }
    }

    fn depth(&self) -> u8 {
        self.open.len() as u8
    }

    fn unexpected<T>(&self) -> Result<T, JsonError> {
        let kind = if self.peek().is_some() { JsonErrorKind::UnexpectedByte } else { JsonErrorKind::UnexpectedEnd };
        self.fail(kind)
    }

    fn fail<T>(&self, kind: JsonErrorKind) -> Result<T, JsonError> {
        Err(JsonError { at: self.at, kind })
    }
}

impl Key {
    fn token<'a>(&self, document: &'a [u8]) -> &'a [u8] {
        &document[self.start as usize..self.end as usize]
    }
}

/// The first quote, backslash or control byte from `at` on, or the end.
pub(super) fn special(document: &[u8], mut at: usize) -> usize {
    while let Some(word) = word(document, at) {
        let found = lanes_below(word ^ each(b'"'), 1) | lanes_below(word ^ each(b'\\'), 1) | lanes_below(word, 0x20);
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while document.get(at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)) {
        at += 1;
    }
    at
}

/// The first byte from `at` on that is not white space.
pub(super) fn past_blank(document: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\t' | b'\r') = document.get(at) {
        at += 1;
        while word(document, at) == Some(each(b' ')) {
            at += 8;
        }
    }
    at
}

fn word(document: &[u8], at: usize) -> Option<u64> {
    document.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Sets the high bit of every byte that is less than `limit` (at most 128). The lowest bit set is right; borrows may set higher ones.
const fn lanes_below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(each(limit)) & !word & each(0x80)
}

fn mark(text: &[u8]) -> u32 {
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut sum = text.len() as u64;
    let mut words = text.chunks_exact(8);
    let mut add = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        sum = (sum.rotate_left(23) ^ u64::from_le_bytes(word)).wrapping_mul(SPREAD);
    };
    words.by_ref().for_each(&mut add);
    add(words.remainder());
    (sum >> 32) as u32
}
