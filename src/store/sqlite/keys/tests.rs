//! What is done for one state costs no more because there are others: rotations do it for each, and each purge does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
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
        let sql = "INSERT INTO data_key (id, environment, name, state, identity, epoch, status, wrapped) VALUES (?1, 'dev', ?2, ?3, 1, 1, '', x'')";
        all.execute(sql, params![key, n, state]).unwrap();
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
