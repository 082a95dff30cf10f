//! A first look at a document: what has to be known of an object before its parts are looked at, whatever their order.
//!
//! Entries go by where an object starts. Only objects that have something to tell have one, so the tables stay in proportion.

use zeroize::Zeroizing;

use super::{
    names,
    roles::{Role, SECRET, SIGNATURE},
    tape::Tape,
    walk::{Frame, Pass, Place, Stack, Text, text, walk},
};
use crate::domain::format::{
    Format,
    json::{Container, JsonError, Leaf, Span},
};

/// Where the names of a resource stand; 0 for those that it lacks.
#[derive(Clone, Copy, Default)]
pub(super) struct Resource {
    start: u32,
    pub(super) module: u32,
    pub(super) mode: u32,
    pub(super) of_type: u32,
    pub(super) name: u32,
}

/// Where the keys and the marks of an instance stand.
#[derive(Clone, Copy, Default)]
pub(super) struct Instance {
    start: u32,
    pub(super) key: u32,
    pub(super) deposed: u32,
    pub(super) marks: u32,
}

/// Where the names and the marks of a resource of Pulumi stand.
#[derive(Clone, Copy, Default)]
pub(super) struct Pulumi {
    start: u32,
    pub(super) urn: u32,
    pub(super) of_type: u32,
    pub(super) secret_outputs: u32,
}

/// What an object is that its format treats in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Special {
    /// An output that is sensitive.
    Sensitive,
    /// An output whose `sensitive` is neither true nor false.
    OddlySensitive,
    /// Exactly `value` and `type`: how Terraform writes values whose type is not in the schema.
    Wrapper,
    /// `{name: DB_PASSWORD, value: …}`.
    Pair,
    /// A secret of Pulumi in plaintext.
    Plaintext,
    /// A secret of Pulumi in ciphertext.
    Ciphertext,
    /// A secret of Pulumi that is neither, or both.
    OddSecret,
}

/// What a first look has found.
#[derive(Default)]
pub(super) struct Survey {
    resources: Vec<Resource>,
    instances: Vec<Instance>,
    pulumi: Vec<Pulumi>,
    special: Vec<(u32, Special)>,
    open: Vec<Seen>,
    pub(super) tape: Tape,
}

impl Survey {
    /// Looks at the whole document.
    ///
    /// # Errors
    /// It is not strict JSON.
    pub(super) fn of(document: &[u8], format: Format) -> Result<Self, JsonError> {
        let mut survey = Self::default();
        survey.tape = walk(document, format, &mut survey)?;
        survey.resources.sort_unstable_by_key(|entry| entry.start);
        survey.instances.sort_unstable_by_key(|entry| entry.start);
        survey.pulumi.sort_unstable_by_key(|entry| entry.start);
        survey.special.sort_unstable_by_key(|entry| entry.0);
        Ok(survey)
    }

    pub(super) fn resource(&self, start: u32) -> Option<Resource> {
        at(&self.resources, start, |entry| entry.start)
    }

    pub(super) fn instance(&self, start: u32) -> Option<Instance> {
        at(&self.instances, start, |entry| entry.start)
    }

    pub(super) fn pulumi(&self, start: u32) -> Option<Pulumi> {
        at(&self.pulumi, start, |entry| entry.start)
    }

    pub(super) fn special(&self, start: u32) -> Option<Special> {
        at(&self.special, start, |entry| entry.0).map(|entry| entry.1)
    }

    /// What the string says that stands at `at`; none if nothing or something else stands there.
    pub(super) fn string<'a>(&self, document: &'a [u8], at: u32) -> Option<Text<'a>> {
        let rest = document.get(at as usize..).filter(|rest| at != 0 && rest.starts_with(b"\""))?;
        let mut end = 1;
        let mut escaped = false;
        while rest[end] != b'"' {
            escaped |= rest[end] == b'\\';
            end += if rest[end] == b'\\' { 2 } else { 1 };
        }
        Some(text(&rest[..=end], escaped))
    }
}

fn at<T: Copy>(table: &[T], start: u32, key: impl Fn(&T) -> u32) -> Option<T> {
    table.binary_search_by_key(&start, key).ok().map(|found| table[found])
}

/// What an open object has shown of itself.
#[derive(Clone, Copy, Default)]
struct Seen {
    slots: [u32; 4],
    flags: u8,
}

const SENSITIVE: u8 = 1;
const ODD: u8 = 2;
const VALUE: u8 = 4;
const TYPE: u8 = 8;
const SECRET_NAME: u8 = 16;
const SIGNED: u8 = 32;
const PLAINTEXT: u8 = 64;
const CIPHERTEXT: u8 = 128;

impl Pass for Survey {
    fn leaf(&mut self, stack: &Stack<'_>, place: Place, span: Span, kind: Leaf) {
        self.see(stack, place, Some((span, kind)));
    }

    fn begin(&mut self, stack: &Stack<'_>, place: Place, _kind: Container) {
        self.see(stack, place, None);
        self.open.push(Seen::default());
    }

    fn end(&mut self, _stack: &Stack<'_>, frame: Frame, whole: Span) {
        let Some(seen) = self.open.pop() else { return };
        let start = whole.start;
        let [a, b, c, d] = seen.slots;
        let has = |flags: u8| seen.flags & flags == flags;
        match frame.place.role {
            Role::Resource if seen.slots != [0; 4] => {
                self.resources.push(Resource { start, module: a, mode: b, of_type: c, name: d });
            }
            Role::Instance if seen.slots != [0; 4] => self.instances.push(Instance { start, key: a, deposed: b, marks: c }),
            Role::PulumiResource if seen.slots != [0; 4] => {
                self.pulumi.push(Pulumi { start, urn: a, of_type: b, secret_outputs: c });
            }
            Role::Output if has(ODD) => self.special.push((start, Special::OddlySensitive)),
            Role::Output if has(SENSITIVE) => self.special.push((start, Special::Sensitive)),
            Role::Free | Role::Attributes | Role::Properties if has(SIGNED) => {
                let special = match (has(PLAINTEXT), has(CIPHERTEXT)) {
                    _ if has(ODD) => Special::OddSecret,
                    (true, false) => Special::Plaintext,
                    (false, true) => Special::Ciphertext,
                    _ => Special::OddSecret,
                };
                self.special.push((start, special));
            }
            Role::Free if frame.count == 2 && has(VALUE | TYPE) => self.special.push((start, Special::Wrapper)),
            Role::Free if has(SECRET_NAME | VALUE) => self.special.push((start, Special::Pair)),
            _ => {}
        }
    }
}

impl Survey {
    fn see(&mut self, stack: &Stack<'_>, place: Place, leaf: Option<(Span, Leaf)>) {
        let (Some(key), Some(around), Some(seen)) = (place.key, stack.around(), self.open.last_mut()) else { return };
        let length = key.span.end - key.span.start - 2;
        if around == Role::Free && !key.escaped && !matches!(length, 3 | 4 | 5 | 9 | 10 | 32) {
            return;
        }
        let string = leaf.filter(|(_, kind)| matches!(kind, Leaf::String { .. }));
        let name = key.text(stack.document);
        let said = |span: Span, kind: Leaf| text(span.of(stack.document), kind == Leaf::String { escaped: true });
        let string_at = string.map_or(0, |_| place.start);
        match (around, &*name) {
            (Role::Resource, b"module") => seen.slots[0] = string_at,
            (Role::Resource, b"mode") => seen.slots[1] = string_at,
            (Role::Resource, b"type") => seen.slots[2] = string_at,
            (Role::Resource, b"name") => seen.slots[3] = string_at,
            (Role::Instance, b"index_key") if matches!(leaf, Some((_, Leaf::String { .. } | Leaf::Number))) => {
                seen.slots[0] = place.start;
            }
            (Role::Instance, b"deposed") => seen.slots[1] = string_at,
            (Role::Instance, b"sensitive_attributes") => seen.slots[2] = place.start,
            (Role::PulumiResource, b"urn") => seen.slots[0] = string_at,
            (Role::PulumiResource, b"type") => seen.slots[1] = string_at,
            (Role::PulumiResource, b"additionalSecretOutputs") => seen.slots[2] = place.start,
            (Role::Output, b"sensitive") => match leaf.map(|(span, _)| span.of(stack.document)) {
                Some(b"true") => seen.flags |= SENSITIVE,
                Some(b"false" | b"null") => {}
                _ => seen.flags |= ODD,
            },
            (_, SIGNATURE) => {
                let is_secret = string.is_some_and(|(span, kind)| *said(span, kind) == *SECRET);
                seen.flags |= if is_secret { SIGNED } else { 0 };
            }
            (_, b"plaintext") => seen.flags |= PLAINTEXT | if string.is_some() { 0 } else { ODD },
            (_, b"ciphertext") => seen.flags |= CIPHERTEXT | if string.is_some() { 0 } else { ODD },
            (Role::Free, b"value" | b"Value") => seen.flags |= VALUE,
            (Role::Free, b"type") => seen.flags |= TYPE,
            (Role::Free, b"name" | b"Name" | b"key" | b"Key") => {
                if let Some((span, kind)) = string
                    && span.end - span.start <= names::LONGEST
                {
                    let name = Zeroizing::new(said(span, kind).to_vec());
                    seen.flags |= if names::is_secret(&name) { SECRET_NAME } else { 0 };
                }
            }
            _ => {}
        }
    }
}
