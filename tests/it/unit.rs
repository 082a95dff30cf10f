//! The unit for systemd: it is one, it starts what this program has, and it gives away little.

use std::process::Command;

use crate::support::require;

const UNIT: &str = include_str!("../../docs/leasehold.service");
const INSTALLED: &str = "/usr/local/bin/leasehold";

#[test]
fn command_of_the_unit_is_one_of_this_program() {
    let line = UNIT.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("it starts something");
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[..2], [INSTALLED, "serve"]);
    let help = Command::new(env!("CARGO_BIN_EXE_leasehold")).args(["serve", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for flag in words.iter().filter(|word| word.starts_with("--")) {
        assert!(help.contains(flag), "{flag}");
    }
}

/// The folder of state and the limits of the unit are those that the server asks for.
#[test]
fn unit_grants_what_the_server_needs_and_no_more() {
    let value =
        |key: &str| UNIT.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_else(|| panic!("{key}"));
    let limits = leasehold::serve::door::Limits::default();
    let needed = limits.connections + leasehold::serve::door::Limits::RESERVED_DESCRIPTORS;
    assert!(value("LimitNOFILE").parse::<usize>().unwrap() >= needed, "{needed} descriptors are needed");
    let stop: u64 = value("TimeoutStopSec").strip_suffix('s').unwrap().parse().unwrap();
    assert!(stop >= 2 * limits.drain.as_secs(), "killed while calls finish");
    let fixed = [("StateDirectoryMode", "0700"), ("UMask", "0077"), ("LimitCORE", "0"), ("NoNewPrivileges", "yes")];
    for (key, wanted) in fixed.into_iter().chain([("ProtectSystem", "strict"), ("CapabilityBoundingSet", "")]) {
        assert_eq!(value(key), wanted, "{key}");
    }
}

#[test]
fn systemd_takes_the_unit_and_finds_it_tight() {
    let Some(analyze) = require::program("systemd-analyze") else { return };
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("leasehold.service");
    std::fs::write(&unit, UNIT.replace(INSTALLED, env!("CARGO_BIN_EXE_leasehold"))).unwrap();
    let said = |args: &[&str]| {
        let done = Command::new(&analyze).args(args).arg(&unit).output().unwrap();
        let said = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (done.status.success(), said)
    };
    let (taken, complaints) = said(&["verify", "--man=no"]);
    assert!(taken && complaints.is_empty(), "{complaints}");
    // Tenths: 0 is no access at all, 100 everything. What is left is the network, and the root file system to read.
    let (tight, table) = said(&["security", "--offline=true", "--no-pager", "--threshold=20"]);
    assert!(tight, "{table}");
    let loose = std::fs::read_to_string(&unit).unwrap().replace("CapabilityBoundingSet=\n", "").replace("PrivateUsers=yes\n", "");
    std::fs::write(&unit, loose).unwrap();
    assert!(!said(&["security", "--offline=true", "--no-pager", "--threshold=20"]).0, "the measure sees what is missing");
}
