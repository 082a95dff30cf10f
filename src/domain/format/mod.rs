//! What the bytes of a state are, and what is read from them: format, lineage, serial, differences.
//!
//! Documents are never re-serialised; everything here points into the original bytes.

pub mod diff;
pub mod json;
mod strings;
mod terraform;
pub(crate) mod value;

#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use self::terraform::with_serial;
use self::{json::JsonError, terraform::Outline, value::Value};

/// The longest lineage in characters.
pub const MAX_LINEAGE: usize = 128;

/// What the bytes of a state are; fixed when the state is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Terraform or OpenTofu state, version 4.
    Terraform,
    /// A Pulumi deployment (`pulumi stack export`) or checkpoint.
    Pulumi,
    /// Any other JSON document.
    Json,
    /// Any bytes, OpenTofu's encrypted envelope included: not searched for secrets, not compared by meaning.
    Opaque,
}

/// What [`inspect`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The format asked for, or the one found.
    pub format: Format,
    /// Of Terraform states, and of OpenTofu envelopes that are `opaque` and tell both: the rules on lineage and serial hold for both.
    pub terraform: Option<TerraformHeader>,
}

/// What Terraform orders the versions of a state by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TerraformHeader {
    /// Which state this is: 1 to [`MAX_LINEAGE`] characters, none of them a control character; normally a UUID.
    pub lineage: String,
    /// Grows with every change; up to 2⁶⁴ − 1.
    pub serial: u64,
}

/// Decides what a document is, or checks that it is what the caller says, and reads its header.
///
/// Without `asked` the bytes decide, but never for [`Format::Opaque`], except for OpenTofu's envelope: what looks like text gone
/// wrong must not slip past the rules for text. A document that looks like a Terraform state has to be a sound one. With
/// `Some(Format::Opaque)` anything but an empty document goes; an envelope's header is read where it is sound.
///
/// # Errors
/// Each names what is wrong and what to do next, and quotes nothing of the document.
pub fn inspect(document: &[u8], asked: Option<Format>) -> Result<Inspected, FormatError> {
    if document.is_empty() {
        return Err(FormatError::Empty);
    }
    if asked == Some(Format::Opaque) {
        let envelope = Value::of(document).ok().map(Outline::of).filter(Outline::is_envelope);
        return Ok(Inspected { format: Format::Opaque, terraform: envelope.and_then(|outline| outline.header().ok()) });
    }
    let root = Value::of(document).map_err(FormatError::NotJson)?;
    let outline = Outline::of(root);
    let format = match asked {
        Some(format) => format,
        None if outline.is_envelope() => Format::Opaque,
        None if outline.looks_like_terraform() => Format::Terraform,
        None if outline.is_pulumi() => Format::Pulumi,
        None => Format::Json,
    };
    let terraform = match format {
        Format::Terraform => Some(outline.terraform()?),
        Format::Opaque => outline.envelope()?,
        Format::Pulumi if !outline.is_pulumi() => return Err(FormatError::NotPulumi),
        Format::Pulumi | Format::Json => None,
    };
    Ok(Inspected { format, terraform })
}

/// Why a document is refused. Never quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// No bytes at all.
    #[error("the document is empty; to end a state, delete it instead")]
    Empty,
    /// Not strict JSON, while the format is or would have to be found.
    #[error("not valid JSON: {0}; correct the document, or ask for the format `opaque` if it is not JSON on purpose")]
    NotJson(#[source] JsonError),
    /// Asked for Terraform, and it is not a Terraform state.
    #[error(
        "not a Terraform state: no `version` of its own; write what `terraform state pull` prints, or ask for another format"
    )]
    NotTerraform,
    /// Asked for Terraform, and it is OpenTofu's encrypted envelope.
    #[error("an encrypted OpenTofu state cannot be read as a Terraform state; keep it in a state of the format `opaque`")]
    Encrypted,
    /// A Terraform state of another version than 4.
    #[error(
        "a Terraform state of another version than 4; `terraform apply` with Terraform 1.0 or later upgrades older ones; \
         ask for the format `json` if this is something else"
    )]
    TerraformVersion,
    /// No `serial` in a Terraform state.
    #[error("the Terraform state has no `serial`; write what `terraform state pull` prints, or ask for the format `json`")]
    SerialMissing,
    /// A `serial` that is not a whole number from 0 to 2⁶⁴ − 1 in plain digits.
    #[error(
        "the `serial` is not a whole number from 0 to 18446744073709551615 in plain digits; correct it, or ask for the format `json`"
    )]
    SerialInvalid,
    /// No `lineage` in a Terraform state.
    #[error("the Terraform state has no `lineage`; write what `terraform state pull` prints, or ask for the format `json`")]
    LineageMissing,
    /// A `lineage` that is not a string of 1 to 128 characters without control characters.
    #[error("the `lineage` is not a string of 1 to 128 printable characters; correct it, or ask for the format `json`")]
    LineageInvalid,
    /// Asked for Pulumi, and it is neither a deployment nor a checkpoint.
    #[error("not a Pulumi deployment or checkpoint; write what `pulumi stack export` prints, or ask for another format")]
    NotPulumi,
    /// A new serial asked for in an encrypted envelope.
    #[error("an encrypted OpenTofu state is stored as it was: its serial is sealed inside; change it with OpenTofu")]
    EnvelopeKept,
}

impl Format {
    /// The name as written on the command line and in stores.
    pub fn name(self) -> &'static str {
        match self {
            Format::Terraform => "terraform",
            Format::Pulumi => "pulumi",
            Format::Json => "json",
            Format::Opaque => "opaque",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Format, UnknownFormat> {
        let all = [Format::Terraform, Format::Pulumi, Format::Json, Format::Opaque];
        all.into_iter().find(|format| format.name() == name).ok_or(UnknownFormat)
    }
}

/// Not the name of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a format; use one of `terraform`, `pulumi`, `json`, `opaque`")]
pub struct UnknownFormat;
