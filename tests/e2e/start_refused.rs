//! A data folder that cannot be used is left as it is, and the message says what to do.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::process::{Ended, end, leasehold};
use crate::rig::{Server, TIGHT};

/// `serve` fails with 1, says `what`, and leaves the file as it was.
#[track_caller]
fn refuses(data: &Path, what: &str) -> Ended {
    let file = data.join("leasehold.db");
    let before = std::fs::read(&file).ok();
    let ended = end(leasehold(&["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data));
    assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{}", ended.err);
    assert!(ended.err.starts_with("error: ") && ended.err.contains(what), "{}", ended.err);
    assert!(std::fs::read(&file).ok() == before, "the file was touched");
    ended
}

#[test]
fn data_folder_of_a_running_server_is_refused() {
    let server = Server::start(TIGHT);
    refuses(&server.data(), "another server");
    server.ok(&["env", "list"]);
}

#[test]
fn data_folder_from_the_future_is_refused() {
    let mut server = Server::start(TIGHT);
    server.stop();
    let file = server.data().join("leasehold.db");
    let database = rusqlite::Connection::open(&file).unwrap();
    let known: i64 = database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    database.execute_batch("PRAGMA user_version = 9999; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(database);
    refuses(&server.data(), "9999");
    let database = rusqlite::Connection::open(&file).unwrap();
    database.pragma_update(None, "user_version", known).unwrap();
    drop(database);
    server.restart();
}

#[test]
fn file_that_is_not_ours_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("leasehold.db"), b"a shopping list\n").unwrap();
    refuses(folder.path(), "leasehold.db");
    let folder = tempfile::tempdir().unwrap();
    let database = rusqlite::Connection::open(folder.path().join("leasehold.db")).unwrap();
    database.execute_batch("CREATE TABLE shopping (item TEXT)").unwrap();
    drop(database);
    refuses(folder.path(), "leasehold.db");
}

#[test]
fn database_put_back_from_a_copy_is_refused_until_it_is_accepted() {
    let mut server = Server::start(TIGHT);
    server.stop();
    let (file, copy) = (server.data().join("leasehold.db"), server.file("copy.db"));
    std::fs::copy(&file, &copy).unwrap();
    server.restart();
    let run = |server: &Server| server.ok(&["run", "--state", "dev/app", "--", "sh", "-c", "echo $LEASEHOLD_FENCE"]).out;
    let before: u64 = run(&server).trim().parse().unwrap();
    server.stop();
    std::fs::copy(&copy, &file).unwrap();
    refuses(&server.data(), "danger-accept-rollback");
    server.start_as(|command| _ = command.arg("--danger-accept-rollback"));
    let after: u64 = run(&server).trim().parse().unwrap();
    assert!(after > before, "token {after} after {before}: the copy does not know of the latter");
}

#[test]
fn unwritable_data_folder_is_refused() {
    if !rustix::process::geteuid().is_root() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o500)).unwrap();
        refuses(folder.path(), &folder.path().display().to_string());
        return;
    }
    // Permissions do not bind root; a folder of the kernel's that takes no files does.
    let ended = end(Command::new(env!("CARGO_BIN_EXE_leasehold")).args([
        "serve",
        "--dev",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        "/proc/self",
    ]));
    assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{}", ended.err);
    assert!(ended.err.contains("/proc/self"), "{}", ended.err);
}

#[test]
fn data_folder_that_others_can_get_at_is_refused_with_the_command_that_helps() {
    let mut server = Server::start(TIGHT);
    server.stop();
    let data = server.data();
    for name in ["", "leasehold.db", "leasehold.db-wal", "leasehold.sidecar", "leasehold.lock", "dev.env", "server.key"] {
        let path = if name.is_empty() { data.clone() } else { data.join(name) };
        if !path.exists() {
            continue;
        }
        let before = mode(&path);
        for loose in [before | 0o040, before | 0o002, before | 0o010] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(loose)).unwrap();
            let ended = refuses(&data, &path.display().to_string());
            assert_eq!(mode(&path), loose, "it was changed");
            // A key that others could read is not made good by a chmod: the message of its own says what is to be done.
            if let Some((_, fix)) = ended.err.split_once("run `").filter(|_| name != "server.key") {
                assert!(end(Command::new("sh").args(["-c", fix.split_once('`').unwrap().0])).code == 0, "{fix}");
                assert_eq!(mode(&path), before, "{}", ended.err);
            } else {
                assert_eq!(name, "server.key", "{}", ended.err);
                std::fs::set_permissions(&path, PermissionsExt::from_mode(before)).unwrap();
            }
        }
    }
    server.restart();
    server.ok(&["env", "list"]);
}

#[test]
fn data_folder_is_private_whatever_the_umask() {
    let mut server = Server::stopped(TIGHT);
    server.start_under("umask 000");
    server.ok(&["run", "--state", "dev/app", "--", "true"]);
    let data = server.data();
    assert_eq!(mode(&data), 0o700);
    let files: Vec<_> = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 8, "{files:?}");
    let modes: Vec<_> = files.iter().map(|file| (file.file_name().unwrap(), format!("{:o}", mode(file)))).collect();
    assert!(modes.iter().all(|(_, mode)| mode == "600"), "{modes:?}");
}

#[test]
fn init_makes_a_private_folder_and_refuses_a_loose_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let init = |data: &Path| end(leasehold(&["init", "--data-dir"]).arg(data));
    assert_eq!(init(&data).code, 0);
    assert_eq!(mode(&data), 0o700);
    let loose = folder.path().join("loose");
    std::fs::create_dir(&loose).unwrap();
    std::fs::set_permissions(&loose, PermissionsExt::from_mode(0o755)).unwrap();
    let ended = init(&loose);
    assert!(ended.code == 1 && ended.err.contains("chmod 700"), "{}", ended.err);
    assert_eq!(std::fs::read_dir(&loose).unwrap().count(), 0, "a key was made where others see it");
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}
