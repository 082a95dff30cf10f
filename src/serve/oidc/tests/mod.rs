//! Tokens against issuers that the tests run: keys are made here, times are virtual, only the sockets are real.

mod bindings;
mod fetching;
mod issuer;
mod refused;
mod rotation;
mod server;

use issuer::{Issuer, KeyKind, rsa_of_bits};
use serde_json::{Value, json};
use server::JwksServer;

use super::{Binding, BindingError, Issuers, TokenProblem, Verified};
use crate::serve::config::Config;

/// The time of the tests, in Unix seconds.
const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://ci.example";

/// What a good token says.
fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "leasehold", "sub": "repo:acme/infra", "exp": NOW + 300, "nbf": NOW, "iat": NOW,
        "repository": "acme/infra",
    })
}

/// The same with other values; null takes one away.
fn claims_with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn bindings(settings: &str) -> Result<Vec<Binding>, BindingError> {
    let config: Config = toml::from_str(settings).unwrap();
    config.oidc.into_iter().map(Binding::try_from).collect()
}

/// One binding `ci`, with its keys from `keys`, such as `jwks_file = '…'`.
fn issuers(keys: &str) -> Issuers {
    let settings =
        format!("[[oidc]]\nname = 'ci'\nissuer = '{ISSUER}'\naudience = 'leasehold'\n{keys}\nclaims.repository = 'acme/infra'\n");
    Issuers::new(bindings(&settings).unwrap()).unwrap()
}

/// The same with the keys of these issuers in a file, all of which sign.
struct InFile {
    issuers: Issuers,
    _file: tempfile::NamedTempFile,
}

impl InFile {
    fn new(jwks: &Value) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), jwks.to_string()).unwrap();
        Self { issuers: issuers(&format!("jwks_file = '{}'", file.path().display())), _file: file }
    }

    async fn verify(&self, token: &str) -> Result<Verified, TokenProblem> {
        self.issuers.verify(token, NOW).await
    }
}

fn jwks(keys: &[Value]) -> Value {
    json!({ "keys": keys })
}
