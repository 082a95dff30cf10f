//! What a grant is on: globs over names, and the objects they match (design 6).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::AccessError;
use crate::domain::names::{EnvironmentName, StateName};

/// What something is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object<'a> {
    /// The store as a whole, written `/`.
    Store,
    /// An environment, written `ENV`.
    Environment(&'a EnvironmentName),
    /// A state, written `ENV/PATH`, whether it exists or not.
    State(&'a StateName),
}

impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => f.write_str("/"),
            Self::Environment(name) => name.fmt(f),
            Self::State(name) => name.fmt(f),
        }
    }
}

/// A pattern over `ENV/PATH`, by whole segments: `*` is one segment, `**` any number, at the end at least one. So `prod` is the
/// environment, `prod/**` its states and not the environment, `**` everything but the store, and `/` the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Glob(String);

/// How many segments a glob has at most: those of the longest name, and a `**` between any two.
const MOST: usize = 17;

impl Glob {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is on this object.
    #[must_use]
    pub fn matches(&self, object: &Object<'_>) -> bool {
        match object {
            Object::Store => self.0 == "/",
            Object::Environment(name) => self.fits(&[name.as_str()], is_text),
            Object::State(name) => {
                let path = name.path.as_str().split('/');
                self.fits(&std::iter::once(name.environment.as_str()).chain(path).collect::<Vec<_>>(), is_text)
            }
        }
    }

    /// Whether it is on everything that the other one is on. May say no where only a longer proof would say yes.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        if other.0 == "/" || self.0 == "/" {
            return self.0 == other.0;
        }
        self.fits(&other.segments(), |pattern, segment| match pattern {
            "*" => segment != "**",
            text => text == segment,
        })
    }

    /// Whether it is on anything in this environment, or on the environment.
    #[must_use]
    pub fn touches(&self, environment: &EnvironmentName) -> bool {
        self.segments().first().is_some_and(|first| matches!(*first, "*" | "**") || *first == environment.as_str())
    }

    fn segments(&self) -> Vec<&str> {
        if self.0 == "/" { Vec::new() } else { self.0.split('/').collect() }
    }

    /// Matches segment by segment; `**` takes any number, at the end at least one. Quadratic at most, whatever the pattern.
    fn fits(&self, names: &[&str], one: fn(&str, &str) -> bool) -> bool {
        let pattern = self.segments();
        // What `reached[n]` says: the pattern so far takes the first n names.
        let mut reached = vec![false; names.len() + 1];
        reached[0] = true;
        for (at, segment) in pattern.iter().enumerate() {
            let mut next = vec![false; names.len() + 1];
            if *segment == "**" {
                let last = at + 1 == pattern.len();
                let mut any = false;
                for n in 0..=names.len() {
                    next[n] = any || (reached[n] && !last);
                    any |= reached[n];
                }
            } else {
                for n in 0..names.len() {
                    next[n + 1] = reached[n] && one(segment, names[n]);
                }
            }
            reached = next;
        }
        !pattern.is_empty() && reached[names.len()]
    }
}

fn is_text(pattern: &str, segment: &str) -> bool {
    pattern == "*" || pattern == segment
}

impl FromStr for Glob {
    type Err = AccessError;

    fn from_str(text: &str) -> Result<Self, AccessError> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Glob {
    type Error = AccessError;

    fn try_from(text: String) -> Result<Self, AccessError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let named =
            |segment: &str| (1..=64).contains(&segment.len()) && segment.bytes().all(plain) && segment != "." && segment != "..";
        let valid = |segment: &str| matches!(segment, "*" | "**") || named(segment);
        let first = text.split('/').next().unwrap_or_default();
        let environment = matches!(first, "*" | "**") || first.parse::<EnvironmentName>().is_ok();
        let twice = || text.split('/').zip(text.split('/').skip(1)).any(|(one, next)| one == "**" && next == "**");
        if text == "/" || (environment && text.split('/').all(valid) && text.split('/').count() <= MOST && !twice()) {
            Ok(Self(text))
        } else {
            Err(AccessError::Glob)
        }
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> Self {
        glob.0
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(text: &str) -> Glob {
        text.parse().unwrap_or_else(|_| panic!("{text}"))
    }

    fn matches(pattern: &str, object: &str) -> bool {
        let glob = glob(pattern);
        match (object, object.contains('/')) {
            ("/", _) => glob.matches(&Object::Store),
            (_, true) => glob.matches(&Object::State(&object.parse().unwrap())),
            (_, false) => glob.matches(&Object::Environment(&object.parse().unwrap())),
        }
    }

    #[test]
    fn globs_match_whole_segments() {
        let table = [
            ("/", "/", true),
            ("/", "prod", false),
            ("prod", "prod", true),
            ("prod", "prod/a", false),
            ("prod/a", "prod/a", true),
            ("prod/a", "prod/ab", false),
            ("prod/a", "prod", false),
            ("prod/*", "prod/a", true),
            ("prod/*", "prod/a/b", false),
            ("prod/*", "prod", false),
            ("prod/**", "prod/a/b/c", true),
            ("prod/**", "prod/a", true),
            ("prod/**", "prod", false),
            ("prod/**", "prod2/a", false),
            ("*", "prod", true),
            ("*", "prod/a", false),
            ("**", "prod", true),
            ("**", "prod/a/b", true),
            ("**", "/", false),
            ("*/net", "prod/net", true),
            ("**/net", "prod/a/net", true),
            ("**/net", "prod/net", true),
            ("prod/**/net", "prod/net", true),
            ("prod/**/net", "prod/a/b/net", true),
            ("prod/**/net", "prod/a/b/nets", false),
            ("prod/**/eu/*", "prod/eu/a", true),
            ("prod/**/eu/*", "prod/eu", false),
            ("prod/*/**", "prod/a", false),
            ("prod/*/**", "prod/a/b", true),
        ];
        for (pattern, object, expected) in table {
            assert_eq!(matches(pattern, object), expected, "{pattern} on {object}");
        }
    }

    #[test]
    fn globs_that_are_no_names_are_refused() {
        let wrong = [
            "",
            "//",
            "/prod",
            "prod/",
            "prod//a",
            "prod/..",
            "../prod",
            "prod/./a",
            "prod/a*",
            "prod/***",
            "prod/**a",
            "Prod",
            "prod/**/**",
            "prod/а",
            "prоd/a",
            "prod/＊",
            "prod/a b",
            "prod/a\0",
            "prod\\a",
            "-prod/a",
            "prod/[a]",
            "prod/{a,b}",
            "prod/a\u{200b}",
        ];
        for text in wrong {
            assert_eq!(text.parse::<Glob>(), Err(AccessError::Glob), "{text:?}");
        }
        let long = vec!["a"; MOST + 1].join("/");
        assert_eq!(long.parse::<Glob>(), Err(AccessError::Glob));
        assert!(format!("a/{}", "b".repeat(65)).parse::<Glob>().is_err());
    }

    /// `covers` against `matches`: what covers must match whatever the other matches.
    #[test]
    fn a_glob_covers_only_what_it_matches() {
        let globs = [
            "/",
            "**",
            "*",
            "prod",
            "prod/*",
            "prod/**",
            "prod/a",
            "prod/a/**",
            "prod/**/net",
            "*/**",
            "*/*",
            "*/a",
            "**/net",
            "prod/*/net",
            "prod/*/**",
            "**/a/*",
            "dev/**",
        ];
        let objects = [
            "/",
            "prod",
            "dev",
            "prod/a",
            "prod/net",
            "prod/a/net",
            "prod/a/b",
            "dev/a",
            "dev/a/net",
            "prod/a/b/net",
            "prod/net/a",
        ];
        let mut yes = 0;
        for one in globs {
            for other in globs {
                if glob(one).covers(&glob(other)) {
                    yes += 1;
                    for object in objects {
                        assert!(!matches(other, object) || matches(one, object), "{one} covers {other}, but not on {object}");
                    }
                }
            }
            assert!(glob(one).covers(&glob(one)), "{one}");
        }
        assert!(yes > 40, "{yes}");
        for (one, other, expected) in [
            ("**", "prod/**", true),
            ("**", "/", false),
            ("/", "**", false),
            ("*/**", "prod/**", true),
            ("prod/**", "prod", false),
            ("prod/**", "**", false),
            ("prod/*", "prod/**", false),
            ("prod/**", "prod/*", true),
        ] {
            assert_eq!(glob(one).covers(&glob(other)), expected, "{one} {other}");
        }
    }
}
