//! Locks, holders and tickets, shown.

use serde_json::{Value, json};

use super::{Show, nonzero, span, time, wide, word};
use crate::client::LeaseRef;
use crate::pb::v1::{Holder, Labels, Lock, Mode, Queued, Ticket};

impl Show for Lock {
    const HEAD: &'static [&'static str] = &["STATE", "MODE", "TOKEN", "HOLDER", "LEFT", "WAITING", "NOTE"];

    fn row(&self) -> Vec<String> {
        let first = self.holders.first();
        let more = if self.holders.len() > 1 { format!(" and {} more", self.holders.len() - 1) } else { String::new() };
        vec![
            self.state.clone(),
            first.map(|holder| mode(holder.mode())).unwrap_or_default(),
            first.map(|holder| holder.token.to_string()).unwrap_or_default(),
            first.map(|holder| who(holder) + &more).unwrap_or_default(),
            first.map(|holder| span(holder.remaining_ms)).unwrap_or_default(),
            nonzero(self.waiting.into()),
            self.note(),
        ]
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        let mut card = vec![
            ("state", self.state.clone()),
            ("last token", nonzero(self.last_token)),
            ("waiting", nonzero(self.waiting.into())),
            ("note", self.note()),
        ];
        for holder in &self.holders {
            card.push(("holder", who(holder)));
            card.extend(holder.card());
        }
        if self.holders.is_empty() {
            card.push(("holder", "nobody".to_owned()));
        }
        card
    }

    fn json(&self) -> Value {
        json!({
            "state": self.state,
            "holders": self.holders.iter().map(Show::json).collect::<Vec<_>>(),
            "waiting": self.waiting,
            "cooldown_ms": wide(self.cooldown_ms),
            "frozen": self.frozen,
            "last_token": wide(self.last_token),
        })
    }
}

impl Lock {
    fn note(&self) -> String {
        let mut notes = Vec::new();
        if !self.frozen.is_empty() {
            notes.push(format!("frozen: {}", self.frozen));
        }
        if self.cooldown_ms > 0 {
            notes.push(format!("cools down for {}", span(self.cooldown_ms)));
        }
        if self.holders.iter().any(|holder| !holder.claimed) {
            notes.push("offered".to_owned());
        }
        if let Some(longest) = self.holders.iter().filter(|holder| holder.unattended).max_by_key(|holder| holder.silent_ms) {
            let word = if longest.overdue { "overdue" } else { "unattended" };
            notes.push(format!("{word}, silent for {}", span(longest.silent_ms.max(1_000))));
        }
        notes.join("; ")
    }
}

impl Show for Holder {
    const HEAD: &'static [&'static str] = &["TOKEN", "MODE", "HOLDER", "SESSION", "LEFT", "SINCE"];

    fn row(&self) -> Vec<String> {
        vec![
            self.token.to_string(),
            mode(self.mode()),
            who(self),
            self.session.clone(),
            span(self.remaining_ms),
            time(self.granted_unix_ms),
        ]
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        let labels = self.labels.clone().unwrap_or_default();
        vec![
            ("token", self.token.to_string()),
            ("mode", mode(self.mode())),
            ("principal", self.principal.clone()),
            ("session", self.session.clone()),
            ("host", labels.host),
            ("pid", labels.pid),
            ("run", labels.run_url),
            ("commit", labels.commit),
            ("ttl", span(self.ttl_ms)),
            ("left", span(self.remaining_ms)),
            ("since", time(self.granted_unix_ms)),
            ("operation", labels.operation),
            ("tool version", labels.tool_version),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "principal": self.principal,
            "session": self.session,
            "mode": mode(self.mode()),
            "token": wide(self.token),
            "ttl_ms": wide(self.ttl_ms),
            "remaining_ms": wide(self.remaining_ms),
            "claimed": self.claimed,
            "unattended": self.unattended,
            "silent_ms": wide(self.silent_ms),
            "overdue": self.overdue,
            "labels": self.labels.as_ref().map(labels),
            "granted_unix_ms": wide(self.granted_unix_ms),
        })
    }
}

impl Show for Ticket {
    const HEAD: &'static [&'static str] = &["PLACE", "TICKET", "MODE", "WHO", "SESSION", "SINCE", "LIFE LEFT"];

    fn row(&self) -> Vec<String> {
        vec![
            self.place.to_string(),
            self.ticket.to_string(),
            mode(self.mode()),
            named(&self.principal, self.labels.as_ref()),
            self.session.clone(),
            time(self.queued_unix_ms),
            span(self.remaining_ms),
        ]
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        vec![("place", self.place.to_string()), ("ticket", self.ticket.to_string()), ("session", self.session.clone())]
    }

    fn json(&self) -> Value {
        json!({
            "ticket": wide(self.ticket),
            "place": self.place,
            "principal": self.principal,
            "session": self.session,
            "mode": mode(self.mode()),
            "labels": self.labels.as_ref().map(labels),
            "queued_unix_ms": wide(self.queued_unix_ms),
            "remaining_ms": wide(self.remaining_ms),
        })
    }
}

impl Show for Queued {
    const HEAD: &'static [&'static str] = &["TICKET", "PLACE"];

    fn row(&self) -> Vec<String> {
        vec![self.ticket.to_string(), self.place.to_string()]
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        vec![("ticket", self.ticket.to_string()), ("place", self.place.to_string()), ("behind", behind(self))]
    }

    fn json(&self) -> Value {
        json!({
            "ticket": wide(self.ticket),
            "place": self.place,
            "holders": self.holders.iter().map(Show::json).collect::<Vec<_>>(),
            "cooldown_ms": wide(self.cooldown_ms),
            "frozen": self.frozen,
        })
    }
}

/// A lease of the caller; never its secret.
pub(crate) fn granted(lease: &LeaseRef, ttl_ms: u64) -> (Vec<(&'static str, String)>, Value) {
    let card = vec![
        ("state", lease.state.clone()),
        ("session", lease.session.clone()),
        ("token", lease.token.to_string()),
        ("ttl", span(ttl_ms)),
    ];
    let json = json!({
        "state": lease.state,
        "session": lease.session,
        "token": wide(lease.token),
        "ttl_ms": wide(ttl_ms),
    });
    (card, json)
}

/// Whom a waiter waits for.
pub(crate) fn behind(queued: &Queued) -> String {
    if !queued.frozen.is_empty() {
        return format!("frozen: {}", queued.frozen);
    }
    match queued.holders.split_first() {
        Some((first, [])) => format!("{} (token {})", who(first), first.token),
        Some((first, more)) => format!("{} (token {}) and {} more", who(first), first.token, more.len()),
        None if queued.cooldown_ms > 0 => "the lock delay after a dead holder".to_owned(),
        None => String::new(),
    }
}

pub(crate) fn who(holder: &Holder) -> String {
    named(&holder.principal, holder.labels.as_ref())
}

pub(crate) fn mode(mode: Mode) -> String {
    word(mode.as_str_name(), "MODE_")
}

fn named(principal: &str, labels: Option<&Labels>) -> String {
    let Some(labels) = labels else { return principal.to_owned() };
    let who = if labels.who.is_empty() { principal } else { &labels.who };
    if labels.host.is_empty() { who.to_owned() } else { format!("{who}@{}", labels.host) }
}

fn labels(labels: &Labels) -> Value {
    json!({
        "who": labels.who,
        "host": labels.host,
        "pid": labels.pid,
        "run_url": labels.run_url,
        "commit": labels.commit,
        "operation": labels.operation,
        "tool_version": labels.tool_version,
    })
}
