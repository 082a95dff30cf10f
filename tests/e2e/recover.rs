//! Break-glass: a database, or a backup of one, and a recovery identity give everything back, without a server and its master key.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use leasehold::client::WriteAsk;

use crate::process::{Ended, end, leasehold};
use crate::rig::{Server, TIGHT, Writer};

/// What was written, by the file that it is recovered to.
type Written = BTreeMap<PathBuf, Vec<u8>>;

fn terraform(serial: u64, password: &str) -> Vec<u8> {
    format!(
        "{{\"version\": 4, \"terraform_version\": \"1.11.4\", \"serial\": {serial}, \"lineage\": \"l\",\n \"outputs\": {{\"password\": \
         {{\"value\": \"{password}\", \"type\": \"string\", \"sensitive\": true}}}}, \"resources\": [] }}  \n"
    )
    .into_bytes()
}

/// Versions, drafts, a purged version, a deleted state, a state that only has a draft left, and a large document.
async fn write_everything(server: &Server) -> Written {
    let client = server.client();
    let mut written = Written::new();
    let mut put = |file: String, bytes: &[u8]| drop(written.insert(PathBuf::from(file), bytes.to_vec()));
    let app = Writer::of(&client, "dev/net/app").await;
    for serial in 1..=4 {
        let document = terraform(serial, &format!("Rösti-{serial}-with-cheese"));
        app.write(&document).await;
        if serial != 2 {
            put(format!("dev/net/app/v{serial}.json"), &document);
        }
    }
    assert_eq!(client.purge("dev/net/app", Some(2)).await.unwrap(), 1);
    let late = terraform(9, "late and refused");
    let (draft, _) = app.draft(&late).await;
    put(format!("dev/net/app/draft-{draft}.json"), &late);
    let gone = Writer::of(&client, "dev/gone").await;
    gone.write(b"[1, 2]").await;
    put("dev/gone/v1.json".to_owned(), b"[1, 2]");
    client.delete_state(&gone.lease, &WriteAsk::default()).await.unwrap();
    // A new life of the name has another state and another key.
    gone.write(b"[3]").await;
    put("dev/gone/v3.json".to_owned(), b"[3]");
    client.create_environment("prod", leasehold::pb::v1::Settings::default(), vec![recipient(server)]).await.unwrap();
    let large = Writer::of(&client, "prod/large").await;
    let noise: String = (0..40_000_u64).map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let document = format!("{{\"private_key\": \"{noise}\", \"text\": \"{}\"}}", noise.repeat(2)).into_bytes();
    large.write(&document).await;
    put("prod/large/v1.json".to_owned(), &document);
    written
}

/// The recipient of the key that `serve --dev` made.
fn recipient(server: &Server) -> String {
    let text = std::fs::read_to_string(server.data().join("recovery.key")).unwrap();
    let identity: age::x25519::Identity = text.lines().find(|line| line.starts_with("AGE")).unwrap().parse().unwrap();
    identity.to_public().to_string()
}

fn recover(database: &Path, identity: &Path, to: &Path, more: &[&str]) -> Ended {
    let mut command = leasehold(&["recover", "--output", "json", "--database"]);
    command.arg(database).arg("--identity").arg(identity).arg("--to").arg(to).args(more);
    end(&mut command)
}

/// All files below a folder, with their bytes, which only their owner can read.
fn files(folder: &Path) -> Written {
    let mut found = Written::new();
    let mut open = vec![folder.to_owned()];
    while let Some(inside) = open.pop() {
        for entry in std::fs::read_dir(inside).unwrap() {
            let (path, about) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
            assert_eq!(about.permissions().mode() & 0o077, 0, "{}", path.display());
            match about.is_dir() {
                true => open.push(path),
                false => drop(found.insert(path.strip_prefix(folder).unwrap().to_owned(), std::fs::read(&path).unwrap())),
            }
        }
    }
    found
}

fn without_drafts(written: &Written) -> Written {
    let is_draft = |file: &Path| file.file_name().unwrap().to_str().unwrap().starts_with("draft-");
    written.iter().filter(|(file, _)| !is_draft(file)).map(|(file, bytes)| (file.clone(), bytes.clone())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recovery_identity_opens_everything_of_a_database_that_is_only_read() {
    let mut server = Server::start(TIGHT);
    let written = write_everything(&server).await;
    server.kill();
    let database = server.data().join("leasehold.db");
    assert!(std::fs::metadata(server.data().join("leasehold.db-wal")).unwrap().len() > 0, "the log has to be read too");
    // What a restored backup is: the database and its log, nothing else, on a medium that cannot be written.
    let backup = server.file("backup");
    std::fs::create_dir(&backup).unwrap();
    for name in ["leasehold.db", "leasehold.db-wal"] {
        std::fs::copy(server.data().join(name), backup.join(name)).unwrap();
        std::fs::set_permissions(backup.join(name), PermissionsExt::from_mode(0o400)).unwrap();
    }
    std::fs::set_permissions(&backup, PermissionsExt::from_mode(0o500)).unwrap();
    let identity = server.file("recovery.key");
    std::fs::copy(server.data().join("recovery.key"), &identity).unwrap();
    let before = files(&backup);
    let to = server.file("all");
    let ended = recover(&backup.join("leasehold.db"), &identity, &to, &["--drafts"]);
    let rows = ended.json();
    assert_eq!(rows.as_array().unwrap().len(), written.len());
    assert_eq!(files(&to), written, "the very bytes, and no other file");
    assert_eq!(files(&backup), before, "the backup was touched");
    for said in
        ["7 documents written, 0 not", "1 deletions", "1 purged", "not authenticated", "environment prod has the identities age1"]
    {
        assert!(ended.err.contains(said), "{said}: {}", ended.err);
    }
    std::fs::set_permissions(&backup, PermissionsExt::from_mode(0o700)).unwrap();

    // Again into the same folder: what is there stays as it is.
    std::fs::write(to.join("dev/gone/v1.json"), "mine").unwrap();
    let again = recover(&database, &identity, &to, &["--drafts"]);
    assert_eq!(again.code, 1);
    assert_eq!(std::fs::read(to.join("dev/gone/v1.json")).unwrap(), b"mine");
    // Without drafts they are counted.
    let to = server.file("versions");
    let ended = recover(&database, &identity, &to, &[]);
    assert_eq!((ended.code, files(&to)), (0, without_drafts(&written)), "{}", ended.err);
    assert!(ended.err.contains("1 drafts left out"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recovery_takes_one_state_or_version_also_beside_a_running_server() {
    let server = Server::start(TIGHT);
    let written = write_everything(&server).await;
    let (database, identity) = (server.data().join("leasehold.db"), server.data().join("recovery.key"));
    let to = server.file("one");
    let one = recover(&database, &identity, &to, &["--state", "dev/net/app", "--version", "3"]);
    assert_eq!(one.code, 0, "{}", one.err);
    let expected = PathBuf::from("dev/net/app/v3.json");
    assert_eq!(files(&to), Written::from([(expected.clone(), written[&expected].clone())]));
    for missing in [vec!["--state", "dev/nothing"], vec!["--state", "dev/net/app", "--version", "77"]] {
        let ended = recover(&database, &identity, &server.file("none"), &missing);
        assert_eq!(ended.code, 4, "{}", ended.err);
    }
    assert_eq!(recover(&database, &identity, &to, &["--state", "dev"]).code, 2);
    assert_eq!(recover(&database, &identity, &to, &["--version", "1"]).code, 2);
    server.ok(&["env", "list"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_identities_and_other_files_give_nothing() {
    let server = Server::start(TIGHT);
    write_everything(&server).await;
    let (database, to) = (server.data().join("leasehold.db"), server.file("none"));
    let other = server.file("other");
    assert_eq!(end(leasehold(&["init", "--data-dir"]).arg(&other)).code, 0);
    let ended = recover(&database, &other.join("master.key"), &to, &["--drafts"]);
    assert_eq!((ended.code, files(&to)), (1, Written::new()), "{}", ended.err);
    assert!(ended.err.contains("0 documents written, 7 not"), "{}", ended.err);
    assert!(ended.err.contains(&format!("made to be recovered by {}", recipient(&server))), "{}", ended.err);
    let readable = server.file("readable.key");
    std::fs::copy(server.data().join("recovery.key"), &readable).unwrap();
    std::fs::set_permissions(&readable, PermissionsExt::from_mode(0o644)).unwrap();
    recover(&database, &readable, &to, &[]).fails_with(1, "others can read", "");
    recover(&server.data().join("recovery.key"), &server.data().join("recovery.key"), &to, &[]).fails_with(
        1,
        "not a leasehold database",
        "",
    );
    assert_eq!(files(&to), Written::new());
}
