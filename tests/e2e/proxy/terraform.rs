//! Stock Terraform under `run`, with nothing in its configuration but `backend "http" {}`.

use serde_json::Value;

use super::project::{Followed, Project, good};
use super::{Held, STATE, info};
use crate::require;
use crate::rig::{Server, TIGHT};

const CONFIGURATION: &str = r#"
variable "name" { default = "one" }
resource "terraform_data" "app" { input = var.name }
output "name" { value = terraform_data.app.output }
"#;

fn pulled(server: &Server) -> Value {
    server.ok(&["state", "pull", STATE]).json()
}

#[test]
fn terraform_lives_its_whole_life_under_run() {
    let Some(program) = require::program("terraform") else { return };
    life_under_run(&program);
}

#[test]
fn opentofu_lives_its_whole_life_under_run() {
    let Some(program) = require::program("tofu") else { return };
    life_under_run(&program);
}

fn life_under_run(program: &std::path::Path) {
    let server = Server::start(TIGHT);
    let project = Project::new(program, CONFIGURATION);
    project.init(&server);
    let run = |flags: &[&str], args: &[&str]| good(project.run(&server, flags, args));
    let planned = run(&["--mode", "shared"], &["plan", "-input=false"]);
    assert!(planned.out.contains("1 to add"), "{}", planned.out);
    run(&[], &["apply", "-auto-approve", "-input=false"]);
    let first = pulled(&server);
    assert_eq!((&first["serial"], &first["outputs"]["name"]["value"]), (&1.into(), &"one".into()));
    // A plan of one run is applied by another, with its own address and key, from another folder: those of the first are not kept.
    run(&[], &["plan", "-input=false", "-var=name=two", "-out=saved"]);
    let elsewhere = Project::new(program, CONFIGURATION);
    elsewhere.init(&server);
    std::fs::copy(project.path("saved"), elsewhere.path("saved")).unwrap();
    good(elsewhere.run(&server, &[], &["apply", "-input=false", "saved"]));
    let second = pulled(&server);
    assert_eq!((&second["lineage"], &second["outputs"]["name"]["value"]), (&first["lineage"], &"two".into()));
    assert!(run(&[], &["output", "-raw", "name"]).out.contains("two"));
    assert!(
        run(&["--mode", "shared"], &["plan", "-input=false", "-var=name=two", "-detailed-exitcode"]).out.contains("No changes")
    );
    run(&[], &["destroy", "-auto-approve", "-input=false"]);
    let destroyed = pulled(&server);
    assert_eq!((&destroyed["resources"], &destroyed["lineage"]), (&serde_json::json!([]), &first["lineage"]));
    let lock = server.ok(&["lease", "show", STATE, "--output", "json"]).json();
    assert_eq!(lock["holders"].as_array().unwrap().len(), 0, "{lock}");
}

#[test]
fn two_applies_in_one_run_keep_apart_and_two_plans_go_together() {
    let Some(program) = require::program("terraform") else { return };
    let server = Server::start(TIGHT);
    let fifo = server.file("go");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let slow = format!(
        "resource \"terraform_data\" \"slow\" {{\n  provisioner \"local-exec\" {{\n    command = \"echo working; read line < '{}'\"\n  }}\n}}\n",
        fifo.display()
    );
    let project = Project::new(&program, &slow);
    project.init(&server);
    let held = Held::start(&server, &[]);
    let mut first = Followed::start(project.child(&held.environment, &["apply", "-auto-approve", "-input=false"]));
    first.shows("(local-exec): working");
    for args in [&["apply", "-auto-approve", "-input=false"][..], &["plan", "-input=false"], &["destroy", "-auto-approve"]] {
        let refused = project.terraform(&held.environment, args);
        assert_ne!(refused.code, 0, "{}", refused.out);
        assert!(refused.err.contains("Error acquiring the state lock"), "{}", refused.err);
    }
    assert_eq!(project.terraform(&held.environment, &["plan", "-input=false", "-lock=false"]).code, 0);
    std::fs::write(&fifo, "go\n").unwrap();
    let ended = first.end();
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);

    // While somebody else plans, too.
    assert_eq!(held.ask("LOCK", "/lock", &info("p", "OperationTypePlan")).status, 200);
    let planned = project.terraform(&held.environment, &["plan", "-input=false"]);
    assert!(planned.code == 0 && planned.out.contains("No changes"), "{}{}", planned.out, planned.err);
    let refused =
        project.terraform(&held.environment, &["apply", "-auto-approve", "-input=false", "-replace=terraform_data.slow"]);
    assert!(refused.code != 0 && refused.err.contains("already locked: ID=p"), "{}{}", refused.out, refused.err);
    // What its user does then; the id is a junk one, as it often is.
    let forced = project.terraform(&held.environment, &["force-unlock", "-force", "junk"]);
    assert_eq!(forced.code, 0, "{}", forced.err);
    let destroyed = project.terraform(&held.environment, &["destroy", "-auto-approve"]);
    assert_eq!(destroyed.code, 0, "{}", destroyed.err);
    assert_eq!(held.end().code, 0, "none of it touched the lease");
    assert_eq!(pulled(&server)["resources"], serde_json::json!([]));
}

#[test]
fn apply_under_a_shared_lease_is_refused_and_says_why() {
    let Some(program) = require::program("terraform") else { return };
    let server = Server::start(TIGHT);
    let project = Project::new(&program, CONFIGURATION);
    project.init(&server);
    let mut apply = project.run(&server, &["--mode", "shared"], &["apply", "-auto-approve", "-input=false"]);
    let refused = crate::process::end(&mut apply);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("OperationTypeApply may not lock dev/app: this run has a shared lease"), "{}", refused.err);
    assert!(refused.err.contains("--mode exclusive"), "{}", refused.err);
}

#[test]
fn commands_of_one_script_share_the_lease() {
    let Some(program) = require::program("terraform") else { return };
    let server = Server::start(TIGHT);
    let project = Project::new(&program, CONFIGURATION);
    let script = "$TERRAFORM init -input=false; $TERRAFORM apply -auto-approve -input=false; $TERRAFORM state pull > pulled; \
                  $TERRAFORM state rm terraform_data.app; $TERRAFORM state push -force pulled || echo refused";
    let ended = good(project.script(&server, &[], script));
    // Terraform sends the old serial; to go back is not what the lease is for.
    assert!(ended.out.contains("refused") && ended.err.contains("[SERIAL_NOT_HIGHER]"), "{}{}", ended.out, ended.err);
    assert_eq!(pulled(&server)["resources"], serde_json::json!([]));
    let draft =
        server.ok(&["state", "drafts", "list", STATE, "--output", "json"]).json()[0]["draft"].as_str().unwrap().to_owned();
    let (kept, pushed) =
        (server.ok(&["state", "pull", STATE, "--draft", &draft]).json(), std::fs::read(project.path("pulled")).unwrap());
    assert_eq!(kept["resources"], serde_json::from_slice::<Value>(&pushed).unwrap()["resources"]);
}
