//! The listener on loopback: who may speak, and about what.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use subtle::ConstantTimeEq;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::account::Account;
use super::inner::Inner;
use super::{USER, documents, locks, relay};
use crate::backend::{Call, RequestError, classify};
use crate::client::{Client, Lease, LeaseRef, View};
use crate::pb::v1::{Labels, Mode};

/// What the lock's address has behind the state's.
pub(super) const LOCK: &str = "/lock";

/// Far more than the children of one command open.
const CONNECTIONS: usize = 128;

/// Documents in memory at once; more wait.
const DOCUMENTS: usize = 4;

/// How long a connection may take for the head of a request.
const HEAD: Duration = Duration::from_secs(60);

/// Everything that the answers need.
pub(super) struct Door {
    pub(super) client: Client,
    pub(super) lease: LeaseRef,
    pub(super) mode: Mode,
    pub(super) views: watch::Receiver<View>,
    pub(super) labels: Labels,
    pub(super) key: Zeroizing<String>,
    /// Of the state: `/ENV/PATH`.
    pub(super) path: String,
    pub(super) inner: Mutex<Inner>,
    /// One write at a time: a repeated one waits for the first, and finds its outcome.
    pub(super) writing: tokio::sync::Mutex<()>,
    pub(super) documents: Semaphore,
    pub(super) account: Mutex<Account>,
    /// What the command has last been told is current; `None`: nothing yet.
    pub(super) seen: Mutex<Option<Seen>>,
}

/// What was current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// No version.
    Nothing,
    /// The version of this number.
    Version(u64),
}

impl Door {
    pub(super) fn new(client: Client, lease: &Lease, mode: Mode, labels: &Labels, key: Zeroizing<String>) -> Self {
        Self {
            client,
            lease: lease.reference().clone(),
            mode,
            views: lease.subscribe(),
            labels: labels.clone(),
            key,
            path: format!("/{}", lease.reference().state),
            inner: Mutex::default(),
            writing: tokio::sync::Mutex::new(()),
            documents: Semaphore::new(DOCUMENTS),
            account: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    pub(super) fn see(&self, seen: Seen) {
        *self.seen.lock().expect("nobody panics while holding it") = Some(seen);
    }

    pub(super) fn say(&self, text: String) {
        self.account.lock().expect("nobody panics while holding it").say(text);
    }
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, door: Arc<Door>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS {
            connections.join_next().await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, Arc::clone(&door)));
            }
            // No descriptors left, for example. It passes.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connection(stream: TcpStream, door: Arc<Door>) {
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder.http2().timer(TokioTimer::new()).adaptive_window(true);
    let service = service_fn(|request| {
        let door = Arc::clone(&door);
        async move { Ok::<_, Infallible>(answer(&door, request).await) }
    });
    // Whatever ended it, there is nobody left to tell.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(door: &Arc<Door>, request: Request<Incoming>) -> Response<Body> {
    let known = is_known(request.headers(), &door.key);
    if is_grpc(request.headers()) {
        return relay::answer(door, request, known).await;
    }
    if !known {
        let mut answer = text(StatusCode::UNAUTHORIZED, "the key of this run, which its command finds in its environment");
        answer.headers_mut().insert(WWW_AUTHENTICATE, http::HeaderValue::from_static("Basic realm=\"leasehold run\""));
        return answer;
    }
    let at_lock = match request.uri().path().strip_prefix(&door.path) {
        Some("") => false,
        Some(LOCK) => true,
        _ => return text(StatusCode::NOT_FOUND, "this run serves another state"),
    };
    let call = match classify(request.method().as_str(), at_lock, request.uri().query()) {
        Ok(call) => call,
        Err(error @ RequestError::Method) => return text(StatusCode::METHOD_NOT_ALLOWED, error),
        Err(error) => return text(StatusCode::BAD_REQUEST, error),
    };
    match call {
        Call::Read => documents::read(door).await,
        Call::Write { id } => documents::write(door, id.as_deref(), request).await,
        Call::Delete { id } => documents::delete(door, id.as_deref()).await,
        Call::Lock { .. } => locks::lock(door, request).await,
        Call::Unlock { id } => locks::unlock(door, id, request).await,
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Whether the caller shows the key, as a bearer or as the password of [`USER`].
fn is_known(headers: &HeaderMap, key: &str) -> bool {
    let Some((scheme, shown)) = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' ')) else {
        return false;
    };
    if scheme.eq_ignore_ascii_case("bearer") {
        return shown.trim().as_bytes().ct_eq(key.as_bytes()).into();
    }
    let shown = Zeroizing::new(BASE64_STANDARD.decode(shown.trim()).unwrap_or_default());
    let expected = Zeroizing::new(format!("{USER}:{key}"));
    scheme.eq_ignore_ascii_case("basic") && bool::from(shown.ct_eq(expected.as_bytes()))
}

/// A short answer. Clients show people its number only.
pub(super) fn text(status: StatusCode, words: impl ToString) -> Response<Body> {
    let mut answer = Response::new(Body::from(format!("{}\n", words.to_string())));
    *answer.status_mut() = status;
    answer
}
