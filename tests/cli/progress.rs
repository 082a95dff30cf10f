//! Progress bars: for long transfers, and for people only.

use std::process::Command;

use crate::fake::{FakeServer, LARGE};
use crate::process::end;
use crate::terminal::{Left, Terminal};

/// What only a bar has: the word before it, and the whole size after it.
const BAR: [&str; 2] = ["pushing", "/5.72 MiB"];

fn has_bar(text: &str) -> bool {
    BAR.iter().any(|part| text.contains(part))
}

/// A push of so many bytes, to be read by a program.
fn push(server: &FakeServer, size: usize) -> (Command, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![b' '; size]).unwrap();
    let args = ["state", "push", "dev/app", file.path().to_str().unwrap(), "--output", "json"];
    (server.leasehold(&args), file)
}

#[track_caller]
fn pushed(left: &Left, server: &FakeServer, size: usize) {
    assert!(left.status.success(), "{}", left.screen);
    let json: serde_json::Value = serde_json::from_str(&left.out).expect("stdout is JSON and nothing else");
    assert_eq!(json["version"]["etag"], "e4");
    assert_eq!(server.seen().pushes.last().unwrap().1.len(), size);
}

#[test]
fn large_push_shows_a_bar_on_stderr_and_takes_it_away() {
    let server = FakeServer::start();
    let (command, _file) = push(&server, LARGE);
    let mut terminal = Terminal::start(command);
    BAR.iter().for_each(|part| terminal.shows(part));
    let left = terminal.leave();
    pushed(&left, &server, LARGE);
    let (_, after) = left.screen.rsplit_once("MiB").expect("the bar was there");
    assert!(after.contains("\r\x1b[2K"), "the line is cleared in the end: {:?}", left.screen);
    assert!(!left.out.contains('\x1b'), "{:?}", left.out);
}

#[test]
fn push_of_five_megabytes_or_less_shows_no_bar() {
    let server = FakeServer::start();
    for size in [1000, 5_000_000] {
        let (command, _file) = push(&server, size);
        let left = Terminal::start(command).leave();
        pushed(&left, &server, size);
        assert_eq!(left.screen, "", "of {size} bytes");
    }
}

#[test]
fn large_push_with_nobody_at_stderr_shows_no_bar() {
    let server = FakeServer::start();
    let (mut command, _file) = push(&server, LARGE);
    let ended = end(&mut command);
    assert_eq!((ended.json()["version"]["etag"].as_str(), ended.err.as_str()), (Some("e4"), ""));
    // Standard input and output at a terminal change nothing.
    let (command, _file) = push(&server, LARGE);
    let left = Terminal::start_without_stderr(command).leave();
    pushed(&left, &server, LARGE);
    assert_eq!(left.screen, "");
    assert!(!has_bar(&left.out), "{:?}", left.out);
}

#[test]
fn large_pull_shows_a_bar_too() {
    let server = FakeServer::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.json");
    let to = file.to_str().unwrap();
    let mut terminal = Terminal::start(server.leasehold(&["state", "pull", "dev/large", "--to", to, "--output", "json"]));
    terminal.shows("pulling");
    terminal.shows("/5.72 MiB");
    let left = terminal.leave();
    assert!(left.status.success(), "{}", left.screen);
    assert_eq!(std::fs::metadata(&file).unwrap().len(), LARGE as u64);
    serde_json::from_str::<serde_json::Value>(&left.out).expect("stdout is JSON and nothing else");
}
