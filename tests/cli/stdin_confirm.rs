//! What cannot be taken back asks first.

use crate::fake::FakeServer;
use crate::process::{end, end_with_input};
use crate::terminal::Terminal;

#[test]
fn deletion_without_a_terminal_needs_yes() {
    let server = FakeServer::start();
    for args in [&["env", "delete", "dev"][..], &["state", "delete", "dev/app"], &["state", "purge", "dev/app"]] {
        // Somebody else's `y` on a pipe is no answer.
        end_with_input(&mut server.leasehold(args), b"y\n").fails_with(2, "cannot be taken back", "--yes");
        let ended = end(&mut server.leasehold(&[args, &["--yes"]].concat()));
        assert_eq!(ended.code, 0, "{}", ended.err);
    }
}

#[test]
fn deletion_at_a_terminal_asks() {
    let server = FakeServer::start();
    for (answer, code, done) in [("y\n", 0, true), ("n\n", 1, false), ("\n", 1, false)] {
        let mut terminal = Terminal::start(server.leasehold(&["state", "purge", "dev/app"]));
        terminal.shows("drop the bytes of all versions but the current one of dev/app for good? [y/N] ");
        terminal.press(answer);
        let left = terminal.leave();
        assert_eq!(left.status.code(), Some(code), "{answer:?}: {}", left.screen);
        assert_eq!(left.screen.contains("3 versions of dev/app have no bytes"), done, "{answer:?}: {}", left.screen);
        assert_eq!(left.screen.contains("nothing was done"), !done, "{answer:?}: {}", left.screen);
    }
}
