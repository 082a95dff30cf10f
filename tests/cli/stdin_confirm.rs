//! What cannot be taken back asks first.

use crate::fake::FakeServer;
use crate::process::{end, end_with_input};

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
