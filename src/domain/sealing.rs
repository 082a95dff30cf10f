//! What the rules know of sealing: which keys there are and what is sealed under which; never a key, a secret or a document.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ids::{BodyId, DataKeyId, DraftId, KeyedDigest, RequestId, StateId, Version};
use super::names::StatePath;
use super::rules::SealRules;
use super::time::WallTime;

/// A wrapped key: an age file, opaque to the rules. `Debug` tells its length.
#[derive(Clone, PartialEq, Eq)]
pub struct Wrapped(pub Vec<u8>);

impl fmt::Debug for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wrapped({} bytes)", self.0.len())
    }
}

impl Serialize for Wrapped {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD_NO_PAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Wrapped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD_NO_PAD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// The life of a key: `pending → active (one) → decrypt-only → retired (reversible) → destroyed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyStatus {
    /// Made, and not used yet.
    Pending,
    /// New things are sealed under it.
    Active,
    /// What is under it still opens; nothing new goes there.
    DecryptOnly,
    /// Nothing is under it any more.
    Retired,
    /// Its wrap is gone.
    Destroyed,
}

/// A key that is wrapped to the master key, and which one that was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnderMaster {
    /// The recipient of the master key.
    pub master: String,
    /// The key, wrapped.
    pub wrapped: Wrapped,
}

/// One version of an environment's identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityRecord {
    /// From 1.
    pub version: u32,
    /// Where in its life it is.
    pub status: KeyStatus,
    /// Its public half.
    pub recipient: String,
    /// None once it is destroyed.
    pub key: Option<UnderMaster>,
    /// When it was made, for people.
    pub created: WallTime,
}

/// The keys of one environment that are wrapped to the master key, and what goes on with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyring {
    /// Grows with every change: compare-and-set.
    pub revision: u64,
    /// The secret under which documents are digested for request ids.
    pub secret: UnderMaster,
    /// What signs documents that are sealed to a reader: its public half in text, and the key.
    pub signer: (String, UnderMaster),
    /// All versions of the identity, the newest last.
    pub identities: Vec<IdentityRecord>,
    /// Who else can open everything: age recipients.
    pub recovery: Vec<String>,
    /// Rules on what is sealed.
    pub rules: SealRules,
    /// What shows that the recovery recipients, the rules, the epoch and the last outcome are those that the server has set.
    pub vouched: Vouched,
    /// The rotation under way.
    pub job: Option<Job>,
    /// When everything was last opened, and with what result.
    pub verified: Option<Verified>,
}

impl Keyring {
    /// The version of the identity that new data keys are wrapped to.
    #[must_use]
    pub fn active(&self) -> Option<&IdentityRecord> {
        self.identities.iter().rfind(|identity| identity.status == KeyStatus::Active)
    }

    /// All that can be told of it: without the wrapped keys.
    #[must_use]
    pub fn told(&self) -> Self {
        let bare = |key: &UnderMaster| UnderMaster { master: key.master.clone(), wrapped: Wrapped(Vec::new()) };
        let identity = |one: &IdentityRecord| IdentityRecord { key: one.key.as_ref().map(bare), ..one.clone() };
        Self {
            secret: bare(&self.secret),
            signer: (self.signer.0.clone(), bare(&self.signer.1)),
            identities: self.identities.iter().map(identity).collect(),
            recovery: self.recovery.clone(),
            rules: self.rules.clone(),
            job: self.job.clone(),
            ..*self
        }
    }
}

/// MACs under the environment's secret: who can write to the database alone can name no recipient of theirs, and except nothing from being
/// sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vouched {
    /// Over the recovery recipients, and the version of the identity that they came with.
    pub recovery: [u8; 32],
    /// Over the rules and their revision.
    pub rules: [u8; 32],
    /// Over the epoch of the environment's data keys: a lower one would have new things sealed under keys that were given up.
    pub epoch: [u8; 32],
    /// Over the outcome of opening everything, or that there is none.
    pub verified: [u8; 32],
}

/// The outcome of opening everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the words are those of the design")]
pub struct Verified {
    pub finished: WallTime,
    pub documents: u64,
    pub failures: u64,
}

/// What a rotation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// A new identity, or new recipients: data keys are wrapped again.
    Rewrap,
    /// New data keys: everything retained is sealed again.
    Reencrypt,
}

impl JobKind {
    /// The command that it is of.
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            Self::Rewrap => "rewrap",
            Self::Reencrypt => "reencrypt",
        }
    }
}

/// A rotation under way: it survives its server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Which one: that of the request that began it.
    pub id: RequestId,
    /// What it does.
    pub kind: JobKind,
    /// Where it goes on.
    pub cursor: Option<StatePath>,
    /// Keys or documents done.
    pub done: u64,
    /// How many there were at its start.
    pub total: u64,
    /// When it began, for people.
    pub started: WallTime,
}

/// A data key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataKeyRecord {
    /// Which key: it never changes, whatever it is wrapped to.
    pub id: DataKeyId,
    /// The state that is sealed under it.
    pub state: StateId,
    /// The version of the identity that it is wrapped to.
    pub identity: u32,
    /// How often the environment had been asked for new data keys when it was made.
    pub epoch: u32,
    /// Where in its life it is: active, decrypt-only or retired.
    pub status: KeyStatus,
    /// The key, wrapped.
    pub wrapped: Wrapped,
}

impl DataKeyRecord {
    /// Whether the store found its row altered: it comes without its wrap then, and does not open.
    #[must_use]
    pub fn is_altered(&self) -> bool {
        self.wrapped.0.is_empty()
    }
}

/// What new things of a state are sealed under. A document that was sealed on another ground is sealed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ground {
    /// The state.
    pub state: StateId,
    /// The active data key of the state.
    pub data_key: DataKeyId,
    /// The epoch of that key.
    pub epoch: u32,
    /// The ordinal of the next sealed value under it.
    pub next_ordinal: u32,
    /// How often sealed values were dropped: what was found before may be gone.
    pub collected: u32,
}

/// What a version or draft is sealed with, beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealMeta {
    /// The state that its bytes are bound to. A draft can be of a state that never came to be.
    pub state: StateId,
    /// The version number that its bytes are bound to; for a draft the one it was meant for.
    pub version: Version,
    /// The data key.
    pub data_key: DataKeyId,
    /// The rules by which its secrets were found: the revision of those shipped, and of the environment's own.
    pub rules: (u32, u64),
    /// It has more secrets than are searched for: every string that is not structure is masked.
    pub overflow: bool,
    /// How many sealed pieces its skeleton has.
    pub pieces: u32,
    /// Binds everything of it together.
    pub mac: KeyedDigest,
}

/// A sealed value that the state has not had yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewValue {
    /// Its number under the data key.
    pub ordinal: u32,
    /// What equal values at one place share: the first bytes of `sealed`.
    pub tag: [u8; 24],
    /// Nonce, ciphertext and tag; or, of a large one, the body that holds them in pieces.
    pub sealed: StoredValue,
}

/// Where a sealed value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredValue {
    /// Here.
    Inline(Vec<u8>),
    /// In the pieces of this body.
    Pieces(BodyId),
}

/// The ordinals of a document's sealed values, as ranges (first, count), ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordinals(pub Vec<(u32, u32)>);

impl Ordinals {
    /// The set of these numbers.
    #[must_use]
    pub fn of(numbers: impl IntoIterator<Item = u32>) -> Self {
        let mut numbers: Vec<u32> = numbers.into_iter().collect();
        numbers.sort_unstable();
        numbers.dedup();
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for number in numbers {
            match ranges.last_mut() {
                Some((first, count)) if number - *first == *count => *count += 1,
                _ => ranges.push((number, 1)),
            }
        }
        Self(ranges)
    }

    /// The numbers in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().flat_map(|(first, count)| *first..=*first + (*count - 1))
    }

    /// Whether it is one of them.
    #[must_use]
    pub fn contains(&self, number: u32) -> bool {
        let at = self.0.partition_point(|(first, _)| *first <= number);
        at > 0 && number - self.0[at - 1].0 < self.0[at - 1].1
    }
}

/// A version or a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words are those of the design")]
pub enum Target {
    Version(Version),
    Draft(DraftId),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_are_the_set_they_were_made_of() {
        let numbers = [7, 3, 4, 5, 9, 3, u32::MAX];
        let set = Ordinals::of(numbers);
        assert_eq!(set.0, [(3, 3), (7, 1), (9, 1), (u32::MAX, 1)]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [3, 4, 5, 7, 9, u32::MAX]);
        assert!([3, 5, 7, u32::MAX].iter().all(|number| set.contains(*number)));
        assert!([0, 2, 6, 8, 10].iter().all(|number| !set.contains(*number)));
    }
}
