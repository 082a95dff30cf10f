//! Addresses of another server.

use std::net::IpAddr;

use http::Uri;
use http::uri::PathAndQuery;

use crate::client::Error;

/// An `http` or `https` URL without credentials in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address(Uri);

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let unusable =
            || Error::caller("the address cannot be used").with_next("give http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH");
        let uri: Uri = text.parse().map_err(|_| unusable())?;
        let authority = uri.authority().ok_or_else(unusable)?;
        if authority.as_str().contains('@') {
            return Err(Error::caller("there are credentials in the address, where other users of this machine can see them")
                .with_next("set TF_HTTP_USERNAME and TF_HTTP_PASSWORD instead, or give --username and --password-file"));
        }
        match uri.scheme_str() {
            Some("http" | "https") if !authority.host().is_empty() => Ok(Self(uri)),
            _ => Err(unusable()),
        }
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }

    /// Without what stands behind a `?`, which may be a secret.
    pub(super) fn shown(&self) -> String {
        let (scheme, authority) = (self.0.scheme_str().unwrap_or_default(), self.0.authority().map_or("", |a| a.as_str()));
        format!("{scheme}://{authority}{}", self.0.path())
    }

    /// Whether nobody on a network can listen.
    pub(super) fn is_private(&self) -> bool {
        let host = self.0.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        self.0.scheme_str() == Some("https")
            || host == "localhost"
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Where a `Location` leads, if that is the same origin; none otherwise.
    pub(super) fn follow(&self, location: &str) -> Option<Self> {
        if location.starts_with('/') && !location.starts_with("//") {
            let mut parts = self.0.clone().into_parts();
            parts.path_and_query = Some(location.parse::<PathAndQuery>().ok()?);
            return Uri::from_parts(parts).ok().map(Self);
        }
        let other = Self::parse(location).ok()?;
        other.is_beside(self).then_some(other)
    }

    /// Whether both have the same scheme, host and port.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        self.origin() == other.origin()
    }

    /// Scheme, host and port that a `Location` leads to, for people; none if it makes no sense.
    pub(super) fn origin_of(&self, location: &str) -> Option<String> {
        let other =
            if location.starts_with('/') && !location.starts_with("//") { self.clone() } else { Self::parse(location).ok()? };
        let (scheme, authority) = (other.0.scheme_str()?, other.0.authority()?);
        Some(if other.is_beside(self) { "another path".to_owned() } else { format!("{scheme}://{authority}") })
    }

    fn origin(&self) -> (Option<&str>, String, Option<u16>) {
        let scheme = self.0.scheme_str();
        let port = self.0.port_u16().or(if scheme == Some("https") { Some(443) } else { Some(80) });
        (scheme, self.0.host().unwrap_or_default().to_ascii_lowercase(), port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_that_makes_no_sense_or_has_credentials_is_refused_without_quoting_it() {
        for text in ["", "state", "/path", "ftp://h/x", "https://", "http://a b/", "https://u:planted@h/x", "http://u@h/"] {
            let Err(error) = Address::parse(text) else { panic!("accepted {text}") };
            assert!(!error.next().is_empty() && !error.to_string().contains("planted"), "{error}");
        }
    }

    #[test]
    fn query_is_kept_and_not_shown() {
        let address = Address::parse("https://h:8443/state/x?token=planted").unwrap();
        assert_eq!(address.shown(), "https://h:8443/state/x");
        assert_eq!(address.uri().query(), Some("token=planted"));
    }

    #[test]
    fn redirects_stay_within_the_origin() {
        let here = Address::parse("https://h.example/state?x=1").unwrap();
        let leads = |to: &str| here.follow(to).map(|address| address.uri().to_string());
        assert_eq!(leads("/other?y=2").as_deref(), Some("https://h.example/other?y=2"));
        assert_eq!(leads("https://H.example:443/o").as_deref(), Some("https://H.example:443/o"));
        for to in
            ["http://h.example/o", "https://h.example:444/o", "https://evil/o", "//evil/o", "https://u:p@h.example/o", "o", ""]
        {
            assert_eq!(leads(to), None, "{to}");
        }
    }

    #[test]
    fn redirect_is_shown_without_its_path() {
        let here = Address::parse("http://h.example/state").unwrap();
        let shown = |to: &str| here.origin_of(to);
        assert_eq!(shown("https://h.example/planted?planted").as_deref(), Some("https://h.example"));
        assert_eq!(shown("/planted").as_deref(), Some("another path"));
        assert_eq!((shown("//evil/planted"), shown("https://u:planted@h/"), shown("")), (None, None, None));
    }

    #[test]
    fn only_tls_and_loopback_are_private() {
        for (text, private) in [
            ("https://h/x", true),
            ("http://127.0.0.1:1/x", true),
            ("http://[::1]:1/x", true),
            ("http://localhost/x", true),
            ("http://10.0.0.1/x", false),
            ("http://localhost.evil/x", false),
        ] {
            assert_eq!(Address::parse(text).unwrap().is_private(), private, "{text}");
        }
    }
}
