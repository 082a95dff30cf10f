//! Tests that mount something run themselves again in a mount namespace of their own, where nothing outlives them.

use std::path::PathBuf;
use std::process::Command;

use crate::require::skip;

const FOLDER: &str = "LEASEHOLD_TEST_NAMESPACE";

/// In the namespace: the folder on which `setup` (a shell script that finds it in `$FOLDER`) was run. Outside: none, after the test of
/// this full name has run inside and passed, or was skipped because this machine allows no namespaces.
#[allow(clippy::disallowed_methods, reason = "tells the run inside from the one outside")]
pub(crate) fn inside(test: &str, setup: &str) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return Some(folder.into());
    }
    if !Command::new("unshare").args(["-rm", "true"]).output().is_ok_and(|probe| probe.status.success()) {
        skip(test, "namespaces");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = format!("set -e; FOLDER=\"$1\"; {setup}\nshift; exec \"$@\"");
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", &script, "sh"])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "inside the namespace:\n{said}");
    None
}
