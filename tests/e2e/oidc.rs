//! Workloads with tokens of an issuer, which runs here.

use std::io::{Read, Write};
use std::net::TcpListener;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::UnixTime;
use serde_json::{Value, json};

use crate::process::end;
use crate::rig::{Server, TIGHT};

/// An issuer with a key, and its URL on loopback.
pub(crate) struct Issuer {
    key: Ed25519KeyPair,
    address: std::net::SocketAddr,
}

impl Issuer {
    pub(crate) fn start() -> Self {
        let key = Ed25519KeyPair::generate().unwrap();
        let x = URL_SAFE_NO_PAD.encode(key.public_key());
        let body = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x}]}).to_string();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // The head of one request fits in one read, or in the next ones, of which nothing depends.
                let _ = stream.read(&mut [0; 4_096]);
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            }
        });
        Self { key, address }
    }

    pub(crate) fn settings(&self) -> String {
        format!(
            "[[oidc]]\nname = \"ci\"\nissuer = \"https://ci.example\"\naudience = \"leasehold\"\n\
             jwks_url = \"http://{}/keys\"\nclaims.repository = \"acme/infra\"\n",
            self.address
        )
    }

    /// A token for ten minutes from now, with other claims than the usual ones.
    pub(crate) fn token(&self, changes: &Value) -> String {
        let now = UnixTime::now().as_secs();
        let mut claims = json!({
            "iss": "https://ci.example", "aud": "leasehold", "sub": "repo:acme/infra", "repository": "acme/infra",
            "iat": now, "exp": now + 600,
        });
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({"alg": "EdDSA", "kid": "k"})), part(&claims));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// A server whose pipeline `oidc:ci:repo:acme/infra` may work in `dev`.
pub(crate) fn start(issuer: &Issuer) -> Server {
    let server = Server::start(&format!("{TIGHT}{}", issuer.settings()));
    server.ok(&["access", "grant", "oidc:ci:repo:acme/infra", "pipeline", "dev/**"]);
    server
}

#[test]
fn token_of_an_issuer_does_what_was_granted_to_its_subject() {
    let issuer = Issuer::start();
    let server = start(&issuer);
    let run = |token: &str, state: &str| {
        let args = ["run", "--state", state, "--retry-for", "0s", "--", "true"];
        end(server.leasehold(&args).env("LEASEHOLD_TOKEN", token))
    };
    let token = issuer.token(&json!({}));
    assert_eq!(run(&token, "dev/app").code, 0, "{}", run(&token, "dev/app").err);
    assert_eq!(run(&token, "prod/app").code, 3);
    let ended = UnixTime::now().as_secs() - 60;
    for (what, changes) in [
        ("another subject", json!({"sub": "repo:acme/app"})),
        ("another repository", json!({"repository": "acme/app"})),
        ("another audience", json!({"aud": "elsewhere"})),
        ("expired", json!({ "exp": ended })),
    ] {
        let refused = run(&issuer.token(&changes), "dev/app");
        assert_eq!(refused.code, 3, "{what}: {}", refused.err);
        assert!(!refused.err.contains("acme"), "{what}: {}", refused.err);
    }
    let stranger = Issuer::start();
    assert_eq!(run(&stranger.token(&json!({})), "dev/app").code, 3);
    for told in ["another audience", "claim \"repository\"", "ended at", "signature is wrong"] {
        assert!(server.logged().contains(told), "{told}: {}", server.logged());
    }
}
