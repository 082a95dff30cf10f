//! Rows of an environment's keys put back as they were before, whole and with their own MACs and digests: what has been written since knows better.

use leasehold::client::{PushAsk, Source, Which};
use rusqlite::{Connection, params};

use crate::rig::{Server, TIGHT, Writer, read};

/// The environment's row and its keyring's, to be put back.
struct Rows(String, String, Vec<u8>);

impl Rows {
    fn of(server: &Server) -> Self {
        let sql = "SELECT environment.meta, keyring.meta, digest FROM environment JOIN keyring ON environment = name WHERE name = 'dev'";
        database(server).query_row(sql, [], |row| Ok(Self(row.get(0)?, row.get(1)?, row.get(2)?))).unwrap()
    }

    fn put_back(&self, server: &mut Server) {
        server.stop();
        let db = database(server);
        let Self(environment, keyring, digest) = self;
        assert_eq!(db.execute("UPDATE environment SET meta = ?1 WHERE name = 'dev'", [environment]).unwrap(), 1);
        let sql = "UPDATE keyring SET meta = ?1, digest = ?2 WHERE environment = 'dev'";
        assert_eq!(db.execute(sql, params![keyring, digest]).unwrap(), 1);
        drop(db);
        server.restart();
    }
}

fn database(server: &Server) -> Connection {
    Connection::open(server.data().join("leasehold.db")).unwrap()
}

fn document(note: &str) -> Vec<u8> {
    format!("{{\"note\": \"{note}\", \"password\": \"correct-Horse-1\"}}").into_bytes()
}

/// The error of a write, which has to be refused.
async fn refused(server: &Server, state: &str) -> String {
    let writer = Writer::of(&server.client(), state).await;
    let source = Source::from_bytes(document("more"));
    let error = writer.client.push(&writer.lease, &PushAsk::default(), &source, |_| ()).await.unwrap_err();
    writer.release().await;
    error.reason().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sealed_by_rules_that_were_put_back() {
    let mut server = Server::start(TIGHT);
    let before = Rows::of(&server);
    server.ok(&["env", "rules", "add", "dev", "seal *:note"]);
    let writer = Writer::of(&server.client(), "dev/app").await;
    writer.write(&document("a note")).await;
    writer.release().await;
    before.put_back(&mut server);
    assert_eq!(refused(&server, "dev/app").await, "INTERNAL");
    assert!(
        server.logged().contains("they were put back; set the rules again until they have this revision"),
        "{}",
        server.logged()
    );
    assert_eq!(read(&server.client(), "dev/app", Which::Current).await.unwrap(), document("a note"), "it opens as before");

    // As the log says.
    server.ok(&["env", "rules", "add", "dev", "seal *:note"]);
    let writer = Writer::of(&server.client(), "dev/app").await;
    assert_eq!(writer.write(&document("more")).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sealed_or_opened_under_an_epoch_that_was_put_back() {
    let mut server = Server::start(TIGHT);
    let writer = Writer::of(&server.client(), "dev/app").await;
    writer.write(&document("a note")).await;
    writer.release().await;
    let before = Rows::of(&server);
    server.client().reencrypt("dev", |_| ()).await.unwrap();
    let after = Rows::of(&server);
    before.put_back(&mut server);
    assert_eq!(refused(&server, "dev/app").await, "INTERNAL");
    assert!(read(&server.client(), "dev/app", Which::Current).await.is_err());

    after.put_back(&mut server);
    assert_eq!(read(&server.client(), "dev/app", Which::Current).await.unwrap(), document("a note"));
}
