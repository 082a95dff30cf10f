//! What makes the audit prove itself: a chain of hashes over its rows, and signed statements of how far it has come.
//!
//! `lp(x)` puts the length of x before it, as a u64 big-endian. Row n is one line of JSON that begins `{"n":n,`.
//!
//! ```text
//! hash(0)    = SHA-256(lp("leasehold/v1/audit-begins"))
//! hash(n)    = SHA-256(lp("leasehold/v1/audit-entry") ‖ hash(n - 1) ‖ u64 n ‖ lp(row n))
//! signed     = Ed25519(lp("leasehold/v1/audit-checkpoint") ‖ the line without its signature)     or "…/audit-export"
//! ```
//!
//! docs/audit.md says the same for readers from outside.

mod verify;

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use verify::{Fault, Flaw, Report, Verifier};

/// The hash over all rows up to one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Link(pub [u8; 32]);

/// How far a chain has come: its last row, and the hash there. Noted elsewhere, it holds this server to its past. As text `N:HASH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The last row; 0: there is none.
    pub n: u64,
    /// The hash there.
    pub link: Link,
}

/// A public key of a server, for its audit. As text 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuditKey([u8; 32]);

/// What a server signs its audit with. No `Debug`, wiped on drop.
pub struct AuditSigner(ed25519_dalek::SigningKey);

/// A text that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum TextError {
    #[error("not a head of an audit: N:HASH, with 64 hexadecimal digits")]
    Head,
    #[error("not the public key of an audit: 64 hexadecimal digits")]
    Key,
}

const ENTRY: &str = "leasehold/v1/audit-entry";
const BEGINS: &str = "leasehold/v1/audit-begins";
const CHECKPOINT: &str = "leasehold/v1/audit-checkpoint";
const EXPORT: &str = "leasehold/v1/audit-export";

/// What a checkpoint states: a line of JSON with its fields in this order, and the signature at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The last row that it covers.
    pub checkpoint: u64,
    /// The hash there.
    pub hash: Link,
    /// When it was signed, in milliseconds since 1970.
    pub at: i64,
    /// The history of the store: a database put back to an earlier time begins another.
    pub history: String,
    /// Who signed.
    pub key: AuditKey,
}

/// What an export says of itself in its first line: where it begins and where it ends, so that nothing can be cut off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// The version of the format.
    pub export: u32,
    /// Its rows come after this one.
    pub after: u64,
    /// The last row that is signed for.
    pub to: u64,
    /// The hash there.
    pub hash: Link,
    /// When it was made.
    pub at: i64,
    /// Who made it.
    pub key: AuditKey,
}

/// The version of the export's format.
pub const FORMAT: u32 = 1;

impl Link {
    /// The hash before the first row.
    #[must_use]
    pub fn first() -> Self {
        let mut hash = Sha256::new();
        lp(&mut hash, BEGINS.as_bytes());
        Self(hash.finalize().into())
    }

    /// The hash once row `n` follows.
    #[must_use]
    pub fn next(self, n: u64, row: &[u8]) -> Self {
        let mut hash = Sha256::new();
        lp(&mut hash, ENTRY.as_bytes());
        hash.update(self.0);
        hash.update(n.to_be_bytes());
        lp(&mut hash, row);
        Self(hash.finalize().into())
    }
}

impl Head {
    /// Before the first row.
    #[must_use]
    pub fn first() -> Self {
        Self { n: 0, link: Link::first() }
    }

    /// With the next row.
    #[must_use]
    pub fn next(self, row: &[u8]) -> Self {
        Self { n: self.n + 1, link: self.link.next(self.n + 1, row) }
    }
}

/// A row as it is exported: with the hash up to it at its end, so that a change shows where it is.
#[must_use]
pub fn exported(row: &str, link: Link) -> String {
    let open = row.strip_suffix('}').unwrap_or(row);
    format!("{open},\"hash\":\"{link}\"}}")
}

impl AuditSigner {
    /// From 32 secret bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The public half.
    #[must_use]
    pub fn key(&self) -> AuditKey {
        AuditKey(self.0.verifying_key().to_bytes())
    }

    /// A checkpoint on a head: the line.
    #[must_use]
    pub fn checkpoint(&self, head: Head, at: i64, history: &str) -> String {
        let statement = Statement { checkpoint: head.n, hash: head.link, at, history: history.to_owned(), key: self.key() };
        self.signed(CHECKPOINT, &statement)
    }

    /// The first line of an export that comes after a row and ends with a head.
    #[must_use]
    pub fn opening(&self, after: u64, end: Head, at: i64) -> String {
        self.signed(EXPORT, &Opening { export: FORMAT, after, to: end.n, hash: end.link, at, key: self.key() })
    }

    fn signed(&self, purpose: &str, what: &impl Serialize) -> String {
        let text = json(what);
        let signature = self.0.sign(&message(purpose, text.as_bytes())).to_bytes();
        format!("{},\"sig\":\"{}\"}}", text.trim_end_matches('}'), URL_SAFE_NO_PAD.encode(signature))
    }
}

impl Statement {
    /// Reads a checkpoint and checks its signature, by the key that it names.
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        read(CHECKPOINT, line, |statement: &Self| statement.key)
    }

    /// The head that it states.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { n: self.checkpoint, link: self.hash }
    }
}

impl Opening {
    /// Reads the first line of an export and checks its signature, by the key that it names.
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        read(EXPORT, line, |opening: &Self| opening.key)
    }
}

/// What is signed in a line, if the line is just as it would be written, and the signature is that of its key.
fn read<T: Serialize + serde::de::DeserializeOwned>(purpose: &str, line: &str, key: impl Fn(&T) -> AuditKey) -> Option<T> {
    let (text, tail) = line.rsplit_once(",\"sig\":\"")?;
    let text = format!("{text}}}");
    let signature = URL_SAFE_NO_PAD.decode(tail.strip_suffix("\"}")?).ok()?;
    let what: T = serde_json::from_str(&text).ok()?;
    let verifies = json(&what) == text && key(&what).verifies(&message(purpose, text.as_bytes()), &signature);
    verifies.then_some(what)
}

impl AuditKey {
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = ed25519_dalek::VerifyingKey::from_bytes(&self.0).ok();
        let signature = Signature::from_slice(signature).ok();
        key.zip(signature).is_some_and(|(key, signature)| key.verify_strict(message, &signature).is_ok())
    }
}

fn message(purpose: &str, text: &[u8]) -> Vec<u8> {
    [(purpose.len() as u64).to_be_bytes().as_slice(), purpose.as_bytes(), text].concat()
}

fn lp(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_be_bytes());
    hash.update(part);
}

fn json(what: &impl Serialize) -> String {
    serde_json::to_string(what).expect("its keys are strings, and nothing in it fails to serialise")
}

macro_rules! hex32 {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
hex32!(Link);
hex32!(AuditKey);

impl FromStr for Link {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        hex(text).map(Self).ok_or(TextError::Head)
    }
}

impl FromStr for AuditKey {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        hex(text).map(Self).ok_or(TextError::Key)
    }
}

impl FromStr for Head {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let (n, link) = text.split_once(':').ok_or(TextError::Head)?;
        Ok(Self { n: number(n.as_bytes()).ok_or(TextError::Head)?, link: link.parse()? })
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.n, self.link)
    }
}

/// 64 lower-case hexadecimal digits.
fn hex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let text: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
    }
    Some(bytes)
}

/// A number as it is written: digits, and no zero before them.
fn number(text: &[u8]) -> Option<u64> {
    let plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit) && (text == b"0" || text[0] != b'0');
    plain.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests;
