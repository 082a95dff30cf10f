//! Group commit: one transaction for what is queued, one savepoint for each request.

use std::sync::{Condvar, Mutex};

use leasehold::domain::command::{Act, Command};
use leasehold::domain::decision::{Decision, Reply, Snapshot};
use leasehold::domain::document::Expect;
use leasehold::domain::ids::{BodyId, DataKeyId, Token};
use leasehold::domain::refusal::Refusal;
use leasehold::domain::time::Context;
use leasehold::store::sqlite::{Options, Sqlite};
use leasehold::store::{Later, Store, StoreError};

use super::{on, server};
use crate::commands::{acquire, create, document, release, write, writes};
use crate::engines::{clock, folder, options};

/// Whether the gate is shut, and whether the writer waits at it.
static GATE: (Mutex<(bool, bool)>, Condvar) = (Mutex::new((false, false)), Condvar::new());
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The rules, except that whatever is about `gate` waits until the gate is open.
pub(super) fn gated(snapshot: Snapshot, command: &Command, ctx: &Context<'_>) -> Decision {
    if matches!(&command.act, Act::Lock(state, _) if state.path.as_str() == "gate") {
        let mut gate = GATE.0.lock().unwrap();
        gate.1 = true;
        GATE.1.notify_all();
        gate = GATE.1.wait_while(gate, |gate| gate.0).unwrap();
        gate.1 = false;
    }
    leasehold::domain::decide(snapshot, command, ctx)
}

/// Has the writer wait in a batch of its own, so that what is handed in until [`open_gate`] makes the next one.
pub(super) fn stop_at_gate(store: &dyn Store) -> Later<'_, Result<Reply, Refusal>> {
    GATE.0.lock().unwrap().0 = true;
    let first = store.submit(acquire("dev/gate", "s", false));
    drop(GATE.1.wait_while(GATE.0.lock().unwrap(), |gate| !gate.1).unwrap());
    first
}

pub(super) fn open_gate() {
    GATE.0.lock().unwrap().0 = false;
    GATE.1.notify_all();
}

/// Hands `commands` in while the writer is busy, so that they make one batch, and returns their answers and the number of commits.
fn in_one_batch(commands: Vec<Command>) -> (Vec<Result<bool, StoreError>>, i64) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = folder();
    let store = Sqlite::open(clock(), &Options { decide: gated, ..options(folder.path()) }).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(store.submit(create("dev"))).unwrap().unwrap();
    let first = stop_at_gate(&store);
    let before = server(folder.path(), "seq");
    let answers: Vec<_> = commands.into_iter().map(|command| store.submit(command)).collect();
    open_gate();
    runtime.block_on(first).unwrap().unwrap();
    let answers = answers.into_iter().map(|answer| runtime.block_on(answer).map(|reply| reply.is_ok())).collect();
    (answers, server(folder.path(), "seq") - before)
}

/// A write whose document was never staged: the engine cannot do it.
fn impossible(name: &str) -> Command {
    let mut content = document(b"nowhere");
    (content.inline, content.body) = (None, BodyId([9; 16]));
    write(name, writes("s", Token(1), Expect::default(), content))
}

#[test]
fn queued_requests_share_one_commit() {
    let commands = (0..200).map(|n| acquire(&format!("dev/app{n}"), "s", false)).collect();
    let (answers, commits) = in_one_batch(commands);
    assert!(answers.iter().all(|answer| *answer == Ok(true)));
    assert_eq!(commits, 2, "that of the gate and one for all the others");
}

#[test]
fn failing_request_does_not_sink_its_batch() {
    let commands =
        vec![acquire("dev/a", "s", false), impossible("dev/b"), acquire("dev/a", "t", false), acquire("dev/c", "s", false)];
    let (answers, commits) = in_one_batch(commands);
    assert!(matches!(answers[..], [Ok(true), Err(StoreError::Engine(_)), Ok(false), Ok(true)]), "{answers:?}");
    assert_eq!(commits, 2);
}

#[test]
fn failing_request_leaves_nothing_behind() {
    let folder = folder();
    let mut rig = on(folder.path()).with("dev");
    let before = rig.revision();
    assert!(matches!(rig.try_submit(impossible("dev/app")), Err(StoreError::Engine(_))));
    rig.lease("dev/next", "s");
    assert_eq!(rig.revision(), before + 1, "its events are not counted");
    rig.restart();
    assert_eq!((rig.drafts("dev/app").len(), rig.current("dev/app"), rig.all_events().len()), (0, None, 2));
}

#[test]
fn sixty_four_clients_need_far_fewer_commits_than_requests() {
    // On a real disk: what is shared is the sync.
    let folder = crate::engines::folder_on_disk();
    let store = std::sync::Arc::new(Sqlite::open(clock(), &options(folder.path())).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        store.submit(create("dev")).await.unwrap().unwrap();
        let clients = (0..64).map(|n| {
            let (store, name) = (store.clone(), format!("dev/app{n}"));
            tokio::spawn(async move {
                for _ in 0..10 {
                    let Ok(Reply::Held(grant)) = store.submit(acquire(&name, "s", false)).await.unwrap() else { panic!() };
                    store.submit(release(&name, "s", grant.token)).await.unwrap().unwrap();
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
    });
    let commits = server(folder.path(), "seq");
    assert!(commits < 1280 / 4, "{commits} commits for 1280 requests");
}

#[test]
fn close_behind_a_full_batch_is_not_lost() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = folder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for queued in [511, 512, 513] {
        let store = Sqlite::open(clock(), &Options { decide: gated, ..options(folder.path()) }).unwrap();
        let _ = runtime.block_on(store.submit(create("dev")));
        let first = stop_at_gate(&store);
        let answers: Vec<_> = (0..queued).map(|n| store.submit(acquire(&format!("dev/app{n}"), "s", false))).collect();
        // Polled once, it has asked the writer to close; then it waits.
        let mut close = store.close();
        runtime.block_on(async {
            assert!(futures_util::poll!(&mut close).is_pending());
        });
        open_gate();
        runtime.block_on(close).unwrap();
        let _ = runtime.block_on(first).unwrap();
        for answer in answers {
            runtime.block_on(answer).unwrap().unwrap();
        }
        assert_eq!(server(folder.path(), "clean"), 1, "with {queued} queued");
    }
}

#[test]
fn close_does_not_wait_for_a_checkpoint_that_waits_for_it() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = folder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = Sqlite::open(clock(), &Options { decide: gated, ..options(folder.path()) }).unwrap();
    runtime.block_on(store.submit(create("dev"))).unwrap().unwrap();
    let pieces: Vec<_> = (0..80).map(|n| store.stage(BodyId([1; 16]), DataKeyId::default(), n, vec![1; 256 * 1024])).collect();
    for piece in pieces {
        runtime.block_on(piece).unwrap();
    }
    let first = stop_at_gate(&store);
    let mut close = store.close();
    runtime.block_on(async {
        assert!(futures_util::poll!(&mut close).is_pending());
        // The log is long enough for a checkpoint, which asks the writer for its part: behind the closing.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        open_gate();
        tokio::time::timeout(std::time::Duration::from_secs(20), close).await.expect("closes").unwrap();
        first.await.unwrap().unwrap();
    });
    assert_eq!(server(folder.path(), "clean"), 1);
}
