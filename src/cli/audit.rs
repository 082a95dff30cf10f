//! `audit`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::context::Context;
use super::failure::Failure;
use super::flags::audit::{AuditCommand, ExportFlags, TailFlags, VerifyFlags};
use super::output::{note, print};
use crate::client::{Client, Error, Replacement};
use crate::pb::v1::tail_request::From;
use crate::pb::v1::{ExportAuditRequest, HeadResponse, TailRequest};
use crate::secrets::audit::{Fault, Report, Statement, Verifier};
use crate::store::clock::{Source, SystemSource};

/// Between two tries to follow a server that is away.
const AGAIN: Duration = Duration::from_secs(1);

pub(crate) async fn audit(context: &Context, command: AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::Tail(flags) => tail(&context.client, &flags).await,
        AuditCommand::Export(flags) => export(&context.client, flags).await,
        AuditCommand::Verify(flags) => verify(&flags),
        AuditCommand::Head => head(context).await,
    }
}

async fn tail(client: &Client, flags: &TailFlags) -> Result<(), Failure> {
    let from = match (flags.since, flags.after) {
        (Some(since), _) => From::SinceUnixMs(SystemSource::default().wall().0 - i64::try_from(since.as_millis()).unwrap_or(0)),
        (None, Some(after)) => From::After(after),
        (None, None) => From::Last(flags.last),
    };
    let mut ask = TailRequest { from: Some(from), follow: flags.follow };
    let mut answered = false;
    loop {
        match told(client, &mut ask, &mut answered).await {
            // Where it was left is where it goes on: nothing is lost, and nothing printed twice.
            Err(Failure::Client(Error::Unavailable(_))) if flags.follow && answered => tokio::time::sleep(AGAIN).await,
            done => return done,
        }
    }
}

/// Prints what comes, and moves the question on with it.
async fn told(client: &Client, ask: &mut TailRequest, answered: &mut bool) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Numbered {
        n: u64,
    }
    let mut stream = client.audit_tail(*ask).await?;
    *answered = true;
    while let Some(lines) = stream.next().await? {
        print(&joined(&lines))?;
        if let Some(Ok(Numbered { n })) = lines.last().map(|line| serde_json::from_str(line)) {
            ask.from = Some(From::After(n));
        }
    }
    Ok(())
}

async fn export(client: &Client, flags: ExportFlags) -> Result<(), Failure> {
    let ExportFlags { from, to, unproven, out } = flags;
    let mut stream = client.audit_export(ExportAuditRequest { from, to, unproven }).await?;
    let mut last = None;
    let mut file = match &out {
        Some(path) => Some(Replacement::create(path).await?),
        None => None,
    };
    while let Some(lines) = stream.next().await? {
        let checkpoints = lines.iter().filter(|line| line.starts_with("{\"checkpoint\""));
        last = checkpoints.filter_map(|line| Statement::read(line)).next_back().or(last);
        match &mut file {
            Some(file) => file.file.write_all(joined(&lines).as_bytes()).await.map_err(|cause| {
                let what = format!("{} cannot be written: {cause}", out.as_deref().unwrap_or(Path::new("")).display());
                Failure::local(what, "check the path, its permissions and free space")
            })?,
            None => print(&joined(&lines))?,
        }
    }
    if let Some(file) = file {
        file.commit().await?;
    }
    if let Some(last) = last {
        note(format!("signed for up to {}; note it elsewhere, for `audit verify --expect`", last.head()));
    }
    Ok(())
}

/// All of it at once, without a server. What is found is printed; a flaw is the failure.
pub(crate) fn verify(flags: &VerifyFlags) -> Result<(), Failure> {
    let reader: Box<dyn BufRead> = match flags.file == Path::new("-") {
        true => Box::new(io::stdin().lock()),
        false => Box::new(BufReader::new(File::open(&flags.file).map_err(|cause| unreadable(&flags.file, &cause))?)),
    };
    let verifier = Verifier::new(flags.keys.clone(), flags.expect);
    match read(verifier, reader).map_err(|cause| unreadable(&flags.file, &cause))? {
        Ok(report) => tell(&report, flags),
        Err(fault) => {
            let next =
                "what is before that line is sound; compare with a head noted elsewhere, and ask who could write to it since";
            Err(Failure::local(format!("{}: {fault}", flags.file.display()), next))
        }
    }
}

fn read(mut verifier: Verifier, mut reader: impl BufRead) -> io::Result<Result<Report, Fault>> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(verifier.finish());
        }
        if let Err(fault) = verifier.line(&line) {
            return Ok(Err(fault));
        }
    }
}

fn tell(report: &Report, flags: &VerifyFlags) -> Result<(), Failure> {
    let Report { after, head, at, unproven, keys, histories } = report;
    let at = UNIX_EPOCH + Duration::from_millis(u64::try_from(*at).unwrap_or(0));
    print(&format!(
        "entries {} to {} are as they were signed on {}\n",
        after + 1,
        head.n,
        humantime::format_rfc3339_seconds(at)
    ))?;
    print(&format!("head: {head}\n"))?;
    for key in keys {
        print(&format!("signed by: {key}\n"))?;
    }
    for (after, history) in histories.iter().skip(1) {
        print(&format!("after entry {after} the database was put back to an earlier time: history {history} begins\n"))?;
    }
    if let Some(expect) = flags.expect {
        print(&format!("the expected entry {} is in it\n", expect.n))?;
    }
    if *unproven > 0 {
        note(format!("{unproven} entries after {} are UNPROVEN: not signed for yet", head.n));
    }
    if flags.keys.is_empty() {
        note("nobody vouches for the key: anybody could have signed this; give the server's own with --key");
    }
    Ok(())
}

async fn head(context: &Context) -> Result<(), Failure> {
    let HeadResponse { last, checkpoint, key, renewals, contention, redacted_reads } = context.client.audit_head().await?;
    let head = Statement::read(&checkpoint).map(|statement| statement.head().to_string()).unwrap_or_default();
    context.out.card(
        &[
            ("head", head.clone()),
            ("last entry", last.to_string()),
            ("key", key.clone()),
            ("renewals", renewals.to_string()),
            ("contention", contention.to_string()),
            ("redacted reads", redacted_reads.to_string()),
        ],
        || {
            json!({
                "head": head, "last": last.to_string(), "key": key, "checkpoint": checkpoint, "renewals": renewals.to_string(),
                "contention": contention.to_string(), "redacted_reads": redacted_reads.to_string(),
            })
        },
    )
}

fn joined(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

fn unreadable(path: &Path, cause: &io::Error) -> Failure {
    let what = format!("{} cannot be read: {cause}", path.display());
    match cause.kind() {
        io::ErrorKind::NotFound => Failure::missing(what, "check the path"),
        _ => Failure::local(what, "check the path and its permissions"),
    }
}
