//! A holder that dies, however suddenly, is replaced in time and never early.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use leasehold::client::{Ask, WatchItem, Watcher};
use leasehold::pb::v1::EventKind;
use tokio::task::JoinSet;

use crate::process::finish;
use crate::rig::{BOUND, Server, TIGHT, Watched, now, number, within};

const LOCKS: usize = 10;
const TTL: Duration = Duration::from_secs(2);
const LOCK_DELAY: Duration = Duration::from_secs(1);
/// What a replacement may take beyond ttl and lock delay.
const SLACK: Duration = Duration::from_secs(1);

/// `run` with a command that says its pid and stays.
struct Holder {
    run: Child,
    /// When it was started: no renewal of its lease can be older.
    since: Instant,
    command: Watched,
    guard: Watched,
}

impl Holder {
    fn start(server: &Server, state: &str) -> Self {
        let since = now();
        let command = ["run", "--state", state, "--ttl", "2s", "--", "sh", "-c", "echo $$; exec sleep 600"];
        let mut run = server.leasehold(&command).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(run.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let command = Watched::new(line.trim().parse().expect("the command says its pid"));
        let guard = command.parent();
        Self { run, since, command, guard }
    }
}

/// Waits until `kind` has been told of every lock; returns when, by lock.
async fn told(watcher: &mut Watcher, kind: EventKind, after: Option<EventKind>) -> HashMap<String, Instant> {
    let mut seen: HashMap<String, Instant> = HashMap::new();
    let mut begun: HashMap<String, ()> = HashMap::new();
    while seen.len() < LOCKS {
        let WatchItem::Event(event) = within("the watch", watcher.next()).await.unwrap() else { continue };
        if Some(event.kind()) == after {
            begun.insert(event.target.clone(), ());
        }
        if event.kind() == kind && (after.is_none() || begun.contains_key(&event.target)) {
            seen.insert(event.target, now());
        }
    }
    seen
}

/// The last renewal is not seen from outside, so it is bounded from three sides. No renewal is older than the start of `run`, and
/// none younger than its death: this needs no word of the server. Between the two, the time to live that the server tells after the
/// death, when nothing renews any more, gives the deadline, which is the last renewal plus ttl.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_killed_minus_nine_is_replaced_in_time_and_never_early() {
    let server = Server::start(TIGHT);
    server.lock_delay(LOCK_DELAY);
    let client = server.client();
    let states: Vec<String> = (0..LOCKS).map(|n| format!("dev/app-{n}")).collect();
    for round in 0..number("LEASEHOLD_ROUNDS", 4) {
        let mut watcher = client.watch("dev", "");
        assert!(matches!(watcher.next().await.unwrap(), WatchItem::Mark { .. }));
        let mut holders: Vec<Holder> = states.iter().map(|state| Holder::start(&server, state)).collect();
        let wait = |state: &String| {
            let command = ["run", "--state", state, "--wait", "2m", "--ttl", "2s", "--", "echo", "working"];
            server.leasehold(&command).spawn().unwrap()
        };
        let waiting: Vec<Child> = states.iter().map(wait).collect();
        told(&mut watcher, EventKind::TicketQueued, None).await;

        for holder in &mut holders {
            holder.run.kill().unwrap();
        }
        let dead = now();
        for holder in &mut holders {
            holder.run.wait().unwrap();
            holder.command.must_end();
            holder.guard.must_end();
        }
        let mut earliest = HashMap::new();
        for (state, holder) in states.iter().zip(&holders) {
            let asked = now();
            let lock = client.lock(state).await.unwrap();
            // The seen remaining time is cut to whole milliseconds: the deadline is not before this.
            let deadline = lock.holders.first().map(|holder| asked + Duration::from_millis(holder.remaining_ms));
            assert!(deadline.is_none_or(|deadline| deadline <= dead + TTL + SLACK), "the dead renew");
            earliest.insert(state.clone(), deadline.unwrap_or(holder.since + TTL).max(holder.since + TTL) + LOCK_DELAY);
        }
        let granted = told(&mut watcher, EventKind::LeaseGranted, Some(EventKind::LeaseExpired)).await;
        for (state, at) in granted {
            assert!(at >= earliest[&state], "round {round}: {state} was granted {:?} early", earliest[&state] - at);
            let latest = dead + TTL + LOCK_DELAY + SLACK;
            assert!(at <= latest, "round {round}: {state} was granted {:?} late", at - latest);
        }
        for child in waiting {
            let ended = finish(child);
            assert_eq!((ended.code, ended.out.as_str()), (0, "working\n"), "{}", ended.err);
        }
    }
}

/// Here the test itself is the holder, so that it knows when its last renewal was sent and acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holder_that_falls_silent_keeps_its_lock_for_ttl_and_lock_delay() {
    let server = Server::start(TIGHT);
    server.lock_delay(LOCK_DELAY);
    let client = server.client();
    let mut watcher = client.watch("dev", "");
    assert!(matches!(watcher.next().await.unwrap(), WatchItem::Mark { .. }));
    let mut waiting = JoinSet::new();
    let mut bounds = HashMap::new();
    for n in 0..LOCKS {
        let state = format!("dev/app-{n}");
        let ask = Ask { ttl: Some(TTL), ..Ask::exclusive(&state, "holder") };
        let sent = now();
        // A connection of its own, which is gone with the client.
        let dying = server.client();
        let reference = dying.acquire(&ask, |_| ()).await.unwrap().reference;
        bounds.insert(state.clone(), (sent, now(), dying, reference));
        let (waiter, ask) = (server.client(), Ask { wait: BOUND, ..Ask::exclusive(&state, "waiter") });
        waiting.spawn(async move { waiter.acquire(&ask, |_| ()).await.unwrap().reference.token });
    }
    told(&mut watcher, EventKind::TicketQueued, None).await;
    // Half of them renew once more, when a good part of the ttl is over.
    for (state, (sent, acknowledged, client, reference)) in &mut bounds {
        if state.ends_with(['0', '2', '4', '6', '8']) {
            tokio::time::sleep_until((*sent + TTL / 2).into()).await;
            *sent = now();
            client.renew(reference, None).await.unwrap();
            *acknowledged = now();
        }
    }
    let bounds: HashMap<_, _> =
        bounds.into_iter().map(|(state, (sent, acknowledged, ..))| (state, (sent, acknowledged))).collect();
    for (state, at) in told(&mut watcher, EventKind::LeaseGranted, Some(EventKind::LeaseExpired)).await {
        let (sent, acknowledged) = bounds[&state];
        assert!(at >= sent + TTL + LOCK_DELAY, "{state} was granted early: {:?} after the last renewal", at - sent);
        assert!(at <= acknowledged + TTL + LOCK_DELAY + SLACK, "{state} was granted late: {:?}", at - acknowledged);
    }
    while let Some(ended) = within("the waiters", waiting.join_next()).await {
        ended.unwrap();
    }
}
