//! An environment's own rules on what is sealed: additions and exceptions, by the type of the resource and the path of the attribute.
//!
//! A rule is one line of text, and is stored as that: `seal aws_instance:user_data`, `except *:tags.**`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How many rules an environment may have.
pub const MAX_RULES: usize = 256;

/// How many segments the path of a rule may have.
pub const MAX_SEGMENTS: usize = 31;

/// How long the line of a rule may be, in bytes.
pub const MAX_RULE: usize = 512;

/// What a rule does to the places that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// They are sealed.
    Seal,
    /// Rules do not seal them, the shipped ones included. What the format marks, and what is known to be secret from elsewhere in the
    /// document, is sealed all the same.
    Except,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SealRule {
    effect: Effect,
    types: String,
    path: String,
}

impl SealRule {
    /// What it does.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Which types of resources: `*` stands for any run of characters. An output of Terraform has the type `output`; a document without
    /// resources has the empty type, which only `*` matches.
    #[must_use]
    pub fn types(&self) -> &str {
        &self.types
    }

    /// Which attributes: segments with dots between them, from the outermost name on; an index is a segment. `*` alone is one segment, and
    /// within a segment any run of characters; `**` is any number of segments, none included.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// What is wrong with a rule, or with a list of rules. Says what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum RuleError {
    #[error("a rule begins with `seal` or `except` and a space, as in `seal aws_instance:user_data`")]
    Effect,
    #[error("a rule has a colon between the type of the resource and the path, as in `except *:tags.**`")]
    NoColon,
    #[error("the type of a rule is empty; write `*` for all types")]
    TypeEmpty,
    #[error("the type of a rule has a space in it")]
    TypeSpace,
    #[error("the path of a rule is empty; write `**` for everything")]
    PathEmpty,
    #[error("the path of a rule has an empty segment; write each name once, with single dots between them")]
    SegmentEmpty,
    #[error("`**` is a segment of its own: write `a.**.b`, and `*` within a name")]
    DeepInSegment,
    #[error("the path of a rule has more than {MAX_SEGMENTS} segments; use `**` for the middle of it")]
    TooManySegments,
    #[error("a rule is longer than {MAX_RULE} bytes; use `*` or `**` for parts of it")]
    TooLong,
    #[error("a rule has a control character in it, or a space at an end of its path")]
    Blank,
    #[error("an environment has at most {MAX_RULES} rules; use `*` and `**` to say more with fewer")]
    TooMany,
    #[error("the same rule stands there twice; leave one out")]
    Repeated,
}

impl FromStr for SealRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if text.len() > MAX_RULE {
            return Err(RuleError::TooLong);
        }
        let (effect, rest) = match (text.strip_prefix("seal "), text.strip_prefix("except ")) {
            (Some(rest), _) => (Effect::Seal, rest),
            (_, Some(rest)) => (Effect::Except, rest),
            _ => return Err(RuleError::Effect),
        };
        // Types of Pulumi have colons in them.
        let (types, path) = rest.rsplit_once(':').ok_or(RuleError::NoColon)?;
        if text.contains(char::is_control) || path.trim() != path {
            return Err(RuleError::Blank);
        }
        if types.contains(char::is_whitespace) {
            return Err(RuleError::TypeSpace);
        }
        if types.is_empty() {
            return Err(RuleError::TypeEmpty);
        }
        if path.is_empty() {
            return Err(RuleError::PathEmpty);
        }
        for segment in path.split('.') {
            if segment.is_empty() {
                return Err(RuleError::SegmentEmpty);
            }
            if segment.contains("**") && segment != "**" {
                return Err(RuleError::DeepInSegment);
            }
        }
        if path.split('.').count() > MAX_SEGMENTS {
            return Err(RuleError::TooManySegments);
        }
        Ok(Self { effect, types: types.to_owned(), path: path.to_owned() })
    }
}

impl fmt::Display for SealRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match self.effect {
            Effect::Seal => "seal",
            Effect::Except => "except",
        };
        write!(f, "{effect} {}:{}", self.types, self.path)
    }
}

impl TryFrom<String> for SealRule {
    type Error = RuleError;

    fn try_from(text: String) -> Result<Self, RuleError> {
        text.parse()
    }
}

impl From<SealRule> for String {
    fn from(rule: SealRule) -> String {
        rule.to_string()
    }
}

/// The rules of an environment. Every change of them has a new revision; versions record the one they were searched under.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct SealRules {
    revision: u64,
    rules: Vec<SealRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    revision: u64,
    rules: Vec<SealRule>,
}

impl SealRules {
    /// These rules under this revision.
    ///
    /// # Errors
    /// Too many of them, or one twice.
    pub fn new(revision: u64, rules: Vec<SealRule>) -> Result<Self, RuleError> {
        if rules.len() > MAX_RULES {
            return Err(RuleError::TooMany);
        }
        if rules.iter().enumerate().any(|(at, rule)| rules[..at].contains(rule)) {
            return Err(RuleError::Repeated);
        }
        Ok(Self { revision, rules })
    }

    /// Which revision it is; 0 before the first change.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The rules. Their order says nothing: an exception wins over every addition.
    #[must_use]
    pub fn rules(&self) -> &[SealRule] {
        &self.rules
    }
}

impl TryFrom<Stored> for SealRules {
    type Error = RuleError;

    fn try_from(stored: Stored) -> Result<Self, RuleError> {
        Self::new(stored.revision, stored.rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_print_as_they_were_written() {
        for text in
            ["seal aws_instance:user_data", "except *:tags.**", "seal aws:rds/instance:Instance:password", "seal *:a.*.0.db_*"]
        {
            let rule: SealRule = text.parse().unwrap();
            assert_eq!(rule.to_string(), text);
            assert_eq!(serde_json::from_str::<SealRule>(&serde_json::to_string(&rule).unwrap()).unwrap(), rule);
        }
        let rule: SealRule = "seal aws:rds/instance:Instance:password".parse().unwrap();
        assert_eq!((rule.effect(), rule.types(), rule.path()), (Effect::Seal, "aws:rds/instance:Instance", "password"));
    }

    #[test]
    fn rules_that_are_refused_say_which_rule_they_break() {
        let cases = [
            ("", RuleError::Effect),
            ("hide a:b", RuleError::Effect),
            ("seal", RuleError::Effect),
            ("seal aws_instance", RuleError::NoColon),
            ("seal :a", RuleError::TypeEmpty),
            ("seal a b:c", RuleError::TypeSpace),
            ("seal  a:c", RuleError::TypeSpace),
            ("seal a:", RuleError::PathEmpty),
            ("seal a:b..c", RuleError::SegmentEmpty),
            ("seal a:.b", RuleError::SegmentEmpty),
            ("seal a:b**", RuleError::DeepInSegment),
            ("seal a:***", RuleError::DeepInSegment),
            ("seal a:b ", RuleError::Blank),
            ("seal a:b\n", RuleError::Blank),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<SealRule>(), Err(error), "{text:?}");
        }
        assert!(format!("seal a:{}b", "b.".repeat(MAX_SEGMENTS - 1)).parse::<SealRule>().is_ok());
        assert_eq!(format!("seal a:{}b", "b.".repeat(MAX_SEGMENTS)).parse::<SealRule>(), Err(RuleError::TooManySegments));
        assert!(format!("seal a:{}", "b".repeat(MAX_RULE - 7)).parse::<SealRule>().is_ok());
        assert_eq!(format!("seal a:{}", "b".repeat(MAX_RULE - 6)).parse::<SealRule>(), Err(RuleError::TooLong));
    }

    #[test]
    fn lists_of_rules_are_bounded_and_without_repetition() {
        let rule = |n: usize| format!("seal a{n}:b").parse::<SealRule>().unwrap();
        let full = SealRules::new(3, (0..MAX_RULES).map(rule).collect()).unwrap();
        let stored = serde_json::to_string(&full).unwrap();
        assert_eq!(serde_json::from_str::<SealRules>(&stored).unwrap(), full);
        assert_eq!(SealRules::new(3, (0..=MAX_RULES).map(rule).collect()), Err(RuleError::TooMany));
        assert_eq!(SealRules::new(3, vec![rule(1), rule(2), rule(1)]), Err(RuleError::Repeated));
        assert!(serde_json::from_str::<SealRules>(r#"{"revision":1,"rules":["seal a:b","seal a:b"]}"#).is_err());
        assert!(serde_json::from_str::<SealRules>(r#"{"revision":1,"rules":["conceal a:b"]}"#).is_err());
        assert!(serde_json::from_str::<SealRules>(r#"{"revision":1,"rules":[],"more":1}"#).is_err());
    }
}
