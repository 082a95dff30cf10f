//! One call to another server and its answer, bounded in time and size.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use zeroize::Zeroizing;

use super::address::Address;
use crate::backend::ContentMd5;
use crate::client::{Error, Progress};

/// How long a connection, an answer's head and each piece of its body may take.
const CONNECT: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_secs(60);
const REDIRECTS: usize = 5;

pub(super) struct Connection(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) address: &'a Address,
    pub(super) body: Bytes,
    /// The largest answer that is taken.
    pub(super) most: u64,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Connection {
    pub(super) fn new(tls: rustls::ClientConfig) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }

    /// Redirects that keep method and body are followed within the origin; any other is the answer.
    pub(super) async fn call(
        &self,
        ask: &Ask<'_>,
        credentials: Option<&HeaderValue>,
        on: &mut (impl FnMut(Progress) + Send),
    ) -> Result<Answer, Error> {
        let mut address = ask.address.clone();
        for _ in 0..REDIRECTS {
            let response = self.send(ask, &address, credentials).await?;
            let kept = matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
            let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            match location.filter(|_| kept).and_then(|location| address.follow(location)) {
                Some(next) => address = next,
                None => return receive(response, ask, on).await,
            }
        }
        let what = format!("{} sends from one address to the next, again and again", ask.address.shown());
        Err(Error::caller(what).with_next("give the address that the state really has"))
    }

    async fn send(
        &self,
        ask: &Ask<'_>,
        address: &Address,
        credentials: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>, Error> {
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(address.uri().clone())
            .header(USER_AGENT, concat!("leasehold/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT_ENCODING, "identity");
        if let Some(credentials) = credentials {
            request = request.header(AUTHORIZATION, credentials);
        }
        if !ask.body.is_empty() {
            let md5 = ContentMd5::of(&ask.body).to_string();
            request = request.header(CONTENT_TYPE, "application/json").header("content-md5", md5);
        }
        let request = request.body(Full::new(ask.body.clone())).expect("every part was checked before");
        match tokio::time::timeout(STEP, self.0.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(cause)) => Err(failed(ask.address, &cause)),
            Err(_) => Err(unreachable(ask.address, "no answer within a minute")),
        }
    }
}

/// Reads an answer to its end, or until it is too long.
async fn receive(response: Response<Incoming>, ask: &Ask<'_>, on: &mut (impl FnMut(Progress) + Send)) -> Result<Answer, Error> {
    let (head, mut body) = response.into_parts();
    let shown = ask.address.shown();
    let too_long = || {
        Error::caller(format!("what {shown} sends is longer than {} bytes", ask.most))
            .with_next("check the address; raise --max-size if the state is that large")
    };
    let total = body.size_hint().exact().unwrap_or(0);
    if total > ask.most {
        return Err(too_long());
    }
    let mut whole = BytesMut::new();
    loop {
        let frame = match tokio::time::timeout(STEP, body.frame()).await {
            Err(_) => return Err(unreachable(ask.address, "nothing more came for a minute")),
            Ok(None) => break,
            Ok(Some(Err(cause))) => return Err(unreachable(ask.address, &innermost(&cause))),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if (whole.len() + data.len()) as u64 > ask.most {
            return Err(too_long());
        }
        whole.extend_from_slice(&data);
        let done = whole.len() as u64;
        on(Progress { done, total: total.max(done) });
    }
    Ok(Answer { status: head.status, headers: head.headers, body: whole.freeze() })
}

/// Basic credentials; without a user's name Terraform sends none either.
pub(super) fn basic(username: &str, password: &Zeroizing<String>) -> Result<Option<HeaderValue>, Error> {
    match (username.is_empty(), password.is_empty()) {
        (true, true) => return Ok(None),
        (true, false) => {
            return Err(Error::caller("there is a password without a user's name")
                .with_next("set TF_HTTP_USERNAME too, or give --username"));
        }
        _ if username.contains(':') => {
            return Err(Error::caller("the user's name has a colon, which basic credentials cannot carry")
                .with_next("check TF_HTTP_USERNAME and --username"));
        }
        _ => {}
    }
    let pair = Zeroizing::new(format!("{username}:{}", password.as_str()));
    let value = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
    let mut value = HeaderValue::from_str(&value).expect("base64 makes a header value");
    value.set_sensitive(true);
    Ok(Some(value))
}

/// A certificate that is not trusted will not be by trying again.
fn failed(address: &Address, error: &(dyn std::error::Error + 'static)) -> Error {
    match certificate(error) {
        Some(cause) => Error::caller(format!("the certificate of {} is not trusted: {cause}", address.shown()))
            .with_next("check the address; TF_HTTP_CLIENT_CA_CERTIFICATE_PEM has the text of the certificates to trust instead of the system's"),
        None => unreachable(address, &innermost(error)),
    }
}

fn certificate<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut error = Some(error);
    while let Some(this) = error {
        if let Some(found @ rustls::Error::InvalidCertificate(_)) = this.downcast_ref() {
            return Some(found);
        }
        // What an I/O error was made from is not its source.
        error = match this.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => this.source(),
        };
    }
    None
}

fn unreachable(address: &Address, why: &str) -> Error {
    Error::unavailable(format!("{} cannot be read: {why}", address.shown()))
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(deeper) = error.source() {
        error = deeper;
    }
    error.to_string()
}
