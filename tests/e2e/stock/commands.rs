//! The commands of a state's life, one after the other: each is one version or none, and leaves the lock free.

use serde_json::{Value, json};

use super::seen::{current, document, drafts, holders, versions};
use super::work::{Tool, Work, address};
use crate::rig::{Server, TIGHT};

with_each_tool!(
    life_of_a_state_from_init_to_destroy,
    resources_are_moved_imported_tainted_and_removed,
    states_are_pushed_and_pulled,
);

const STATE: &str = "dev/app";

const CONFIGURATION: &str = r#"
variable "name" { default = "one" }
resource "terraform_data" "app" { input = var.name }
output "name" { value = terraform_data.app.output }
"#;

/// What is in the state, by its addresses.
fn resources(server: &Server) -> Vec<String> {
    let state: Value = serde_json::from_str(&document(server, STATE)).unwrap();
    let name = |resource: &Value| resource["name"].as_str().unwrap().to_owned();
    state["resources"].as_array().unwrap().iter().map(name).collect()
}

/// Versions and serials go on by one each.
#[track_caller]
fn is_at(server: &Server, number: u64) {
    let versions = versions(server, STATE);
    let numbers: Vec<_> = versions.iter().map(|version| (version.number, version.serial)).collect();
    assert_eq!(numbers, (1..=number).map(|n| (n, n)).collect::<Vec<_>>());
    assert!(versions.iter().all(|version| version.lineage == versions[0].lineage && version.format == "terraform"));
    assert!(versions.is_sorted_by(|one, next| one.token < next.token), "each is of a lease of its own: {versions:?}");
    assert_eq!(holders(server, STATE), Vec::<Value>::new());
}

fn life_of_a_state_from_init_to_destroy(tool: &Tool) {
    let server = Server::start(TIGHT);
    let work = Work::new(tool, &server, STATE, CONFIGURATION);
    assert!(work.ok(&["plan"]).contains("1 to add"));
    is_at(&server, 0);
    work.ok(&["apply", "-auto-approve"]);
    is_at(&server, 1);
    assert_eq!(work.ok(&["output", "-raw", "name"]), "one");
    // 2 would say that there is something to do.
    assert_eq!(work.run(&["plan", "-detailed-exitcode"]).code, 0);
    assert_eq!(work.run(&["plan", "-detailed-exitcode", "-var=name=two"]).code, 2);
    work.ok(&["apply", "-auto-approve"]);
    is_at(&server, 1);
    work.ok(&["apply", "-auto-approve", "-var=name=two"]);
    is_at(&server, 2);
    work.ok(&["apply", "-auto-approve", "-refresh-only", "-var=name=two"]);
    is_at(&server, 2);
    assert!(work.ok(&["show"]).contains("\"two\""));
    assert_eq!(work.evaluate("upper(terraform_data.app.output)").trim(), "\"TWO\"");
    assert!(work.fails(&["workspace", "new", "other"]).contains("workspaces not supported"), "one address is one state");
    work.ok(&["destroy", "-auto-approve"]);
    is_at(&server, 3);
    assert_eq!(resources(&server), Vec::<String>::new());
    work.ok(&["apply", "-auto-approve"]);
    is_at(&server, 4);
}

fn resources_are_moved_imported_tainted_and_removed(tool: &Tool) {
    let server = Server::start(TIGHT);
    let work = Work::new(tool, &server, STATE, "resource \"terraform_data\" \"first\" {}\n");
    work.ok(&["apply", "-auto-approve"]);
    work.ok(&["state", "mv", "terraform_data.first", "terraform_data.second"]);
    is_at(&server, 2);
    assert_eq!(resources(&server), ["second"]);
    work.configure("resource \"terraform_data\" \"second\" {}\nresource \"terraform_data\" \"third\" {}\n");
    work.ok(&["taint", "terraform_data.second"]);
    is_at(&server, 3);
    assert!(work.ok(&["plan"]).contains("terraform_data.second is tainted"));
    work.ok(&["untaint", "terraform_data.second"]);
    is_at(&server, 4);
    work.ok(&["import", "terraform_data.third", "by-command"]);
    is_at(&server, 5);
    assert_eq!(work.ok(&["state", "list"]).lines().collect::<Vec<_>>(), ["terraform_data.second", "terraform_data.third"]);
    work.ok(&["state", "rm", "terraform_data.third"]);
    is_at(&server, 6);
    assert_eq!(resources(&server), ["second"]);
    work.configure(
        "import {\n  to = terraform_data.third\n  id = \"by-block\"\n}\n\
         moved {\n  from = terraform_data.second\n  to = terraform_data.fourth\n}\n\
         resource \"terraform_data\" \"third\" {}\nresource \"terraform_data\" \"fourth\" {}\n",
    );
    let planned = work.ok(&["plan"]);
    assert!(planned.contains("1 to import, 0 to add"), "{planned}");
    work.ok(&["apply", "-auto-approve"]);
    is_at(&server, 7);
    assert_eq!(resources(&server), ["fourth", "third"]);
    assert!(work.ok(&["state", "show", "terraform_data.third"]).contains("by-block"));
    // Built in, but under a name that somebody else's mirror may have.
    let (from, to) = ("terraform.io/builtin/terraform", "registry.example.org/mine/terraform");
    work.ok(&["state", "replace-provider", "-auto-approve", from, to]);
    is_at(&server, 8);
    assert!(document(&server, STATE).contains(to));
}

/// A lower serial or another lineage is refused by the client itself, until it is forced: then by the server, which keeps it.
fn states_are_pushed_and_pulled(tool: &Tool) {
    let server = Server::start(TIGHT);
    let work = Work::new(tool, &server, STATE, CONFIGURATION);
    work.ok(&["apply", "-auto-approve"]);
    let old = work.ok(&["state", "pull"]);
    assert_eq!(old, document(&server, STATE) + "\n", "both tools print one line's end more");
    work.ok(&["apply", "-auto-approve", "-var=name=two"]);
    work.write("old", &old);
    assert!(work.fails(&["state", "push", "old"]).contains("serial"));
    let foreign = old.replace(&current(&server, STATE).lineage, "bab0cafe-0000-4000-8000-000000000000");
    work.write("foreign", &foreign);
    assert!(work.fails(&["state", "push", "foreign"]).contains("lineage"));
    is_at(&server, 2);
    assert_eq!(drafts(&server, STATE), Vec::<Value>::new(), "the server was not even asked");

    for (file, reason) in [("old", "SERIAL_NOT_HIGHER"), ("foreign", "LINEAGE_DIFFERS")] {
        assert!(work.fails(&["state", "push", "-force", file]).contains("409"));
        let draft = &drafts(&server, STATE)[0];
        assert_eq!(draft["reason"], reason);
        let kept = server.ok(&["state", "pull", STATE, "--draft", draft["draft"].as_str().unwrap()]);
        assert_eq!(kept.json()["resources"], serde_json::from_str::<Value>(&old).unwrap()["resources"]);
    }
    is_at(&server, 2);
    let mut next: Value = serde_json::from_str(&work.ok(&["state", "pull"])).unwrap();
    next["outputs"]["name"]["value"] = json!("pushed");
    next["serial"] = json!(7);
    work.write("next", &next.to_string());
    work.ok(&["state", "push", "next"]);
    let pushed = current(&server, STATE);
    assert_eq!((pushed.number, work.ok(&["output", "-raw", "name"]).as_str()), (3, "pushed"));
    assert!(pushed.serial >= 7, "a gap is fine: {pushed:?}");

    // Who means it says so in the address.
    let meant = work.set("TF_HTTP_ADDRESS", &format!("{}?rewrite=true", address(&server, STATE)));
    for (number, file) in [(4, "foreign"), (5, "old")] {
        meant.ok(&["state", "push", "-force", file]);
        assert_eq!((current(&server, STATE).number, meant.ok(&["output", "-raw", "name"]).as_str()), (number, "one"));
    }
    assert_eq!(holders(&server, STATE), Vec::<Value>::new());
}
