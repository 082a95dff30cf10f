//! States that move in from files, folders and other `http` backends, and back out.

mod docs;
mod door;
mod files;
mod folder;
mod locked;
mod out;
mod source;
mod wrong;

use std::path::Path;

use serde_json::Value;

use crate::process::{Ended, end};
use crate::rig::Server;

const LINEAGE: &str = "0f6d1b0e-91b2-6d0a-4d3f-0b0d4f3a9c11";
/// It is in every document, and must be in nothing that is said.
const SECRET: &str = "hunter2-planted-secret";

/// A state as Terraform writes it, with a number of its own in it and an end that no printer of JSON would make.
fn document(lineage: &str, serial: u64) -> Vec<u8> {
    format!(
        "{{\n  \"version\": 4,\n  \"terraform_version\": \"1.11.4\",\n  \"serial\": {serial},\n  \"lineage\": \"{lineage}\",\n  \"outputs\": {{\n    \
         \"password\": {{ \"value\": \"{SECRET}\", \"type\": \"string\", \"sensitive\": true }},\n    \"n\": {{ \"value\": 1.{serial}e3, \"type\": \"number\" }}\n  \
         }},\n  \"resources\": [],\n  \"check_results\": null\n}}\n \t\n"
    )
    .into_bytes()
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// What an import or export did or would do: the words of its rows.
#[track_caller]
fn told(ended: &Ended, names: &[&str]) -> Vec<String> {
    let Value::Array(rows) = ended.json() else { panic!("no list: {}", ended.out) };
    let word = |row: &Value, name: &str| row[name].as_str().unwrap_or("-").to_owned();
    rows.iter().map(|row| names.iter().map(|name| word(row, name)).collect::<Vec<_>>().join(" ")).collect()
}

/// The bytes of a version; 0 is the current one.
#[track_caller]
fn pulled(server: &Server, state: &str, version: u64) -> Vec<u8> {
    let number = version.to_string();
    let mut args = vec!["state", "pull", state];
    if version > 0 {
        args.extend(["--version", &number]);
    }
    let output = server.leasehold(&args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Everything that a mistake could have changed: the newest versions, and the locks with their last tokens.
fn all(server: &Server) -> String {
    let listed = [&["state", "list", "dev", "--deleted"][..], &["lease", "list", "dev", "--all"]];
    let listed = listed.map(|args| server.ok(&[args, &["--output", "json"]].concat()).out).concat();
    // What time alone changes.
    listed.lines().filter(|line| !["remaining_ms", "silent_ms"].iter().any(|name| line.contains(name))).collect()
}

fn import(server: &Server, args: &[&str]) -> Ended {
    end(&mut server.leasehold(&[&["state", "import", "--output", "json"], args].concat()))
}

fn export(server: &Server, args: &[&str]) -> Ended {
    end(&mut server.leasehold(&[&["state", "export", "--output", "json"], args].concat()))
}
