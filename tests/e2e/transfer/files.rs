//! One file with its past.

use super::{LINEAGE, SECRET, all, document, export, import, pulled, told, write};
use crate::rig::{Server, TIGHT};

#[test]
fn file_arrives_with_its_past_to_the_byte_and_only_once() {
    let server = Server::start(TIGHT);
    let file = server.file("terraform.tfstate");
    let path = file.to_str().unwrap();
    write(&file, document(LINEAGE, 9));
    write(&server.file("terraform.tfstate.backup"), document(LINEAGE, 8));
    write(&server.file("terraform.tfstate.history/00000001"), document(LINEAGE, 2));

    let before = all(&server);
    let planned = import(&server, &["dev/app", path, "--dry-run"]);
    assert_eq!(told(&planned, &["state", "serial", "what"]), ["dev/app 2 new", "dev/app 8 new", "dev/app 9 new"]);
    assert_eq!(all(&server), before, "a dry run wrote");

    let done = import(&server, &["dev/app", path]);
    let rows = ["1 2 written", "2 8 written", "3 9 written"];
    assert_eq!(told(&done, &["version", "serial", "what"]), rows);
    assert!(done.json().as_array().unwrap().iter().all(|row| row["compared"] == true && row["lineage"] == LINEAGE));
    for (version, serial) in [(1, 2), (2, 8), (3, 9), (0, 9)] {
        assert!(pulled(&server, "dev/app", version) == document(LINEAGE, serial), "version {version}");
    }
    assert!(server.ok(&["state", "pull", "dev/app", "--view", "redacted"]).out.contains("\"serial\": 9"));
    assert!(!server.ok(&["state", "pull", "dev/app", "--view", "redacted"]).out.contains(SECRET), "it was sealed on its way in");

    // Again: no version, and no lease either, so that nobody is in its way.
    let held = server.ok(&["lease", "acquire", "dev/app", "--output", "json"]).json();
    let before = all(&server);
    let again = import(&server, &["dev/app", path]);
    assert_eq!(told(&again, &["version", "serial", "what"]), rows.map(|row| row.replace("written", "there")));
    assert_eq!(all(&server), before);

    // What came after is the next version; it needs the lease, which somebody has.
    write(&file, document(LINEAGE, 12));
    write(&server.file("terraform.tfstate.backup"), document(LINEAGE, 9));
    import(&server, &["dev/app", path]).fails_with(5, "[LEASE_HELD]", "--wait");
    server.ok(&[
        "lease",
        "release",
        "dev/app",
        "--session",
        held["session"].as_str().unwrap(),
        "--token",
        held["token"].as_str().unwrap(),
    ]);
    // The backup of before is gone by now: what was imported from it stays.
    assert_eq!(
        told(&import(&server, &["dev/app", path]), &["version", "serial", "what"]),
        ["1 2 there", "3 9 there", "4 12 written"]
    );
}

#[test]
fn import_of_what_is_current_leaves_the_past_where_it_is() {
    let server = Server::start(TIGHT);
    let file = server.file("one.tfstate");
    write(&file, document(LINEAGE, 9));
    write(&server.file("one.tfstate.backup"), document(LINEAGE, 8));
    let path = file.to_str().unwrap();
    assert_eq!(told(&import(&server, &["dev/app", path, "--current-only"]), &["version", "serial"]), ["1 9"]);
    // The past cannot be put before it afterwards.
    let before = all(&server);
    import(&server, &["dev/app", path]).fails_with(5, "has gone on to serial 9", "--current-only");
    assert_eq!(all(&server), before);
}

#[test]
fn state_that_is_there_is_never_taken_over() {
    let server = Server::start(TIGHT);
    let (file, other) = (server.file("a.tfstate"), server.file("b.tfstate"));
    write(&file, document(LINEAGE, 5));
    write(&other, document("another-lineage", 7));
    assert_eq!(told(&import(&server, &["dev/app", other.to_str().unwrap()]), &["what"]), ["written"]);
    let before = all(&server);
    let path = file.to_str().unwrap();
    for rewrite in [&[][..], &["--rewrite"]] {
        let refused = import(&server, &[&["dev/app", path], rewrite].concat());
        refused.fails_with(5, "cannot be imported as dev/app: the state there has another lineage", "import to another path");
        assert!(refused.err.contains("nothing was written"), "{}", refused.err);
        assert!(!refused.err.contains("another-lineage") && !refused.err.contains(SECRET), "{}", refused.err);
    }
    let planned = import(&server, &["dev/app", path, "--dry-run"]);
    assert_eq!(planned.code, 5, "{}", planned.err);
    let rows: serde_json::Value = serde_json::from_str(&planned.out).unwrap();
    assert_eq!(
        (rows[0]["what"].as_str(), rows[0]["why"].as_str()),
        (Some("conflict"), Some("the state there has another lineage"))
    );

    // The same lineage and serial with other bytes: found by reading what is there.
    let mut changed = document("another-lineage", 7);
    changed.pop();
    write(&other, changed);
    import(&server, &["dev/app", other.to_str().unwrap()]).fails_with(
        5,
        "version 1 there has its lineage and serial, and other bytes",
        "pull --version",
    );
    assert_eq!(all(&server), before);
    assert!(pulled(&server, "dev/app", 0) == document("another-lineage", 7));

    // Once it was given up, the path is free.
    server.ok(&["state", "delete", "dev/app", "--yes"]);
    assert_eq!(told(&import(&server, &["dev/app", path]), &["version", "what"]), ["3 written"]);
}

/// As a kill between two versions leaves it.
#[test]
fn import_that_was_cut_off_goes_on_where_it_was() {
    let server = Server::start(TIGHT);
    let file = server.file("terraform.tfstate");
    write(&file, document(LINEAGE, 9));
    for (name, serial) in [("1", 3), ("2", 5), ("10", 7)] {
        write(&server.file("terraform.tfstate.history").join(name), document(LINEAGE, serial));
    }
    for name in ["1", "2"] {
        let arrived = server.file("terraform.tfstate.history").join(name);
        server.ok(&["state", "push", "dev/app", arrived.to_str().unwrap()]);
    }
    let rows = told(&import(&server, &["dev/app", file.to_str().unwrap()]), &["version", "serial", "what"]);
    assert_eq!(rows, ["1 3 there", "2 5 there", "3 7 written", "4 9 written"]);
    assert!(pulled(&server, "dev/app", 3) == document(LINEAGE, 7) && pulled(&server, "dev/app", 0) == document(LINEAGE, 9));

    // What was dropped there since is known by lineage and serial, and not said to be compared.
    server.ok(&["state", "purge", "dev/app", "--version", "1", "--yes"]);
    let again = import(&server, &["dev/app", file.to_str().unwrap()]);
    assert_eq!(told(&again, &["what"]), ["there"; 4]);
    let compared: Vec<_> = again.json().as_array().unwrap().iter().map(|row| row["compared"].clone()).collect();
    assert_eq!(compared, [false, true, true, true]);
    let out = server.file("out");
    let left = export(&server, &["dev/app", out.to_str().unwrap(), "--history"]);
    assert_eq!(told(&left, &["version"]), ["2", "3", "4"]);
    assert!(left.err.contains("left out: dev/app: old versions whose bytes were dropped: 1"), "{}", left.err);
}

#[test]
fn past_that_falls_back_needs_rewrite() {
    let server = Server::start(TIGHT);
    let file = server.file("terraform.tfstate");
    write(&file, document(LINEAGE, 4));
    write(&server.file("terraform.tfstate.history/1"), document(LINEAGE, 7));
    write(&server.file("terraform.tfstate.history/2"), document("before", 1));
    let path = file.to_str().unwrap();
    import(&server, &["dev/app", path]).fails_with(5, "its lineage is another", "--rewrite");
    assert_eq!(told(&import(&server, &["dev/app", path, "--rewrite"]), &["version", "serial"]), ["1 7", "2 1", "3 4"]);
    assert_eq!(told(&import(&server, &["dev/app", path, "--rewrite"]), &["what"]), ["there"; 3]);
}

/// OpenTofu's envelope stays what it is.
#[test]
fn encrypted_state_arrives_as_it_is() {
    let server = Server::start(TIGHT);
    let file = server.file("terraform.tfstate");
    let envelope = r#"{"serial":5,"lineage":"l","meta":{},"encrypted_data":"AA==","encryption_version":"v0"}"#;
    write(&file, envelope);
    let done = import(&server, &["dev/app", file.to_str().unwrap()]).json();
    assert_eq!((&done[0]["encrypted"], &done[0]["serial"]), (&true.into(), &"5".into()));
    assert!(pulled(&server, "dev/app", 0) == envelope.as_bytes());
}
