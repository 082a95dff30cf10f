//! The `Content-MD5` header. MD5 finds damage on the way, not malice: nothing is ever trusted because of it.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use md5::{Digest as _, Md5};

/// The MD5 of a body, as `Content-MD5` carries it: the base64 of the 16 raw bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentMd5([u8; 16]);

impl ContentMd5 {
    /// The MD5 of `bytes`. For a body in pieces there is [`Running`].
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Md5::digest(bytes).into())
    }
}

impl fmt::Display for ContentMd5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

impl FromStr for ContentMd5 {
    type Err = BadMd5;

    fn from_str(header: &str) -> Result<Self, BadMd5> {
        let bytes = BASE64_STANDARD.decode(header.trim()).map_err(|_| BadMd5)?;
        bytes.try_into().map(Self).map_err(|_| BadMd5)
    }
}

/// A `Content-MD5` header that is not the base64 of 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Content-MD5 is the base64 of 16 bytes")]
pub struct BadMd5;

/// The MD5 of a body that comes in pieces, in constant memory.
#[derive(Clone, Default)]
pub struct Running(Md5);

impl Running {
    /// The MD5 of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next piece of the body.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The MD5 of all pieces; compare it with what the header said.
    #[must_use]
    pub fn finish(self) -> ContentMd5 {
        ContentMd5(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_body_has_the_header_that_terraform_sends_with_a_forced_unlock() {
        assert_eq!(ContentMd5::of(b"").to_string(), "1B2M2Y8AsgTpgAmY7PhCfg==");
        assert_eq!(Running::new().finish(), ContentMd5::of(b""));
    }

    #[test]
    fn pieces_count_as_the_whole() {
        let mut running = Running::new();
        running.update(b"message ");
        running.update(b"");
        running.update(b"digest");
        // RFC 1321, A.5: f96b697d7cb7938d525a2f31aaf161d0
        assert_eq!(running.finish().to_string(), "+WtpfXy3k41SWi8xqvFh0A==");
    }

    #[test]
    fn header_is_read_back_and_damage_is_seen() {
        let header: ContentMd5 = " +WtpfXy3k41SWi8xqvFh0A==".parse().unwrap();
        assert_eq!(header, ContentMd5::of(b"message digest"));
        assert_ne!(header, ContentMd5::of(b"message Digest"));
    }

    #[test]
    fn header_that_is_not_sixteen_bytes_is_refused() {
        for header in ["", "x", "AAAA", "f96b697d7cb7938d525a2f31aaf161d0", "+WtpfXy3k41SWi8xqvFh0AA="] {
            assert_eq!(header.parse::<ContentMd5>(), Err(BadMd5), "{header}");
        }
    }
}
