//! A state that Terraform made comes back as it was, to the last space.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::require;
use crate::rig::{Server, TIGHT};

const CONFIGURATION: &str = r#"
resource "terraform_data" "app" {
  count = 3
  input = { name = "app-${count.index}", note = "<&> \u00e9 \"quoted\" \\ and\ttabs", when = plantimestamp() }
}

resource "terraform_data" "secret" {
  input = sensitive("open sesame")
}

output "names" {
  value = terraform_data.app[*].output.name
}

output "secret" {
  value     = terraform_data.secret.output
  sensitive = true
}
"#;

fn terraform(program: &Path, folder: &Path, args: &[&str]) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).stdin(Stdio::null());
    // Nothing it needs is on the network.
    command.env("CHECKPOINT_DISABLE", "1").env("TF_IN_AUTOMATION", "1").env("TF_CLI_CONFIG_FILE", "/dev/null");
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "terraform {args:?}: {}", String::from_utf8_lossy(&stderr));
    stdout
}

#[test]
fn terraform_state_round_trips() {
    let Some(program) = require::program("terraform") else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("main.tf"), CONFIGURATION).unwrap();
    terraform(&program, folder.path(), &["init", "-input=false", "-backend=false"]);
    terraform(&program, folder.path(), &["apply", "-auto-approve", "-input=false"]);
    let pulled = terraform(&program, folder.path(), &["state", "pull"]);
    let on_disk = std::fs::read(folder.path().join("terraform.tfstate")).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&pulled).unwrap();
    assert_eq!(value["version"], 4);
    let compact = serde_json::to_vec(&value).unwrap();
    let mut odd = serde_json::to_vec_pretty(&value).unwrap();
    odd.extend_from_slice(b"\n \t\r\n");

    let server = Server::start(TIGHT);
    let file = server.file("document");
    let path = file.to_str().unwrap();
    for (name, document) in [("pulled", pulled), ("disk", on_disk), ("compact", compact), ("odd", odd)] {
        let state = format!("dev/{name}");
        std::fs::write(&file, &document).unwrap();
        let pushed = server.ok(&["state", "push", &state, path, "--output", "json"]).json();
        assert_eq!(pushed["version"]["format"], "terraform");
        assert_eq!(pushed["version"]["lineage"], value["lineage"]);
        assert_eq!(pushed["version"]["serial"], value["serial"].to_string());
        let back = server.leasehold(&["state", "pull", &state]).output().unwrap();
        assert!(back.status.success() && back.stdout == document, "{name}: other bytes came back");
        std::fs::remove_file(&file).unwrap();
        server.ok(&["state", "pull", &state, "--to", path]);
        assert!(std::fs::read(&file).unwrap() == document, "{name}: other bytes were written");
    }

    // What Terraform does next is the next version, and Terraform itself takes what comes back.
    terraform(&program, folder.path(), &["apply", "-auto-approve", "-input=false", "-replace=terraform_data.app[0]"]);
    let next = terraform(&program, folder.path(), &["state", "pull"]);
    std::fs::write(&file, &next).unwrap();
    assert_eq!(server.ok(&["state", "push", "dev/pulled", path, "--output", "json"]).json()["version"]["version"], "2");
    server.ok(&["state", "pull", "dev/pulled", "--to", folder.path().join("terraform.tfstate").to_str().unwrap()]);
    assert!(terraform(&program, folder.path(), &["state", "pull"]) == next);
}
