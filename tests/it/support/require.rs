//! Programs that a test drives from outside: skipped loudly where they are missing, unless the run requires them.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The names that a run requires, separated by commas. `.ci/run` sets it.
const REQUIRED: &str = "LEASEHOLD_REQUIRE";

/// Where `name` is, or nothing — then the caller returns, and the reason stands in the test's output.
///
/// # Panics
/// When it is missing and `LEASEHOLD_REQUIRE` names it.
#[allow(dead_code, reason = "each set of tests drives other programs")]
#[expect(clippy::disallowed_methods, reason = "tests have no command line of their own to take settings from")]
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let required = std::env::var(REQUIRED).unwrap_or_default();
    let found = find(name, &std::env::var_os("PATH").unwrap_or_default(), &required);
    if found.is_none() {
        // Not eprintln!, which the test harness hides while a test passes.
        let _ = writeln!(std::io::stderr(), "SKIPPED: `{name}` is not on PATH");
    }
    found
}

fn find(name: &str, path: &OsStr, required: &str) -> Option<PathBuf> {
    let found = std::env::split_paths(path).map(|folder| folder.join(name)).find(|file| is_executable(file));
    let is_required = required.split(',').any(|entry| entry.trim() == name);
    assert!(
        found.is_some() || !is_required,
        "`{name}` is not on PATH, and {REQUIRED} names it: install it, or take it off the list"
    );
    found
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[test]
fn program_on_the_path_is_found() {
    assert_eq!(find("sh", OsStr::new("/nowhere:/bin"), ""), Some(PathBuf::from("/bin/sh")));
}

#[test]
fn program_that_is_missing_is_skipped_unless_required() {
    assert_eq!(find("no-such-program", OsStr::new("/bin"), "sh,other"), None);
}

#[test]
#[should_panic(expected = "LEASEHOLD_REQUIRE names it")]
fn program_that_is_missing_and_required_fails() {
    find("no-such-program", OsStr::new("/bin"), "sh, no-such-program");
}
