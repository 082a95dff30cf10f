//! Leasehold's own door is an `http` backend like any other.

use super::{LINEAGE, SECRET, document, import, pulled, told, write};
use crate::process::end;
use crate::rig::{Server, TIGHT};

#[test]
fn state_moves_from_one_server_to_another_under_the_lock_of_the_first() {
    let (from, to) = (Server::start(TIGHT), Server::start(TIGHT));
    let file = from.file("x");
    write(&file, document(LINEAGE, 6));
    import(&from, &["dev/app", file.to_str().unwrap()]).json();
    let (origin, token) = from.door();
    let url = format!("{origin}/terraform/v1/dev/app");
    let secret = to.file("password");
    write(&secret, format!("{token}\n"));
    let secret = secret.to_str().unwrap();
    let chmod = |mode| std::fs::set_permissions(secret, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    let args = ["dev/app", &url, "--username", "ann", "--password-file", secret, "--retry-for", "0s"];

    chmod(0o644);
    import(&to, &args).fails_with(2, "open to everybody", "chmod 600");
    chmod(0o600);
    // Somebody applies there: nothing is copied.
    let held = from.ok(&["lease", "acquire", "dev/app", "--output", "json"]).json();
    import(&to, &args).fails_with(5, &format!("{url} is locked"), "wait until it is free");
    // To look is no reason to wait.
    assert_eq!(told(&import(&to, &[&args[..], &["--dry-run"]].concat()), &["what"]), ["new"]);
    let (session, fence) = (held["session"].as_str().unwrap(), held["token"].as_str().unwrap());
    from.ok(&["lease", "release", "dev/app", "--session", session, "--token", fence]);

    let done = import(&to, &args);
    assert_eq!(told(&done, &["state", "version", "serial", "what"]), ["dev/app 1 6 written"]);
    assert_eq!(done.err, "", "it was locked, and given back");
    assert!(pulled(&to, "dev/app", 0) == document(LINEAGE, 6));
    // One grant for the push there, one for the lock of the copy; and nobody holds it any more.
    let lock = from.ok(&["lease", "show", "dev/app", "--output", "json"]).json();
    assert_eq!(lock["holders"], serde_json::json!([]), "{lock}");
    assert_eq!(told(&import(&to, &args), &["what"]), ["there"]);

    // Its own token, for a state of its own.
    let (here, own) = to.door();
    let mut within = to.leasehold(&["state", "import", "dev/twin", &format!("{here}/terraform/v1/dev/app"), "--output", "json"]);
    within.env("TF_HTTP_USERNAME", "leasehold").env("TF_HTTP_PASSWORD", own);
    assert_eq!(told(&end(&mut within), &["state", "what"]), ["dev/twin written"]);
}

/// A server of another organisation, whose certificates the system does not know.
#[test]
fn certificate_is_checked_against_those_that_are_named() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let to = Server::start(TIGHT);
    let (certificate_file, key_file) = (to.file("certificate.pem"), to.file("key.pem"));
    write(&certificate_file, &certificate);
    write(&key_file, &key);
    std::fs::set_permissions(&key_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let from = Server::start(&format!("tls_cert = {certificate_file:?}\ntls_key = {key_file:?}\n"));
    let file = from.file("x");
    write(&file, document(LINEAGE, 6));
    let (origin, token) = from.door();
    let origin = origin.replace("http://", "https://");
    let mut pushed = from.leasehold(&["state", "push", "dev/app", file.to_str().unwrap(), "--server", &origin]);
    let pushed = end(pushed.env("LEASEHOLD_CA_FILE", &certificate_file));
    assert_eq!(pushed.code, 0, "{}", pushed.err);

    let url = format!("{origin}/terraform/v1/dev/app");
    let ask = |ca: Option<&str>| {
        let mut command = to.leasehold(&["state", "import", "dev/app", &url, "--output", "json"]);
        command.env("TF_HTTP_USERNAME", "ann").env("TF_HTTP_PASSWORD", &token);
        command.envs(ca.map(|pem| ("TF_HTTP_CLIENT_CA_CERTIFICATE_PEM", pem)));
        end(&mut command)
    };
    let refused = ask(None);
    refused.fails_with(1, "is not trusted: invalid peer certificate", "TF_HTTP_CLIENT_CA_CERTIFICATE_PEM");
    assert!(!refused.err.contains(&token) && !refused.err.contains(SECRET));
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    ask(Some(&other.cert.pem())).fails_with(1, "is not trusted", "check the address");
    assert_eq!(told(&ask(Some(&certificate)), &["serial", "what"]), ["6 written"]);
    assert!(pulled(&to, "dev/app", 0) == document(LINEAGE, 6));
}
