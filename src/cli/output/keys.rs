//! Keys, shown.

use serde_json::{Value, json};

use super::{Show, time, wide, word};
use crate::pb::v1::{DataKey, KeyIdentity, KeyOutcome, KeyPhase, KeyReport, KeyStatus};

fn status(status: KeyStatus) -> String {
    word(status.as_str_name(), "KEY_STATUS_").replace('_', "-")
}

fn phase(phase: KeyPhase) -> String {
    word(phase.as_str_name(), "KEY_PHASE_")
}

/// How long work on keys ended, for programs.
pub(crate) fn outcome(done: &KeyOutcome) -> Value {
    json!({
        "done": wide(done.done),
        "identity": done.identity,
        "key_epoch": done.key_epoch,
        "failures": done.failures,
        "failed": wide(done.failed),
        "erased": done.erased,
    })
}

impl Show for KeyIdentity {
    const HEAD: &'static [&'static str] = &["IDENTITY", "STATUS", "RECIPIENT", "MASTER", "CREATED"];

    fn row(&self) -> Vec<String> {
        let (version, created) = (self.version.to_string(), time(self.created_unix_ms));
        vec![version, status(self.status()), self.recipient.clone(), self.master.clone(), created]
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        vec![
            ("identity", self.version.to_string()),
            ("status", status(self.status())),
            ("recipient", self.recipient.clone()),
            ("master", self.master.clone()),
            ("created", time(self.created_unix_ms)),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "version": self.version,
            "status": status(self.status()),
            "recipient": self.recipient,
            "master": self.master,
            "created_unix_ms": wide(self.created_unix_ms),
        })
    }
}

impl Show for DataKey {
    const HEAD: &'static [&'static str] = &["DATA KEY", "STATE", "IDENTITY", "EPOCH", "STATUS"];

    fn row(&self) -> Vec<String> {
        let (identity, epoch) = (self.identity.to_string(), self.epoch.to_string());
        vec![self.id.clone(), self.state.clone(), identity, epoch, status(self.status())]
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        Self::HEAD.iter().copied().zip(self.row()).collect()
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "state": self.state,
            "identity": self.identity,
            "epoch": self.epoch,
            "status": status(self.status()),
        })
    }
}

impl Show for KeyReport {
    const HEAD: &'static [&'static str] = &["ENVIRONMENT", "IDENTITY", "EPOCH", "DATA KEYS", "DOCUMENTS", "VALUES"];

    fn row(&self) -> Vec<String> {
        let numbers = [u64::from(self.identity), u64::from(self.key_epoch), self.data_keys, self.documents, self.values];
        std::iter::once(self.environment.clone()).chain(numbers.map(|number| number.to_string())).collect()
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        let identities = self.identities.iter().map(|one| format!("{} {} {}", one.version, status(one.status()), one.recipient));
        let groups = self.groups.iter().map(|group| {
            format!("{} under identity {}, epoch {}, {}", group.keys, group.identity, group.epoch, status(group.status()))
        });
        let job = self
            .job
            .as_ref()
            .map(|job| format!("{}: {} of {}, since {}", phase(job.kind()), job.done, job.total, time(job.started_unix_ms)));
        let verified = self
            .verified
            .map(|last| format!("{}: {} documents, {} failures", time(last.finished_unix_ms), last.documents, last.failures));
        vec![
            ("environment", self.environment.clone()),
            ("identity", self.identity.to_string()),
            ("epoch", self.key_epoch.to_string()),
            ("identities", identities.collect::<Vec<_>>().join("\n")),
            ("recovery", if self.recovery.is_empty() { "none".to_owned() } else { self.recovery.join("\n") }),
            ("signer", self.signer.clone()),
            ("master", self.masters.join("\n")),
            ("data keys", self.data_keys.to_string()),
            ("", groups.collect::<Vec<_>>().join("\n")),
            ("documents", self.documents.to_string()),
            ("sealed values", self.values.to_string()),
            ("under way", job.unwrap_or_default()),
            ("verified", verified.unwrap_or_else(|| "never".to_owned())),
        ]
    }

    fn json(&self) -> Value {
        let group = |group: &crate::pb::v1::DataKeyGroup| {
            json!({
                "identity": group.identity,
                "epoch": group.epoch,
                "status": status(group.status()),
                "keys": wide(group.keys),
            })
        };
        json!({
            "environment": self.environment,
            "identity": self.identity,
            "key_epoch": self.key_epoch,
            "identities": self.identities.iter().map(Show::json).collect::<Vec<_>>(),
            "recovery": self.recovery,
            "signer": self.signer,
            "masters": self.masters,
            "data_keys": wide(self.data_keys),
            "old_identity": wide(self.old_identity),
            "old_epoch": wide(self.old_epoch),
            "retired": wide(self.retired),
            "documents": wide(self.documents),
            "values": wide(self.values),
            "groups": self.groups.iter().map(group).collect::<Vec<_>>(),
            "job": self.job.as_ref().map(|job| json!({
                "job": job.job,
                "kind": phase(job.kind()),
                "done": wide(job.done),
                "total": wide(job.total),
                "started_unix_ms": wide(job.started_unix_ms),
            })),
            "verified": self.verified.map(|last| json!({
                "finished_unix_ms": wide(last.finished_unix_ms),
                "documents": wide(last.documents),
                "failures": wide(last.failures),
            })),
        })
    }
}
