//! Another `http` backend, read and locked as Terraform does it: GitLab's, for example, or one that somebody wrote for themselves.
//!
//! It is never written. Nothing of it is trusted: its answers are bounded in size and time, redirects are followed only within its own origin and
//! only where they keep method and body, and its words are shown without control characters.

mod address;
mod exchange;
mod lock;
mod tls;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HeaderValue, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use zeroize::Zeroizing;

use super::transfer::{Document, Header};
use super::{Error, Progress, Source};
use crate::backend::ContentMd5;
use address::Address;
use exchange::{Answer, Ask, Connection};

/// What to do where the server wants other credentials.
const CREDENTIALS: &str = "set TF_HTTP_USERNAME and TF_HTTP_PASSWORD for that server, or give --username and --password-file";

pub use lock::{Lock, Locked, RemoteLock};

/// Where another `http` backend is, and how to reach it.
pub struct RemoteSettings {
    /// `http://` or `https://`, as in Terraform's `address`; credentials in it are refused.
    pub address: String,
    /// Sent with the password as basic credentials, unless it is empty.
    pub username: String,
    /// The password.
    pub password: Zeroizing<String>,
    /// PEM certificates to trust instead of the system's.
    pub ca: Option<Vec<u8>>,
    /// A certificate and its key in PEM, to show to the server.
    pub identity: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    /// The largest state that is taken, in bytes.
    pub max_body: u64,
    /// How long what may be asked twice is tried again.
    pub patience: std::time::Duration,
}

/// One state of another `http` backend.
pub struct Remote {
    address: Address,
    credentials: Option<HeaderValue>,
    connection: Connection,
    max_body: u64,
    patience: std::time::Duration,
}

impl Remote {
    /// Must be called within a tokio runtime. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Caller`] if the address or a certificate cannot be used.
    pub fn new(settings: RemoteSettings) -> Result<Self, Error> {
        let address = Address::parse(&settings.address)?;
        let credentials = exchange::basic(&settings.username, &settings.password)?;
        let connection = Connection::new(tls::config(settings.ca.as_deref(), settings.identity.as_ref())?);
        let RemoteSettings { max_body, patience, .. } = settings;
        Ok(Self { address, credentials, connection, max_body, patience })
    }

    /// Whether credentials would go over a network in the clear, to the state or its lock.
    #[must_use]
    pub fn exposes_credentials(&self, lock: Option<&Lock>) -> bool {
        let mut addresses = [Some(&self.address), lock.map(Lock::address)].into_iter().flatten();
        self.credentials.is_some() && !addresses.all(Address::is_private)
    }

    /// Where it is, without what stands behind a `?`.
    #[must_use]
    pub fn shown(&self) -> String {
        self.address.shown()
    }

    /// Reads the state, whole and checked; none if there is none.
    ///
    /// # Errors
    /// [`Error::Denied`] if the credentials do not do; [`Error::Unavailable`] if it cannot be reached or what arrives is damaged;
    /// [`Error::Caller`] if it is too large, or no Terraform or OpenTofu state.
    pub async fn read(&self, mut on: impl FnMut(Progress) + Send) -> Result<Option<Document>, Error> {
        let ask = Ask { method: Method::GET, address: &self.address, body: Bytes::new(), most: self.max_body };
        let answer = self.exchange(&ask, &mut on).await?;
        let body = match answer.status {
            StatusCode::OK if !answer.body.is_empty() => self.whole(answer)?,
            StatusCode::OK | StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(refused(&self.address, &answer, "GET")),
        };
        let label = self.shown();
        let header = Header::read(&body[..]).map_err(|why| {
            Error::caller(format!("{label}: {why}")).with_next("check that the address is that of a Terraform `http` backend")
        })?;
        Ok(Some(Document { label, header, source: Source::from_bytes(body) }))
    }

    /// The body, if it is what its headers say.
    fn whole(&self, answer: Answer) -> Result<Bytes, Error> {
        if answer.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            let what = format!("{} answers in an encoding that was not asked for", self.shown());
            return Err(Error::unavailable(what).with_next("take away what compresses in front of it"));
        }
        match told_md5(&answer.headers) {
            Ok(None) => Ok(answer.body),
            Ok(Some(told)) if told == ContentMd5::of(&answer.body) => Ok(answer.body),
            _ => {
                let what = format!("what {} sent does not have the MD5 that it says", self.shown());
                Err(Error::unavailable(what).with_next("try again; if it stays so, ask who runs the server"))
            }
        }
    }

    /// One call, which may be made twice: it is, while the server cannot be reached or says that it is not up to it.
    async fn exchange(&self, ask: &Ask<'_>, on: &mut (impl FnMut(Progress) + Send)) -> Result<Answer, Error> {
        let give_up = super::clock::now() + self.patience;
        let mut pause = super::retry::Backoff::default();
        loop {
            let answer = self.connection.call(ask, self.credentials.as_ref(), on).await;
            let failed = match &answer {
                Ok(answer) => may_pass(answer.status),
                Err(error) => matches!(error, Error::Unavailable(_)),
            };
            let wait = pause.next();
            if !failed || super::clock::now() + wait >= give_up {
                return answer;
            }
            tokio::time::sleep(wait).await;
        }
    }
}

/// Whether two URLs have the same scheme, host and port.
#[must_use]
pub fn same_origin(one: &str, other: &str) -> bool {
    Address::parse(one).is_ok_and(|one| Address::parse(other).is_ok_and(|other| one.is_beside(&other)))
}

/// What a status that is none of the expected ones means.
fn refused(address: &Address, answer: &Answer, call: &str) -> Error {
    let (shown, status) = (address.shown(), answer.status);
    match status {
        StatusCode::UNAUTHORIZED => {
            Error::denied(format!("{shown} asks for credentials, or does not know these")).with_next(CREDENTIALS)
        }
        StatusCode::FORBIDDEN => Error::denied(format!("{shown} does not allow {call} with these credentials"))
            .with_next("ask who runs the server for the right to read, and to lock"),
        status if status.is_redirection() => {
            let to = answer.headers.get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| address.origin_of(to));
            let to = to.map_or_else(|| "elsewhere".to_owned(), |origin| format!("to {origin}"));
            Error::caller(format!("{shown} sends {call} {to} ({}), which is not followed", status.as_u16()))
                .with_next("give the address that the state really has")
        }
        status if may_pass(status) => Error::unavailable(format!("{shown} answered {call} with {}", status.as_u16()))
            .with_next("try again later; if it stays so, ask who runs the server"),
        status => Error::caller(format!("{shown} answered {call} with {}", status.as_u16()))
            .with_next("check that the address is that of a Terraform `http` backend, and the methods are those that it takes"),
    }
}

/// Whether the server says that it may do better in a moment.
fn may_pass(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
}

fn told_md5(headers: &HeaderMap) -> Result<Option<ContentMd5>, crate::backend::BadMd5> {
    let Some(value) = headers.get("content-md5") else { return Ok(None) };
    value.to_str().map_err(|_| crate::backend::BadMd5)?.parse().map(Some)
}
