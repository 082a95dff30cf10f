//! Numbers and ids that must not be confused, each a type of its own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A fencing token: grows with every grant of a lock, for ever. Below 2⁶³; 0 is no token.
    Token
}
number! {
    /// The high part of fencing tokens: rises at every start, restore and deletion of an environment.
    Epoch
}
number! {
    /// The number of a version: from 1, without gaps. 0 stands for "no version yet".
    Version
}
number! {
    /// The number of an event, in commit order over the whole store.
    Revision
}
number! {
    /// A ticket, unique on its lock.
    TicketId
}
number! {
    /// The number of an environment identity in its keyring: from 1, without gaps.
    IdentityVersion
}

/// A malformed id in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not 32 hexadecimal digits")]
pub struct IdError;

macro_rules! id16 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse16(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id16! {
    /// What an environment is, whatever its name: a deleted and re-created one is another.
    EnvironmentId
}
id16! {
    /// What a state is, whatever its name: a deleted and re-created one is another.
    StateId
}
id16! {
    /// 128 random bits that name one content of one state at one version.
    Etag
}
id16! {
    /// A stored document: skeleton and sealed values.
    BodyId
}
id16! {
    /// A data key, whatever it is wrapped to.
    DataKeyId
}
id16! {
    /// A draft.
    DraftId
}
id16! {
    /// One unbroken history of events; a restore begins another.
    HistoryId
}
id16! {
    /// A grant.
    GrantId
}
id16! {
    /// A client's name for one mutation; a UUID, time-ordered ones (version 7) cost the store least.
    RequestId
}

macro_rules! digest32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name(pub [u8; 32]);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&Hex(&self.0))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let (high, low) = text.split_at_checked(32).ok_or_else(|| serde::de::Error::custom(IdError))?;
                let mut digest = [0; 32];
                digest[..16].copy_from_slice(&parse16(high).map_err(serde::de::Error::custom)?);
                digest[16..].copy_from_slice(&parse16(low).map_err(serde::de::Error::custom)?);
                Ok(Self(digest))
            }
        }
    };
}

digest32! {
    /// A keyed digest (HMAC-SHA256 under a key of the environment): of a request, or of a document. Never an unkeyed one, which would be
    /// an oracle for short secrets.
    KeyedDigest
}
digest32! {
    /// SHA-256 of a token or of another credential: unkeyed, since nobody guesses 256 random bits.
    TokenHash
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Reads 32 hexadecimal digits; hyphens, as UUIDs have them, are skipped.
fn parse16(text: &str) -> Result<[u8; 16], IdError> {
    let mut bytes = [0_u8; 16];
    let mut count = 0;
    for c in text.chars().filter(|c| *c != '-') {
        let digit = c.to_digit(16).ok_or(IdError)?;
        let byte = bytes.get_mut(count / 2).ok_or(IdError)?;
        *byte = (*byte << 4) | u8::try_from(digit).map_err(|_| IdError)?;
        count += 1;
    }
    if count == 32 { Ok(bytes) } else { Err(IdError) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_what_they_print() {
        let etag = Etag([0xa5; 16]);
        assert_eq!(etag.to_string().parse(), Ok(etag));
        assert_eq!("0189a5a5-a5a5-7a5a-a5a5-a5a5a5a5a5a5".parse::<RequestId>().map(|id| id.0[0]), Ok(1));
        let digest = KeyedDigest([7; 32]);
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<KeyedDigest>(&json).unwrap(), digest);
    }

    #[test]
    fn ids_of_other_lengths_and_digits_are_refused() {
        for text in ["", "00", "g0000000000000000000000000000000", "000000000000000000000000000000000", "é"] {
            assert_eq!(text.parse::<Etag>(), Err(IdError), "{text}");
        }
    }
}
