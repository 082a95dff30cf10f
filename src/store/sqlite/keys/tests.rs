//! What is done for one state costs no more because there are others: rotations do it for each, and each purge does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::domain::sealing::Wrapped;
use crate::store::sqlite::open::migrate;

/// A database of so many states; each has a key, which it is sealed on, a version, and one value that the version does not have.
fn with(states: i64) -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection, [1; 16]).unwrap();
    let all = connection.transaction().unwrap();
    for n in 1..=states {
        let (key, state) = (key(n).0, StateId(key(n).0).0);
        all.execute("INSERT INTO name (id, environment, path, current) VALUES (?1, 'dev', ?2, 1)", params![n, format!("s{n}")])
            .unwrap();
        let (sql, none) = (
            "INSERT INTO version (name, version, body, meta, data_key, ordinals) VALUES (?1, 1, x'', '', ?2, ?3)",
            json(&Ordinals::of(Vec::new())),
        );
        all.execute(sql, params![n, key, none]).unwrap();
        let sql = "INSERT INTO data_key (id, environment, name, state, identity, epoch, status, wrapped, digest)
            VALUES (?1, 'dev', ?2, ?3, 1, 1, '\"active\"', x'00', ?4)";
        all.execute(sql, params![key, n, state, row::of_data_key(&record(n), "dev", n)]).unwrap();
        all.execute(
            "INSERT INTO ground (state, data_key, epoch, next_ordinal, collected) VALUES (?1, ?2, 1, 1, 0)",
            params![state, key],
        )
        .unwrap();
        all.execute("INSERT INTO value (data_key, ordinal, tag, sealed) VALUES (?1, 0, x'', x'')", [key]).unwrap();
    }
    all.commit().unwrap();
    connection
}

fn record(n: i64) -> DataKeyRecord {
    let (id, state) = (key(n), StateId(key(n).0));
    DataKeyRecord { id, state, identity: 1, epoch: 1, status: KeyStatus::Active, wrapped: Wrapped(vec![0]) }
}

fn key(n: i64) -> DataKeyId {
    let mut id = [7; 16];
    id[8..].copy_from_slice(&n.to_be_bytes());
    DataKeyId(id)
}

/// How many steps SQLite's machine makes.
fn steps(connection: &mut Connection, work: impl FnOnce(&Connection)) -> u64 {
    let count = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&count);
    let handler = move || {
        counting.fetch_add(1, Ordering::Relaxed);
        false
    };
    connection.progress_handler(1, Some(handler)).unwrap();
    work(connection);
    connection.progress_handler(0, None::<fn() -> bool>).unwrap();
    count.load(Ordering::Relaxed)
}

#[test]
fn work_on_one_state_does_not_grow_with_the_others() {
    let (mut few, mut many) = (with(20), with(2_000));
    let environment: EnvironmentName = "dev".parse().unwrap();
    let walk = |connection: &Connection| {
        let found = documents(connection, &environment, WhichDocuments::Before(1), None, 10).unwrap();
        assert!(found.is_empty(), "none is under an old key");
    };
    let (few_walked, many_walked) = (steps(&mut few, walk) / 20, steps(&mut many, walk) / 2_000);
    assert!(many_walked <= few_walked + few_walked / 4, "a walk takes {many_walked} steps per state instead of {few_walked}");
    type Work<'c> = &'c dyn Fn(&Connection);
    let works: [(&str, Work<'_>); 4] = [
        ("collecting values", &|connection| collect(connection, 5, key(5)).unwrap()),
        ("the ground", &|connection| assert!(ground(connection, StateId(key(6).0)).unwrap().is_some())),
        ("what is under a key", &|connection| assert!(under(connection, key(7)).unwrap().is_some())),
        ("the key of drafts", &|connection| {
            begun(connection, &StateName { environment: environment.clone(), path: "s8".parse().unwrap() }, None)
                .map(drop)
                .unwrap();
        }),
    ];
    for (what, work) in works {
        let (with_few, with_many) = (steps(&mut few, work), steps(&mut many, work));
        assert!(with_few > 0 && with_many <= 2 * with_few, "{what} takes {with_many} steps instead of {with_few}");
    }
}

/// Every bit of every column. The identity and the wrap, which change, are bound to each other: by a MAC, not by this.
#[test]
fn row_of_a_data_key_with_any_bit_changed_comes_without_its_key() {
    let connection = with(1);
    let row = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, rusqlite::types::Value>(0)).unwrap();
    let read = || {
        let by_id = data_key(&connection, key(1));
        let listed = data_keys(&connection, &"dev".parse().unwrap(), WhichKeys::All, None, 9);
        (by_id, listed)
    };
    let intact = record(1);
    assert_eq!(read().1.unwrap(), std::slice::from_ref(&intact));
    for column in ["id", "environment", "name", "state", "epoch", "status", "digest"] {
        let value = row(&format!("SELECT {column} FROM data_key"));
        let set = |value: &rusqlite::types::Value| {
            connection.execute(&format!("UPDATE data_key SET {column} = ?1"), [value]).unwrap();
        };
        for bit in 0..bits(&value) {
            let Some(bent) = bent(&value, bit) else { continue };
            set(&bent);
            let (by_id, listed) = read();
            assert!(by_id.is_err() || by_id.unwrap().is_none_or(|found| found.wrapped.0.is_empty()), "bit {bit} of {column}");
            assert!(listed.is_err() || listed.unwrap().iter().all(|found| found.wrapped.0.is_empty()), "bit {bit} of {column}");
            let under = under(&connection, key(1));
            assert!(under.is_err() || under.unwrap().is_none(), "bit {bit} of {column}");
        }
        set(&value);
    }
    assert_eq!(read().1.unwrap(), [intact]);
}

#[test]
fn row_of_a_keyring_with_any_bit_changed_is_refused() {
    let connection = with(0);
    let environment = "dev".parse().unwrap();
    let made = Keyring {
        revision: 7,
        secret: under_master("secret"),
        signer: ("signer".to_owned(), under_master("signing key")),
        identities: Vec::new(),
        recovery: vec!["age1recovery".to_owned()],
        rules: crate::domain::rules::SealRules::default(),
        vouched: crate::domain::sealing::Vouched::default(),
        job: None,
        verified: None,
    };
    put_keyring(&connection, &environment, &made).unwrap();
    assert_eq!(keyring(&connection, &environment).unwrap(), Some(made.clone()));
    for column in ["environment", "meta", "digest"] {
        let value: rusqlite::types::Value =
            connection.query_row(&format!("SELECT {column} FROM keyring"), [], |row| row.get(0)).unwrap();
        for bit in 0..bits(&value) {
            let Some(bent) = bent(&value, bit) else { continue };
            connection.execute(&format!("UPDATE keyring SET {column} = ?1"), [bent]).unwrap();
            let found = keyring(&connection, &environment);
            assert!(found.is_err() || found.unwrap().is_none(), "bit {bit} of {column}");
        }
        connection.execute(&format!("UPDATE keyring SET {column} = ?1"), [value]).unwrap();
    }
    assert_eq!(keyring(&connection, &environment).unwrap(), Some(made));
}

fn under_master(what: &str) -> crate::domain::sealing::UnderMaster {
    crate::domain::sealing::UnderMaster { master: "age1master".to_owned(), wrapped: Wrapped(what.into()) }
}

fn bits(value: &rusqlite::types::Value) -> usize {
    use rusqlite::types::Value::{Blob, Integer, Text};
    match value {
        Integer(_) => 64,
        Text(text) => text.len() * 8,
        Blob(bytes) => bytes.len() * 8,
        other => panic!("{other:?} has no bits"),
    }
}

/// The value with this bit changed; none: text that is none any more, which the database itself would not give back.
fn bent(value: &rusqlite::types::Value, bit: usize) -> Option<rusqlite::types::Value> {
    use rusqlite::types::Value::{Blob, Integer, Text};
    let flipped = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    match value {
        Integer(number) => Some(Integer(number ^ 1 << bit)),
        Text(text) => String::from_utf8(flipped(text.as_bytes())).ok().map(Text),
        Blob(bytes) => Some(Blob(flipped(bytes))),
        other => panic!("{other:?} has no bits"),
    }
}
