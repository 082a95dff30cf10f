//! Environments, shown.

use serde_json::{Value, json};

use super::{Out, Show, nonzero, print, span, time, wide, word};
use crate::cli::failure::Failure;
use crate::pb::v1::{Environment, Rules, Settings};

impl Show for Environment {
    const HEAD: &'static [&'static str] = &["NAME", "STATES", "FROZEN", "CREATED"];

    fn row(&self) -> Vec<String> {
        vec![self.name.clone(), self.states.to_string(), self.frozen.clone(), time(self.created_unix_ms)]
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        let settings = self.settings.unwrap_or_default();
        let or_empty = |value: Option<String>| value.unwrap_or_default();
        // A delay of nothing is worth telling.
        let duration = |value: Option<u64>| or_empty(value.map(|ms| if ms == 0 { "0s".to_owned() } else { span(ms) }));
        vec![
            ("name", self.name.clone()),
            ("states", self.states.to_string()),
            ("frozen", self.frozen.clone()),
            ("created", time(self.created_unix_ms)),
            ("signer", self.signer.clone()),
            ("recovery", self.recovery.join(" ")),
            ("identity", nonzero(self.identity.into())),
            ("lock delay", duration(settings.lock_delay_ms)),
            ("default ttl", duration(settings.default_ttl_ms)),
            ("max tickets", or_empty(settings.max_tickets.map(|n| n.to_string()))),
            ("max drafts", or_empty(settings.max_drafts.map(|n| n.to_string()))),
            ("max draft bytes", or_empty(settings.max_draft_bytes.map(|n| n.to_string()))),
            ("draft life", duration(settings.draft_life_ms)),
            ("opaque allowed", or_empty(settings.allow_opaque.map(|b| b.to_string()))),
            ("plaintext allowed", or_empty(settings.allow_plaintext.map(|b| b.to_string()))),
            ("unattended expires", or_empty(settings.unattended_expires.map(|b| b.to_string()))),
            ("plans take", or_empty(settings.plans.map(|_| plans(&settings)))),
            ("write without lock", or_empty(settings.write_without_lock.map(|b| b.to_string()))),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "settings": self.settings.as_ref().map(settings),
            "frozen": self.frozen,
            "states": wide(self.states),
            "created_unix_ms": wide(self.created_unix_ms),
            "signer": self.signer,
            "recovery": self.recovery,
            "identity": self.identity,
        })
    }
}

impl Out {
    /// Rules, one a line as they are written.
    pub(crate) fn rules(self, rules: &Rules) -> Result<(), Failure> {
        if self.is_json() {
            return self.card(&[], || json!({ "revision": wide(rules.revision), "rules": rules.rules }));
        }
        rules.rules.iter().try_for_each(|rule| print(&format!("{rule}\n")))
    }
}

fn settings(settings: &Settings) -> Value {
    json!({
        "lock_delay_ms": settings.lock_delay_ms.map(wide),
        "default_ttl_ms": settings.default_ttl_ms.map(wide),
        "max_tickets": settings.max_tickets,
        "max_drafts": settings.max_drafts,
        "max_draft_bytes": settings.max_draft_bytes.map(wide),
        "draft_life_ms": settings.draft_life_ms.map(wide),
        "allow_opaque": settings.allow_opaque,
        "allow_plaintext": settings.allow_plaintext,
        "unattended_expires": settings.unattended_expires,
        "plans": settings.plans.map(|_| plans(settings)),
        "write_without_lock": settings.write_without_lock,
    })
}

fn plans(settings: &Settings) -> String {
    word(settings.plans().as_str_name(), "PLANS_")
}
