//! Views of states that Terraform made, as Terraform reads them.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use leasehold::secrets::view::redacted::MARK;
use serde_json::{Value, json};

use crate::canaries::{files, opened};
use crate::require;
use crate::rig::{Server, TIGHT};

/// Secrets of every shape that the built-in provider can hold, and copies of them where nothing says so.
const CONFIGURATION: &str = r#"
variable "word" {
  type      = string
  sensitive = true
  default   = "canary-word-\"<&%é/+=1"
}

variable "key" {
  type      = string
  sensitive = true
  default   = "canary-Key-22-of-a-map"
}

locals {
  word = var.word
  open = nonsensitive(var.word)
  key  = nonsensitive(var.key)
}

resource "terraform_data" "shapes" {
  input = {
    string = var.word
    object = sensitive({ a = "canary-in-object-3", b = [1, 2] })
    list   = ["x", var.word, "y"]
    map    = tomap({ port = sensitive(543210987), other = 1 })
    set    = toset(["plain", local.open])
    flag   = sensitive(true)
    whole  = sensitive(toset(["canary-in-set-44", "canary-in-set-55"]))
    gone   = sensitive(null)
    type   = "kept"
  }
}

resource "terraform_data" "all" {
  input = sensitive(tomap({ a = "canary-all-of-it-6" }))
}

resource "terraform_data" "copies" {
  input = {
    url     = "postgres://app:${urlencode(local.open)}@db.internal/app"
    env     = "A=1\nWORD=${local.open}\n"
    nested  = jsonencode({ level = jsonencode({ word = local.open }) })
    base64  = base64encode("user:${local.open}")
    gzip    = base64gzip("packed ${local.open}")
    plain   = "nothing to see"
  }
}

resource "terraform_data" "keyed" {
  input            = { (local.key) = { deep = "x" } }
  triggers_replace = var.key
}

output "string" {
  value     = var.word
  sensitive = true
}

output "object" {
  value     = { a = var.word, n = 18446744073709551617 }
  sensitive = true
}

output "tuple" {
  value     = [var.word, 1, true]
  sensitive = true
}

output "set" {
  value     = toset([var.word, "b"])
  sensitive = true
}

output "map" {
  value     = tomap({ a = var.word })
  sensitive = true
}

output "number" {
  value     = sensitive(12345678901234567890)
  sensitive = true
}

output "bool" {
  value     = sensitive(true)
  sensitive = true
}

output "keyed" {
  value = { (local.key) = "x", fine = "y" }
}

output "keyed_deep" {
  value = { a = { b = [{ (local.key) = "x" }] }, c = 1 }
}

output "keyed_map" {
  value = tomap({ (local.key) = 1 })
}

output "harmless" {
  value = { region = "eu-central-1", ports = [80, 443] }
}
"#;

/// Reads a state file as another configuration does.
const READER: &str = r#"
data "terraform_remote_state" "it" {
  backend = "local"
  config  = { path = "REDACTED" }
}

output "seen" {
  value     = data.terraform_remote_state.it.outputs
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

/// What no view without secrets may have in it. The key of the map is one, too, wherever it stands.
#[track_caller]
fn assert_clean(where_: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for canary in ["canary", "543210987", "12345678901234567890", "18446744073709551617", "Y2FuYXJ5", "NhbmFyeS", "jYW5hcnkt"] {
        if let Some(at) = text.find(canary) {
            let near: String = text[..at].chars().rev().take(120).collect::<Vec<_>>().into_iter().rev().collect();
            panic!("{canary} is in {where_}, after {near}");
        }
    }
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}

#[test]
fn terraform_reads_the_redacted_form_of_all_that_it_wrote() {
    let Some(program) = require::program("terraform") else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("main.tf"), CONFIGURATION).unwrap();
    terraform(&program, folder.path(), &["init", "-input=false", "-backend=false"]);
    terraform(&program, folder.path(), &["apply", "-auto-approve", "-input=false"]);
    let state = folder.path().join("terraform.tfstate");
    let written = std::fs::read(&state).unwrap();

    let server = Server::start(TIGHT);
    server.ok(&["state", "push", "dev/app", state.to_str().unwrap()]);
    let full = server.leasehold(&["state", "pull", "dev/app", "--view", "full"]).output().unwrap();
    assert!(full.status.success() && full.stdout == written, "other bytes came back");
    let redacted = server.file("redacted.tfstate");
    let path = redacted.to_str().unwrap();
    let info = server.ok(&["state", "pull", "dev/app", "--view", "redacted", "--to", path, "--output", "json"]).json();
    let bytes = std::fs::read(&redacted).unwrap();
    assert_clean("the redacted state", &bytes);
    assert_eq!(info["size"], bytes.len().to_string());
    assert_eq!(info["version"]["shown_size"], bytes.len().to_string(), "the size that is told is that of the redacted form");

    // As a state file.
    let shown = terraform(&program, folder.path(), &["show", "-json", path]);
    assert_clean("what `terraform show` makes of it", &shown);
    let values = json(&shown)["values"].clone();
    let resource = |name: &str| {
        let all = values["root_module"]["resources"].as_array().unwrap();
        all.iter().find(|resource| resource["name"] == name).unwrap_or_else(|| panic!("{name} in {values}"))["values"].clone()
    };
    let shapes = resource("shapes")["input"].clone();
    assert_eq!((&shapes["string"], &shapes["flag"]), (&json!(MARK), &json!(false)));
    assert_eq!((&shapes["list"], &shapes["map"]), (&json!(["x", MARK, "y"]), &json!({ "other": 1, "port": 0 })));
    assert_eq!(shapes["set"], json!([MARK, "plain"]));
    assert_eq!((&shapes["object"], &shapes["whole"]), (&Value::Null, &Value::Null));
    assert_eq!(shapes["type"], "kept", "an attribute of that name tells of no type");
    assert_eq!(resource("shapes")["output"]["string"], MARK, "what is computed of a secret is one");
    assert_eq!(resource("all")["input"], Value::Null);
    assert_eq!(resource("keyed")["input"], Value::Null);
    let copies = resource("copies")["input"].clone();
    for name in ["url", "env", "nested", "base64", "gzip"] {
        assert_eq!(copies[name], MARK, "{name}");
    }
    assert_eq!(copies["plain"], "nothing to see");

    // As the state of another configuration.
    let reader = tempfile::tempdir().unwrap();
    std::fs::write(reader.path().join("main.tf"), READER.replace("REDACTED", path)).unwrap();
    terraform(&program, reader.path(), &["init", "-input=false"]);
    terraform(&program, reader.path(), &["apply", "-auto-approve", "-input=false"]);
    let seen = json(&terraform(&program, reader.path(), &["output", "-json", "seen"]));
    assert_clean("what another configuration sees", seen.to_string().as_bytes());
    let expected = json!({
        "string": MARK, "object": null, "tuple": null, "set": null, "map": null, "number": 0, "bool": false,
        "keyed": null, "keyed_deep": null, "keyed_map": null, "harmless": { "region": "eu-central-1", "ports": [80, 443] },
    });
    assert_eq!(seen, expected);

    // A mark on all of a resource seals all of it.
    let mut whole = json(&written);
    for resource in whole["resources"].as_array_mut().unwrap() {
        resource["instances"][0]["sensitive_attributes"] = json!([[]]);
    }
    std::fs::write(&redacted, whole.to_string()).unwrap();
    server.ok(&["state", "push", "dev/whole", path]);
    server.ok(&["state", "pull", "dev/whole", "--view", "redacted", "--to", path]);
    let shown = json(&terraform(&program, folder.path(), &["show", "-json", path]));
    let resources = shown["values"]["root_module"]["resources"].as_array().unwrap();
    assert!(resources.len() == 4 && resources.iter().all(|resource| resource["values"].is_null()), "{resources:?}");

    // Its outputs, opened, are those that Terraform prints.
    let outputs = server.ok(&["state", "outputs", "dev/app"]);
    assert!(outputs.out.contains("18446744073709551617") && outputs.out.contains("12345678901234567890"), "{}", outputs.out);
    let printed = terraform(&program, folder.path(), &["output", "-json"]);
    assert_eq!(outputs.json(), json(&printed));

    // Written back it is refused; the state is what it was.
    let higher = String::from_utf8(bytes).unwrap();
    let serial = json(higher.as_bytes())["serial"].as_u64().unwrap();
    let higher = higher.replacen(&format!("\"serial\": {serial}"), &format!("\"serial\": {}", serial + 1), 1);
    std::fs::write(&redacted, higher).unwrap();
    let back = server.leasehold(&["state", "push", "dev/app", path]).output().unwrap();
    assert!(!back.status.success() && String::from_utf8_lossy(&back.stderr).contains("[MARK_WRITTEN]"), "{back:?}");
    assert!(server.leasehold(&["state", "pull", "dev/app"]).output().unwrap().stdout == written);

    // Nothing of it is in what the server keeps, nor in skeletons once they are opened, before and after new keys.
    for _ in 0..2 {
        for (file, bytes) in files(&server.data()) {
            assert_clean(&file.display().to_string(), &bytes);
        }
        let (skeletons, whole) = opened(&server.data(), &server.data().join("leasehold.db"), &server.file(""));
        assert!(skeletons.len() >= 4 && String::from_utf8_lossy(&whole).contains("canary"), "{:?}", skeletons.keys());
        skeletons.iter().for_each(|(place, text)| assert_clean(place, text));
        server.ok(&["keys", "reencrypt", "dev"]);
    }
}

#[test]
fn sealed_view_is_opened_offline_by_its_reader_alone() {
    let server = Server::start(TIGHT);
    let document = b"{ \"password\" : \"canary-12-34\" }\n \n";
    let (file, key) = (server.file("document"), server.file("key.txt"));
    std::fs::write(&file, document).unwrap();
    server.ok(&["state", "push", "dev/app", file.to_str().unwrap()]);
    let recipient = leasehold::secrets::identities::generate_file(&key).unwrap();
    let (sealed, key) = (server.file("sealed"), key.to_str().unwrap().to_owned());
    let sealed = sealed.to_str().unwrap();
    server.ok(&["state", "pull", "dev/app", "--view", "sealed", "--recipient", &recipient, "--to", sealed]);
    assert_clean("the sealed view", &std::fs::read(sealed).unwrap());
    let signer = server.ok(&["env", "show", "dev", "--output", "json"]).json()["signer"].as_str().unwrap().to_owned();
    // The server is not asked.
    let mut offline = crate::process::leasehold(&["unseal", "-i", &key, "--trust", &signer, sealed]);
    let opened = offline.output().unwrap();
    assert!(opened.status.success() && opened.stdout == document, "{opened:?}");
    let told = String::from_utf8(opened.stderr).unwrap();
    assert!(told.contains("state: dev/app") && told.contains("version: 1, etag ") && told.contains(&signer), "{told}");
    assert!(!told.contains("warning"), "the file is its owner's: {told}");
}
