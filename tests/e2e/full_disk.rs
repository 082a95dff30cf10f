//! A full disk takes no writes and loses nothing; reading goes on.

#![expect(clippy::disallowed_methods, reason = "how long the disk is full is what one of the tests is about")]

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use crate::process::{end, finish};
use crate::rig::{Server, TIGHT};
use crate::shim::Shim;

#[test]
fn full_disk_refuses_writes_and_goes_on_reading() {
    let test = "full_disk_refuses_writes_and_goes_on_reading";
    let Some(shim) = Shim::compile("full", include_str!("../shim/full.c"), test) else { return };
    let mut server = Server::stopped(TIGHT);
    let trigger = server.file("the disk is full");
    server.start_as(|command| shim.fail(command, &trigger));
    let write = |name: &str, size: usize| {
        let file = server.file(name);
        std::fs::write(&file, format!("{{\"{name}\": \"{}\"}}", noise(size))).unwrap();
        file.into_os_string().into_string().unwrap()
    };
    let (small, large) = (write("small", 100), write("large", 1 << 20));
    let push = |file: &str| end(&mut server.leasehold(&["state", "push", "dev/app", file, "--output", "json"]));
    assert_eq!(push(&small).code, 0);
    let before = server.ok(&["state", "history", "dev/app", "--output", "json"]).out;

    std::fs::write(&trigger, "").unwrap();
    for _ in 0..3 {
        for file in [&small, &large] {
            let ended = push(file);
            ended.fails_with(7, "STORE_FULL", "free space");
        }
        let run = end(&mut server.leasehold(&["run", "--state", "dev/other", "--", "echo", "must not run"]));
        run.fails_with(7, "STORE_FULL", "free space");
        assert_eq!(server.ok(&["state", "pull", "dev/app"]).out, std::fs::read_to_string(&small).unwrap());
        assert_eq!(server.ok(&["state", "history", "dev/app", "--output", "json"]).out, before);
        server.ok(&["lease", "show", "dev/app"]);
        server.ok(&["env", "list"]);
    }
    // What is opened is recorded in room that is kept for that; without it nothing is opened.
    let reads = || server.ok(&["audit", "tail", "--after", "0"]).out.matches("\"act\":\"read\"").count();
    assert_eq!(reads(), 3);
    std::fs::write(&trigger, "all").unwrap();
    for args in [&["state", "pull", "dev/app"][..], &["state", "diff", "dev/app"]] {
        end(server.leasehold(args).args(["--retry-for", "0s"])).fails_with(7, "AUDIT_FULL", "free space");
    }
    server.ok(&["state", "pull", "dev/app", "--view", "redacted"]);
    assert_eq!(reads(), 3);
    std::fs::remove_file(&trigger).unwrap();
    server.ok(&["state", "pull", "dev/app"]);
    assert_eq!(reads(), 4);
    // Nobody writes until the room is kept again, which is tried once a second.
    within_a_while(|| push(&large).code == 0);
    assert_eq!(std::fs::metadata(server.data().join("audit.reserve")).unwrap().len(), 8 << 20);
    server.kill();
    server.restart();
    assert_eq!(server.ok(&["state", "pull", "dev/app"]).out, std::fs::read_to_string(&large).unwrap());
    assert_eq!(server.ok(&["state", "history", "dev/app", "--all", "--output", "json"]).json().as_array().unwrap().len(), 2);
}

#[test]
fn full_disk_does_not_end_a_lease() {
    let Some(shim) = Shim::compile("full", include_str!("../shim/full.c"), "full_disk_does_not_end_a_lease") else { return };
    let mut server = Server::stopped(TIGHT);
    let trigger = server.file("the disk is full");
    server.start_as(|command| shim.fail(command, &trigger));
    let command = ["run", "--state", "dev/app", "--ttl", "6s", "--", "sh", "-c", "echo held; read line; echo $line"];
    let mut run = server.leasehold(&command).stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "held");
    std::fs::write(&trigger, "").unwrap();
    // Beyond the first renewal, at a third of the ttl, and before silence lasts for two thirds of it.
    std::thread::sleep(Duration::from_millis(2800));
    std::fs::remove_file(&trigger).unwrap();
    run.stdin.take().unwrap().write_all(b"went on\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "went on");
    let ended = finish(run);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(server.logged().contains("a commit failed"), "the disk was full");
}

fn within_a_while(done: impl Fn() -> bool) {
    for _ in 0..100 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("not in ten seconds");
}

/// Text that does not compress.
pub(crate) fn noise(length: usize) -> String {
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    let letters = (0..length).map(|_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        char::from(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-"[(x >> 58) as usize])
    });
    letters.collect()
}
