//! What the rules know of documents: versions and drafts, never bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::format::{Format, TerraformHeader};
use super::ids::{BodyId, DraftId, Etag, KeyedDigest, StateId, Token, Version};
use super::names::{InnerLock, Principal, Session, StatePath};
use super::sealing::{DataKeyRecord, Ground, NewValue, Ordinals, SealMeta};
use super::time::{StoreTime, WallTime};

/// A document on its way into the store: sealed, its skeleton in `inline` or already staged under `body`.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    /// Where its skeleton is, or will be.
    pub body: BodyId,
    /// The sealed pieces of the skeleton, if they are small; otherwise they were staged.
    pub inline: Option<Vec<Vec<u8>>>,
    /// The sealed values that the state has not had yet, numbered from the ground's next ordinal.
    pub values: Vec<NewValue>,
    /// The ordinals of all its sealed values.
    pub ordinals: Ordinals,
    /// What it was sealed on: it is committed on no other.
    pub ground: Ground,
    /// The data key of the ground, if it is new.
    pub new_key: Option<DataKeyRecord>,
    /// How it is sealed, as the version it is meant to be.
    pub seal: SealMeta,
    /// What binds it together if it becomes a draft instead.
    pub draft_mac: KeyedDigest,
    /// Bytes it takes as stored.
    pub stored_size: u64,
    /// Size of the redacted form, which is all that is told of the size outside.
    pub shown_size: u64,
    /// The keyed digest of the plain document, under the ground's data key.
    pub digest: KeyedDigest,
    /// The same under the data key of the current version, where that is another.
    pub head_digest: Option<KeyedDigest>,
    /// What it is.
    pub format: Format,
    /// Terraform's serial and lineage; an OpenTofu envelope has them too.
    pub terraform: Option<TerraformHeader>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("body", &self.body).field("format", &self.format).finish_non_exhaustive()
    }
}

/// Why a version exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Written by a lease holder.
    Write,
    /// The content of an older version.
    Rollback(Version),
    /// A draft, promoted.
    Promote(DraftId),
    /// The state was deleted: no content.
    Delete,
}

/// One version, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub struct VersionMeta {
    pub state: StateId,
    pub path: StatePath,
    pub version: Version,
    pub etag: Etag,
    /// The etag of the version before; none on the first.
    pub previous_etag: Option<Etag>,
    pub token: Token,
    pub principal: Principal,
    pub session: Session,
    pub format: Format,
    pub terraform: Option<TerraformHeader>,
    pub digest: Option<KeyedDigest>,
    pub shown_size: u64,
    pub origin: Origin,
    pub written: WallTime,
    pub inner_lock: Option<InnerLock>,
    /// How its content is sealed; none: deleted here.
    pub seal: Option<SealMeta>,
    /// None: deleted here, or its bytes are gone.
    pub body: Option<BodyId>,
}

impl VersionMeta {
    /// Whether the state is deleted at this version.
    #[must_use]
    pub fn deleted(&self) -> bool {
        self.origin == Origin::Delete
    }
}

/// What a write expects to be current.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expect {
    /// 0: no version yet.
    pub version: Version,
    /// None with version 0.
    pub etag: Option<Etag>,
}

impl Expect {
    /// What holds if `head` is current.
    #[must_use]
    pub fn of(head: Option<&VersionMeta>) -> Self {
        head.map_or_else(Self::default, |head| Self { version: head.version, etag: Some(head.etag) })
    }
}

/// A refused write that was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub struct DraftMeta {
    pub id: DraftId,
    pub path: StatePath,
    /// The code of the refusal.
    pub reason: String,
    pub principal: Principal,
    pub session: Session,
    /// The token the writer showed.
    pub token: Token,
    pub expect: Expect,
    pub format: Format,
    pub terraform: Option<TerraformHeader>,
    pub digest: KeyedDigest,
    pub shown_size: u64,
    pub stored_size: u64,
    pub written: WallTime,
    pub expires: StoreTime,
    /// `expires` for people.
    pub expires_wall: WallTime,
    pub inner_lock: Option<InnerLock>,
    pub seal: SealMeta,
    pub body: BodyId,
}
