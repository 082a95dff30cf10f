//! Places of a document that are sealed.

use super::path::Path;
use crate::domain::format::json::Span;

/// What a sealed token is in JSON. The numbers are part of what is sealed: they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "the words are those of JSON")]
pub enum JsonType {
    Object = 1,
    Array = 2,
    String = 3,
    Number = 4,
    Bool = 5,
    Null = 6,
    /// Not JSON: the whole of an opaque document.
    Opaque = 7,
}

impl JsonType {
    /// The type with this number.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        [Self::Object, Self::Array, Self::String, Self::Number, Self::Bool, Self::Null, Self::Opaque]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

/// One place of a document that is sealed: these bytes are cut out, quotes and escapes included.
///
/// Holes of a document are in order, do not overlap, and no two have the same path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Where it stands in the original bytes.
    pub span: Span,
    /// What stands there.
    pub kind: JsonType,
    /// Where that is, in terms that outlive edits elsewhere.
    pub path: Path,
    /// Why it is sealed.
    pub reason: Reason,
}

/// Why a place is sealed: the strongest of its reasons. Told with `state show --why`. The numbers are stored: they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    /// The format marks it.
    Mark = 1,
    /// A rule on shapes of values.
    Shape = 2,
    /// A rule on names of keys.
    KeyName = 3,
    /// A rule of the environment.
    Environment = 4,
    /// What is known to be secret elsewhere in the document stands here too.
    Spread = 5,
    /// It was sealed at this place in the version before.
    Before = 6,
    /// The document has more secrets than are searched for: every string that is not structure.
    Overflow = 7,
    /// The whole of an opaque document.
    Whole = 8,
}

impl Reason {
    /// The reason with this number.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        [Self::Mark, Self::Shape, Self::KeyName, Self::Environment, Self::Spread, Self::Before, Self::Overflow, Self::Whole]
            .into_iter()
            .find(|reason| *reason as u8 == number)
    }
}
