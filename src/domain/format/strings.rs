//! What string and key tokens say, whatever way they are spelt.

use std::{borrow::Cow, cmp::Ordering};

/// What a string or key token (with its quotes, as [`scan`](super::json::scan) gave it) says. Of anything else the result
/// means nothing.
pub fn decode_string(token: &[u8]) -> Cow<'_, str> {
    let inner = unquoted(token);
    if !inner.contains(&b'\\') {
        return String::from_utf8_lossy(inner);
    }
    let inner = String::from_utf8_lossy(inner);
    let (mut text, mut rest) = (String::with_capacity(inner.len()), &*inner);
    while let Some(run) = rest.find('\\') {
        let (decoded, length) = unescape(&rest[run..]);
        text.push_str(&rest[..run]);
        text.push(decoded);
        rest = &rest[run + length..];
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// Orders two string or key tokens by what they say; `Equal` also for different spellings of the same text.
pub(crate) fn compare_strings(a: &[u8], b: &[u8]) -> Ordering {
    let (a, b) = (unquoted(a), unquoted(b));
    if !a.contains(&b'\\') && !b.contains(&b'\\') {
        return a.cmp(b);
    }
    Unescaped(&String::from_utf8_lossy(a)).cmp(Unescaped(&String::from_utf8_lossy(b)))
}

/// The token without its quotes.
pub(super) fn unquoted(token: &[u8]) -> &[u8] {
    token.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(token)
}

pub(super) fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | (*digit as char).to_digit(16)?))
}

/// What the escape at the start of `text` stands for, and its length.
fn unescape(text: &str) -> (char, usize) {
    let unit = |at: usize| text.as_bytes().get(at + 2..at + 6).and_then(hexadecimal);
    let decoded = match text.as_bytes().get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(byte @ (b'"' | b'\\' | b'/')) => *byte as char,
        Some(b'u') => match (unit(0), unit(6)) {
            (Some(high @ 0xD800..=0xDBFF), Some(low @ 0xDC00..=0xDFFF)) => {
                let code = 0x10000 + ((high - 0xD800) << 10 | (low - 0xDC00));
                return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
            }
            (Some(code), _) => return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 6),
            (None, _) => return (char::REPLACEMENT_CHARACTER, 1),
        },
        _ => return (char::REPLACEMENT_CHARACTER, 1),
    };
    (decoded, 2)
}

/// The characters that the inside of a string token says.
struct Unescaped<'a>(&'a str);

impl Iterator for Unescaped<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let first = self.0.chars().next()?;
        let (decoded, length) = if first == '\\' { unescape(self.0) } else { (first, first.len_utf8()) };
        self.0 = &self.0[length..];
        Some(decoded)
    }
}
