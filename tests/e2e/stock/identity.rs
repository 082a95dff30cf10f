//! The tools over TLS: with the CA of a company, with a certificate of their own, and with the token of a CI system as password.

use serde_json::{Value, json};

use super::work::{BACKEND, Tool, Work};
use crate::oidc::Issuer;
use crate::process::{Ended, end};
use crate::rig::{Server, TIGHT};
use crate::tls::Authority;

with_each_tool!(
    certificate_authority_of_a_company_is_trusted_and_no_other,
    certificate_of_a_runner_needs_no_password,
    token_of_a_ci_system_is_a_password,
    token_of_a_ci_system_is_exchanged_once_for_one_that_lasts,
);

const STATE: &str = "dev/app";
const CONFIGURATION: &str = "resource \"terraform_data\" \"app\" { input = \"one\" }\n";

/// A token for a repository, with the subject that its CI system gives it.
fn token_of(issuer: &Issuer, repository: &str) -> String {
    issuer.token(&json!({"repository": repository, "sub": format!("repo:{repository}:ref:refs/heads/main")}))
}

/// A server with TLS whose clients may have certificates.
fn start(authority: &Authority, more: &str) -> Server {
    let mut server = Server::stopped("");
    server.set(&format!("{}{TIGHT}{more}", authority.settings(&server, "tls_client = \"optional\"")));
    server.restart();
    server
}

fn url(server: &Server) -> String {
    server.door().0.replace("http://", "https://")
}

fn leasehold(server: &Server, token: Option<&str>, args: &[&str]) -> Ended {
    let mut command = server.leasehold(args);
    command.env("LEASEHOLD_SERVER", url(server)).env("LEASEHOLD_CA_FILE", server.file("ca.pem"));
    if let Some(token) = token {
        command.env("LEASEHOLD_TOKEN", token);
    }
    end(&mut command)
}

#[track_caller]
fn grant(server: &Server, to: &str) {
    let granted = leasehold(server, None, &["access", "grant", to, "pipeline", STATE]);
    assert_eq!(granted.code, 0, "{}", granted.err);
}

/// A folder whose backend is this server, trusting this CA, without any credentials yet.
fn work(tool: &Tool, server: &Server, ca: &str) -> Work {
    let address = format!("{}/terraform/v1/{STATE}", url(server));
    let here = ["TF_HTTP_ADDRESS", "TF_HTTP_LOCK_ADDRESS", "TF_HTTP_UNLOCK_ADDRESS"];
    let work = Work::bare(tool, &format!("{BACKEND}{CONFIGURATION}"));
    here.into_iter().fold(work, |work, name| work.set(name, &address)).set("TF_HTTP_CLIENT_CA_CERTIFICATE_PEM", ca)
}

fn with_password(work: Work, password: &str) -> Work {
    work.set("TF_HTTP_USERNAME", "ci").set("TF_HTTP_PASSWORD", password)
}

/// Who wrote the versions of the state.
fn writers(server: &Server) -> Vec<String> {
    let listed = leasehold(server, None, &["state", "history", STATE, "--all", "--output", "json"]);
    assert_eq!(listed.code, 0, "{}", listed.err);
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    let writer = |entry: &Value| entry["version"]["principal"].as_str().or(entry["principal"].as_str()).unwrap().to_owned();
    listed.as_array().unwrap().iter().map(writer).collect()
}

fn certificate_authority_of_a_company_is_trusted_and_no_other(tool: &Tool) {
    let authority = Authority::new();
    let server = start(&authority, "");
    let token = server.door().1;
    let other = with_password(work(tool, &server, &Authority::new().pem()), &token);
    assert!(other.fails(&["init"]).contains("certificate"), "another CA");
    let own = with_password(work(tool, &server, &authority.pem()), &token);
    own.ok(&["init"]);
    own.ok(&["apply", "-auto-approve"]);
    assert_eq!(writers(&server), ["token:dev"]);
}

fn certificate_of_a_runner_needs_no_password(tool: &Tool) {
    let authority = Authority::new();
    let server = start(&authority, "");
    let (certificate, key) = authority.client();
    let own = work(tool, &server, &authority.pem());
    let own = own.set("TF_HTTP_CLIENT_CERTIFICATE_PEM", &certificate).set("TF_HTTP_CLIENT_PRIVATE_KEY_PEM", &key);
    assert!(own.fails(&["init"]).contains("invalid auth"), "nothing is granted to it yet");
    grant(&server, "cert:uri:spiffe://acme/runner");
    own.ok(&["init"]);
    own.ok(&["apply", "-auto-approve"]);
    assert_eq!(writers(&server), ["cert:uri:spiffe://acme/runner"]);
}

fn token_of_a_ci_system_is_a_password(tool: &Tool) {
    let (authority, issuer) = (Authority::new(), Issuer::start());
    let server = start(&authority, &issuer.settings());
    grant(&server, "oidc:ci:*");
    let own = with_password(work(tool, &server, &authority.pem()), &token_of(&issuer, "acme/infra"));
    own.ok(&["init"]);
    own.ok(&["apply", "-auto-approve"]);
    assert_eq!(writers(&server), ["oidc:ci:repo:acme/infra:ref:refs/heads/main"]);
    let foreign = with_password(work(tool, &server, &authority.pem()), &token_of(&issuer, "mallory/infra"));
    foreign.fails(&["init"]);
    let forged = with_password(work(tool, &server, &authority.pem()), &token_of(&Issuer::start(), "acme/infra"));
    forged.fails(&["init"]);
    assert_eq!(writers(&server).len(), 1);
}

fn token_of_a_ci_system_is_exchanged_once_for_one_that_lasts(tool: &Tool) {
    let (authority, issuer) = (Authority::new(), Issuer::start());
    let server = start(&authority, &issuer.settings());
    grant(&server, "oidc:ci:*");
    let theirs = token_of(&issuer, "acme/infra");
    let create = ["token", "create", "--role", "pipeline", "--state", STATE, "--for", "2h", "--output", "json"];
    let made = leasehold(&server, Some(&theirs), &create);
    assert_eq!(made.code, 0, "{}", made.err);
    let made: Value = serde_json::from_str(&made.out).unwrap();
    let time = |name: &str| made[name].as_str().unwrap().parse::<i64>().unwrap();
    assert_eq!(time("expires_unix_ms") - time("made_unix_ms"), 3_600_000, "an hour at most");
    leasehold(&server, Some(&theirs), &create).fails_with(3, "exchanged", "a new one");
    let beyond = ["token", "create", "--role", "admin", "--state", STATE];
    leasehold(&server, Some(&token_of(&issuer, "acme/infra")), &beyond).fails_with(3, "more than you may hand on", "explain");
    let own = with_password(work(tool, &server, &authority.pem()), made["secret"].as_str().unwrap());
    own.ok(&["init"]);
    own.ok(&["apply", "-auto-approve"]);
    assert_eq!(writers(&server), ["oidc:ci:repo:acme/infra:ref:refs/heads/main"]);
}
