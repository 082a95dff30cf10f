//! Writing a document, under the right lease.

use crate::fake::{DOCUMENT, FENCE, FakeServer};
use crate::process::{end, end_with_input};

#[test]
fn push_takes_a_lease_and_gives_it_back() {
    let server = FakeServer::start();
    let ended = end_with_input(&mut server.leasehold(&["state", "push", "dev/app", "--output", "json"]), DOCUMENT.as_bytes());
    assert_eq!(ended.json()["version"]["etag"], "e4");
    let seen = server.seen();
    let (open, document) = &seen.pushes[0];
    assert_eq!(document, DOCUMENT.as_bytes());
    assert_eq!((open.token, open.size, open.session.as_str()), (FENCE, DOCUMENT.len() as u64, seen.acquires[0].session.as_str()));
    assert_eq!((seen.releases.len(), seen.releases[0].abandoned), (1, false));
}

#[test]
fn push_inside_run_uses_the_lease_of_run() {
    let server = FakeServer::start();
    let inside = |state: &str| {
        let mut command = server.leasehold(&["state", "push", state, "-"]);
        command.env("LEASEHOLD_STATE", "dev/app").env("LEASEHOLD_SESSION", "run-1").env("LEASEHOLD_FENCE", "77");
        assert_eq!(end_with_input(&mut command, b"{}").code, 0);
    };
    inside("dev/app");
    let seen = server.seen();
    assert_eq!((seen.pushes[0].0.session.as_str(), seen.pushes[0].0.token), ("run-1", 77));
    assert!(seen.acquires.is_empty() && seen.releases.is_empty());
    // Of another state that lease is no right.
    inside("dev/other");
    assert_eq!(server.seen().acquires.len(), 1);
}

#[test]
fn refused_push_names_its_draft_and_what_to_do_with_it() {
    let server = FakeServer::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), DOCUMENT).unwrap();
    let path = file.path().to_str().unwrap();
    let args = ["state", "push", "dev/conflict", path, "--expect-version", "4", "--expect-etag", "e4"];
    let ended = end(&mut server.leasehold(&args));
    ended.fails_with(5, "[VERSION_CONFLICT]", "pull, merge and push again");
    assert!(ended.err.contains("leasehold state drafts promote dev/conflict d-7"), "{}", ended.err);
    let seen = server.seen();
    assert_eq!(seen.pushes[0].0.expect.as_ref().map(|expect| expect.version), Some(4));
    assert_eq!(seen.releases.len(), 1, "the lease taken for the push is given back");
}

#[test]
fn push_on_a_held_state_ends_with_5() {
    let server = FakeServer::start();
    end_with_input(&mut server.leasehold(&["state", "push", "dev/held"]), b"{}").fails_with(5, "held by ci@runner-3", "--wait");
    assert!(server.seen().pushes.is_empty());
}
