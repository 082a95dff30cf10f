//! One connection, from the accepted socket to its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsAcceptor;

use super::first_frame::Watched;
use super::flood::Allowance;
use super::{Limits, Peer, Stopping, deadline};

const HTTP1_READ_BUFFER: usize = 64 << 10;
/// Far more than any client sends. On HTTP/2 each counts 32 bytes of [`Limits::header_bytes`].
const HTTP1_HEADERS: usize = 100;

/// What all connections of a door have in common.
pub(super) struct Connections {
    tls: Option<TlsAcceptor>,
    app: Router,
    limits: Arc<Limits>,
    http: auto::Builder<TokioExecutor>,
    stopping: Stopping,
}

/// How a connection ended.
pub(super) enum End {
    Closed,
    TimedOut,
    Failed,
}

impl Connections {
    pub(super) fn new(tls: Option<TlsAcceptor>, app: Router, limits: Limits, stopping: Stopping) -> Self {
        Self { tls, app, http: protocol(&limits), limits: Arc::new(limits), stopping }
    }

    pub(super) async fn run(&self, tcp: TcpStream, addr: SocketAddr) -> End {
        // Without it, answers wait for the peer's delayed acknowledgements: uploads are ten times slower.
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(%addr, %error, "connection lost before it began");
            return End::Failed;
        }
        let mut deadline = pin!(sleep(self.limits.first_frame));
        let Some(tls) = &self.tls else {
            return self.serve(tcp, Peer { addr, tls: false }, deadline).await;
        };
        let handshake = tokio::select! {
            handshake = tls.accept(tcp) => handshake,
            () = &mut deadline => return timed_out(addr),
            () = self.stopping.stopped() => return End::Closed,
        };
        match handshake {
            Ok(stream) => self.serve(stream, Peer { addr, tls: true }, deadline).await,
            Err(error) => {
                tracing::debug!(%addr, %error, "TLS handshake failed");
                End::Failed
            }
        }
    }

    async fn serve<I>(&self, io: I, peer: Peer, mut deadline: Pin<&mut Sleep>) -> End
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let addr = peer.addr;
        let allowance = Arc::<Allowance>::default();
        let (io, first_frame) = Watched::new(io, self.limits.write_stall, allowance.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            let (app, limits, allowance) = (self.app.clone(), self.limits.clone(), allowance.clone());
            async move { Ok::<_, Infallible>(deadline::answer(app, &limits, &allowance, request).await) }
        });
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(io), service));
        let (mut timing, mut stopping) = (true, false);
        loop {
            tokio::select! {
                ended = connection.as_mut() => return match ended {
                    Ok(()) => End::Closed,
                    Err(error) => {
                        tracing::debug!(%addr, %error, "connection failed");
                        End::Failed
                    }
                },
                () = &mut deadline, if timing => {
                    timing = false;
                    if !first_frame.has_arrived() {
                        return timed_out(addr);
                    }
                }
                () = self.stopping.stopped(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
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
