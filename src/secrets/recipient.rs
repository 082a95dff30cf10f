//! Whom something is sealed to: the public half of an age key.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use bech32::primitives::decode::CheckedHrpstring;

/// An age X25519 recipient (`age1…`).
///
/// X25519 does not withstand a quantum computer: what is wrapped today may open later. When the age crate has a native post-quantum identity
/// (`age1pq1…` names its recipients), it becomes the second kind in here; nothing outside this file knows how many kinds there are. Files are
/// not to mix the two, which is for whoever adds recipients to a keyring to refuse.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(age::x25519::Recipient);

/// A text that names no usable recipient. No variant quotes the text: it may be somebody's secret, pasted in the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum RecipientError {
    #[error(
        "this is an age identity, the secret half; give its recipient (`age-keygen -y` prints it), and think about who saw it"
    )]
    Secret,
    #[error("post-quantum recipients (age1pq1…) are not supported yet; give an X25519 one (age1…)")]
    PostQuantum,
    #[error("recipients of age plugins and SSH keys are not supported; give an X25519 one (age1…)")]
    Foreign,
    #[error("not an age recipient (age1…)")]
    Other,
    #[error("the recipient has a typing error: its checksum does not match; copy it again, whole")]
    Typo,
    #[error("anybody could open what is sealed to this recipient: it is no public key of anyone; make one with `age-keygen`")]
    Weak,
}

impl Recipient {
    pub(super) fn of(identity: &age::x25519::Identity) -> Self {
        Self(identity.to_public())
    }

    pub(super) fn as_age(&self) -> &age::x25519::Recipient {
        &self.0
    }
}

impl FromStr for Recipient {
    type Err = RecipientError;

    fn from_str(text: &str) -> Result<Self, RecipientError> {
        let lower = text.to_ascii_lowercase();
        if lower.starts_with("age-secret-key-") || lower.starts_with("age-plugin-") {
            return Err(RecipientError::Secret);
        }
        if lower.starts_with("age1pq1") {
            return Err(RecipientError::PostQuantum);
        }
        if lower.starts_with("ssh-") || lower.strip_prefix("age1").is_some_and(|rest| rest.contains('1')) {
            return Err(RecipientError::Foreign);
        }
        if !lower.starts_with("age1") {
            return Err(RecipientError::Other);
        }
        let checked = CheckedHrpstring::new::<bech32::Bech32>(text).map_err(|_| RecipientError::Typo)?;
        let bytes: Vec<u8> = checked.byte_iter().collect();
        let point = <[u8; 32]>::try_from(bytes).map_err(|_| RecipientError::Other)?;
        // A point of small order gives the same shared secret, zero, with every key; age panics on it.
        if x25519_dalek::x25519([1; 32], point) == [0; 32] {
            return Err(RecipientError::Weak);
        }
        text.parse().map(Self).map_err(|_| RecipientError::Other)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Hash for Recipient {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pair of age's own tests.
    const GOOD: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

    fn refused(text: &str) -> RecipientError {
        text.parse::<Recipient>().unwrap_err()
    }

    #[test]
    fn recipients_read_back_what_they_print() {
        let recipient: Recipient = GOOD.parse().unwrap();
        assert_eq!(recipient.to_string(), GOOD);
        assert_eq!(GOOD.to_uppercase().parse(), Ok(recipient), "bech32 may be all upper case");
    }

    #[test]
    fn every_single_typing_error_is_found() {
        for at in 4..GOOD.len() {
            let other = if GOOD.as_bytes()[at] == b'q' { "p" } else { "q" };
            let mut text = GOOD.to_owned();
            text.replace_range(at..=at, other);
            assert_eq!(refused(&text), RecipientError::Typo, "at {at}");
        }
        assert_eq!(refused(&GOOD[..GOOD.len() - 1]), RecipientError::Typo);
        assert_eq!(refused(&format!("{GOOD}q")), RecipientError::Typo);
    }

    #[test]
    fn other_kinds_are_refused_by_name_and_secrets_are_not_quoted() {
        let secret = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
        assert_eq!(refused(secret), RecipientError::Secret);
        assert!(!refused(secret).to_string().contains("GQ9778"));
        assert_eq!(refused("age1pq1qqqq"), RecipientError::PostQuantum);
        assert_eq!(refused("age1yubikey1qqqq"), RecipientError::Foreign);
        assert_eq!(refused("ssh-ed25519 AAAA"), RecipientError::Foreign);
        assert_eq!(refused("lhs1qqqq"), RecipientError::Other);
        assert_eq!(refused(""), RecipientError::Other);
        let short = bech32::encode::<bech32::Bech32>(bech32::Hrp::parse("age").unwrap(), &[9; 31]).unwrap();
        assert_eq!(refused(&short), RecipientError::Other);
    }

    #[test]
    fn points_of_small_order_are_refused() {
        let mut minus_one = [0xff; 32];
        (minus_one[0], minus_one[31]) = (0xec, 0x7f);
        let order_8 = [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d,
            0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
        ];
        let mut one = [0; 32];
        one[0] = 1;
        for point in [[0; 32], one, minus_one, order_8] {
            let text = bech32::encode::<bech32::Bech32>(bech32::Hrp::parse("age").unwrap(), &point).unwrap();
            assert_eq!(refused(&text), RecipientError::Weak, "{point:02x?}");
        }
    }
}
