//! What the server has to say about a state, for tests to compare with what the tools said.

use leasehold::client::{WatchItem, Watcher};
use leasehold::pb::v1::{Event, EventKind};
use serde_json::Value;

use crate::process::end;
use crate::rig::{Server, within};

/// The exit code that says so.
const NOT_FOUND: i32 = 4;

/// What is kept of a version.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Version {
    pub(super) number: u64,
    pub(super) serial: u64,
    pub(super) lineage: String,
    pub(super) session: String,
    pub(super) token: u64,
    pub(super) format: String,
}

/// Every version, oldest first; none of a state that is not there yet.
pub(super) fn versions(server: &Server, state: &str) -> Vec<Version> {
    let listed = end(&mut server.leasehold(&["state", "history", state, "--all", "--output", "json"]));
    if listed.code == NOT_FOUND {
        return Vec::new();
    }
    let listed = listed.json();
    let mut versions: Vec<_> = listed.as_array().unwrap().iter().map(|entry| version(&entry["version"])).collect();
    versions.sort_by_key(|version| version.number);
    versions
}

/// Entries of the history, newest first: the first and the last version, and how many there are.
pub(super) fn entries(server: &Server, state: &str) -> Vec<(u64, u64, u64)> {
    let listed = server.ok(&["state", "history", state, "--output", "json"]).json();
    let entry =
        |entry: &Value| (number(&entry["first_version"]), number(&entry["version"]["version"]), number(&entry["snapshots"]));
    listed.as_array().unwrap().iter().map(entry).collect()
}

#[track_caller]
pub(super) fn current(server: &Server, state: &str) -> Version {
    versions(server, state).pop().expect("there is a version")
}

/// The current version, as it is.
pub(super) fn document(server: &Server, state: &str) -> String {
    server.ok(&["state", "pull", state]).out
}

/// The drafts, newest first.
pub(super) fn drafts(server: &Server, state: &str) -> Vec<Value> {
    server.ok(&["state", "drafts", "list", state, "--all", "--output", "json"]).json().as_array().unwrap().clone()
}

/// Who holds the lock.
pub(super) fn holders(server: &Server, state: &str) -> Vec<Value> {
    lock(server, state)["holders"].as_array().unwrap().clone()
}

/// How many wait for it.
pub(super) fn waiting(server: &Server, state: &str) -> u64 {
    number(&lock(server, state)["waiting"])
}

fn lock(server: &Server, state: &str) -> Value {
    let ended = end(&mut server.leasehold(&["lease", "show", state, "--output", "json"]));
    assert_eq!(ended.code, 0, "{}", ended.err);
    ended.json()
}

fn version(value: &Value) -> Version {
    let text = |name: &str| value[name].as_str().unwrap().to_owned();
    Version {
        number: number(&value["version"]),
        serial: number(&value["serial"]),
        lineage: text("lineage"),
        session: text("session"),
        token: number(&value["token"]),
        format: text("format"),
    }
}

pub(super) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

/// What happens to a state from now on.
pub(super) struct Events {
    runtime: tokio::runtime::Runtime,
    watcher: Watcher,
}

impl Events {
    pub(super) fn of(server: &Server, state: &str) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let watcher = runtime.block_on(async {
            let mut watcher = server.client().watch(state, "");
            assert!(matches!(within("the watch", watcher.next()).await.unwrap(), WatchItem::Mark { .. }));
            watcher
        });
        Self { runtime, watcher }
    }

    /// Those up to the `count`th of a kind.
    pub(super) fn until(&mut self, kind: EventKind, count: usize) -> Vec<Event> {
        let (watcher, mut events) = (&mut self.watcher, Vec::<Event>::new());
        self.runtime.block_on(async {
            while events.iter().filter(|event| event.kind() == kind).count() < count {
                match within("the watch", watcher.next()).await.unwrap() {
                    WatchItem::Event(event) => events.push(event),
                    WatchItem::Relist { .. } => panic!("it was told to list again"),
                    WatchItem::Mark { .. } => {}
                }
            }
        });
        events
    }
}
