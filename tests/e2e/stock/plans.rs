//! Plans that are saved, and applied elsewhere. Somewhere else is another folder with its own environment; there is one token to a server yet,
//! so it is the same one here. `proxy::terraform` has other tokens: each `run` makes its own.

use super::seen::{current, document, drafts, versions};
use super::work::{Tool, Work};
use crate::rig::{Server, TIGHT};

with_each_tool!(plan_is_applied_from_another_folder, plan_that_somebody_overtook_is_stale);

const STATE: &str = "dev/app";
const CONFIGURATION: &str = r#"
variable "name" { default = "one" }
resource "terraform_data" "app" { input = var.name }
output "name" { value = terraform_data.app.output }
"#;

fn plan_is_applied_from_another_folder(tool: &Tool) {
    let server = Server::start(TIGHT);
    let (planner, applier) = (Work::new(tool, &server, STATE, CONFIGURATION), Work::new(tool, &server, STATE, CONFIGURATION));
    for (serial, name) in [(1, "one"), (2, "two")] {
        planner.ok(&["plan", "-out=saved", &format!("-var=name={name}")]);
        std::fs::copy(planner.path("saved"), applier.path("saved")).unwrap();
        applier.ok(&["apply", "saved"]);
        assert_eq!(current(&server, STATE).serial, serial);
        assert_eq!(planner.ok(&["output", "-raw", "name"]), name);
    }
    let stale = applier.fails(&["apply", "saved"]);
    assert!(stale.contains("Saved plan is stale"), "{stale}");
    assert_eq!(versions(&server, STATE).len(), 2);
}

fn plan_that_somebody_overtook_is_stale(tool: &Tool) {
    let server = Server::start(TIGHT);
    let (work, other) = (Work::new(tool, &server, STATE, CONFIGURATION), Work::new(tool, &server, STATE, CONFIGURATION));
    work.ok(&["plan", "-out=first"]);
    other.ok(&["apply", "-auto-approve"]);
    assert!(work.fails(&["apply", "first"]).contains("Saved plan"), "it was made for a state that was not there yet");
    work.ok(&["plan", "-out=second", "-var=name=two"]);
    other.ok(&["apply", "-auto-approve", "-var=name=three"]);
    let theirs = document(&server, STATE);
    assert!(work.fails(&["apply", "second"]).contains("Saved plan is stale"));
    // A rollback is a version as any other: it does not make the plan good again.
    server.ok(&["state", "rollback", STATE, "--to", "1"]);
    assert!(work.fails(&["apply", "second"]).contains("Saved plan is stale"));
    assert_eq!(work.ok(&["output", "-raw", "name"]), "one");
    let back = current(&server, STATE);
    assert_eq!((back.number, back.serial), (3, 3));
    assert!(document(&server, STATE) != theirs && drafts(&server, STATE).is_empty());
    work.ok(&["plan", "-out=third", "-var=name=two"]);
    work.ok(&["apply", "third"]);
    assert_eq!((other.ok(&["output", "-raw", "name"]).as_str(), current(&server, STATE).serial), ("two", 4));
}
