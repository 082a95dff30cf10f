//! Versions, drafts and differences, shown.

use serde_json::{Value, json};

use super::{Show, nonzero, time, wide, word};
use crate::pb::v1::change::Kind;
use crate::pb::v1::{
    Change, DraftInfo, Expect, Format, HistoryEntry, Origin, PullInfo, PushResponse, SealedPlace, ShowResponse, VersionInfo,
    Warning,
};

impl Show for VersionInfo {
    const HEAD: &'static [&'static str] = &["STATE", "VERSION", "FORMAT", "SERIAL", "SIZE", "WRITTEN", "BY", "NOTE"];

    fn row(&self) -> Vec<String> {
        vec![
            self.state.clone(),
            self.version.to_string(),
            format(self.format()),
            nonzero(self.serial),
            self.shown_size.to_string(),
            time(self.written_unix_ms),
            self.principal.clone(),
            self.note(),
        ]
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        vec![
            ("state", self.state.clone()),
            ("version", self.version.to_string()),
            ("etag", self.etag.clone()),
            ("previous etag", self.previous_etag.clone()),
            ("token", self.token.to_string()),
            ("principal", self.principal.clone()),
            ("session", self.session.clone()),
            ("format", format(self.format())),
            ("serial", nonzero(self.serial)),
            ("lineage", self.lineage.clone()),
            ("size", self.shown_size.to_string()),
            ("written", time(self.written_unix_ms)),
            ("inner lock id", self.inner_lock_id.clone()),
            ("note", self.note()),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "state": self.state,
            "version": wide(self.version),
            "etag": self.etag,
            "previous_etag": self.previous_etag,
            "token": wide(self.token),
            "principal": self.principal,
            "session": self.session,
            "format": format(self.format()),
            "serial": wide(self.serial),
            "lineage": self.lineage,
            "shown_size": wide(self.shown_size),
            "origin": word(self.origin().as_str_name(), "ORIGIN_"),
            "origin_version": wide(self.origin_version),
            "origin_draft": self.origin_draft,
            "written_unix_ms": wide(self.written_unix_ms),
            "inner_lock_id": self.inner_lock_id,
            "deleted": self.deleted,
            "purged": self.purged,
        })
    }
}

impl VersionInfo {
    fn note(&self) -> String {
        let origin = match self.origin() {
            Origin::Rollback => format!("rollback to {}", self.origin_version),
            Origin::Promote => format!("promoted draft {}", self.origin_draft),
            Origin::Delete => "deleted".to_owned(),
            Origin::Write | Origin::Unspecified => String::new(),
        };
        match (origin.is_empty(), self.purged) {
            (_, false) => origin,
            (true, true) => "purged".to_owned(),
            (false, true) => format!("{origin}; purged"),
        }
    }
}

impl Show for HistoryEntry {
    const HEAD: &'static [&'static str] =
        &["VERSION", "SNAPSHOTS", "SERIAL", "SIZE", "WRITTEN", "BY", "SESSION", "TOKEN", "NOTE"];

    fn row(&self) -> Vec<String> {
        let version = self.version.clone().unwrap_or_default();
        let note = version.note();
        vec![
            version.version.to_string(),
            self.snapshots.to_string(),
            nonzero(version.serial),
            version.shown_size.to_string(),
            time(version.written_unix_ms),
            version.principal,
            version.session,
            version.token.to_string(),
            note,
        ]
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        self.version.as_ref().map(Show::card).unwrap_or_default()
    }

    fn json(&self) -> Value {
        json!({
            "version": self.version.as_ref().map(Show::json),
            "snapshots": self.snapshots,
            "first_version": wide(self.first_version),
        })
    }
}

impl Show for DraftInfo {
    const HEAD: &'static [&'static str] = &["DRAFT", "REASON", "TOKEN", "SERIAL", "SIZE", "WRITTEN", "BY", "EXPIRES"];

    fn row(&self) -> Vec<String> {
        vec![
            self.draft.clone(),
            self.reason.clone(),
            self.token.to_string(),
            nonzero(self.serial),
            self.shown_size.to_string(),
            time(self.written_unix_ms),
            self.principal.clone(),
            time(self.expires_unix_ms),
        ]
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        let expected = self.expect.as_ref();
        vec![
            ("state", self.state.clone()),
            ("draft", self.draft.clone()),
            ("refused for", self.reason.clone()),
            ("principal", self.principal.clone()),
            ("session", self.session.clone()),
            ("token", self.token.to_string()),
            ("expected version", expected.map(|expect| expect.version.to_string()).unwrap_or_default()),
            ("expected etag", expected.map(|expect| expect.etag.clone()).unwrap_or_default()),
            ("format", format(self.format())),
            ("serial", nonzero(self.serial)),
            ("lineage", self.lineage.clone()),
            ("size", self.shown_size.to_string()),
            ("written", time(self.written_unix_ms)),
            ("expires", time(self.expires_unix_ms)),
            ("drafts of this lease", nonzero(self.snapshots.into())),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "state": self.state,
            "draft": self.draft,
            "reason": self.reason,
            "principal": self.principal,
            "session": self.session,
            "token": wide(self.token),
            "expect": self.expect.as_ref().map(expect),
            "format": format(self.format()),
            "serial": wide(self.serial),
            "lineage": self.lineage,
            "shown_size": wide(self.shown_size),
            "written_unix_ms": wide(self.written_unix_ms),
            "expires_unix_ms": wide(self.expires_unix_ms),
            "snapshots": self.snapshots,
        })
    }
}

impl Show for Change {
    const HEAD: &'static [&'static str] = &["", "WHAT", "ADDRESS", "ATTRIBUTES"];

    fn row(&self) -> Vec<String> {
        let sign = match self.kind() {
            Kind::Added => "+",
            Kind::Changed => "~",
            Kind::Removed => "-",
            Kind::Unspecified => "?",
        };
        vec![sign.to_owned(), self.what.clone(), self.address.clone(), self.attributes.join(", ")]
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        vec![("address", self.address.clone()), ("attributes", self.attributes.join(", "))]
    }

    fn json(&self) -> Value {
        json!({
            "kind": word(self.kind().as_str_name(), "KIND_"),
            "what": self.what,
            "address": self.address,
            "attributes": self.attributes,
        })
    }
}

impl Show for PushResponse {
    const HEAD: &'static [&'static str] = VersionInfo::HEAD;

    fn row(&self) -> Vec<String> {
        self.version.as_ref().map(Show::row).unwrap_or_default()
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        let mut card = self.version.as_ref().map(Show::card).unwrap_or_default();
        if self.replayed {
            card.push(("replayed", "this document was current already; nothing new was written".to_owned()));
        }
        card
    }

    fn json(&self) -> Value {
        json!({
            "version": self.version.as_ref().map(Show::json),
            "replayed": self.replayed,
            "warnings": self.warnings.iter().map(warning).collect::<Vec<_>>(),
        })
    }
}

impl Show for ShowResponse {
    const HEAD: &'static [&'static str] = VersionInfo::HEAD;

    fn row(&self) -> Vec<String> {
        self.version.as_ref().map(Show::row).unwrap_or_default()
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        let mut card = match (&self.version, &self.draft) {
            (_, Some(draft)) => draft.card(),
            (Some(version), None) => version.card(),
            (None, None) => Vec::new(),
        };
        if self.overflow {
            card.push((
                "overflow",
                "more secrets than are searched for: every string that is not structure is sealed".to_owned(),
            ));
        }
        card
    }

    fn json(&self) -> Value {
        json!({
            "version": self.version.as_ref().map(Show::json),
            "draft": self.draft.as_ref().map(Show::json),
            "sealed": self.sealed.iter().map(Show::json).collect::<Vec<_>>(),
            "sealed_count": wide(self.sealed_count),
            "overflow": self.overflow,
        })
    }
}

impl Show for SealedPlace {
    const HEAD: &'static [&'static str] = &["WHY", "PLACE"];

    fn row(&self) -> Vec<String> {
        vec![self.reason.clone(), self.place.clone()]
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        vec![("place", self.place.clone()), ("why", self.reason.clone())]
    }

    fn json(&self) -> Value {
        json!({ "place": self.place, "reason": self.reason })
    }
}

impl Show for PullInfo {
    const HEAD: &'static [&'static str] = VersionInfo::HEAD;

    fn row(&self) -> Vec<String> {
        self.version.as_ref().map(Show::row).unwrap_or_default()
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        let mut card = match (&self.version, &self.draft) {
            (_, Some(draft)) => draft.card(),
            (Some(version), None) => version.card(),
            (None, None) => Vec::new(),
        };
        if self.unchanged {
            card.push(("unchanged", "the etag is still current; nothing was written".to_owned()));
        }
        card
    }

    fn json(&self) -> Value {
        json!({
            "version": self.version.as_ref().map(Show::json),
            "draft": self.draft.as_ref().map(Show::json),
            "unchanged": self.unchanged,
            "size": wide(self.size),
            "view": word(self.view().as_str_name(), "VIEW_"),
            "masked": self.masked,
            "masked_truncated": self.masked_truncated,
            "signer": self.signer,
        })
    }
}

fn format(format: Format) -> String {
    word(format.as_str_name(), "FORMAT_")
}

fn warning(warning: &Warning) -> Value {
    json!({ "code": warning.code, "place": warning.place, "message": warning.message })
}

fn expect(expect: &Expect) -> Value {
    json!({ "version": wide(expect.version), "etag": expect.etag })
}
