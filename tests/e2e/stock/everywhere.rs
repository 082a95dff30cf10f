//! States that an apply made, with secrets of every shape that a configuration can hold: what of them is anywhere in what the server keeps or says.

use super::work::{Tool, Work};
use crate::canaries::{Course, Planted};

with_each_tool!(no_secret_of_an_applied_state_is_kept_or_told);

const STATE: &str = "dev/app";

/// Each secret is `canary-NAME-` and 14 letters, by where it comes from; copies stand where nothing marks them. No `<` or `é`: those are in
/// documents of our own.
const CONFIGURATION: &str = r#"
variable "round" { default = "aaaa" }

locals {
  secret = {
    for name in ["word", "list", "map", "set", "object", "key", "nested", "url", "base", "zip", "trigger", "whole"] :
    name => sensitive("canary-${name}-${var.round}-Zq8Tn4")
  }
  open = { for name, word in local.secret : name => nonsensitive(word) }
}

resource "terraform_data" "marked" {
  input = {
    word   = local.secret.word
    list   = ["x", local.secret.list, "y"]
    map    = tomap({ a = local.secret.map, b = "fine" })
    set    = toset(["plain", nonsensitive(local.secret.set)])
    object = sensitive({ a = local.open.object, b = [1, 2] })
  }
}

resource "terraform_data" "whole" {
  input = sensitive(tomap({ a = local.open.whole }))
}

resource "terraform_data" "keyed" {
  input            = { (local.open.key) = { deep = "x" } }
  triggers_replace = { inner = local.secret.trigger }
}

resource "terraform_data" "seeds" {
  input = [local.secret.nested, local.secret.url, local.secret.base, local.secret.zip, local.secret.set]
}

resource "terraform_data" "copies" {
  input = {
    a = jsonencode({ level = jsonencode({ word = local.open.nested }) })
    b = "postgres://app:${local.open.url}@db.internal/app"
    c = base64encode("user:${local.open.base}")
    d = base64gzip("packed ${local.open.zip}")
    e = "A=1\nWORD=${local.open.word}\n"
    f = "nothing to see"
  }
}

output "word" {
  value     = "canary-output-${var.round}-Zq8Tn4"
  sensitive = true
}

output "deep" {
  value     = { list = [{ a = "canary-deep-${var.round}-Zq8Tn4" }] }
  sensitive = true
}

output "key" {
  value     = local.secret.key
  sensitive = true
}

output "keyed" {
  value = { (local.open.key) = "x", fine = "y" }
}
"#;

/// Where secrets come from, and those that are of outputs.
const INNER: [&str; 11] = ["word", "list", "map", "set", "object", "nested", "url", "base", "zip", "trigger", "whole"];
const OF_OUTPUTS: [&str; 3] = ["output", "deep", "key"];

fn core(name: &str, round: &str) -> String {
    format!("canary-{name}-{round}-Zq8Tn4")
}

fn no_secret_of_an_applied_state_is_kept_or_told(tool: &Tool) {
    let mut course = Course::start();
    let work = Work::new(tool, &course.server, STATE, CONFIGURATION);
    for round in ["aaaa", "bbbb"] {
        work.ok(&["apply", "-auto-approve", &format!("-var=round={round}")]);
    }
    // A write without a lock that is refused, and kept.
    course.server.ok(&["env", "set", "dev", "--write-without-lock", "false"]);
    let refused = work.fails(&["apply", "-auto-approve", "-lock=false", "-var=round=cccc"]);
    assert!(refused.contains("HTTP error: 423"), "{refused}");
    course.server.ok(&["env", "set", "dev", "--write-without-lock", "true"]);
    let document = course.view(STATE, &[]);
    course.provoke(STATE, &document, &core("key", "bbbb"));
    course.ask(STATE);
    course.copy("live");
    course.rotate();
    course.kill(&document);
    course.ask(STATE);
    // It goes on where it was.
    work.ok(&["apply", "-auto-approve", "-var=round=dddd"]);

    let mut planted = Vec::new();
    for round in ["aaaa", "bbbb", "cccc"] {
        for (names, is_output) in [(&INNER[..], false), (&OF_OUTPUTS, true)] {
            planted.extend(names.iter().map(|name| Planted {
                name: format!("{name} of {round}"),
                core: core(name, round),
                is_output,
            }));
        }
    }
    course.judge(&planted);
}
