//! Tokens and grants, shown.

use serde_json::{Value, json};

use super::{Show, time, wide};
use crate::pb::v1::{AccessGrant, ApiToken, ExplainResponse, Scope};

impl Show for ApiToken {
    const HEAD: &'static [&'static str] = &["NAME", "PRINCIPAL", "MAKER", "MAY", "USED", "EXPIRES"];

    fn row(&self) -> Vec<String> {
        let ends = match self.revoked_unix_ms {
            0 => at(self.expires_unix_ms),
            _ => "revoked".to_owned(),
        };
        vec![self.name.clone(), self.principal.clone(), self.maker.clone(), scopes(&self.scopes), at(self.used_unix_ms), ends]
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", self.name.clone()),
            ("principal", self.principal.clone()),
            ("maker", self.maker.clone()),
            ("may", scopes(&self.scopes)),
            ("made", at(self.made_unix_ms)),
            ("expires", at(self.expires_unix_ms)),
            ("revoked", at(self.revoked_unix_ms)),
            ("used", at(self.used_unix_ms)),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "principal": self.principal,
            "maker": self.maker,
            "scopes": self.scopes.iter().map(scope).collect::<Vec<_>>(),
            "made_unix_ms": wide(self.made_unix_ms),
            "expires_unix_ms": wide(self.expires_unix_ms),
            "revoked_unix_ms": wide(self.revoked_unix_ms),
            "used_unix_ms": wide(self.used_unix_ms),
        })
    }
}

impl Show for AccessGrant {
    const HEAD: &'static [&'static str] = &["ID", "TO", "MAY", "BY", "MADE"];

    fn row(&self) -> Vec<String> {
        vec![self.id.clone(), self.to.clone(), scopes(self.scope.as_slice()), self.by.clone(), at(self.made_unix_ms)]
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        let cells = self.row();
        ["id", "to", "may", "by", "made"].into_iter().zip(cells).collect()
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "to": self.to,
            "scope": self.scope.as_ref().map(scope),
            "by": self.by,
            "made_unix_ms": wide(self.made_unix_ms),
        })
    }
}

impl Show for ExplainResponse {
    const HEAD: &'static [&'static str] = &["ALLOWED", "BECAUSE"];

    fn row(&self) -> Vec<String> {
        vec![self.allowed.to_string(), self.because.join("; ")]
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        let allowed = if self.allowed { "yes" } else { "no" };
        let because = self.because.iter().map(|line| ("", line.clone())).map(|(_, line)| ("because", line));
        [("principal", self.principal.clone()), ("allowed", allowed.to_owned())].into_iter().chain(because).collect()
    }

    fn json(&self) -> Value {
        json!({ "allowed": self.allowed, "because": self.because, "principal": self.principal })
    }
}

fn at(unix_ms: i64) -> String {
    if unix_ms == 0 { String::new() } else { time(unix_ms) }
}

fn scopes(scopes: &[Scope]) -> String {
    let one = |scope: &Scope| format!("{} on {}", scope.verbs.join(" "), scope.on);
    scopes.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn scope(scope: &Scope) -> Value {
    json!({ "verbs": scope.verbs, "on": scope.on, "recipients": scope.recipients })
}
