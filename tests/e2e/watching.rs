//! Watchers hear of everything once, over kills of the server, and are told when they cannot.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use leasehold::client::{Ask, Error, PushAsk, Source, WatchItem, Watcher};
use leasehold::pb::v1::EventKind;

use crate::process::end;
use crate::rig::{Server, TIGHT, within};

const VERSIONS: u64 = 60;

/// One version; the lease is the caller's.
async fn write(server: &Server, lease: &leasehold::client::LeaseRef, n: u64) {
    let document = Source::from_bytes(format!("{{\"n\": {n}}}"));
    server.client().push(lease, &PushAsk::default(), &document, |_| ()).await.unwrap();
}

/// The versions of `dev/app` that a watcher hears of, up to the last one.
async fn hear(mut watcher: Watcher) -> Vec<(u64, String)> {
    let mut heard = Vec::new();
    while heard.last().is_none_or(|(version, _)| *version < VERSIONS) {
        match within("the watch", watcher.next()).await.unwrap() {
            WatchItem::Event(event) if event.kind() == EventKind::VersionWritten => heard.push((event.version, event.etag)),
            WatchItem::Relist { .. } => panic!("it was told to list again"),
            _ => {}
        }
    }
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_miss_nothing_over_kills_of_the_server() {
    let mut server = Server::start(TIGHT);
    let mut watcher = server.client().watch("dev", "");
    let WatchItem::Mark { cursor: start } = watcher.next().await.unwrap() else { panic!("the first message is a mark") };
    let heard = tokio::spawn(hear(watcher));
    let mut printing =
        server.leasehold(&["watch", "dev/app", "--cursor", &start, "--output", "json"]).stderr(Stdio::null()).spawn();
    let printed = BufReader::new(printing.as_mut().unwrap().stdout.take().unwrap());
    let printed = tokio::task::spawn_blocking(move || {
        let lines = printed.lines().map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap());
        let written = lines.filter(|event| event["kind"] == "version_written");
        let mut heard = Vec::new();
        for event in written {
            let version = event["version"].as_str().unwrap().parse::<u64>().unwrap();
            heard.push((version, event["etag"].as_str().unwrap().to_owned()));
            if version == VERSIONS {
                break;
            }
        }
        heard
    });
    let ask = Ask { ttl: Some(std::time::Duration::from_secs(60)), ..Ask::exclusive("dev/app", "writer") };
    let grant = server.client().acquire(&ask, |_| ()).await.unwrap();
    for n in 1..=VERSIONS {
        write(&server, &grant.reference, n).await;
        if n % 12 == 0 {
            server.kill();
            server.restart();
        }
    }
    let mut history = server.client().history("dev/app", true, usize::MAX).await.unwrap();
    history.reverse();
    let history: Vec<_> = history.into_iter().filter_map(|entry| entry.version).map(|v| (v.version, v.etag)).collect();
    assert_eq!(history.len() as u64, VERSIONS);
    assert_eq!(within("the library's watcher", heard).await.unwrap(), history);
    assert_eq!(within("`leasehold watch`", printed).await.unwrap(), history);
    assert_eq!(hear(server.client().watch("", start)).await, history, "a late watcher hears the same");
    let mut printing = printing.unwrap();
    printing.kill().unwrap();
    printing.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursor_of_another_history_or_too_old_is_told_to_list_again() {
    let other = Server::start(TIGHT);
    let foreign = cursor_of(&other).await;
    let mut server = Server::start(&format!("keep_events = 20\n{TIGHT}"));
    let old = cursor_of(&server).await;
    let ask = Ask { ttl: Some(std::time::Duration::from_secs(60)), ..Ask::exclusive("dev/app", "writer") };
    let grant = server.client().acquire(&ask, |_| ()).await.unwrap();
    for n in 1..=60 {
        write(&server, &grant.reference, n).await;
    }
    // Trimming is done now and then, and at the latest when the server starts again.
    for _ in 0..2 {
        for cursor in [&foreign, &old] {
            relists(&server, cursor).await;
        }
        server.kill();
        server.restart();
    }
    let ended = end(&mut server.leasehold(&["watch", "dev", "--cursor", "nonsense"]));
    ended.fails_with(3, "cursor", "as the server gave it");
}

async fn cursor_of(server: &Server) -> String {
    let mut watcher = server.client().watch("", "");
    within("the mark", watcher.next()).await.unwrap();
    watcher.cursor().to_owned()
}

/// The watcher is told where to go on, and hears from there on.
async fn relists(server: &Server, cursor: &str) {
    let mut watcher = server.client().watch("", cursor);
    let item = match within("the answer", watcher.next()).await {
        Ok(item) => item,
        Err(Error::Caller(report) | Error::Conflict(report)) => panic!("{report:?}"),
        Err(error) => panic!("{error}"),
    };
    let WatchItem::Relist { cursor: here } = item else { panic!("{item:?}") };
    assert_ne!(here, cursor);
    let next = within("the mark", watcher.next()).await.unwrap();
    assert_eq!(next, WatchItem::Mark { cursor: here });
}
