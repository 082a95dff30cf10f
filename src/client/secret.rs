//! Strings that must not be printed.

use tonic::metadata::{Ascii, MetadataValue};
use zeroize::Zeroizing;

use super::error::Error;

/// A token of a principal. It has neither `Debug` nor `Display` nor `Serialize`, and its memory is wiped on drop.
pub struct ApiToken(Secret);

/// What stands in for the principal's token in renew, write, promote and release of one lease until it ends. It has neither
/// `Debug` nor `Display` nor `Serialize`, and its memory is wiped on drop.
pub struct LeaseSecret(Secret);

impl ApiToken {
    /// Takes the token as it was issued; surrounding white space is dropped.
    ///
    /// # Errors
    /// [`Error::Caller`] if it is empty or has characters that no token has.
    pub fn parse(text: Zeroizing<String>) -> Result<Self, Error> {
        Secret::parse(text).map(Self)
    }

    /// The text, for the one who must send it.
    pub fn expose(&self) -> &str {
        &self.0.0
    }

    pub(crate) fn bearer(&self) -> MetadataValue<Ascii> {
        self.0.bearer()
    }
}

impl LeaseSecret {
    /// Takes the secret as the server gave it; surrounding white space is dropped.
    ///
    /// # Errors
    /// [`Error::Caller`] if it is empty or has characters that no secret has.
    pub fn parse(text: Zeroizing<String>) -> Result<Self, Error> {
        Secret::parse(text).map(Self)
    }

    /// The text, for the one who must store it.
    pub fn expose(&self) -> &str {
        &self.0.0
    }

    pub(crate) fn bearer(&self) -> MetadataValue<Ascii> {
        self.0.bearer()
    }
}

struct Secret(Zeroizing<String>);

impl Secret {
    fn parse(text: Zeroizing<String>) -> Result<Self, Error> {
        let trimmed = Zeroizing::new(text.trim().to_owned());
        if trimmed.is_empty() || !trimmed.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::caller("the token is empty or has characters that no token has")
                .with_next("check where the token comes from: it is one line of visible ASCII characters"));
        }
        Ok(Self(trimmed))
    }

    fn bearer(&self) -> MetadataValue<Ascii> {
        let text = Zeroizing::new(format!("Bearer {}", &*self.0));
        let mut value: MetadataValue<Ascii> = text.parse().expect("visible ASCII characters make a header value");
        // Keeps it out of the Debug form of the request and out of header compression tables.
        value.set_sensitive(true);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_value_hides_the_token() {
        let token = ApiToken::parse(Zeroizing::new("lh_planted\n".into())).unwrap();
        assert_eq!(token.expose(), "lh_planted");
        assert_eq!(token.bearer().to_str().unwrap(), "Bearer lh_planted");
        let mut request = tonic::Request::new(());
        request.metadata_mut().insert("authorization", token.bearer());
        assert!(!format!("{request:?}").contains("planted"));
    }

    #[test]
    fn token_with_control_characters_is_refused_without_quoting_it() {
        let Err(error) = ApiToken::parse(Zeroizing::new("lh_pla\u{7}nted".into())) else { panic!("accepted") };
        assert!(!format!("{error} {error:?}").contains("nted"));
    }
}
