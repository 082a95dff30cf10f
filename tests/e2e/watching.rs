//! Watchers hear of everything once, over kills of the server, and are told when they cannot.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use leasehold::client::{Ask, LeaseRef, PushAsk, Source, WatchItem, Watcher};
use leasehold::pb::v1::EventKind;

use crate::process::end;
use crate::rig::{Server, TIGHT, until, within};

const VERSIONS: u64 = 60;

async fn hold(server: &Server) -> LeaseRef {
    let ask = Ask { ttl: Some(Duration::from_secs(60)), ..Ask::exclusive("dev/app", "writer") };
    server.client().acquire(&ask, |_| ()).await.unwrap().reference
}

/// Writes one version.
async fn write(server: &Server, lease: &LeaseRef, n: u64) {
    let document = Source::from_bytes(format!("{{\"n\": {n}}}"));
    server.client().push(lease, &PushAsk::default(), &document, |_| ()).await.unwrap();
}

/// The versions that a watcher hears of, up to the last one.
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

/// `leasehold watch`, until dropped.
struct Printing(Child);

impl Printing {
    fn start(server: &Server, cursor: &str) -> Self {
        let command = ["watch", "dev/app", "--cursor", cursor, "--output", "json"];
        Self(server.leasehold(&command).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Printing {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The versions that it prints, up to the last one.
fn read(lines: ChildStdout) -> Vec<(u64, String)> {
    let mut heard = Vec::new();
    for line in BufReader::new(lines).lines() {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert!(line.get("relist").is_none(), "it was told to list again");
        let event = &line["event"];
        if event["kind"] == "version_written" {
            let version = event["version"].as_str().unwrap().parse::<u64>().unwrap();
            heard.push((version, event["etag"].as_str().unwrap().to_owned()));
            if version == VERSIONS {
                break;
            }
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
    let mut printing = Printing::start(&server, &start);
    let printed = printing.0.stdout.take().unwrap();
    let printed = tokio::task::spawn_blocking(move || read(printed));
    let lease = hold(&server).await;
    for n in 1..=VERSIONS {
        write(&server, &lease, n).await;
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
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursor_of_another_history_or_too_old_is_told_to_list_again() {
    let foreign = cursor_of(&Server::start(TIGHT)).await;
    let mut server = Server::start(&format!("keep_events = 20\n{TIGHT}"));
    let old = cursor_of(&server).await;
    let lease = hold(&server).await;
    for n in 1..=60 {
        write(&server, &lease, n).await;
    }
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
    // Events are trimmed once a second at most.
    until("the cursor is refused", || async {
        let mut watcher = server.client().watch("", cursor);
        let here = match within("the answer", watcher.next()).await.unwrap() {
            WatchItem::Relist { cursor: here } => here,
            WatchItem::Mark { .. } => return false,
            item @ WatchItem::Event(_) => panic!("{item:?}"),
        };
        assert_ne!(here, cursor);
        assert_eq!(within("the mark", watcher.next()).await.unwrap(), WatchItem::Mark { cursor: here });
        true
    })
    .await;
}
