//! Where a value stands in a document: part of what binds a sealed value to its place.
//!
//! Encoded as u32 n ‖ n steps, a step as u8 kind ‖ u64 length ‖ bytes; numbers are big-endian. Lengths keep steps apart, kinds keep a key
//! `"0"` and an index 0 apart, so no two paths have the same bytes.

use std::fmt;

/// What a step names. The numbers are part of what is sealed: they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum StepKind {
    /// A key of an object, as it reads after escapes.
    Key = 1,
    /// The place in an array: u64 big-endian.
    Index = 2,
    /// A part of a known format: `outputs`, `attributes`, `private`, `check_results`, …
    Section = 3,
    /// Terraform: the module's address.
    Module = 4,
    /// Terraform: `managed` or `data`.
    Mode = 5,
    /// Terraform: the type of the resource.
    Type = 6,
    /// Terraform: the name of the resource.
    Name = 7,
    /// Terraform: an instance key that is a number, as it is spelt.
    NumberKey = 8,
    /// Terraform: an instance key that is a string, as it reads.
    TextKey = 9,
    /// Terraform: the key of a deposed instance.
    Deposed = 10,
    /// The n-th hole (from 1, u64 big-endian) with the same path before it.
    Ordinal = 11,
    /// The document as a whole.
    Whole = 12,
    /// Pulumi: a resource's URN.
    Urn = 13,
}

impl StepKind {
    /// The kind with this number.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        [
            Self::Key,
            Self::Index,
            Self::Section,
            Self::Module,
            Self::Mode,
            Self::Type,
            Self::Name,
            Self::NumberKey,
            Self::TextKey,
            Self::Deposed,
            Self::Ordinal,
            Self::Whole,
            Self::Urn,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == number)
    }
}

/// The place of a value.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(Vec<u8>);

impl Path {
    /// The path without steps.
    #[must_use]
    pub fn root() -> Self {
        Self(vec![0; 4])
    }

    /// Goes one step down.
    ///
    /// # Panics
    /// Beyond 2³² steps, which no document that is accepted has.
    pub fn push(&mut self, kind: StepKind, bytes: &[u8]) {
        let (count, _) = self.0.split_first_chunk_mut::<4>().expect("a path begins with its count");
        *count = u32::from_be_bytes(*count).checked_add(1).expect("a document has no such depth").to_be_bytes();
        self.0.push(kind as u8);
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    /// The path one step below.
    #[must_use]
    pub fn child(&self, kind: StepKind, bytes: &[u8]) -> Self {
        let mut child = Self(Vec::with_capacity(self.0.len() + 9 + bytes.len()));
        child.0.extend_from_slice(&self.0);
        child.push(kind, bytes);
        child
    }

    /// The encoded path.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads an encoded path; none if it is not exactly one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut steps = Steps { rest: bytes.get(4..)?, ok: true };
        let count = steps.by_ref().count();
        let stated = u32::from_be_bytes(*bytes.first_chunk()?);
        (steps.ok && usize::try_from(stated) == Ok(count)).then(|| Self(bytes.to_vec()))
    }

    /// The steps from the outside in.
    pub fn steps(&self) -> impl Iterator<Item = (StepKind, &[u8])> {
        Steps { rest: &self.0[4..], ok: true }
    }
}

/// For people, as a place in the document: `aws_db_instance.main[0].attributes.password`. Names are escaped as in Rust strings where needed;
/// not for parsing.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (kind, bytes) in self.steps() {
            let text = String::from_utf8_lossy(bytes).escape_debug().to_string();
            let number = || bytes.try_into().map(u64::from_be_bytes).unwrap_or_default();
            let dot = if std::mem::take(&mut first) { "" } else { "." };
            match kind {
                StepKind::Index => write!(f, "[{}]", number())?,
                StepKind::NumberKey => write!(f, "[{text}]")?,
                StepKind::TextKey => write!(f, "[\"{text}\"]")?,
                StepKind::Deposed => write!(f, " (deposed {text})")?,
                StepKind::Ordinal => write!(f, " (no. {})", number())?,
                StepKind::Whole => f.write_str("(the whole document)")?,
                StepKind::Mode if text == "managed" => first = dot.is_empty(),
                StepKind::Module => write!(f, "{dot}{}", text.replace("\\\"", "\""))?,
                _ => write!(f, "{dot}{text}")?,
            }
        }
        if first { f.write_str("(the whole document)") } else { Ok(()) }
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({self})")
    }
}

struct Steps<'p> {
    rest: &'p [u8],
    ok: bool,
}

impl<'p> Iterator for Steps<'p> {
    type Item = (StepKind, &'p [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let step = step(self.rest);
        self.ok &= step.is_some();
        let (kind, bytes, rest) = step?;
        self.rest = rest;
        Some((kind, bytes))
    }
}

fn step(bytes: &[u8]) -> Option<(StepKind, &[u8], &[u8])> {
    let (&kind, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let (text, rest) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
    StepKind::of(kind).map(|kind| (kind, text, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_back_and_keep_steps_apart() {
        let mut path = Path::root();
        path.push(StepKind::Section, b"outputs");
        path.push(StepKind::Key, b"a");
        path.push(StepKind::Index, &7_u64.to_be_bytes());
        assert_eq!(Path::from_bytes(path.as_bytes()), Some(path.clone()));
        assert_eq!(path.to_string(), "outputs.a[7]");
        let mut path = Path::root();
        let steps =
            [(StepKind::Module, "module.m[\"k\"]"), (StepKind::Mode, "managed"), (StepKind::Type, "t"), (StepKind::Name, "n")];
        steps.iter().for_each(|(kind, text)| path.push(*kind, text.as_bytes()));
        path.push(StepKind::TextKey, b"0");
        assert_eq!(path.to_string(), "module.m[\"k\"].t.n[\"0\"]");
        let root = Path::root();
        assert_ne!(root.child(StepKind::Key, b"0"), root.child(StepKind::Index, b"0"));
        assert_ne!(
            root.child(StepKind::Key, b"ab").child(StepKind::Key, b"c"),
            root.child(StepKind::Key, b"a").child(StepKind::Key, b"bc")
        );
        for cut in 0..path.as_bytes().len() {
            assert_eq!(Path::from_bytes(&path.as_bytes()[..cut]), None, "cut at {cut}");
        }
    }
}
