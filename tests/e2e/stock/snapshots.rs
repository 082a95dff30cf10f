//! What an apply writes while it is under way.

use serde_json::Value;

use super::seen::{document, entries, holders, versions};
use super::work::{HELD, Tool, Work, until, with};
use crate::rig::{Server, TIGHT, now};

with_each_tool!(interrupted_apply_writes_after_every_change_and_is_one_entry);

#[test]
#[ignore = "the tools write for the first time after 20 s: `.ci/nightly` waits for that"]
fn long_apply_of_terraform() {
    with("terraform", long_apply_that_is_killed_goes_on_from_its_last_snapshot);
}

#[test]
#[ignore = "the tools write for the first time after 20 s: `.ci/nightly` waits for that"]
fn long_apply_of_opentofu() {
    with("tofu", long_apply_that_is_killed_goes_on_from_its_last_snapshot);
}

const STATE: &str = "dev/app";

/// All three are under way at once; to be interrupted kills each of the commands.
const CONFIGURATION: &str = r#"
resource "terraform_data" "app" {
  count = 3
  provisioner "local-exec" { command = "touch begun-${count.index}; while [ -e hold ]; do sleep 0.05; done" }
}
"#;

fn interrupted_apply_writes_after_every_change_and_is_one_entry(tool: &Tool) {
    let server = Server::start(TIGHT);
    let work = Work::new(tool, &server, STATE, CONFIGURATION);
    work.write("hold", "");
    let applying = work.start(&["apply", "-auto-approve"]);
    until("all have begun", || (0..3).all(|n| work.path(&format!("begun-{n}")).exists()));
    applying.interrupt();
    assert!(applying.fails().contains("execution halted"));
    let written = versions(&server, STATE);
    assert!(written.len() > 1, "{written:?}");
    assert!(written.iter().all(|version| (version.token, &version.session) == (written[0].token, &written[0].session)));
    let last = written.len() as u64;
    assert_eq!(entries(&server, STATE), [(1, last, last)], "the snapshots of one apply are one entry");
    assert_eq!(holders(&server, STATE), Vec::<Value>::new(), "it has unlocked");
    let state: Value = serde_json::from_str(&document(&server, STATE)).unwrap();
    let tainted = state["resources"][0]["instances"].as_array().unwrap().iter().filter(|one| one["status"] == "tainted");
    assert_eq!(tainted.count(), 3, "{state}");

    work.let_go();
    work.ok(&["apply", "-auto-approve"]);
    assert_eq!(entries(&server, STATE).len(), 2);
}

/// The tools write at most every 20 s, at the next change, and can only be told to do so less often.
fn long_apply_that_is_killed_goes_on_from_its_last_snapshot(tool: &Tool) {
    let server = Server::start(TIGHT);
    server.lock_delay(std::time::Duration::ZERO);
    let third = HELD.replace("begun", "begun-third").replace("hold", "hold-third");
    let staged = format!(
        "resource \"terraform_data\" \"first\" {{}}\n\
         resource \"terraform_data\" \"second\" {{\n  depends_on = [terraform_data.first]{HELD}}}\n\
         resource \"terraform_data\" \"third\" {{\n  depends_on = [terraform_data.second]{third}}}\n"
    );
    let work = Work::new(tool, &server, STATE, &staged);
    let applying = work.start_held(&["apply", "-auto-approve"]);
    let long = now() + std::time::Duration::from_secs(21);
    until("so much time goes by", || now() >= long);
    assert_eq!(versions(&server, STATE), [], "nothing changed since the first was there");
    work.write("hold-third", "");
    work.let_go();
    until("the third has begun", || work.path("begun-third").exists());
    until("it has written", || !versions(&server, STATE).is_empty());
    drop(applying);
    std::fs::remove_file(work.path("hold-third")).unwrap();
    let state: Value = serde_json::from_str(&document(&server, STATE)).unwrap();
    let names = |state: &Value| state["resources"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(&state), ["first", "second"]);
    let lock = holders(&server, STATE)[0]["session"].as_str().unwrap().to_owned();
    work.ok(&["force-unlock", "-force", &lock]);
    assert!(work.ok(&["apply", "-auto-approve"]).contains("1 added, 0 changed, 0 destroyed"), "nothing is made twice");
    assert_eq!(entries(&server, STATE).len(), 2);
}
