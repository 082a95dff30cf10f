//! The top level of a document: whose format it is, and Terraform's lineage and serial.

use super::{
    FormatError, MAX_LINEAGE, TerraformHeader,
    value::{Kind, Value},
};

/// The document with another serial; every other byte is as it was.
///
/// Serials end at 18446744073709551615: there is none after it, so `current + 1` has to be checked by the caller.
///
/// # Errors
/// [`FormatError::EnvelopeKept`] for OpenTofu's envelope; otherwise as [`super::inspect`] with [`super::Format::Terraform`].
pub fn with_serial(document: &[u8], serial: u64) -> Result<Vec<u8>, FormatError> {
    let outline = Outline::of(Value::of(document).map_err(FormatError::NotJson)?);
    if outline.is_envelope() {
        return Err(FormatError::EnvelopeKept);
    }
    outline.terraform()?;
    let token = outline.serial.ok_or(FormatError::SerialMissing)?.raw();
    let start = token.as_ptr() as usize - document.as_ptr() as usize;
    let written = serial.to_string();
    let mut changed = Vec::with_capacity(document.len() - token.len() + written.len());
    changed.extend_from_slice(&document[..start]);
    changed.extend_from_slice(written.as_bytes());
    changed.extend_from_slice(&document[start + token.len()..]);
    Ok(changed)
}

/// The members of the outermost object that tell the formats apart.
#[derive(Default)]
pub(super) struct Outline<'a> {
    version: Option<Value<'a>>,
    terraform_version: Option<Value<'a>>,
    serial: Option<Value<'a>>,
    lineage: Option<Value<'a>>,
    encrypted_data: Option<Value<'a>>,
    encryption_version: Option<Value<'a>>,
    deployment: Option<Value<'a>>,
    checkpoint: Option<Value<'a>>,
}

impl<'a> Outline<'a> {
    pub(super) fn of(root: Value<'a>) -> Outline<'a> {
        let mut outline = Outline::default();
        for member in root.members() {
            let place = match &*member.name() {
                "version" => &mut outline.version,
                "terraform_version" => &mut outline.terraform_version,
                "serial" => &mut outline.serial,
                "lineage" => &mut outline.lineage,
                "encrypted_data" => &mut outline.encrypted_data,
                "encryption_version" => &mut outline.encryption_version,
                "deployment" => &mut outline.deployment,
                "checkpoint" => &mut outline.checkpoint,
                _ => continue,
            };
            *place = Some(member.value());
        }
        outline
    }

    /// OpenTofu's encrypted state; it has no version of its own.
    pub(super) fn is_envelope(&self) -> bool {
        let text = |value: Option<Value<'_>>| value.and_then(Value::text).is_some_and(|text| !text.is_empty());
        self.version.is_none() && text(self.encryption_version) && text(self.encrypted_data)
    }

    /// A Terraform state of whatever version and soundness.
    pub(super) fn looks_like_terraform(&self) -> bool {
        self.version.is_some_and(|version| version.kind() == Kind::Number)
            && (self.terraform_version.is_some() || (self.serial.is_some() && self.lineage.is_some()))
    }

    pub(super) fn is_pulumi(&self) -> bool {
        let object = |value: Option<Value<'_>>| value.is_some_and(|value| value.kind() == Kind::Object);
        self.version.is_some_and(|version| whole_number(version).is_some())
            && (object(self.deployment) || object(self.checkpoint))
    }

    /// The header of a sound Terraform state.
    pub(super) fn terraform(&self) -> Result<TerraformHeader, FormatError> {
        if self.is_envelope() {
            return Err(FormatError::Encrypted);
        }
        match self.version {
            Some(version) if version.raw() == b"4" => self.header(),
            Some(version) if version.kind() == Kind::Number => Err(FormatError::TerraformVersion),
            _ => Err(FormatError::NotTerraform),
        }
    }

    /// The header of an envelope that tells one.
    pub(super) fn envelope(&self) -> Result<Option<TerraformHeader>, FormatError> {
        match (self.serial, self.lineage) {
            (Some(_), Some(_)) => self.header().map(Some),
            _ => Ok(None),
        }
    }

    pub(super) fn header(&self) -> Result<TerraformHeader, FormatError> {
        let serial = self.serial.ok_or(FormatError::SerialMissing)?;
        let serial = whole_number(serial).ok_or(FormatError::SerialInvalid)?;
        let lineage = self.lineage.ok_or(FormatError::LineageMissing)?;
        let lineage = lineage.text().ok_or(FormatError::LineageInvalid)?;
        if lineage.is_empty() || lineage.chars().count() > MAX_LINEAGE || lineage.contains(char::is_control) {
            return Err(FormatError::LineageInvalid);
        }
        Ok(TerraformHeader { lineage: lineage.into_owned(), serial })
    }
}

/// A number in plain digits (JSON has no leading zeros, so there is one spelling of each).
pub(super) fn whole_number(value: Value<'_>) -> Option<u64> {
    std::str::from_utf8(value.raw()).ok()?.parse().ok()
}
