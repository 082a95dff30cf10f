//! Terraform under a lease that does not last: it stops in its orderly way, and what it has done is kept.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use leasehold::client::WatchItem;
use leasehold::pb::v1::{BreakRequest, EventKind};
use rustix::process::Signal;
use serde_json::Value;

use super::STATE;
use super::project::{Followed, Project, good};
use crate::require;
use crate::rig::{Server, TIGHT, Watched, now, signal, signal_group, within};

/// Each with each tool.
macro_rules! with_each_tool {
    ($($test:ident),+ $(,)?) => {
        mod terraform {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let Some(program) = crate::require::program("terraform") else { return };
                super::$test(program).await;
            })+
        }
        mod opentofu {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let Some(program) = crate::require::program("tofu") else { return };
                super::$test(program).await;
            })+
        }
    };
}

with_each_tool!(
    apply_whose_lease_is_broken_stops_orderly_and_its_state_is_kept,
    apply_killed_minus_nine_is_followed_by_the_next_one_in_time,
    apply_stopped_beyond_its_ttl_writes_a_draft_and_the_other_state_stands,
);

/// `first` is there at once; `slow` says that it is under way, with the pid of its Terraform, and does `then`.
fn slow(then: &str) -> String {
    format!(
        r#"
resource "terraform_data" "first" {{ input = "first" }}
resource "terraform_data" "slow" {{
  depends_on = [terraform_data.first]
  provisioner "local-exec" {{ command = "echo working under $PPID; {then}" }}
}}
"#
    )
}

/// The pid of the Terraform that said so.
fn terraform_of(line: &str) -> Watched {
    Watched::new(line.trim().rsplit(' ').next().unwrap().parse().unwrap())
}

fn names(state: &Value) -> HashMap<&str, Option<&str>> {
    let resources = state["resources"].as_array().unwrap().iter();
    resources.map(|one| (one["name"].as_str().unwrap(), one["instances"][0]["status"].as_str())).collect()
}

async fn apply_whose_lease_is_broken_stops_orderly_and_its_state_is_kept(program: PathBuf) {
    let server = Server::start(TIGHT);
    // A first version, since before there is one each attempt of a client to write it has a lineage of its own.
    let project = Project::new(&program, "resource \"terraform_data\" \"first\" { input = \"first\" }\n");
    project.init(&server);
    good(project.run(&server, &[], &["apply", "-auto-approve", "-input=false"]));
    let before = server.ok(&["state", "pull", STATE]).out;
    project.configure(&slow("exec sleep 600"));
    let mut apply = Followed::start(project.run(&server, &[], &["apply", "-auto-approve", "-input=false"]));
    apply.shows("(local-exec): working under");
    let ask =
        BreakRequest { state: STATE.into(), all: true, reason: "wrong branch".into(), now: true, ..BreakRequest::default() };
    server.client().break_lease(ask).await.unwrap();
    let ended = apply.end();
    assert_eq!(ended.code, 1, "{}{}", ended.out, ended.err);
    assert_eq!(ended.out.matches("Interrupt received").count(), 1, "{}", ended.out);
    assert!(!ended.out.contains("Two interrupts received"), "{}", ended.out);
    assert!(ended.out.contains("Gracefully shutting down"), "{}", ended.out);

    let drafts = server.ok(&["state", "drafts", "list", STATE, "--output", "json"]).json();
    let draft = drafts[0]["draft"].as_str().unwrap();
    assert_eq!(drafts[0]["reason"], "LEASE_LOST");
    for told in [
        "error: lease lost: it was broken: ",
        "wrong branch",
        "[LEASE_LOST]",
        &format!("is draft {draft}"),
        &format!("leasehold state drafts promote {STATE} {draft}"),
        "errored.tfstate",
    ] {
        assert!(ended.err.contains(told), "{told}: {}", ended.err);
    }
    let kept = server.ok(&["state", "pull", STATE, "--draft", draft]).json();
    assert_eq!(names(&kept), HashMap::from([("first", None), ("slow", Some("tainted"))]));
    let file: Value = serde_json::from_slice(&std::fs::read(project.path("errored.tfstate")).unwrap()).unwrap();
    // OpenTofu's has a higher serial.
    assert_eq!((&file["resources"], &file["lineage"]), (&kept["resources"], &kept["lineage"]), "the client kept the same");
    assert_eq!(server.ok(&["state", "pull", STATE]).out, before, "nothing of it was applied");

    let leasehold = env!("CARGO_BIN_EXE_leasehold");
    server.ok(&["run", "--state", STATE, "--", leasehold, "state", "drafts", "promote", STATE, draft]);
    let planned = good(project.run(&server, &[], &["plan", "-input=false"]));
    assert!(planned.out.contains("terraform_data.slow is tainted") && planned.out.contains("1 to add"), "{}", planned.out);
}

/// The last renewal is not after the death of `run`.
async fn apply_killed_minus_nine_is_followed_by_the_next_one_in_time(program: PathBuf) {
    const TTL: Duration = Duration::from_secs(2);
    const LOCK_DELAY: Duration = Duration::from_secs(1);
    const SLACK: Duration = Duration::from_secs(1);
    let server = Server::start(TIGHT);
    server.lock_delay(LOCK_DELAY);
    let killed = Project::new(&program, &slow("exec sleep 600"));
    killed.init(&server);
    let next = Project::new(&program, &slow("true"));
    next.init(&server);
    let client = server.client();
    let mut watcher = client.watch(STATE, "");
    assert!(matches!(watcher.next().await.unwrap(), WatchItem::Mark { .. }));

    let mut apply = Followed::start(killed.run(&server, &["--ttl", "2s"], &["apply", "-auto-approve", "-input=false"]));
    let terraform = terraform_of(&apply.shows("(local-exec): working under"));
    let waiting = next.run(&server, &["--wait", "2m", "--ttl", "2s"], &["apply", "-auto-approve", "-input=false"]);
    let waiting = Followed::start(waiting);
    let mut told = async |kind: EventKind| loop {
        let WatchItem::Event(event) = within("the watch", watcher.next()).await.unwrap() else { continue };
        if event.kind() == kind {
            return now();
        }
    };
    told(EventKind::TicketQueued).await;
    apply.child.kill().unwrap();
    let dead = now();
    terraform.must_end();
    told(EventKind::LeaseExpired).await;
    let granted = told(EventKind::LeaseGranted).await;
    assert!(granted <= dead + TTL + SLACK + LOCK_DELAY, "granted after {:?}", granted - dead);
    let ended = waiting.end();
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("Apply complete! Resources: 2 added"), "{}", ended.out);
    assert_eq!(names(&server.ok(&["state", "pull", STATE]).json()), HashMap::from([("first", None), ("slow", None)]));
    apply.child.wait().unwrap();
}

async fn apply_stopped_beyond_its_ttl_writes_a_draft_and_the_other_state_stands(program: PathBuf) {
    let server = Server::start(TIGHT);
    server.lock_delay(Duration::ZERO);
    let fifo = server.file("go");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let stopped = Project::new(&program, &slow(&format!("read line < '{}'", fifo.display())));
    stopped.init(&server);
    let other = Project::new(&program, "resource \"terraform_data\" \"other\" {}\n");
    other.init(&server);

    let flags = ["--ttl", "2s", "--on-loss", "continue"];
    let mut apply = Followed::start(stopped.run(&server, &flags, &["apply", "-auto-approve", "-input=false"]));
    let terraform = terraform_of(&apply.shows("(local-exec): working under"));
    let guard = terraform.parent();
    signal(apply.child.id(), Signal::STOP);
    signal_group(guard.pid, Signal::STOP);
    good(other.run(&server, &["--wait", "2m"], &["apply", "-auto-approve", "-input=false"]));
    let before = server.ok(&["state", "pull", STATE]).out;
    signal_group(guard.pid, Signal::CONT);
    signal(apply.child.id(), Signal::CONT);
    std::fs::write(&fifo, "go\n").unwrap();
    let ended = apply.end();
    assert_eq!(ended.code, 1, "{}{}", ended.out, ended.err);

    assert_eq!(server.ok(&["state", "pull", STATE]).out, before);
    let drafts = server.ok(&["state", "drafts", "list", STATE, "--output", "json"]).json();
    assert_eq!(drafts[0]["reason"], "LEASE_LOST", "{drafts}");
    let draft = drafts[0]["draft"].as_str().unwrap();
    assert!(ended.err.contains("lease lost: ") && ended.err.contains(&format!("is draft {draft}")), "{}", ended.err);
    let kept = server.ok(&["state", "pull", STATE, "--draft", draft]).json();
    assert_eq!(names(&kept), HashMap::from([("first", None), ("slow", None)]));
}

/// One that does not stop when it is told to is killed before somebody else may have the lock, with all that it started.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apply_that_cannot_reach_the_server_is_interrupted_once_and_then_killed() {
    let Some(program) = require::program("terraform") else { return };
    let mut server = Server::start(TIGHT);
    server.lock_delay(Duration::ZERO);
    let project = Project::new(&program, &slow("trap 'echo heard it' INT; while true; do sleep 0.05; done"));
    project.init(&server);
    let run = project.run(&server, &["--ttl", "3s"], &["apply", "-auto-approve", "-input=false"]);
    let mut apply = Followed::start(run);
    let terraform = terraform_of(&apply.shows("(local-exec): working under"));
    server.kill();
    let ended = apply.end();
    terraform.must_end();
    assert_eq!(ended.code, 128 + 9, "{}{}", ended.out, ended.err);
    assert_eq!(ended.out.matches("Interrupt received").count(), 1, "{}", ended.out);
    assert!(ended.err.contains("could not be renewed for two thirds of its ttl"), "{}", ended.err);
    assert!(ended.err.contains("lease lost: no renewal reached the server in time"), "{}", ended.err);
}
