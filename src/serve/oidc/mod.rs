//! Tokens of workloads: signed JWTs of issuers that the settings name, such as CI systems and Kubernetes.
//!
//! A [`Binding`] says which tokens of which issuer are taken; [`Issuers`] verifies a token against all of them:
//!
//! | step | what is refused | where |
//! |---|---|---|
//! | size, form and header | more than 16 KiB, no JWT, algorithms other than RS256, ES256 and EdDSA, `crit` | `token` |
//! | issuer | one that no binding names, byte for byte | here |
//! | key | unknown after a fetch, weak, of another algorithm | `source`, `fetch`, `keys` |
//! | signature | wrong | `keys` |
//! | audience, times, claim rules, subject | see [`TokenProblem`] | `claims`, `rules` |
//!
//! Nothing in a token is believed before its signature is verified; until then its issuer and key id only choose the key. The time is
//! a parameter.

mod binding;
mod claims;
mod fetch;
mod keys;
mod labels;
mod problem;
mod rules;
mod source;
#[cfg(test)]
mod tests;
mod token;

use std::collections::HashMap;
use std::sync::Arc;

pub use binding::{Binding, BindingError};
pub use problem::TokenProblem;
pub use token::looks_like_jwt;

use crate::domain::names::{Labels, Principal};
use crate::serve::config::OidcConfig;
use source::Source;
use token::Token;

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN: usize = 16 << 10;
/// How far the clocks of an issuer and of this server may be apart, in seconds.
pub const LEEWAY: u64 = 30;

/// A token that is valid now, and whom it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The name of the binding that took it.
    pub binding: String,
    /// `oidc:BINDING:SUBJECT`.
    pub principal: Principal,
    /// The `sub` claim.
    pub subject: String,
    /// When it ends, in Unix seconds, without leeway: it may be up to [`LEEWAY`] seconds in the past.
    pub expires: u64,
    /// SHA-256 of what is signed, for what a token may do only once. Not of the whole token: whoever has one with an ECDSA signature
    /// can make a second valid signature from the first.
    pub id: [u8; 32],
    /// The URL of the run and the commit, where the issuer is GitHub or GitLab.
    pub labels: Labels,
}

/// The issuers of the settings, with their keys.
pub struct Issuers {
    bindings: Vec<(Binding, Arc<Source>)>,
}

impl Issuers {
    /// The bindings of the settings.
    ///
    /// # Errors
    /// A binding cannot be used; see [`BindingError`].
    pub fn from_settings(settings: &[OidcConfig]) -> Result<Self, BindingError> {
        Self::new(settings.iter().cloned().map(Binding::try_from).collect::<Result<_, _>>()?)
    }

    /// Bindings with the same place of keys and the same CA share one cache. Nothing is fetched yet.
    ///
    /// # Errors
    /// Two bindings have the same name; the file of a CA or of keys cannot be used.
    pub fn new(bindings: Vec<Binding>) -> Result<Self, BindingError> {
        let mut issuers = Self { bindings: Vec::new() };
        let mut sources = HashMap::new();
        for binding in bindings {
            if issuers.bindings.iter().any(|(earlier, _)| earlier.name == binding.name) {
                return Err(BindingError::Twice(binding.name));
            }
            let place = (binding.keys.clone(), binding.ca.clone());
            let source = match sources.get(&place) {
                Some(source) => Arc::clone(source),
                None => {
                    let source = Arc::new(Source::open(&binding)?);
                    sources.insert(place, Arc::clone(&source));
                    source
                }
            };
            issuers.bindings.push((binding, source));
        }
        Ok(issuers)
    }

    /// Whether no issuer is configured, so that no token can be valid.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty()
    }

    /// Verifies a token at `now`, in Unix seconds. The first binding, in the order of the settings, whose issuer, keys, audience and claim
    /// rules all fit decides. May wait for the keys of an issuer to be fetched, for at most 5 s.
    ///
    /// # Errors
    /// [`TokenProblem`], for our log: the problem of the binding that came closest. The caller is told only that it is not
    /// authenticated, whatever the problem.
    pub async fn verify(&self, token: &str, now: u64) -> Result<Verified, TokenProblem> {
        let token = Token::read(token)?;
        let mut problem = TokenProblem::Issuer(token.issuer.as_str().into());
        let mut refused = Vec::new();
        for (binding, source) in self.bindings.iter().filter(|(binding, _)| binding.issuer == token.issuer) {
            if refused.iter().any(|known| Arc::ptr_eq(known, source)) {
                continue;
            }
            let found = match source.verify(&token, now).await {
                Ok(claims) => binding.admit(&token, &claims, now),
                Err(problem) => {
                    refused.push(Arc::clone(source));
                    Err(problem)
                }
            };
            match found {
                Ok(verified) => return Ok(verified),
                Err(found) if found.progress() > problem.progress() => problem = found,
                Err(_) => {}
            }
        }
        Err(problem)
    }
}
