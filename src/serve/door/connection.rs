//! One connection, from the accepted socket to its end.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::first_frame::Watched;
use super::flood::Allowance;
use super::tls::{Shown, Tls};
use super::{Counts, Failures, Limits, Peer, Reader, Stopping, deadline};
use crate::serve::metrics::Calls;

const HTTP1_READ_BUFFER: usize = 64 << 10;
/// Far more than any client sends. On HTTP/2 each counts 32 bytes of [`Limits::header_bytes`].
const HTTP1_HEADERS: usize = 100;

/// How many connections of a peer may be closed for frames in vain before its next one waits, and one more every 3 s.
const FLOODS: u32 = 3;

/// What all connections of a door have in common.
pub(super) struct Connections {
    tls: Option<Arc<Tls>>,
    app: Router,
    limits: Arc<Limits>,
    counts: Arc<Counts>,
    http: auto::Builder<TokioExecutor>,
    /// Who was thrown out for frames in vain.
    floods: Failures,
    stopping: Stopping,
}

/// How a connection ended.
pub(super) enum End {
    Closed,
    TimedOut,
    /// The TLS handshake failed.
    Untrusted,
    /// The peer has sent frames in vain.
    Flooded,
    Failed,
}

impl Connections {
    pub(super) fn new(tls: Option<Arc<Tls>>, app: Router, limits: Limits, counts: Arc<Counts>, stopping: Stopping) -> Self {
        Self { tls, app, http: protocol(&limits), floods: Failures::new(FLOODS), limits: Arc::new(limits), counts, stopping }
    }

    /// Serves it to its end. One of a peer that was thrown out for frames in vain again and again has to wait first: each such connection costs as
    /// much as thousands of calls, and nothing but a new one.
    pub(super) async fn run(&self, tcp: TcpStream, addr: SocketAddr) -> End {
        if self.floods.blocked(addr.ip()).is_some() {
            tokio::select! {
                () = sleep(self.limits.flood_pause) => {}
                () = self.stopping.stopped() => return End::Closed,
            }
        }
        let end = self.begin(tcp, addr).await;
        if matches!(end, End::Flooded) {
            self.floods.note(addr.ip());
        }
        end
    }

    async fn begin(&self, tcp: TcpStream, addr: SocketAddr) -> End {
        // Without it, answers wait for the peer's delayed acknowledgements: uploads are ten times slower.
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(%addr, %error, "connection lost before it began");
            return End::Failed;
        }
        let mut deadline = pin!(sleep(self.limits.first_frame));
        let Some(tls) = &self.tls else {
            return self.serve(tcp, Peer { addr, tls: false, certificate: None }, None, deadline).await;
        };
        let handshake = tokio::select! {
            handshake = tls.accept(tcp) => handshake,
            () = &mut deadline => return timed_out(addr),
            () = self.stopping.stopped() => return End::Closed,
        };
        match handshake {
            Ok((stream, shown)) => {
                self.serve(stream, Peer { addr, tls: true, certificate: None }, shown.map(|shown| (tls, shown)), deadline).await
            }
            Err(error) => {
                tracing::debug!(%addr, %error, "TLS handshake failed");
                End::Untrusted
            }
        }
    }

    async fn serve<I>(&self, io: I, peer: Peer, shown: Option<(&Arc<Tls>, Shown)>, mut deadline: Pin<&mut Sleep>) -> End
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let addr = peer.addr;
        let allowance = Arc::<Allowance>::default();
        let (io, first_frame) = Watched::new(io, self.limits.write_stall, allowance.clone());
        let spent = &allowance;
        let shown = shown.as_ref();
        let reader = Reader::new(self.limits.write_stall);
        let unread = reader.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let certificate = shown.map(|(tls, shown)| tls.verified(shown));
            let invalid = certificate.as_ref().is_some_and(Option::is_none);
            request.extensions_mut().insert(Peer { certificate: certificate.flatten(), ..peer.clone() });
            request.extensions_mut().insert(reader.clone());
            let (app, limits, allowance) = (self.app.clone(), self.limits.clone(), spent.clone());
            let call = Calls::begin(&self.counts, &request);
            async move {
                let response = match invalid {
                    true => no_longer_valid(),
                    false => deadline::answer(app, &limits, &allowance, request).await,
                };
                Ok::<_, Infallible>(call.answered(response))
            }
        });
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(io), service));
        let mut lapsed = pin!(async {
            match shown {
                Some((tls, shown)) => tls.lapsed(shown).await,
                None => pending().await,
            }
        });
        let mut cut: Option<Pin<Box<Sleep>>> = None;
        let (mut timing, mut stopping) = (true, false);
        loop {
            tokio::select! {
                ended = connection.as_mut() => return match ended {
                    Ok(()) => End::Closed,
                    Err(error) => {
                        tracing::debug!(%addr, %error, "connection failed");
                        if allowance.is_overdrawn() || had_enough(&*error) { End::Flooded } else { End::Failed }
                    }
                },
                () = &mut deadline, if timing => {
                    timing = false;
                    if !first_frame.has_arrived() {
                        return timed_out(addr);
                    }
                }
                () = &mut lapsed, if cut.is_none() => {
                    tracing::debug!(%addr, "the client certificate is not valid any more: connection closes");
                    cut = Some(Box::pin(sleep(self.limits.drain)));
                    connection.as_mut().graceful_shutdown();
                }
                () = async { cut.as_mut().expect("only then").await }, if cut.is_some() => return End::Closed,
                () = unread.has_gone() => {
                    tracing::debug!(%addr, "connection closed: what it asked for is left unread");
                    return End::Closed;
                }
                () = self.stopping.stopped(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Whether HTTP/2 itself has ended it because of what the peer sent in vain: calls that were given up before anybody saw them, above all.
fn had_enough(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| {
        let reason = cause.downcast_ref::<h2::Error>().filter(|error| !error.is_remote()).and_then(h2::Error::reason);
        reason == Some(h2::Reason::ENHANCE_YOUR_CALM)
    })
}

/// To any request on a connection whose certificate has run out; gRPC clients take the status for `Unauthenticated`.
fn no_longer_valid() -> Response {
    let text = "the client certificate of this connection is not valid any more: connect again, with one that is\n";
    (StatusCode::UNAUTHORIZED, text).into_response()
}

fn timed_out(addr: SocketAddr) -> End {
    tracing::debug!(%addr, "connection closed: no first frame in time");
    End::TimedOut
}

/// Timers are not optional: without them, header timeouts and keepalive are silently off.
fn protocol(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.first_frame);
    builder.http1().max_buf_size(HTTP1_READ_BUFFER).max_headers(HTTP1_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.keep_alive_every)
        .keep_alive_timeout(limits.keep_alive_answer)
        .initial_stream_window_size(limits.window_bytes)
        .initial_connection_window_size(limits.window_bytes)
        .max_frame_size(limits.frame_bytes)
        .max_concurrent_streams(limits.streams_per_connection)
        .max_header_list_size(limits.header_bytes);
    builder
}
