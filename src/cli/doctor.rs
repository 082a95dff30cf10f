//! `doctor`: whether this machine can work with the server.

use std::path::Path;

use serde_json::{Value, json};

use super::environ::Environ;
use super::failure::Failure;
use super::flags::{DoctorCommand, DoctorFlags, Global};
use super::output::{Out, Show};
use super::settings::{Connection, TokenSource};
use crate::client::{Client, Error};
use crate::store::sqlite::{self, Verdict};

pub(crate) async fn doctor(global: Global, mut environ: Environ, flags: DoctorFlags) -> Result<(), Failure> {
    if let Some(DoctorCommand::Verify { data_dir }) = flags.command {
        return verify(Out::new(global.output), &data_dir);
    }
    let out = Out::new(global.output);
    let mut checks = Vec::new();
    if let Some((connection, client)) = check_settings(Connection::resolve(global, &mut environ), &mut checks) {
        check_server(&connection, &client, &mut checks).await;
    }
    out.list(&checks)?;
    if checks.iter().all(|check| check.ok) { Ok(()) } else { Err(Failure::Told) }
}

/// Checks a data directory of a server that is not running: its file, its histories, and that every document opens.
fn verify(out: Out, folder: &Path) -> Result<(), Failure> {
    let mut opens = |pieces: &[Vec<u8>]| !pieces.is_empty();
    let verdict = sqlite::verify(folder, &mut opens).map_err(|error| Failure::local(error.to_string(), ""))?;
    let Verdict { names, versions, drafts, opened, problems } = verdict;
    let seen = format!("{names} names, {versions} versions and {drafts} drafts; {opened} documents opened");
    let mut checks = vec![Check::good("database", seen)];
    let next = "stop here, keep this folder as it is, and restore a backup";
    checks.extend(problems.into_iter().map(|problem| Check::bad("database", problem, next)));
    out.list(&checks)?;
    if checks.iter().all(|check| check.ok) { Ok(()) } else { Err(Failure::Told) }
}

struct Check {
    name: &'static str,
    ok: bool,
    detail: String,
    next: String,
}

impl Check {
    fn good(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, ok: true, detail: detail.into(), next: String::new() }
    }

    fn bad(name: &'static str, detail: impl Into<String>, next: impl Into<String>) -> Self {
        Self { name, ok: false, detail: detail.into(), next: next.into() }
    }

    fn failed(name: &'static str, failure: Failure) -> Self {
        match failure {
            Failure::Usage { what, next } | Failure::Local { what, next } => Self::bad(name, what, next),
            Failure::Client(error) => Self::bad(name, error.to_string(), error.next()),
            Failure::Told | Failure::NoReader | Failure::Interrupted(_) => Self::bad(name, "interrupted", ""),
        }
    }
}

fn check_settings(connection: Result<Connection, Failure>, checks: &mut Vec<Check>) -> Option<(Connection, Client)> {
    let made = connection.and_then(|connection| connection.client().map(|client| (connection, client)));
    match made {
        Ok((connection, client)) => {
            let detail = match &connection.token {
                TokenSource::None => "no token: only lease secrets authenticate".to_owned(),
                TokenSource::Environment(_) => "token from LEASEHOLD_TOKEN".to_owned(),
                TokenSource::File(path) => format!("token from {}, which others cannot read", path.display()),
            };
            checks.push(Check::good("settings", detail));
            Some((connection, client))
        }
        Err(failure) => {
            checks.push(Check::failed("settings", failure));
            None
        }
    }
}

async fn check_server(connection: &Connection, client: &Client, checks: &mut Vec<Check>) {
    match client.is_serving().await {
        Ok(true) => checks.push(Check::good("server", format!("{} serves", connection.server))),
        Ok(false) => {
            checks.push(Check::bad(
                "server",
                format!("{} answers but does not serve", connection.server),
                "look at the server's log",
            ));
        }
        Err(error) => return checks.push(Check::failed("server", error.into())),
    }
    checks.push(match client.list_environments().await {
        Ok(environments) => Check::good("access", format!("{} environments to be seen", environments.len())),
        Err(error @ Error::Denied(_)) => Check::bad("access", error.to_string(), error.next()),
        Err(error) => Check::failed("access", error.into()),
    });
}

impl Show for Check {
    const HEAD: &'static [&'static str] = &["CHECK", "RESULT", "DETAIL", "NEXT"];

    fn row(&self) -> Vec<String> {
        let result = if self.ok { "ok" } else { "FAILED" };
        vec![self.name.to_owned(), result.to_owned(), self.detail.clone(), self.next.clone()]
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn json(&self) -> Value {
        json!({ "check": self.name, "ok": self.ok, "detail": self.detail, "next": self.next })
    }
}
