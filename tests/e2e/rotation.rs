//! Keys are rotated while 16 clients write and the server is killed at random points: every write succeeds in the end, every version reads,
//! and nothing is left under old keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use leasehold::client::{Ask, Client, PullAsk, PushAsk, Source, Which};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::rig::{BOUND, Server, TIGHT, number, until_in, within, within_in};

const CLIENTS: usize = 16;
/// How many writes each step of a rotation lets through, once all states are there: programs that are not optimised would do little but write.
const WRITES: usize = if cfg!(debug_assertions) { 4 } else { CLIENTS };
/// How many states each client writes again and again: so often that old versions go.
const OWN: usize = 8;
/// How many versions of each state keep their bytes: values come and go, too.
const KEPT: u64 = 4;

/// How far everything is.
struct Going {
    /// Writes that are let through.
    turns: Semaphore,
    writes: AtomicU64,
    /// What rotations told.
    steps: AtomicU64,
    /// How many rotations have ended: the even ones are reencrypts.
    rotations: AtomicU64,
    stop: AtomicBool,
}

/// A write that was acknowledged.
struct Write {
    state: String,
    version: u64,
    document: String,
}

fn document(state: usize, round: usize) -> String {
    // The password stays for three versions, and stands in a second place.
    let password = format!("Pw-{state}-{}-xK9", round / 3);
    format!(r#"{{"state":{state},"round":{round},"password":"{password}","url":"postgres://app:{password}@db/{round}"}}"#)
}

/// Writes all its states once, and then some of them again and again, until told to stop.
async fn write(client: Client, n: usize, states: usize, going: Arc<Going>) -> Vec<Write> {
    let mut written = Vec::new();
    for round in 0.. {
        let written_again = if round == 0 { states } else { states.min(CLIENTS * OWN) };
        for state in (n..written_again).step_by(CLIENTS) {
            if round > 0 {
                // Closed at the end.
                let Ok(turn) = going.turns.acquire().await else { return written };
                turn.forget();
            }
            let (name, document) = (format!("dev/s{state}"), document(state, round));
            let ask = Ask { ttl: Some(Duration::from_secs(30)), ..Ask::exclusive(&name, format!("c{n}-{round}-{state}")) };
            let lease = client.acquire(&ask, |_| ()).await.expect("nobody else has it").reference;
            let source = Source::from_bytes(document.clone());
            // The client tries again with the same request id for as long as the server is down.
            let pushed = client.push(&lease, &PushAsk::default(), &source, |_| ()).await.expect("the write succeeds");
            client.release(&lease, false).await.expect("released");
            let version = pushed.version.unwrap().version;
            written.push(Write { state: name.clone(), version, document });
            if let Some(old) = version.checked_sub(KEPT).filter(|old| *old > 0) {
                client.purge(&name, Some(old)).await.expect("purged");
                written.retain(|write| write.state != name || write.version != old);
            }
            going.writes.fetch_add(1, Ordering::Relaxed);
        }
    }
    written
}

/// One rotation after the other, of both kinds in turn.
async fn rotate(client: Client, going: Arc<Going>) {
    for turn in 0.. {
        if going.stop.load(Ordering::Relaxed) && turn % 2 == 0 {
            return;
        }
        let step = |_| {
            going.steps.fetch_add(1, Ordering::Relaxed);
            if going.turns.available_permits() < CLIENTS {
                going.turns.add_permits(WRITES);
            }
        };
        match turn % 2 {
            0 => client.reencrypt("dev", step).await.expect("a reencrypt ends"),
            _ => client.rewrap("dev", step).await.expect("a rewrap ends"),
        };
        going.rotations.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_rotate_under_load_and_kills() {
    let (states, kills) = (number("LEASEHOLD_ROTATION_STATES", 1000), number("LEASEHOLD_ROTATION_KILLS", 10));
    let mut server = Server::start(TIGHT);
    let (writes, steps, rotations, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let going = Arc::new(Going { turns: Semaphore::new(0), writes, steps, rotations, stop });
    let mut writers = JoinSet::new();
    for n in 0..CLIENTS {
        writers.spawn(write(server.client(), n, states, Arc::clone(&going)));
    }
    // Something to rotate, before it begins.
    until_in(BOUND * (states as u32 / 200).max(1), "half of the states are written", || async {
        going.writes.load(Ordering::Relaxed) >= states as u64 / 2
    })
    .await;
    let rotating = tokio::spawn(rotate(server.client(), Arc::clone(&going)));
    // In the midst of batches, elsewhere each time: three quarters in a reencrypt, the others in the rewrap after it. Where there are many states,
    // there are many batches, and more of both.
    let (times, most) = ((states / 2000).max(1), if states < 2000 { 5 } else { 11 });
    for kill in 0..kills {
        let rewrap = kill / times % 4 == 3;
        let at = going.steps.load(Ordering::Relaxed) + 1 + if rewrap { 0 } else { (kill as u64 * 7) % most };
        // Each batch reads and seals again what was written meanwhile, and there is more of it with more states.
        until_in(BOUND * (states as u32 / 200).max(1), "rotations go on", || async {
            let (steps, ended) = (going.steps.load(Ordering::Relaxed), going.rotations.load(Ordering::Relaxed));
            steps >= at && (ended % 2 == 1) == rewrap || rotating.is_finished()
        })
        .await;
        assert!(!rotating.is_finished(), "a rotation failed");
        server.kill();
        server.restart();
    }
    going.stop.store(true, Ordering::Relaxed);
    going.turns.close();
    within_in(BOUND * (states as u32 / 200).max(1), "the rotations end", rotating).await.unwrap();
    let mut written = Vec::new();
    while let Some(ended) = within("the writers end", writers.join_next()).await {
        written.extend(ended.unwrap());
    }
    println!(
        "{} writes and {} rotations over {kills} kills",
        going.writes.load(Ordering::Relaxed),
        going.rotations.load(Ordering::Relaxed)
    );
    judge(&server, written, states).await;
}

async fn judge(server: &Server, written: Vec<Write>, states: usize) {
    let client = server.client();
    let report = client.key_report("dev").await.unwrap();
    assert_eq!((report.old_identity, report.old_epoch, report.job), (0, 0, None), "nothing is left under old keys");
    assert!(report.key_epoch > 1 && report.identity > 1);
    assert_eq!(client.states("dev", false).await.unwrap().len(), states);
    assert_eq!(report.documents, written.len() as u64, "each write once, and no drafts");
    let keys = client.data_keys("dev").await.unwrap();
    let live = keys.iter().filter(|key| key.epoch == report.key_epoch && key.identity == report.identity).count();
    assert_eq!(live, states, "each state has one key of now; the others are retired");
    client.destroy_keys("dev").await.unwrap();
    assert_eq!(client.data_keys("dev").await.unwrap().len(), states);
    let mut reading = JoinSet::new();
    let written = Arc::new(written);
    for n in 0..CLIENTS {
        let (client, written) = (client.clone(), Arc::clone(&written));
        reading.spawn(async move {
            for Write { state, version, document } in written.iter().skip(n).step_by(CLIENTS) {
                let (ask, mut bytes) =
                    (PullAsk { state: state.clone(), which: Which::Version(*version), ..PullAsk::default() }, Vec::new());
                client.pull(&ask, &mut bytes, |_| ()).await.unwrap();
                assert!(bytes == document.as_bytes(), "{state}: version {version} has other bytes");
            }
        });
    }
    while let Some(read) = within_in(BOUND * (states as u32 / 200).max(1), "everything reads", reading.join_next()).await {
        read.unwrap();
    }
    let verified = client.verify_keys("dev", |_| ()).await.unwrap();
    assert_eq!((verified.failed, verified.failures), (0, Vec::new()));
}
