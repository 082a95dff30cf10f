//! Breaking a lease, by people and by programs.

use std::os::unix::process::ExitStatusExt;

use crate::fake::{FENCE, FakeServer};
use crate::process::end;
use crate::terminal::{CTRL_C, CTRL_D, Terminal};

#[test]
fn break_without_a_terminal_needs_to_be_told_whom() {
    let server = FakeServer::start();
    let ended = end(&mut server.leasehold(&["lease", "break", "dev/app", "--reason", "stuck"]));
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains(&format!("--token {FENCE}")) && ended.err.contains("ci-1"), "{}", ended.err);
    assert!(server.seen().breaks.is_empty());
}

#[test]
fn break_sends_the_expected_token() {
    let server = FakeServer::start();
    let token = FENCE.to_string();
    let ended = end(&mut server.leasehold(&["lease", "break", "dev/app", "--reason", "stuck", "--token", &token, "--now"]));
    assert_eq!(ended.code, 0, "{}", ended.err);
    let ask = server.seen().breaks.remove(0);
    assert_eq!((ask.token, ask.all, ask.now, ask.take, ask.reason.as_str()), (FENCE, false, true, false, "stuck"));
    assert!(!ask.request_id.is_empty());
    assert!(ended.out.contains("ci@runner-3"), "{}", ended.out);
}

/// `lease break` with a person at the terminal, up to the question, which says whose lease it is about.
fn asked(server: &FakeServer, more: &[&str]) -> Terminal {
    let args = [&["lease", "break", "dev/app", "--reason", "stuck"], more].concat();
    let mut terminal = Terminal::start_interruptible(&server.leasehold(&args));
    terminal.shows(&format!("break the lease of ci@runner-3 on dev/app (token {FENCE})? [y/N] "));
    for shown in ["token:ci", "runner-3", "ci-1", &FENCE.to_string()] {
        terminal.shows(shown);
    }
    assert!(server.seen().breaks.is_empty(), "nothing happens before the answer");
    terminal
}

#[test]
fn break_at_a_terminal_asks_and_breaks_what_it_showed() {
    for (nth, answer) in ["y\n", "Y\n", "yes\n"].into_iter().enumerate() {
        let server = FakeServer::start();
        let more: &[&str] = if nth == 0 { &["--output", "json"] } else { &[] };
        let mut terminal = asked(&server, more);
        terminal.press(answer);
        let left = terminal.leave();
        assert_eq!(left.status.code(), Some(0), "{answer:?}: {}", left.screen);
        let breaks = server.seen().breaks;
        assert_eq!(
            breaks.iter().map(|ask| (ask.token, ask.all, ask.reason.as_str())).collect::<Vec<_>>(),
            [(FENCE, false, "stuck")]
        );
        match nth {
            0 => {
                let json: serde_json::Value = serde_json::from_str(&left.out).expect("stdout is JSON and nothing else");
                assert_eq!(json["broken"][0]["token"], FENCE.to_string());
            }
            _ => assert!(left.out.contains("ci@runner-3") && !left.out.contains("[y/N]"), "{:?}", left.out),
        }
    }
}

#[test]
fn break_at_a_terminal_leaves_the_lease_unless_told_yes() {
    let server = FakeServer::start();
    for answer in ["n\n", "\n", "no\n", "yeah\n", CTRL_D] {
        let mut terminal = asked(&server, &[]);
        terminal.press(answer);
        let left = terminal.leave();
        assert_eq!(left.status.code(), Some(1), "{answer:?}: {}", left.screen);
        assert!(left.screen.ends_with("\r\nnothing was broken\r\n"), "{answer:?}: {:?}", left.screen);
        assert_eq!(left.out, "");
    }
    assert!(server.seen().breaks.is_empty());
}

#[test]
fn break_at_a_terminal_is_left_with_ctrl_c() {
    let server = FakeServer::start();
    let mut terminal = asked(&server, &[]);
    terminal.press(CTRL_C);
    let left = terminal.leave();
    // Which a shell shows as 130.
    assert_eq!(left.status.signal(), Some(2), "{:?}: {}", left.status, left.screen);
    assert!(server.seen().breaks.is_empty());
    assert_eq!(left.out, "");
}

#[test]
fn break_with_a_question_that_nobody_could_see_is_not_asked() {
    let server = FakeServer::start();
    let command = server.leasehold(&["lease", "break", "dev/app", "--reason", "stuck"]);
    let left = Terminal::start_without_stderr(command).leave();
    assert_eq!(left.status.code(), Some(2), "{}", left.screen);
    assert!(left.screen.contains(&format!("--token {FENCE}")) && !left.screen.contains("[y/N]"), "{}", left.screen);
    assert!(server.seen().breaks.is_empty());
}
