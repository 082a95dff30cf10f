//! Servers with TLS.

use std::io::Write;

use crate::fake::FakeServer;
use crate::process::end;

#[test]
fn server_is_trusted_by_its_ca_and_not_without() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let server = FakeServer::start_tls(&certificate, &key);
    let mut ca = tempfile::NamedTempFile::new().unwrap();
    ca.write_all(certificate.as_bytes()).unwrap();
    let url = format!("https://{}", server.address());
    let list = |more: &[&str]| {
        let args = [&["env", "list", "--retry-for", "0s", "--server", &url], more].concat();
        end(&mut server.leasehold(&args))
    };
    let trusted = list(&["--ca-file", ca.path().to_str().unwrap()]);
    assert_eq!(trusted.code, 0, "{}", trusted.err);
    list(&[]).fails_with(7, "certificate", "check the address");
    list(&["--ca-file", "/no/such/file"]).fails_with(2, "/no/such/file", "--ca-file");
}
