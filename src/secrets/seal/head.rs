//! The head of a skeleton: the exact size of the document, and its table of holes.
//!
//! Encoded in columns, as differences to the hole before, because that is what compresses:
//!
//! ```text
//! u8 flags (bit 0: overflow)   u64 size   u64 size of the text   varint n   n varints: where, less that of the hole before
//! n u8: JSON type   n u8: reason   n varints: zigzag(ordinal − the one before − 1), the first after −1
//! n paths: varint s = steps that it begins with like the path before (all that are)   varint m   m steps: u8 kind  varint length  bytes
//! ```
//!
//! One head has one encoding: [`Head::decode`] takes nothing but what [`Head::encode`] makes.

use std::collections::HashSet;

use super::OpenError;
use super::encoding::{Reader, unzigzag, varint, zigzag};
use crate::secrets::hole::{JsonType, Reason};
use crate::secrets::path::Path;

/// What is in a document besides its text, without the tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The exact size of the document.
    pub size: u64,
    /// The size of its text.
    pub text_size: u64,
    /// Its holes, in order.
    pub holes: Vec<StoredHole>,
    /// The document has more secrets than are searched for: the redacted form masks every string that is not structure.
    pub overflow: bool,
}

/// A hole as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHole {
    /// Where in the text the token goes.
    pub at: u64,
    /// What the token is.
    pub kind: JsonType,
    /// Why it is sealed.
    pub reason: Reason,
    /// Where in the document it stands.
    pub path: Path,
    /// Which sealed value of the state is the token.
    pub ordinal: u32,
}

/// The paths of one document take at most this many bytes together.
pub const MAX_PATHS: u64 = 256 << 20;

/// Flags and sizes: the part of an encoded head that is as long in every head.
pub(super) const FIXED: usize = 17;

const OVERFLOW: u8 = 1;
/// The least that a hole takes: a byte in each of the four columns, two for its path.
const LEAST: usize = 6;

impl Head {
    /// The frozen encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED + 10 + 64 * self.holes.len());
        out.push(if self.overflow { OVERFLOW } else { 0 });
        out.extend_from_slice(&self.size.to_be_bytes());
        out.extend_from_slice(&self.text_size.to_be_bytes());
        varint(&mut out, self.holes.len() as u64);
        let mut before = 0;
        for hole in &self.holes {
            varint(&mut out, hole.at.wrapping_sub(before));
            before = hole.at;
        }
        out.extend(self.holes.iter().map(|hole| hole.kind as u8));
        out.extend(self.holes.iter().map(|hole| hole.reason as u8));
        let mut before = -1;
        for hole in &self.holes {
            varint(&mut out, zigzag(i64::from(hole.ordinal) - before - 1));
            before = i64::from(hole.ordinal);
        }
        let mut before = &Path::root();
        for hole in &self.holes {
            let shared = hole.path.steps().zip(before.steps()).take_while(|(ours, theirs)| ours == theirs).count();
            varint(&mut out, shared as u64);
            varint(&mut out, (hole.path.steps().count() - shared) as u64);
            for (kind, bytes) in hole.path.steps().skip(shared) {
                out.push(kind as u8);
                varint(&mut out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
            before = &hole.path;
        }
        out
    }

    /// Reads an encoded head. Takes memory in proportion to the bytes, and for paths up to [`MAX_PATHS`].
    ///
    /// # Errors
    /// It is not exactly the encoding of one whose parts fit together.
    pub fn decode(bytes: &[u8]) -> Result<Self, OpenError> {
        let mut reader = Reader(bytes);
        let flags = reader.u8()?;
        let (size, text_size) = (reader.u64()?, reader.u64()?);
        let count = usize::try_from(reader.varint()?).map_err(|_| OpenError)?;
        if flags & !OVERFLOW != 0 || count > reader.0.len() / LEAST {
            return Err(OpenError);
        }
        let mut at = 0_u64;
        let places = repeat(count, || {
            at = at.checked_add(reader.varint()?).ok_or(OpenError)?;
            Ok(at)
        })?;
        let kinds = repeat(count, || JsonType::of(reader.u8()?).ok_or(OpenError))?;
        let reasons = repeat(count, || Reason::of(reader.u8()?).ok_or(OpenError))?;
        let mut before = -1_i64;
        let ordinals = repeat(count, || {
            let next = unzigzag(reader.varint()?).checked_add(before).and_then(|sum| sum.checked_add(1)).ok_or(OpenError)?;
            before = next;
            u32::try_from(next).map_err(|_| OpenError)
        })?;
        let (root, mut left) = (Path::root(), MAX_PATHS);
        let mut holes: Vec<StoredHole> = Vec::with_capacity(count);
        for n in 0..count {
            let before = holes.last().map_or(&root, |hole| &hole.path);
            let path = path_after(before, &mut reader)?;
            left = left.checked_sub(path.as_bytes().len() as u64).ok_or(OpenError)?;
            holes.push(StoredHole { at: places[n], kind: kinds[n], reason: reasons[n], path, ordinal: ordinals[n] });
        }
        let head = Self { size, text_size, holes, overflow: flags & OVERFLOW != 0 };
        if reader.0.is_empty() && head.is_sound() { Ok(head) } else { Err(OpenError) }
    }

    /// Whether the parts fit together: holes in order and within the text, no two at one path, sizes that can be.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let mut paths = HashSet::with_capacity(self.holes.len());
        let unique = self.holes.iter().all(|hole| paths.insert(&hole.path));
        let ordered =
            self.holes.is_sorted_by_key(|hole| hole.at) && self.holes.last().is_none_or(|last| last.at <= self.text_size);
        // Each token has at least a byte.
        let fits = match self.size.checked_sub(self.text_size) {
            Some(tokens) if self.holes.is_empty() => tokens == 0,
            Some(tokens) => tokens >= self.holes.len() as u64,
            None => false,
        };
        unique && ordered && fits
    }
}

fn repeat<T>(count: usize, mut one: impl FnMut() -> Result<T, OpenError>) -> Result<Vec<T>, OpenError> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        all.push(one()?);
    }
    Ok(all)
}

fn path_after(before: &Path, reader: &mut Reader<'_>) -> Result<Path, OpenError> {
    let (shared, own) = (reader.varint()?, reader.varint()?);
    let count = shared.checked_add(own).and_then(|sum| u32::try_from(sum).ok()).ok_or(OpenError)?;
    let mut encoded = count.to_be_bytes().to_vec();
    let mut steps = before.steps();
    for _ in 0..shared {
        let (kind, bytes) = steps.next().ok_or(OpenError)?;
        step(&mut encoded, kind as u8, bytes);
    }
    let other = steps.next();
    for n in 0..own {
        let kind = reader.u8()?;
        let length = reader.varint()?;
        let bytes = reader.bytes(length)?;
        // Otherwise this step would have been shared.
        if n == 0 && other.is_some_and(|(theirs, their_bytes)| theirs as u8 == kind && their_bytes == bytes) {
            return Err(OpenError);
        }
        step(&mut encoded, kind, bytes);
    }
    Path::from_bytes(&encoded).ok_or(OpenError)
}

fn step(encoded: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    encoded.push(kind);
    encoded.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    encoded.extend_from_slice(bytes);
}
