//! A token before its signature is verified: what chooses the key, and nothing else.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use sha2::{Digest, Sha256};

use super::claims::Claims;
use super::{MAX_TOKEN, TokenProblem};

/// A token of bearable size and right form, not verified.
pub(super) struct Token<'a> {
    /// Header and claims.
    pub(super) signed: &'a str,
    pub(super) signature: &'a str,
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    pub(super) issuer: String,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Unverified {
    iss: String,
}

/// Whether a credential has the form of a signed JWT: three parts, the first a JSON object. Cheap, and says nothing about its worth.
#[must_use]
pub fn looks_like_jwt(credential: &str) -> bool {
    credential.starts_with("eyJ") && credential.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl<'a> Token<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, TokenProblem> {
        if text.len() > MAX_TOKEN {
            return Err(TokenProblem::TooLong(text.len()));
        }
        let malformed = TokenProblem::Malformed("it has not three parts");
        let (signed, signature) = text.rsplit_once('.').ok_or(malformed.clone())?;
        let (header, claims) = signed.split_once('.').filter(|(_, claims)| !claims.contains('.')).ok_or(malformed)?;
        let header: Header = decoded(header, "the header is no JSON object in base64url with `alg`")?;
        let algorithm = match header.alg.as_str() {
            "RS256" => Algorithm::RS256,
            "ES256" => Algorithm::ES256,
            "EdDSA" => Algorithm::EdDSA,
            _ => return Err(TokenProblem::Algorithm),
        };
        if header.crit.is_some() {
            return Err(TokenProblem::Critical);
        }
        if signature.is_empty() {
            return Err(TokenProblem::Malformed("it has no signature"));
        }
        let Unverified { iss } = decoded(claims, "the claims are no JSON object in base64url with `iss`")?;
        Ok(Self { signed, signature, algorithm, key_id: header.kid, issuer: iss })
    }

    /// All claims. Only once the signature is verified.
    pub(super) fn claims(&self) -> Result<Claims, TokenProblem> {
        let (_, claims) = self.signed.split_once('.').expect("it was split there before");
        decoded(claims, "the claims are no JSON object").map(Claims)
    }

    /// SHA-256 of the signed part: the same for every signature of it.
    pub(super) fn id(&self) -> [u8; 32] {
        Sha256::digest(self.signed).into()
    }
}

fn decoded<T: DeserializeOwned>(part: &str, problem: &'static str) -> Result<T, TokenProblem> {
    let json = URL_SAFE_NO_PAD.decode(part).ok();
    json.and_then(|json| serde_json::from_slice(&json).ok()).ok_or(TokenProblem::Malformed(problem))
}
