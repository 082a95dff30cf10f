//! Rows of keys with a digest beside them. What decides anything is authenticated under the keys themselves; the digest is there for the rest
//! of a row, and for whatever reads a row without a key: a disk that lies is noticed before anything is decided by what it says.

use rusqlite::Row;
use rusqlite::types::{FromSqlError, FromSqlResult, Type};
use sha2::{Digest, Sha256};

use super::Sql;
use crate::domain::ids::{DataKeyId, StateId};
use crate::domain::sealing::{DataKeyRecord, KeyStatus, Keyring, Wrapped};
use crate::store::sqlite::columns::Column;

/// A row of keys that is not what was written.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a row of keys was altered outside of leasehold")]
struct Altered;

/// What is read of a data key.
pub(super) const DATA_KEY: &str = "id, state, identity, epoch, status, wrapped, environment, name, digest";

/// The digest of a keyring as its row has it.
pub(super) fn of_keyring(environment: &str, meta: &str) -> [u8; 32] {
    digest(["keyring".as_bytes(), environment.as_bytes(), meta.as_bytes()])
}

/// The digest of what never changes in the row of a data key. Its status has no two words that are a bit apart; the identity and the wrap belong
/// together, or it does not open.
pub(super) fn of_data_key(record: &DataKeyRecord, environment: &str, name: i64) -> [u8; 32] {
    let DataKeyRecord { id, state, epoch, .. } = record;
    digest(["data_key".as_bytes(), &id.0, environment.as_bytes(), &name.to_be_bytes(), &state.0, &epoch.to_be_bytes()])
}

/// The columns `environment`, `meta` and `digest` of a keyring.
pub(in crate::store::sqlite) fn keyring(environment: &str, meta: &str, kept: &[u8]) -> FromSqlResult<Keyring> {
    if of_keyring(environment, meta) != kept {
        return Err(FromSqlError::Other(Box::new(Altered)));
    }
    serde_json::from_str(meta).map_err(|error| FromSqlError::Other(Box::new(error)))
}

/// The columns [`DATA_KEY`]: the key, and the name that it belongs to. One whose row was altered comes without its wrap: it does not open, and
/// is told by its id with whatever else does not.
pub(super) fn data_key(row: &Row<'_>) -> Sql<(DataKeyRecord, i64)> {
    let status = row.get::<_, Column<KeyStatus>>(4).ok();
    let (identity, epoch): (Option<u32>, Option<u32>) = (row.get(2).ok(), row.get(3).ok());
    let mut record = DataKeyRecord {
        id: DataKeyId(row.get(0)?),
        state: StateId(row.get(1)?),
        identity: identity.unwrap_or_default(),
        epoch: epoch.unwrap_or_default(),
        status: status.as_ref().map_or(KeyStatus::DecryptOnly, |status| status.0),
        wrapped: Wrapped(row.get(5)?),
    };
    let (environment, name, kept): (String, i64, Vec<u8>) = (row.get(6)?, row.get(7)?, row.get(8)?);
    let read = status.is_some() && identity.is_some() && epoch.is_some();
    if !read || of_data_key(&record, &environment, name)[..] != kept {
        tracing::error!(key = %record.id, "{Altered}");
        record.wrapped = Wrapped(Vec::new());
    }
    Ok((record, name))
}

pub(super) fn failure(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(error))
}

/// Over parts of which each says how long it is.
fn digest<const N: usize>(parts: [&[u8]; N]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}
