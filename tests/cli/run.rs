//! A command under a lease.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};

use crate::fake::{FENCE, FakeServer, TOKEN};
use crate::process::{end, finish};

fn run<'a>(state: &'a str, more: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["run", "--state", state], more, &["--", "sh", "-c", script]].concat()
}

#[test]
fn command_finds_its_lease_and_its_exit_code_is_returned() {
    let server = FakeServer::start();
    let script = "echo $LEASEHOLD_STATE $LEASEHOLD_SESSION $LEASEHOLD_FENCE; exit 9";
    let ended = end(&mut server.leasehold(&run("dev/app", &["--session", "ci-7"], script)));
    assert_eq!(ended.code, 9, "{}", ended.err);
    assert_eq!(ended.out, format!("dev/app ci-7 {FENCE}\n"));
    let releases = server.seen().releases;
    assert_eq!((releases.len(), releases[0].abandoned, releases[0].session.as_str()), (1, false, "ci-7"));
}

#[test]
fn command_finds_an_address_on_loopback_and_not_the_token() {
    let server = FakeServer::start();
    let script = "env; test \"$LEASEHOLD_TOKEN\" = \"$TF_HTTP_PASSWORD\"";
    let ended = end(&mut server.leasehold(&run("dev/app", &[], script)));
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(!ended.out.contains(TOKEN) && !ended.out.contains(server.address()), "{}", ended.out);
    assert!(ended.out.contains("\nTF_HTTP_ADDRESS=http://127.0.0.1:"), "{}", ended.out);

    let ended = end(&mut server.leasehold(&run("dev/app", &["--pass-token", "--no-http"], "env")));
    assert!(ended.out.contains(&format!("\nLEASEHOLD_TOKEN={TOKEN}\n")), "{}", ended.out);
    assert!(ended.out.contains(&format!("LEASEHOLD_SERVER={}\n", server.address())), "{}", ended.out);
    assert!(!ended.out.contains("TF_HTTP_"), "{}", ended.out);
}

#[test]
fn held_lease_ends_with_5_and_runs_nothing() {
    let server = FakeServer::start();
    end(&mut server.leasehold(&run("dev/held", &[], "echo ran"))).fails_with(5, "[LEASE_HELD]", "--wait");
}

/// Starts `run`, and waits until the script has printed its first line: from then on its traps are set.
fn started(command: &mut Command) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("ready"));
    (child, lines)
}

#[test]
fn signal_reaches_the_command() {
    let server = FakeServer::start();
    let script = "trap 'echo got it; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let (child, mut lines) = started(&mut server.leasehold(&run("dev/app", &[], script)));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(lines.next().as_deref(), Some("got it"));
    assert_eq!(finish(child).code, 3);
    assert!(!server.seen().releases[0].abandoned);
}

#[test]
fn command_of_a_broken_lease_is_interrupted_and_0_becomes_6() {
    for (code, expected) in [(0, 6), (4, 4)] {
        let server = FakeServer::start();
        let script = format!("trap 'echo stopped; exit {code}' INT; echo ready; while :; do sleep 0.05; done");
        let (child, mut lines) = started(&mut server.leasehold(&run("dev/app", &[], &script)));
        server.break_leases();
        assert_eq!(lines.next().as_deref(), Some("stopped"));
        let ended = finish(child);
        assert_eq!(ended.code, expected, "{}", ended.err);
        assert!(ended.err.contains("lease lost: it was broken: by alice: stuck"), "{}", ended.err);
    }
}

#[test]
fn command_that_ignores_the_interrupt_is_killed() {
    let server = FakeServer::start();
    let script = "trap '' INT; echo ready; while :; do sleep 0.05; done";
    let (child, _) = started(&mut server.leasehold(&run("dev/app", &[], script)));
    server.break_leases();
    assert_eq!(finish(child).code, 128 + 9);
}

#[test]
fn command_is_killed_at_once_when_told_so() {
    let server = FakeServer::start();
    let script = "trap 'echo interrupted' INT; echo ready; while :; do sleep 0.05; done";
    let (child, mut lines) = started(&mut server.leasehold(&run("dev/app", &["--on-loss", "kill"], script)));
    server.break_leases();
    assert_eq!(lines.next(), None);
    assert_eq!(finish(child).code, 128 + 9);
}

#[test]
fn command_may_go_on_when_told_so() {
    let server = FakeServer::start();
    let directory = tempfile::tempdir().unwrap();
    let script = "trap 'exit 9' INT; echo ready; while [ ! -e go ]; do sleep 0.05; done; echo done";
    let mut command = server.leasehold(&run("dev/app", &["--on-loss", "continue"], script));
    let (mut child, mut lines) = started(command.current_dir(&directory));
    server.break_leases();
    let mut told = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut told).unwrap();
    assert!(told.contains("lease lost"), "{told}");
    std::fs::write(directory.path().join("go"), "").unwrap();
    assert_eq!(lines.next().as_deref(), Some("done"));
    assert_eq!(finish(child).code, 6);
}

#[test]
fn command_is_stopped_when_renewals_fail_and_an_abandoned_lease_says_so() {
    let server = FakeServer::start();
    let script = "trap 'echo interrupted' INT; echo ready; while :; do sleep 0.05; done";
    let (child, mut lines) = started(&mut server.leasehold(&run("dev/silent", &["--ttl", "2s"], script)));
    assert_eq!(lines.next().as_deref(), Some("interrupted"));
    assert_eq!(lines.next(), None);
    let ended = finish(child);
    assert_eq!(ended.code, 128 + 9, "{}", ended.err);
    assert!(server.seen().releases[0].abandoned);
}

#[test]
fn lease_that_was_gone_at_the_end_makes_0_a_6() {
    let server = FakeServer::start();
    assert_eq!(end(&mut server.leasehold(&run("dev/gone", &[], "true"))).code, 6);
}

#[test]
fn command_that_is_not_there_ends_with_127_and_the_lease_is_released() {
    let server = FakeServer::start();
    let ended = end(&mut server.leasehold(&["run", "--state", "dev/app", "--", "/no/such/command"]));
    assert_eq!(ended.code, 127, "{}", ended.err);
    assert_eq!(server.seen().releases.len(), 1);
}
