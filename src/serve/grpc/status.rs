//! Errors on the wire: one function maps them all.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::domain::refusal::Refusal;
use crate::service::Error;

/// The domain of our error codes.
pub(super) const DOMAIN: &str = "leasehold.dev";

/// An error as a gRPC status: what happened in the message, the stable code and what to do next in `ErrorInfo`.
pub(super) fn of(error: &Error) -> Status {
    let mut metadata = HashMap::from([("next".to_owned(), error.next())]);
    if let Some(draft) = error.draft() {
        metadata.insert("draft".to_owned(), draft.to_string());
    }
    match error {
        Error::Relist { cursor, .. } => drop(metadata.insert("cursor".to_owned(), cursor.clone())),
        Error::Refused(refusal) => more(refusal, &mut metadata),
        _ => {}
    }
    let mut details = ErrorDetails::new();
    details.set_error_info(error.code(), DOMAIN, metadata);
    Status::with_error_details(code(error), error.to_string(), details)
}

fn code(error: &Error) -> Code {
    match error {
        Error::Refused(refusal) => refusal_code(refusal),
        Error::Name(_)
        | Error::Argument { .. }
        | Error::RequestId
        | Error::Document(_)
        | Error::Truncated { .. }
        | Error::TooLong { .. }
        | Error::Protocol(_)
        | Error::Message(_)
        | Error::Unsealable(_)
        | Error::RecoveryRequired
        | Error::Rule(_)
        | Error::Recipient(_)
        | Error::Access(_)
        | Error::Cursor => Code::InvalidArgument,
        Error::ReaderStalled => Code::DeadlineExceeded,
        Error::TooLarge { .. } | Error::Crowded(_) => Code::ResourceExhausted,
        Error::Unauthenticated => Code::Unauthenticated,
        Error::NotAllowed | Error::Forbidden { .. } | Error::Beyond(_) | Error::RecipientForeign => Code::PermissionDenied,
        Error::SecretGone => Code::FailedPrecondition,
        Error::Relist { .. } => Code::OutOfRange,
        Error::WaitOver { .. }
        | Error::BytesGone(_)
        | Error::WrongMaster
        | Error::Master(_)
        | Error::RotationStuck(_)
        | Error::ViewUnavailable { .. } => Code::FailedPrecondition,
        Error::Full | Error::AuditFull => Code::ResourceExhausted,
        Error::Unknown => Code::Unknown,
        Error::Stopping | Error::Locked | Error::Throttled(_) | Error::IssuerUnavailable => Code::Unavailable,
        Error::Internal => Code::Internal,
    }
}

fn refusal_code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::EnvironmentNotFound(_) | Refusal::StateNotFound | Refusal::VersionNotFound(_) | Refusal::DraftNotFound(_) => {
            Code::NotFound
        }
        Refusal::TokenNotFound(_) | Refusal::GrantNotFound(_) => Code::NotFound,
        Refusal::EnvironmentExists(_) | Refusal::RequestIdReused | Refusal::TokenExists(_) => Code::AlreadyExists,
        Refusal::SettingOutOfRange { .. } | Refusal::TtlOutOfRange { .. } => Code::InvalidArgument,
        Refusal::QueueFull(_) | Refusal::DraftQuota { .. } => Code::ResourceExhausted,
        Refusal::VersionConflict { .. } | Refusal::KeysMoved => Code::Aborted,
        Refusal::Kept { why, .. } => refusal_code(why),
        _ => Code::FailedPrecondition,
    }
}

/// What programs may want to know of a refusal.
fn more(refusal: &Refusal, metadata: &mut HashMap<String, String>) {
    match refusal {
        Refusal::Kept { why, .. } => more(why, metadata),
        Refusal::VersionConflict { current, .. } => {
            metadata.insert("current_version".to_owned(), current.version.to_string());
            metadata.extend(current.etag.map(|etag| ("current_etag".to_owned(), etag.to_string())));
        }
        Refusal::SerialNotHigher { current, .. } => drop(metadata.insert("current_serial".to_owned(), current.to_string())),
        Refusal::LeaseHeld { holders, .. } => {
            if let Some(holder) = holders.first() {
                metadata.insert("holder".to_owned(), holder.principal.to_string());
                metadata.insert("holder_session".to_owned(), holder.session.to_string());
                metadata.insert("holder_token".to_owned(), holder.token.to_string());
            }
        }
        _ => {}
    }
}
