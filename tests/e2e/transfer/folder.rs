//! A folder of workspaces, in and back out.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{LINEAGE, all, document, export, import, pulled, told, write};
use crate::rig::{Server, TIGHT};

/// Every file below a folder with its content and its mode; folders are told by what is in them.
fn tree(folder: &Path) -> Vec<(String, Vec<u8>, u32)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            found.push((name, std::fs::read(&path).unwrap(), path.metadata().unwrap().permissions().mode() & 0o777));
        }
    }
    found.sort();
    found
}

#[test]
fn workspaces_arrive_each_as_a_state_and_leave_as_they_were() {
    let server = Server::start(TIGHT);
    let folder = server.file("project");
    let files = [
        ("terraform.tfstate", document(LINEAGE, 3)),
        ("terraform.tfstate.d/eu/terraform.tfstate", document("eu", 5)),
        ("terraform.tfstate.d/eu/terraform.tfstate.history/00000001", document("eu", 4)),
        ("terraform.tfstate.d/us/terraform.tfstate", document("us", 1)),
    ];
    for (name, content) in &files {
        write(&folder.join(name), content);
    }
    write(&folder.join("main.tf"), "# no state");
    let path = folder.to_str().unwrap();

    let before = all(&server);
    let states = ["dev/net/default 3", "dev/net/eu 4", "dev/net/eu 5", "dev/net/us 1"];
    assert_eq!(told(&import(&server, &["dev/net", path, "--dry-run"]), &["state", "serial"]), states);
    assert_eq!(all(&server), before);
    assert_eq!(
        told(&import(&server, &["dev/net", path]), &["state", "serial", "what"]),
        states.map(|row| format!("{row} written"))
    );
    assert!(pulled(&server, "dev/net/eu", 1) == document("eu", 4) && pulled(&server, "dev/net/us", 0) == document("us", 1));
    assert_eq!(told(&import(&server, &["dev/net", path]), &["what"]), ["there"; 4]);

    // One that cannot be imported keeps all of them out.
    write(&folder.join("terraform.tfstate.d/ap/terraform.tfstate"), document("ap", 1));
    write(&folder.join("terraform.tfstate.d/us/terraform.tfstate"), document("us-again", 1));
    let before = all(&server);
    import(&server, &["dev/net", path]).fails_with(5, "as dev/net/us: the state there has another lineage", "another path");
    assert_eq!(all(&server), before);

    let back = server.file("back");
    let to = back.to_str().unwrap();
    let rows = told(&export(&server, &["dev/net", to, "--workspaces", "--history", "--dry-run"]), &["state", "version", "what"]);
    assert_eq!(rows, ["dev/net/default 1 new", "dev/net/eu 1 new", "dev/net/eu 2 new", "dev/net/us 1 new"]);
    assert!(!back.exists(), "a dry run wrote");
    let rows = told(&export(&server, &["dev/net", to, "--workspaces", "--history"]), &["what"]);
    assert_eq!(rows, ["written"; 4]);
    assert_eq!(tree(&back), files.map(|(name, content)| (name.to_owned(), content, 0o600)));
    assert_eq!(back.metadata().unwrap().permissions().mode() & 0o777, 0o700);

    // What left arrives again, elsewhere, as what it was.
    assert_eq!(told(&import(&server, &["dev/copy", to]), &["what"]), ["written"; 4]);
    assert!(pulled(&server, "dev/copy/eu", 2) == document("eu", 5));
    // The folder of Terraform's workspaces alone is `default`'s nothing.
    let alone = back.join("terraform.tfstate.d");
    assert_eq!(
        told(&import(&server, &["dev/alone", alone.to_str().unwrap()]), &["state"]),
        ["dev/alone/eu", "dev/alone/eu", "dev/alone/us"]
    );
}

#[test]
fn folder_that_is_in_use_or_odd_is_refused_with_what_to_do() {
    let server = Server::start(TIGHT);
    let folder = server.file("project");
    let path = folder.to_str().unwrap();
    std::fs::create_dir(&folder).unwrap();
    import(&server, &["dev", path]).fails_with(
        4,
        "neither terraform.tfstate nor workspaces",
        "the folder that Terraform was run in",
    );
    write(&folder.join("terraform.tfstate"), document(LINEAGE, 3));
    let info = folder.join(".terraform.tfstate.lock.info");
    write(&info, r#"{"ID":"i","Operation":"OperationTypeApply","Who":"ann@host"}"#);
    import(&server, &["dev", path]).fails_with(5, "is locked by ann@host (OperationTypeApply)", "wait until Terraform is done");
    std::fs::remove_file(&info).unwrap();
    write(&folder.join("terraform.tfstate.d/a b/terraform.tfstate"), document("ab", 1));
    import(&server, &["dev", path]).fails_with(1, "\"a b\" cannot be the name of a state", "under another name");
    std::fs::remove_dir_all(folder.join("terraform.tfstate.d")).unwrap();
    write(&folder.join("terraform.tfstate.d/eu/terraform.tfstate"), document("eu", 1));
    import(&server, &["dev", path, "--session", "s", "--token", "1"]).fails_with(
        2,
        "one lease is not for several states",
        "leave",
    );
    std::fs::remove_dir_all(folder.join("terraform.tfstate.d")).unwrap();
    assert_eq!(told(&import(&server, &["dev", path]), &["state", "what"]), ["dev/default written"]);
}
