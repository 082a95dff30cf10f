//! Waiting in a queue.

use std::io::{BufRead, BufReader};

use rustix::process::{Pid, Signal, kill_process};

use crate::fake::FakeServer;
use crate::process::{end, finish};

#[test]
fn place_in_the_queue_is_told_on_stderr_when_it_changes() {
    let server = FakeServer::start();
    let ended = end(&mut server.leasehold(&["lease", "acquire", "dev/queue", "--wait", "1m", "--output", "json"]));
    ended.json();
    let places: Vec<_> = ended.err.lines().filter(|line| line.starts_with("waiting for dev/queue: place")).collect();
    assert_eq!(places.len(), 2, "{}", ended.err);
    assert!(places[0].contains("place 2") && places[0].contains("ci@runner-3") && places[1].contains("place 1"), "{places:?}");
}

#[test]
fn interrupted_waiter_gives_up_its_place() {
    let server = FakeServer::start();
    let mut child = server.leasehold(&["run", "--state", "dev/held", "--wait", "1h", "--", "true"]).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.contains("place 1"), "{line}");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(finish(child).code, 128 + 15);
    let seen = server.seen();
    assert_eq!(seen.cancels[0].session, seen.acquires[0].session);
}
