//! Who calls: what is shown, and whose it is.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use zeroize::Zeroizing;

use super::door::{Failures, Peer};
use crate::domain::command::Trace;
use crate::service::access::hash_of;
use crate::service::{Caller, Error, LeaseSecret, Service};

/// Recognises callers.
pub struct Identity {
    service: Arc<Service>,
    failures: Failures,
}

impl Identity {
    /// Callers of this service.
    #[must_use]
    pub fn new(service: Arc<Service>) -> Self {
        Self { service, failures: Failures::new() }
    }

    /// The caller behind a request. A lease secret is verified where the lease is known.
    ///
    /// # Errors
    /// It shows nothing valid; or its address did so too often, and has to wait. A token that is known passes even then.
    pub async fn caller(&self, headers: &HeaderMap, peer: Option<&Peer>) -> Result<Caller, Error> {
        let address = peer.map(|peer| peer.addr.ip());
        let trace = Arc::new(Trace { peer: address, ..Trace::default() });
        let Some(header) = headers.get(AUTHORIZATION) else { return Err(Error::Unauthenticated) };
        let shown = header.to_str().ok().and_then(shown);
        if let Some(shown) = &shown {
            if let Some(secret) = LeaseSecret::parse(shown) {
                return Ok(Caller::lease(secret, trace));
            }
            if let Some(known) = self.service.recognise(&hash_of(shown)) {
                return Ok(Caller::known(known, trace));
            }
        }
        if let Some(wait) = address.and_then(|address| self.failures.blocked(address)) {
            return Err(Error::Throttled(wait));
        }
        address.inspect(|address| self.failures.note(*address));
        Err(Error::Unauthenticated)
    }
}

/// What an `Authorization` header shows: a bearer's token, or the password of basic credentials, whoever the user: stock Terraform can
/// show a token in no other way.
fn shown(header: &str) -> Option<Zeroizing<String>> {
    let (scheme, shown) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Zeroizing::new(shown.trim().to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(shown.trim()).ok()?);
    let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(Zeroizing::new(password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_taken_as_the_password_of_any_user_or_from_a_bearer() {
        let basic = |credentials: &str| shown(&format!("Basic {}", STANDARD.encode(credentials))).map(|shown| shown.to_string());
        for good in ["ci:lh_x", ":lh_x"] {
            assert_eq!(basic(good).as_deref(), Some("lh_x"));
        }
        assert_eq!(basic("ci:a:b").as_deref(), Some("a:b"), "a password may have colons");
        assert_eq!(basic("lh_x"), None);
        for malformed in ["", "=", "%%%", "/w=="] {
            assert!(shown(&format!("Basic {malformed}")).is_none(), "{malformed}");
        }
        for bearer in ["Bearer lh_x", "bearer lh_x", "BEARER  lh_x "] {
            assert_eq!(shown(bearer).unwrap().as_str(), "lh_x");
        }
        for wrong in ["", "Bearer", "lh_x", "Digest lh_x"] {
            assert!(shown(wrong).is_none(), "{wrong}");
        }
    }
}
