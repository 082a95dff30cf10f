//! Identities as age writes them down: one a line, `#` comments between.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use zeroize::Zeroizing;

use super::hygiene::Locked;
use super::recipient::Recipient;

/// One or more age X25519 identities, in the order of their text. No `Debug`; wiped on drop, kept out of swap where the system allows.
pub struct Identities(Vec<Locked<Identity>>);

/// Why a text holds no usable identities. Lines are numbered from 1 and never quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum IdentitiesError {
    #[error("it holds no age identity (AGE-SECRET-KEY-1…)")]
    None,
    #[error("line {0} is neither an age X25519 identity (AGE-SECRET-KEY-1…) nor a `#` comment")]
    Line(usize),
    #[error("line {0} is a recipient, the public half; the identity (AGE-SECRET-KEY-1…) is needed")]
    Public(usize),
    #[error("it holds more than {MOST} identities")]
    TooMany,
}

const MOST: usize = 64;

impl Identities {
    /// Reads identities from a text; an empty line is a comment too.
    ///
    /// # Errors
    /// There is none, one is malformed, or there are more than 64.
    pub fn parse(text: &str) -> Result<Self, IdentitiesError> {
        let mut identities = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.starts_with("age1") {
                return Err(IdentitiesError::Public(number));
            }
            if identities.len() == MOST {
                return Err(IdentitiesError::TooMany);
            }
            identities.push(Locked::new(Identity::from_str(line).map_err(|_| IdentitiesError::Line(number))?));
        }
        if identities.is_empty() { Err(IdentitiesError::None) } else { Ok(Self(identities)) }
    }

    /// Whom each of them opens for.
    pub fn recipients(&self) -> impl Iterator<Item = Recipient> {
        self.iter().map(Recipient::of)
    }

    pub(super) fn generate() -> Self {
        Self(vec![Locked::new(Identity::generate())])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Identity> {
        self.0.iter().map(|locked| &**locked)
    }

    pub(super) fn first(&self) -> &Identity {
        self.0.first().expect("there is at least one, or parsing had failed")
    }
}

/// Writes a fresh identity to a file that only its owner can read, unless there is one, and gives its recipient.
///
/// # Errors
/// The file cannot be read or written, or holds something else.
pub fn generate_file(file: &Path) -> io::Result<String> {
    let fresh = Identity::generate();
    match OpenOptions::new().create_new(true).write(true).mode(0o600).open(file) {
        Ok(mut made) => {
            let text = fresh.to_string();
            made.write_all(b"# opens everything without the server: keep it offline, apart from the database\n")?;
            made.write_all(text.expose_secret().as_bytes()).and_then(|()| made.write_all(b"\n"))?;
            made.sync_all()?;
            Ok(fresh.to_public().to_string())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let text = Zeroizing::new(std::fs::read_to_string(file)?);
            let identities = Identities::parse(&text).map_err(io::Error::other)?;
            Ok(identities.first().to_public().to_string())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_identities_keep_their_order() {
        let (a, b) = (Identity::generate(), Identity::generate());
        let text = format!("# made today\n\n  {}\r\n#\n{}", a.to_string().expose_secret(), b.to_string().expose_secret());
        let identities = Identities::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        let recipients: Vec<String> = identities.recipients().map(|recipient| recipient.to_string()).collect();
        assert_eq!(recipients, [a.to_public().to_string(), b.to_public().to_string()]);
    }

    #[test]
    fn malformed_texts_are_refused_by_line_without_quoting_it() {
        let good = Identity::generate();
        let text = good.to_string();
        let text = text.expose_secret();
        let refused = |text: &str| Identities::parse(text).err();
        assert_eq!(refused(""), Some(IdentitiesError::None));
        assert_eq!(refused("# only a comment\n"), Some(IdentitiesError::None));
        assert_eq!(refused(&format!("{text}\n\nAGE-SECRET-KEY-1QQQ")), Some(IdentitiesError::Line(3)));
        assert_eq!(refused(&format!("{text} {text}")), Some(IdentitiesError::Line(1)));
        assert_eq!(refused(&good.to_public().to_string()), Some(IdentitiesError::Public(1)));
        assert_eq!(refused(&format!("{text}\n").repeat(65)), Some(IdentitiesError::TooMany));
        assert!(!IdentitiesError::Line(1).to_string().contains(&text[16..24]));
    }
}
