//! The parts of a document that [`super::json::scan`] has accepted, found on demand and without building anything.

use std::{borrow::Cow, cmp::Ordering};

use super::{
    json::{self, JsonError},
    strings::{compare_strings, decode_string},
};

/// One value inside an accepted document: its bytes, without white space around them.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a>(&'a [u8]);

/// One `key: value` of an object.
#[derive(Clone, Copy)]
pub(crate) struct Member<'a>(&'a [u8]);

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

impl<'a> Value<'a> {
    /// The whole of a document.
    pub(crate) fn of(document: &'a [u8]) -> Result<Value<'a>, JsonError> {
        json::scan(document, &mut ())?;
        Ok(Value(document.trim_ascii()))
    }

    /// The value that starts at `at` of an accepted document.
    pub(crate) fn at(document: &'a [u8], at: usize) -> Value<'a> {
        Value(&document[at..value_end(document, at)])
    }

    pub(crate) fn raw(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn kind(self) -> Kind {
        match self.0[0] {
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'"' => Kind::String,
            b't' | b'f' => Kind::Bool,
            b'n' => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// The members of an object in their order; of anything else none.
    pub(crate) fn members(self) -> impl Iterator<Item = Member<'a>> {
        Parts(if self.kind() == Kind::Object { &self.0[1..] } else { b"" }, member_end).map(Member)
    }

    /// The elements of an array in their order; of anything else none.
    pub(crate) fn elements(self) -> impl Iterator<Item = Value<'a>> {
        Parts(if self.kind() == Kind::Array { &self.0[1..] } else { b"" }, value_end).map(Value)
    }

    /// The member of that name, of an object that has it.
    pub(crate) fn get(self, name: &str) -> Option<Value<'a>> {
        self.members().find(|member| member.is(name)).map(Member::value)
    }

    /// What a string says.
    pub(crate) fn text(self) -> Option<Cow<'a, str>> {
        (self.kind() == Kind::String).then(|| decode_string(self.0))
    }

    /// Some total order of values, for sorting. `Equal` only for values that differ in white space and escapes at most.
    pub(crate) fn order(self, other: Value<'_>) -> Ordering {
        Tokens(self.0).cmp_by_text(Tokens(other.0))
    }
}

impl<'a> Member<'a> {
    /// The key with its quotes.
    pub(crate) fn key(self) -> &'a [u8] {
        &self.0[..string_end(self.0, 0)]
    }

    pub(crate) fn name(self) -> Cow<'a, str> {
        decode_string(self.key())
    }

    pub(crate) fn value(self) -> Value<'a> {
        Value(&self.0[value_start(self.0, 0)..])
    }

    pub(crate) fn is(self, name: &str) -> bool {
        let key = self.key();
        &key[1..key.len() - 1] == name.as_bytes() || (key.contains(&b'\\') && decode_string(key) == name)
    }
}

/// The comma-separated parts from the opening bracket on; the function finds the end of the part that starts at a place.
struct Parts<'a, F>(&'a [u8], F);

impl<'a, F: Fn(&[u8], usize) -> usize> Iterator for Parts<'a, F> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut start = json::past_blank(self.0, 0);
        if self.0.get(start) == Some(&b',') {
            start = json::past_blank(self.0, start + 1);
        }
        if let None | Some(b'}' | b']') = self.0.get(start) {
            return None;
        }
        let end = (self.1)(self.0, start);
        let part = &self.0[start..end];
        self.0 = &self.0[end..];
        Some(part)
    }
}

/// Brackets, keys and leaves in their order.
struct Tokens<'a>(&'a [u8]);

impl Tokens<'_> {
    fn cmp_by_text(mut self, mut other: Tokens<'_>) -> Ordering {
        loop {
            let order = match (self.next(), other.next()) {
                (None, None) => return Ordering::Equal,
                (Some(a @ [b'"', ..]), Some(b @ [b'"', ..])) => compare_strings(a, b),
                (a, b) => a.cmp(&b),
            };
            if order.is_ne() {
                return order;
            }
        }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.0.iter().position(|byte| !matches!(byte, b' ' | b'\n' | b'\t' | b'\r' | b',' | b':'))?;
        let end = match self.0[start] {
            b'{' | b'}' | b'[' | b']' => start + 1,
            _ => value_end(self.0, start),
        };
        let token = &self.0[start..end];
        self.0 = &self.0[end..];
        Some(token)
    }
}

/// The end of the member whose key stands at `at`.
fn member_end(document: &[u8], at: usize) -> usize {
    value_end(document, value_start(document, at))
}

/// Where the value of the member begins whose key stands at `at`.
fn value_start(document: &[u8], at: usize) -> usize {
    let colon = json::past_blank(document, string_end(document, at));
    json::past_blank(document, colon + 1)
}

/// The end of the value that stands at `at`.
fn value_end(document: &[u8], mut at: usize) -> usize {
    match document[at] {
        b'"' => string_end(document, at),
        b'{' | b'[' => {
            let mut open = 0;
            loop {
                match document[at] {
                    b'"' => at = string_end(document, at) - 1,
                    b'{' | b'[' => open += 1,
                    b'}' | b']' => open -= 1,
                    b'\n' => at = json::past_blank(document, at) - 1,
                    _ => {}
                }
                at += 1;
                if open == 0 {
                    return at;
                }
            }
        }
        _ => {
            let rest = document[at..].iter().position(|byte| matches!(byte, b' ' | b'\n' | b'\t' | b'\r' | b',' | b'}' | b']'));
            rest.map_or(document.len(), |length| at + length)
        }
    }
}

/// The end of the string that stands at `at`.
fn string_end(document: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    loop {
        at = json::special(document, at);
        if document[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
}
