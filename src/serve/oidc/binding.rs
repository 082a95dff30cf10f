//! One binding: which tokens of which issuer stand for whom.

use std::net::IpAddr;
use std::path::PathBuf;

use http::Uri;

use super::claims::Claims;
use super::labels::labels;
use super::problem::KeysProblem;
use super::rules::Rules;
use super::token::Token;
use super::{TokenProblem, Verified};
use crate::domain::names::EnvironmentName;
use crate::serve::config::OidcConfig;

/// A binding of the settings, checked.
#[derive(Clone, Debug)]
pub struct Binding {
    pub(super) name: String,
    pub(super) issuer: String,
    pub(super) keys: Place,
    pub(super) ca: Option<PathBuf>,
    audiences: Vec<String>,
    rules: Rules,
}

/// Where the keys of an issuer are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Url(Uri),
    File(PathBuf),
}

/// Why a binding cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum BindingError {
    #[error("[[oidc]] has the name {0:?}: a name is [a-z0-9][a-z0-9-]{{0,62}}")]
    Name(String),
    #[error("two [[oidc]] have the name {0:?}: principals would be mixed up, so give each its own")]
    Twice(String),
    #[error("[[oidc]] {0:?}: `issuer` and `audience` must not be empty")]
    Empty(String),
    #[error("[[oidc]] {0:?}: give one of `jwks_url` and `jwks_file`")]
    Keys(String),
    #[error(
        "[[oidc]] {0:?}: `jwks_url` has to begin with https://, or with http:// and a loopback address, without user and password"
    )]
    Url(String),
    #[error("[[oidc]] {0:?}: `ca` is for a `jwks_url` with https")]
    NeedlessCa(String),
    #[error(
        "[[oidc]] {0:?}: `claims` needs at least one claim, and for each a text, an integer, a boolean or a list of those: a public issuer makes tokens for everybody"
    )]
    Claims(String),
    #[error("[[oidc]] {name:?}: cannot read {}: {cause}", .file.display())]
    Unreadable { name: String, file: PathBuf, cause: std::io::Error },
    #[error("[[oidc]] {name:?}: {} holds no certificate in PEM form", .file.display())]
    Ca { name: String, file: PathBuf },
    #[error("[[oidc]] {name:?}: {} cannot be used: {cause}", .file.display())]
    File { name: String, file: PathBuf, cause: KeysProblem },
    #[error("[[oidc]] {0:?}: the system has no root certificates to verify `jwks_url` against: install them, or give `ca`")]
    NoRoots(String),
}

impl Binding {
    /// The principal that a verified token stands for at `now`, if the binding takes it.
    pub(super) fn admit(&self, token: &Token<'_>, claims: &Claims, now: u64) -> Result<Verified, TokenProblem> {
        if claims.text("iss") != Some(&self.issuer) {
            return Err(TokenProblem::Claim("iss"));
        }
        if !claims.is_for(&self.audiences) {
            return Err(TokenProblem::Audience);
        }
        let expires = claims.valid_until(now)?;
        if let Some(claim) = self.rules.first_unmet(&claims.0) {
            return Err(TokenProblem::Rule(claim.as_str().into()));
        }
        let subject = claims.text("sub").ok_or(TokenProblem::Claim("sub"))?.to_owned();
        // A star stands in grants for others, and a space at the end of a binding's name is hardly seen.
        if subject.contains('*') || subject.starts_with(' ') {
            return Err(TokenProblem::Subject);
        }
        let principal = format!("oidc:{}:{subject}", self.name).parse().map_err(|_| TokenProblem::Subject)?;
        let labels = labels(&self.issuer, claims);
        Ok(Verified { binding: self.name.clone(), principal, subject, expires, id: token.id(), labels })
    }
}

impl TryFrom<OidcConfig> for Binding {
    type Error = BindingError;

    fn try_from(config: OidcConfig) -> Result<Self, BindingError> {
        let OidcConfig { name, issuer, audience: audiences, jwks_url, jwks_file, ca, claims } = config;
        // The same form as an environment's name: no colon, so that a principal can be taken apart again.
        if name.parse::<EnvironmentName>().is_err() {
            return Err(BindingError::Name(name));
        }
        if issuer.is_empty() || audiences.is_empty() || audiences.iter().any(String::is_empty) {
            return Err(BindingError::Empty(name));
        }
        let keys = match (jwks_url, jwks_file) {
            (Some(url), None) => match url.parse().ok().filter(is_safe) {
                Some(url) => Place::Url(url),
                None => return Err(BindingError::Url(name)),
            },
            (None, Some(file)) => Place::File(file),
            _ => return Err(BindingError::Keys(name)),
        };
        let https = matches!(&keys, Place::Url(url) if url.scheme_str() == Some("https"));
        if ca.is_some() && !https {
            return Err(BindingError::NeedlessCa(name));
        }
        let Some(rules) = Rules::from_table(&claims) else { return Err(BindingError::Claims(name)) };
        Ok(Self { name, issuer, keys, ca, audiences, rules })
    }
}

/// Keys come over TLS, or do not leave the machine.
fn is_safe(url: &Uri) -> bool {
    let Some(authority) = url.authority() else { return false };
    let loopback = || {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    let safe = match url.scheme_str() {
        Some("https") => true,
        Some("http") => loopback(),
        _ => false,
    };
    safe && !authority.as_str().contains('@')
}
