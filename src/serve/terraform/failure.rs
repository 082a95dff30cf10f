//! What goes wrong, as a status that makes the real clients do the right thing.
//!
//! | status | what they do |
//! |---|---|
//! | 400, 405, 411, 413, 415, 422 | fail at once, printing the number |
//! | 401 | "requires auth" |
//! | 409, 423 | to LOCK: "already locked", tried again within `-lock-timeout`; otherwise fail at once; after a write the state is in `errored.tfstate` |
//! | 503 | try again, twice |

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};

use crate::backend::{LockInfoError, RequestError};
use crate::domain::refusal::Refusal;
use crate::service::Error;

/// An answer that is no success.
pub(in crate::serve) struct Failure {
    status: StatusCode,
    /// The stable code of docs/errors.md.
    code: &'static str,
    what: String,
    next: String,
    /// What to send instead of the reason: lock info, for clients that parse it.
    lock_info: Option<Vec<u8>>,
    /// Of a method that is none: those that there are.
    allow: Option<&'static str>,
}

impl Failure {
    pub(in crate::serve) fn new(status: StatusCode, code: &'static str, what: &str, next: &str) -> Self {
        Self { status, code, what: what.to_owned(), next: next.to_owned(), lock_info: None, allow: None }
    }

    pub(super) fn unauthenticated() -> Self {
        let error = Error::Unauthenticated;
        Self::new(
            StatusCode::UNAUTHORIZED,
            error.code(),
            &error.to_string(),
            "set `username` to anything and `password` (TF_HTTP_PASSWORD) to a valid token",
        )
    }

    /// A request that is none of the protocol's.
    pub(super) fn no_call(error: RequestError, at_lock: bool) -> Self {
        match error {
            RequestError::Method => Self::no_method(at_lock),
            RequestError::Id | RequestError::Wait => Self::argument(&error.to_string()),
        }
    }

    /// A method that the address does not have.
    pub(super) fn no_method(at_lock: bool) -> Self {
        let (what, allow) = match at_lock {
            true => (
                "the /lock of a state takes LOCK, POST and PUT to lock, UNLOCK and DELETE to unlock",
                "LOCK, POST, PUT, UNLOCK, DELETE",
            ),
            false => ("a state takes GET, POST, PUT, LOCK and UNLOCK", "GET, POST, PUT, LOCK, UNLOCK"),
        };
        Self { status: StatusCode::METHOD_NOT_ALLOWED, allow: Some(allow), ..Self::argument(what) }
    }

    /// A part of the request that breaks its rule.
    pub(super) fn argument(what: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ARGUMENT_INVALID", what, "see docs/terraform.md for the addresses")
    }

    /// Lock info that is none.
    pub(super) fn lock_info(error: LockInfoError) -> Self {
        match error {
            LockInfoError::TooLong => Self { status: StatusCode::PAYLOAD_TOO_LARGE, ..Self::argument(&error.to_string()) },
            _ => Self::argument(&error.to_string()),
        }
    }

    /// An error of a use case.
    pub(in crate::serve) fn of(error: &Error) -> Self {
        Self {
            status: status(error),
            code: error.code(),
            what: error.to_string(),
            next: error.next(),
            lock_info: None,
            allow: None,
        }
    }

    /// The same, with lock info for clients that parse it.
    pub(super) fn with_lock_info(self, lock_info: Vec<u8>) -> Self {
        Self { lock_info: Some(lock_info), ..self }
    }

    /// The clients show next to nothing of an answer: whoever wonders finds the reason here.
    pub(super) fn log(&self, method: &Method, path: &str) {
        let Self { status, code, what, next, .. } = self;
        let status = status.as_u16();
        match status {
            500 => tracing::error!(%method, path, status, code, what, "refused"),
            // Contention is no news, and neither is a state that is not there yet.
            409 | 423 if method.as_str() == "LOCK" => tracing::debug!(%method, path, status, code, what, "refused"),
            404 => tracing::debug!(%method, path, status, code, what, "refused"),
            _ => tracing::warn!(%method, path, status, code, what, next, "refused"),
        }
    }

    pub(in crate::serve) fn into_response(self) -> Response {
        let Self { status, code, what, next, lock_info, allow } = self;
        let (kind, text) = match lock_info {
            Some(lock_info) => ("application/json", lock_info),
            None => ("text/plain; charset=utf-8", format!("{code}: {what}\n{next}\n").into_bytes()),
        };
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"leasehold\", charset=\"UTF-8\""));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
        }
        headers.extend(allow.map(|allow| (http::header::ALLOW, HeaderValue::from_static(allow))));
        response
    }
}

fn status(error: &Error) -> StatusCode {
    match error {
        Error::Refused(refusal) => refusal_status(refusal),
        Error::Unauthenticated => StatusCode::UNAUTHORIZED,
        Error::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
        // Never 404, which means "no state yet" to a client that reads.
        Error::NotAllowed | Error::Forbidden { .. } | Error::Beyond(_) | Error::RecipientForeign => StatusCode::FORBIDDEN,
        Error::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        // What may be otherwise in a moment: the client tries twice more.
        Error::IssuerUnavailable
        | Error::Locked
        | Error::Full
        | Error::AuditFull
        | Error::Unknown
        | Error::Stopping
        | Error::Master(_)
        | Error::WrongMaster => StatusCode::SERVICE_UNAVAILABLE,
        Error::Internal | Error::RotationStuck(_) => StatusCode::INTERNAL_SERVER_ERROR,
        Error::BytesGone(_) => StatusCode::GONE,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn refusal_status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Kept { why, .. } | Refusal::DraftQuota { why, .. } => refusal_status(why),
        // Not 404, which means "no state yet" to a client that reads, and makes it begin one.
        Refusal::EnvironmentNotFound(_) => StatusCode::BAD_REQUEST,
        Refusal::StateNotFound => StatusCode::NOT_FOUND,
        Refusal::OpaqueRefused | Refusal::PlaintextRefused | Refusal::MarkWritten => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::LeaseHeld { .. }
        | Refusal::LeaseRequired
        | Refusal::Frozen(_)
        | Refusal::QueueFull(_)
        | Refusal::TokenUnknown(_) => StatusCode::LOCKED,
        Refusal::RotationRunning { .. } | Refusal::GroundMoved | Refusal::TokenMoved(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::CONFLICT,
    }
}
