//! `doctor`: whether this machine can work with the server.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::environ::Environ;
use super::failure::Failure;
use super::flags::{DoctorCommand, DoctorFlags, Global};
use super::output::{Out, Show};
use super::settings::{Connection, TokenSource};
use crate::client::{Client, Error};
use crate::secrets::hygiene;
use crate::service::offline::{Archive, Opener};
use crate::store::Document;
use crate::store::sqlite::{self, Named, Offline, OpenError, Tried, Verdict};

pub(crate) async fn doctor(global: Global, mut environ: Environ, flags: DoctorFlags) -> Result<(), Failure> {
    if let Some(DoctorCommand::Verify { data_dir, master_key }) = flags.command {
        hygiene::harden().log();
        return verify(Out::new(global.output), &data_dir, master_key);
    }
    let out = Out::new(global.output);
    let mut checks = Vec::new();
    if let Some((connection, client)) = check_settings(Connection::resolve(global, &mut environ), &mut checks) {
        check_server(&connection, &client, &mut checks).await;
    }
    out.list(&checks)?;
    if checks.iter().all(|check| check.ok) { Ok(()) } else { Err(Failure::Told) }
}

/// Checks a data directory of a server that is not running: its file, its histories, and with the master key every document to its last
/// byte.
fn verify(out: Out, folder: &Path, master_key: Option<PathBuf>) -> Result<(), Failure> {
    let failed = |error: OpenError| Failure::local(error.to_string(), "");
    let database = Offline::folder(folder).map_err(failed)?;
    let default = folder.join("master.key");
    let file = master_key.or_else(|| default.exists().then_some(default));
    let opener = file.map(|file| Opener::master(&file)).transpose().map_err(super::locking::unusable)?;
    let archive = opener.as_ref().map(|opener| Archive::open(&database, opener)).transpose().map_err(failed)?;
    let mut open = |name: &Named, document: &Document| match &archive {
        None => Tried::NoKey,
        Some(archive) if archive.contents(name, document).is_ok() => Tried::Opened,
        Some(_) => Tried::Broken,
    };
    let Verdict { names, versions, drafts, opened, unopened, problems } = sqlite::verify(&database, &mut open).map_err(failed)?;
    let mut checks = vec![Check::good("database", format!("{names} names, {versions} versions and {drafts} drafts"))];
    checks.push(Check::good(
        "documents",
        match &archive {
            Some(_) => format!("{opened} documents opened, each to its last byte"),
            None => format!("NOT OPENED: {unopened} documents are there in all their parts; give --master-key FILE to open them"),
        },
    ));
    let next = "stop here, keep this folder as it is, and restore a backup";
    checks.extend(problems.into_iter().map(|problem| Check::bad("database", problem, next)));
    let shut = archive.iter().flat_map(|archive| &archive.shut);
    checks.extend(shut.map(|shut| {
        let what = format!("{}: the keys of the environment do not open with this master key", shut.name);
        Check::bad(
            "keys",
            what,
            "give the right --master-key FILE; if it is the right one, the keys are damaged: restore a backup",
        )
    }));
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
            Failure::Usage { what, next } | Failure::Local { what, next } | Failure::Missing { what, next } => {
                Self::bad(name, what, next)
            }
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
    checks.push(match client.server_status().await {
        Ok(status) if status.locked => Check::bad(
            "master key",
            "the server is locked: leases, history and watching work, documents do not",
            "an operator runs `leasehold unlock`",
        ),
        Ok(status) => {
            Check::good("master key", format!("unlocked, so that documents are served by leasehold {}", status.version))
        }
        Err(error) => Check::failed("master key", error.into()),
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
