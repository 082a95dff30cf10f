//! What can go wrong, grouped by who must act.

use std::collections::BTreeMap;
use std::fmt;

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The domain of the codes in `google.rpc.ErrorInfo`.
const DOMAIN: &str = "leasehold.dev";

/// Why a call did not do what it was asked. Every variant says what happened and what to do next.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The caller asks for something that no state of the server would allow: a bad name, a wrong size, a lowered serial.
    #[error("{0}")]
    Caller(Box<Report>),
    /// The caller may not do this, or is not known. An administrator must act.
    #[error("{0}")]
    Denied(Box<Report>),
    /// What was named is not there (or not visible to this principal: the two look the same).
    #[error("{0}")]
    NotFound(Box<Report>),
    /// Somebody else was first: the lease is held, or the version moved on. Look again, or wait.
    #[error("{0}")]
    Conflict(Box<Report>),
    /// The caller's lease is not live any more, or never was its own. Stop what it protected.
    #[error("{0}")]
    LeaseLost(Box<Report>),
    /// The server or its store cannot be reached, or ended the call. The operator must act, or it passes.
    #[error("{0}")]
    Unavailable(Box<Report>),
    /// The server, or this client, did something it should not. We must act.
    #[error("{0}")]
    Fault(Box<Report>),
}

/// What the server (or the transport) reported.
#[derive(Debug, Clone)]
pub struct Report {
    /// The class of the failure in gRPC's terms.
    pub code: Code,
    /// The stable code of docs/errors.md, such as `LEASE_HELD`; empty if the failure did not come from the server's rules.
    pub reason: String,
    /// What happened.
    pub message: String,
    /// What to do next; empty if nobody knows.
    pub next: String,
    /// Further facts, such as `draft`, the name under which a refused document was kept.
    pub metadata: BTreeMap<String, String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error {
    /// The whole report.
    pub fn report(&self) -> &Report {
        match self {
            Self::Caller(r)
            | Self::Denied(r)
            | Self::NotFound(r)
            | Self::Conflict(r)
            | Self::LeaseLost(r)
            | Self::Unavailable(r)
            | Self::Fault(r) => r,
        }
    }

    /// The stable code, or the empty string.
    pub fn reason(&self) -> &str {
        &self.report().reason
    }

    /// What to do next, or the empty string.
    pub fn next(&self) -> &str {
        &self.report().next
    }

    /// The name of the draft under which the refused document was kept.
    pub fn draft(&self) -> Option<&str> {
        self.report().metadata.get("draft").map(String::as_str)
    }

    pub(crate) fn caller(message: impl Into<String>) -> Self {
        Self::Caller(Report::new(Code::InvalidArgument, message))
    }

    pub(crate) fn denied(message: impl Into<String>) -> Self {
        Self::Denied(Report::new(Code::PermissionDenied, message))
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::NotFound(Report::new(Code::NotFound, message))
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::Conflict(Report::new(Code::AlreadyExists, message))
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::Unavailable(
            Report::new(Code::Unavailable, message).next("check the address and that the server runs, then try again"),
        )
    }

    pub(crate) fn fault(message: impl Into<String>) -> Self {
        Self::Fault(Report::new(Code::Internal, message).next("report this as a bug, with the versions of client and server"))
    }

    pub(crate) fn lease_lost(reason: &str, message: impl Into<String>) -> Self {
        let mut report = Report::new(Code::Aborted, message).next("look at `lease show`, then acquire again");
        report.reason = reason.to_owned();
        Self::LeaseLost(report)
    }

    pub(crate) fn with_next(mut self, next: &str) -> Self {
        let (Self::Caller(r)
        | Self::Denied(r)
        | Self::NotFound(r)
        | Self::Conflict(r)
        | Self::LeaseLost(r)
        | Self::Unavailable(r)
        | Self::Fault(r)) = &mut self;
        r.next = next.to_owned();
        self
    }
}

impl Report {
    fn new(code: Code, message: impl Into<String>) -> Box<Self> {
        Box::new(Self { code, reason: String::new(), message: message.into(), next: String::new(), metadata: BTreeMap::new() })
    }

    fn next(mut self: Box<Self>, next: &str) -> Box<Self> {
        self.next = next.to_owned();
        self
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let mut report = Report::new(status.code(), status.message());
        if let Some(info) = status.get_details_error_info().filter(|info| info.domain == DOMAIN) {
            report.reason = info.reason;
            report.metadata = info.metadata.into_iter().collect();
            report.next = report.metadata.remove("next").unwrap_or_default();
        }
        if report.reason.is_empty() {
            return without_reason(&status, report);
        }
        match report.reason.as_str() {
            "LEASE_LOST" | "LEASE_FOREIGN" | "TOKEN_UNKNOWN" | "ACQUIRE_DEAD" => Self::LeaseLost(report),
            "LEASE_HELD" | "QUEUE_FULL" | "WAIT_OVER" | "VERSION_CONFLICT" | "SERIAL_NOT_HIGHER" | "LINEAGE_DIFFERS"
            | "BREAK_STALE" | "MODE_CONFLICT" | "REQUEST_ID_REUSED" | "ENVIRONMENT_EXISTS" => Self::Conflict(report),
            // Not the caller's fault, and no word about its lease: a renewal that meets a full disk is tried again.
            "STORE_UNAVAILABLE" | "OUTCOME_UNKNOWN" | "STORE_FULL" | "AUDIT_FULL" => Self::Unavailable(report),
            "UNAUTHENTICATED" => Self::Denied(report),
            reason if reason.ends_with("_NOT_FOUND") => Self::NotFound(report),
            _ => by_code(report),
        }
    }
}

/// A failure that the server's rules did not make: the transport, a proxy, or a server that is older or newer than this client.
fn without_reason(status: &Status, report: Box<Report>) -> Error {
    if is_transport(status) || matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded) {
        let cause = innermost(status);
        let message = match cause {
            Some(cause) => format!("the server cannot be reached: {cause}"),
            None if report.message.is_empty() => "the server ended the call".to_owned(),
            None => format!("the server ended the call: {}", report.message),
        };
        return Error::unavailable(message);
    }
    match report.code {
        Code::Unimplemented => {
            Error::Fault(report).with_next("the server does not know this call: use a client and a server of the same version")
        }
        _ => by_code(report),
    }
}

fn by_code(report: Box<Report>) -> Error {
    match report.code {
        Code::Unauthenticated | Code::PermissionDenied => Error::Denied(report),
        Code::NotFound => Error::NotFound(report),
        Code::AlreadyExists | Code::Aborted => Error::Conflict(report),
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => Error::Unavailable(report),
        Code::Internal | Code::Unknown | Code::DataLoss | Code::Unimplemented => Error::Fault(report),
        _ => Error::Caller(report),
    }
}

/// Whether another try may do better: the call did not reach a decision, or its outcome is not known. Only for calls that may be made twice.
pub(crate) fn may_retry(status: &Status) -> bool {
    match status.code() {
        // An operator has to act first: nobody waits for that.
        Code::Unavailable if reason_of(status).as_deref() == Some("LOCKED") => false,
        // A server that drains cancels calls on its old connections.
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => true,
        Code::Unknown | Code::Internal => is_transport(status) || reason_of(status).as_deref() == Some("OUTCOME_UNKNOWN"),
        _ => reason_of(status).is_some_and(|reason| reason == "STORE_UNAVAILABLE" || reason == "OUTCOME_UNKNOWN"),
    }
}

pub(crate) fn reason_of(status: &Status) -> Option<String> {
    status.get_details_error_info().filter(|info| info.domain == DOMAIN).map(|info| info.reason)
}

/// A status made by this side of the wire, from a connection that failed.
fn is_transport(status: &Status) -> bool {
    std::error::Error::source(status).is_some() || status.message().starts_with("h2 protocol error")
}

fn innermost(status: &Status) -> Option<String> {
    let mut source = std::error::Error::source(status)?;
    while let Some(deeper) = source.source() {
        source = deeper;
    }
    Some(source.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake::refused;
    use tonic_types::ErrorDetails;

    #[test]
    fn refusal_keeps_reason_next_and_draft() {
        let error = Error::from(refused(Code::Aborted, "VERSION_CONFLICT", &[("next", "pull again"), ("draft", "d1")]));
        assert!(matches!(error, Error::Conflict(_)));
        assert_eq!((error.reason(), error.next(), error.draft()), ("VERSION_CONFLICT", "pull again", Some("d1")));
        assert_eq!(error.to_string(), "refused");
    }

    #[test]
    fn reason_decides_before_the_code_does() {
        assert!(matches!(Error::from(refused(Code::FailedPrecondition, "LEASE_LOST", &[])), Error::LeaseLost(_)));
        assert!(matches!(Error::from(refused(Code::FailedPrecondition, "DRAFT_NOT_FOUND", &[])), Error::NotFound(_)));
        assert!(matches!(Error::from(refused(Code::FailedPrecondition, "FROZEN", &[])), Error::Caller(_)));
        assert!(matches!(Error::from(refused(Code::Unknown, "OUTCOME_UNKNOWN", &[])), Error::Unavailable(_)));
    }

    #[test]
    fn reason_of_another_domain_counts_for_nothing() {
        let mut details = ErrorDetails::new();
        details.set_error_info("LEASE_LOST", "example.org", [("next".to_owned(), "x".to_owned())]);
        let error = Error::from(Status::with_error_details(Code::Aborted, "m", details));
        assert!(matches!(error, Error::Conflict(_)));
        assert_eq!(error.reason(), "");
    }

    #[test]
    fn only_undecided_calls_are_tried_again() {
        for (status, again) in [
            (Status::unavailable("x"), true),
            (refused(Code::Unavailable, "STORE_UNAVAILABLE", &[]), true),
            (refused(Code::Unavailable, "LOCKED", &[]), false),
            (Status::cancelled("operation was canceled"), true),
            (Status::unknown("h2 protocol error: error reading a body from connection"), true),
            (refused(Code::Unknown, "OUTCOME_UNKNOWN", &[]), true),
            (Status::unknown("x"), false),
            (refused(Code::FailedPrecondition, "LEASE_HELD", &[]), false),
            (refused(Code::ResourceExhausted, "QUEUE_FULL", &[]), false),
            (Status::unauthenticated("x"), false),
        ] {
            assert_eq!(may_retry(&status), again, "{status:?}");
        }
    }
}
