//! What every refusal must have.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::page;

/// What a refusal tells programs besides its code.
pub(crate) struct Refused {
    pub(crate) metadata: HashMap<String, String>,
    pub(crate) message: String,
}

/// The refusal in `answer`: with this gRPC code and this stable reason, and with a next step.
///
/// # Panics
/// If it is none, or another.
#[track_caller]
pub(crate) fn refused<T>(answer: Result<T, Status>, code: Code, reason: &str) -> Refused {
    let Err(status) = answer else { panic!("{reason} was expected, and the call went through") };
    let Some(info) = status.get_details_error_info() else { panic!("{reason} was expected; without details: {status:?}") };
    assert_eq!((status.code(), info.reason.as_str()), (code, reason), "{status:?}");
    let listed = page::rows().into_iter().any(|row| row.code == reason && row.status == code);
    assert!(listed, "docs/errors.md does not list {reason} as {code:?}");
    assert_eq!(info.domain, "leasehold.dev");
    let next = info.metadata.get("next").map(String::as_str).unwrap_or_default();
    assert!(!next.trim().is_empty(), "{reason} names no next step");
    assert!(!status.message().trim().is_empty(), "{reason} does not say what happened");
    Refused { metadata: info.metadata, message: status.message().to_owned() }
}
