//! Lineage and serial of a document, read without holding it.

use std::io::Read;

use serde::Deserialize;

/// What orders the versions of a Terraform state, or of the envelope that OpenTofu encrypts one into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Which state this is.
    pub lineage: String,
    /// Grows with every change.
    pub serial: u64,
    /// Whether it is OpenTofu's encrypted envelope.
    pub encrypted: bool,
}

/// Why a document cannot be imported. Quotes nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::client) enum Unsound {
    #[error("it is no Terraform or OpenTofu state")]
    NoState,
    #[error("it is a Terraform state of another version than 4; `terraform apply` with Terraform 1.0 or later upgrades it")]
    Version,
    #[error("its serial or lineage is missing or malformed")]
    NoHeader,
}

/// Everything else of the document is passed over.
#[derive(Deserialize)]
struct Outline {
    version: Option<u64>,
    serial: Option<u64>,
    lineage: Option<String>,
    encryption_version: Option<String>,
}

impl Header {
    /// # Errors
    /// [`Unsound`], also if the document cannot be read to its end.
    pub(in crate::client) fn read(document: impl Read) -> Result<Self, Unsound> {
        let outline: Outline = serde_json::from_reader(document).map_err(|_| Unsound::NoState)?;
        let encrypted = outline.encryption_version.is_some_and(|version| !version.is_empty());
        match outline.version {
            _ if encrypted => {}
            None => return Err(Unsound::NoState),
            Some(4) => {}
            Some(_) => return Err(Unsound::Version),
        }
        let lineage = outline.lineage.filter(|lineage| !lineage.is_empty());
        let (Some(serial), Some(lineage)) = (outline.serial, lineage) else { return Err(Unsound::NoHeader) };
        Ok(Self { lineage, serial, encrypted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_read_of_states_and_of_envelopes() {
        let state = br#"{"version":4,"resources":[{"serial":9,"lineage":"no"}],"serial":18446744073709551615,"lineage":"l"}"#;
        assert_eq!(Header::read(&state[..]), Ok(Header { lineage: "l".into(), serial: u64::MAX, encrypted: false }));
        let envelope = br#"{"serial":5,"lineage":"l","meta":{},"encrypted_data":"AA==","encryption_version":"v0"}"#;
        assert_eq!(Header::read(&envelope[..]), Ok(Header { lineage: "l".into(), serial: 5, encrypted: true }));
    }

    #[test]
    fn document_without_a_header_says_why() {
        for (document, why) in [
            ("", Unsound::NoState),
            ("{}", Unsound::NoState),
            ("not JSON", Unsound::NoState),
            (r#"{"version":4,"serial":1,"lineage":"l""#, Unsound::NoState),
            (r#"{"version":4,"serial":1,"lineage":"l"} {}"#, Unsound::NoState),
            (r#"{"version":3,"serial":1,"lineage":"l"}"#, Unsound::Version),
            (r#"{"version":4,"lineage":"l"}"#, Unsound::NoHeader),
            (r#"{"version":4,"serial":1,"lineage":""}"#, Unsound::NoHeader),
            (r#"{"version":4,"serial":-1,"lineage":"l"}"#, Unsound::NoState),
            (r#"{"serial":1,"encryption_version":"v0"}"#, Unsound::NoHeader),
        ] {
            assert_eq!(Header::read(document.as_bytes()), Err(why), "{document}");
        }
    }
}
