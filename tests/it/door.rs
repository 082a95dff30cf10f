//! The door over real sockets, with limits small enough to watch them bind.

mod authority;
mod calls;
mod connections;
mod counted;
mod descriptors;
mod stop;
mod tls_files;

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use leasehold::serve::door::{Counts, Limits, Peer, Stats, Stop, Stopping, listen, serve, serve_counted, stop_signal, tls};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, client::TlsStream};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FIRST_FRAME: Duration = Duration::from_millis(300);
/// Longer than any limit set here, so that only a bound that is missing reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A door in front of a few routes of its own.
struct Door {
    addr: SocketAddr,
    stop: Stop,
    /// Told when a call to `/slow` has begun; ends it.
    slow: Arc<Slow>,
    counts: Arc<Counts>,
    served: JoinHandle<io::Result<Stats>>,
}

#[derive(Default)]
struct Slow {
    begun: Notify,
    end: Notify,
}

impl Door {
    async fn open(limits: Limits) -> Self {
        Self::open_with(limits, None).await
    }

    async fn open_with(limits: Limits, tls: Option<Arc<tls::Tls>>) -> Self {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopping) = stop_signal();
        let slow = Arc::<Slow>::default();
        let app = routes(slow.clone(), stopping.clone());
        let counts = Arc::<Counts>::default();
        let serving = serve_counted(listener, tls, app, limits, Arc::clone(&counts), async move { stopping.stopped().await });
        Self { addr, stop, slow, counts, served: tokio::spawn(serving) }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    async fn http1(&self) -> http1::SendRequest<Body> {
        let (sender, connection) = http1::handshake(TokioIo::new(self.connect().await)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn http2(&self) -> http2::SendRequest<Body> {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(self.connect().await)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn close(self) -> Stats {
        self.stop.stop();
        within(self.served).await.unwrap().unwrap()
    }
}

fn small() -> Limits {
    Limits { first_frame: FIRST_FRAME, ..Limits::default() }
}

fn routes(slow: Arc<Slow>, stopping: Stopping) -> Router {
    let endless = move || async move { grpc_answer(Body::new(Endless::new(stopping))) };
    let slow = move || async move {
        slow.begun.notify_one();
        slow.end.notified().await;
        "done"
    };
    let health = tonic_health::server::health_reporter().1;
    let grpc = tonic::service::Routes::new(health).into_axum_router();
    grpc.route("/", get(|| async { "hello" }))
        .route("/peer", get(|peer: axum::Extension<Peer>| async move { format!("{} {}", peer.addr, peer.tls) }))
        .route("/body", post(|body: Bytes| async move { body.len().to_string() }))
        .route("/slow", get(slow))
        .route("/stuck", post(|_body: Bytes| pending::<()>()))
        .route("/test.Stuck/Unary", post(pending::<()>))
        .route("/test.Stream/Stuck", post(pending::<()>))
        .route("/test.Stream/Endless", post(endless))
}

fn grpc_answer(body: Body) -> Response<Body> {
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

/// A body that says one thing, then nothing until the stop; like a watch.
struct Endless {
    said: bool,
    stopped: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    over: bool,
}

impl Endless {
    fn new(stopping: Stopping) -> Self {
        Self { said: false, stopped: Box::pin(async move { stopping.stopped().await }), over: false }
    }
}

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        if self.over {
            return std::task::Poll::Ready(None);
        }
        if !std::mem::replace(&mut self.said, true) {
            return std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(Bytes::from_static(b"\0\0\0\0\0")))));
        }
        self.stopped.as_mut().poll(cx).map(|()| {
            self.over = true;
            let mut trailers = HeaderMap::new();
            tonic::Status::unavailable("the server is stopping").add_header(&mut trailers).unwrap();
            Some(Ok(hyper::body::Frame::trailers(trailers)))
        })
    }
}

fn get_request(path: &str) -> Request<Body> {
    Request::get(path).header("host", "test").body(Body::empty()).unwrap()
}

fn grpc_request(path: &str, deadline: Option<&str>) -> Request<Body> {
    let mut request = Request::post(format!("http://test{path}")).header("content-type", "application/grpc");
    if let Some(deadline) = deadline {
        request = request.header("grpc-timeout", deadline);
    }
    request.body(Body::empty()).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    let bytes = axum::body::to_bytes(Body::new(response.into_body()), 1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The trailers after all data.
async fn trailers(response: Response<Incoming>) -> HeaderMap {
    let mut body = response.into_body();
    loop {
        let frame = std::future::poll_fn(|cx| hyper::body::Body::poll_frame(std::pin::Pin::new(&mut body), cx)).await;
        match frame.expect("a stream that ends with trailers").unwrap().into_trailers() {
            Ok(trailers) => return trailers,
            Err(_data) => {}
        }
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("nothing happened in time")
}

/// Reads until the other side closes.
async fn until_closed(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is a close, too: unread bytes of ours make one.
    let _ = within(stream.read_to_end(&mut bytes)).await;
    bytes
}

fn open_tls(certificates: PathBuf, key: PathBuf) -> Result<Arc<tls::Tls>, tls::TlsError> {
    tls::Tls::open(tls::Files { certificates, key, clients: None })
}

/// A self-signed certificate for `localhost`, in files.
struct Certificate {
    folder: tempfile::TempDir,
    der: rustls::pki_types::CertificateDer<'static>,
}

impl Certificate {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let certificate = Self { folder, der: made.cert.der().clone() };
        certificate.set_key_mode(0o600);
        certificate
    }

    fn set_key_mode(&self, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(self.key(), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    fn acceptor(&self) -> Arc<tls::Tls> {
        open_tls(self.certificate(), self.key()).unwrap()
    }

    fn roots(&self) -> rustls::RootCertStore {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        roots
    }

    async fn connect(&self, tcp: TcpStream, protocol: &str) -> TlsStream<TcpStream> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), tcp).await.unwrap()
    }
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
}
