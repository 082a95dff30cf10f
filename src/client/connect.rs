//! Settings and the channel made from them.

use std::net::IpAddr;
use std::time::Duration;

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use zeroize::Zeroizing;

use super::error::Error;
use super::secret::ApiToken;

/// Where a server listens unless told otherwise.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:5327";

/// Enough to keep a fast link busy over 50 ms of round trip.
const WINDOW: u32 = 4 << 20;

/// How to reach a server, and as whom.
pub struct Settings {
    /// `http://HOST:PORT`, `https://HOST:PORT` or `HOST:PORT`, which means plain HTTP on loopback and HTTPS elsewhere.
    pub server: String,
    /// The principal's token; without one only lease secrets authenticate.
    pub token: Option<ApiToken>,
    /// PEM certificates to trust instead of the system's.
    pub ca: Option<Vec<u8>>,
    /// The certificate to show to a server that knows its clients by them, and its key.
    pub certificate: Option<ClientCertificate>,
    /// How long calls that may be made twice are tried again after the first failure.
    pub patience: Duration,
}

/// A client's certificate chain and private key, in PEM form.
pub struct ClientCertificate {
    /// The chain, the client's own certificate first.
    pub chain: Vec<u8>,
    /// The key.
    pub key: Zeroizing<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { server: DEFAULT_SERVER.to_owned(), token: None, ca: None, certificate: None, patience: Duration::from_secs(10) }
    }
}

pub(crate) fn endpoint(settings: &Settings) -> Result<Endpoint, Error> {
    let (url, tls) = resolve(&settings.server)?;
    let mut endpoint = Endpoint::from_shared(url)
        .map_err(|_| bad_address(&settings.server))?
        .user_agent(concat!("leasehold/", env!("CARGO_PKG_VERSION")))
        .map_err(|_| bad_address(&settings.server))?
        .connect_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
        .tcp_keepalive(Some(Duration::from_secs(30)))
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_frame_size(256 << 10);
    if tls {
        let config = match &settings.ca {
            Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
            None => ClientTlsConfig::new().with_enabled_roots(),
        };
        let config = match &settings.certificate {
            Some(ClientCertificate { chain, key }) => config.identity(Identity::from_pem(chain, key.as_bytes())),
            None => config,
        };
        endpoint = endpoint.tls_config(config).map_err(|_| {
            Error::caller("the CA certificates, or the client's certificate and key, cannot be used")
                .with_next("give PEM files: the certificates to trust, and a certificate with the key that belongs to it")
        })?;
    }
    Ok(endpoint)
}

/// The URL to connect to, and whether it takes TLS.
fn resolve(server: &str) -> Result<(String, bool), Error> {
    let url = match server.split_once("://") {
        Some(("http" | "https", rest)) if !rest.is_empty() => server.to_owned(),
        Some(_) => return Err(bad_address(server)),
        None if server.is_empty() => return Err(bad_address(server)),
        None => format!("{}://{server}", if on_loopback(server) { "http" } else { "https" }),
    };
    let uri: http::Uri = url.parse().map_err(|_| bad_address(server))?;
    let bare = uri.path() == "/" && uri.query().is_none() && uri.authority().is_some_and(|a| !a.as_str().contains('@'));
    if !bare {
        return Err(bad_address(server));
    }
    Ok((url.clone(), url.starts_with("https://")))
}

fn on_loopback(host_and_port: &str) -> bool {
    let host = host_and_port.rsplit_once(':').map_or(host_and_port, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn bad_address(server: &str) -> Error {
    // An address may carry a password before an `@`: it is not quoted then.
    let shown = if server.contains('@') { "(with credentials in it)" } else { server };
    Error::caller(format!("the server's address cannot be used: {shown}"))
        .with_next("give http://HOST:PORT, https://HOST:PORT or HOST:PORT, such as 127.0.0.1:5327")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_without_a_scheme_is_plain_only_on_loopback() {
        for (server, url) in [
            ("127.0.0.1:5327", "http://127.0.0.1:5327"),
            ("[::1]:5327", "http://[::1]:5327"),
            ("localhost:1", "http://localhost:1"),
            ("state.example.org:5327", "https://state.example.org:5327"),
            ("10.0.0.1:5327", "https://10.0.0.1:5327"),
            ("http://10.0.0.1:5327", "http://10.0.0.1:5327"),
            ("https://127.0.0.1:5327/", "https://127.0.0.1:5327/"),
        ] {
            assert_eq!(resolve(server).unwrap().0, url, "{server}");
        }
    }

    #[test]
    fn address_that_makes_no_sense_is_refused() {
        for server in
            ["", "://", "ftp://x:1", "http://", "http://a b", "https://h/path", "https://h?q", "http://u:pw@h:1", "no spaces"]
        {
            let Err(error) = resolve(server) else { panic!("accepted {server}") };
            assert!(!error.next().is_empty() && !error.to_string().contains("pw"), "{error}");
        }
    }
}
