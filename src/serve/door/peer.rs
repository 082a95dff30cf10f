//! Where a call came from.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

/// Where a call came from: an extension of every request that passes the door.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// The address of the other end of the TCP connection; a proxy's, if there is one.
    pub addr: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The client's own certificate, in DER: the TLS handshake has verified it against the client CA and found it valid then.
    pub certificate: Option<Arc<CertificateDer<'static>>>,
}
