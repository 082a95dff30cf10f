//! Events, shown.

use serde_json::{Value, json};

use super::leases::mode;
use super::{Show, time, wide, word};
use crate::client::WatchItem;
use crate::pb::v1::{Event, Mode};

impl Show for Event {
    const HEAD: &'static [&'static str] = &["AT", "EVENT", "TARGET", "WHAT", "BY", "MESSAGE"];

    fn row(&self) -> Vec<String> {
        let mut what = Vec::new();
        if self.version > 0 {
            what.push(format!("version {}", self.version));
        }
        if !self.draft.is_empty() {
            what.push(format!("draft {}", self.draft));
        }
        if self.token > 0 {
            what.push(format!("token {}", self.token));
        }
        if self.ticket > 0 {
            what.push(format!("ticket {}", self.ticket));
        }
        if self.mode() != Mode::Unspecified {
            what.push(mode(self.mode()));
        }
        vec![
            time(self.at_unix_ms),
            kind(self),
            self.target.clone(),
            what.join(", "),
            self.principal.clone(),
            self.message.clone(),
        ]
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        vec![("event", kind(self)), ("target", self.target.clone())]
    }

    fn json(&self) -> Value {
        json!({
            "cursor": self.cursor,
            "kind": kind(self),
            "target": self.target,
            "version": wide(self.version),
            "etag": self.etag,
            "draft": self.draft,
            "token": wide(self.token),
            "ticket": wide(self.ticket),
            "mode": mode(self.mode()),
            "principal": self.principal,
            "session": self.session,
            "message": self.message,
            "at_unix_ms": wide(self.at_unix_ms),
        })
    }
}

/// One JSON line of `watch`: `{"event": …}`, `{"mark": {"cursor": …}}` or `{"relist": {"cursor": …}}`.
impl Show for WatchItem {
    const HEAD: &'static [&'static str] = Event::HEAD;

    fn row(&self) -> Vec<String> {
        match self {
            Self::Event(event) => event.row(),
            Self::Mark { .. } => Vec::new(),
            Self::Relist { .. } => vec!["events were missed: list again".to_owned()],
        }
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn json(&self) -> Value {
        match self {
            Self::Event(event) => json!({ "event": event.json() }),
            Self::Mark { cursor } => json!({ "mark": { "cursor": cursor } }),
            Self::Relist { cursor } => json!({ "relist": { "cursor": cursor } }),
        }
    }
}

fn kind(event: &Event) -> String {
    word(event.kind().as_str_name(), "EVENT_KIND_")
}
