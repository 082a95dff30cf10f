//! Why a token is not taken: for the log of the server, never for who shows it.

use std::fmt;

use super::{LEEWAY, MAX_TOKEN};

/// Why a token is not taken. What it quotes of the token is cut and escaped, and never the signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum TokenProblem {
    #[error("the token has {0} bytes, more than {MAX_TOKEN}")]
    TooLong(usize),
    #[error("the token is not a signed JWT: {0}")]
    Malformed(&'static str),
    #[error("the token's algorithm is not taken: RS256, ES256 and EdDSA are")]
    Algorithm,
    #[error("the token has critical header parameters, and none is understood")]
    Critical,
    #[error("no binding has the issuer {0}")]
    Issuer(Quoted),
    #[error("the keys of the issuer cannot be had: {0}")]
    Keys(KeysProblem),
    #[error("the issuer has several keys, and the token does not say which signed it")]
    NoKeyId,
    #[error("the issuer has no key {0}")]
    UnknownKey(Quoted),
    #[error("the issuer's key cannot be used: {0}")]
    BadKey(KeyProblem),
    #[error("the token's algorithm is not that of the issuer's key")]
    KeyOfOtherAlgorithm,
    #[error("the signature is wrong")]
    Signature,
    #[error("the claim {0:?} is missing or malformed")]
    Claim(&'static str),
    #[error("the token is for another audience")]
    Audience,
    #[error("the token ended at {0}, more than {LEEWAY} s ago")]
    Expired(u64),
    #[error("the token begins at {0}, more than {LEEWAY} s from now")]
    NotYet(u64),
    #[error("the claim {0} is not one that the binding accepts")]
    Rule(Quoted),
    #[error(
        "the subject makes no principal: oidc:BINDING:SUBJECT is at most 256 visible characters of ASCII, with single spaces between them and no star; name the branch or the account otherwise"
    )]
    Subject,
}

/// Why there are no keys. The keys that were fetched last stay in use for a day.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum KeysProblem {
    #[error("nothing could be read from {0}")]
    Unreachable(String),
    #[error("no answer within 5 s")]
    Slow,
    #[error("the answer redirects, which is not followed: configure the address that it leads to")]
    Redirected,
    #[error("the answer has status {0}")]
    Status(u16),
    #[error("there are more than 256 KiB")]
    TooLarge,
    #[error("they are no JWK set")]
    Malformed,
    #[error("there are more than 64 keys")]
    TooMany,
    #[error("the set has no key that can be used")]
    Empty,
    #[error("the last attempt failed less than 30 s ago")]
    TriedBefore,
}

/// Why a key is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum KeyProblem {
    #[error("it is an RSA key of less than 2048 or more than 8192 bits")]
    RsaSize,
    #[error("it is symmetric")]
    Symmetric,
    #[error("its type or curve is none of RSA, P-256 and Ed25519")]
    Type,
    #[error("its `alg` is not RS256, ES256 or EdDSA, or not what its type is for")]
    Algorithm,
    #[error("it is not for verifying signatures")]
    Use,
    #[error("it is malformed")]
    Malformed,
}

impl TokenProblem {
    /// Whether the same token may be valid a little later, because the keys could not be had: worth a retry.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Keys(_))
    }

    /// How far the token came, to tell the problem of the binding that was meant from those of others.
    pub(super) fn progress(&self) -> u8 {
        match self {
            Self::TooLong(_) | Self::Malformed(_) | Self::Algorithm | Self::Critical | Self::Issuer(_) => 0,
            Self::NoKeyId | Self::UnknownKey(_) | Self::BadKey(_) | Self::KeyOfOtherAlgorithm => 1,
            Self::Keys(_) => 2,
            Self::Signature => 3,
            Self::Audience => 4,
            Self::Claim(_) | Self::Expired(_) | Self::NotYet(_) => 5,
            Self::Rule(_) => 6,
            Self::Subject => 7,
        }
    }
}

/// Text of a stranger, fit for a log: escaped, at most 100 characters of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted(String);

impl From<&str> for Quoted {
    fn from(text: &str) -> Self {
        Self(text.chars().take(100).collect())
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
