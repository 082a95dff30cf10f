//! The claims of a verified token.

use serde_json::{Map, Value};

use super::{LEEWAY, TokenProblem};

/// What an issuer has signed.
pub(super) struct Claims(pub(super) Map<String, Value>);

impl Claims {
    /// A text that is not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// The `aud` is one of these, or has one of them.
    pub(super) fn is_for(&self, audiences: &[String]) -> bool {
        let fits = |value: &Value| value.as_str().is_some_and(|text| audiences.iter().any(|audience| audience == text));
        match self.0.get("aud") {
            Some(Value::Array(all)) => all.iter().any(fits),
            one => one.is_some_and(fits),
        }
    }

    /// When the token ends, if it is valid at `now`: not after its `exp`, not before its `nbf` and `iat`, give or take the leeway.
    pub(super) fn valid_until(&self, now: u64) -> Result<u64, TokenProblem> {
        let expires = self.time("exp")?.ok_or(TokenProblem::Claim("exp"))?;
        if now >= expires.saturating_add(LEEWAY) {
            return Err(TokenProblem::Expired(expires));
        }
        for name in ["nbf", "iat"] {
            match self.time(name)? {
                Some(begins) if begins > now.saturating_add(LEEWAY) => return Err(TokenProblem::NotYet(begins)),
                _ => {}
            }
        }
        Ok(expires)
    }

    /// Unix seconds; JWTs may have fractions of them.
    fn time(&self, name: &'static str) -> Result<Option<u64>, TokenProblem> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => match value.as_u64().or_else(|| value.as_f64().filter(|n| *n >= 0.0).map(|n| n as u64)) {
                Some(seconds) => Ok(Some(seconds)),
                None => Err(TokenProblem::Claim(name)),
            },
        }
    }
}
