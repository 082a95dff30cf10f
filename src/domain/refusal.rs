//! Why the rules say no: each with a stable code, what happened, and what to do next.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::document::Expect;
use super::format::Format;
use super::ids::{DraftId, GrantId, Token, Version};
use super::lock::{End, Mode};
use super::names::{EnvironmentName, Labels, Principal, Session};
use super::sealing::JobKind;

/// A holder as a refusal tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the words are those of the design")]
pub struct HeldBy {
    pub principal: Principal,
    pub session: Session,
    pub labels: Labels,
    pub mode: Mode,
    pub token: Token,
    pub overdue: bool,
}

/// What the rules refuse. `Display` says what happened; [`Refusal::next`] what to do; [`Refusal::code`] is stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum Refusal {
    #[error("there is no environment {0}")]
    EnvironmentNotFound(EnvironmentName),
    #[error("there is an environment {0} already")]
    EnvironmentExists(EnvironmentName),
    #[error("environment {environment} still has {states} states and {leases} live leases")]
    EnvironmentInUse { environment: EnvironmentName, states: u64, leases: u64 },
    #[error("{setting} is out of range: it must be {rule}")]
    SettingOutOfRange { setting: String, rule: String },
    #[error("the ttl is out of range: it must be {} s to {} s", .min.as_secs_f64(), .max.as_secs_f64())]
    TtlOutOfRange { min: Duration, max: Duration },
    #[error("{}", held_text(.holders, *.cooldown, *.waiting))]
    LeaseHeld { holders: Vec<HeldBy>, cooldown: Option<Duration>, waiting: u32 },
    #[error("{0} already wait for this lock, which is as many as the environment allows")]
    QueueFull(u32),
    #[error("no new leases are granted: {0}")]
    Frozen(String),
    #[error("this session has the lock or a ticket in the other mode; there is no upgrade")]
    ModeConflict,
    #[error("lease {token} is gone: {}", .how.as_ref().map_or_else(|| "it ended some time ago".to_owned(), end_text))]
    LeaseLost { token: Token, how: Option<End> },
    #[error("lease {0} belongs to another session or principal")]
    LeaseForeign(Token),
    #[error("this lock never granted token {0}")]
    TokenUnknown(Token),
    #[error("lease {0} is shared: it may write only while the state has no version")]
    LeaseShared(Token),
    #[error("this lock id was used before, and its lease {token} is over: {}", end_text(.how))]
    SessionSpent { token: Token, how: End },
    #[error("no lease of this lock has that lock id, or had it within the last minute")]
    SessionUnknown,
    #[error("a write needs a lease here: this environment takes none without")]
    LeaseRequired,
    #[error("this acquire was answered before, and what it got has ended: {}", .how.as_ref().map_or_else(|| "its ticket left the queue".to_owned(), end_text))]
    AcquireDead { how: Option<End> },
    #[error("lease {token} cannot be taken again: {why}")]
    ReacquireRefused { token: Token, why: String },
    #[error("token {expected} does not hold this lock any more")]
    BreakStale { expected: Token, holding: Vec<Token> },
    #[error("nobody holds this lock")]
    NothingToBreak,
    #[error("expected version {} to be current, but it is {}", .expected.version, .current.version)]
    VersionConflict { expected: Expect, current: Expect },
    #[error("serial {got} is not higher than the current {current}")]
    SerialNotHigher { current: u64, got: u64 },
    #[error("the document has another lineage than the current version")]
    LineageDiffers,
    #[error("this state is {fixed}, the document is {got}")]
    FormatDiffers { fixed: Format, got: Format },
    #[error("this environment takes no opaque documents")]
    OpaqueRefused,
    #[error("this environment takes no documents that the server can read")]
    PlaintextRefused,
    #[error("there is no such state, or it is deleted")]
    StateNotFound,
    #[error("there is no version {0} of this state")]
    VersionNotFound(Version),
    #[error("version {0} is current and stays")]
    VersionCurrent(Version),
    #[error("there is no draft {0} of this state")]
    DraftNotFound(DraftId),
    #[error("{why}; and the document was NOT kept, since the drafts of this state are full ({drafts} drafts, {bytes} bytes)")]
    DraftQuota { why: Box<Refusal>, drafts: u32, bytes: u64 },
    #[error("there is, or was, a token {0}")]
    TokenExists(String),
    #[error("there is no token {0}")]
    TokenNotFound(String),
    #[error("a token was exchanged for this credential before")]
    CredentialSpent,
    #[error("there is no grant {0}")]
    GrantNotFound(GrantId),
    #[error("request id used before, for another request")]
    RequestIdReused,
    #[error(
        "the document has the mark of a redacted view where a secret stands or stood: it would replace the secret by the mark"
    )]
    MarkWritten,
    /// The document was sealed on a ground that has moved: seal it again. Never told to callers.
    #[error("the state's keys or values have changed since the document was sealed")]
    GroundMoved,
    /// A write without a lease was sealed for another token than the one that comes next: seal it again. Never told to callers.
    #[error("the lock was granted since the document was sealed")]
    TokenMoved(Token),
    #[error("the keys or rules of the environment were changed by somebody else in between")]
    KeysMoved,
    #[error("a {} of this environment is under way ({done} of {total} done)", .kind.verb())]
    RotationRunning { kind: JobKind, done: u64, total: u64 },
    #[error("no such rotation is under way")]
    RotationNone,
    #[error("{left} things are still under the old keys")]
    RotationIncomplete { left: u64 },
    #[error("no key of this environment is retired: there is nothing to destroy")]
    NothingRetired,
    /// The refusal of a write whose document is kept.
    #[error("{why}; the document is kept as draft {draft}")]
    Kept { draft: DraftId, why: Box<Refusal> },
}

impl Refusal {
    /// The stable code, as in docs/errors.md. That of a kept write is the code of its reason.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::EnvironmentNotFound(_) => "ENVIRONMENT_NOT_FOUND",
            Self::EnvironmentExists(_) => "ENVIRONMENT_EXISTS",
            Self::EnvironmentInUse { .. } => "ENVIRONMENT_IN_USE",
            Self::SettingOutOfRange { .. } => "ARGUMENT_INVALID",
            Self::TtlOutOfRange { .. } => "TTL_OUT_OF_RANGE",
            Self::LeaseHeld { .. } => "LEASE_HELD",
            Self::QueueFull(_) => "QUEUE_FULL",
            Self::Frozen(_) => "FROZEN",
            Self::ModeConflict => "MODE_CONFLICT",
            Self::LeaseLost { .. } => "LEASE_LOST",
            Self::LeaseForeign(_) => "LEASE_FOREIGN",
            Self::TokenUnknown(_) => "TOKEN_UNKNOWN",
            Self::LeaseShared(_) => "LEASE_SHARED",
            Self::AcquireDead { .. } => "ACQUIRE_DEAD",
            Self::SessionSpent { .. } => "SESSION_SPENT",
            Self::SessionUnknown => "SESSION_UNKNOWN",
            Self::LeaseRequired => "LEASE_REQUIRED",
            Self::ReacquireRefused { .. } => "REACQUIRE_REFUSED",
            Self::BreakStale { .. } | Self::NothingToBreak => "BREAK_STALE",
            Self::VersionConflict { .. } => "VERSION_CONFLICT",
            Self::SerialNotHigher { .. } => "SERIAL_NOT_HIGHER",
            Self::LineageDiffers => "LINEAGE_DIFFERS",
            Self::FormatDiffers { .. } => "FORMAT_DIFFERS",
            Self::OpaqueRefused => "OPAQUE_REFUSED",
            Self::PlaintextRefused => "PLAINTEXT_REFUSED",
            Self::StateNotFound => "STATE_NOT_FOUND",
            Self::MarkWritten => "MARK_WRITTEN",
            Self::GroundMoved | Self::TokenMoved(_) => "INTERNAL",
            Self::KeysMoved => "KEYS_MOVED",
            Self::RotationRunning { .. } => "ROTATION_RUNNING",
            Self::RotationNone => "ROTATION_NONE",
            Self::RotationIncomplete { .. } => "ROTATION_INCOMPLETE",
            Self::NothingRetired => "KEYS_NOT_RETIRED",
            Self::VersionNotFound(_) => "VERSION_NOT_FOUND",
            Self::VersionCurrent(_) => "VERSION_CURRENT",
            Self::DraftNotFound(_) => "DRAFT_NOT_FOUND",
            Self::DraftQuota { .. } => "DRAFT_QUOTA",
            Self::TokenExists(_) => "TOKEN_NAME_TAKEN",
            Self::TokenNotFound(_) => "API_TOKEN_NOT_FOUND",
            Self::CredentialSpent => "CREDENTIAL_SPENT",
            Self::GrantNotFound(_) => "GRANT_NOT_FOUND",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
            Self::Kept { why, .. } => why.code(),
        }
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn next(&self) -> String {
        match self {
            Self::EnvironmentNotFound(name) => format!("create it with `leasehold env create {name}`, or check the name"),
            Self::EnvironmentExists(_) => "use it, or choose another name".to_owned(),
            Self::EnvironmentInUse { .. } => {
                "release the leases, delete the states, or give `--force` to lose the states".to_owned()
            }
            Self::SettingOutOfRange { .. } | Self::TtlOutOfRange { .. } => "give a value in the range".to_owned(),
            Self::LeaseHeld { .. } => {
                "wait with `--wait 10m`, or, if the holder is known to be dead, `leasehold lease break`".to_owned()
            }
            Self::QueueFull(_) => "try again later, or raise `max_tickets` of the environment".to_owned(),
            Self::Frozen(_) => "wait (`--wait`) until it is unfrozen, or ask who froze it".to_owned(),
            Self::ModeConflict => "release the lease or cancel the ticket first, or use another session".to_owned(),
            Self::LeaseLost { how: Some(End::Expired), .. } => {
                "if nobody took the lock since, `leasehold lease reacquire`; otherwise acquire again".to_owned()
            }
            Self::LeaseLost { .. } | Self::AcquireDead { .. } => "acquire again, with a new request id".to_owned(),
            Self::SessionSpent { .. } => "run the command again: each run locks with an id of its own".to_owned(),
            Self::SessionUnknown => "look who holds the lock with `leasehold lease show`".to_owned(),
            Self::LeaseRequired => {
                "lock before writing (without `-lock=false`), or allow it with `leasehold env set --write-without-lock`"
                    .to_owned()
            }
            Self::LeaseForeign(_) => "use the session and the token that the acquire returned".to_owned(),
            Self::TokenUnknown(_) => "check the token and the state's name; a token belongs to one lock".to_owned(),
            Self::LeaseShared(_) => "release it and acquire an exclusive lease".to_owned(),
            Self::ReacquireRefused { .. } => "acquire as anybody else does".to_owned(),
            Self::BreakStale { .. } | Self::NothingToBreak => {
                "look again with `leasehold lease show`: nothing was broken".to_owned()
            }
            Self::VersionConflict { .. } => "read the current version, plan again, and write again".to_owned(),
            Self::SerialNotHigher { .. } => "read the current version and write on top of it".to_owned(),
            Self::LineageDiffers => {
                "check that this is the right state; to replace it on purpose, write with `--rewrite`".to_owned()
            }
            Self::FormatDiffers { .. } => "write the same format, or delete the state first".to_owned(),
            Self::OpaqueRefused => "write plain documents, or allow opaque ones with `leasehold env set`".to_owned(),
            Self::PlaintextRefused => "encrypt on the client, or allow plaintext with `leasehold env set`".to_owned(),
            Self::StateNotFound => "check the name with `leasehold state list`; a state exists from its first version".to_owned(),
            Self::VersionNotFound(_) => "list the versions with `leasehold state history --all`".to_owned(),
            Self::VersionCurrent(_) => "write or delete the state first".to_owned(),
            Self::DraftNotFound(_) => "list the drafts with `leasehold state drafts list`".to_owned(),
            Self::DraftQuota { .. } => "KEEP YOUR COPY; then promote or discard drafts and write again".to_owned(),
            Self::TokenExists(_) => {
                "choose another name: a revoked token keeps its own, so that it never means anybody else".to_owned()
            }
            Self::TokenNotFound(_) => "list the tokens with `leasehold token list`".to_owned(),
            Self::CredentialSpent => "get a new one from its issuer: each is exchanged once".to_owned(),
            Self::GrantNotFound(_) => "list the grants with `leasehold access list`".to_owned(),
            Self::RequestIdReused => "make a new request id for every request; only a retry keeps its id".to_owned(),
            Self::MarkWritten => {
                "write the document itself (`leasehold state pull` with the full view), never a redacted one".to_owned()
            }
            Self::GroundMoved | Self::TokenMoved(_) => "try again".to_owned(),
            Self::KeysMoved => "look again with `leasehold keys report`, then try again".to_owned(),
            Self::RotationRunning { .. } => "wait for its end: `leasehold keys report` shows how far it is".to_owned(),
            Self::RotationNone => "look with `leasehold keys report`".to_owned(),
            Self::NothingRetired => "retire keys first, with `leasehold keys rewrap` or `leasehold keys reencrypt`".to_owned(),
            Self::RotationIncomplete { .. } => "run the same command again: it goes on where it was".to_owned(),
            Self::Kept { draft, .. } => format!(
                "nothing is lost: look with `leasehold state drafts diff … {draft}`, then promote it under a lease of yours, or discard it"
            ),
        }
    }

    /// The draft that keeps the refused document.
    #[must_use]
    pub fn draft(&self) -> Option<DraftId> {
        match self {
            Self::Kept { draft, .. } => Some(*draft),
            _ => None,
        }
    }
}

fn held_text(holders: &[HeldBy], cooldown: Option<Duration>, waiting: u32) -> String {
    let mut text = match holders {
        [] => match cooldown {
            Some(left) => format!("the last holder died; the lock delay runs for {:.1} s more", left.as_secs_f64()),
            None => "others wait for this lock".to_owned(),
        },
        [one] => format!("held by {} (session {}, token {})", who(one), one.session, one.token),
        [one, rest @ ..] => format!("held by {} (session {}) and {} more", who(one), one.session, rest.len()),
    };
    if waiting > 0 {
        text.push_str(&format!(", {waiting} waiting"));
    }
    text
}

fn who(holder: &HeldBy) -> String {
    let Labels { who, host, run_url, .. } = &holder.labels;
    let mut text = if who.is_empty() { holder.principal.to_string() } else { who.clone() };
    if !host.is_empty() {
        text.push_str(&format!(" on {host}"));
    }
    if !run_url.is_empty() {
        text.push_str(&format!(", {run_url}"));
    }
    if holder.overdue {
        text.push_str(", overdue");
    }
    text
}

/// How a lease ended, for people.
#[must_use]
pub fn end_text(end: &End) -> String {
    match end {
        End::Expired => "it expired".to_owned(),
        End::Unclaimed => "it was offered and not claimed in time".to_owned(),
        End::Released => "it was released".to_owned(),
        End::Abandoned => "it was released as abandoned".to_owned(),
        End::Broken { by, reason } => format!("{by} broke it: {reason}"),
    }
}
