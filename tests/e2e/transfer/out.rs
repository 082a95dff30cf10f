//! States into files.

use std::os::unix::fs::PermissionsExt;

use super::{LINEAGE, SECRET, document, export, import, told, write};
use crate::rig::{Server, TIGHT};

#[test]
fn export_writes_whole_files_of_the_owner_and_overwrites_nothing_by_itself() {
    let server = Server::start(TIGHT);
    let from = server.file("from/terraform.tfstate");
    write(&from, document(LINEAGE, 4));
    write(&server.file("from/terraform.tfstate.backup"), document(LINEAGE, 3));
    import(&server, &["dev/app", from.to_str().unwrap()]).json();

    let to = server.file("to/new/terraform.tfstate");
    let (path, folder) = (to.to_str().unwrap(), to.parent().unwrap());
    assert_eq!(told(&export(&server, &["dev/app", path]), &["version", "serial", "what"]), ["2 4 written"]);
    assert!(std::fs::read(&to).unwrap() == document(LINEAGE, 4));
    assert_eq!(to.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 1, "something lies beside it");
    assert_eq!(told(&export(&server, &["dev/app", path]), &["what"]), ["there"]);

    // Something else is there.
    let others = document(LINEAGE, 99);
    write(&to, &others);
    let refused = export(&server, &["dev/app", path]);
    refused.fails_with(5, "is there already, and is something else", "--force");
    assert!(!refused.err.contains(SECRET));
    let planned = export(&server, &["dev/app", path, "--dry-run"]);
    assert!(planned.code == 5 && planned.out.contains("\"conflict\""), "{}{}", planned.out, planned.err);
    assert!(std::fs::read(&to).unwrap() == others);
    assert_eq!(told(&export(&server, &["dev/app", path, "--force"]), &["what"]), ["written"]);
    assert!(std::fs::read(&to).unwrap() == document(LINEAGE, 4));

    // The past of another export is not left to be taken for that of this one.
    assert_eq!(told(&export(&server, &["dev/app", path, "--history"]), &["what"]), ["written", "there"]);
    let past = folder.join("terraform.tfstate.history/00000001");
    assert!(std::fs::read(&past).unwrap() == document(LINEAGE, 3));
    let refused = export(&server, &["dev/app", path]);
    refused.fails_with(5, "is there already", "--force");
    assert!(refused.err.contains("in the way: ") && past.exists());
    export(&server, &["dev/app", path, "--force"]).json();
    assert!(!past.exists());
}

#[test]
fn export_of_what_is_not_there_or_to_where_nothing_can_be_says_so() {
    let server = Server::start(TIGHT);
    let file = server.file("x");
    let path = file.to_str().unwrap();
    export(&server, &["dev/none", path]).fails_with(4, "[STATE_NOT_FOUND]", "state list");
    export(&server, &["dev/none", "-"]).fails_with(2, "goes to files", "leasehold state pull");
    export(&server, &["dev", path, "--workspaces"]).fails_with(4, "no state below dev can become a workspace", "state list");
    write(&server.file("in"), document(LINEAGE, 1));
    import(&server, &["dev/terraform.tfstate", server.file("in").to_str().unwrap()]).json();
    export(&server, &["dev", path, "--workspaces"]).fails_with(1, "cannot be a workspace", "one by one");
    std::fs::create_dir(&file).unwrap();
    export(&server, &["dev/terraform.tfstate", path]).fails_with(1, "is not a file", "name a file");
    let below = server.file("in/below");
    export(&server, &["dev/terraform.tfstate", below.to_str().unwrap()]).fails_with(1, "cannot be", "check the path");
    assert!(file.read_dir().unwrap().next().is_none());
}
