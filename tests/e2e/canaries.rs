//! Documents with secrets in every form go through everything that a server does. Afterwards none of them is anywhere in what the server keeps
//! or says: files as they lie on the disk, its log, its errors, events and metadata; nor in the skeletons, once those are opened.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use leasehold::client::{DiffSides, Which, WriteAsk};
use leasehold::pb::v1::Settings;
use leasehold::service::offline::{Archive, Opener};
use leasehold::store::Document;
use leasehold::store::sqlite::Offline;
use serde_json::json;

use crate::process::end;
use crate::rig::{Server, TIGHT, Writer, read};

/// What is looked for: secrets with characters that every form escapes in its own way, by the place they were planted at.
struct Canaries(BTreeMap<&'static str, String>);

impl Canaries {
    fn of(label: &str) -> Self {
        let places = ["marked", "named", "nested", "encoded", "zipped", "key", "spread", "private", "shape", "query"];
        let plant = |place: &'static str| {
            let text = match place {
                // A token of a shape that is known; nothing marks or names it.
                "shape" => format!("ghp_{:0<36}", format!("{label}{place}").replace('-', "")),
                _ => format!("Aé\"\\<&%/+=\n{label}-{place}-Z9q!{}", "x7".repeat(place.len())),
            };
            (place, text)
        };
        Self(places.into_iter().map(plant).collect())
    }

    fn get(&self, place: &str) -> &str {
        &self.0[place]
    }

    /// The pure part of each, which stands in every textual form, and the forms that have none.
    fn needles(&self) -> Vec<(String, Vec<u8>)> {
        let mut needles = Vec::new();
        for (place, text) in &self.0 {
            let core = text.rsplit('\n').next().unwrap();
            needles.push((format!("{place} in the clear"), core.as_bytes().to_vec()));
            // What every alignment of base64 has of it, without its ends.
            for shift in 0..3 {
                let shifted = [&b"..."[..shift], core.as_bytes()].concat();
                for (name, engine) in [("base64", &STANDARD), ("base64url", &URL_SAFE_NO_PAD)] {
                    let encoded = engine.encode(&shifted);
                    needles.push((
                        format!("{place} in {name}, shifted by {shift}"),
                        encoded.as_bytes()[8..encoded.len() - 8].to_vec(),
                    ));
                }
            }
        }
        needles
    }
}

fn terraform(serial: u64, canaries: &Canaries) -> Vec<u8> {
    let get = |place: &str| canaries.get(place);
    let zipped = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(get("zipped").as_bytes()).unwrap();
        STANDARD.encode(encoder.finish().unwrap())
    };
    let nested = json!({ "password": get("nested"), "again": json!({ "inner": get("nested") }).to_string() }).to_string();
    let percent: String = get("query").bytes().map(|byte| format!("%{byte:02X}")).collect();
    let document = json!({
        "version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": "canaries",
        "outputs": {
            "marked": { "value": get("marked"), "type": "string", "sensitive": true },
            "spread": { "value": get("spread"), "type": "string", "sensitive": true },
            "query": { "value": get("query"), "type": "string", "sensitive": true },
            "key": { "value": get("key"), "type": "string", "sensitive": true },
            "encoded": { "value": get("encoded"), "type": "string", "sensitive": true },
            // What stands in `private` alone, under a telling name, is not found: only what is known to be secret elsewhere.
            "private": { "value": get("private"), "type": "string", "sensitive": true },
            "zipped": { "value": get("zipped"), "type": "string", "sensitive": true },
            "map": { "value": { get("key"): "innocent" }, "type": ["object", { get("key"): "string" }] },
        },
        "resources": [{
            "mode": "managed", "type": "thing", "name": "it", "provider": "provider[\"example.org/x/thing\"]",
            "instances": [{
                "schema_version": 0,
                "attributes": {
                    "marked_too": get("marked"),
                    "admin_password": get("named"),
                    "user_data": nested,
                    "note": format!("the token is {} they say", get("spread")),
                    "blob": STANDARD.encode(format!("before {} after", get("encoded"))),
                    "url_blob": URL_SAFE_NO_PAD.encode(get("encoded")),
                    "archive": zipped,
                    "callback": format!("https://example.org/?q={percent}"),
                    "script": format!("#!/bin/sh\ncurl -H 'x: {}'\n", get("shape")),
                },
                "sensitive_attributes": [[{ "type": "get_attr", "value": "marked_too" }]],
                "private": STANDARD.encode(json!({ "secret": get("private") }).to_string()),
            }],
        }],
    });
    serde_json::to_vec_pretty(&document).unwrap()
}

/// All texts that the server says through its calls about everything.
async fn told(server: &Server, errors: Vec<String>) -> Vec<u8> {
    let mut told = errors.join("\n").into_bytes();
    for args in [
        &["env", "list"][..],
        &["state", "list", "dev", "--deleted"],
        &["state", "history", "dev/app", "--all"],
        &["state", "drafts", "list", "dev/app", "--all"],
        &["state", "show", "dev/app"],
        &["state", "diff", "dev/app", "--from", "1"],
        &["lease", "show", "dev/app"],
        &["audit", "tail", "--after", "0"],
        &["audit", "export", "--unproven"],
        &["audit", "head"],
    ] {
        for format in ["table", "json"] {
            let ended = server.ok(&[args, &["--output", format]].concat());
            told.extend_from_slice(ended.out.as_bytes());
            told.extend_from_slice(ended.err.as_bytes());
        }
    }
    told
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found
}

/// The skeletons of all documents, opened with the master key: texts and tables of holes. Also every document, for the test of the test.
pub(crate) fn opened(folder: &Path, file: &Path, scratch: &Path) -> (BTreeMap<String, Vec<u8>>, Vec<u8>) {
    let opener = Opener::master(&folder.join("master.key")).unwrap_or_else(|error| panic!("{error}"));
    let database = Offline::copy_of(file, scratch).unwrap();
    let archive = Archive::open(&database, &opener).unwrap();
    let (mut skeletons, mut whole) = (BTreeMap::new(), Vec::new());
    for name in database.names().unwrap() {
        let versions = database.versions(&name).unwrap().into_iter().map(|(_, version)| Document::Version(version.unwrap()));
        let drafts = database.drafts(&name).unwrap().into_iter().map(|draft| Document::Draft(draft.unwrap()));
        for document in versions.chain(drafts) {
            let place = match &document {
                Document::Version(version) if version.body.is_none() => continue,
                Document::Version(version) => format!("{}/{} version {}", name.environment, name.path, version.version),
                Document::Draft(draft) => format!("{}/{} draft {}", name.environment, name.path, draft.id),
            };
            let contents = archive.contents(&name, &document).unwrap_or_else(|error| panic!("{place}: {error}"));
            skeletons.insert(format!("the text of {place}"), contents.text);
            skeletons.insert(format!("the holes of {place}"), contents.head);
            whole.extend_from_slice(&contents.document);
        }
    }
    (skeletons, whole)
}

/// Which canaries are where they must not be.
fn found(needles: &[(String, Vec<u8>)], where_: &str, text: &[u8]) -> Vec<String> {
    let patterns = aho_corasick::AhoCorasick::new(needles.iter().map(|(_, bytes)| bytes)).unwrap();
    let mut hits: Vec<_> = patterns.find_overlapping_iter(text).map(|hit| hit.pattern().as_usize()).collect();
    hits.sort_unstable();
    hits.dedup();
    hits.into_iter().map(|hit| format!("{where_}: {}", needles[hit].0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_anything_that_the_server_keeps_or_says() {
    let mut server = Server::stopped(TIGHT);
    server.start_as(|command| {
        command.env("LEASEHOLD_LOG", "debug");
    });
    let client = server.client();
    let [first, second, late, other] = ["first", "second", "late", "other"].map(Canaries::of);
    client.create_environment("prod", Settings::default(), Vec::new()).await.unwrap();
    let mut errors = Vec::new();

    let app = Writer::of(&client, "dev/app").await;
    let mut watch = server
        .leasehold(&["watch", "dev", "--output", "json", "--retry-for", "0s"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    app.write(&terraform(1, &first)).await;
    app.write(&terraform(2, &second)).await;
    let (draft, refused) = app.draft(&terraform(3, &late)).await;
    errors.push(format!("{refused} {}", refused.next()));
    assert_eq!(read(&client, "dev/app", Which::Draft(draft.clone())).await.unwrap(), terraform(3, &late));
    assert_eq!(read(&client, "dev/app", Which::Current).await.unwrap(), terraform(2, &second));
    client.rollback(&app.lease, 1, &WriteAsk::default()).await.unwrap();
    let promoted = client.promote_draft(&app.lease, &draft, &WriteAsk { rewrite: true, ..WriteAsk::default() }).await;
    promoted.unwrap();
    let (kept, _) = app.draft(&terraform(7, &late)).await;
    assert_ne!(kept, draft);
    // What does not parse is refused, and not quoted.
    let broken = [&terraform(9, &late)[..200], b"}"].concat();
    let source = leasehold::client::Source::from_bytes(broken);
    let refused = client.push(&app.lease, &leasehold::client::PushAsk::default(), &source, |_| ()).await.unwrap_err();
    errors.push(format!("{refused} {}", refused.next()));
    client.diff("dev/app", &DiffSides { from: Some(1), ..DiffSides::default() }).await.unwrap();
    client.purge("dev/app", Some(2)).await.unwrap();
    app.release().await;
    let gone = Writer::of(&client, "dev/gone").await;
    gone.write(&terraform(1, &other)).await;
    client.delete_state(&gone.lease, &WriteAsk::default()).await.unwrap();
    let prod = Writer::of(&client, "prod/app").await;
    prod.write(&terraform(1, &first)).await;

    let needles: Vec<_> = [&first, &second, &late, &other].iter().flat_map(|canaries| canaries.needles()).collect();
    let mut left = Vec::new();
    let live = server.file("live");
    let copy = |to: &Path| {
        std::fs::create_dir(to).unwrap();
        for (file, bytes) in files(&server.data()) {
            std::fs::write(to.join(file.file_name().unwrap()), bytes).unwrap();
        }
    };
    copy(&live);
    left.extend(found(&needles, "what calls say", &told(&server, errors).await));
    server.kill();
    let killed = server.file("killed");
    std::fs::create_dir(&killed).unwrap();
    for (file, bytes) in files(&server.data()) {
        std::fs::write(killed.join(file.file_name().unwrap()), bytes).unwrap();
    }
    // It would wait for the server to come back.
    watch.kill().unwrap();
    let watched = crate::process::finish(watch);
    assert!(watched.out.contains("version"), "the watch saw events: {}", watched.out);
    left.extend(found(&needles, "events", watched.out.as_bytes()));
    server.start_as(|command| {
        command.env("LEASEHOLD_LOG", "debug");
    });
    assert_eq!(read(&server.client(), "prod/app", Which::Current).await.unwrap(), terraform(1, &first));
    server.stop();
    for (file, bytes) in [&server.data(), &live, &killed].into_iter().flat_map(|folder| files(folder)) {
        left.extend(found(&needles, &file.display().to_string(), &bytes));
    }
    left.extend(found(&needles, "the log", server.logged().as_bytes()));
    assert!(server.logged().contains("DEBUG"), "the log is at debug level");

    let (skeletons, whole) = opened(&server.data(), &server.data().join("leasehold.db"), &server.file(""));
    assert!(skeletons.len() >= 10, "{:?}", skeletons.keys());
    for (place, text) in &skeletons {
        left.extend(found(&needles, place, text));
    }
    assert!(left.is_empty(), "{} leaks: {left:#?}", left.len());

    // The test of the test: what was written has every canary in it, in a form that this search finds.
    let told = found(&needles, "", &whole);
    for canaries in [&first, &late, &other] {
        for (place, text) in &canaries.0 {
            let core = text.rsplit('\n').next().unwrap();
            let place = format!(": {place} in ");
            assert!(told.iter().any(|hit| hit.starts_with(&place)), "{place}{core} is not found in what was written");
        }
    }
    let ended = end(&mut crate::process::leasehold(&["doctor", "verify", "--data-dir", &server.data().display().to_string()]));
    assert!(ended.code == 0 && ended.out.contains("documents opened, each to its last byte"), "{}{}", ended.out, ended.err);
}

/// What nothing marks, names or knows is not found, and then this search finds it: it would tell if the finder found nothing at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secret_that_nothing_tells_of_is_found_by_the_search() {
    let mut server = Server::start(TIGHT);
    let innocent = b"{\"text\": \"plain words that nobody would take for a secret\"}";
    let writer = Writer::of(&server.client(), "dev/app").await;
    writer.write(innocent).await;
    server.stop();
    let (skeletons, _) = opened(&server.data(), &server.data().join("leasehold.db"), &server.file(""));
    let needles = [("planted".to_owned(), b"plain words".to_vec())];
    let hits: Vec<_> = skeletons.iter().flat_map(|(place, text)| found(&needles, place, text)).collect();
    assert_eq!(hits, ["the text of dev/app version 1: planted"]);
}
