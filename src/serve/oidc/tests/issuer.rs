//! An issuer with a key of its own, which signs with aws-lc directly: the code under test does not make its own tokens.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug)]
pub(super) enum KeyKind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

pub(super) struct Issuer {
    pub(super) id: String,
    key: Key,
}

enum Key {
    Rsa(RsaKeyPair),
    Ecdsa(KeyKind, EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Issuer {
    pub(super) fn new(id: &str, kind: KeyKind) -> Self {
        let key = match kind {
            KeyKind::Rsa => Key::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
            KeyKind::P256 => Key::Ecdsa(kind, EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            KeyKind::P384 => Key::Ecdsa(kind, EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()),
            KeyKind::Ed25519 => Key::Ed25519(Ed25519KeyPair::generate().unwrap()),
        };
        Self { id: id.to_owned(), key }
    }

    pub(super) fn algorithm(&self) -> &'static str {
        match &self.key {
            Key::Rsa(_) => "RS256",
            Key::Ecdsa(KeyKind::P384, _) => "ES384",
            Key::Ecdsa(..) => "ES256",
            Key::Ed25519(_) => "EdDSA",
        }
    }

    pub(super) fn jwk(&self) -> Value {
        match &self.key {
            Key::Rsa(key) => {
                let (n, e) = (key.public_key().modulus(), key.public_key().exponent());
                let (n, e) = (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
                json!({"kty": "RSA", "kid": self.id, "use": "sig", "alg": "RS256", "n": encoded(n), "e": encoded(e)})
            }
            Key::Ecdsa(kind, key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at((key.public_key().as_ref().len() - 1) / 2);
                let curve = if matches!(kind, KeyKind::P256) { "P-256" } else { "P-384" };
                json!({"kty": "EC", "kid": self.id, "crv": curve, "x": encoded(x), "y": encoded(y)})
            }
            Key::Ed25519(key) => json!({"kty": "OKP", "kid": self.id, "crv": "Ed25519", "x": encoded(key.public_key().as_ref())}),
        }
    }

    /// The public key in the form that is found in PEM files.
    pub(super) fn public_der(&self) -> Vec<u8> {
        match &self.key {
            Key::Rsa(key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
            Key::Ecdsa(_, key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
            Key::Ed25519(key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
        }
    }

    /// A token with the header that belongs to the key.
    pub(super) fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": self.algorithm(), "kid": self.id, "typ": "JWT"}), claims)
    }

    pub(super) fn token_with(&self, header: &Value, claims: &Value) -> String {
        let signed = signed_part(header, claims);
        let signature = self.sign(signed.as_bytes());
        format!("{signed}.{}", encoded(&signature))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Key::Ecdsa(_, key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Key::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }
}

/// A JWK with a modulus of so many bits, of which nobody knows the factors.
pub(super) fn rsa_of_bits(id: &str, bits: usize) -> Value {
    let mut modulus = vec![0xa5; bits.div_ceil(8)];
    modulus[0] = 0xff >> (modulus.len() * 8 - bits);
    json!({"kty": "RSA", "kid": id, "alg": "RS256", "n": encoded(&modulus), "e": "AQAB"})
}

pub(super) fn signed_part(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encoded(header.to_string().as_bytes()), encoded(claims.to_string().as_bytes()))
}

pub(super) fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Another valid signature of the same part: (r, n - s) for (r, s). Anybody can make it.
pub(super) fn other_ecdsa_signature(token: &str) -> String {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
        0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER).rev() {
        let difference = i16::from(order) - i16::from(*byte) - borrow;
        borrow = i16::from(difference < 0);
        *byte = (difference & 0xff) as u8;
    }
    format!("{signed}.{}", encoded(&signature))
}
