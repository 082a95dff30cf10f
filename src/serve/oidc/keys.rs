//! The keys of an issuer: each is bound to one algorithm by its type, whatever a token says.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::TokenProblem;
use super::claims::Claims;
use super::problem::{KeyProblem, KeysProblem};
use super::token::Token;

/// The most keys in a set; the large issuers have fewer than ten.
const MOST: usize = 64;

/// A JWK set. Keys that cannot be used are remembered with the reason.
pub(super) struct KeySet(Vec<Key>);

struct Key {
    id: Option<String>,
    usable: Result<(Algorithm, DecodingKey), KeyProblem>,
}

impl KeySet {
    pub(super) fn parse(json: &[u8]) -> Result<Self, KeysProblem> {
        #[derive(Deserialize)]
        struct Set<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        let set: Set<'_> = serde_json::from_slice(json).map_err(|_| KeysProblem::Malformed)?;
        if set.keys.len() > MOST {
            return Err(KeysProblem::TooMany);
        }
        let keys: Vec<Key> = set.keys.into_iter().map(|raw| Key::parse(raw.get())).collect();
        if keys.iter().all(|key| key.usable.is_err()) {
            return Err(KeysProblem::Empty);
        }
        Ok(Self(keys))
    }

    /// The claims, if the key that the token names has signed them.
    pub(super) fn verify(&self, token: &Token<'_>) -> Result<Claims, TokenProblem> {
        let key = self.choose(token)?;
        // Only the signature is left to the library: it would judge times with a clock of its own.
        match jsonwebtoken::crypto::verify(token.signature, token.signed.as_bytes(), key, token.algorithm) {
            Ok(true) => token.claims(),
            Ok(false) | Err(_) => Err(TokenProblem::Signature),
        }
    }

    /// Whether a key of this id is in the set, of use or not.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// A key id may stand for keys of several algorithms; without one in the token, there must be one key only.
    fn choose(&self, token: &Token<'_>) -> Result<&DecodingKey, TokenProblem> {
        let named: Vec<&Key> = match &token.key_id {
            Some(id) => self.0.iter().filter(|key| key.id.as_deref() == Some(id)).collect(),
            None if self.0.len() > 1 => return Err(TokenProblem::NoKeyId),
            None => self.0.iter().collect(),
        };
        let mut problem = TokenProblem::UnknownKey(token.key_id.as_deref().unwrap_or_default().into());
        for key in named {
            match &key.usable {
                Ok((algorithm, key)) if *algorithm == token.algorithm => return Ok(key),
                Ok(_) => problem = TokenProblem::KeyOfOtherAlgorithm,
                Err(bad) => problem = TokenProblem::BadKey(*bad),
            }
        }
        Err(problem)
    }
}

impl Key {
    fn parse(json: &str) -> Self {
        let Ok(jwk) = serde_json::from_str::<Jwk>(json) else {
            return Self { id: None, usable: Err(KeyProblem::Malformed) };
        };
        Self { usable: usable(&jwk), id: jwk.common.key_id }
    }
}

fn usable(jwk: &Jwk) -> Result<(Algorithm, DecodingKey), KeyProblem> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        AlgorithmParameters::OctetKey(_) => return Err(KeyProblem::Symmetric),
        _ => return Err(KeyProblem::Type),
    };
    if jwk.common.key_algorithm.is_some_and(|named| named != KeyAlgorithm::from(algorithm)) {
        return Err(KeyProblem::Algorithm);
    }
    let signs = jwk.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let verifies = jwk.common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    if !signs || !verifies {
        return Err(KeyProblem::Use);
    }
    let key = DecodingKey::from_jwk(jwk).map_err(|_| KeyProblem::Malformed)?;
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, .. } if !(2_048..=8_192).contains(&bits(n)) => Err(KeyProblem::RsaSize),
        _ => Ok((algorithm, key)),
    }
}

fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let number = &number[zeros..];
    number.len() * 8 - number.first().map_or(0, |first| first.leading_zeros() as usize)
}
