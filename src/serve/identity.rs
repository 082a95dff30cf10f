//! Who calls: what is shown, and whose it is.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::certificate::named;
use super::door::{Failures, Peer};
use super::oidc::{Issuers, LEEWAY, Verified, looks_like_jwt};
use super::verbs::Demand;
use crate::domain::access::Credential;
use crate::domain::command::Trace;
use crate::domain::ids::TokenHash;
use crate::domain::time::WallTime;
use crate::service::access::hash_of;
use crate::service::{Caller, Error, Known, LeaseSecret, Service};

/// Recognises callers.
pub struct Identity {
    service: Arc<Service>,
    failures: Failures,
    issuers: Issuers,
}

impl Identity {
    /// Callers of this service, and of these issuers.
    #[must_use]
    pub fn new(service: Arc<Service>, issuers: Issuers, failures: Failures) -> Self {
        Self { service, failures, issuers }
    }

    /// The caller behind a request. A lease secret is verified where the lease is known.
    ///
    /// # Errors
    /// It shows nothing valid; or its address did so too often, and has to wait. A token that is known passes even then.
    pub async fn caller(&self, headers: &HeaderMap, peer: Option<&Peer>) -> Result<Caller, Error> {
        let found = self.recognise(headers, peer).await;
        if matches!(found, Err(Error::Unauthenticated | Error::Throttled(_))) {
            self.service.audit_unauthenticated(peer.map(|peer| peer.addr.ip()));
        }
        found
    }

    /// The same, if it may do what is demanded on something. On what it does it, its use case asks again.
    ///
    /// # Errors
    /// As [`Self::caller`]; it has no right to that on anything, or shows a lease secret where that is not enough.
    pub async fn admitted(&self, headers: &HeaderMap, peer: Option<&Peer>, demand: Demand) -> Result<Caller, Error> {
        let caller = self.caller(headers, peer).await?;
        match caller.is_lease() {
            true if demand.lease_secret => Ok(caller),
            true => Err(Error::Unauthenticated),
            false => match self.service.allow_somewhere(&caller, demand.verbs) {
                Ok(_) => Ok(caller),
                Err(error) => {
                    self.service.audit_refused(&caller, demand.verbs[0], "/");
                    Err(error)
                }
            },
        }
    }

    async fn recognise(&self, headers: &HeaderMap, peer: Option<&Peer>) -> Result<Caller, Error> {
        let address = peer.map(|peer| peer.addr.ip());
        let trace = Arc::new(Trace { peer: address, ..Trace::default() });
        let Some(header) = headers.get(AUTHORIZATION) else {
            let certificate = peer.and_then(|peer| peer.certificate.as_ref()).ok_or(Error::Unauthenticated)?;
            return self.by_certificate(certificate, trace);
        };
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
        if let Some(token) = shown.filter(|shown| looks_like_jwt(shown) && !self.issuers.is_empty()) {
            match self.issuers.verify(&token, self.seconds()).await {
                Ok(verified) => return Ok(by_issuer(verified, address)),
                Err(problem) => {
                    tracing::info!(%problem, peer = ?address, "the token of an issuer was not taken");
                    if problem.is_temporary() {
                        return Err(Error::IssuerUnavailable);
                    }
                }
            }
        }
        address.inspect(|address| self.failures.note(*address));
        Err(Error::Unauthenticated)
    }

    fn by_certificate(&self, certificate: &CertificateDer<'_>, trace: Arc<Trace>) -> Result<Caller, Error> {
        let named = named(certificate, self.seconds()).map_err(|problem| {
            tracing::info!(%problem, peer = ?trace.peer, "a client certificate names nobody");
            Error::Unauthenticated
        })?;
        let credential = Credential::Principal(named.principal.clone());
        let until = Some(wall(named.expires));
        Ok(Caller::known(Known { credential, principal: named.principal, once: None, until }, trace))
    }

    fn seconds(&self) -> u64 {
        u64::try_from(self.service.now().0 / 1000).unwrap_or_default()
    }
}

fn wall(seconds: u64) -> WallTime {
    WallTime(i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX))
}

/// Its rights are those of its principal; exchanged for a token of ours, once, it can do the same for longer.
fn by_issuer(verified: Verified, peer: Option<IpAddr>) -> Caller {
    let Verified { principal, id, labels, expires, .. } = verified;
    let (credential, until) = (Credential::Principal(principal.clone()), Some(wall(expires.saturating_add(LEEWAY))));
    let known = Known { credential, principal, once: Some(TokenHash(id)), until };
    Caller::known(known, Arc::new(Trace { peer, labels }))
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
