//! Every command of `docs/import.md` does what the page says, in the order of the page.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::source::{Answer, Source};
use super::{LINEAGE, document, import, pulled, told, write};
use crate::process::end;
use crate::rig::{Server, TIGHT};

const PAGE: &str = include_str!("../../../docs/import.md");

/// Stands in for Terraform with a remote backend: it lists workspaces and prints states, and knows nothing else.
const TERRAFORM: &str = "#!/bin/sh
case \"$*\" in
  'workspace list') printf '* default\\n  eu\\n\\n' ;;
  'state pull') cat \"$BUCKET/${TF_WORKSPACE:-default}\" ;;
  *) exit 9 ;;
esac
";

/// The lines of the `sh` blocks.
fn script() -> String {
    let blocks = PAGE.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.collect()
}

#[test]
fn commands_of_the_page_do_what_it_says() {
    let server = Server::start(TIGHT);
    let folder = server.file("work");
    let at = |name: &str| folder.join(name);
    for (name, content) in [
        ("terraform.tfstate", document(LINEAGE, 9)),
        ("terraform.tfstate.backup", document(LINEAGE, 8)),
        ("project/terraform.tfstate", document("net", 3)),
        ("project/terraform.tfstate.d/eu/terraform.tfstate", document("eu", 2)),
        ("bucket/default", document("bucket", 4)),
        ("bucket/eu", document("bucket-eu", 5)),
        ("bin/terraform", TERRAFORM.into()),
        ("gitlab.token", b"glpat-1\n".to_vec()),
    ] {
        write(&at(name), content);
    }
    let chmod = |name, mode| std::fs::set_permissions(at(name), PermissionsExt::from_mode(mode)).unwrap();
    chmod("bin/terraform", 0o755);
    chmod("gitlab.token", 0o600);
    let source = Source::start(|asked| match (asked.method.as_str(), asked.path.as_str(), asked.header("authorization")) {
        ("GET", "/state/web", Some("Basic YW5uOnNlY3JldA==")) => Answer::with(document("web", 6)),
        ("LOCK" | "UNLOCK", "/state/web", Some("Basic YW5uOnNlY3JldA==")) => Answer::of(200),
        ("GET", "/api/v4/projects/7/terraform/state/api", Some("Basic YW5uOmdscGF0LTE=")) => Answer::with(document("api", 7)),
        ("POST" | "DELETE", "/api/v4/projects/7/terraform/state/api/lock", Some("Basic YW5uOmdscGF0LTE=")) => Answer::of(200),
        _ => Answer::of(401),
    });
    let script = ["https://backend.example", "https://gitlab.example"].iter().fold(script(), |script, host| {
        assert!(script.contains(host), "the page has no {host} any more");
        script.replace(host, source.url("").as_str())
    });
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_leasehold")).parent().unwrap();
    let mut run = Command::new("bash");
    let environment = server.leasehold(&[]);
    run.envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
    run.env("BUCKET", at("bucket")).arg("-c").arg(format!(
        "set -eu\nPATH='{}':'{}':$PATH\n{script}",
        at("bin").display(),
        binary.display()
    ));
    let ended = end(run.current_dir(&folder));
    assert_eq!(ended.code, 0, "{}\n{}", ended.out, ended.err);

    for (state, version, content) in [
        ("dev/app", 1, document(LINEAGE, 8)),
        ("dev/app", 2, document(LINEAGE, 9)),
        ("dev/network/default", 1, document("net", 3)),
        ("dev/network/eu", 1, document("eu", 2)),
        ("dev/pulled", 1, document("bucket", 4)),
        ("dev/moved/default", 1, document("bucket", 4)),
        ("dev/moved/eu", 1, document("bucket-eu", 5)),
        ("dev/web", 1, document("web", 6)),
        ("dev/api", 1, document("api", 7)),
    ] {
        assert!(pulled(&server, state, version) == content, "{state} {version}");
    }
    assert_eq!(source.methods(), ["LOCK", "GET", "UNLOCK", "POST", "GET", "DELETE"]);
    assert!(!at("moved").exists());
    assert_eq!(std::fs::metadata(at("app.tfstate")).unwrap().permissions().mode() & 0o777, 0o600);
    // What went back is there, and is what the server has.
    assert!(std::fs::read(at("app/terraform.tfstate")).unwrap() == document(LINEAGE, 9));
    assert!(std::fs::read(at("back/terraform.tfstate")).unwrap() == document("net", 3));
    let back = at("back");
    assert_eq!(told(&import(&server, &["dev/network", back.to_str().unwrap()]), &["what"]), ["there"; 2]);
}

/// What the page says is refused is refused in these words.
#[test]
fn words_of_the_page_are_those_of_the_command() {
    let plan = include_str!("../../../src/client/transfer/plan.rs");
    let header = include_str!("../../../src/client/transfer/header.rs");
    let remote = concat!(include_str!("../../../src/client/remote/mod.rs"), include_str!("../../../src/client/remote/lock.rs"));
    let table = PAGE.split("## What is refused").nth(1).unwrap();
    let told: Vec<_> = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(told.len(), 7);
    for words in told {
        let words = words.replace("serial N", "serial {0}");
        assert!([plan, header, remote].iter().any(|source| source.contains(&words)), "no error says {words}");
    }
}
