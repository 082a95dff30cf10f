//! What may be granted: verbs, and roles as named sets of them (design 6).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::AccessError;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "the words are those of the design")]
        pub enum $name { $($variant,)* }

        impl $name {
            /// All of them, in the order of the design.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What can be done to a state, an environment or the store.
    Verb {
        ReadRedacted = "read.redacted",
        ReadOutputs = "read.outputs",
        ReadFull = "read.full",
        LeaseShared = "lease.shared",
        LeaseExclusive = "lease.exclusive",
        Write = "write",
        Break = "break",
        Rollback = "rollback",
        Rewrite = "rewrite",
        Promote = "promote",
        Approve = "approve",
        Keys = "keys",
        Admin = "admin",
        Audit = "audit",
    }
}

words! {
    /// A named set of verbs.
    Role {
        Reader = "reader",
        Planner = "planner",
        Pipeline = "pipeline",
        Agent = "agent",
        Operator = "operator",
        Keyholder = "keyholder",
        Auditor = "auditor",
        Admin = "admin",
    }
}

impl Verb {
    /// Who may keep, give back and leave a lease: any of these.
    pub const LEASES: &[Self] = &[Self::LeaseExclusive, Self::LeaseShared];
    /// Who may look at locks: readers, and who may take or break them.
    pub const SEES_LOCKS: &[Self] = &[Self::ReadRedacted, Self::LeaseExclusive, Self::LeaseShared, Self::Break];
}

impl Role {
    /// What it allows.
    #[must_use]
    pub fn verbs(self) -> Verbs {
        use Verb::{
            Audit, Break, Keys, LeaseExclusive, LeaseShared, Promote, ReadFull, ReadOutputs, ReadRedacted, Rewrite, Rollback,
            Write,
        };
        Verbs::of(match self {
            Self::Reader => &[ReadRedacted],
            // A plan compares with the whole state.
            Self::Planner => &[ReadFull, LeaseShared],
            Self::Pipeline => &[ReadFull, LeaseShared, LeaseExclusive, Write, Promote],
            Self::Agent => &[ReadRedacted, ReadOutputs],
            Self::Operator => &[ReadRedacted, LeaseShared, LeaseExclusive, Break, Rollback, Rewrite, Promote],
            Self::Keyholder => &[ReadRedacted, Keys],
            Self::Auditor => &[ReadRedacted, Audit],
            Self::Admin => Verb::ALL,
        })
    }
}

/// A set of verbs.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Verbs(u16);

impl Verbs {
    /// These.
    #[must_use]
    pub fn of(verbs: &[Verb]) -> Self {
        Self(verbs.iter().fold(0, |set, verb| set | bit(*verb)))
    }

    /// Whether it holds the verb itself: `read.full` as such, not what includes it.
    #[must_use]
    pub fn has(self, verb: Verb) -> bool {
        self.0 & bit(verb) != 0
    }

    /// Whether it allows the verb. `read.full` includes the other reads; nothing else is implied.
    #[must_use]
    pub fn allow(self, verb: Verb) -> bool {
        let read = matches!(verb, Verb::ReadRedacted | Verb::ReadOutputs);
        self.has(verb) || (read && self.has(Verb::ReadFull))
    }

    /// The verbs of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The verbs that both have.
    #[must_use]
    pub fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// With the verbs that it implies.
    #[must_use]
    pub fn closed(self) -> Self {
        Verb::ALL.iter().filter(|verb| self.allow(**verb)).fold(self, |set, verb| set.and(Self::of(&[*verb])))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its verbs in the order of the design.
    pub fn iter(self) -> impl Iterator<Item = Verb> {
        Verb::ALL.iter().copied().filter(move |verb| self.has(*verb))
    }
}

fn bit(verb: Verb) -> u16 {
    1 << (verb as u16)
}

impl fmt::Display for Verbs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, verb) in self.iter().enumerate() {
            write!(f, "{}{verb}", if n == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Verbs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Verb {
    type Err = AccessError;

    fn from_str(text: &str) -> Result<Self, AccessError> {
        Self::ALL.iter().copied().find(|verb| verb.as_str() == text).ok_or(AccessError::Verb)
    }
}

/// The name of a role, or a verb. `admin` is both, and means the role; `verb:admin` is the verb and nothing else.
impl FromStr for Verbs {
    type Err = AccessError;

    fn from_str(text: &str) -> Result<Self, AccessError> {
        if let Some(verb) = text.strip_prefix("verb:") {
            return verb.parse().map(|verb| Self::of(&[verb]));
        }
        let role = Role::ALL.iter().find(|role| role.as_str() == text);
        role.map_or_else(|| text.parse().map(|verb| Self::of(&[verb])), |role| Ok(role.verbs()))
    }
}

impl Serialize for Verbs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Verb::as_str))
    }
}

impl<'de> Deserialize<'de> for Verbs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = Vec::<String>::deserialize(deserializer)?;
        let verbs = words.iter().map(|word| word.parse()).collect::<Result<Vec<Verb>, _>>();
        verbs.map(|verbs| Self::of(&verbs)).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_reads_include_the_others_and_nothing_else_is_implied() {
        for held in Verb::ALL {
            for asked in Verb::ALL {
                let read = matches!(asked, Verb::ReadRedacted | Verb::ReadOutputs);
                let implied = *held == Verb::ReadFull && read;
                assert_eq!(Verbs::of(&[*held]).allow(*asked), held == asked || implied, "{held} {asked}");
            }
        }
    }

    #[test]
    fn roles_and_verbs_are_read_by_their_words_and_nothing_else_is() {
        assert_eq!("pipeline".parse(), Ok(Role::Pipeline.verbs()));
        assert_eq!("read.full".parse(), Ok(Verbs::of(&[Verb::ReadFull])));
        assert_eq!("admin".parse(), Ok(Role::Admin.verbs()));
        assert_eq!("verb:admin".parse(), Ok(Verbs::of(&[Verb::Admin])));
        for wrong in ["", "Admin", "admin ", "read", "read.*", "аdmin", "verb:", "verb:pipeline", "verb:verb:admin"] {
            assert_eq!(wrong.parse::<Verbs>(), Err(AccessError::Verb), "{wrong}");
        }
        let all = Role::Admin.verbs();
        assert_eq!(serde_json::from_str::<Verbs>(&serde_json::to_string(&all).unwrap()).unwrap(), all);
    }
}
