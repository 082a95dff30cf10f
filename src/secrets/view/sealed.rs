//! The `sealed` view: a document for one reader's own key, signed by its environment. Opened offline, by `leasehold unseal`.
//!
//! ```text
//! leasehold sealed v1                          each line ends with \n; exactly these, in this order
//! environment: prod
//! environment-id: 32 hexadecimal digits
//! state: network/eu
//! state-id: 32 hexadecimal digits
//! version: 7
//! etag: 32 hexadecimal digits
//! recipient: age1…                             the reader
//! signer: lhs1…                                the environment's public signing key
//! signature: base64 with padding               Ed25519
//!                                              an empty line, then the age file (binary) to the recipient, with the very bytes of the document
//! ```
//!
//! The signature is over `lp("leasehold/v1/sealed-view") ‖ lp(environment) ‖ lp(environment id) ‖ lp(state) ‖ lp(state id) ‖ lp(version) ‖ lp(etag) ‖
//! lp(recipient) ‖ lp(signer) ‖ lp(SHA-256 of the age file)`, where ids, etag and signer are their bytes, the version is u64 big-endian, and lp
//! puts a u64 big-endian length before. The digest is one of ciphertext: it tells nothing of the document.
//!
//! age says nothing about who wrote a file; the signature does, and it names the reader, so nobody passes on to another what was sealed to them as
//! if the environment had. It does not say that the version is still the current one.

use std::fmt::{Display, Write};
use std::str::FromStr;

use age::x25519::Identity;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::domain::ids::{EnvironmentId, Etag, StateId, Version};
use crate::domain::names::StateName;
use crate::secrets::identities::Identities;
use crate::secrets::keys::{SigningKey, VerifyingKey};
use crate::secrets::recipient::Recipient;
use crate::secrets::wrap;

/// Which document it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The state's full name.
    pub state: StateName,
    /// The state's id.
    pub state_id: StateId,
    /// The version.
    pub version: Version,
    /// The version's etag.
    pub etag: Etag,
}

/// What a sealed document says of itself. True as far as its signer is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// Which document it is.
    pub subject: Subject,
    /// The environment's id.
    pub environment: EnvironmentId,
    /// Whom it is sealed to.
    pub recipient: Recipient,
    /// Who signed it.
    pub signer: VerifyingKey,
}

/// Whose signature counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// That of this key.
    Key(VerifyingKey),
    /// Anybody's: whoever knows the recipient may have made up the document.
    DangerAnyone,
}

/// Why a sealed document does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum UnsealError {
    #[error("this is no sealed document; `leasehold state pull --view sealed` makes one")]
    Other,
    #[error("the sealed document has a format that this leasehold does not know; use a newer one")]
    Newer,
    #[error("line {0} of the sealed document is malformed; fetch it again")]
    Malformed(usize),
    #[error("the sealed document is signed by {0}, not by the key that is trusted; find out where it comes from")]
    Untrusted(VerifyingKey),
    #[error("the signature does not hold: the sealed document was changed after it was made; fetch it again")]
    Forged,
    #[error("the document is sealed to {0}, and the identity for it was not given")]
    NoIdentity(Recipient),
    #[error("the sealed document is signed, but does not open; the server that made it is at fault")]
    Damaged,
}

const FAMILY: &str = "leasehold sealed v";
const FIRST: &str = "leasehold sealed v1";
const PURPOSE: &str = "leasehold/v1/sealed-view";

/// More than the fields take with the longest names.
const MOST_HEADER: usize = 4 << 10;

/// More than the header of an age file to one recipient takes.
const MOST_AGE_HEADER: usize = 4 << 10;

/// Seals a document for a reader, in the name of the signing key's environment.
#[must_use]
pub fn seal_for(recipient: &Recipient, signer: &SigningKey, subject: &Subject, document: &[u8]) -> Vec<u8> {
    let fields = Fields {
        subject: subject.clone(),
        environment: signer.environment(),
        recipient: recipient.clone(),
        signer: signer.verifying_key(),
    };
    let file = wrap::encrypt(recipient, &[], document);
    let signature = signer.sign(PURPOSE, &signed(&fields, &file));
    let mut sealed = String::with_capacity(1024);
    for line in header(&fields) {
        sealed.push_str(&line);
        sealed.push('\n');
    }
    writeln!(sealed, "signature: {}\n", BASE64_STANDARD.encode(signature)).expect("writing to memory does not fail");
    let mut sealed = sealed.into_bytes();
    sealed.extend_from_slice(&file);
    sealed
}

/// Checks who signed a sealed document, and opens it with the identity that it is sealed to.
///
/// # Errors
/// [`UnsealError`]; nothing is decrypted before the signature holds.
pub fn unseal(sealed: &[u8], identities: &Identities, trust: Trust) -> Result<(Fields, Zeroizing<Vec<u8>>), UnsealError> {
    let (fields, signature, file) = parse(sealed)?;
    if let Trust::Key(key) = trust
        && key != fields.signer
    {
        return Err(UnsealError::Untrusted(fields.signer));
    }
    if !fields.signer.verifies(PURPOSE, &signed(&fields, file), &signature) {
        return Err(UnsealError::Forged);
    }
    let ours = |identity: &&Identity| Recipient::of(identity) == fields.recipient;
    let identity = identities.iter().find(ours).ok_or_else(|| UnsealError::NoIdentity(fields.recipient.clone()))?;
    let end = file.windows(5).take(MOST_AGE_HEADER).position(|window| window == b"\n--- ");
    end.ok_or(UnsealError::Damaged)?;
    let document = wrap::decrypt_any(identity, file).map_err(|_| UnsealError::Damaged)?;
    Ok((fields, document))
}

/// The lines of the header before the signature.
fn header(fields: &Fields) -> [String; 9] {
    let Fields { subject, environment, recipient, signer } = fields;
    [
        FIRST.to_owned(),
        format!("environment: {}", subject.state.environment),
        format!("environment-id: {environment}"),
        format!("state: {}", subject.state.path),
        format!("state-id: {}", subject.state_id),
        format!("version: {}", subject.version),
        format!("etag: {}", subject.etag),
        format!("recipient: {recipient}"),
        format!("signer: {signer}"),
    ]
}

/// What is signed, after the purpose.
fn signed(fields: &Fields, file: &[u8]) -> Vec<u8> {
    let Fields { subject, environment, recipient, signer } = fields;
    let (version, recipient, digest) = (subject.version.0.to_be_bytes(), recipient.to_string(), Sha256::digest(file));
    let parts: [&[u8]; 9] = [
        subject.state.environment.as_str().as_bytes(),
        &environment.0,
        subject.state.path.as_str().as_bytes(),
        &subject.state_id.0,
        &version,
        &subject.etag.0,
        recipient.as_bytes(),
        signer.as_bytes(),
        &digest,
    ];
    parts.iter().flat_map(|part| [&(part.len() as u64).to_be_bytes(), *part].concat()).collect()
}

/// Splits a sealed document into its fields, its signature and the age file. Strict: there is one way to write each field.
fn parse(sealed: &[u8]) -> Result<(Fields, [u8; 64], &[u8]), UnsealError> {
    if !sealed.starts_with(FAMILY.as_bytes()) {
        return Err(UnsealError::Other);
    }
    if !sealed.strip_prefix(FIRST.as_bytes()).is_some_and(|rest| rest.starts_with(b"\n")) {
        return Err(UnsealError::Newer);
    }
    let head = &sealed[..sealed.len().min(MOST_HEADER)];
    let end = head.windows(2).position(|window| window == b"\n\n").ok_or(UnsealError::Malformed(1))?;
    let text = std::str::from_utf8(&head[..end]).map_err(|_| UnsealError::Malformed(1))?;
    let mut lines = Lines { lines: text.split('\n'), number: 0 };
    lines.next()?;
    let environment = lines.field("environment")?;
    let environment_id = lines.field("environment-id")?;
    let path = lines.field("state")?;
    let state_id = lines.field("state-id")?;
    let version = lines.field::<u64>("version")?;
    let etag = lines.field("etag")?;
    let recipient = lines.field("recipient")?;
    let signer = lines.field("signer")?;
    let Base64(signature) = lines.field("signature")?;
    if lines.next().is_ok() {
        return Err(UnsealError::Malformed(lines.number));
    }
    let subject = Subject { state: StateName { environment, path }, state_id, version: Version(version), etag };
    Ok((Fields { subject, environment: environment_id, recipient, signer }, signature, &sealed[end + 2..]))
}

struct Lines<'a> {
    lines: std::str::Split<'a, char>,
    number: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Result<&'a str, UnsealError> {
        self.number += 1;
        self.lines.next().ok_or(UnsealError::Malformed(self.number))
    }

    fn field<T: FromStr + Display>(&mut self, name: &str) -> Result<T, UnsealError> {
        let line = self.next()?;
        let value = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(": "));
        let parsed = value.and_then(|value| value.parse::<T>().ok().filter(|parsed| parsed.to_string() == value));
        parsed.ok_or(UnsealError::Malformed(self.number))
    }
}

struct Base64([u8; 64]);

impl FromStr for Base64 {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        BASE64_STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(())
    }
}

impl Display for Base64 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

#[cfg(test)]
mod tests;
