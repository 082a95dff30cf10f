//! Documents without their secrets, that stock tools still read.
//!
//! Made of the skeleton alone: no secret is opened. A string becomes the mark, a number 0, a boolean false, and what is sealed whole null.
//! Where a type stands beside a value whose keys are secret, both are sealed: null, of the type `dynamic`. Terraform reads all of that.

use std::collections::HashSet;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use memchr::memmem::{self, Finder};

use crate::domain::format::json::decode_string;
use crate::secrets::hole::{Hole, JsonType};
use crate::secrets::path::{Path, StepKind};
use crate::secrets::seal::cut::join;
use crate::secrets::seal::head::StoredHole;

/// What stands for a secret string. Fixed, with 128 random bits in it, so that nobody has it in a document by chance.
pub const MARK: &str = "(sealed by leasehold: 5d0c8f1e7a3b4296b8e1d47c90fa6325)";

/// The part of the mark that no way of quoting changes.
const CORE: &[u8] = b"5d0c8f1e7a3b4296b8e1d47c90fa6325";

const STRING: &[u8] = b"\"(sealed by leasehold: 5d0c8f1e7a3b4296b8e1d47c90fa6325)\"";
/// Pulumi keeps the text of a secret as JSON within a string.
const NESTED: &[u8] = b"\"\\\"(sealed by leasehold: 5d0c8f1e7a3b4296b8e1d47c90fa6325)\\\"\"";
const NULL: &[u8] = b"null";
const DYNAMIC: &[u8] = b"\"dynamic\"";

/// What stands in a redacted form without saying so: a secret may be that, too.
pub const BARE: [(JsonType, &[u8]); 3] = [(JsonType::Null, NULL), (JsonType::Number, b"0"), (JsonType::Bool, b"false")];

/// A hole, as its mask depends on it.
#[derive(Clone, Copy)]
pub struct Place<'h> {
    /// What is sealed there.
    pub kind: JsonType,
    /// Where that is.
    pub path: &'h Path,
}

/// The redacted form of a document whose skeleton is open.
///
/// # Panics
/// If a hole is beyond the text.
#[must_use]
pub fn redact(text: &[u8], holes: &[StoredHole]) -> Vec<u8> {
    join(text, holes, &masks_of(text, holes))
}

/// What stands for each hole of a document whose skeleton is open.
#[must_use]
pub fn masks_of(text: &[u8], holes: &[StoredHole]) -> Vec<&'static [u8]> {
    let places: Vec<Place<'_>> = holes.iter().map(|hole| Place { kind: hole.kind, path: &hole.path }).collect();
    let end = |hole: &StoredHole| usize::try_from(hole.at).map_or(text.len(), |at| at.min(text.len()));
    let (mut start, mut parts) = (0, Vec::with_capacity(holes.len() + 1));
    for at in holes.iter().map(end).chain([text.len()]) {
        parts.push(&text[start..at]);
        start = at;
    }
    masks(&places, &parts)
}

/// The redacted form of a whole document, with these places masked; they are in order, and none is within another.
#[must_use]
pub fn redact_whole(document: &[u8], holes: &[Hole]) -> Vec<u8> {
    let places: Vec<Place<'_>> = holes.iter().map(|hole| Place { kind: hole.kind, path: &hole.path }).collect();
    let starts = std::iter::once(0).chain(holes.iter().map(|hole| hole.span.end as usize));
    let ends = holes.iter().map(|hole| hole.span.start as usize).chain([document.len()]);
    let parts: Vec<&[u8]> = starts.zip(ends).map(|(start, end)| &document[start..end]).collect();
    let mut redacted = Vec::with_capacity(document.len());
    for (part, mask) in parts.iter().zip(masks(&places, &parts).into_iter().chain([&b""[..]])) {
        redacted.extend_from_slice(part);
        redacted.extend_from_slice(mask);
    }
    redacted
}

/// What stands for each hole of a document. `parts` is the text around them: one before each hole, and one after the last.
#[must_use]
pub fn masks(places: &[Place<'_>], parts: &[&[u8]]) -> Vec<&'static [u8]> {
    let mut masks: Vec<&'static [u8]> = places.iter().map(|place| mask(*place)).collect();
    let mut typed = HashSet::new();
    for (n, place) in places.iter().enumerate() {
        if place.kind == JsonType::String && is_secret_of_pulumi(place.path, parts[n]) {
            masks[n] = NESTED;
        }
        if let Some(output) = output_typed_at(place.path) {
            masks[n] = DYNAMIC;
            typed.insert(output.to_vec());
        }
        if n > 0 && is_in_attributes(place.path) {
            match wrapped(parts[n - 1], parts[n], parts[n + 1]) {
                Some(TypeIs::Second) => (masks[n - 1], masks[n]) = (NULL, DYNAMIC),
                Some(TypeIs::First) => (masks[n - 1], masks[n]) = (DYNAMIC, NULL),
                None => {}
            }
        }
    }
    if !typed.is_empty() {
        for (n, place) in places.iter().enumerate() {
            let value = output_part(place.path).filter(|(_, part)| *part == b"value");
            if value.is_some_and(|(output, _)| typed.contains(output)) {
                masks[n] = NULL;
            }
        }
    }
    masks
}

/// Whether the mark stands in these bytes of a document: as it is, in JSON within strings, percent-encoded, in capitals, or in base64.
#[must_use]
pub fn has_mark(token: &[u8]) -> bool {
    static FORMS: LazyLock<Vec<Finder<'static>>> = LazyLock::new(|| {
        // In base64 it may stand at each of three offsets; what shares a character with its neighbours is left out.
        let encoded = (0..3_usize).map(|offset| {
            let padded = [&b"\0\0"[..offset], CORE].concat();
            let text = STANDARD_NO_PAD.encode(&padded).into_bytes();
            let whole = padded.len() / 3 * 4;
            text[if offset == 0 { 0 } else { 4 }..whole].to_vec()
        });
        let forms = [CORE.to_vec(), CORE.to_ascii_uppercase()].into_iter().chain(encoded);
        forms.map(|form| Finder::new(&form).into_owned()).collect()
    });
    let within = |bytes: &[u8]| FORMS.iter().any(|form| form.find(bytes).is_some());
    if within(token) {
        return true;
    }
    // Nobody has to escape what is in the mark, and anybody may.
    token.starts_with(b"\"") && memmem::find(token, b"\\u").is_some() && within(decode_string(token).as_bytes())
}

fn mask(place: Place<'_>) -> &'static [u8] {
    match place.kind {
        JsonType::String if place.path.steps().last() == Some((StepKind::Section, b"private")) => NULL,
        JsonType::String => STRING,
        JsonType::Number => b"0",
        JsonType::Bool => b"false",
        JsonType::Object | JsonType::Array | JsonType::Null => NULL,
        JsonType::Opaque => b"",
    }
}

/// The name of the output whose type this is.
fn output_typed_at(path: &Path) -> Option<&[u8]> {
    output_part(path).filter(|(_, part)| *part == b"type").map(|(output, _)| output)
}

/// The name of a Terraform output and the part of it that this is.
fn output_part(path: &Path) -> Option<(&[u8], &[u8])> {
    let mut steps = path.steps();
    match (steps.next()?, steps.next()?, steps.next()?, steps.next()) {
        ((StepKind::Section, b"outputs"), (StepKind::Key, name), (StepKind::Section, part), None) => Some((name, part)),
        _ => None,
    }
}

fn is_in_attributes(path: &Path) -> bool {
    path.steps().any(|step| step == (StepKind::Section, b"attributes"))
}

/// Which of the two holes of a wrapper is its type.
enum TypeIs {
    First,
    Second,
}

/// Whether two holes are all that a `{"value": …, "type": …}` has.
fn wrapped(before: &[u8], between: &[u8], after: &[u8]) -> Option<TypeIs> {
    let begins = |name| before_key(before, name).is_some_and(|rest| rest.ends_with(b"{"));
    let goes_on = |name| before_key(between, name).is_some_and(|rest| rest == b",");
    if !after.trim_ascii_start().starts_with(b"}") {
        return None;
    }
    match () {
        () if begins(&b"\"value\""[..]) && goes_on(&b"\"type\""[..]) => Some(TypeIs::Second),
        () if begins(&b"\"type\""[..]) && goes_on(&b"\"value\""[..]) => Some(TypeIs::First),
        () => None,
    }
}

/// What stands before the key with its colon that the text ends with.
fn before_key<'t>(text: &'t [u8], key: &[u8]) -> Option<&'t [u8]> {
    let text = text.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end();
    text.strip_suffix(key).map(<[u8]>::trim_ascii)
}

/// Whether what follows is the plaintext of a secret as Pulumi writes it.
fn is_secret_of_pulumi(path: &Path, before: &[u8]) -> bool {
    const LONGEST: usize = 256;
    let is_plaintext = path.steps().last() == Some((StepKind::Key, b"plaintext"));
    is_plaintext && path.steps().any(|(kind, _)| kind == StepKind::Urn) && {
        let near = &before[before.len().saturating_sub(LONGEST)..];
        before_key(near, b"\"plaintext\"").is_some() && memmem::find(near, b"\"1b47061264138c4ac30d75fd1eb44270\"").is_some()
    }
}

#[cfg(test)]
mod tests;
