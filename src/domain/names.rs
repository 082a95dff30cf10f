//! Names of environments, states, sessions and principals, and the labels of holders: parsed once, valid ever after.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name that breaks its rule. The message states the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not an environment's name.
    #[error("an environment's name is [a-z0-9][a-z0-9-]{{0,62}}")]
    Environment,
    /// Not a state's path.
    #[error("a state's path is 1 to 8 segments of [A-Za-z0-9._-]{{1,64}} joined by '/', none of them '.' or '..'")]
    Path,
    /// No slash between environment and path.
    #[error("a state's name is ENV/PATH, such as prod/network/eu")]
    State,
    /// Not a session id.
    #[error("a session id is 1 to 128 characters of [A-Za-z0-9._:-]")]
    Session,
    /// A label too long, or with control characters.
    #[error("a label is at most 256 bytes of UTF-8 without control characters")]
    Label,
    /// Not a principal.
    #[error(
        "a principal's name is 1 to 256 visible characters of ASCII, with single spaces only between them: other letters can look like these, or like nothing"
    )]
    Principal,
    /// A reason that is empty, too long, or has control characters.
    #[error("a reason is 1 to 512 bytes of UTF-8 without control characters")]
    Reason,
    /// An inner lock id too long, or with control characters.
    #[error("an inner lock id is at most 128 bytes of UTF-8 without control characters")]
    InnerLock,
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $valid:path, $error:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                if $valid(&text) { Ok(Self(text)) } else { Err($error) }
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

text! {
    /// The name of an environment: `[a-z0-9][a-z0-9-]{0,62}`.
    EnvironmentName, valid_environment, NameError::Environment
}
text! {
    /// The path of a state in its environment: 1 to 8 segments of `[A-Za-z0-9._-]{1,64}` joined by `/`, none `.` or `..`.
    StatePath, valid_path, NameError::Path
}
text! {
    /// A session, chosen by the client: with the principal it names a holder.
    Session, valid_session, NameError::Session
}
text! {
    /// Why something was broken or frozen, told to people.
    Reason, valid_reason, NameError::Reason
}
text! {
    /// An authenticated caller: 1 to 256 visible characters of ASCII, with single spaces only between them, so that no two look alike that are
    /// not the same. What others vouch for under another name is nobody.
    Principal, valid_principal, NameError::Principal
}
text! {
    /// The lock id of a tool that locks by itself; with the lease it makes one entry of the history.
    InnerLock, valid_inner_lock, NameError::InnerLock
}

/// A state's full name, `ENV/PATH`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StateName {
    /// The environment.
    pub environment: EnvironmentName,
    /// The path in it.
    pub path: StatePath,
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.environment, self.path)
    }
}

impl FromStr for StateName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (environment, path) = text.split_once('/').ok_or(NameError::State)?;
        Ok(Self { environment: environment.parse()?, path: path.parse()? })
    }
}

/// What a list or a watch is about: everything, an environment, or the states at and below a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix {
    /// The environment; none: all of them.
    pub environment: Option<EnvironmentName>,
    /// Whole segments; none: the whole environment.
    pub path: Option<StatePath>,
}

impl Prefix {
    /// Whether a state's path in the right environment is at or below this prefix.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        self.path
            .as_ref()
            .is_none_or(|prefix| path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }
}

impl FromStr for Prefix {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Ok(match text.split_once('/') {
            _ if text.is_empty() => Self::default(),
            None => Self { environment: Some(text.parse()?), path: None },
            Some((environment, path)) => Self { environment: Some(environment.parse()?), path: Some(path.parse()?) },
        })
    }
}

/// Who holds or waits, told to people: nothing here is checked or trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Labels {
    /// The person or job.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub who: String,
    /// The machine.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// The process id there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pid: String,
    /// Where to look at the run.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub run_url: String,
    /// The commit applied.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub commit: String,
    /// What it is about, in the words of the tool that asked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub operation: String,
    /// The version of that tool.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tool_version: String,
}

impl Labels {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The same labels, if each keeps the rule.
    ///
    /// # Errors
    /// [`NameError::Label`] if one is too long or has control characters.
    pub fn checked(self) -> Result<Self, NameError> {
        let Self { who, host, pid, run_url, commit, operation, tool_version } = &self;
        let all = [who, host, pid, run_url, commit, operation, tool_version];
        if all.into_iter().all(|label| valid_label(label)) { Ok(self) } else { Err(NameError::Label) }
    }
}

fn valid_environment(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
}

fn valid_path(text: &str) -> bool {
    let segment = |part: &str| {
        (1..=64).contains(&part.len())
            && part != "."
            && part != ".."
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    text.split('/').count() <= 8 && text.split('/').all(segment)
}

fn valid_session(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}

fn valid_label(text: &str) -> bool {
    text.len() <= 256 && !text.chars().any(char::is_control)
}

fn valid_principal(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
        && text.trim() == text
        && !text.contains("  ")
}

fn valid_reason(text: &str) -> bool {
    (1..=512).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn valid_inner_lock(text: &str) -> bool {
    text.len() <= 128 && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_names_keep_the_rule() {
        for good in ["a", "0", "prod", "prod-eu-1", &"a".repeat(63)] {
            assert!(good.parse::<EnvironmentName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a_b", "a.b", "a/b", "é", &"a".repeat(64)] {
            assert_eq!(bad.parse::<EnvironmentName>(), Err(NameError::Environment), "{bad}");
        }
    }

    #[test]
    fn state_paths_keep_the_rule() {
        for good in ["a", "A.b_c-d", "network/eu", "1/2/3/4/5/6/7/8", &"x".repeat(64), "...", "..a"] {
            assert!(good.parse::<StatePath>().is_ok(), "{good}");
        }
        for bad in
            ["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "a/./b", "a b", "a%2f", "1/2/3/4/5/6/7/8/9", &"x".repeat(65), "é"]
        {
            assert_eq!(bad.parse::<StatePath>(), Err(NameError::Path), "{bad}");
        }
    }

    #[test]
    fn prefixes_cover_whole_segments_only() {
        let prefix: Prefix = "prod/net".parse().unwrap();
        assert!(prefix.covers("net") && prefix.covers("net/eu"));
        assert!(!prefix.covers("network") && !prefix.covers("a/net"));
        assert!("prod".parse::<Prefix>().unwrap().covers("anything"));
    }

    #[test]
    fn principals_look_like_nobody_else() {
        for good in
            ["token:ci", "oidc:github:repo:acme/infra:environment:Production EU", "cert:uri:spiffe://a/~%+b", &"x".repeat(256)]
        {
            assert!(good.parse::<Principal>().is_ok(), "{good}");
        }
        let looks_like = [
            "oidc:github:repo:acme/infra\u{200b}",
            "oidc:github:\u{202e}arfni",
            "oidc:github:repo:\u{430}cme/infra",
            "oidc:github:re\u{301}po",
            "oidc:github:r\u{e9}po",
            "oidc:github:\u{ff52}epo",
            "oidc:github:repo\u{2215}infra",
            "oidc:github:repo\u{a0}infra",
            "oidc:github:repo\u{ad}",
            "oidc:github:\u{feff}repo",
            "oidc:github:repo\u{e0041}",
            "oidc:github:repo\0",
            "oidc:github:repo\x1b[8m",
            "oidc:github:repo\x7f",
            "oidc:github:repo\u{85}",
            "oidc:github:repo\tx",
            "oidc:github:repo ",
            " oidc:github:repo",
            "oidc:github:repo  x",
            "",
            &"x".repeat(257),
        ];
        for bad in looks_like {
            assert_eq!(bad.parse::<Principal>(), Err(NameError::Principal), "{bad:?}");
        }
    }

    #[test]
    fn labels_with_control_characters_are_refused() {
        let labels = |who: &str| Labels { who: who.to_owned(), ..Labels::default() }.checked();
        assert!(labels("ci é").is_ok());
        assert_eq!(labels("a\nb"), Err(NameError::Label));
        assert_eq!(labels(&"x".repeat(257)), Err(NameError::Label));
    }
}
