//! Encodings that texts hold other texts in. All of them are lenient: what cannot be decoded stays as it is.

use std::io::Read;

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use flate2::read::MultiGzDecoder;
use zeroize::Zeroizing;

/// A text in memory that may be a secret.
pub(super) type Bytes = Zeroizing<Vec<u8>>;

/// How much is unpacked of one packed text.
pub(super) const MAX_UNPACKED: usize = 1 << 20;

/// Without the backslashes of JSON, wherever they stand in the text; none if there are none.
pub(super) fn unescaped(text: &[u8]) -> Option<Bytes> {
    memchr::memchr(b'\\', text)?;
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let length = match rest.get(1) {
            Some(b'u') => unicode(rest, &mut out),
            Some(b'n') => one(b'\n', &mut out),
            Some(b't') => one(b'\t', &mut out),
            Some(b'r') => one(b'\r', &mut out),
            Some(b'b') => one(8, &mut out),
            Some(b'f') => one(12, &mut out),
            Some(byte @ (b'"' | b'\\' | b'/')) => one(*byte, &mut out),
            _ => {
                out.push(b'\\');
                1
            }
        };
        rest = &rest[length..];
    }
    out.extend_from_slice(rest);
    Some(out)
}

fn one(byte: u8, out: &mut Vec<u8>) -> usize {
    out.push(byte);
    2
}

/// Decodes `\uXXXX`, or a pair of them, at the start of the text; gives its length. Never longer than what it stands for, so `out` need not grow.
fn unicode(text: &[u8], out: &mut Vec<u8>) -> usize {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6).filter(|digits| digits.starts_with(b"\\u"))?;
        u16::from_str_radix(std::str::from_utf8(&digits[2..]).ok()?, 16).ok()
    };
    let Some(first) = unit(0) else {
        out.push(b'\\');
        return 1;
    };
    let units = [first, unit(6).unwrap_or_default()];
    let pair = char::decode_utf16(units).next().and_then(Result::ok);
    let Some(decoded) = pair else {
        out.push(b'?');
        return 6;
    };
    out.extend_from_slice(decoded.encode_utf8(&mut [0; 4]).as_bytes());
    if decoded.len_utf16() == 2 { 12 } else { 6 }
}

/// With `%XX` decoded, and `+` as a space if asked; none if the text has none of them.
pub(super) fn percent(text: &[u8], spaces: bool) -> Option<Bytes> {
    let nibble = |at: usize| text.get(at).and_then(|digit| char::from(*digit).to_digit(16));
    let coded = |at: usize| Some((nibble(at + 1)? << 4 | nibble(at + 2)?) as u8);
    let has_code = memchr::memchr_iter(b'%', text).any(|at| coded(at).is_some());
    let has_plus = spaces && text.contains(&b'+');
    if !has_code && !has_plus {
        return None;
    }
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut at = 0;
    while at < text.len() {
        match (text[at], coded(at)) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) if spaces => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    Some(out)
}

/// Without white space; none if the text has only one line.
pub(super) fn unwrapped(text: &[u8]) -> Option<Bytes> {
    memchr::memchr2(b'\n', b'\r', text)?;
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    out.extend(text.iter().filter(|byte| !byte.is_ascii_whitespace()));
    Some(out)
}

/// What a text says that is base64 or base64url as a whole; none if it is not, or says nothing readable.
pub(super) fn base64(text: &[u8]) -> Option<Bytes> {
    let text = text.trim_ascii();
    if text.len() < 11 || !text.iter().take(64).all(|byte| value(*byte).is_some() || *byte == b'=' || byte.is_ascii_whitespace())
    {
        return None;
    }
    if text.len() >= 16 && !text[..8].iter().any(u8::is_ascii_whitespace) {
        let mut start = [0; 6];
        engine(&text[..8]).decode_slice(&text[..8], &mut start).ok()?;
        if !is_worth(&start) {
            return None;
        }
    }
    let bare = unwrapped(text);
    let bare = bare.as_deref().map_or(text, Vec::as_slice);
    let mut out = Zeroizing::new(vec![0; base64::decoded_len_estimate(bare.len())]);
    let length = engine(bare).decode_slice(bare, &mut out).ok()?;
    out.truncate(length);
    Some(out)
}

/// What one character of base64 or base64url stands for.
pub(super) fn value(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// Whether bytes that begin like this may be text, packed or not.
fn is_worth(start: &[u8; 6]) -> bool {
    let is_wide = start[1] == 0 && start[3] == 0 && start[5] == 0;
    let is_clean = start.iter().all(|byte| *byte >= 0x20 || byte.is_ascii_whitespace());
    let is_text = is_clean && std::str::from_utf8(start).err().is_none_or(|error| error.error_len().is_none());
    is_packed(start) || start.starts_with(b"\xff\xfe") || is_wide || is_text
}

fn engine(text: &[u8]) -> &'static GeneralPurpose {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    static STANDARD_ENGINE: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
    static URL_ENGINE: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);
    if text.iter().any(|byte| matches!(byte, b'-' | b'_')) { &URL_ENGINE } else { &STANDARD_ENGINE }
}

/// Whether it is gzip.
pub(super) fn is_packed(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// Room to unpack into, to be used again and again: it is wiped on drop.
pub(super) fn room() -> Bytes {
    Zeroizing::new(vec![0; MAX_UNPACKED])
}

/// The first [`MAX_UNPACKED`] bytes of what was packed with gzip; less if it is broken further on.
pub(super) fn unpacked<'r>(bytes: &[u8], room: &'r mut [u8]) -> &'r [u8] {
    let mut decoder = MultiGzDecoder::new(bytes);
    let mut length = 0;
    while let Ok(read @ 1..) = decoder.read(&mut room[length..]) {
        length += read;
    }
    &room[..length]
}

/// UTF-16 with the low byte first, as UTF-8; none if it does not look like that.
pub(super) fn narrowed(bytes: &[u8]) -> Option<Bytes> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let zeros = pairs.iter().filter(|pair| pair[1] == 0).count();
    if !rest.is_empty() || pairs.len() < 4 || zeros * 2 < pairs.len() {
        return None;
    }
    let mut out = Zeroizing::new(Vec::with_capacity(bytes.len() / 2 * 3));
    for decoded in char::decode_utf16(pairs.iter().map(|pair| u16::from_le_bytes(*pair))) {
        out.extend_from_slice(decoded.unwrap_or('?').encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(out)
}

/// A text as UTF-16 with the low byte first, if [`narrowed`] would not know that for what it is.
pub(super) fn widened(text: &[u8]) -> Option<Bytes> {
    let text = std::str::from_utf8(text).ok().filter(|text| !text.is_ascii())?;
    let mut wide = Zeroizing::new(Vec::with_capacity(text.len() * 2));
    text.encode_utf16().for_each(|unit| wide.extend_from_slice(&unit.to_le_bytes()));
    if narrowed(&wide).is_some() { None } else { Some(wide) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Option<Bytes>) -> Option<String> {
        bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn encodings_are_undone() {
        assert_eq!(text(unescaped(br#"a\"\\\/\n\u00e9\ud83d\ude00\x\u12"#)).unwrap(), "a\"\\/\n\u{e9}\u{1f600}\\x\\u12");
        assert_eq!(text(unescaped(br"\ud83d!")).unwrap(), "?!");
        assert_eq!(text(percent(b"a%20b%zz+c%2", false)).unwrap(), "a b%zz+c%2");
        assert_eq!(text(percent(b"a+b", true)).unwrap(), "a b");
        assert_eq!(text(base64("aGVsbG8s\n IHdvcmxkIQ==\n".as_bytes())).unwrap(), "hello, world!");
        assert_eq!(text(base64(b"aGVsbG8sIHdvcmxkIQ")).unwrap(), "hello, world!");
        assert_eq!(text(narrowed(b"h\0e\0l\0l\0\xe9\0")).unwrap(), "hell\u{e9}");
        for none in [
            unescaped(b"plain"),
            percent(b"100%", false),
            unwrapped(b"one line"),
            base64(b"sg-0123456789abcdef0"),
            narrowed(b"hello!"),
        ] {
            assert!(none.is_none());
        }
    }

    #[test]
    fn packed_texts_are_unpacked_up_to_a_bound() {
        use flate2::{Compression, write::GzEncoder};
        use std::io::Write;

        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        for _ in 0..64 {
            encoder.write_all(&[b'a'; 1 << 20]).unwrap();
        }
        let bomb = encoder.finish().unwrap();
        assert!(is_packed(&bomb) && bomb.len() < 100_000);
        let mut room = room();
        assert_eq!(unpacked(&bomb, &mut room).len(), MAX_UNPACKED);
        assert_eq!(unpacked(&bomb[..bomb.len() / 200], &mut room).first(), Some(&b'a'), "a broken end leaves the start");
    }
}
