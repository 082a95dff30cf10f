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

impl EventKind {
    /// All of them, in their order.
    pub const ALL: [Self; 18] = [
        Self::LeaseGranted,
        Self::LeaseReleased,
        Self::LeaseExpired,
        Self::LeaseBroken,
        Self::LeaseUnclaimed,
        Self::TicketQueued,
        Self::TicketGone,
        Self::VersionWritten,
        Self::DraftKept,
        Self::DraftDiscarded,
        Self::StateDeleted,
        Self::StatePurged,
        Self::Frozen,
        Self::Unfrozen,
        Self::EnvironmentCreated,
        Self::EnvironmentChanged,
        Self::EnvironmentDeleted,
        Self::KeysChanged,
    ];

    /// Its name, as it is stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeaseGranted => "lease_granted",
            Self::LeaseReleased => "lease_released",
            Self::LeaseExpired => "lease_expired",
            Self::LeaseBroken => "lease_broken",
            Self::LeaseUnclaimed => "lease_unclaimed",
            Self::TicketQueued => "ticket_queued",
            Self::TicketGone => "ticket_gone",
            Self::VersionWritten => "version_written",
            Self::DraftKept => "draft_kept",
            Self::DraftDiscarded => "draft_discarded",
            Self::StateDeleted => "state_deleted",
            Self::StatePurged => "state_purged",
            Self::Frozen => "frozen",
            Self::Unfrozen => "unfrozen",
            Self::EnvironmentCreated => "environment_created",
            Self::EnvironmentChanged => "environment_changed",
            Self::EnvironmentDeleted => "environment_deleted",
            Self::KeysChanged => "keys_changed",
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_all_listed_in_their_order_with_their_stored_names() {
        for (place, kind) in EventKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.name()));
        }
        // What is refused names all that would not be, each in backquotes.
        let refused = serde_json::from_str::<EventKind>("\"none\"").unwrap_err().to_string();
        assert_eq!(refused.matches('`').count() / 2 - 1, EventKind::ALL.len(), "{refused}");
    }
}
