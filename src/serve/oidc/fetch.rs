//! Reads the keys of an issuer, from its URL or from a file: bounded in time and size, without redirects.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, USER_AGENT};
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::binding::{Binding, BindingError, Place};
use super::keys::KeySet;
use super::problem::KeysProblem;

/// Time for all of it, from the connection to the last byte.
pub(super) const TIME: Duration = Duration::from_secs(5);
/// The most bytes of a set.
pub(super) const MOST: usize = 256 << 10;

/// Where the keys are, and how to get there.
pub(super) struct Fetch(Way);

type Https = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

enum Way {
    Url(Uri, Box<Https>),
    File(PathBuf),
}

impl Fetch {
    pub(super) fn open(binding: &Binding) -> Result<Self, BindingError> {
        match &binding.keys {
            Place::Url(url) => Ok(Self(Way::Url(url.clone(), Box::new(client(binding, url)?)))),
            Place::File(file) => {
                let failed = |cause| BindingError::File { name: binding.name.clone(), file: file.clone(), cause };
                read_file(file).and_then(|json| KeySet::parse(&json)).map_err(failed)?;
                Ok(Self(Way::File(file.clone())))
            }
        }
    }

    /// What people call it.
    pub(super) fn place(&self) -> String {
        match &self.0 {
            Way::Url(url, _) => url.to_string(),
            Way::File(file) => file.display().to_string(),
        }
    }

    pub(super) async fn keys(&self) -> Result<KeySet, KeysProblem> {
        let json = match &self.0 {
            Way::Url(url, client) => tokio::time::timeout(TIME, get(client, url)).await.map_err(|_| KeysProblem::Slow)??,
            Way::File(file) => {
                let file = file.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&file)).await;
                read.map_err(|error| KeysProblem::Unreachable(error.to_string()))??.into()
            }
        };
        KeySet::parse(&json)
    }
}

async fn get(client: &Https, url: &Uri) -> Result<Bytes, KeysProblem> {
    let request = Request::get(url.clone())
        .header(USER_AGENT, concat!("leasehold/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT_ENCODING, "identity")
        .body(Empty::new())
        .expect("every part was checked before");
    let unreachable =
        |cause: &(dyn std::error::Error + 'static)| KeysProblem::Unreachable(format!("{url}: {}", innermost(cause)));
    let response = client.request(request).await.map_err(|error| unreachable(&error))?;
    match response.status() {
        status if status.is_redirection() => return Err(KeysProblem::Redirected),
        status if !status.is_success() => return Err(KeysProblem::Status(status.as_u16())),
        _ => {}
    }
    match Limited::new(response.into_body(), MOST).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(KeysProblem::TooLarge),
        Err(error) => Err(unreachable(error.as_ref())),
    }
}

fn read_file(file: &Path) -> Result<Vec<u8>, KeysProblem> {
    let mut json = Vec::new();
    let opened = std::fs::File::open(file);
    let read = opened.and_then(|opened| opened.take(MOST as u64 + 1).read_to_end(&mut json));
    read.map_err(|cause| KeysProblem::Unreachable(format!("{}: {cause}", file.display())))?;
    if json.len() > MOST { Err(KeysProblem::TooLarge) } else { Ok(json) }
}

/// A client that follows no redirects, keeps no connections and, for an https URL, knows no other scheme.
fn client(binding: &Binding, url: &Uri) -> Result<Https, BindingError> {
    let https = url.scheme_str() == Some("https");
    let mut roots = RootCertStore::empty();
    if https {
        let trusted = match &binding.ca {
            Some(file) => certificates(file, &binding.name)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        roots.add_parsable_certificates(trusted);
        if roots.is_empty() {
            return Err(match binding.ca.clone() {
                Some(file) => BindingError::Ca { name: binding.name.clone(), file },
                None => BindingError::NoRoots(binding.name.clone()),
            });
        }
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(TIME));
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls);
    let connector = if https { connector.https_only() } else { connector.https_or_http() };
    let connector = connector.enable_http1().wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector))
}

fn certificates(file: &Path, name: &str) -> Result<Vec<CertificateDer<'static>>, BindingError> {
    let (name, file) = (name.to_owned(), file.to_owned());
    let pem = match std::fs::read(&file) {
        Ok(pem) => pem,
        Err(cause) => return Err(BindingError::Unreadable { name, file, cause }),
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    found.map_err(|_| BindingError::Ca { name, file })
}

/// The cause of all causes: the outer ones say "error sending request".
fn innermost<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}
