//! A database that somebody has changed while no server ran: what was touched is refused and quotes nothing, everything else is served, and
//! `doctor verify` finds it.
//!
//! What is not found by reading: that a whole state, or all of the database, was put back to an earlier time; that a state's name now stands
//! at another state; and a version's own etag, writer and times, until the next version is compared with it.

mod forged;
mod rows;
mod stored;

use rusqlite::{Connection, params};

use stored::{ALL, Stored, document_of};

/// One change, and whose reading it has to end.
struct Case<'c> {
    what: String,
    edit: Box<dyn Fn(&Connection) + 'c>,
    refused: &'c [&'c str],
}

fn case<'c>(what: impl Into<String>, refused: &'c [&'c str], edit: impl Fn(&Connection) + 'c) -> Case<'c> {
    Case { what: what.into(), edit: Box::new(edit), refused }
}

/// The states of an environment whose keys are gone.
const DEV: &[&str] = &["dev/app 1", "dev/app 2", "dev/app 3", "dev/app draft", "dev/large 1", "dev/other 1"];
const APP: &[&str] = &["dev/app 1", "dev/app 2", "dev/app 3", "dev/app draft"];

/// Where in a cell a bit is turned over, by the cell's length.
type PlaceIn = fn(usize) -> usize;
/// Changes a cell of the database.
type Edit<'c> = &'c dyn Fn(&Connection, &dyn Fn(&mut Vec<u8>));

/// Flips bits of a column here and there: at both ends, where nonces, headers and tags are, and between.
fn flips<'c>(what: &str, refused: &'c [&'c str], cell: Edit<'c>) -> Vec<Case<'c>> {
    let places: [(&str, PlaceIn); 4] = [
        ("the first byte", |_| 0),
        ("byte 30", |length| 30.min(length - 1)),
        ("the middle", |length| length / 2),
        ("the last byte", |length| length - 1),
    ];
    let flip = |(n, (place, at)): (usize, (&str, PlaceIn))| {
        case(format!("{what}: a bit in {place}"), refused, move |db| {
            cell(db, &|bytes| {
                let at = at(bytes.len());
                bytes[at] ^= 1 << (2 * n);
            });
        })
    };
    places.into_iter().enumerate().map(flip).collect()
}

async fn judge(stored: &Stored, cases: Vec<Case<'_>>) {
    for Case { what, edit, refused } in cases {
        stored.reset();
        stored.edit(&edit);
        let verdict = stored.verify();
        assert!(!verdict.problems.is_empty(), "{what}: `doctor verify` finds nothing");
        for problem in verdict.problems {
            stored.quotes_nothing(&what, &problem);
        }
        for (name, answer) in stored.read_all().await {
            match (answer, refused.contains(&name.as_str())) {
                (Ok(document), false) => assert!(document == stored.written[&name], "{what}: {name} has other bytes"),
                (Err((code, told)), true) => {
                    assert!(["INTERNAL", "MASTER_WRONG", "LOCKED"].contains(&code), "{what}: {name}: {code}");
                    stored.quotes_nothing(&what, &told);
                }
                (Ok(_), true) => panic!("{what}: {name} is served"),
                (Err((code, told)), false) => panic!("{what}: {name} has nothing to do with it: {code} {told}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bits_are_refused_wherever_they_are() {
    let stored = Stored::make().await;
    let piece = |document: &'static str, n: i64| {
        move |db: &Connection, change: &dyn Fn(&mut Vec<u8>)| {
            let (name, row) = document_of(document);
            rows::blob(db, "chunk", "bytes", &format!("n = {n} AND body = (SELECT body FROM {name} WHERE {row})"), change);
        }
    };
    let value = |db: &Connection, change: &dyn Fn(&mut Vec<u8>)| {
        // The password of version 2, which the others do not have.
        let only = "data_key = (SELECT data_key FROM version WHERE name = (SELECT id FROM name WHERE path = 'app' AND environment = 'dev') \
             AND version = 2) AND ordinal = 2";
        rows::blob(db, "value", "sealed", only, change);
    };
    let long_value = |db: &Connection, change: &dyn Fn(&mut Vec<u8>)| {
        rows::blob(db, "chunk", "bytes", "n = 1 AND body = (SELECT body FROM value WHERE body IS NOT NULL)", change);
    };
    let wrap = |db: &Connection, change: &dyn Fn(&mut Vec<u8>)| {
        rows::blob(db, "data_key", "wrapped", &rows::key_of("dev", "app"), change);
    };
    let (small, draft, large) = (piece("dev/app 2", 0), piece("dev/app draft", 0), piece("dev/large 1", 2));
    let mut cases = flips("the piece of a version", &["dev/app 2"], &small);
    cases.extend(flips("the piece of a draft", &["dev/app draft"], &draft));
    cases.extend(flips("a later piece of a large document", &["dev/large 1"], &large));
    cases.extend(flips("a sealed value", &["dev/app 2"], &value));
    cases.extend(flips("a sealed value in pieces", &["dev/large 1"], &long_value));
    cases.extend(flips("a wrapped data key", APP, &wrap));
    judge(&stored, cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bits_of_the_keyring_close_its_environment_only() {
    let stored = Stored::make().await;
    let wraps: Vec<_> = ["$.secret", "$.signer[1]", "$.identities[0].key"]
        .into_iter()
        .map(|place| {
            move |db: &Connection, change: &dyn Fn(&mut Vec<u8>)| {
                rows::wrap_in_keyring(db, "dev", &format!("{place}.wrapped"), change)
            }
        })
        .collect();
    let mut cases: Vec<Case<'_>> = wraps.iter().flat_map(|wrap| flips("a wrap of the keyring", DEV, wrap)).collect();
    for (place, value) in [("$.signer[0]", "\"x\""), ("$.identities[0].recipient", "\"age1x\""), ("$.identities[0].version", "2")]
    {
        cases.push(case(format!("{place} of the keyring"), DEV, move |db| {
            rows::json(db, "keyring", place, value, "environment = 'dev'")
        }));
    }
    cases.push(case("an epoch that a reencrypt would pass over", APP, |db| {
        rows::run(db, &format!("UPDATE data_key SET epoch = epoch + 1 WHERE {}", rows::key_of("dev", "app")));
    }));
    cases.push(case("an identity that a rewrap would pass over", APP, |db| {
        rows::run(db, &format!("UPDATE data_key SET identity = identity + 1 WHERE {}", rows::key_of("dev", "app")));
    }));
    for (place, value) in [("$.key_epoch", "0"), ("$.key_epoch", "2"), ("$.identity", "0"), ("$.identity", "2")] {
        cases.push(case(format!("{place} of the environment"), DEV, move |db| {
            rows::json(db, "environment", place, value, "name = 'dev'")
        }));
    }
    let verified = "{\"finished\": 1, \"documents\": 9, \"failures\": 0}";
    for (place, value) in [("$.verified", verified), ("$.secret.master", "\"age1x\""), ("$.identities[0].status", "\"retired\"")]
    {
        cases.push(case(format!("{place} of the keyring"), DEV, move |db| {
            rows::json(db, "keyring", place, value, "environment = 'dev'")
        }));
    }
    cases.push(case("half a keyring", DEV, |db| rows::cut(db, "keyring", "meta", "environment = 'dev'")));
    judge(&stored, cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_metadata_is_refused() {
    let stored = Stored::make().await;
    let (table, row) = document_of("dev/app 2");
    let mut cases = Vec::new();
    for (place, value) in [
        ("$.seal.mac", "\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\""),
        ("$.previous_etag", "\"00112233445566778899aabbccddeeff\""),
        ("$.previous_etag", "null"),
        ("$.token", "1"),
        ("$.format", "\"json\""),
        ("$.version", "1"),
        ("$.path", "\"other\""),
        ("$.seal.state", "\"00112233445566778899aabbccddeeff\""),
        ("$.seal.version", "1"),
        ("$.seal.data_key", "\"00112233445566778899aabbccddeeff\""),
        ("$.seal.rules[0]", "4000000000"),
        ("$.seal.rules[1]", "7"),
        ("$.seal.pieces", "0"),
        ("$.seal.pieces", "3"),
        ("$.seal", "null"),
        ("$.body", "\"00112233445566778899aabbccddeeff\""),
    ] {
        cases.push(case(format!("{place} = {value}"), &["dev/app 2"], move |db| rows::json(db, table, place, value, row)));
    }
    let (drafts, row) = document_of("dev/app draft");
    for (place, value) in [
        ("$.token", "1"),
        ("$.expect.etag", "\"00112233445566778899aabbccddeeff\""),
        ("$.path", "\"other\""),
        ("$.seal.version", "3"),
    ] {
        cases.push(case(format!("draft: {place} = {value}"), &["dev/app draft"], move |db| {
            rows::json(db, drafts, place, value, row)
        }));
    }
    judge(&stored, cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncated_and_missing_rows_are_refused() {
    let stored = Stored::make().await;
    let (table, row) = document_of("dev/app 2");
    let body = format!("body = (SELECT body FROM {table} WHERE {row})");
    let large = {
        let (table, row) = document_of("dev/large 1");
        format!("body = (SELECT body FROM {table} WHERE {row})")
    };
    let key = rows::key_of("dev", "app");
    let cases = vec![
        case("half a piece", &["dev/app 2"], |db| rows::cut(db, "chunk", "bytes", &body)),
        case("an empty piece", &["dev/app 2"], |db| rows::run(db, &format!("UPDATE chunk SET bytes = x'' WHERE {body}"))),
        case("no piece", &["dev/app 2"], |db| rows::run(db, &format!("DELETE FROM chunk WHERE {body}"))),
        case("the last piece of a large document", &["dev/large 1"], |db| {
            rows::run(db, &format!("DELETE FROM chunk WHERE {large} AND n = (SELECT max(n) FROM chunk WHERE {large})"));
        }),
        case("a piece between", &["dev/large 1"], |db| rows::run(db, &format!("DELETE FROM chunk WHERE {large} AND n = 1"))),
        case("half of the values", APP, |db| {
            rows::run(
                db,
                "UPDATE value SET sealed = substr(sealed, 1, 40) WHERE sealed IS NOT NULL AND data_key IN (SELECT data_key FROM version JOIN name ON name.id = version.name WHERE path = 'app' AND environment = 'dev')",
            );
        }),
        case("no values", &["dev/large 1"], |db| rows::run(db, "DELETE FROM value WHERE body IS NOT NULL")),
        case("half a data key", APP, |db| rows::cut(db, "data_key", "wrapped", &key)),
        case("no data key", APP, |db| rows::run(db, &format!("DELETE FROM data_key WHERE {key}"))),
        case("half of the metadata", &["dev/app 2"], |db| rows::cut(db, table, "meta", row)),
    ];
    judge(&stored, cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_moved_between_versions_states_and_environments_are_refused() {
    let stored = Stored::make().await;
    let swap = |a: &'static str, b: &'static str, column: &'static str| move |db: &Connection| rows::swap(db, column, a, b);
    let chunks = |a: &'static str, b: &'static str| move |db: &Connection| rows::swap_chunks(db, a, b);
    let cases = vec![
        case("bodies of two versions", &["dev/app 1", "dev/app 2"], swap("dev/app 1", "dev/app 2", "meta.body")),
        case("rows of two versions", &["dev/app 1", "dev/app 2"], swap("dev/app 1", "dev/app 2", "meta")),
        case("rows of two states", &["dev/app 1", "dev/other 1"], swap("dev/app 1", "dev/other 1", "meta")),
        case("rows of two environments", &["dev/app 1", "prod/app 1"], swap("dev/app 1", "prod/app 1", "meta")),
        case("pieces of two versions", &["dev/app 1", "dev/app 2"], chunks("dev/app 1", "dev/app 2")),
        case("pieces of two states", &["dev/app 1", "dev/other 1"], chunks("dev/app 1", "dev/other 1")),
        case("pieces of two environments", &["dev/app 1", "prod/app 1"], chunks("dev/app 1", "prod/app 1")),
        case("pieces of a version and a draft", &["dev/app 3", "dev/app draft"], chunks("dev/app 3", "dev/app draft")),
        case("two pieces of one document", &["dev/large 1"], |db| rows::swap_pieces(db, "dev/large 1", 1, 2)),
        case("two values of one state", APP, |db| {
            rows::swap_values(db, (&rows::key_of("dev", "app"), 0), (&rows::key_of("dev", "app"), 1))
        }),
        case("values of two states", &["dev/app 1", "dev/app 2", "dev/app 3", "dev/app draft", "dev/other 1"], |db| {
            rows::swap_values(db, (&rows::key_of("dev", "app"), 0), (&rows::key_of("dev", "other"), 0));
        }),
        case("data keys of two states", &["dev/app 1", "dev/app 2", "dev/app 3", "dev/app draft", "dev/other 1"], |db| {
            rows::swap_wraps(db, &rows::key_of("dev", "app"), &rows::key_of("dev", "other"));
        }),
        case("data keys of two environments", &["dev/app 1", "dev/app 2", "dev/app 3", "dev/app draft", "prod/app 1"], |db| {
            rows::swap_wraps(db, &rows::key_of("dev", "app"), &rows::key_of("prod", "app"));
        }),
        case("keyrings of two environments", ALL, |db| {
            rows::run(db, "UPDATE keyring SET environment = 'x' WHERE environment = 'dev'");
            rows::run(db, "UPDATE keyring SET environment = 'dev' WHERE environment = 'prod'");
            rows::run(db, "UPDATE keyring SET environment = 'prod' WHERE environment = 'x'");
        }),
        case("a smaller number as the current one", &[], |db| {
            rows::run(db, "UPDATE name SET current = 2 WHERE path = 'app' AND environment = 'dev'");
        }),
    ];
    judge(&stored, cases).await;
}

/// Of one version number there were two contents: a server wrote one, the database was put back, and another server wrote the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_content_of_the_same_version_is_refused() {
    let (stored, old) = Stored::with_two_pasts().await;
    let (table, row) = document_of("dev/other 1");
    let cases = vec![
        case("the old piece", &["dev/other 1"], |db| {
            let sql = format!("UPDATE chunk SET bytes = ?1 WHERE n = 0 AND body = (SELECT body FROM {table} WHERE {row})");
            assert_eq!(db.execute(&sql, params![old.piece]).unwrap(), 1);
        }),
        case("the old metadata", &["dev/other 1"], |db| {
            assert_eq!(db.execute(&format!("UPDATE {table} SET meta = ?1 WHERE {row}"), params![old.meta]).unwrap(), 1);
        }),
        case("the old data key", &["dev/other 1"], |db| {
            let sql = format!("UPDATE data_key SET wrapped = ?1 WHERE {}", rows::key_of("dev", "other"));
            assert_eq!(db.execute(&sql, params![old.wrapped]).unwrap(), 1);
        }),
    ];
    judge(&stored, cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_made_from_recipients_only_is_refused() {
    let stored = Stored::make().await;
    let cases = vec![
        case("a document under a data key of the forger's", &["dev/other 1"], |db| forged::document(db, &forged::Mac::Own)),
        case("the same without a MAC", &["dev/other 1"], |db| forged::document(db, &forged::Mac::Zero)),
        case("an environment of the forger's", DEV, forged::environment),
        case("a recovery recipient of the forger's", DEV, |db| {
            let own = age::x25519::Identity::generate().to_public().to_string();
            let sql = "UPDATE keyring SET meta = json_set(meta, '$.recovery', json_array(?1)) WHERE environment = 'dev'";
            assert_eq!(db.execute(sql, params![own]).unwrap(), 1);
        }),
        case("rules that leave everything in the clear", DEV, |db| {
            let sql =
                "UPDATE keyring SET meta = json_set(meta, '$.rules.rules', json_array('except *:**')) WHERE environment = 'dev'";
            assert_eq!(db.execute(sql, []).unwrap(), 1);
        }),
    ];
    judge(&stored, cases).await;
}
