//! Edits of rows, as somebody with the file would make them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rusqlite::{Connection, params};
use sha2::Digest;

use super::stored::document_of;

pub(super) fn run(db: &Connection, sql: &str) {
    assert!(db.execute(sql, []).unwrap_or_else(|error| panic!("{sql}: {error}")) > 0, "{sql} changed nothing");
}

/// Changes one cell with bytes.
pub(super) fn blob(db: &Connection, table: &str, column: &str, row: &str, change: &dyn Fn(&mut Vec<u8>)) {
    let mut bytes: Vec<u8> = one(db, &format!("SELECT {column} FROM {table} WHERE {row}"));
    change(&mut bytes);
    assert_eq!(db.execute(&format!("UPDATE {table} SET {column} = ?1 WHERE {row}"), params![bytes]).unwrap(), 1);
}

/// Changes a wrapped key in the JSON of a keyring.
pub(super) fn wrap_in_keyring(db: &Connection, environment: &str, place: &str, change: &dyn Fn(&mut Vec<u8>)) {
    let row = format!("environment = '{environment}'");
    let text: String = one(db, &format!("SELECT json_extract(meta, '{place}') FROM keyring WHERE {row}"));
    let mut bytes = STANDARD_NO_PAD.decode(text).unwrap();
    change(&mut bytes);
    json(db, "keyring", place, &format!("\"{}\"", STANDARD_NO_PAD.encode(bytes)), &row);
}

/// Sets one place of a row's metadata to a JSON value.
pub(super) fn json(db: &Connection, table: &str, place: &str, value: &str, row: &str) {
    let sql =
        format!("UPDATE {table} SET meta = json_set(meta, ?1, json(?2)) WHERE {row} AND meta <> json_set(meta, ?1, json(?2))");
    assert_eq!(db.execute(&sql, params![place, value]).unwrap(), 1, "{place} = {value}");
}

/// Makes the digests of rows of keys fit what the rows say: they stop a disk that lies, and nobody who knows how they are made.
pub(super) fn digest_anew(db: &Connection) {
    let digest = |parts: &[&[u8]]| -> [u8; 32] {
        let with_length = |part: &&[u8]| [&(part.len() as u64).to_be_bytes()[..], part].concat();
        sha2::Sha256::digest(parts.iter().flat_map(with_length).collect::<Vec<u8>>()).into()
    };
    let mut keyrings = db.prepare("SELECT environment, CAST(meta AS BLOB) FROM keyring").unwrap();
    let all = keyrings.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))).unwrap();
    for (environment, meta) in all.map(Result::unwrap).collect::<Vec<_>>() {
        let made = digest(&[b"keyring", environment.as_bytes(), &meta]);
        db.execute("UPDATE keyring SET digest = ?2 WHERE environment = ?1", params![environment, made]).unwrap();
    }
    type Key = (Vec<u8>, String, i64, Vec<u8>, u32);
    let mut keys = db.prepare("SELECT id, environment, name, state, epoch FROM data_key").unwrap();
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?));
    for (id, environment, name, state, epoch) in keys.query_map([], read).unwrap().collect::<Result<Vec<Key>, _>>().unwrap() {
        let made = digest(&[b"data_key", &id, environment.as_bytes(), &name.to_be_bytes(), &state, &epoch.to_be_bytes()]);
        db.execute("UPDATE data_key SET digest = ?2 WHERE id = ?1", params![id, made]).unwrap();
    }
}

/// Leaves half of a cell.
pub(super) fn cut(db: &Connection, table: &str, column: &str, row: &str) {
    run(db, &format!("UPDATE {table} SET {column} = substr({column}, 1, length({column}) / 2) WHERE {row}"));
}

/// The condition for the data key of a state.
pub(super) fn key_of(environment: &str, path: &str) -> String {
    format!("name = (SELECT id FROM name WHERE environment = '{environment}' AND path = '{path}')")
}

/// Swaps a column of two versions or drafts, together with what hangs from it.
pub(super) fn swap(db: &Connection, column: &str, a: &str, b: &str) {
    let ((table, first), (_, second)) = (document_of(a), document_of(b));
    type Row = (Vec<u8>, Vec<u8>, String, String);
    let row = |row: &str| -> Row {
        let sql = format!("SELECT body, data_key, ordinals, meta FROM {table} WHERE {row}");
        db.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap()
    };
    let (one, other) = (row(first), row(second));
    for (place, (body, key, ordinals, meta), own) in [(first, &other, &one), (second, &one, &other)] {
        if column == "meta" {
            let sql = format!("UPDATE {table} SET body = ?1, data_key = ?2, ordinals = ?3, meta = ?4 WHERE {place}");
            db.execute(&sql, params![body, key, ordinals, meta]).unwrap();
        } else {
            let hex: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
            let sql = format!("UPDATE {table} SET body = ?1, meta = json_set(?2, '$.body', ?3) WHERE {place}");
            db.execute(&sql, params![body, own.3, hex]).unwrap();
        }
    }
}

/// Swaps the first pieces of two documents.
pub(super) fn swap_chunks(db: &Connection, a: &str, b: &str) {
    let place = |document: &str| {
        let (table, row) = document_of(document);
        format!("n = 0 AND body = (SELECT body FROM {table} WHERE {row})")
    };
    swap_cells(db, "chunk", "bytes", &place(a), &place(b));
}

/// Swaps two pieces of one document.
pub(super) fn swap_pieces(db: &Connection, document: &str, a: u32, b: u32) {
    let (table, row) = document_of(document);
    let place = |n: u32| format!("n = {n} AND body = (SELECT body FROM {table} WHERE {row})");
    swap_cells(db, "chunk", "bytes", &place(a), &place(b));
}

/// Swaps sealed values, each by the condition of its data key and its ordinal.
pub(super) fn swap_values(db: &Connection, (first, m): (&str, u32), (second, n): (&str, u32)) {
    let place = |key: &str, n: u32| format!("ordinal = {n} AND data_key = (SELECT id FROM data_key WHERE {key})");
    swap_cells(db, "value", "sealed", &place(first, m), &place(second, n));
}

/// Swaps wrapped data keys.
pub(super) fn swap_wraps(db: &Connection, a: &str, b: &str) {
    swap_cells(db, "data_key", "wrapped", a, b);
}

fn swap_cells(db: &Connection, table: &str, column: &str, a: &str, b: &str) {
    let read = |row: &str| -> Vec<u8> { one(db, &format!("SELECT {column} FROM {table} WHERE {row}")) };
    let (one, other) = (read(a), read(b));
    assert_ne!(one, other);
    for (row, bytes) in [(a, other), (b, one)] {
        assert_eq!(db.execute(&format!("UPDATE {table} SET {column} = ?1 WHERE {row}"), params![bytes]).unwrap(), 1, "{row}");
    }
}

pub(super) fn one<T: rusqlite::types::FromSql>(db: &Connection, sql: &str) -> T {
    db.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
}
