//! The audit from the command line: exported by a server, verified without one.

use std::process::Command;

use crate::process::{Ended, end, leasehold};
use crate::rig::{Server, TIGHT};

/// Verifies a file without a server.
fn verify(file: &str, more: &[&str]) -> Ended {
    end(leasehold(&["audit", "verify", file]).args(more))
}

#[test]
fn export_is_verified_without_a_server_and_what_was_done_to_it_is_found_where_it_was_done() {
    let mut server = Server::start(TIGHT);
    for n in 0..5 {
        server.ok(&["run", "--state", &format!("dev/app-{n}"), "--", "true"]);
    }
    let noted = server.ok(&["audit", "head", "--output", "json"]).json();
    let (head, key) = (noted["head"].as_str().unwrap(), noted["key"].as_str().unwrap());
    server.ok(&["run", "--state", "dev/last", "--", "true"]);
    let file = |name: &str| server.file(name).to_str().unwrap().to_owned();
    let (whole, cut, changed, missing) = (file("whole"), file("cut"), file("changed"), file("missing"));
    let told = server.ok(&["audit", "export", "--out", &whole]);
    let newer = told.err.split_whitespace().find(|word| word.len() > 64).unwrap().trim_end_matches(';').to_owned();
    let printed = server.ok(&["audit", "export"]).out;
    let text = std::fs::read_to_string(&whole).unwrap();
    assert_eq!(
        printed.lines().skip(1).collect::<Vec<_>>(),
        text.lines().skip(1).collect::<Vec<_>>(),
        "the same, but for when it was made"
    );
    server.kill();

    let ended = verify(&whole, &["--key", key, "--expect", head]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.contains(&format!("head: {newer}")) && ended.out.contains(&format!("signed by: {key}")), "{}", ended.out);
    assert!(ended.err.is_empty(), "{}", ended.err);
    let ended = verify(&whole, &[]);
    assert!(ended.code == 0 && ended.err.contains("nobody vouches"), "{}", ended.err);
    assert_eq!(end(leasehold(&["audit", "verify", "-"]).stdin(std::fs::File::open(&whole).unwrap())).code, 0);

    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| line.contains("dev/app-3")).unwrap();
    let n = serde_json::from_str::<serde_json::Value>(lines[at]).unwrap()["n"].clone();
    std::fs::write(&changed, text.replacen("dev/app-3", "dev/app-9", 1)).unwrap();
    let ended = verify(&changed, &["--key", key]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains(&format!("line {}: entry {n} ", at + 1)), "{}", ended.err);
    let last = lines.iter().rposition(|line| line.starts_with("{\"checkpoint\"")).unwrap();
    std::fs::write(&cut, lines[..last].join("\n") + "\n").unwrap();
    let ended = verify(&cut, &["--key", key]);
    assert!(ended.code == 1 && ended.err.contains("it ends here"), "{}", ended.err);
    let other = "0".repeat(64);
    let ended = verify(&whole, &["--key", &other]);
    assert!(ended.code == 1 && ended.err.contains("not the key that you trust"), "{}", ended.err);
    let ended = verify(&whole, &["--expect", &format!("2:{other}")]);
    assert!(ended.code == 1 && ended.err.contains("not the log that the expected head is of"), "{}", ended.err);
    let ended = verify(&whole, &["--expect", &format!("99999:{other}")]);
    assert!(ended.code == 1 && ended.err.contains("is not in it"), "{}", ended.err);
    assert_eq!(verify(&missing, &[]).code, 4);
    assert_eq!(verify(&whole, &["--key", "abc"]).code, 2);
    assert_eq!(verify(&whole, &["--expect", "abc"]).code, 2);
}

#[test]
fn tail_follows_over_a_restart_and_prints_nothing_twice() {
    use std::io::{BufRead, BufReader};
    let mut server = Server::start(TIGHT);
    let mut tail =
        server.leasehold(&["audit", "tail", "--follow", "--after", "0"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    let mut until = |on: &str, seen: &mut Vec<u64>| {
        for line in lines.by_ref() {
            let row: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            seen.push(row["n"].as_u64().unwrap());
            if row["on"] == on && row["act"] == "lease.release" {
                return;
            }
        }
        panic!("it ended");
    };
    server.ok(&["run", "--state", "dev/before", "--", "true"]);
    until("dev/before", &mut seen);
    server.kill();
    server.restart();
    server.ok(&["run", "--state", "dev/after", "--", "true"]);
    until("dev/after", &mut seen);
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert!(seen.iter().copied().eq(1..=seen.len() as u64), "{seen:?}");
}

const PAGE: &str = include_str!("../../docs/audit.md");

/// The blocks of a language on the page.
fn blocks(language: &str) -> String {
    let begins = format!("```{language}\n");
    PAGE.split(begins.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn commands_of_the_page_do_what_it_says() {
    let test = "audit::commands_of_the_page_do_what_it_says";
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    for program in ["python3", "jq"] {
        if !has(program) {
            return crate::require::skip(test, program);
        }
    }
    let server = Server::start(TIGHT);
    server.ok(&["run", "--state", "dev/app", "--", "true"]);
    let folder = server.file("work");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("check.py"), blocks("python")).unwrap();
    let (address, token) = server.door();
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_leasehold")).parent().unwrap();
    let script = format!("set -eu\nPATH='{}':$PATH\n{}\npython3 check.py audit.jsonl", binary.display(), blocks("sh"));
    let mut run = Command::new("bash");
    run.args(["-c", &script]).current_dir(&folder).env("LEASEHOLD_SERVER", address).env("LEASEHOLD_TOKEN", token);
    let done = run.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}\n{err}");
    let head = out.lines().last().unwrap();
    assert!(out.contains(&format!("head: {head}")), "the reader from outside comes to the same head: {out}");
    // It sees what was changed, too.
    let file = folder.join("audit.jsonl");
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap().replacen("dev/app", "dev/apx", 1)).unwrap();
    assert!(!Command::new("python3").args(["check.py", "audit.jsonl"]).current_dir(&folder).output().unwrap().status.success());
}

#[test]
fn page_lists_every_act() {
    let table = PAGE.split("## What is recorded").nth(1).unwrap().split("Counted and not recorded").next().unwrap();
    let listed: std::collections::BTreeSet<&str> =
        table.lines().filter_map(|line| line.split('|').nth(1)).flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let all = leasehold::domain::audit::Deed::ALL.iter().map(|deed| deed.as_str()).collect();
    assert_eq!(listed, all);
}
