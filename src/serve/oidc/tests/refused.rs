//! Every token that is not taken, and the reason that the log has.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::issuer::{encoded, other_ecdsa_signature, signed_part};
use super::*;
use crate::serve::oidc::problem::{KeyProblem, KeysProblem};
use crate::serve::oidc::{MAX_TOKEN, looks_like_jwt};

const KINDS: [KeyKind; 3] = [KeyKind::Rsa, KeyKind::P256, KeyKind::Ed25519];

/// An issuer of this kind, and a server that knows its key.
fn pair(kind: KeyKind) -> (Issuer, InFile) {
    let issuer = Issuer::new("k1", kind);
    let server = InFile::new(&jwks(&[issuer.jwk()]));
    (issuer, server)
}

#[tokio::test]
async fn token_of_every_algorithm_is_taken() {
    for kind in KINDS {
        let (issuer, server) = pair(kind);
        let token = issuer.token(&claims());
        assert!(looks_like_jwt(&token));
        let verified = server.verify(&token).await.unwrap();
        assert_eq!(verified.principal.as_str(), "oidc:ci:repo:acme/infra", "{kind:?}");
        assert_eq!((verified.binding.as_str(), verified.subject.as_str()), ("ci", "repo:acme/infra"));
        assert_eq!(verified.expires, NOW + 300);
    }
}

#[tokio::test]
async fn token_without_its_times_or_names_is_refused() {
    let (issuer, server) = pair(KeyKind::P256);
    for (name, problem) in [
        ("exp", TokenProblem::Claim("exp")),
        ("sub", TokenProblem::Claim("sub")),
        ("aud", TokenProblem::Audience),
        ("repository", TokenProblem::Rule("repository".into())),
    ] {
        assert_eq!(server.verify(&issuer.token(&claims_with(json!({ name: null })))).await, Err(problem), "{name}");
    }
    let without_issuer = server.verify(&issuer.token(&claims_with(json!({"iss": null})))).await;
    assert!(matches!(without_issuer, Err(TokenProblem::Malformed(_))), "{without_issuer:?}");
    for times in [json!({"nbf": null}), json!({"iat": null}), json!({"exp": NOW as f64 + 300.5})] {
        assert!(server.verify(&issuer.token(&claims_with(times.clone()))).await.is_ok(), "{times}");
    }
    for (name, odd) in [("exp", json!("soon")), ("exp", json!(-1)), ("nbf", json!([])), ("iat", json!({}))] {
        assert_eq!(server.verify(&issuer.token(&claims_with(json!({ name: odd })))).await, Err(TokenProblem::Claim(name)));
    }
    for odd in [json!(""), json!(5), json!(["a"])] {
        assert_eq!(server.verify(&issuer.token(&claims_with(json!({"sub": odd})))).await, Err(TokenProblem::Claim("sub")));
    }
}

#[tokio::test]
async fn token_is_valid_between_its_times_give_or_take_the_leeway() {
    let (issuer, server) = pair(KeyKind::P256);
    let at = async |exp: u64, begins: &str, begin: u64| {
        let claims = claims_with(json!({"exp": exp, "nbf": null, "iat": null, begins: begin}));
        server.verify(&issuer.token(&claims)).await.map(drop)
    };
    assert_eq!(at(NOW + 1, "nbf", NOW).await, Ok(()));
    assert_eq!(at(NOW - 29, "nbf", NOW).await, Ok(()), "clocks differ");
    assert_eq!(at(NOW - 30, "nbf", NOW).await, Err(TokenProblem::Expired(NOW - 30)));
    assert_eq!(at(0, "nbf", NOW).await, Err(TokenProblem::Expired(0)));
    assert_eq!(at(u64::MAX, "nbf", NOW).await, Ok(()));
    for begins in ["nbf", "iat"] {
        assert_eq!(at(NOW + 90, begins, NOW + 30).await, Ok(()), "{begins}: clocks differ");
        assert_eq!(at(NOW + 90, begins, NOW + 31).await, Err(TokenProblem::NotYet(NOW + 31)), "{begins}");
    }
}

#[tokio::test]
async fn token_of_another_issuer_or_for_another_audience_is_refused() {
    let (issuer, server) = pair(KeyKind::P256);
    for other in
        ["https://ci.example/", "https://CI.example", "http://ci.example", "https://ci.example.evil", "", "https://ci.exampl"]
    {
        let refused = server.verify(&issuer.token(&claims_with(json!({"iss": other})))).await;
        assert_eq!(refused, Err(TokenProblem::Issuer(other.into())));
    }
    for other in
        [json!("Leasehold"), json!("leasehold "), json!(""), json!([]), json!(["a", "b"]), json!({"leasehold": 1}), json!(7)]
    {
        let refused = server.verify(&issuer.token(&claims_with(json!({ "aud": other })))).await;
        assert_eq!(refused, Err(TokenProblem::Audience));
    }
    assert!(server.verify(&issuer.token(&claims_with(json!({"aud": ["a", "leasehold"]})))).await.is_ok());
    let listed = server.verify(&issuer.token(&claims_with(json!({"iss": [ISSUER]})))).await;
    assert!(matches!(listed, Err(TokenProblem::Malformed(_))), "{listed:?}");
}

#[tokio::test]
async fn unsigned_token_is_refused() {
    let (issuer, server) = pair(KeyKind::Rsa);
    for algorithm in ["none", "None", "NONE", "nOnE", ""] {
        let part = signed_part(&json!({"alg": algorithm, "kid": "k1"}), &claims());
        for signature in ["", "AAAA"] {
            assert_eq!(server.verify(&format!("{part}.{signature}")).await, Err(TokenProblem::Algorithm), "{algorithm:?}");
        }
    }
    let token = issuer.token(&claims());
    let (part, _) = token.rsplit_once('.').unwrap();
    assert!(matches!(server.verify(&format!("{part}.")).await, Err(TokenProblem::Malformed(_))));
    assert_eq!(server.verify(&format!("{part}.AAAA")).await, Err(TokenProblem::Signature));
}

#[tokio::test]
async fn public_key_as_a_shared_secret_is_refused() {
    for kind in KINDS {
        let (issuer, server) = pair(kind);
        let der = issuer.public_der();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", encoded(&der));
        let jwk = issuer.jwk().to_string();
        for secret in [der.as_slice(), pem.as_bytes(), jwk.as_bytes(), b""] {
            for algorithm in ["HS256", "HS384", "HS512"] {
                let part = signed_part(&json!({"alg": algorithm, "kid": "k1"}), &claims());
                let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
                mac.update(part.as_bytes());
                let token = format!("{part}.{}", encoded(&mac.finalize().into_bytes()));
                assert_eq!(server.verify(&token).await, Err(TokenProblem::Algorithm), "{kind:?}");
            }
        }
    }
}

#[tokio::test]
async fn algorithm_is_that_of_the_key_and_not_of_the_token() {
    for signer in KINDS {
        for named in KINDS {
            let (signer, named) = (Issuer::new("k1", signer), Issuer::new("k1", named));
            if signer.algorithm() == named.algorithm() {
                continue;
            }
            let server = InFile::new(&jwks(&[named.jwk()]));
            let own = server.verify(&signer.token(&claims())).await;
            assert_eq!(own, Err(TokenProblem::KeyOfOtherAlgorithm));
            let pretended = json!({"alg": named.algorithm(), "kid": "k1"});
            assert_eq!(server.verify(&signer.token_with(&pretended, &claims())).await, Err(TokenProblem::Signature));
        }
    }
    let (rsa, server) = pair(KeyKind::Rsa);
    for family in ["RS384", "RS512", "PS256", "ES384", "ES256K", "rs256", "Ed25519"] {
        let token = rsa.token_with(&json!({"alg": family, "kid": "k1"}), &claims());
        assert_eq!(server.verify(&token).await, Err(TokenProblem::Algorithm), "{family}");
    }
}

#[tokio::test]
async fn signature_of_another_key_or_of_other_claims_is_refused() {
    for kind in KINDS {
        let (issuer, server) = pair(kind);
        let stranger = Issuer::new("k1", kind);
        assert_eq!(server.verify(&stranger.token(&claims())).await, Err(TokenProblem::Signature), "{kind:?}");
        let token = issuer.token(&claims());
        let (_, signature) = token.rsplit_once('.').unwrap();
        let header = json!({"alg": issuer.algorithm(), "kid": "k1", "typ": "JWT"});
        let better = signed_part(&header, &claims_with(json!({"sub": "repo:acme/root"})));
        assert_eq!(server.verify(&format!("{better}.{signature}")).await, Err(TokenProblem::Signature), "{kind:?}");
    }
}

#[tokio::test]
async fn every_byte_of_a_token_counts() {
    let (issuer, server) = pair(KeyKind::Ed25519);
    let token = issuer.token(&claims());
    for at in 0..token.len() {
        for other in [b'A', b'B', b'.', b'='] {
            let mut bytes = token.clone().into_bytes();
            if std::mem::replace(&mut bytes[at], other) != other {
                let changed = String::from_utf8(bytes).unwrap();
                assert!(server.verify(&changed).await.is_err(), "byte {at} as {}", other as char);
            }
        }
    }
    for cut in 0..token.len() {
        assert!(server.verify(&token[..cut]).await.is_err(), "cut at {cut}");
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let (issuer, server) = pair(KeyKind::P256);
    let token = issuer.token(&claims());
    let five = format!("{token}.a.b");
    for text in
        ["", ".", "..", "...", "eyJ", "lh_abc", "eyJ..", "e30.e30.e30", "bnVsbA.e30.AA", "a b.c.d", five.as_str(), "ü.ü.ü"]
    {
        assert!(matches!(server.verify(text).await, Err(TokenProblem::Malformed(_))), "{text}");
    }
    let deep = format!("eyJhbGciOiJSUzI1NiJ9.{}.AA", encoded("[".repeat(9_000).as_bytes()));
    assert!(matches!(server.verify(&deep).await, Err(TokenProblem::Malformed(_))));
    let twice = format!("{}.{}.AA", encoded(br#"{"alg":"none","alg":"ES256"}"#), encoded(claims().to_string().as_bytes()));
    assert!(matches!(server.verify(&twice).await, Err(TokenProblem::Malformed(_))));
    for (header, problem) in [
        (json!({"alg": "ES256", "kid": "k1", "crit": ["b64"], "b64": false}), TokenProblem::Critical),
        (json!({"alg": "ES256", "kid": "k1", "crit": []}), TokenProblem::Critical),
    ] {
        assert_eq!(server.verify(&issuer.token_with(&header, &claims())).await, Err(problem));
    }
    for (no_jwt, why) in [("lh_abc", "an API token"), ("eyJ.a", "two parts"), ("eyJ.a.b.c", "four"), ("x.y.z", "no JSON")] {
        assert!(!looks_like_jwt(no_jwt), "{why}");
    }
}

#[tokio::test]
async fn oversized_token_is_refused_before_it_is_decoded() {
    let (issuer, server) = pair(KeyKind::P256);
    let padded = |bytes: usize| issuer.token(&claims_with(json!({"padding": "x".repeat(bytes)})));
    let (fits, over) = (padded(11_800), padded(12_200));
    assert!(fits.len() <= MAX_TOKEN && over.len() > MAX_TOKEN);
    assert!(server.verify(&fits).await.is_ok());
    assert_eq!(server.verify(&over).await, Err(TokenProblem::TooLong(over.len())));
    let garbage = "\0".repeat(MAX_TOKEN + 1);
    assert_eq!(server.verify(&garbage).await, Err(TokenProblem::TooLong(garbage.len())), "its form was not looked at");
}

#[tokio::test]
async fn key_that_is_weak_or_not_for_this_is_refused() {
    let good = Issuer::new("good", KeyKind::P256);
    let rsa = Issuer::new("k", KeyKind::Rsa);
    let with = |name: &str, value: Value| {
        let mut jwk = rsa.jwk();
        jwk[name] = value;
        jwk
    };
    for (jwk, problem) in [
        (rsa_of_bits("k", 1_024), KeyProblem::RsaSize),
        (rsa_of_bits("k", 2_047), KeyProblem::RsaSize),
        (rsa_of_bits("k", 8_193), KeyProblem::RsaSize),
        (with("n", json!("")), KeyProblem::RsaSize),
        (with("n", json!("%%")), KeyProblem::Malformed),
        (with("alg", json!("RS512")), KeyProblem::Algorithm),
        (with("alg", json!("HS256")), KeyProblem::Algorithm),
        (with("alg", json!("ES256")), KeyProblem::Algorithm),
        (with("alg", json!("something new")), KeyProblem::Algorithm),
        (with("use", json!("enc")), KeyProblem::Use),
        (with("key_ops", json!(["sign"])), KeyProblem::Use),
        (json!({"kty": "oct", "kid": "k", "k": "c2VjcmV0"}), KeyProblem::Symmetric),
        (Issuer::new("k", KeyKind::P384).jwk(), KeyProblem::Type),
        (json!({"kty": "OKP", "kid": "k", "crv": "X25519", "x": "AA"}), KeyProblem::Type),
        (json!({"kty": "new", "kid": "k"}), KeyProblem::Type),
    ] {
        let server = InFile::new(&jwks(&[good.jwk(), jwk.clone()]));
        assert_eq!(server.verify(&rsa.token(&claims())).await, Err(TokenProblem::BadKey(problem)), "{jwk}");
        assert!(server.verify(&good.token(&claims())).await.is_ok(), "one bad key does not spoil the others");
    }
    for jwk in [with("key_ops", json!(["verify"])), with("alg", Value::Null), with("x5c", json!(["AAAA"]))] {
        let server = InFile::new(&jwks(std::slice::from_ref(&jwk)));
        assert!(server.verify(&rsa.token(&claims())).await.is_ok(), "{jwk}");
    }
}

#[tokio::test]
async fn key_that_the_token_does_not_name_is_used_only_if_it_is_the_only_one() {
    let (one, two) = (Issuer::new("one", KeyKind::P256), Issuer::new("two", KeyKind::P256));
    let token = one.token_with(&json!({"alg": "ES256"}), &claims());
    assert!(InFile::new(&jwks(&[one.jwk()])).verify(&token).await.is_ok());
    assert_eq!(InFile::new(&jwks(&[one.jwk(), two.jwk()])).verify(&token).await, Err(TokenProblem::NoKeyId));
    let unknown = InFile::new(&jwks(&[one.jwk()])).verify(&two.token(&claims())).await;
    assert_eq!(unknown, Err(TokenProblem::UnknownKey("two".into())));
}

#[tokio::test]
async fn key_id_may_stand_for_keys_of_several_algorithms() {
    let (rsa, p256) = (Issuer::new("k", KeyKind::Rsa), Issuer::new("k", KeyKind::P256));
    let server = InFile::new(&jwks(&[rsa.jwk(), p256.jwk()]));
    assert!(server.verify(&rsa.token(&claims())).await.is_ok());
    assert!(server.verify(&p256.token(&claims())).await.is_ok());
}

#[tokio::test]
async fn subject_that_makes_no_principal_is_refused() {
    let (issuer, server) = pair(KeyKind::P256);
    let subject = async |subject: String| server.verify(&issuer.token(&claims_with(json!({ "sub": subject })))).await.map(drop);
    assert_eq!(subject("s".repeat(256 - "oidc:ci:".len())).await, Ok(()));
    assert_eq!(subject("s".repeat(257 - "oidc:ci:".len())).await, Err(TokenProblem::Subject));
    assert_eq!(subject("repo\u{7}".to_owned()).await, Err(TokenProblem::Subject));
    for look_alike in [
        "repo\nadmin",
        "repo\0",
        "repo\u{200b}",
        "\u{202e}oper",
        "r\u{435}po",
        "re\u{301}po",
        "repo ",
        " repo",
        "re  po",
        "repo:*",
    ] {
        assert_eq!(subject(look_alike.to_owned()).await, Err(TokenProblem::Subject), "{look_alike:?}");
    }
    assert_eq!(subject("repo:acme/infra:environment:Production EU".to_owned()).await, Ok(()));
}

#[tokio::test]
async fn id_is_that_of_the_signed_part() {
    let (issuer, server) = pair(KeyKind::P256);
    let token = issuer.token(&claims());
    let again = other_ecdsa_signature(&token);
    assert_ne!(token, again);
    let (first, second) = (server.verify(&token).await.unwrap(), server.verify(&again).await.unwrap());
    assert_eq!(first.id, second.id, "the same token in other clothes");
    let other = server.verify(&issuer.token(&claims_with(json!({"jti": "2"})))).await.unwrap();
    assert_ne!(first.id, other.id);
}

#[tokio::test]
async fn what_a_log_would_quote_is_short_and_escaped() {
    let (issuer, server) = pair(KeyKind::P256);
    let hostile = format!("x\n\u{1b}[31m{}", "y".repeat(5_000));
    let refused = server.verify(&issuer.token(&claims_with(json!({ "iss": hostile })))).await.unwrap_err();
    let line = refused.to_string();
    assert!(line.len() < 200 && !line.contains(['\n', '\u{1b}']), "{line}");
    assert!(!refused.is_temporary());
    assert!(TokenProblem::Keys(KeysProblem::Slow).is_temporary());
}
