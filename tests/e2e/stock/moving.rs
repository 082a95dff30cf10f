//! States that move in, out and about, and states that other configurations read.

use serde_json::Value;

use super::seen::{current, document, holders, versions};
use super::work::{Tool, Work, address};
use crate::rig::{Server, TIGHT};

with_each_tool!(
    local_state_moves_in_and_out_again,
    state_moves_to_another_address,
    other_configurations_read_outputs_in_each_view,
);

const STATE: &str = "dev/app";
const CONFIGURATION: &str = r#"
resource "terraform_data" "app" { input = "value-of-the-resource" }
output "name" { value = terraform_data.app.id }
output "word" {
  value     = "canary-of-an-output"
  sensitive = true
}
"#;

fn local_state_moves_in_and_out_again(tool: &Tool) {
    let server = Server::start(TIGHT);
    let work = Work::bare(tool, CONFIGURATION).with_backend(&address(&server, STATE), &server.door().1);
    work.ok(&["init"]);
    work.ok(&["apply", "-auto-approve"]);
    let before: Value = serde_json::from_slice(&std::fs::read(work.path("terraform.tfstate")).unwrap()).unwrap();

    work.configure(CONFIGURATION);
    assert!(work.fails(&["plan"]).contains("init"), "it asks to be told");
    work.ok(&["init", "-migrate-state", "-force-copy"]);
    // A new lineage, which is the tools' own doing: they ask whether there is a state, and forget where theirs came from.
    assert_eq!((current(&server, STATE).number, current(&server, STATE).serial), (1, 1));
    let moved: Value = serde_json::from_str(&document(&server, STATE)).unwrap();
    assert_eq!(moved["resources"], before["resources"]);
    assert!(work.ok(&["plan"]).contains("No changes"));
    work.ok(&["apply", "-auto-approve", "-replace=terraform_data.app"]);
    assert_eq!(versions(&server, STATE).len(), 2);
    assert_eq!(holders(&server, STATE), Vec::<Value>::new());

    let last: Value = serde_json::from_str(&document(&server, STATE)).unwrap();
    std::fs::remove_file(work.path("terraform.tfstate")).unwrap();
    work.write("main.tf", CONFIGURATION);
    work.ok(&["init", "-migrate-state", "-force-copy"]);
    let local: Value = serde_json::from_slice(&std::fs::read(work.path("terraform.tfstate")).unwrap()).unwrap();
    assert_eq!((&local["resources"], &local["lineage"]), (&last["resources"], &last["lineage"]));
    assert!(work.ok(&["plan"]).contains("No changes"));
    assert_eq!(versions(&server, STATE).len(), 2, "what moved out stays in the history");
    assert_eq!(holders(&server, STATE), Vec::<Value>::new());
}

fn state_moves_to_another_address(tool: &Tool) {
    const OTHER: &str = "dev/elsewhere/app";
    let server = Server::start(TIGHT);
    let block = |state: &str| {
        let address = address(&server, state);
        format!(
            "terraform {{\n  backend \"http\" {{\n    address = \"{address}\"\n    lock_address = \"{address}\"\n    unlock_address = \"{address}\"\n  }}\n}}\n"
        )
    };
    let work = Work::bare(tool, &format!("{}{CONFIGURATION}", block(STATE)));
    let work = work.set("TF_HTTP_USERNAME", "ci").set("TF_HTTP_PASSWORD", &server.door().1);
    work.ok(&["init"]);
    work.ok(&["apply", "-auto-approve"]);
    work.write("main.tf", &format!("{}{CONFIGURATION}", block(OTHER)));
    work.ok(&["init", "-migrate-state", "-force-copy"]);
    let state = |name: &str| -> Value { serde_json::from_str(&document(&server, name)).unwrap() };
    assert_eq!(state(OTHER)["resources"], state(STATE)["resources"]);
    assert!(work.ok(&["plan"]).contains("No changes"));
    for name in [STATE, OTHER] {
        assert_eq!(holders(&server, name), Vec::<Value>::new(), "{name}");
    }
}

fn other_configurations_read_outputs_in_each_view(tool: &Tool) {
    let server = Server::start(TIGHT);
    Work::new(tool, &server, STATE, CONFIGURATION).ok(&["apply", "-auto-approve"]);
    let written: Value = serde_json::from_str(&document(&server, STATE)).unwrap();
    let reader = |address: &str| {
        let configuration = format!(
            "data \"terraform_remote_state\" \"it\" {{\n  backend = \"http\"\n  config  = {{ address = \"{address}\" }}\n}}\n\
             output \"seen\" {{\n  value = data.terraform_remote_state.it.outputs\n  sensitive = true\n}}\n"
        );
        let work = Work::bare(tool, &configuration);
        let work = work.set("TF_HTTP_USERNAME", "ci").set("TF_HTTP_PASSWORD", &server.door().1);
        work.ok(&["init"]);
        work
    };
    for (view, word) in [
        ("", "canary-of-an-output"),
        ("?view=full", "canary-of-an-output"),
        ("?view=outputs", "canary-of-an-output"),
        ("?view=redacted", leasehold::secrets::view::redacted::MARK),
    ] {
        let work = reader(&format!("{}{view}", address(&server, STATE)));
        work.ok(&["apply", "-auto-approve"]);
        let seen: Value = serde_json::from_str(&work.ok(&["output", "-json", "seen"])).unwrap();
        assert_eq!((seen["word"].as_str(), &seen["name"]), (Some(word), &written["outputs"]["name"]["value"]), "{view}");
        assert_eq!(seen.as_object().unwrap().len(), 2, "{view}");
    }
    let none = reader(&address(&server, "dev/nothing"));
    let failed = none.fails(&["plan"]);
    assert!(failed.contains("Unable to find remote state") || failed.contains("No stored state was found"), "{failed}");
}
