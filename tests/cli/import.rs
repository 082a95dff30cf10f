//! Bringing a state in: what arrived is compared with what left.

use crate::fake::FakeServer;
use crate::process::end;

const STATE: &str = r#"{"version":4,"terraform_version":"1.11.4","serial":3,"lineage":"l","outputs":{},"resources":[]}"#;

/// The fake takes every document and gives another one back.
#[test]
fn difference_between_what_left_and_what_arrived_is_an_error() {
    let server = FakeServer::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), STATE).unwrap();
    let path = file.path().to_str().unwrap();
    let ended = end(&mut server.leasehold(&["state", "import", "dev/app", path]));
    ended.fails_with(1, &format!("version 4 of dev/app was written, and is not what {path} is"), "run the same command again");
    let seen = server.seen();
    assert_eq!((seen.pushes.len(), seen.pulls.len(), seen.pulls[0].version), (1, 1, 4));
    assert_eq!(seen.pushes[0].1, STATE.as_bytes());
    assert_eq!((seen.releases.len(), seen.releases[0].abandoned), (1, false));
}

#[test]
fn refused_import_names_the_draft_that_keeps_it() {
    let server = FakeServer::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), STATE).unwrap();
    let ended = end(&mut server.leasehold(&["state", "import", "dev/conflict", file.path().to_str().unwrap()]));
    ended.fails_with(5, "[VERSION_CONFLICT]", "pull, merge and push again");
    assert!(ended.err.contains("leasehold state drafts promote dev/conflict d-7"), "{}", ended.err);
}

#[test]
fn dry_run_asks_and_sends_nothing() {
    let server = FakeServer::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), STATE).unwrap();
    let ended = end(&mut server.leasehold(&["state", "import", "dev/app", file.path().to_str().unwrap(), "--dry-run"]));
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.contains("new"), "{}", ended.out);
    let seen = server.seen();
    assert!(seen.pushes.is_empty() && seen.acquires.is_empty() && seen.pulls.is_empty());
}
