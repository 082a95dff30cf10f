//! Documents of our own, with secrets in every form: what the finder has to see through, and that no tool would write.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use leasehold::client::{DiffSides, Which, WriteAsk};
use leasehold::pb::v1::Settings;
use serde_json::json;

use super::search::{Needles, Planted, files, opened};
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

    /// The pure part of each, which stands in every textual form.
    fn planted(&self, label: &str) -> Vec<Planted> {
        let plant = |(place, text): (&&str, &String)| Planted {
            name: format!("{label} {place}"),
            core: text.rsplit('\n').next().unwrap().to_owned(),
            is_output: false,
        };
        self.0.iter().map(plant).collect()
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_anything_that_the_server_keeps_or_says() {
    let mut server = Server::stopped(TIGHT);
    server.start_as(|command| {
        command.env("LEASEHOLD_LOG", "debug");
    });
    let client = server.client();
    let labels = ["first", "second", "late", "other"];
    let canaries = labels.map(Canaries::of);
    let [first, second, late, other] = &canaries;
    client.create_environment("prod", Settings::default(), Vec::new()).await.unwrap();
    let mut errors = Vec::new();

    let app = Writer::of(&client, "dev/app").await;
    let mut watch = server
        .leasehold(&["watch", "dev", "--output", "json", "--retry-for", "0s"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    app.write(&terraform(1, first)).await;
    app.write(&terraform(2, second)).await;
    let (draft, refused) = app.draft(&terraform(3, late)).await;
    errors.push(format!("{refused} {}", refused.next()));
    assert_eq!(read(&client, "dev/app", Which::Draft(draft.clone())).await.unwrap(), terraform(3, late));
    assert_eq!(read(&client, "dev/app", Which::Current).await.unwrap(), terraform(2, second));
    client.rollback(&app.lease, 1, &WriteAsk::default()).await.unwrap();
    let promoted = client.promote_draft(&app.lease, &draft, &WriteAsk { rewrite: true, ..WriteAsk::default() }).await;
    promoted.unwrap();
    let (kept, _) = app.draft(&terraform(7, late)).await;
    assert_ne!(kept, draft);
    // What does not parse is refused, and not quoted.
    let broken = [&terraform(9, late)[..200], b"}"].concat();
    let source = leasehold::client::Source::from_bytes(broken);
    let refused = client.push(&app.lease, &leasehold::client::PushAsk::default(), &source, |_| ()).await.unwrap_err();
    errors.push(format!("{refused} {}", refused.next()));
    client.diff("dev/app", &DiffSides { from: Some(1), ..DiffSides::default() }).await.unwrap();
    client.purge("dev/app", Some(2)).await.unwrap();
    app.release().await;
    let gone = Writer::of(&client, "dev/gone").await;
    gone.write(&terraform(1, other)).await;
    client.delete_state(&gone.lease, &WriteAsk::default()).await.unwrap();
    let prod = Writer::of(&client, "prod/app").await;
    prod.write(&terraform(1, first)).await;

    let planted: Vec<_> = labels.iter().zip(&canaries).flat_map(|(label, canaries)| canaries.planted(label)).collect();
    let needles = Needles::of(&planted);
    let mut left = Vec::new();
    let live = server.file("live");
    let copy = |to: &Path| {
        std::fs::create_dir(to).unwrap();
        for (file, bytes) in files(&server.data()) {
            std::fs::write(to.join(file.file_name().unwrap()), bytes).unwrap();
        }
    };
    copy(&live);
    left.extend(needles.found("what calls say", &told(&server, errors).await));
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
    left.extend(needles.found("events", watched.out.as_bytes()));
    server.start_as(|command| {
        command.env("LEASEHOLD_LOG", "debug");
    });
    assert_eq!(read(&server.client(), "prod/app", Which::Current).await.unwrap(), terraform(1, first));
    server.stop();
    for (file, bytes) in [&server.data(), &live, &killed].into_iter().flat_map(|folder| files(folder)) {
        left.extend(needles.found(&file.display().to_string(), &bytes));
    }
    left.extend(needles.found("the log", server.logged().as_bytes()));
    assert!(server.logged().contains("DEBUG"), "the log is at debug level");

    let (skeletons, whole) = opened(&server.data(), &server.data().join("leasehold.db"), &server.file(""));
    assert!(skeletons.len() >= 10, "{:?}", skeletons.keys());
    for (place, text) in &skeletons {
        left.extend(needles.found(place, text));
    }
    assert!(left.is_empty(), "{} leaks: {left:#?}", left.len());

    // The test of the test: what was written has every canary in it, in a form that this search finds. One version was purged.
    let kept: Vec<_> = planted.into_iter().filter(|planted| !planted.name.starts_with("second")).collect();
    assert_eq!(needles.missing(&kept, &whole), Vec::<String>::new());
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
    let needles = Needles::of(&[Planted { name: "planted".into(), core: "plain words that".into(), is_output: false }]);
    let hits: Vec<_> = skeletons.iter().flat_map(|(place, text)| needles.found(place, text)).collect();
    assert_eq!(hits, ["the text of dev/app version 1: planted in the clear"]);
}
