//! Breaking a lease, by people and by programs.

use crate::fake::{FENCE, FakeServer};
use crate::process::end;

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
