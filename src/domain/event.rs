//! What happened, as watchers hear of it.

use serde::{Deserialize, Serialize};

use super::ids::{DraftId, Etag, TicketId, Token, Version};
use super::lock::{Holder, Mode, Ticket};
use super::names::{EnvironmentName, Principal, Session, StatePath};

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the words are those of the design")]
pub enum EventKind {
    LeaseGranted,
    LeaseReleased,
    LeaseExpired,
    LeaseBroken,
    LeaseUnclaimed,
    TicketQueued,
    TicketGone,
    VersionWritten,
    DraftKept,
    DraftDiscarded,
    StateDeleted,
    StatePurged,
    Frozen,
    Unfrozen,
    EnvironmentCreated,
    EnvironmentChanged,
    EnvironmentDeleted,
    KeysChanged,
}

/// One event. Its revision is given by the store, in commit order; environment and path are those of the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "what does not apply is absent; the words are those of the design")]
pub struct Event {
    pub kind: EventKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<Etag>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<DraftId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Principal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
    /// Reasons of breaks, freezes and refusals, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl Event {
    /// An event with its kind only.
    #[must_use]
    pub fn new(kind: EventKind) -> Self {
        Self {
            kind,
            version: None,
            etag: None,
            draft: None,
            token: None,
            ticket: None,
            mode: None,
            principal: None,
            session: None,
            message: String::new(),
        }
    }

    pub(super) fn lease(kind: EventKind, holder: &Holder) -> Self {
        Self {
            token: Some(holder.token),
            ticket: holder.ticket,
            mode: Some(holder.mode),
            ..Self::new(kind).by(&holder.principal, Some(&holder.session))
        }
    }

    pub(super) fn ticket(kind: EventKind, ticket: &Ticket) -> Self {
        Self { ticket: Some(ticket.id), mode: Some(ticket.mode), ..Self::new(kind).by(&ticket.principal, Some(&ticket.session)) }
    }

    pub(super) fn by(self, principal: &Principal, session: Option<&Session>) -> Self {
        Self { principal: Some(principal.clone()), session: session.cloned(), ..self }
    }

    pub(super) fn because(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..self }
    }
}

/// An event where and when it happened, as a store returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its place in the history.
    pub revision: super::ids::Revision,
    /// The environment it is about.
    pub environment: EnvironmentName,
    /// The state it is about, if it is about one.
    pub path: Option<StatePath>,
    /// When, for people.
    pub wall: super::time::WallTime,
    /// What.
    pub event: Event,
}
