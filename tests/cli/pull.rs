//! Reading a document.

use std::os::unix::fs::PermissionsExt;

use crate::fake::{DOCUMENT, FakeServer};
use crate::process::end;

#[test]
fn pulled_document_is_on_stdout_byte_for_byte() {
    let server = FakeServer::start();
    assert_eq!(end(&mut server.leasehold(&["state", "pull", "dev/app"])).out, DOCUMENT);
}

#[test]
fn pulled_file_is_replaced_at_once_and_its_owners() {
    let server = FakeServer::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    std::fs::write(&path, "old").unwrap();
    let ended = end(&mut server.leasehold(&["state", "pull", "dev/app", "--to", path.to_str().unwrap()]));
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), DOCUMENT);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
}

#[test]
fn document_that_is_cut_short_leaves_the_old_file() {
    let server = FakeServer::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    std::fs::write(&path, "old").unwrap();
    let ended = end(&mut server.leasehold(&["state", "pull", "dev/cut", "--to", path.to_str().unwrap()]));
    assert_eq!(ended.code, 7, "{}", ended.err);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
}

#[test]
fn unchanged_document_is_not_written() {
    let server = FakeServer::start();
    let ended = end(&mut server.leasehold(&["state", "pull", "dev/app", "--unless-etag", "e4"]));
    assert_eq!((ended.code, ended.out.as_str()), (0, ""));
    assert!(ended.err.contains("unchanged"));
}

#[test]
fn state_that_is_not_there_ends_with_4() {
    let server = FakeServer::start();
    end(&mut server.leasehold(&["state", "pull", "dev/none"])).fails_with(4, "[STATE_NOT_FOUND]", "push one");
}
