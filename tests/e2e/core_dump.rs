//! What root finds in the memory of a server that was unlocked, has served writes and full reads, and was locked then: no key. Documents are
//! counted and told: buffers of HTTP/2 and SQLite are not ours to wipe.

use std::io::Read;
use std::path::Path;
use std::process::Command;

use age::secrecy::ExposeSecret;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use leasehold::client::Which;
use sha2::Sha256;

use crate::require::{program, skip};
use crate::rig::{Server, TIGHT, Writer, read};

/// A key and what to call it.
struct Key {
    name: String,
    bytes: [u8; 32],
}

const CANARY: &str = "canary-of-a-document-7f3a91";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_of_a_locked_server_holds_no_key() {
    let Some(gcore) = program("gcore") else { return };
    if !rustix::process::geteuid().is_root() {
        return skip("memory_of_a_locked_server_holds_no_key", "root");
    }
    let server = Server::start(TIGHT);
    for round in 0..2 {
        serve(&server, round).await;
        if round == 0 {
            // What an earlier life of the keys left behind counts as well.
            server.ok(&["lock"]);
            server.ok(&["unlock"]);
        }
    }
    let keys = keys(&server);
    // The search finds what is there: it is not for want of looking that it finds nothing later.
    let open = dump(&gcore, &server);
    let there = found(&keys, &open);
    for needed in ["master", "dev identity", "data key 0 encryption"] {
        assert!(there.iter().any(|found| found.starts_with(needed)), "{needed} is not even in an unlocked server");
    }
    server.ok(&["lock"]);
    let locked = dump(&gcore, &server);
    let left = found(&keys, &locked);
    println!("a dump has {} MB; of {} keys {} forms were in it while unlocked", locked.len() >> 20, keys.len(), there.len());
    println!("documents in the dump: {} times open, {} times locked", count(&open, CANARY), count(&locked, CANARY));
    assert!(left.is_empty(), "of {} keys there are left: {left:#?}", keys.len());
}

/// Writes, refused writes, full reads, differences, rollbacks: small documents and ones in several pieces, in two environments.
async fn serve(server: &Server, round: usize) {
    let client = server.client();
    if round == 0 {
        client.create_environment("prod", leasehold::pb::v1::Settings::default(), Vec::new()).await.unwrap();
    }
    for state in ["dev/app", "dev/large", "prod/app"] {
        let writer = Writer::of(&client, state).await;
        let padding = if state == "dev/large" { "x".repeat(700_000) } else { String::new() };
        let document = |n: usize| format!("{{\"password\": \"{CANARY}-{round}-{n}\", \"text\": \"{padding}\"}}").into_bytes();
        let first = writer.write(&document(1)).await;
        writer.write(&document(2)).await;
        writer.draft(&document(3)).await;
        let back = client.rollback(&writer.lease, first, &leasehold::client::WriteAsk::default()).await.unwrap();
        assert_eq!(read(&client, state, Which::Version(back.version)).await.unwrap(), document(1));
        for version in first..=back.version {
            read(&client, state, Which::Version(version)).await.unwrap();
        }
        client.diff(state, &leasehold::client::DiffSides::default()).await.unwrap();
        writer.release().await;
    }
}

/// Every key that the server had, worked out from its files as anybody with the master key could.
fn keys(server: &Server) -> Vec<Key> {
    let text = std::fs::read_to_string(server.data().join("master.key")).unwrap();
    let master: age::x25519::Identity = text.lines().find(|line| line.starts_with("AGE")).unwrap().parse().unwrap();
    let database = rusqlite::Connection::open(server.data().join("leasehold.db")).unwrap();
    let mut keys = identity_keys("master", &master);
    let mut rings = database.prepare("SELECT environment, meta FROM keyring").unwrap();
    let rings = rings.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
    for ring in rings.map(Result::unwrap) {
        let (name, meta) = ring;
        let meta: serde_json::Value = serde_json::from_str(&meta).unwrap();
        let open = |wrapped: &serde_json::Value| {
            fields(&age::decrypt(&master, &STANDARD_NO_PAD.decode(wrapped["wrapped"].as_str().unwrap()).unwrap()).unwrap())
        };
        keys.push(Key { name: format!("{name} secret"), bytes: open(&meta["secret"])[2].as_slice().try_into().unwrap() });
        keys.push(Key { name: format!("{name} signer"), bytes: open(&meta["signer"][1])[3].as_slice().try_into().unwrap() });
        let text = String::from_utf8(open(&meta["identities"][0]["key"])[4].clone()).unwrap();
        let identity: age::x25519::Identity = text.parse().unwrap();
        keys.extend(identity_keys(&format!("{name} identity"), &identity));
        let mut wrapped = database.prepare("SELECT id, wrapped FROM data_key WHERE environment = ?1").unwrap();
        let wrapped = wrapped.query_map([&name], |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, Vec<u8>>(1)?))).unwrap();
        for (n, row) in wrapped.map(Result::unwrap).enumerate() {
            let (id, wrapped) = row;
            let bytes: [u8; 32] = fields(&age::decrypt(&identity, &wrapped).unwrap())[5].as_slice().try_into().unwrap();
            keys.extend(
                ["encryption", "nonce"]
                    .map(|part| derived(&format!("data key {n} {part}"), &format!("value-{part}"), Some(&id), &bytes)),
            );
            for purpose in ["skeleton-encryption", "version-mac", "document-digest"] {
                keys.push(derived(&format!("data key {n} {purpose}"), purpose, Some(&id), &bytes));
            }
            keys.push(Key { name: format!("data key {n}"), bytes });
        }
    }
    assert!(keys.len() > 20, "{} keys", keys.len());
    keys
}

/// An identity, and the key of its secret that authenticates what is wrapped to it.
fn identity_keys(name: &str, identity: &age::x25519::Identity) -> Vec<Key> {
    let text = identity.to_string();
    let (_, bytes) = bech32::decode(text.expose_secret()).unwrap();
    let wrap = derived(&format!("{name} wrap"), "wrap", None, text.expose_secret().as_bytes());
    vec![Key { name: name.to_owned(), bytes: bytes.try_into().unwrap() }, wrap]
}

fn derived(name: &str, purpose: &str, salt: Option<&[u8]>, secret: &[u8]) -> Key {
    let mut bytes = [0; 32];
    Hkdf::<Sha256>::new(salt, secret).expand(format!("leasehold/v1/{purpose}").as_bytes(), &mut bytes).unwrap();
    Key { name: name.to_owned(), bytes }
}

/// The fields of an envelope: kind, ids, key.
fn fields(mut plain: &[u8]) -> Vec<Vec<u8>> {
    let mut fields = Vec::new();
    while plain.len() > 32 {
        let (length, rest) = plain.split_first_chunk::<8>().unwrap();
        let (field, rest) = rest.split_at(usize::try_from(u64::from_be_bytes(*length)).unwrap());
        fields.push(field.to_vec());
        plain = rest;
    }
    fields
}

fn dump(gcore: &Path, server: &Server) -> Vec<u8> {
    let to = server.file("core");
    let done = Command::new(gcore).arg("-o").arg(&to).arg(server.pid().to_string()).output().unwrap();
    assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let file = format!("{}.{}", to.display(), server.pid());
    let mut bytes = Vec::new();
    std::fs::File::open(&file).unwrap().read_to_end(&mut bytes).unwrap();
    std::fs::remove_file(file).unwrap();
    bytes
}

/// Which keys are in there, and in which form: raw, in halves, and in every text that anything here prints.
fn found(keys: &[Key], dump: &[u8]) -> Vec<String> {
    let forms: Vec<(String, Vec<u8>)> = keys.iter().flat_map(forms).collect();
    let patterns = aho_corasick::AhoCorasick::new(forms.iter().map(|(_, bytes)| bytes)).unwrap();
    let mut places = vec![Vec::new(); forms.len()];
    for hit in patterns.find_overlapping_iter(dump) {
        places[hit.pattern().as_usize()].push(place(dump, hit.start() as u64));
    }
    let told = forms.iter().zip(places).filter(|(_, places)| !places.is_empty());
    told.map(|((form, _), places)| format!("{form}: {}", places.join(", "))).collect()
}

/// What a place in the dump, an ELF file, was in the process: an address, or the registers of its threads.
fn place(dump: &[u8], at: u64) -> String {
    let number = |from: usize, size: usize| dump[from..from + size].iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
    let (headers, count) = (number(32, 8), number(56, 2));
    for header in (0..count).map(|n| usize::try_from(headers + n * 56).unwrap()) {
        let (kind, from, address, size) =
            (number(header, 4), number(header + 8, 8), number(header + 16, 8), number(header + 32, 8));
        if (from..from + size).contains(&at) {
            return if kind == 4 {
                "registers".to_owned()
            } else {
                format!("{:#x} of {size:#x} at {address:#x}", address + at - from)
            };
        }
    }
    format!("byte {at}")
}

fn forms(key: &Key) -> Vec<(String, Vec<u8>)> {
    let bech32 = bech32::encode::<bech32::Bech32>(bech32::Hrp::parse("age-secret-key-").unwrap(), &key.bytes).unwrap();
    let hex: String = key.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let forms = [
        ("first half", key.bytes[..16].to_vec()),
        ("second half", key.bytes[16..].to_vec()),
        ("bech32", bech32[20..].to_uppercase().into_bytes()),
        ("bech32 in lower case", bech32.as_bytes()[20..].to_vec()),
        ("hex", hex.clone().into_bytes()),
        ("HEX", hex.to_uppercase().into_bytes()),
        ("base64", STANDARD.encode(key.bytes).into_bytes()),
        ("base64url", URL_SAFE_NO_PAD.encode(key.bytes).into_bytes()),
    ];
    forms.into_iter().map(|(form, bytes)| (format!("{}: {form}", key.name), bytes)).collect()
}

fn count(dump: &[u8], text: &str) -> usize {
    memchr::memmem::find_iter(dump, text.as_bytes()).count()
}
