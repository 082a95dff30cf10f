//! Authorities made by the test, what they sign, and a server that knows its clients by it.

use std::sync::atomic::{AtomicU64, Ordering};

use leasehold::serve::certificate::named;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::time_provider::TimeProvider;

use super::*;

/// The time that the servers of these tests begin with, in Unix seconds: 2027-01-15.
pub(super) const NOW: u64 = 1_800_000_000;
pub(super) const HOUR: u64 = 3_600;

pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) certificate: rcgen::Certificate,
}

/// What a client has.
pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// A clock that is set by hand.
#[derive(Debug)]
pub(super) struct Clock(AtomicU64);

impl Clock {
    pub(super) fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::SeqCst);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::SeqCst))))
    }
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// A client's certificate with this DNS name, valid for an hour around [`NOW`].
    pub(super) fn client(&self, name: &str) -> Identity {
        self.client_with(name, |_| {})
    }

    pub(super) fn client_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        valid(&mut params, NOW - HOUR, NOW + HOUR);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Identity { chain: vec![certificate.der().clone()], key }
    }
}

/// Between these Unix seconds, both included.
pub(super) fn valid(params: &mut CertificateParams, begins: u64, ends: u64) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    (params.not_before, params.not_after) = (epoch + Duration::from_secs(begins), epoch + Duration::from_secs(ends));
}

/// A server with TLS in front of one route that says who calls.
pub(super) struct Secured {
    pub(super) tls: Arc<tls::Tls>,
    pub(super) clock: Arc<Clock>,
    server: Certificate,
    addr: SocketAddr,
    stop: Stop,
    served: JoinHandle<io::Result<Stats>>,
}

impl Secured {
    pub(super) async fn start(clients: Option<(&Authority, bool)>) -> Self {
        let (server, clock) = (Certificate::new(), Arc::new(Clock(AtomicU64::new(NOW))));
        let ca = server.folder.path().join("clients.pem");
        let clients = clients.map(|(authority, required)| {
            std::fs::write(&ca, authority.certificate.pem()).unwrap();
            tls::Clients { ca, required }
        });
        let files = tls::Files { certificates: server.certificate(), key: server.key(), clients };
        let tls = tls::Tls::open_at(files, clock.clone()).unwrap();
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopping) = stop_signal();
        let endless = || async { Response::new(Body::new(Never)) };
        let limits = Limits { drain: FIRST_FRAME, ..Limits::default() };
        let app = Router::new().route("/who", get(who)).route("/endless", get(endless));
        let serving = serve(listener, Some(tls.clone()), app, limits, async move { stopping.stopped().await });
        Self { tls, clock, server, addr, stop, served: tokio::spawn(serving) }
    }

    /// From now on other clients are known.
    pub(super) fn trust(&self, authority: &Authority) {
        std::fs::write(self.server.folder.path().join("clients.pem"), authority.certificate.pem()).unwrap();
        assert!(self.tls.reload().unwrap());
    }

    /// Another certificate and key for the server, loaded.
    pub(super) fn renew(&self) -> Certificate {
        let new = self.replace();
        assert!(self.tls.reload().unwrap());
        new
    }

    /// The same, only in the files.
    pub(super) fn replace(&self) -> Certificate {
        let new = Certificate::new();
        std::fs::copy(new.certificate(), self.server.certificate()).unwrap();
        std::fs::copy(new.key(), self.server.key()).unwrap();
        new
    }

    /// Trusts the server's first certificate.
    pub(super) fn client(&self, identity: Option<&Identity>) -> rustls::ClientConfig {
        client(&self.server, identity, rustls::DEFAULT_VERSIONS)
    }

    pub(super) fn roots(&self) -> rustls::RootCertStore {
        self.server.roots()
    }

    pub(super) fn client_of_version(
        &self,
        identity: Option<&Identity>,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> rustls::ClientConfig {
        client(&self.server, identity, &[version])
    }

    pub(super) async fn connect(&self, config: &Arc<rustls::ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.addr).await?;
        TlsConnector::from(config.clone()).connect("localhost".try_into().unwrap(), tcp).await
    }

    /// Who the server says we are, on a new connection; none if it does not take us.
    pub(super) async fn ask(&self, config: rustls::ClientConfig) -> Option<String> {
        let mut connection = Asking::over(self.connect(&Arc::new(config)).await.ok()?).await?;
        connection.ask().await.map(|(_, who)| who)
    }

    pub(super) async fn close(self) -> Stats {
        self.stop.stop();
        within(self.served).await.unwrap().unwrap()
    }
}

pub(super) fn client(
    server: &Certificate,
    identity: Option<&Identity>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ClientConfig {
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(server.roots());
    match identity {
        Some(Identity { chain, key }) => config.with_client_auth_cert(chain.clone(), key.clone_key()).unwrap(),
        None => config.with_no_client_auth(),
    }
}

/// A connection that asks who it is.
pub(super) struct Asking(http1::SendRequest<Body>);

impl Asking {
    pub(super) async fn over(stream: TlsStream<TcpStream>) -> Option<Self> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(Self(sender))
    }

    /// The status and who we are; none if the connection is gone.
    pub(super) async fn ask(&mut self) -> Option<(u16, String)> {
        let response = within(self.0.send_request(get_request("/who"))).await.ok()?;
        Some((response.status().as_u16(), text(response).await))
    }

    /// An answer that has begun and does not end by itself.
    pub(super) async fn endless(&mut self) -> Response<Incoming> {
        within(self.0.send_request(get_request("/endless"))).await.unwrap()
    }

    pub(super) async fn is_closed(&mut self) -> bool {
        within(self.0.ready()).await.is_err()
    }
}

/// A body that never says anything.
struct Never;

impl hyper::body::Body for Never {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

async fn who(peer: axum::Extension<Peer>) -> String {
    match &peer.certificate {
        Some(certificate) => {
            named(certificate, NOW).map_or_else(|problem| problem.to_string(), |named| named.principal.to_string())
        }
        None => "nobody".to_owned(),
    }
}
