//! What an environment's administrator may set, and the server's bounds around it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::refusal::Refusal;

/// Bounds and deadlines of the server; the defaults are those of the design. Lower ones are for tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The shortest ttl a lease may ask for.
    pub min_ttl: Duration,
    /// The longest one.
    pub max_ttl: Duration,
    /// The longest lock delay an environment may set.
    pub max_lock_delay: Duration,
    /// How long an offered grant waits to be claimed.
    pub claim: Duration,
    /// The same for a ticket that polls.
    pub claim_polling: Duration,
    /// How long a ticket lives without a sign of its waiter.
    pub ticket_life: Duration,
    /// The same for a ticket that polls.
    pub ticket_life_polling: Duration,
    /// When an unattended exclusive lease is overdue, counted from its last write.
    pub overdue: Duration,
    /// How long an unattended shared lease lives.
    pub unattended_shared: Duration,
    /// How long effects are remembered by their request id.
    pub request_memory: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            min_ttl: Duration::from_secs(10),
            max_ttl: Duration::from_secs(24 * 3600),
            max_lock_delay: Duration::from_secs(60),
            claim: Duration::from_secs(10),
            claim_polling: Duration::from_secs(20),
            ticket_life: Duration::from_secs(30),
            ticket_life_polling: Duration::from_secs(60),
            overdue: Duration::from_secs(2 * 3600),
            unattended_shared: Duration::from_secs(600),
            request_memory: Duration::from_secs(24 * 3600),
        }
    }
}

/// Settings of one environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The lock delay after a dead exclusive holder; stored with each grant.
    pub lock_delay: Duration,
    /// The ttl of a lease that asks for none.
    pub default_ttl: Duration,
    /// How many may wait for one lock.
    pub max_tickets: u32,
    /// How many drafts of one state are kept.
    pub max_drafts: u32,
    /// How many bytes they may take as stored.
    pub max_draft_bytes: u64,
    /// How long a draft is kept, in store time.
    pub draft_life: Duration,
    /// Whether opaque documents are taken.
    pub allow_opaque: bool,
    /// Whether documents are taken that the server can read.
    pub allow_plaintext: bool,
    /// Whether an unattended exclusive lease ends when it is overdue.
    pub unattended_expires: bool,
    /// What a plan of a stock client takes.
    pub plans: Plans,
    /// Whether stock clients may write without a lock: the write takes it and gives it back, if nobody holds it or waits for it.
    pub write_without_lock: bool,
}

/// What a plan of a stock client takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Plans {
    /// A shared lease: plans go beside each other, and not beside an apply.
    #[default]
    Shared,
    /// No lease: a plan reads what is current, and disturbs nobody.
    Snapshot,
    /// An exclusive lease, as an apply.
    Exclusive,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lock_delay: Duration::from_secs(15),
            default_ttl: Duration::from_secs(60),
            max_tickets: 1024,
            max_drafts: 100,
            max_draft_bytes: 1 << 30,
            draft_life: Duration::from_secs(30 * 24 * 3600),
            allow_opaque: true,
            allow_plaintext: true,
            unattended_expires: false,
            plans: Plans::Shared,
            write_without_lock: false,
        }
    }
}

impl Settings {
    /// The defaults, moved into the server's bounds where those are tighter.
    #[must_use]
    pub fn default_within(limits: &Limits) -> Self {
        let default = Self::default();
        Self {
            default_ttl: default.default_ttl.clamp(limits.min_ttl, limits.max_ttl),
            lock_delay: default.lock_delay.min(limits.max_lock_delay),
            ..default
        }
    }
}

/// A change of settings: what is none stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is the setting of the same name in `Settings`")]
pub struct SettingsChange {
    pub lock_delay: Option<Duration>,
    pub default_ttl: Option<Duration>,
    pub max_tickets: Option<u32>,
    pub max_drafts: Option<u32>,
    pub max_draft_bytes: Option<u64>,
    pub draft_life: Option<Duration>,
    pub allow_opaque: Option<bool>,
    pub allow_plaintext: Option<bool>,
    pub unattended_expires: Option<bool>,
    pub plans: Option<Plans>,
    pub write_without_lock: Option<bool>,
}

impl SettingsChange {
    /// The settings after the change.
    ///
    /// # Errors
    /// [`Refusal::SettingOutOfRange`] names the first setting outside the server's bounds.
    pub(super) fn apply(&self, old: &Settings, limits: &Limits) -> Result<Settings, Refusal> {
        let new = Settings {
            lock_delay: self.lock_delay.unwrap_or(old.lock_delay),
            default_ttl: self.default_ttl.unwrap_or(old.default_ttl),
            max_tickets: self.max_tickets.unwrap_or(old.max_tickets),
            max_drafts: self.max_drafts.unwrap_or(old.max_drafts),
            max_draft_bytes: self.max_draft_bytes.unwrap_or(old.max_draft_bytes),
            draft_life: self.draft_life.unwrap_or(old.draft_life),
            allow_opaque: self.allow_opaque.unwrap_or(old.allow_opaque),
            allow_plaintext: self.allow_plaintext.unwrap_or(old.allow_plaintext),
            unattended_expires: self.unattended_expires.unwrap_or(old.unattended_expires),
            plans: self.plans.unwrap_or(old.plans),
            write_without_lock: self.write_without_lock.unwrap_or(old.write_without_lock),
        };
        let range = |what: &str, ok: bool, rule: String| match ok {
            true => Ok(()),
            false => Err(Refusal::SettingOutOfRange { setting: what.to_owned(), rule }),
        };
        let seconds = |span: Duration| format!("{} s", span.as_secs_f64());
        range("lock_delay", new.lock_delay <= limits.max_lock_delay, format!("at most {}", seconds(limits.max_lock_delay)))?;
        range(
            "default_ttl",
            (limits.min_ttl..=limits.max_ttl).contains(&new.default_ttl),
            format!("{} to {}", seconds(limits.min_ttl), seconds(limits.max_ttl)),
        )?;
        range("max_tickets", (1..=100_000).contains(&new.max_tickets), "1 to 100000".to_owned())?;
        range("max_drafts", (1..=100_000).contains(&new.max_drafts), "1 to 100000".to_owned())?;
        range("max_draft_bytes", new.max_draft_bytes >= 1 << 20, "at least 1 MiB".to_owned())?;
        let lives = Duration::from_secs(3600)..=Duration::from_secs(10 * 366 * 24 * 3600);
        range("draft_life", lives.contains(&new.draft_life), "1 hour to 10 years".to_owned())?;
        range(
            "allow_opaque",
            new.allow_opaque || new.allow_plaintext,
            "opaque or plaintext documents must be allowed".to_owned(),
        )?;
        Ok(new)
    }
}
