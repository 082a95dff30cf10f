//! Opening sealed views offline. `tests/vectors/sealed-v1` is one.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::process::{Ended, end, end_with_input, leasehold};

const SEALED: &[u8] = include_bytes!("../vectors/sealed-v1");
const KEY: &str = include_str!("../vectors/sealed-v1.key");
const SIGNER: &str = include_str!("../vectors/sealed-v1.signer");
/// Of another environment.
const OTHER: &str = "lhs1p6rv32tdzl698chyeq87nqa7um7x9348h6lcrx9t0vl59y633jfquyxkmw";

struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        desk.write("key", KEY.as_bytes(), 0o600);
        desk.write("sealed", SEALED, 0o644);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) {
        std::fs::write(self.path(name), bytes).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn unseal(&self, args: &[&str]) -> Ended {
        end(leasehold(&["unseal"]).args(args).current_dir(self.folder.path()))
    }
}

#[test]
fn sealed_view_opens_under_the_key_that_is_trusted() {
    let desk = Desk::new();
    let ended = desk.unseal(&["-i", "key", "--trust", SIGNER.trim(), "sealed"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(!ended.out.is_empty());
    for told in ["state: ", "version: ", "sealed to: age1", &format!("signed by: {}", SIGNER.trim())] {
        assert!(ended.err.contains(told), "{told} is missing: {}", ended.err);
    }
    assert!(!ended.err.contains("warning"), "{}", ended.err);
    // From a pipe, into a file of the owner's.
    let mut command = leasehold(&["unseal", "-i", "key", "--trust", SIGNER.trim(), "--to", "out"]);
    assert_eq!(end_with_input(command.current_dir(desk.folder.path()), SEALED).code, 0);
    assert_eq!(std::fs::read_to_string(desk.path("out")).unwrap(), ended.out);
    assert_eq!(std::fs::metadata(desk.path("out")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn sealed_view_of_somebody_else_is_refused_and_nothing_is_written() {
    let desk = Desk::new();
    let ended = desk.unseal(&["-i", "key", "--trust", OTHER, "sealed", "--to", "out"]);
    ended.fails_with(1, "not by the key that is trusted", "never because this message names it");
    assert!(ended.out.is_empty() && !desk.path("out").exists());
    let mut changed = SEALED.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    desk.write("changed", &changed, 0o644);
    for trust in [&["--trust", SIGNER.trim()][..], &["--danger-trust-anyone"]] {
        let ended = desk.unseal(&[&["-i", "key", "changed"], trust].concat());
        ended.fails_with(1, "the signature does not hold", "nothing was written");
        assert!(ended.out.is_empty());
    }
}

#[test]
fn one_has_to_say_whom_to_trust() {
    let desk = Desk::new();
    for args in [vec!["-i", "key", "sealed"], vec!["-i", "key", "sealed", "--trust", OTHER, "--danger-trust-anyone"]] {
        let ended = desk.unseal(&args);
        assert_eq!(ended.code, 2, "{}", ended.err);
        assert!(ended.err.contains("--trust") && ended.out.is_empty(), "{}", ended.err);
    }
    let ended = desk.unseal(&["-i", "key", "sealed", "--trust", "age1x"]);
    ended.fails_with(2, "not the public key of an environment", "leasehold env show");
    let ended = desk.unseal(&["-i", "key", "sealed", "--danger-trust-anyone"]);
    assert!(ended.code == 0 && ended.err.contains("nobody vouches for"), "{}", ended.err);
}

#[test]
fn identity_that_others_can_read_is_warned_of_and_a_wrong_one_refused() {
    let desk = Desk::new();
    desk.write("key", KEY.as_bytes(), 0o644);
    let ended = desk.unseal(&["-i", "key", "sealed", "--danger-trust-anyone"]);
    assert!(ended.code == 0 && ended.err.contains("warning: others can read key"), "{}", ended.err);
    desk.write("empty", b"# nothing\n", 0o600);
    desk.unseal(&["-i", "empty", "sealed", "--danger-trust-anyone"]).fails_with(1, "holds no age identity", "age-keygen");
    desk.write("other", b"AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33\n", 0o600);
    desk.unseal(&["-i", "other", "sealed", "--danger-trust-anyone"]).fails_with(1, "the identity for it was not given", "-i");
    desk.unseal(&["-i", "key", "key", "--danger-trust-anyone"]).fails_with(1, "no sealed document", "");
}
