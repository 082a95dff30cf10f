//! Why a use case fails, by who must act. The outside message never quotes a cause of ours.

use crate::domain::access::{AccessError, Crowded, Verb};
use crate::domain::format::{Format, FormatError};
use crate::domain::ids::DraftId;
use crate::domain::names::{NameError, Principal};
use crate::domain::refusal::Refusal;
use crate::domain::rules::RuleError;
use crate::store::StoreError;

/// A failed use case. `Display` says what happened, [`Error::next`] what to do, [`Error::code`] is stable (docs/errors.md).
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum Error {
    // The caller's to mend.
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{0}")]
    Name(#[from] NameError),
    #[error("{what}")]
    Argument { what: &'static str, next: &'static str },
    #[error("the request id is not a UUID")]
    RequestId,
    #[error("the document is refused: {0}")]
    Document(#[from] FormatError),
    #[error("the document has {size} bytes; {most} are allowed")]
    TooLarge { size: u64, most: u64 },
    #[error("the stream ended after {got} of {size} bytes")]
    Truncated { got: u64, size: u64 },
    #[error("the stream goes on after the {size} bytes that were announced")]
    TooLong { size: u64 },
    #[error("the stream does not keep the protocol: {0}")]
    Protocol(&'static str),
    #[error("a message cannot be read: {0}")]
    Message(String),
    #[error("no valid token was shown")]
    Unauthenticated,
    #[error("the keys of the token's issuer cannot be had now")]
    IssuerUnavailable,
    #[error("too many wrong tokens came from this address: it may try again in {} s", .0.as_secs().max(1))]
    Throttled(std::time::Duration),
    #[error("there is nothing here for you: it does not exist, or you have no right on it")]
    NotAllowed,
    #[error("{principal} has no right to `{verb}` on {object}")]
    Forbidden { principal: Principal, verb: Verb, object: String },
    #[error("this is more than you may hand on: it takes {0}")]
    Beyond(String),
    #[error("the token was made, but its answer was lost, and it is not kept")]
    SecretGone,
    #[error(transparent)]
    Crowded(#[from] Crowded),
    #[error("{0}")]
    Access(#[from] AccessError),
    #[error("documents are sealed for you to registered recipients only, and this is none of them")]
    RecipientForeign,
    #[error("the document was read too slowly: the memory that it takes is needed")]
    ReaderStalled,
    #[error("the cursor is malformed")]
    Cursor,
    #[error("the history of events has moved on: {why}")]
    Relist { why: &'static str, cursor: String },
    #[error("the wait is over; {held}")]
    WaitOver { held: String },
    #[error("version {0} has no bytes any more")]
    BytesGone(u64),
    #[error("{0}")]
    Unsealable(String),
    #[error("{0}")]
    Recipient(String),
    #[error("a document of the format `{format}` has no view `{view}`")]
    ViewUnavailable { view: &'static str, format: Format },
    #[error("{0}")]
    Rule(#[from] RuleError),
    #[error("a new environment needs recovery recipients, or an explicit word that there are none")]
    RecoveryRequired,
    // The operator's to mend.
    #[error("the rotation cannot end, since something does not open: {0}")]
    RotationStuck(String),
    #[error("the server is locked: it has no master key, and serves no documents")]
    Locked,
    #[error("the server's master key does not open this environment")]
    WrongMaster,
    #[error("the master key cannot be had: {0}")]
    Master(String),
    #[error("the server's disk is full; nothing was changed")]
    Full,
    #[error("the server's disk is full, and that secrets were read cannot be recorded: nothing is opened")]
    AuditFull,
    #[error("it is unknown whether the change was made")]
    Unknown,
    #[error("the server is stopping")]
    Stopping,
    // Ours to mend.
    #[error("the server failed; its log says why")]
    Internal,
}

impl Error {
    /// Logs a cause where it is handled, and gives the error that tells nothing of it.
    pub(super) fn internal(cause: &str) -> Self {
        tracing::error!(cause, "a use case failed");
        Self::Internal
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Name(NameError::Label) => "LABEL_INVALID",
            Self::Name(NameError::Session) => "SESSION_INVALID",
            Self::Name(NameError::Reason | NameError::InnerLock) | Self::Argument { .. } | Self::Protocol(_) => {
                "ARGUMENT_INVALID"
            }
            Self::Name(_) => "NAME_INVALID",
            Self::RequestId => "REQUEST_ID_INVALID",
            Self::Document(FormatError::Empty) => "DOCUMENT_EMPTY",
            Self::Document(_) => "DOCUMENT_INVALID",
            Self::TooLarge { .. } => "DOCUMENT_TOO_LARGE",
            Self::Truncated { .. } => "STREAM_TRUNCATED",
            Self::TooLong { .. } => "STREAM_TOO_LONG",
            Self::Message(_) => "MESSAGE_INVALID",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::IssuerUnavailable => "ISSUER_UNAVAILABLE",
            Self::Throttled(_) => "AUTHENTICATION_THROTTLED",
            Self::NotAllowed => "NOT_ALLOWED",
            Self::Forbidden { .. } => "PERMISSION_DENIED",
            Self::Beyond(_) => "BEYOND_RIGHTS",
            Self::SecretGone => "TOKEN_GONE",
            Self::Crowded(_) => "TOO_MANY_TOKENS",
            Self::Access(_) => "ACCESS_INVALID",
            Self::RecipientForeign => "RECIPIENT_FOREIGN",
            Self::ReaderStalled => "DEADLINE_EXCEEDED",
            Self::Cursor => "CURSOR_INVALID",
            Self::Relist { .. } => "WATCH_RELIST",
            Self::WaitOver { .. } => "WAIT_OVER",
            Self::BytesGone(_) => "VERSION_PURGED",
            Self::Unsealable(_) => "DOCUMENT_INVALID",
            Self::Recipient(_) => "RECIPIENT_INVALID",
            Self::RecoveryRequired => "RECOVERY_REQUIRED",
            Self::RotationStuck(_) => "ROTATION_INCOMPLETE",
            Self::ViewUnavailable { .. } => "VIEW_UNAVAILABLE",
            Self::Rule(_) => "RULE_INVALID",
            Self::Locked => "LOCKED",
            Self::WrongMaster => "MASTER_WRONG",
            Self::Master(_) => "MASTER_UNAVAILABLE",
            Self::Full => "STORE_FULL",
            Self::AuditFull => "AUDIT_FULL",
            Self::Unknown => "OUTCOME_UNKNOWN",
            Self::Stopping => "STORE_UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn next(&self) -> String {
        match self {
            Self::Refused(refusal) => return refusal.next(),
            Self::Name(_) => "keep the rule in the message",
            Self::Argument { next, .. } => next,
            Self::RequestId => "send a UUID, version 7 preferred, and keep it for retries of the same request",
            Self::Document(FormatError::Empty) => "to end a state, use `leasehold state delete`",
            Self::Document(_) => "write the document as the tool printed it; nothing was written",
            Self::TooLarge { .. } => "split the state, or raise `max_document` in the server's settings",
            Self::Truncated { .. } => "send it again, with the same request id; nothing was written",
            Self::TooLong { .. } => "announce the exact size; nothing was written",
            Self::Protocol(_) => "see the comments in proto/leasehold/v1",
            Self::Message(_) => "send what proto/leasehold/v1 says: text in UTF-8, chunks of at most 256 KiB",
            Self::Unauthenticated => "set LEASEHOLD_TOKEN, or LEASEHOLD_TOKEN_FILE, to a valid token",
            Self::IssuerUnavailable => "try again in a moment; whoever runs the server finds the reason in its log",
            Self::Throttled(_) => "wait, and look for whoever shows a token that is not accepted any more",
            Self::NotAllowed => "check the name, or ask whoever administers it for a grant",
            Self::Forbidden { .. } => "ask whoever administers it for a grant; `leasehold access explain` says what there is",
            Self::Beyond(_) => "ask somebody who has these rights; `leasehold access explain` says what there is",
            Self::SecretGone => "revoke it, and make another one with a new request id",
            Self::Crowded(crowded) => crowded.next(),
            Self::Access(AccessError::SubjectLetters) => {
                "type the name by hand, and compare it with what the issuer or the certificate says, byte for byte"
            }
            Self::Access(_) => "keep the rule in the message; docs/access.md has examples",
            Self::RecipientForeign => "have it registered with the grant or the token that allows `read.full` (`--recipient age1…`)",
            Self::ReaderStalled => "read it again, and take at least 4 KiB each second",
            Self::Cursor => "pass a cursor as the server gave it, or none",
            Self::Relist { .. } => "list the states again, then watch from the cursor in `metadata.cursor`",
            Self::WaitOver { .. } => "try again, wait longer, or look at the holder with `leasehold lease show`",
            Self::BytesGone(_) => "choose another version of `leasehold state history`",
            Self::Unsealable(_) => "split the document; nothing was written",
            Self::Recipient(_) => "pass age X25519 recipients, as `age-keygen` prints them",
            Self::RecoveryRequired => {
                "give `--recovery age1…` (make one with `age-keygen`, and keep it offline), or `--no-recovery`"
            }
            Self::RotationStuck(_) => {
                "put it back from a backup, or give it up (`leasehold state purge`, `drafts discard`); then run the same command again"
            }
            Self::ViewUnavailable { format: Format::Opaque, .. } => "read it with the view `full` or `sealed`",
            Self::ViewUnavailable { .. } => "read it with the view `full`, `redacted` or `sealed`",
            Self::Rule(_) => "write rules as `seal TYPE:PATH` or `except TYPE:PATH`; see docs/views.md",
            Self::Locked => "an operator has to run `leasehold unlock`; leases, history and watching work meanwhile",
            Self::WrongMaster => "put the right master key back, then `leasehold unlock`",
            Self::Master(_) => "mend what the message says, then `leasehold unlock`",
            Self::AuditFull => "free space on the server's disk, then try again; redacted views can be read meanwhile",
            Self::Full => "free space on the server's disk, then try again with the same request id",
            Self::Unknown => "try again with the same request id: what was done is not done twice",
            Self::Stopping => "try again in a moment, with the same request id",
            Self::Internal => "tell whoever runs the server, with the time of this error",
        }
        .to_owned()
    }

    /// The draft that keeps a refused document.
    #[must_use]
    pub fn draft(&self) -> Option<DraftId> {
        match self {
            Self::Refused(refusal) => refusal.draft(),
            _ => None,
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full,
            StoreError::Unknown => Self::Unknown,
            StoreError::Stopped => Self::Stopping,
            StoreError::Engine(cause) => Self::internal(&cause),
        }
    }
}
