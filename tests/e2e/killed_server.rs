//! A server that is killed, or stopped, under load forgets nothing that it acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use leasehold::client::{Ask, Client, Grant, Lease, PullAsk, PushAsk, Source, State, WatchItem, Which};
use leasehold::pb::v1::EventKind;
use tokio::task::JoinSet;

use crate::rig::{Server, TIGHT, now, number, until, within};

const CLIENTS: usize = 16;
/// Clients 0 to 3 share a lock, 4 to 7 another; the rest have one each.
const SHARING: usize = 8;
const KEPT: usize = 4;
const KEPT_TTL: Duration = Duration::from_secs(2);

/// What the server acknowledged, as the clients saw it.
#[derive(Default)]
struct Acknowledged {
    tenures: Mutex<Vec<Tenure>>,
    writes: Mutex<Vec<Write>>,
    count: AtomicU64,
}

/// A lease from the reply that granted it to the call that gave it back.
struct Tenure {
    state: String,
    token: u64,
    granted: Instant,
    released: Instant,
}

struct Write {
    state: String,
    version: u64,
    etag: String,
    token: u64,
    document: String,
}

fn lock_of(client: usize) -> String {
    if client < SHARING { format!("dev/shared-{}", client / 4) } else { format!("dev/own-{client}") }
}

/// Acquire, write twice, release, until told to stop.
async fn work(client: Client, n: usize, stop: Arc<AtomicBool>, seen: Arc<Acknowledged>) {
    let state = lock_of(n);
    for cycle in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let session = format!("client-{n}-{cycle}");
        let ask = Ask { ttl: Some(Duration::from_secs(30)), wait: Duration::from_secs(120), ..Ask::exclusive(&state, session) };
        let Grant { reference, .. } = client.acquire(&ask, |_| ()).await.unwrap();
        let granted = now();
        for half in 0..2 {
            // One small enough to be kept in its row and one that is staged in pieces.
            let filling = if half == 0 { String::new() } else { noise(n * 31 + cycle) };
            let document = format!("{{\"client\": {n}, \"cycle\": {cycle}, \"filling\": \"{filling}\"}}");
            let source = Source::from_bytes(document.clone());
            let version = client.push(&reference, &PushAsk::default(), &source, |_| ()).await.unwrap().version.unwrap();
            let (token, etag) = (version.token, version.etag);
            seen.writes.lock().unwrap().push(Write { state: state.clone(), version: version.version, etag, token, document });
            seen.count.fetch_add(1, Ordering::Relaxed);
        }
        client.renew(&reference, None).await.unwrap();
        let released = now();
        client.release(&reference, false).await.unwrap();
        seen.tenures.lock().unwrap().push(Tenure { state: state.clone(), token: reference.token.0, granted, released });
        seen.count.fetch_add(2, Ordering::Relaxed);
    }
}

/// Text that does not compress, of 300 KiB in one cycle of eight.
fn noise(seed: usize) -> String {
    let mut x = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let length = if seed.is_multiple_of(8) { 300 << 10 } else { 100 };
    let letters = (0..length).map(|_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        char::from(b'a' + (x % 26) as u8)
    });
    letters.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_killed_under_load_keeps_what_it_acknowledged() {
    keeps_what_it_acknowledged(number("LEASEHOLD_KILLS", 20), Server::kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_stopped_under_load_keeps_what_it_acknowledged() {
    keeps_what_it_acknowledged(4, Server::stop).await;
}

async fn keeps_what_it_acknowledged(kills: usize, end: fn(&mut Server)) {
    let mut server = Server::start(TIGHT);
    // Their own clients must not give the leases up while the server is down for longer than the ttl.
    server.ok(&["env", "create", "kept", "--no-recovery", "--lock-delay", "60s"]);
    let mut watcher = server.client().watch("", "");
    assert!(matches!(watcher.next().await.unwrap(), WatchItem::Mark { .. }));
    let kept = keep(&server).await;
    let tokens: Vec<u64> = kept.iter().map(|lease| lease.reference().token.0).collect();
    let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Acknowledged::default()));
    let mut tasks = JoinSet::new();
    for n in 0..CLIENTS {
        tasks.spawn(work(server.client(), n, Arc::clone(&stop), Arc::clone(&seen)));
    }
    for kill in 0..kills {
        // Somewhere in the middle of the load, elsewhere each time.
        let at = seen.count.load(Ordering::Relaxed) + 40 + (kill as u64 * 37) % 151;
        tokio::select! {
            () = until("the load goes on", || async { seen.count.load(Ordering::Relaxed) >= at }) => {}
            ended = tasks.join_next() => panic!("a client ended: {ended:?}"),
        }
        end(&mut server);
        if kill == kills / 2 {
            // Down for longer than the leases live: measured, since that is the point.
            tokio::time::sleep(KEPT_TTL + Duration::from_secs(1)).await;
        }
        server.restart();
    }
    let at = seen.count.load(Ordering::Relaxed) + 20;
    until("the load goes on", || async { seen.count.load(Ordering::Relaxed) >= at }).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = within("the clients end", tasks.join_next()).await {
        ended.unwrap();
    }

    let client = server.client();
    for (lease, token) in kept.iter().zip(tokens) {
        until("a kept lease is renewed again", || async { lease.state() != State::Silent }).await;
        assert_eq!(lease.state(), State::Held, "{}", lease.reference().state);
        let holders = client.lock(&lease.reference().state).await.unwrap().holders;
        assert_eq!(holders.iter().map(|holder| holder.token).collect::<Vec<_>>(), [token]);
    }
    let granted = granted(&server, &client, &mut watcher).await;
    judge_tokens(&seen.tenures.lock().unwrap(), &granted);
    judge_versions(&client, &seen.writes.lock().unwrap()).await;
    let tenures: Vec<(String, u64)> = seen.tenures.lock().unwrap().iter().map(|t| (t.state.clone(), t.token)).collect();
    judge_audit(&server, &client, &granted, &tenures).await;
    println!("{} acknowledged calls over {kills} kills", seen.count.load(Ordering::Relaxed));
}

/// Holders that only renew.
async fn keep(server: &Server) -> Vec<Lease> {
    let mut kept = Vec::new();
    for n in 0..KEPT {
        let client = server.client();
        let ask = Ask { ttl: Some(KEPT_TTL), ..Ask::exclusive(format!("kept/app-{n}"), format!("keeper-{n}")) };
        let grant = client.acquire(&ask, |_| ()).await.unwrap();
        kept.push(client.keep(grant));
    }
    kept
}

/// The tokens of every lock in the order of their grants, as the events tell; a last grant marks the end.
async fn granted(server: &Server, client: &Client, watcher: &mut leasehold::client::Watcher) -> BTreeMap<String, Vec<u64>> {
    server.ok(&["run", "--state", "dev/end", "--", "true"]);
    let mut granted: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    while !granted.contains_key("dev/end") {
        match within("the events", watcher.next()).await.unwrap() {
            WatchItem::Event(event) if event.kind() == EventKind::LeaseGranted => {
                granted.entry(event.target).or_default().push(event.token);
            }
            WatchItem::Event(event) if event.target.starts_with("kept/") => panic!("a kept lease: {event:?}"),
            WatchItem::Relist { .. } => panic!("the watcher was told to list again"),
            _ => {}
        }
    }
    assert!(client.locks("dev", false).await.unwrap().is_empty(), "everybody gave back");
    granted
}

fn judge_tokens(tenures: &[Tenure], granted: &BTreeMap<String, Vec<u64>>) {
    for (state, tokens) in granted {
        assert!(tokens.is_sorted_by(|a, b| a < b), "tokens of {state} do not grow: {tokens:?}");
    }
    let mut by_lock: BTreeMap<&str, Vec<&Tenure>> = BTreeMap::new();
    for tenure in tenures {
        assert!(granted[&tenure.state].contains(&tenure.token), "the grant of {} is forgotten", tenure.token);
        by_lock.entry(&tenure.state).or_default().push(tenure);
    }
    for (state, mut tenures) in by_lock {
        tenures.sort_by_key(|tenure| tenure.token);
        for pair in tenures.windows(2) {
            assert!(pair[0].token < pair[1].token, "{state}: token {} twice", pair[0].token);
            assert!(pair[0].released < pair[1].granted, "{state}: {} and {} at once", pair[0].token, pair[1].token);
        }
    }
}

async fn judge_versions(client: &Client, writes: &[Write]) {
    let states: BTreeSet<&str> = writes.iter().map(|write| write.state.as_str()).collect();
    assert_eq!(states.len(), CLIENTS - SHARING + SHARING / 4);
    for state in states {
        let mut history = client.history(state, true, usize::MAX).await.unwrap();
        history.reverse();
        let versions: Vec<_> = history.into_iter().map(|entry| entry.version.unwrap()).collect();
        assert!(versions.iter().map(|version| version.version).eq(1..=versions.len() as u64), "{state} has gaps");
        for pair in versions.windows(2) {
            assert!(pair[1].previous_etag == pair[0].etag && pair[1].token >= pair[0].token, "{state}: {pair:?}");
        }
        let mut once = BTreeSet::new();
        for write in writes.iter().filter(|write| write.state == state) {
            assert!(once.insert(write.version), "{state}: version {} was acknowledged twice", write.version);
            let version = &versions[usize::try_from(write.version - 1).unwrap()];
            assert_eq!((&version.etag, version.token), (&write.etag, write.token), "{state} {}", write.version);
            let (ask, mut bytes) =
                (PullAsk { state: state.into(), which: Which::Version(write.version), ..PullAsk::default() }, Vec::new());
            client.pull(&ask, &mut bytes, |_| ()).await.unwrap();
            assert!(bytes == write.document.as_bytes(), "{state}: version {} has other bytes", write.version);
        }
        // Every write was answered in the end, so there is nothing that nobody asked for, and nothing twice.
        assert_eq!(once.len(), versions.len(), "{state}");
    }
    let drafts = client.drafts(&writes[0].state, true).await;
    assert!(drafts.is_ok_and(|drafts| drafts.is_empty()), "a write was refused that nobody heard of");
}

/// The acts that happened are the rows of the audit, each once, and all of it is proven.
async fn judge_audit(server: &Server, client: &Client, granted: &BTreeMap<String, Vec<u64>>, tenures: &[(String, u64)]) {
    let export = server.file("audit.jsonl");
    let file = export.to_str().unwrap();
    let key = client.audit_head().await.unwrap().key;
    server.ok(&["audit", "export", "--out", file]);
    let verified = server.ok(&["audit", "verify", file, "--key", &key]);
    let lines = std::fs::read_to_string(&export).unwrap();
    let rows: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let rows: Vec<_> = rows.into_iter().filter(|row| row.get("act").is_some()).collect();
    let of = |act: &str, field: &str| {
        let mut of: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for row in rows.iter().filter(|row| row["act"] == act) {
            assert_eq!(row["outcome"], "done", "{row}");
            let number = row[field].as_u64().or_else(|| row[field].as_str()?.parse().ok()).unwrap();
            of.entry(row["on"].as_str().unwrap().to_owned()).or_default().push(number);
        }
        of
    };
    assert_eq!(of("lease.acquire", "token"), *granted, "one row for each grant, in the order of the grants");
    let released = of("lease.release", "token");
    for (state, token) in tenures {
        assert_eq!(released[state].iter().filter(|released| *released == token).count(), 1, "{state} {token} was released once");
    }
    let mut written: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for state in granted.keys().filter(|state| tenures.iter().any(|(written, _)| written == *state)) {
        let versions = client.history(state, true, usize::MAX).await.unwrap();
        written.insert(state.clone(), versions.into_iter().rev().map(|entry| entry.version.unwrap().version).collect());
    }
    assert_eq!(of("state.write", "version"), written, "one row for each version, in the order of the versions");
    println!("{} rows: {}", rows.len(), verified.out.lines().next().unwrap());
}
