//! The same documents in two environments, and at two servers: nothing of what is stored of the one is stored of the other.

use std::collections::{BTreeMap, HashMap};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use leasehold::client::WriteAsk;
use leasehold::pb::v1::Settings;
use rusqlite::Connection;

use crate::rig::{Server, TIGHT, Writer};

/// No two things that are random or encrypted have as many bytes in common.
const WINDOW: usize = 16;
/// How every wrap begins: age's own header, and the kind of its first recipient. It is all that is equal by construction, and says nothing of
/// what is wrapped.
const AGE: &[u8] = b"age-encryption.org/v1\n-> X25519 ";

/// What an environment has in the database that is encrypted, or drawn at random, or a digest: by what it is.
fn stored(server: &Server, environment: &str) -> BTreeMap<String, Vec<u8>> {
    let db = Connection::open(server.data().join("leasehold.db")).unwrap();
    let mut found = BTreeMap::new();
    let mut add = |kind: &str, sql: &str| {
        let mut statement = db.prepare(sql).unwrap();
        let rows = statement.query_map([environment], |row| row.get::<_, Vec<u8>>(0)).unwrap();
        let before = found.len();
        for (n, row) in rows.enumerate() {
            found.insert(format!("{kind} {n}"), row.unwrap());
        }
        assert!(found.len() > before, "{environment} has no {kind}");
    };
    let keys = "SELECT id FROM data_key WHERE environment = ?1";
    let bodies = "SELECT body FROM version JOIN name ON name.id = version.name WHERE environment = ?1 AND body IS NOT NULL \
                  UNION SELECT body FROM draft JOIN name ON name.id = draft.name WHERE environment = ?1";
    add("skeleton", &format!("SELECT bytes FROM chunk WHERE body IN ({bodies})"));
    add("value", &format!("SELECT sealed FROM value WHERE sealed IS NOT NULL AND data_key IN ({keys})"));
    add("value in pieces", &format!("SELECT bytes FROM chunk WHERE body IN (SELECT body FROM value WHERE data_key IN ({keys}))"));
    add("body", bodies);
    add("data key", "SELECT wrapped FROM data_key WHERE environment = ?1");
    add("id of a data key", keys);
    add("state", "SELECT DISTINCT state FROM data_key WHERE environment = ?1");
    add("environment", "SELECT id FROM environment WHERE name = ?1");
    for (table, place) in [("version", "$.seal.mac"), ("version", "$.etag"), ("draft", "$.seal.mac"), ("draft", "$.id")] {
        let meta = format!("json_extract(meta, '{place}')");
        let sql = format!(
            "SELECT unhex({meta}) FROM {table} JOIN name ON name.id = {table}.name WHERE environment = ?1 AND {meta} IS NOT NULL"
        );
        add(&format!("{place} of a {table}"), &sql);
    }
    add("digest of a draft", "SELECT CAST(digest AS BLOB) FROM draft JOIN name ON name.id = draft.name WHERE environment = ?1");
    for place in ["$.secret", "$.signer[1]", "$.identities[0].key", "$.identities[1].key"] {
        let sql = format!("SELECT json_extract(meta, '{place}.wrapped') FROM keyring WHERE environment = ?1");
        let text: String = db.query_row(&sql, [environment], |row| row.get(0)).unwrap();
        found.insert(format!("{place} of the keyring"), STANDARD_NO_PAD.decode(text).unwrap());
    }
    for (kind, bytes) in &mut found {
        if kind.starts_with("data key") || kind.ends_with("keyring") {
            *bytes = bytes.strip_prefix(AGE).unwrap_or_else(|| panic!("{kind} is wrapped otherwise")).to_vec();
        }
    }
    found
}

/// Where the same bytes stand: in both, or a second time in the first.
fn in_common(one: &BTreeMap<String, Vec<u8>>, other: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let mut seen: HashMap<&[u8], &str> = HashMap::new();
    let mut common = Vec::new();
    for (kind, bytes) in one {
        for window in bytes.windows(WINDOW) {
            if let Some(before) = seen.insert(window, kind) {
                common.push(format!("{before} and {kind}"));
            }
        }
    }
    for (kind, bytes) in other {
        for window in bytes.windows(WINDOW) {
            if let Some(before) = seen.get(window) {
                common.push(format!("{before}, and {kind} of the other"));
            }
        }
    }
    common.dedup();
    common
}

/// Text in which no line is like another.
fn noise(length: usize) -> String {
    let words = (0_u64..).map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    words.take(length / 16).collect()
}

fn terraform(serial: u64) -> Vec<u8> {
    let output =
        |name: &str, value: &str| format!("\"{name}\": {{\"value\": \"{value}\", \"type\": \"string\", \"sensitive\": true}}");
    format!(
        "{{\"version\": 4, \"terraform_version\": \"1.11.4\", \"serial\": {serial}, \"lineage\": \"l\", \"outputs\": {{{}, {}, {}}}, \
         \"resources\": []}}",
        output("same", "always-the-Same-1"),
        output("other", &format!("always-Another-{serial}")),
        output("empty", ""),
    )
    .into_bytes()
}

/// Versions that are differences, drafts, large values, states that were deleted; keys that were rotated.
async fn fill(server: &Server, environment: &str) {
    let client = server.client();
    let state = |path: &str| format!("{environment}/{path}");
    let app = Writer::of(&client, &state("app")).await;
    for serial in 1..=4 {
        app.write(&terraform(serial)).await;
    }
    app.draft(&terraform(9)).await;
    let twin = Writer::of(&client, &state("twin")).await;
    twin.write(&terraform(1)).await;
    let noise = noise(600_000);
    let large = format!("{{\"private_key\": \"{}\", \"text\": \"{noise}\"}}", &noise[..300_000]);
    Writer::of(&client, &state("large")).await.write(large.as_bytes()).await;
    let gone = Writer::of(&client, &state("gone")).await;
    gone.write(&terraform(1)).await;
    client.delete_state(&gone.lease, &WriteAsk::default()).await.unwrap();
    gone.write(&terraform(1)).await;
    client.rewrap(environment, |_| ()).await.unwrap();
    app.write(&terraform(5)).await;
    app.release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn same_documents_have_nothing_in_common_in_two_environments_and_at_two_servers() {
    let (mut server, mut second) = (Server::start(TIGHT), Server::start(TIGHT));
    server.client().create_environment("prod", Settings::default(), Vec::new()).await.unwrap();
    fill(&server, "dev").await;
    fill(&server, "prod").await;
    fill(&second, "dev").await;
    server.stop();
    second.stop();
    let (dev, prod, elsewhere) = (stored(&server, "dev"), stored(&server, "prod"), stored(&second, "dev"));
    for (what, other) in [("two environments of a server", &prod), ("the same environment of two servers", &elsewhere)] {
        let sizes =
            |found: &BTreeMap<String, Vec<u8>>| found.iter().map(|(kind, bytes)| (kind.clone(), bytes.len())).collect::<Vec<_>>();
        let [one, two] =
            [&dev, other].map(|found| sizes(found).into_iter().filter(|(kind, _)| kind.starts_with("value")).collect::<Vec<_>>());
        assert_eq!(one.len(), two.len(), "the same is stored of both");
        assert_eq!(in_common(&dev, other), Vec::<String>::new(), "{what}");
    }

    // The test of the test: one value of the one in the other, inside something else.
    let mut planted = prod.clone();
    planted.get_mut("skeleton 0").unwrap().extend_from_slice(&dev["value 0"][..WINDOW]);
    assert_eq!(in_common(&dev, &planted), ["value 0, and skeleton 0 of the other"]);
}
