//! TLS towards another server.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use crate::client::Error;

pub(super) fn config(ca: Option<&[u8]>, identity: Option<&(Vec<u8>, Zeroizing<Vec<u8>>)>) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    let trusted = match ca {
        Some(pem) => certificates(pem, "TF_HTTP_CLIENT_CA_CERTIFICATE_PEM")?,
        // Some systems have odd certificates among good ones; a server that needs them is refused later.
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(trusted);
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for the default versions")
        .with_root_certificates(roots);
    let Some((certificate, key)) = identity else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(certificate, "TF_HTTP_CLIENT_CERTIFICATE_PEM")?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| unusable("TF_HTTP_CLIENT_PRIVATE_KEY_PEM"))?;
    builder.with_client_auth_cert(chain, key).map_err(|_| unusable("TF_HTTP_CLIENT_CERTIFICATE_PEM"))
}

fn certificates(pem: &[u8], name: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| unusable(name))
}

fn unusable(name: &str) -> Error {
    Error::caller(format!("what {name} has cannot be used")).with_next("it takes the text of a PEM file, not its name")
}
