//! What a tool wrote is nowhere in the clear where the server keeps things, and the token is nowhere where the tool does.

use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::seen::{current, drafts};
use super::work::{Tool, Work};
use crate::canaries::{files, opened};
use crate::proxy::secrecy::unzipped;
use crate::rig::{Server, TIGHT};

with_each_tool!(no_secret_is_in_what_the_server_keeps_and_no_token_in_what_the_tool_keeps);

const STATE: &str = "dev/app";
const SECRETS: [&str; 4] = ["canary-variable-5kq", "canary-output-7zn", "canary-of-a-draft-9wf", "canary-pushed-3xt"];

/// A secret of a variable, copied to where nothing says so, and one of an output.
const CONFIGURATION: &str = r#"
variable "word" {
  type      = string
  sensitive = true
  default   = "canary-variable-5kq"
}
resource "terraform_data" "marked" { input = var.word }
resource "terraform_data" "copied" {
  input = { url = "postgres://app:${nonsensitive(var.word)}@db/app", packed = base64encode("user:${nonsensitive(var.word)}") }
}
output "word" {
  value     = "canary-output-7zn"
  sensitive = true
}
"#;

fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

/// A secret in the clear and at each alignment of base64, without the ends.
fn needles(secret: &str) -> Vec<String> {
    let encoded = (0..3).map(|shift| {
        let text = BASE64_STANDARD.encode([&b"..."[..shift], secret.as_bytes()].concat());
        text[4..text.len() - 4].to_owned()
    });
    std::iter::once(secret.to_owned()).chain(encoded).collect()
}

fn no_secret_is_in_what_the_server_keeps_and_no_token_in_what_the_tool_keeps(tool: &Tool) {
    let mut server = Server::stopped(TIGHT);
    server.start_as(|command| _ = command.env("LEASEHOLD_LOG", "debug"));
    let token = server.door().1;
    let work = Work::new(tool, &server, STATE, CONFIGURATION);
    work.ok(&["plan", "-out=saved"]);
    work.ok(&["apply", "saved"]);
    work.ok(&["apply", "-auto-approve", "-replace=terraform_data.marked"]);
    // A draft, and what is left in the folder then.
    server.ok(&["env", "set", "dev", "--write-without-lock", "false"]);
    work.fails(&["apply", "-auto-approve", "-lock=false", "-var=word=canary-of-a-draft-9wf"]);
    assert_eq!(drafts(&server, STATE).len(), 1);
    let pulled = work.ok(&["state", "pull"]).replace("canary-variable-5kq", "canary-pushed-3xt");
    work.write("pushed", &pulled);
    work.ok(&["state", "push", "-force", "pushed"]);
    assert_eq!(current(&server, STATE).number, 3);

    let kept = files(work.folder());
    for name in [".terraform/terraform.tfstate", "errored.tfstate", "saved"] {
        assert!(kept.contains_key(&work.path(name)), "{name}: {:?}", kept.keys());
    }
    for (file, bytes) in &kept {
        let inside = if file.ends_with("saved") { unzipped(bytes) } else { Vec::new() };
        assert!(!file.ends_with("saved") || inside.iter().any(|bytes| holds(bytes, "terraform_data")), "the plan was not read");
        for bytes in inside.iter().chain([bytes]) {
            assert!(!holds(bytes, &token), "the token is in {}", file.display());
        }
    }

    let live = files(&server.data());
    server.stop();
    let stopped = files(&server.data());
    assert!(stopped.keys().any(|file| file.ends_with("leasehold.db")));
    let log = (PathBuf::from("the log"), server.logged().into_bytes());
    for (file, bytes) in live.into_iter().chain(stopped).chain([log]) {
        clean(&file.display().to_string(), &bytes);
        let hands_it_out = file.ends_with("dev.env");
        assert!(hands_it_out || !holds(&bytes, &token), "the token is in {}", file.display());
    }
    // Nor in what whoever has the key of the skeletons reads, and no secret is opened for.
    let (skeletons, whole) = opened(&server.data(), &server.data().join("leasehold.db"), &server.file(""));
    assert!(skeletons.len() >= 8, "a text and its holes for each: {:?}", skeletons.keys());
    for (place, text) in &skeletons {
        clean(place, text);
    }
    for needle in SECRETS {
        assert!(holds(&whole, needle), "the test of the test: {needle} was written");
    }
}

#[track_caller]
fn clean(place: &str, bytes: &[u8]) {
    for needle in SECRETS.iter().flat_map(|secret| needles(secret)) {
        assert!(!holds(bytes, &needle), "{needle} is in {place}");
    }
}
