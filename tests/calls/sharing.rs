//! An unchanged secret at an unchanged place is stored once, however many versions have it.

use crate::support::{Running, StoreKind};

/// A version of the state: one secret that stays, one that changes with every hundredth version, and one that moves once.
fn document(version: u64) -> Vec<u8> {
    let place = if version <= 500 { "token_of_old" } else { "token_of_new" };
    format!(
        r#"{{"version":4,"terraform_version":"1.11.4","serial":{version},"lineage":"l","outputs":{{}},"resources":[{{"mode":"managed","type":"t","name":"n","provider":"p","instances":[{{"attributes":{{"note":"{version}","password":"Stays-where-it-is-1","rotated_password":"Rotated-{}-password","{place}":"Moves-to-another-1"}},"sensitive_attributes":[]}}]}}]}}"#,
        version / 100
    )
    .into_bytes()
}

#[tokio::test]
async fn secret_at_its_place_over_1000_versions_is_one_row() {
    let server = Running::start(StoreKind::Sqlite).await;
    let held = server.api.hold("dev/app", "s").await;
    for version in 1..=1000 {
        assert_eq!(server.api.write("dev/app", "s", held.token, &document(version)).await.version, version);
    }
    for version in [1, 500, 501, 1000] {
        assert_eq!(server.api.pull("dev/app", version).await.unwrap(), document(version));
    }
    assert!(server.api.release("dev/app", "s", held.token).await.unwrap().was_live);
    drop(held);
    let stopped = server.stop().await;
    let database = rusqlite::Connection::open(stopped.database()).unwrap();
    let count = |what: &str| database.query_row(what, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM version"), 1000);
    // One that stays, eleven that came one after another, and one at each of two places.
    assert_eq!(count("SELECT count(*) FROM value"), 1 + 11 + 2);
    assert_eq!(count("SELECT count(*) FROM data_key"), 1);
}
