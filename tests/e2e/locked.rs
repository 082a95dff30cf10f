//! The master key from every source, as an operator meets it: what starts locked, what unlocks, what is refused.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use leasehold::client::Which;
use leasehold::secrets::master::create_passphrase_file_with_work_factor;

use crate::process::{end, leasehold};
use crate::rig::{Server, TIGHT, Writer, now, read};

const DOCUMENT: &[u8] = b"{\"password\": \"correct horse battery staple\"}\n";

fn private(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
}

/// A stopped server with one document, and its client.
async fn stopped() -> Server {
    let mut server = Server::start(TIGHT);
    let writer = Writer::of(&server.client(), "dev/app").await;
    writer.write(DOCUMENT).await;
    writer.release().await;
    server.stop();
    server
}

/// Documents are refused at once, however patient the client is, and leases go on.
#[track_caller]
fn is_locked(server: &Server) {
    let begin = now();
    let pull = end(&mut server.leasehold(&["state", "pull", "dev/app", "--retry-for", "10m"]));
    pull.fails_with(7, "[LOCKED]", "leasehold unlock");
    assert!(now() - begin < Duration::from_secs(20), "it was tried again and again");
    server.ok(&["run", "--state", "dev/app", "--", "true"]);
    server.ok(&["state", "history", "dev/app"]);
    let doctor = end(&mut server.leasehold(&["doctor"]));
    assert!(doctor.code == 1 && doctor.out.contains("is locked"), "{}", doctor.out);
}

async fn is_open(server: &Server) {
    assert_eq!(read(&server.client(), "dev/app", Which::Current).await.unwrap(), DOCUMENT);
    server.ok(&["doctor"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_behind_a_passphrase_needs_it_at_each_start() {
    let mut server = stopped().await;
    let (key, encrypted, pass) = (server.data().join("master.key"), server.file("master.age"), server.file("pass"));
    // An old key may move behind a passphrase: it is the text that is encrypted.
    create_passphrase_file_with_work_factor(&encrypted, "other", 2).unwrap_or_else(|error| panic!("{error}"));
    let mut recipient = age::scrypt::Recipient::new("correct horse".to_owned().into());
    recipient.set_work_factor(2);
    std::fs::write(&encrypted, age::encrypt(&recipient, &std::fs::read(&key).unwrap()).unwrap()).unwrap();
    std::fs::remove_file(&key).unwrap();
    server.set(&format!("[master]\nencrypted = {encrypted:?}\n{TIGHT}"));
    server.restart();
    is_locked(&server);
    private(&pass, "wrong horse\n");
    let unlock_with: &str = &pass.display().to_string();
    let unlock = || end(&mut server.leasehold(&["unlock", "--passphrase-file", unlock_with]));
    unlock().fails_with(3, "[MASTER_UNAVAILABLE]", "leasehold unlock");
    is_locked(&server);
    private(&pass, "correct horse\n");
    assert_eq!(unlock().code, 0);
    is_open(&server).await;
    // It fetches the master key anew, so it needs the passphrase anew.
    let rewrap = ["keys", "rewrap", "--master"];
    end(&mut server.leasehold(&rewrap)).fails_with(2, "no terminal to ask", "--passphrase-file");
    let rewrap = [&rewrap[..], &["--passphrase-file", unlock_with]].concat();
    let ended = end(&mut server.leasehold(&rewrap));
    assert!(ended.code == 0 && ended.err.contains("were wrapped to the current master key"), "{}", ended.err);
    private(&pass, "wrong horse\n");
    end(&mut server.leasehold(&rewrap)).fails_with(3, "[MASTER_UNAVAILABLE]", "leasehold unlock");
    private(&pass, "correct horse\n");
    is_open(&server).await;
    server.ok(&["lock"]);
    is_locked(&server);
    assert_eq!(unlock().code, 0);
    server.kill();
    server.restart();
    is_locked(&server);
    // A server that is told where the passphrase is starts by itself.
    server.stop();
    server.set(&format!("[master]\nencrypted = {encrypted:?}\npassphrase = {pass:?}\n{TIGHT}"));
    server.restart();
    is_open(&server).await;
    assert!(!server.logged().contains("horse"), "the log quotes a passphrase");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_from_a_command_is_there_after_a_crash() {
    let mut server = stopped().await;
    let (key, vault) = (server.data().join("master.key"), server.file("vault"));
    std::fs::rename(&key, &vault).unwrap();
    server.set(&format!("[master]\ncommand = [\"/bin/cat\", {vault:?}]\n{TIGHT}"));
    server.restart();
    is_open(&server).await;
    server.kill();
    server.restart();
    is_open(&server).await;
    server.stop();
    // What the program asks does not answer: leases need not wait for it.
    let aside = server.file("aside");
    std::fs::rename(&vault, &aside).unwrap();
    server.restart();
    is_locked(&server);
    end(&mut server.leasehold(&["unlock"])).fails_with(3, "/bin/cat ended with", "leasehold unlock");
    std::fs::rename(&aside, &vault).unwrap();
    server.ok(&["unlock"]);
    is_open(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_key_is_put_back_and_a_wrong_one_opens_nothing() {
    let mut server = stopped().await;
    let (key, aside) = (server.data().join("master.key"), server.file("aside"));
    std::fs::rename(&key, &aside).unwrap();
    server.restart();
    is_locked(&server);
    assert!(!key.exists(), "another key would hide that the right one is missing");
    end(&mut server.leasehold(&["unlock"])).fails_with(3, "is missing", "leasehold unlock");
    let other = server.file("other");
    let made = end(leasehold(&["init", "--data-dir"]).arg(&other));
    assert_eq!(made.code, 0, "{}", made.err);
    std::fs::copy(other.join("master.key"), &key).unwrap();
    end(&mut server.leasehold(&["unlock"])).fails_with(3, "[MASTER_WRONG]", "right master key");
    is_locked(&server);
    server.kill();
    server.restart();
    is_locked(&server);
    assert!(server.logged().contains("starting locked"), "{}", server.logged());
    std::fs::rename(&aside, &key).unwrap();
    server.ok(&["unlock"]);
    is_open(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_that_others_can_read_is_refused() {
    let mut server = stopped().await;
    let key = server.data().join("master.key");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let ended = end(leasehold(&["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(server.data()));
    assert!(ended.code == 1 && ended.err.contains("others can read"), "{}", ended.err);
    private(&key, &std::fs::read_to_string(&key).unwrap());
    server.restart();
    is_open(&server).await;
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o604)).unwrap();
    server.ok(&["lock"]);
    end(&mut server.leasehold(&["unlock"])).fails_with(3, "others can read", "leasehold unlock");
    is_locked(&server);
}
