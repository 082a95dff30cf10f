//! Certificates, keys and client authorities, and what becomes of connections when they change.

use rustls::{HandshakeKind, NamedGroup};

use super::authority::{Asking, Authority, HOUR, NOW, Secured, client, valid};
use super::*;

#[tokio::test]
async fn new_certificate_is_served_and_open_connections_stay() {
    let server = Secured::start(None).await;
    let first = server.client(None);
    let mut before = Asking::over(server.connect(&Arc::new(first.clone())).await.unwrap()).await.unwrap();
    let new = server.renew();
    assert_eq!(server.ask(first).await, None, "the old certificate is gone");
    assert_eq!(server.ask(client(&new, None, rustls::DEFAULT_VERSIONS)).await.as_deref(), Some("nobody"));
    assert_eq!(before.ask().await, Some((200, "nobody".to_owned())));
    server.close().await;
}

#[tokio::test]
async fn files_are_looked_at_while_the_door_serves() {
    let server = Secured::start(None).await;
    let first = server.client(None);
    assert_eq!(server.ask(first.clone()).await.as_deref(), Some("nobody"));
    let new = server.replace();
    // Nothing happens but timers, and what they start.
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(11)).await;
    tokio::time::resume();
    assert_eq!(server.ask(first).await, None);
    assert_eq!(server.ask(client(&new, None, rustls::DEFAULT_VERSIONS)).await.as_deref(), Some("nobody"));
    server.close().await;
}

#[tokio::test]
async fn key_exchange_is_safe_from_quantum_computers_with_clients_that_can() {
    let server = Secured::start(None).await;
    let negotiated = async |config: rustls::ClientConfig| {
        let stream = server.connect(&Arc::new(config)).await.unwrap();
        stream.get_ref().1.negotiated_key_exchange_group().unwrap().name()
    };
    assert_eq!(negotiated(server.client(None)).await, NamedGroup::X25519MLKEM768);
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
    let plain = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(server.roots())
        .with_no_client_auth();
    assert_eq!(negotiated(plain).await, NamedGroup::X25519);
    server.close().await;
}

#[tokio::test]
async fn client_is_known_by_its_certificate() {
    let authority = Authority::new();
    for required in [false, true] {
        let server = Secured::start(Some((&authority, required))).await;
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let runner = authority.client("runner.acme.example");
            let who = server.ask(server.client_of_version(Some(&runner), version)).await;
            assert_eq!(who.as_deref(), Some("cert:dns:runner.acme.example"));
            let without = server.ask(server.client_of_version(None, version)).await;
            assert_eq!(without.as_deref(), (!required).then_some("nobody"), "required: {required}");
        }
        server.close().await;
    }
}

#[tokio::test]
async fn certificate_that_is_not_right_is_refused_in_the_handshake() {
    let (authority, other) = (Authority::new(), Authority::new());
    for required in [false, true] {
        let server = Secured::start(Some((&authority, required))).await;
        for (what, identity) in [
            ("another CA", other.client("a")),
            ("expired", authority.client_with("a", |params| valid(params, NOW - HOUR, NOW - 1))),
            ("not yet valid", authority.client_with("a", |params| valid(params, NOW + 1, NOW + HOUR))),
            (
                "a server's",
                authority.client_with("a", |params| {
                    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
                }),
            ),
        ] {
            for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
                assert_eq!(server.ask(server.client_of_version(Some(&identity), version)).await, None, "{what}");
            }
        }
        let stats = server.close().await;
        assert_eq!((stats.accepted, stats.failed), (8, 8), "{stats:?}");
    }
}

#[tokio::test]
async fn certificate_is_not_asked_for_without_an_authority() {
    let server = Secured::start(None).await;
    assert_eq!(server.ask(server.client(Some(&Authority::new().client("a")))).await.as_deref(), Some("nobody"));
    server.close().await;
}

/// Whoever resumes a session brings the certificate of the first handshake along, unverified.
#[tokio::test]
async fn session_is_not_resumed_with_client_certificates() {
    let authority = Authority::new();
    let runner = authority.client("a");
    for (clients, expected) in [(None, HandshakeKind::Resumed), (Some((&authority, false)), HandshakeKind::Full)] {
        let server = Secured::start(clients).await;
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let config = Arc::new(server.client_of_version(Some(&runner), version));
            let mut first = Asking::over(server.connect(&config).await.unwrap()).await.unwrap();
            first.ask().await.unwrap();
            let second = server.connect(&config).await.unwrap();
            assert_eq!(second.get_ref().1.handshake_kind(), Some(expected), "{version:?}");
        }
        server.close().await;
    }
}

#[tokio::test]
async fn authority_that_is_replaced_lets_nobody_in_and_nobody_stay() {
    let (old, new) = (Authority::new(), Authority::new());
    for required in [false, true] {
        let server = Secured::start(Some((&old, required))).await;
        let config = Arc::new(server.client(Some(&old.client("a"))));
        let mut open = Asking::over(server.connect(&config).await.unwrap()).await.unwrap();
        assert_eq!(open.ask().await, Some((200, "cert:dns:a".to_owned())));
        server.trust(&new);
        // The request may come before the end of the connection.
        let answer = open.ask().await;
        assert!(answer.as_ref().is_none_or(|(status, _)| *status == 401), "{answer:?}");
        assert!(open.is_closed().await);
        assert_eq!(server.ask(config.as_ref().clone()).await, None);
        assert_eq!(server.ask(server.client(Some(&new.client("b")))).await.as_deref(), Some("cert:dns:b"));
        server.close().await;
    }
}

#[tokio::test]
async fn stream_ends_when_the_authority_of_its_client_is_replaced() {
    let old = Authority::new();
    let server = Secured::start(Some((&old, true))).await;
    let config = Arc::new(server.client(Some(&old.client("a"))));
    let mut open = Asking::over(server.connect(&config).await.unwrap()).await.unwrap();
    let mut stream = open.endless().await.into_body();
    server.trust(&Authority::new());
    let next = std::future::poll_fn(|cx| hyper::body::Body::poll_frame(std::pin::Pin::new(&mut stream), cx));
    assert!(within(next).await.is_none_or(|frame| frame.is_err()));
    server.close().await;
}

#[tokio::test]
async fn stream_ends_when_the_certificate_of_its_client_does() {
    let authority = Authority::new();
    let server = Secured::start(Some((&authority, true))).await;
    let config = Arc::new(server.client(Some(&authority.client("a"))));
    let mut open = Asking::over(server.connect(&config).await.unwrap()).await.unwrap();
    let mut stream = open.endless().await.into_body();
    server.clock.set(NOW + HOUR + 60);
    // Nothing happens any more but timers: the one that looks at the certificate is among them.
    tokio::time::pause();
    let next = std::future::poll_fn(|cx| hyper::body::Body::poll_frame(std::pin::Pin::new(&mut stream), cx));
    let ended = timeout(Duration::from_secs(120), next).await.expect("nobody looked at the certificate");
    assert!(ended.is_none_or(|frame| frame.is_err()));
    tokio::time::resume();
    server.close().await;
}

#[tokio::test]
async fn connection_survives_a_reload_that_still_trusts_its_certificate() {
    let authority = Authority::new();
    let server = Secured::start(Some((&authority, true))).await;
    let config = Arc::new(server.client(Some(&authority.client("a"))));
    let mut open = Asking::over(server.connect(&config).await.unwrap()).await.unwrap();
    server.renew();
    assert_eq!(open.ask().await, Some((200, "cert:dns:a".to_owned())));
    server.close().await;
}

#[tokio::test]
async fn connection_ends_when_its_certificate_does() {
    let authority = Authority::new();
    let server = Secured::start(Some((&authority, false))).await;
    let config = Arc::new(server.client(Some(&authority.client("a"))));
    let mut open = Asking::over(server.connect(&config).await.unwrap()).await.unwrap();
    server.clock.set(NOW + HOUR);
    assert_eq!(open.ask().await, Some((200, "cert:dns:a".to_owned())), "its last second");
    server.clock.set(NOW + HOUR + 60);
    let (status, said) = open.ask().await.unwrap();
    assert_eq!(status, 401);
    assert!(said.contains("connect again"), "{said}");
    assert!(open.is_closed().await);
    assert_eq!(server.ask(config.as_ref().clone()).await, None);
    server.close().await;
}

#[test]
fn client_authority_that_is_none_is_refused() {
    let server = Certificate::new();
    let ca = server.folder.path().join("clients.pem");
    let open = || {
        let clients = Some(tls::Clients { ca: ca.clone(), required: true });
        tls::Tls::open(tls::Files { certificates: server.certificate(), key: server.key(), clients }).err()
    };
    assert!(matches!(open(), Some(tls::TlsError::Unreadable { .. })));
    for text in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&ca, text).unwrap();
        assert!(matches!(open(), Some(tls::TlsError::NoCertificate { .. } | tls::TlsError::Unusable(_))), "{text}");
    }
}
