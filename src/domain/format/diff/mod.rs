//! What changed between two documents, by meaning: names and kinds of change, never values.
//!
//! White space, the order of keys and the spelling of strings mean nothing; the spelling of numbers does (`1` and `1.0` differ).
//! Nothing is built of the documents but lists of their parts, so memory stays below the size of both together, unless the parts
//! are a few bytes each and in another order (then up to four times).

mod compare;
mod pulumi;
mod terraform;

use std::{borrow::Cow, fmt, ops::ControlFlow};

use self::compare::{Comparison, Step};
use super::{
    Format, FormatError,
    value::{Kind, Value},
};

/// At most this many changes are listed.
pub const MAX_CHANGES: usize = 10_000;

/// At most this many attributes of one change are listed.
pub const MAX_ATTRIBUTES: usize = 1_000;

/// At most this many bytes of addresses and attributes are listed, so that a diff fits into one message.
pub const MAX_TEXT: usize = 2 << 20;

/// How two documents differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// The documents could only be compared byte by byte; `changes` is empty.
    pub bytes_only: bool,
    /// They mean the same (with `bytes_only`: they are the same).
    pub equal: bool,
    /// What changed, in the order of addresses where the format has them.
    pub changes: Vec<Change>,
    /// There is more than is listed.
    pub truncated: bool,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened to it.
    pub kind: ChangeKind,
    /// What it is.
    pub what: Subject,
    /// Of a resource such as `module.net.aws_subnet.a["x"]` or a Pulumi URN, of an output its name, of a value its JSON pointer
    /// (RFC 6901; empty for the whole document). Control characters are escaped.
    pub address: String,
    /// With `Changed`, which attributes of a resource changed; with names in parentheses what is kept beside them, such as `(status)`.
    /// Pulumi's begin with `inputs.` or `outputs.`. Of an output: `value`, `type`, `sensitive`.
    pub attributes: Vec<String>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Only the new document has it.
    Added,
    /// Both have it, with different content.
    Changed,
    /// Only the old document has it.
    Removed,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An instance of a resource.
    Resource,
    /// An output of a Terraform state.
    Output,
    /// A value somewhere in a document.
    Value,
}

/// Compares two documents of one format.
///
/// Of a Terraform state `serial`, `lineage` and the versions, and of a Pulumi deployment `version` and `manifest`, are no changes;
/// nor is a Pulumi secret that is encrypted in both, since every update encrypts it anew. A document whose parts are not what the
/// format promises is compared as plain JSON.
///
/// # Errors
/// [`FormatError::NotJson`] if one of them is not JSON and the format is not [`Format::Opaque`].
pub fn diff(format: Format, old: &[u8], new: &[u8]) -> Result<Diff, FormatError> {
    if old == new || format == Format::Opaque {
        return Ok(Diff { bytes_only: format == Format::Opaque, equal: old == new, ..Diff::default() });
    }
    let (old, new) = (Value::of(old).map_err(FormatError::NotJson)?, Value::of(new).map_err(FormatError::NotJson)?);
    let mut report = Report::default();
    // A full report ends the comparison early; what is missing is in its `truncated`.
    let _ = match format {
        Format::Terraform if terraform::is_sound(old) && terraform::is_sound(new) => terraform::compare(old, new, &mut report),
        Format::Pulumi if pulumi::is_sound(old) && pulumi::is_sound(new) => pulumi::compare(old, new, &mut report),
        _ => plain(old, new, &mut report),
    };
    let equal = report.changes.is_empty() && !report.truncated;
    Ok(Diff { bytes_only: false, equal, changes: report.changes, truncated: report.truncated })
}

impl ChangeKind {
    /// The kind of change for what is or is not on each side.
    fn of<T, U>(old: Option<T>, new: Option<U>) -> ChangeKind {
        match (old, new) {
            (None, _) => ChangeKind::Added,
            (Some(_), None) => ChangeKind::Removed,
            (Some(_), Some(_)) => ChangeKind::Changed,
        }
    }
}

impl Subject {
    /// The word for people and the wire.
    pub fn name(self) -> &'static str {
        match self {
            Subject::Resource => "resource",
            Subject::Output => "output",
            Subject::Value => "value",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

fn plain(old: Value<'_>, new: Value<'_>, report: &mut Report) -> ControlFlow<()> {
    Comparison::EXACT
        .walk(old, new, &mut Vec::new(), &mut |kind, path| report.add(kind, Subject::Value, pointer(path), Names::default()))
}

/// Reports a part beside the resources and outputs as a whole, if it differs; `null` is the same as nothing.
fn other_part(
    by: Comparison,
    path: &[Step<'_>],
    old: Option<Value<'_>>,
    new: Option<Value<'_>>,
    report: &mut Report,
) -> ControlFlow<()> {
    match (present(old), present(new)) {
        (None, None) => ControlFlow::Continue(()),
        (Some(old), Some(new)) if by.same(old, new) => ControlFlow::Continue(()),
        (old, new) => report.add(ChangeKind::of(old, new), Subject::Value, pointer(path), Names::default()),
    }
}

/// Most tools leave a field out or write `null` as they like.
fn present(value: Option<Value<'_>>) -> Option<Value<'_>> {
    value.filter(|value| value.kind() != Kind::Null)
}

fn pointer(path: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in path {
        text.push('/');
        match step {
            Step::Key(key) => text.push_str(&super::strings::decode_string(key).replace('~', "~0").replace('/', "~1")),
            Step::Index(index) => text.push_str(&index.to_string()),
        }
    }
    text
}

/// The changes so far, within the limits.
#[derive(Default)]
struct Report {
    changes: Vec<Change>,
    text: usize,
    truncated: bool,
}

impl Report {
    /// Breaks when it is full.
    fn add(&mut self, kind: ChangeKind, what: Subject, address: String, attributes: Names) -> ControlFlow<()> {
        let address = printable(address);
        self.text += address.len() + attributes.list.iter().map(String::len).sum::<usize>();
        if self.changes.len() == MAX_CHANGES || self.text > MAX_TEXT {
            self.truncated = true;
            return ControlFlow::Break(());
        }
        self.truncated |= attributes.truncated;
        self.changes.push(Change { kind, what, address, attributes: attributes.list });
        ControlFlow::Continue(())
    }
}

/// The changed attributes of one resource or output, within the limits.
#[derive(Default)]
struct Names {
    list: Vec<String>,
    text: usize,
    truncated: bool,
}

impl Names {
    fn add(&mut self, name: Cow<'_, str>) {
        if self.list.len() == MAX_ATTRIBUTES || self.text + name.len() > MAX_TEXT / 4 {
            self.truncated = true;
            return;
        }
        let name = printable(name.into_owned());
        self.text += name.len();
        self.list.push(name);
    }

    fn is_empty(&self) -> bool {
        self.list.is_empty() && !self.truncated
    }
}

/// Names come from whoever wrote the document, and are shown on terminals.
fn printable(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    text.chars()
        .map(|c| if c.is_control() { Cow::Owned(format!("\\u{:04x}", c as u32)) } else { Cow::Owned(c.to_string()) })
        .collect()
}
