//! What is kept of who may do what: grants, and tokens with their scopes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::AccessError;
use super::glob::Glob;
use super::verb::Verbs;
use crate::domain::ids::{GrantId, TokenHash};
use crate::domain::names::Principal;
use crate::domain::time::WallTime;

/// To whom something is granted: a principal, or with `:*` at the end all whose names begin with what is before the star.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subject(String);

impl Subject {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one principal that it names, if it does not stand for several.
    pub(super) fn one(&self) -> Option<&str> {
        Some(&*self.0).filter(|name| !name.ends_with('*'))
    }

    /// Whether it means this principal.
    #[must_use]
    pub fn means(&self, principal: &Principal) -> bool {
        let name = principal.as_str();
        self.0.strip_suffix('*').map_or(self.0 == name, |start| name.len() > start.len() && name.starts_with(start))
    }
}

impl TryFrom<String> for Subject {
    type Error = AccessError;

    fn try_from(text: String) -> Result<Self, AccessError> {
        let kinds = ["token:", "oidc:", "cert:"];
        let kind = kinds.iter().find_map(|kind| text.strip_prefix(kind));
        let rest = kind.filter(|rest| !rest.is_empty()).ok_or(AccessError::Subject)?;
        Principal::try_from(text.clone()).map_err(|_| AccessError::SubjectLetters)?;
        match rest.find('*') {
            None => Ok(Self(text)),
            // A star among names of a kind: `oidc:github:*`, never `oidc:*` or in the middle.
            Some(at) if at + 1 == rest.len() && rest[..at].ends_with(':') && at > 1 && !text.starts_with("token:") => {
                Ok(Self(text))
            }
            Some(_) => Err(AccessError::Subject),
        }
    }
}

impl FromStr for Subject {
    type Err = AccessError;

    fn from_str(text: &str) -> Result<Self, AccessError> {
        Self::try_from(text.to_owned())
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Verbs on what a glob matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the words are those of the design")]
pub struct Scope {
    pub verbs: Verbs,
    pub on: Glob,
    /// The age recipients that documents may be sealed to for a reader by this right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
}

impl Scope {
    /// Without recipients.
    #[must_use]
    pub fn new(verbs: Verbs, on: Glob) -> Self {
        Self { verbs, on, recipients: Vec::new() }
    }
}

/// A right that somebody was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub struct Grant {
    pub id: GrantId,
    pub to: Subject,
    pub scope: Scope,
    /// Who granted it.
    pub by: Principal,
    pub made: WallTime,
}

/// The name of a token: `[a-z0-9][a-z0-9-]{0,62}`. Its principal is `token:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenName(String);

impl TokenName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it has the form of those that the server draws, which nobody may choose: `x-` and 16 hexadecimal digits.
    #[must_use]
    pub fn is_drawn(&self) -> bool {
        let digits = self.0.strip_prefix("x-").unwrap_or_default();
        digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// The principal of a token of this name.
    #[must_use]
    pub fn principal(&self) -> Principal {
        format!("token:{}", self.0).parse().expect("a token's name is a label")
    }
}

impl TryFrom<String> for TokenName {
    type Error = AccessError;

    fn try_from(text: String) -> Result<Self, AccessError> {
        // The same rule as an environment's.
        text.parse::<crate::domain::names::EnvironmentName>().map_err(|_| AccessError::TokenName)?;
        Ok(Self(text))
    }
}

impl FromStr for TokenName {
    type Err = AccessError;

    fn from_str(text: &str) -> Result<Self, AccessError> {
        Self::try_from(text.to_owned())
    }
}

impl From<TokenName> for String {
    fn from(name: TokenName) -> Self {
        name.0
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whose rights bound those of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Maker {
    /// Whoever has the data folder: made by `leasehold init`.
    Init,
    /// Another token.
    Token(TokenName),
    /// A principal that is no token.
    Principal(Principal),
}

impl fmt::Display for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Init => f.write_str("init"),
            Self::Token(name) => write!(f, "token:{name}"),
            Self::Principal(principal) => principal.fmt(f),
        }
    }
}

/// A token, without the token. A revoked one stays, so that its name means nobody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub struct TokenRecord {
    pub name: TokenName,
    /// SHA-256 of the token: it has 256 random bits, so nothing slower is needed, and looking it up tells nothing by its time.
    pub hash: TokenHash,
    /// Who its bearer is: `token:NAME`, or the principal that exchanged another credential for it.
    pub principal: Principal,
    pub maker: Maker,
    pub scopes: Vec<Scope>,
    pub made: WallTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<WallTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<WallTime>,
    /// When it was last seen, to a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<WallTime>,
    /// SHA-256 of the credential it was exchanged for: once per credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchanged: Option<TokenHash>,
}

impl TokenRecord {
    /// Whether it is accepted at this time.
    #[must_use]
    pub fn live(&self, now: WallTime) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| now < expires)
    }

    /// Whether it expired before this time, and was exchanged for another credential or has a name that nobody chose: nobody will ask for it
    /// any more.
    #[must_use]
    pub fn is_spent(&self, before: WallTime) -> bool {
        (self.exchanged.is_some() || self.name.is_drawn()) && self.expires.is_some_and(|expires| expires < before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_name_a_principal_or_the_start_of_one() {
        let means = |subject: &str, principal: &str| subject.parse::<Subject>().unwrap().means(&principal.parse().unwrap());
        assert!(means("token:ci", "token:ci"));
        assert!(!means("token:ci", "token:ci2"));
        assert!(means("oidc:github:*", "oidc:github:repo:acme/infra"));
        assert!(!means("oidc:github:*", "oidc:github2:repo"));
        assert!(!means("oidc:github:*", "oidc:github:"));
        assert!(means("oidc:github:repo:acme/infra:*", "oidc:github:repo:acme/infra:ref:refs/heads/main"));
        for wrong in [
            "",
            "*",
            "ci",
            "token:",
            "token:*",
            "oidc:*",
            "oidc::*",
            "cert:*",
            "oidc:git*",
            "oidc:a:*:b",
            "oidc:a:**",
            "token:a:*",
        ] {
            assert_eq!(wrong.parse::<Subject>(), Err(AccessError::Subject), "{wrong}");
        }
        for look_alike in ["oidc:a:\n", "oidc:a:b\u{200b}", "oidc:a:\u{430}", "oidc:a:b ", "oidc:\u{430}:*", "oidc:a:\u{202e}:*"]
        {
            assert_eq!(look_alike.parse::<Subject>(), Err(AccessError::SubjectLetters), "{look_alike:?}");
        }
    }
}
