//! The commands of the README and the docs are what they say.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const README: &str = include_str!("../../README.md");

/// The lines of the `sh` blocks in a piece of Markdown.
fn commands(markdown: &str) -> String {
    let mut script = String::new();
    let mut inside = false;
    for line in markdown.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => script.extend([line, "\n"]),
            _ => {}
        }
    }
    script
}

#[test]
fn the_walk_through_a_crash_goes_as_the_readme_says() {
    let walk = README.split("<!-- walk:begin -->").nth(1).and_then(|rest| rest.split("<!-- walk:end -->").next()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_leasehold"));
    let mut server = Command::new(binary)
        .args(["serve", "--dev", "--listen", "127.0.0.1:0"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("listening on "), "{line}");
    let script = format!("set -eu\nPATH='{}':$PATH\n{}", binary.parent().unwrap().display(), commands(walk));
    let done = Command::new("bash").arg("-c").arg(&script).current_dir(folder.path()).output().unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}\n{err}");
    for told in ["exit code 5", "exit code 6", "identical", "LEASE_LOST"] {
        assert!(out.contains(told), "{told} is missing from\n{out}\n{err}");
    }
    for told in ["[LEASE_HELD]", "the lock delay after a dead holder", "kept: the document was not written"] {
        assert!(err.contains(told), "{told} is missing from\n{err}");
    }
}

#[test]
fn the_two_commands_of_the_readme_are_those_of_the_ci() {
    let script = commands(README);
    assert!(script.contains("cargo run --release -- serve --dev"));
    assert!(script.contains("cargo test"));
    assert!(include_str!("../../.ci/run").contains("\nstep cargo test\n"));
}

/// Every `leasehold …` command in README and docs, in backquotes or in a block, parses: its help can be asked for.
#[test]
fn commands_in_the_docs_exist() {
    let pages = [
        README,
        include_str!("../../docs/access.md"),
        include_str!("../../docs/architecture.md"),
        include_str!("../../docs/audit.md"),
        include_str!("../../docs/configuration.md"),
        include_str!("../../docs/identity.md"),
        include_str!("../../docs/import.md"),
        include_str!("../../docs/operations.md"),
        include_str!("../../docs/terraform.md"),
        include_str!("../../docs/views.md"),
    ];
    let mut seen = 0;
    let blocks: Vec<String> = pages.iter().map(|page| commands(page)).collect();
    let lines = blocks.iter().flat_map(|block| block.lines());
    for quoted in pages.iter().flat_map(|page| page.split('`').skip(1).step_by(2)).chain(lines) {
        let Some(rest) = quoted.strip_prefix("leasehold ") else { continue };
        let words: Vec<&str> = rest.split_whitespace().take_while(|word| word.chars().all(|c| c.is_ascii_lowercase())).collect();
        let help = Command::new(env!("CARGO_BIN_EXE_leasehold")).args(&words).arg("--help").output().unwrap();
        assert!(help.status.success(), "`{quoted}`: {}", String::from_utf8_lossy(&help.stderr));
        let text = String::from_utf8_lossy(&help.stdout);
        for flag in rest.split_whitespace().filter(|word| word.starts_with("--")) {
            assert!(text.contains(flag), "`{quoted}` has no {flag}");
        }
        seen += 1;
    }
    assert!(seen > 5, "the pages name {seen} commands");
}
