//! Keys over the network: every way in which they cannot be had.

use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;

use super::*;
use crate::serve::oidc::problem::KeysProblem;

async fn problem_with(change: impl FnOnce(&JwksServer, &Issuer)) -> KeysProblem {
    let issuer = Issuer::new("k", KeyKind::P256);
    let server = JwksServer::start(&jwks(&[issuer.jwk()])).await;
    change(&server, &issuer);
    match issuers(&server.settings()).verify(&issuer.token(&claims()), NOW).await {
        Err(TokenProblem::Keys(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn keys_come_from_the_url() {
    let issuer = Issuer::new("k", KeyKind::Rsa);
    let server = JwksServer::start(&jwks(&[issuer.jwk()])).await;
    let issuers = issuers(&server.settings());
    assert_eq!(server.asked(), 0, "nothing is fetched before it is needed");
    for _ in 0..3 {
        assert!(issuers.verify(&issuer.token(&claims()), NOW).await.is_ok());
    }
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn redirect_is_not_followed() {
    let issuer = Issuer::new("k", KeyKind::P256);
    let elsewhere = JwksServer::start(&jwks(&[issuer.jwk()])).await;
    let to = format!("location: http://{}/keys\r\n", elsewhere.address);
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let problem = problem_with(|server, _| server.answer(status, &to, b"")).await;
        assert_eq!(problem, KeysProblem::Redirected, "{status}");
    }
    assert_eq!(elsewhere.asked(), 0);
}

#[tokio::test]
async fn answer_that_is_no_set_of_keys_is_refused() {
    for (body, expected) in [
        ("", KeysProblem::Malformed),
        ("{", KeysProblem::Malformed),
        ("[]", KeysProblem::Malformed),
        ("{}", KeysProblem::Malformed),
        ("<html>", KeysProblem::Malformed),
        ("{\"keys\": [1, {}, null, {\"kty\": \"RSA\"}]}", KeysProblem::Empty),
        ("{\"keys\": []}", KeysProblem::Empty),
    ] {
        assert_eq!(problem_with(|server, _| server.answer("200 OK", "", body.as_bytes())).await, expected, "{body}");
    }
    let weak = jwks(&[rsa_of_bits("k", 1_024)]);
    assert_eq!(problem_with(|server, _| server.say(&weak)).await, KeysProblem::Empty);
    for (status, code) in [("404 Not Found", 404), ("500 Oh", 500), ("204 No Content", 0)] {
        let problem = problem_with(|server, _| server.answer(status, "", b"")).await;
        assert!(
            problem == KeysProblem::Status(code) || (code == 0 && problem == KeysProblem::Malformed),
            "{status}: {problem:?}"
        );
    }
}

#[tokio::test]
async fn set_of_too_many_keys_is_refused() {
    let many = |count: usize, issuer: &Issuer| {
        let mut keys: Vec<_> = (1..count).map(|n| rsa_of_bits(&n.to_string(), 2_048)).collect();
        keys.push(issuer.jwk());
        jwks(&keys)
    };
    assert_eq!(problem_with(|server, issuer| server.say(&many(65, issuer))).await, KeysProblem::TooMany);
    let issuer = Issuer::new("k", KeyKind::P256);
    let server = JwksServer::start(&many(64, &issuer)).await;
    assert!(issuers(&server.settings()).verify(&issuer.token(&claims()), NOW).await.is_ok());
}

#[tokio::test]
async fn huge_answer_is_refused_with_and_without_a_length() {
    let padded = |issuer: &Issuer, bytes: usize| {
        let keys = jwks(&[issuer.jwk()]).to_string();
        format!("{keys}{}", " ".repeat(bytes - keys.len()))
    };
    let limit = 256 << 10;
    let over = |server: &JwksServer, issuer: &Issuer| server.answer("200 OK", "", padded(issuer, limit + 1).as_bytes());
    assert_eq!(problem_with(over).await, KeysProblem::TooLarge);
    let endless = |server: &JwksServer, issuer: &Issuer| {
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
        server.raw(format!("{head}{}", padded(issuer, 4 << 20)).into_bytes());
    };
    assert_eq!(problem_with(endless).await, KeysProblem::TooLarge);
    let issuer = Issuer::new("k", KeyKind::P256);
    let server = JwksServer::start(&jwks(&[])).await;
    server.answer("200 OK", "", padded(&issuer, limit).as_bytes());
    assert!(issuers(&server.settings()).verify(&issuer.token(&claims()), NOW).await.is_ok(), "one byte less is taken");
}

#[tokio::test]
async fn unreachable_or_broken_server_is_named() {
    let issuer = Issuer::new("k", KeyKind::P256);
    let mut server = JwksServer::start(&jwks(&[issuer.jwk()])).await;
    server.stop().await;
    let refused = issuers(&server.settings()).verify(&issuer.token(&claims()), NOW).await.unwrap_err();
    assert!(refused.is_temporary());
    assert!(refused.to_string().contains(&server.address.to_string()), "{refused}");
    let cut = |server: &JwksServer, _: &Issuer| server.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"keys\"".to_vec());
    assert!(matches!(problem_with(cut).await, KeysProblem::Unreachable(_)));
    let closed = |server: &JwksServer, _: &Issuer| server.raw(Vec::new());
    assert!(matches!(problem_with(closed).await, KeysProblem::Unreachable(_)));
}

/// Time stands still until everybody waits, and then leaps: the five seconds take none.
#[tokio::test(start_paused = true)]
async fn server_that_does_not_answer_is_given_up() {
    let asking = tokio::spawn(problem_with(|server, _| server.hold()));
    tokio::time::sleep(std::time::Duration::from_millis(4_900)).await;
    assert!(!asking.is_finished(), "it has five seconds");
    assert_eq!(asking.await.unwrap(), KeysProblem::Slow);
}

#[tokio::test]
async fn private_issuer_is_trusted_by_its_ca_and_not_without() {
    let issuer = Issuer::new("k", KeyKind::P256);
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let server = JwksServer::start_with(&jwks(&[issuer.jwk()]), Some(Arc::new(tls).into())).await;
    let mut ca = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut ca, made.cert.pem().as_bytes()).unwrap();
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let mut other_ca = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut other_ca, other.cert.pem().as_bytes()).unwrap();
    let verify = async |file: &tempfile::NamedTempFile| {
        let keys = format!("jwks_url = 'https://{}/keys'\nca = '{}'", server.address, file.path().display());
        issuers(&keys).verify(&issuer.token(&claims()), NOW).await
    };
    assert!(verify(&ca).await.is_ok());
    let refused = verify(&other_ca).await;
    assert!(
        matches!(&refused, Err(TokenProblem::Keys(KeysProblem::Unreachable(why))) if why.contains("certificate")),
        "{refused:?}"
    );
    assert_eq!(server.asked(), 1, "a server that is not trusted is asked nothing");
}
