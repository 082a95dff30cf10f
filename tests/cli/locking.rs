//! The passphrase of the master key, asked without echo or read from a file; and the keys of a new data folder.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::fake::FakeServer;
use crate::process::{end, leasehold};
use crate::terminal::Terminal;

fn private(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    file.display().to_string()
}

#[test]
fn passphrase_is_asked_without_echo() {
    let server = FakeServer::start();
    let mut terminal = Terminal::start(server.leasehold(&["unlock"]));
    terminal.shows("Passphrase of the master key:");
    terminal.press("correct horse\r");
    let left = terminal.leave();
    assert!(left.status.success(), "{}", left.screen);
    assert!(!left.screen.contains("horse") && !left.out.contains("horse"), "{}", left.screen);
}

#[test]
fn passphrase_is_asked_again_when_the_master_key_is_fetched_again() {
    let server = FakeServer::start();
    let mut terminal = Terminal::start(server.leasehold(&["keys", "rewrap", "--master"]));
    terminal.shows("Passphrase of the master key:");
    terminal.press("correct horse\r");
    let left = terminal.leave();
    assert!(!left.screen.contains("horse") && !left.out.contains("horse"), "{}", left.screen);
    end(&mut server.leasehold(&["keys", "rewrap", "--master"])).fails_with(2, "no terminal to ask", "--passphrase-file");
    let other = end(&mut server.leasehold(&["keys", "rewrap", "dev", "--passphrase-file", "pass"]));
    assert!(other.code == 2 && other.err.contains("--master"), "{}", other.err);
}

#[test]
fn passphrase_comes_from_a_file_that_others_cannot_read() {
    let server = FakeServer::start();
    let folder = tempfile::tempdir().unwrap();
    end(&mut server.leasehold(&["unlock"])).fails_with(2, "no terminal to ask", "--passphrase-file");
    let file = private(folder.path(), "pass", "correct horse\nsecond line");
    let ended = end(&mut server.leasehold(&["unlock", "--passphrase-file", &file]));
    assert_eq!((ended.code, ended.out.as_str()), (0, ""), "{}", ended.err);
    let wrong = private(folder.path(), "wrong", "wrong horse\n");
    end(&mut server.leasehold(&["unlock", "--passphrase-file", &wrong])).fails_with(3, "[MASTER_UNAVAILABLE]", "try again");
    let empty = private(folder.path(), "empty", "\ncorrect horse");
    end(&mut server.leasehold(&["unlock", "--passphrase-file", &empty])).fails_with(2, "empty", "first line");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    end(&mut server.leasehold(&["unlock", "--passphrase-file", &file])).fails_with(2, "open to everybody", "chmod 600");
}

#[test]
fn init_makes_a_master_key_once_and_shows_only_its_recipient() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let ended = end(&mut leasehold(&["init", "--data-dir", &data, "--output", "json"]));
    let made = ended.json();
    let (file, recipient) = (made["master_key"].as_str().unwrap(), made["recipient"].as_str().unwrap());
    let text = std::fs::read_to_string(file).unwrap();
    let secret = text.lines().find(|line| line.starts_with("AGE-SECRET-KEY-1")).unwrap();
    assert!(recipient.starts_with("age1") && ended.err.contains("back up this file"), "{}", ended.err);
    assert!(!ended.out.contains(secret) && !ended.err.contains(secret));
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    end(&mut leasehold(&["init", "--data-dir", &data])).fails_with(1, "exists: nothing was made", "another --data-dir");
    let pass = private(folder.path(), "pass", "correct horse");
    let again = end(&mut leasehold(&["init", "--data-dir", &data, "--passphrase", "--passphrase-file", &pass]));
    again.fails_with(1, "exists: nothing was made", "another --data-dir");
    assert_eq!(std::fs::read_to_string(file).unwrap(), text, "never overwritten");
}

#[test]
fn init_makes_a_key_that_its_passphrase_opens() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let pass = private(folder.path(), "pass", "correct horse\n");
    let ended =
        end(&mut leasehold(&["init", "--data-dir", &data, "--passphrase", "--passphrase-file", &pass, "--output", "json"]));
    let made = ended.json();
    let file = made["master_key"].as_str().unwrap();
    assert!(std::fs::read_to_string(file).unwrap().starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));
    assert!(ended.err.contains("[master]") && ended.err.contains(&format!("encrypted = \"{file}\"")), "{}", ended.err);
    let source = leasehold::service::MasterSource::Passphrase { file: file.into(), passphrase: None };
    let opened = source.load(Some("correct horse")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(opened.recipient().to_string(), made["recipient"].as_str().unwrap());
}
