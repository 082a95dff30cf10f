//! A server that knows its clients by their certificates, and a command line that has one.

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};

use crate::process::{Ended, end};
use crate::rig::{Server, TIGHT};

/// Signs the certificate of the server and those of its clients.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A client's certificate and its key.
    pub(crate) fn client(&self) -> (String, String) {
        let names = vec![SanType::URI("spiffe://acme/runner".try_into().unwrap())];
        self.sign(names, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, names: Vec<SanType>, usage: ExtendedKeyUsagePurpose) -> (String, String) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// The settings of a server that this authority has signed, and whose clients it signs; with the files they name.
    pub(crate) fn settings(&self, server: &Server, more: &str) -> String {
        let loopback = vec![SanType::IpAddress([127, 0, 0, 1].into())];
        let (certificate, key) = self.sign(loopback, ExtendedKeyUsagePurpose::ServerAuth);
        let files = [("cert.pem", certificate), ("key.pem", key), ("ca.pem", self.pem())].map(|(name, text)| {
            write_private(&server.file(name), &text);
            server.file(name)
        });
        let [certificate, key, ca] = &files;
        format!("tls_cert = {certificate:?}\ntls_key = {key:?}\ntls_client_ca = {ca:?}\n{more}\n")
    }
}

fn write_private(file: &std::path::Path, text: &str) {
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// A server with these settings, and a client's certificate in files beside it.
fn start(authority: &Authority, more: &str) -> Server {
    let mut server = Server::stopped("");
    server.set(&format!("{}{TIGHT}", authority.settings(&server, more)));
    let (certificate, key) = authority.client();
    write_private(&server.file("client.pem"), &certificate);
    write_private(&server.file("client.key"), &key);
    server.restart();
    server
}

fn list(server: &Server, certificate: Option<(&str, &str)>) -> Ended {
    let (url, ca) = (server.door().0.replace("http://", "https://"), server.file("ca.pem"));
    let mut command = server.leasehold(&["env", "list", "--retry-for", "0s"]);
    command.env("LEASEHOLD_SERVER", url).env("LEASEHOLD_CA_FILE", ca);
    if let Some((certificate, key)) = certificate {
        command.arg("--client-cert").arg(server.file(certificate)).arg("--client-key").arg(server.file(key));
    }
    end(&mut command)
}

#[test]
fn client_certificate_is_needed_once_there_is_an_authority() {
    let authority = Authority::new();
    let server = start(&authority, "");
    assert_eq!(list(&server, None).code, 7, "a token is not enough");
    assert_eq!(list(&server, Some(("client.pem", "client.key"))).code, 0);
    let (certificate, key) = Authority::new().client();
    write_private(&server.file("other.pem"), &certificate);
    write_private(&server.file("other.key"), &key);
    assert_eq!(list(&server, Some(("other.pem", "other.key"))).code, 7);
    list(&server, Some(("client.pem", "other.key"))).fails_with(2, "the client's certificate and key", "belongs to it");
    list(&server, Some(("none.pem", "client.key"))).fails_with(2, "none.pem", "--client-cert");
    std::fs::set_permissions(server.file("client.key"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    list(&server, Some(("client.pem", "client.key"))).fails_with(2, "open to everybody", "chmod 600");
}

#[test]
fn client_certificate_may_be_optional() {
    let server = start(&Authority::new(), "tls_client = \"optional\"");
    assert_eq!(list(&server, None).code, 0);
    assert_eq!(list(&server, Some(("client.pem", "client.key"))).code, 0);
}

#[test]
fn settings_of_client_certificates_without_their_other_half_are_refused() {
    let authority = Authority::new();
    for (take, missing) in [("tls_cert", ""), ("tls_client_ca", "tls_client = \"optional\"")] {
        let server = Server::stopped("");
        let settings = authority.settings(&server, missing);
        let settings: String =
            settings.lines().filter(|line| !line.starts_with(&format!("{take} "))).map(|l| format!("{l}\n")).collect();
        server.set(&settings);
        let mut command = crate::process::leasehold(&["serve", "--listen", "127.0.0.1:0", "--config"]);
        let ended = end(command.arg(server.file("config.toml")).arg("--data-dir").arg(server.data()));
        assert!(ended.code != 0 && ended.err.contains("tls_"), "{}: {}", ended.code, ended.err);
    }
}
