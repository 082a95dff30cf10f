//! A command under a lease.

use std::io::{BufRead, BufReader};

use rustix::process::{Pid, Signal, kill_process};

use crate::fake::{FENCE, FakeServer};
use crate::process::{end, finish};

fn run<'a>(state: &'a str, more: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["run", "--state", state], more, &["--", "sh", "-c", script]].concat()
}

#[test]
fn command_finds_its_lease_and_its_exit_code_is_returned() {
    let server = FakeServer::start();
    let script = "echo $LEASEHOLD_STATE $LEASEHOLD_SESSION $LEASEHOLD_FENCE $LEASEHOLD_SERVER; exit 9";
    let ended = end(&mut server.leasehold(&run("dev/app", &["--session", "ci-7"], script)));
    assert_eq!(ended.code, 9, "{}", ended.err);
    assert_eq!(ended.out, format!("dev/app ci-7 {FENCE} {}\n", server.address()));
    let releases = server.seen().releases;
    assert_eq!((releases.len(), releases[0].abandoned, releases[0].session.as_str()), (1, false, "ci-7"));
}

#[test]
fn held_lease_ends_with_5_and_runs_nothing() {
    let server = FakeServer::start();
    end(&mut server.leasehold(&run("dev/held", &[], "echo ran"))).fails_with(5, "[LEASE_HELD]", "--wait");
}

#[test]
fn signal_reaches_the_command() {
    let server = FakeServer::start();
    let script = "trap 'echo got it; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = server.leasehold(&run("dev/app", &[], script)).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(stdout.next().unwrap().unwrap(), "ready");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(stdout.next().unwrap().unwrap(), "got it");
    assert_eq!(finish(child).code, 3);
    assert!(!server.seen().releases[0].abandoned);
}

#[test]
fn command_of_a_broken_lease_is_interrupted_and_0_becomes_6() {
    let server = FakeServer::start();
    let script = "trap 'echo stopped; exit 0' INT; while :; do sleep 0.05; done";
    let ended = end(&mut server.leasehold(&run("dev/broken", &[], script)));
    assert_eq!((ended.code, ended.out.as_str()), (6, "stopped\n"), "{}", ended.err);
    assert!(ended.err.contains("lease lost: it was broken: by alice: stuck"), "{}", ended.err);
    let ended = end(&mut server.leasehold(&run("dev/broken", &[], "trap 'exit 4' INT; while :; do sleep 0.05; done")));
    assert_eq!(ended.code, 4, "a code of the command's own is kept");
}

#[test]
fn command_that_ignores_the_interrupt_is_killed() {
    let server = FakeServer::start();
    let ended = end(&mut server.leasehold(&run("dev/broken", &[], "trap '' INT; while :; do sleep 0.05; done")));
    assert_eq!(ended.code, 128 + 9, "{}", ended.err);
}

#[test]
fn command_may_go_on_when_told_so() {
    let server = FakeServer::start();
    let ended = end(&mut server.leasehold(&run("dev/broken", &["--on-loss", "continue"], "sleep 0.6; echo done")));
    assert_eq!((ended.code, ended.out.as_str()), (6, "done\n"), "{}", ended.err);
}

#[test]
fn command_is_stopped_when_renewals_fail_and_an_abandoned_lease_says_so() {
    let server = FakeServer::start();
    let script = "trap 'echo interrupted' INT; while :; do sleep 0.05; done";
    let ended = end(&mut server.leasehold(&run("dev/silent", &["--ttl", "1s"], script)));
    assert_eq!((ended.code, ended.out.as_str()), (128 + 9, "interrupted\n"), "{}", ended.err);
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
