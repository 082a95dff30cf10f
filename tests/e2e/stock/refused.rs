//! What a tool may not write is kept twice: in its `errored.tfstate`, and as a draft. Either way it gets in.

use std::time::Duration;

use serde_json::Value;

use super::gate::Gate;
use super::seen::{current, document, drafts, versions};
use super::work::{HELD, Running, Tool, Work};
use crate::rig::{Server, TIGHT};

with_each_tool!(
    refused_state_is_pushed_while_nobody_wrote_in_between,
    refused_state_is_promoted_when_somebody_wrote_in_between,
    write_without_a_lock_is_refused_beside_a_holder_and_pushed_later,
    write_without_a_lock_is_taken_where_the_environment_says_so,
);

const STATE: &str = "dev/app";
const APPLY: &[&str] = &["apply", "-auto-approve"];
const BASE: &str = "resource \"terraform_data\" \"base\" {}\n";

fn base_and(more: &str) -> String {
    format!("{BASE}{more}")
}

fn slow() -> String {
    base_and(&format!("resource \"terraform_data\" \"slow\" {{{HELD}}}\n"))
}

/// An apply under way whose lock somebody has forced.
fn forced(server: &Server, work: &Work) -> Running {
    let applying = work.start_held(APPLY);
    let lock = &super::seen::holders(server, STATE)[0];
    work.ok(&["force-unlock", "-force", lock["session"].as_str().unwrap()]);
    applying
}

/// The one draft there is, for this reason. It has what the file has; only the serial is one higher in OpenTofu's file.
#[track_caller]
fn kept(server: &Server, work: &Work, reason: &str) -> String {
    let drafts = drafts(server, STATE);
    let [draft] = drafts.as_slice() else { panic!("{drafts:?}") };
    assert_eq!(draft["reason"], reason);
    let id = draft["draft"].as_str().unwrap().to_owned();
    let kept: Value = server.ok(&["state", "pull", STATE, "--draft", &id]).json();
    let mut file: Value = serde_json::from_slice(&std::fs::read(work.path("errored.tfstate")).unwrap()).unwrap();
    let ahead = file["serial"].as_u64().unwrap() - kept["serial"].as_u64().unwrap();
    assert!(ahead <= 1, "{ahead}");
    file["serial"] = kept["serial"].clone();
    assert_eq!(kept, file);
    id
}

fn refused_state_is_pushed_while_nobody_wrote_in_between(tool: &Tool) {
    let server = Server::start(TIGHT);
    server.lock_delay(Duration::ZERO);
    let work = Work::new(tool, &server, STATE, BASE);
    work.ok(APPLY);
    let before = document(&server, STATE);
    work.configure(&slow());
    let applying = forced(&server, &work);
    work.let_go();
    let refused = applying.fails();
    assert!(refused.contains("HTTP error: 409") && refused.contains("state push errored.tfstate"), "{refused}");
    assert_eq!(document(&server, STATE), before, "it changed nothing");
    kept(&server, &work, "LEASE_LOST");
    work.ok(&["state", "push", "errored.tfstate"]);
    let pushed = current(&server, STATE);
    assert!(pushed.number == 2 && pushed.serial > 1, "{pushed:?}");
    assert!(work.ok(&["plan"]).contains("No changes"), "nothing was lost");
}

fn refused_state_is_promoted_when_somebody_wrote_in_between(tool: &Tool) {
    let server = Server::start(TIGHT);
    server.lock_delay(Duration::ZERO);
    let work = Work::new(tool, &server, STATE, BASE);
    work.ok(APPLY);
    work.configure(&slow());
    let other = Work::new(tool, &server, STATE, &base_and("resource \"terraform_data\" \"other\" {}\n"));
    let applying = forced(&server, &work);
    other.ok(APPLY);
    let theirs = document(&server, STATE);
    work.let_go();
    applying.fails();
    assert_eq!(document(&server, STATE), theirs, "the other's state stands");
    let draft = kept(&server, &work, "LEASE_LOST");
    // OpenTofu would push it, over what the other wrote: its file has a higher serial.
    if !tool.is_opentofu() {
        assert!(work.fails(&["state", "push", "errored.tfstate"]).contains("serial"), "the tool itself refuses");
    }
    let diff = server.ok(&["state", "drafts", "diff", STATE, &draft]).out;
    assert!(diff.contains("terraform_data.slow") && diff.contains("terraform_data.other"), "{diff}");
    server.ok(&["state", "drafts", "promote", STATE, &draft]);
    let promoted = current(&server, STATE);
    assert_eq!((promoted.number, promoted.serial), (3, 3), "the serial is raised to follow");
    assert!(work.ok(&["plan"]).contains("No changes"));
    work.ok(&["apply", "-auto-approve", "-replace=terraform_data.base"]);
    assert_eq!(current(&server, STATE).serial, 4, "the tool goes on from there");
}

/// Who holds is a plan, so nothing is written in between.
fn write_without_a_lock_is_refused_beside_a_holder_and_pushed_later(tool: &Tool) {
    let server = Server::start(TIGHT);
    let work = Work::new(tool, &server, STATE, BASE);
    work.ok(APPLY);
    let gate = Gate::closed();
    let plan = Work::new(tool, &server, STATE, &gate.configuration());
    let planning = plan.start(&["plan"]);
    gate.arrived(1);
    work.configure(&base_and("resource \"terraform_data\" \"more\" {}\n"));
    // Allowed or not: beside a holder nobody writes without a lock.
    server.ok(&["env", "set", "dev", "--write-without-lock", "true"]);
    let refused = work.fails(&["apply", "-auto-approve", "-lock=false"]);
    assert!(refused.contains("HTTP error: 423"), "{refused}");
    kept(&server, &work, "LEASE_HELD");
    gate.open();
    planning.ok();
    work.ok(&["state", "push", "errored.tfstate"]);
    assert_eq!(current(&server, STATE).number, 2);
    assert!(work.ok(&["plan"]).contains("No changes"));
}

fn write_without_a_lock_is_taken_where_the_environment_says_so(tool: &Tool) {
    let server = Server::start(TIGHT);
    server.ok(&["env", "set", "dev", "--write-without-lock", "false"]);
    let work = Work::new(tool, &server, STATE, BASE);
    let without = ["apply", "-auto-approve", "-lock=false"];
    assert!(work.fails(&without).contains("HTTP error: 423"));
    kept(&server, &work, "LEASE_REQUIRED");
    assert_eq!(versions(&server, STATE), []);
    std::fs::remove_file(work.path("errored.tfstate")).unwrap();
    server.ok(&["env", "set", "dev", "--write-without-lock", "true"]);
    work.ok(&without);
    assert_eq!(current(&server, STATE).number, 1);
}
