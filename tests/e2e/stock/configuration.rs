//! The ways in which a backend can be configured.

use serde_json::{Value, json};

use super::seen::{current, document, holders};
use super::work::{Tool, Work, address};
use crate::oidc::{self, Issuer};
use crate::rig::{Server, TIGHT};
use crate::tls::Authority;

with_each_tool!(
    configuration_for_gitlab_works_as_it_is,
    credentials_work_in_the_address_and_in_the_block,
    state_without_a_lock_address_is_written_without_a_lock,
    tls_works_in_both_versions_of_http,
    tls_works_with_the_certificate_of_a_client,
    token_of_an_issuer_is_a_password,
);

const STATE: &str = "dev/app";
const CONFIGURATION: &str = "resource \"terraform_data\" \"app\" {}\n";

fn block(settings: &str) -> String {
    format!("terraform {{\n  backend \"http\" {{\n{settings}\n  }}\n}}\n{CONFIGURATION}")
}

/// Two versions, each under a lease of its own that is given back.
#[track_caller]
fn works(server: &Server, work: &Work) {
    let before = super::seen::versions(server, STATE).len() as u64;
    work.ok(&["apply", "-auto-approve", "-replace=terraform_data.app"]);
    work.ok(&["apply", "-auto-approve", "-replace=terraform_data.app"]);
    assert_eq!(current(server, STATE).number, before + 2);
    assert_eq!(work.ok(&["state", "pull"]), document(server, STATE) + "\n");
    assert_eq!(holders(server, STATE), Vec::<Value>::new());
}

fn configuration_for_gitlab_works_as_it_is(tool: &Tool) {
    let server = Server::start(TIGHT);
    let address = address(&server, STATE);
    let settings = format!(
        "    address = \"{address}\"\n    lock_address = \"{address}/lock\"\n    unlock_address = \"{address}/lock\"\n    \
         lock_method = \"POST\"\n    unlock_method = \"DELETE\"\n    update_method = \"PUT\"\n    retry_wait_min = 5"
    );
    let work =
        Work::bare(tool, &block(&settings)).set("TF_HTTP_USERNAME", "gitlab-ci-token").set("TF_HTTP_PASSWORD", &server.door().1);
    work.ok(&["init"]);
    works(&server, &work);
}

/// Also with OpenTofu's headers.
fn credentials_work_in_the_address_and_in_the_block(tool: &Tool) {
    let server = Server::start(TIGHT);
    let (address, token) = (address(&server, STATE), server.door().1);
    let addresses = |address: &str| {
        let names = ["address", "lock_address", "unlock_address"];
        names.map(|name| format!("    {name} = \"{address}\"\n")).concat()
    };
    let inside = address.replacen("http://", &format!("http://ci:{token}@"), 1);
    let mut settings =
        vec![addresses(&inside), addresses(&address) + &format!("    username = \"ci\"\n    password = \"{token}\"")];
    if tool.is_opentofu() {
        settings.push(addresses(&address) + &format!("    headers = {{ Authorization = \"Bearer {token}\" }}"));
    }
    for settings in settings {
        let work = Work::bare(tool, &block(&settings));
        work.ok(&["init"]);
        works(&server, &work);
        let kept = std::fs::read_to_string(work.path(".terraform/terraform.tfstate")).unwrap();
        assert!(kept.contains(&token), "what docs/terraform.md warns of");
    }
    let work = Work::bare(tool, &block(""));
    let given = ["address", "lock_address", "unlock_address"].map(|name| format!("-backend-config={name}={address}"));
    let given: Vec<_> = given.iter().map(String::as_str).collect();
    let work = work.set("TF_HTTP_USERNAME", "ci").set("TF_HTTP_PASSWORD", &token);
    work.ok(&[&["init"], given.as_slice()].concat());
    works(&server, &work);
}

fn state_without_a_lock_address_is_written_without_a_lock(tool: &Tool) {
    let server = Server::start(TIGHT);
    server.ok(&["env", "set", "dev", "--write-without-lock", "false"]);
    let work = Work::bare(tool, &block("")).set("TF_HTTP_ADDRESS", &address(&server, STATE));
    let work = work.set("TF_HTTP_USERNAME", "ci").set("TF_HTTP_PASSWORD", &server.door().1);
    work.ok(&["init"]);
    assert!(work.fails(&["apply", "-auto-approve"]).contains("HTTP error: 423"), "nobody asked for the lock");
    server.ok(&["env", "set", "dev", "--write-without-lock", "true"]);
    works(&server, &work);
    // With an address to lock at and none to unlock at it locks once.
    let work = work.set("TF_HTTP_LOCK_ADDRESS", &address(&server, STATE));
    work.ok(&["init", "-reconfigure"]);
    work.ok(&["apply", "-auto-approve"]);
    assert!(work.fails(&["apply", "-auto-approve"]).contains("already locked"));
    assert_eq!(holders(&server, STATE).len(), 1);
}

/// The tools speak HTTP/2 where they can. (`LOCK` is no method of either version.)
fn tls_works_in_both_versions_of_http(tool: &Tool) {
    let mut server = Server::stopped(TIGHT);
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (server.file("cert.pem"), server.file("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    server.start_as(|command| {
        command.arg("--tls-cert").arg(&certificate).arg("--tls-key").arg(&key).env("LEASEHOLD_LOG", "debug");
    });
    let address = address(&server, STATE).replacen("http://", "https://", 1);
    let work = Work::bare(tool, &block("")).with_backend(&address, &server.door().1);
    assert!(work.fails(&["init"]).contains("certificate"), "it is not known");
    let mut work = work.set("TF_HTTP_CLIENT_CA_CERTIFICATE_PEM", &made.cert.pem());
    // What ends a connection of version 2 may be logged late, so that comes last.
    for (serial, http_2) in [(1, false), (2, true)] {
        work = work.set("GODEBUG", if http_2 { "" } else { "http2client=0" });
        work.ok(&["init", "-reconfigure"]);
        work.ok(&["apply", "-auto-approve", "-replace=terraform_data.app"]);
        let written: Value = serde_json::from_str(&work.ok(&["state", "pull"])).unwrap();
        assert_eq!(written["serial"], serial);
        // Its crate logs each frame.
        assert_eq!(server.logged().contains("h2::"), http_2);
    }
    let forced = work.run(&["force-unlock", "-force", "none"]);
    assert_eq!(forced.code == 0, !tool.is_opentofu(), "{}", forced.err);
}

fn tls_works_with_the_certificate_of_a_client(tool: &Tool) {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let mut server = Server::stopped(TIGHT);
    server.set(&format!("{}{TIGHT}", authority.settings(&server, "")));
    server.restart();
    let address = address(&server, STATE).replacen("http://", "https://", 1);
    let work = Work::bare(tool, &block("")).with_backend(&address, &server.door().1);
    let work = work.set("TF_HTTP_CLIENT_CA_CERTIFICATE_PEM", &authority.pem());
    work.fails(&["init"]);
    let mut work = work;
    for (signer, is_let_in) in [(&stranger, false), (&authority, true)] {
        let (certificate, key) = signer.client();
        work = work.set("TF_HTTP_CLIENT_CERTIFICATE_PEM", &certificate).set("TF_HTTP_CLIENT_PRIVATE_KEY_PEM", &key);
        assert_eq!(work.run(&["init", "-reconfigure"]).code == 0, is_let_in);
    }
    work.ok(&["apply", "-auto-approve"]);
    let written: Value = serde_json::from_str(&work.ok(&["state", "pull"])).unwrap();
    assert_eq!(written["serial"], 1);
}

fn token_of_an_issuer_is_a_password(tool: &Tool) {
    let issuer = Issuer::start();
    let server = oidc::start(&issuer);
    let work = Work::bare(tool, &block("")).with_backend(&address(&server, STATE), &issuer.token(&json!({"aud": "elsewhere"})));
    assert!(work.fails(&["init"]).contains("requires auth"));
    let work = work.set("TF_HTTP_PASSWORD", &issuer.token(&json!({})));
    work.ok(&["init", "-reconfigure"]);
    works(&server, &work);
}
