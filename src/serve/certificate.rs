//! Who a client is by its certificate: its subject alternative names, never its common name.

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::domain::names::Principal;

/// Why a verified certificate makes no principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum CertificateProblem {
    #[error("the client certificate cannot be read")]
    Malformed,
    #[error(
        "the client certificate has no URI, DNS name or email among its subject alternative names; its common name does not count"
    )]
    NoName,
    #[error(
        "a name of the client certificate makes no principal: it is empty, a wildcard, longer than 256 bytes with its prefix, or has other characters than the visible ones of ASCII"
    )]
    BadName,
    #[error("the client certificate was not valid yet, or is not any more")]
    Expired,
}

/// Whom a certificate names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Named {
    /// Who calls: the first of [`Self::names`].
    pub principal: Principal,
    /// All names of the certificate: its URIs (`cert:uri:…`), then its DNS names (`cert:dns:…`, in lower case), then its email
    /// addresses (`cert:email:…`), each kind in the order of the certificate.
    pub names: Vec<Principal>,
    /// When it ends, in Unix seconds.
    pub expires: u64,
}

/// Whom a certificate names that the TLS handshake has verified. The validity is checked again at `now`, in Unix seconds: connections
/// live long.
///
/// # Errors
/// See [`CertificateProblem`]. One bad name spoils the certificate: to go on with the next would make it somebody else's.
pub fn named(certificate: &CertificateDer<'_>, now: u64) -> Result<Named, CertificateProblem> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| CertificateProblem::Malformed)?;
    let (begins, ends) = (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
    let expires = u64::try_from(ends).map_err(|_| CertificateProblem::Expired)?;
    if now > expires || i64::try_from(now).is_ok_and(|now| now < begins) {
        return Err(CertificateProblem::Expired);
    }
    let mut names = names(&certificate)?;
    names.sort_by_key(|(kind, _)| *kind);
    let names = names.iter().map(|(kind, name)| principal(*kind, name)).collect::<Result<Vec<_>, _>>()?;
    let principal = names.first().cloned().ok_or(CertificateProblem::NoName)?;
    Ok(Named { principal, names, expires })
}

/// The kinds of names, in their order of precedence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Uri,
    Dns,
    Email,
}

/// In the order of the certificate.
fn names(certificate: &X509Certificate<'_>) -> Result<Vec<(Kind, String)>, CertificateProblem> {
    let Some(extension) = certificate.subject_alternative_name().map_err(|_| CertificateProblem::Malformed)? else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for name in &extension.value.general_names {
        match name {
            GeneralName::URI(uri) => names.push((Kind::Uri, (*uri).to_owned())),
            GeneralName::DNSName(name) => names.push((Kind::Dns, name.to_ascii_lowercase())),
            GeneralName::RFC822Name(address) => names.push((Kind::Email, (*address).to_owned())),
            GeneralName::Invalid(..) => return Err(CertificateProblem::Malformed),
            _ => {}
        }
    }
    Ok(names)
}

fn principal(kind: Kind, name: &str) -> Result<Principal, CertificateProblem> {
    if name.is_empty() || name.contains('*') || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(CertificateProblem::BadName);
    }
    let kind = match kind {
        Kind::Uri => "uri",
        Kind::Dns => "dns",
        Kind::Email => "email",
    };
    format!("cert:{kind}:{name}").parse().map_err(|_| CertificateProblem::BadName)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    fn email(text: &str) -> SanType {
        SanType::Rfc822Name(text.try_into().unwrap())
    }

    fn certificate(names: Vec<SanType>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.distinguished_name.push(rcgen::DnType::CommonName, "admin");
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2028, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn principal_of(names: Vec<SanType>) -> Result<String, CertificateProblem> {
        named(&certificate(names), NOW).map(|named| named.principal.to_string())
    }

    #[test]
    fn name_makes_the_principal_of_its_kind() {
        assert_eq!(principal_of(vec![uri("spiffe://acme/ci")]).as_deref(), Ok("cert:uri:spiffe://acme/ci"));
        assert_eq!(principal_of(vec![dns("Runner.Acme.example")]).as_deref(), Ok("cert:dns:runner.acme.example"));
        assert_eq!(principal_of(vec![email("ops@acme.example")]).as_deref(), Ok("cert:email:ops@acme.example"));
    }

    #[test]
    fn several_names_have_an_order() {
        let all = vec![
            email("a@x"),
            dns("b"),
            uri("spiffe://c"),
            dns("a"),
            SanType::IpAddress([127, 0, 0, 1].into()),
            uri("spiffe://b"),
        ];
        let named = named(&certificate(all), NOW).unwrap();
        let names: Vec<_> = named.names.iter().map(Principal::as_str).collect();
        assert_eq!(names, ["cert:uri:spiffe://c", "cert:uri:spiffe://b", "cert:dns:b", "cert:dns:a", "cert:email:a@x"]);
        assert_eq!(named.principal, named.names[0]);
    }

    #[test]
    fn common_name_is_nobody() {
        assert_eq!(principal_of(vec![]), Err(CertificateProblem::NoName));
        assert_eq!(principal_of(vec![SanType::IpAddress([10, 0, 0, 1].into())]), Err(CertificateProblem::NoName));
    }

    #[test]
    fn name_that_makes_no_principal_spoils_the_certificate() {
        let long = "a".repeat(260);
        for bad in [
            uri(""),
            dns("*.acme.example"),
            uri(&long),
            uri("spiffe://a\nb"),
            uri("spiffe://a b"),
            uri("spiffe://a/*"),
            dns("a\0b"),
        ] {
            assert_eq!(principal_of(vec![bad, email("ops@acme.example")]), Err(CertificateProblem::BadName));
        }
    }

    #[test]
    fn certificate_counts_only_while_it_is_valid() {
        let certificate = certificate(vec![dns("a")]);
        let begins = 1_767_225_600;
        let ends = 1_830_297_600;
        let at = |now| named(&certificate, now).map(|named| named.expires);
        assert_eq!(at(begins - 1), Err(CertificateProblem::Expired));
        assert_eq!(at(begins), Ok(ends));
        assert_eq!(at(ends), Ok(ends));
        assert_eq!(at(ends + 1), Err(CertificateProblem::Expired));
        assert_eq!(named(&CertificateDer::from(vec![0; 9]), NOW), Err(CertificateProblem::Malformed));
    }
}
