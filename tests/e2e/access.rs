//! Tokens and grants from the command line, with a server that is set up as the docs say: from `init` to a pipeline's own token.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::process::Signal;

use crate::process::{Ended, end, leasehold};
use crate::rig::signal;

/// A folder that `init` has made, and a server on it when it runs.
struct Store {
    folder: tempfile::TempDir,
    admin: String,
    server: Option<(Child, String)>,
}

impl Store {
    fn made() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data").display().to_string();
        let made = end(&mut leasehold(&["init", "--data-dir", &data, "--output", "json"]));
        assert!(made.err.contains("is not shown again"), "{}", made.err);
        let admin = made.json()["token"].as_str().unwrap().to_owned();
        Self { folder, admin, server: None }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn start(&mut self) {
        let mut command = leasehold(&["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
        let log = std::fs::File::options().create(true).append(true).open(self.file("server.log")).unwrap();
        let mut child = command.arg(self.data()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        self.server = Some((child, address));
    }

    fn stop(&mut self) {
        let (mut child, _) = self.server.take().expect("it runs");
        signal(child.id(), Signal::TERM);
        assert!(child.wait().unwrap().success());
    }

    /// The binary as this token's bearer.
    fn as_bearer(&self, token: &str, args: &[&str]) -> Command {
        let (_, address) = self.server.as_ref().expect("it runs");
        let mut command = leasehold(args);
        command.env("LEASEHOLD_SERVER", address).env("LEASEHOLD_TOKEN", token);
        command
    }

    #[track_caller]
    fn ok(&self, token: &str, args: &[&str]) -> Ended {
        let ended = end(&mut self.as_bearer(token, args));
        assert_eq!(ended.code, 0, "{args:?}: {}", ended.err);
        ended
    }

    #[track_caller]
    fn fails(&self, token: &str, args: &[&str], code: i32, what: &str, next: &str) {
        end(&mut self.as_bearer(token, args)).fails_with(code, what, next);
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.server {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

fn text(file: &str) -> String {
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn pipeline_gets_its_own_token_as_the_docs_say() {
    let mut store = Store::made();
    assert!(store.data().join("admin.init").exists());
    store.start();
    assert!(!store.data().join("admin.init").exists(), "taken over");
    let admin = store.admin.clone();
    store.ok(&admin, &["env", "create", "prod", "--no-recovery"]);
    let file = store.file("network.token");
    let create =
        ["token", "create", "network-ci", "--for", "15m", "--state", "prod/network", "--role", "pipeline", "--to", &file];
    let made = store.ok(&admin, &create);
    let token = text(&file).trim().to_owned();
    assert!(token.starts_with("lh_") && !made.out.contains(&token) && !made.err.contains(&token), "{}", made.out);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // A file that exists is left alone, and no token is made for it.
    let again = ["token", "create", "other", "--state", "prod/network", "--role", "pipeline", "--to", &file];
    store.fails(&admin, &again, 1, "cannot write", "another file");
    assert_eq!(text(&file).trim(), token);
    // A token that is refused leaves no file behind.
    let more = store.file("more.token");
    let beyond = ["token", "create", "--state", "prod/**", "--role", "pipeline", "--to", &more];
    store.fails(&token, &beyond, 3, "[BEYOND_RIGHTS]", "access explain");
    assert!(!Path::new(&more).exists());
    store.ok(&token, &["run", "--state", "prod/network", "--", "true"]);
    store.fails(&token, &["run", "--state", "prod/app", "--", "true"], 3, "[NOT_ALLOWED]", "ask whoever administers it");
    store.fails(&token, &["env", "create", "dev", "--no-recovery"], 3, "[NOT_ALLOWED]", "ask whoever");
    let listed = store.ok(&admin, &["token", "list", "--output", "json"]);
    assert!(listed.out.contains("network-ci") && !listed.out.contains("other"), "{}", listed.out);
    assert!(!listed.out.contains(&token) && !listed.out.contains(&admin));
    let own = store.ok(&token, &["token", "list", "--output", "json"]);
    assert!(own.out.contains("network-ci") && !own.out.contains("\"admin\""), "{}", own.out);
    let shown = store.ok(&admin, &["token", "create", "--state", "prod/*", "--role", "reader", "--output", "json"]).json();
    store.ok(shown["secret"].as_str().unwrap(), &["state", "list", "prod"]);
    let revoked = store.ok(&admin, &["token", "revoke", "network-ci"]);
    assert!(revoked.err.contains("token:network-ci is not accepted any more"), "{}", revoked.err);
    store.fails(&token, &["run", "--state", "prod/network", "--", "true"], 3, "[UNAUTHENTICATED]", "LEASEHOLD_TOKEN");
    let taken = ["token", "create", "network-ci", "--state", "prod/network", "--role", "pipeline"];
    store.fails(&admin, &taken, 5, "[TOKEN_NAME_TAKEN]", "another");
    store.fails(&admin, &["token", "revoke", "nobody"], 4, "[API_TOKEN_NOT_FOUND]", "token list");
}

#[test]
fn grants_are_given_explained_and_taken_back() {
    let mut store = Store::made();
    store.start();
    let admin = store.admin.clone();
    store.ok(&admin, &["env", "create", "prod", "--no-recovery"]);
    let made = store.ok(&admin, &["token", "create", "ci", "--state", "prod/*", "--role", "reader", "--output", "json"]).json();
    let ci = made["secret"].as_str().unwrap();
    let explain = |token: &str, object: &str| {
        end(&mut store.as_bearer(token, &["access", "explain", "token:ci", "write", object, "--output", "json"]))
    };
    let no = explain(&admin, "prod/network");
    assert_eq!(no.code, 3, "{}", no.err);
    assert!(no.out.contains("\"allowed\":false") || no.out.contains("\"allowed\": false"), "{}", no.out);
    let granted = store.ok(&admin, &["access", "grant", "token:ci", "pipeline", "prod/network", "--output", "json"]).json();
    let id = granted["id"].as_str().unwrap();
    let yes = explain(ci, "prod/network");
    assert!(yes.code == 0 && yes.out.contains(id), "{} {}", yes.out, yes.err);
    assert_eq!(explain(ci, "prod/app").code, 3);
    let plain = store.ok(&admin, &["access", "explain", "token:ci", "write", "prod/network"]);
    assert!(plain.out.contains("allowed") && plain.out.contains(id), "{}", plain.out);
    store.ok(ci, &["run", "--state", "prod/network", "--", "true"]);
    let listed = store.ok(&admin, &["access", "list"]);
    assert!(listed.out.contains(id) && listed.out.contains("token:ci"), "{}", listed.out);
    store.fails(ci, &["access", "grant", "token:ci", "admin", "prod/network"], 3, "[NOT_ALLOWED]", "ask whoever");
    store.fails(&admin, &["access", "grant", "token:ci", "root", "prod/network"], 3, "[ACCESS_INVALID]", "docs/access.md");
    store.fails(&admin, &["access", "grant", "token:ci", "reader", "prod/../dev"], 3, "[ACCESS_INVALID]", "docs/access.md");
    let gone = store.ok(&admin, &["access", "revoke", id]);
    assert!(gone.err.contains("token:ci does not have this any more"), "{}", gone.err);
    store.fails(ci, &["run", "--state", "prod/network", "--", "true"], 3, "[NOT_ALLOWED]", "ask whoever");
    store.fails(&admin, &["access", "revoke", id], 4, "[GRANT_NOT_FOUND]", "access list");
}

#[test]
fn who_has_the_folder_gets_another_admin_token() {
    let mut store = Store::made();
    store.start();
    store.stop();
    let data = store.data().display().to_string();
    let init = ["init", "--token", "--data-dir", &data];
    let made = end(leasehold(&init).args(["--output", "json"])).json();
    let another = made["token"].as_str().unwrap().to_owned();
    // One at a time: the other would be lost.
    end(&mut leasehold(&init)).fails_with(1, "no server has taken over yet", "run the command again");
    let kept = text(&store.data().join("admin.init").display().to_string());
    assert!(!kept.contains(&another["lh_".len()..]), "its hash");
    store.start();
    let admin = store.admin.clone();
    let listed = store.ok(&another, &["token", "list"]);
    assert!(listed.out.contains("admin-2"), "{}", listed.out);
    store.ok(&another, &["token", "revoke", "admin"]);
    store.fails(&admin, &["token", "list"], 3, "[UNAUTHENTICATED]", "LEASEHOLD_TOKEN");
    store.ok(&another, &["env", "create", "prod", "--no-recovery"]);
    let nowhere = store.file("nowhere");
    end(&mut leasehold(&["init", "--token", "--data-dir", &nowhere])).fails_with(1, "there is no", "--token");
    // What others can read may be somebody else's.
    store.stop();
    end(&mut leasehold(&init));
    let waits = store.data().join("admin.init");
    std::fs::set_permissions(&waits, PermissionsExt::from_mode(0o644)).unwrap();
    let refused = end(&mut leasehold(&["serve", "--listen", "127.0.0.1:0", "--data-dir", &data]));
    assert!(refused.code == 1 && refused.err.contains("admin.init"), "{}", refused.err);
}

/// As under systemd, where the service's user exists only while it runs.
#[test]
fn root_leaves_a_token_for_the_user_that_the_server_runs_as() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can make a folder that is another user's");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::DirBuilder::new().mode(0o700).create(&data).unwrap();
    std::os::unix::fs::chown(&data, Some(4242), Some(4242)).unwrap();
    let made = end(leasehold(&["init", "--token", "--data-dir"]).arg(&data));
    assert_eq!(made.code, 0, "{}", made.err);
    let file = std::fs::metadata(data.join("admin.init")).unwrap();
    assert_eq!((file.uid(), file.gid(), file.mode() & 0o777), (4242, 4242, 0o600));
}
