//! What is known to be secret in a document, and is looked for everywhere else in it.

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use regex::bytes::{RegexSet, RegexSetBuilder};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{decode, lists, roles::SECRET, shapes, walk::text};
use crate::domain::format::json::{self, Leaf, Span, Visitor};

/// How many secrets are looked for.
pub(super) const MAX_SEEDS: usize = 65_536;

/// How many bytes of patterns they make at most: of each form of a secret its first 64 bytes count.
pub(super) const MAX_PATTERNS: usize = 16 << 20;

/// How deep JSON may be nested in the string of a secret.
const MAX_NESTED: u8 = 4;

/// A secret in memory: compared by what it is, wiped on drop.
#[derive(PartialEq, Eq, Hash, Zeroize, ZeroizeOnDrop)]
pub(super) struct Secret(Box<[u8]>);

impl Borrow<[u8]> for Secret {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// The secrets to look for.
#[derive(Default)]
pub(super) struct Seeds {
    /// Looked for as a part of any text; `true` if white space within it says nothing.
    strong: HashMap<Secret, bool>,
    /// Looked for as a whole leaf, in the resource where they are.
    weak: HashMap<u32, HashSet<Secret>>,
    count: usize,
    patterns: usize,
    /// More than are looked for.
    over: bool,
}

impl Seeds {
    /// Adds what stands at a place that is marked, or has a shape of secrets, in the resource `scope`.
    pub(super) fn add(&mut self, secret: &[u8], scope: u32) {
        self.add_nested(secret, scope, 0);
    }

    /// Adds a marked value without parts: what it says, if it is a string, or the number that it is.
    pub(super) fn add_leaf(&mut self, said: Option<&[u8]>, token: &[u8], scope: u32) {
        match said {
            Some(said) => self.add(said, scope),
            None if token[0] == b'-' || token[0].is_ascii_digit() => self.insert(token, scope, false),
            None => {}
        }
    }

    /// Adds the strings in a marked value, and its long numbers.
    pub(super) fn add_parts(&mut self, value: &[u8], scope: u32) {
        self.add_strings(value, scope, 0);
    }

    /// Adds what stands under a key that means a secret, if it looks like one that nothing else would equal.
    pub(super) fn add_named(&mut self, secret: &[u8], scope: u32) {
        if is_strong_by_shape(secret.trim_ascii()) {
            self.add(secret, scope);
        }
    }

    /// Whether there are more secrets than are looked for.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The strong secrets, and whether white space within them says nothing.
    pub(super) fn strong(&self) -> impl Iterator<Item = (&[u8], bool)> {
        self.strong.iter().map(|(secret, spaced)| (&*secret.0, *spaced))
    }

    /// Whether a whole leaf of the resource is a weak secret of it.
    pub(super) fn is_weak(&self, leaf: &[u8], scope: u32) -> bool {
        self.weak.get(&scope).is_some_and(|known| known.contains(leaf.trim_ascii()))
    }

    /// Whether the resource has weak secrets.
    pub(super) fn has_weak(&self, scope: u32) -> bool {
        self.weak.contains_key(&scope)
    }

    fn add_nested(&mut self, secret: &[u8], scope: u32, level: u8) {
        let secret = secret.trim_ascii();
        if secret.len() < 4 || self.over {
            return;
        }
        self.insert(secret, scope, false);
        if let Some(unwrapped) = decode::unwrapped(secret).filter(|_| is_strong(secret)) {
            // However its lines are broken and indented elsewhere.
            self.insert(&unwrapped, scope, true);
        }
        if level < MAX_NESTED && matches!(secret[0], b'{' | b'[' | b'"') {
            self.add_strings(secret, scope, level + 1);
        }
        for password in shapes::passwords(secret) {
            self.insert(&secret[password.clone()], scope, false);
            if let Some(decoded) = decode::percent(&secret[password], false) {
                self.insert(&decoded, scope, false);
            }
        }
        for body in shapes::pem_bodies(secret) {
            self.insert(&body, scope, true);
        }
    }

    fn add_strings(&mut self, json: &[u8], scope: u32, level: u8) {
        let mut strings = Strings::default();
        if json::scan(json, &mut strings).is_err() {
            return;
        }
        for (span, escaped) in strings.0 {
            let token = span.of(json);
            if token.starts_with(b"\"") {
                self.add_nested(&text(token, escaped), scope, level);
            } else {
                self.insert(token, scope, false);
            }
        }
    }

    fn insert(&mut self, secret: &[u8], scope: u32, spaced: bool) {
        self.insert_form(secret, scope, spaced);
        // UTF-16 is told by its zeros, which it lacks where most characters are far from ASCII.
        if let Some(wide) = decode::widened(secret).filter(|_| is_strong(secret)) {
            self.insert_form(&wide, scope, false);
        }
    }

    fn insert_form(&mut self, secret: &[u8], scope: u32, spaced: bool) {
        if self.over || secret.len() < 4 || NEVER.contains(&secret) {
            return;
        }
        let owned = || Secret(secret.into());
        let new = if is_strong(secret) {
            let known = self.strong.get(secret).copied();
            if known.is_none() || (spaced && known == Some(false)) {
                self.strong.insert(owned(), spaced);
            }
            // One form as it is, three in base64.
            self.patterns += if known.is_none() { 4 * secret.len().min(64) } else { 0 };
            known.is_none()
        } else {
            let known = self.weak.entry(scope).or_default();
            !known.contains(secret) && known.insert(owned())
        };
        self.count += usize::from(new);
        if self.count > MAX_SEEDS || self.patterns > MAX_PATTERNS {
            *self = Self { over: true, ..Self::default() };
        }
    }
}

/// What marked values have in them that is never a secret: truth values, the types beside values in Terraform, and what Pulumi marks with.
const NEVER: &[&[u8]] =
    &[b"true", b"false", b"null", b"string", b"number", b"bool", b"dynamic", b"object", b"tuple", b"list", SECRET];

/// Nothing else would hold it by chance: at least 8 bytes, not only digits unless 16, and not a text that stands everywhere.
fn is_strong(secret: &[u8]) -> bool {
    secret.len() >= 8 && (secret.len() >= 16 || !secret.iter().all(u8::is_ascii_digit)) && !is_common(secret)
}

/// Looks made up by a machine: at least 12 bytes without spaces, of three kinds, or of two if there are 16; and not the address of something.
fn is_strong_by_shape(secret: &[u8]) -> bool {
    let has = |kind: fn(&u8) -> bool| usize::from(secret.iter().any(kind));
    let other = |byte: &u8| !byte.is_ascii_alphanumeric();
    let kinds = has(u8::is_ascii_lowercase) + has(u8::is_ascii_uppercase) + has(u8::is_ascii_digit) + has(other);
    let digits = has(u8::is_ascii_digit) == 1;
    let starts = [&b"arn:"[..], b"/", b"projects/", b"${", b"http://", b"https://"];
    let is_address = starts.iter().any(|start| secret.starts_with(start));
    let is_sentence = secret.iter().any(u8::is_ascii_whitespace);
    secret.len() >= 12 && !is_sentence && !is_address && (kinds >= 3 || (kinds == 2 && digits && secret.len() >= 16))
}

struct Common {
    texts: HashSet<&'static str>,
    patterns: RegexSet,
}

static COMMON: LazyLock<Common> = LazyLock::new(|| {
    let (patterns, texts): (Vec<&str>, Vec<&str>) = lists::entries(include_str!("lists/common.txt"))
        .partition(|entry| entry.len() > 1 && entry.starts_with('/') && entry.ends_with('/'));
    let patterns = patterns.iter().map(|entry| format!("^(?:{})$", &entry[1..entry.len() - 1]));
    Common {
        texts: texts.into_iter().collect(),
        patterns: RegexSetBuilder::new(patterns).unicode(false).build().expect("the shipped list is tested"),
    }
});

/// The longest text that can be common.
const LONGEST_COMMON: usize = 64;

fn is_common(secret: &[u8]) -> bool {
    if secret.len() > LONGEST_COMMON {
        return secret.iter().all(|byte| *byte == secret[0]);
    }
    let small = secret.to_ascii_lowercase();
    let small = zeroize::Zeroizing::new(small);
    std::str::from_utf8(&small).is_ok_and(|text| COMMON.texts.contains(text))
        || COMMON.patterns.is_match(&small)
        || secret.iter().all(|byte| *byte == secret[0])
}

/// Where strings and long numbers stand in JSON. More than are looked for are enough to know that there are too many.
#[derive(Default)]
struct Strings(Vec<(Span, bool)>);

impl Visitor for Strings {
    fn leaf(&mut self, span: Span, kind: Leaf, _depth: u8) {
        let length = span.end - span.start;
        match kind {
            _ if self.0.len() > MAX_SEEDS => {}
            Leaf::String { escaped } if length >= 6 => self.0.push((span, escaped)),
            Leaf::Number if length >= 16 => self.0.push((span, false)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_strong_only_if_nothing_else_would_hold_them() {
        for strong in ["hunter2!", "0123456789abcdef", "1234567890123456", "\"\\<&%é/+="] {
            assert!(is_strong(strong.as_bytes()), "{strong}");
        }
        for weak in [
            "hunter2",
            "123456789012345",
            "postgres",
            "EU-West-1a",
            "europe-west4-b",
            "westeurope",
            "db.t3.medium",
            "m5.24xlarge",
            "Standard_D2s_v3",
            "********",
            "aurora-postgresql",
            "10.0.0.0/16",
            "2024-01-01",
            "password",
        ] {
            assert!(!is_strong(weak.as_bytes()), "{weak}");
        }
    }

    #[test]
    fn seeds_under_names_have_to_look_made_up() {
        for strong in ["tR0ub4dor&3xyz", "0123456789abcdef", "AbCdEf-12345-x"] {
            assert!(is_strong_by_shape(strong.as_bytes()), "{strong}");
        }
        for weak in [
            "hunter2hunter2",
            "correct horse battery Staple 1",
            "arn:aws:kms:eu-west-1:1:key/A",
            "secret/data/x",
            "abcdefghijklmnop",
        ] {
            assert!(!is_strong_by_shape(weak.as_bytes()), "{weak}");
        }
    }

    #[test]
    fn seeds_give_what_is_inside_of_them() {
        let mut seeds = Seeds::default();
        seeds.add(br#" {"a":"inner-secret","n":12345678901234567890,"t":true,"j":"[\"deeper-secret\"]"} "#, 7);
        seeds.add(b"postgres://app:p%40ss-word@db/app", 7);
        seeds.add(b"-----BEGIN PRIVATE KEY-----\nAAAABBBB\nCCCC\n-----END PRIVATE KEY-----\n", 7);
        seeds.add(b"tiny", 7);
        seeds.add(b"true", 7);
        let strong: HashSet<&[u8]> = seeds.strong().map(|(secret, _)| secret).collect();
        for secret in ["inner-secret", "12345678901234567890", "deeper-secret", "p%40ss-word", "p@ss-word", "AAAABBBBCCCC"] {
            assert!(strong.contains(secret.as_bytes()), "{secret}");
        }
        assert!(seeds.is_weak(b"tiny", 7) && !seeds.is_weak(b"tiny", 8) && !seeds.is_weak(b"true", 7));
    }

    #[test]
    fn seeds_beyond_the_limit_are_over_and_forgotten() {
        let mut seeds = Seeds::default();
        (0..MAX_SEEDS).for_each(|n| seeds.add(format!("secret-{n}").as_bytes(), 0));
        assert!(!seeds.is_over());
        seeds.add(b"secret-0", 0);
        assert!(!seeds.is_over(), "known already");
        seeds.add(b"one-more-secret", 0);
        assert!(seeds.is_over() && seeds.is_empty());
    }
}
