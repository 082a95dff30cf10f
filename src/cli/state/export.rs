//! `state export`.

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::flags::transfer::ExportFlags;
use crate::cli::output::{Left, note};
use crate::cli::progress::Moving;
use crate::client::{ExportAsk, Written, remove_stale};

/// Looks at all of it first: if something else is in the way, nothing is written.
pub(crate) async fn export(context: &Context, flags: ExportFlags) -> Result<(), Failure> {
    let ExportFlags { state, to, workspaces, history, force, dry_run } = flags;
    if to.as_os_str() == "-" {
        return Err(Failure::usage("an export goes to files", "`leasehold state pull` writes to standard output"));
    }
    let ask = ExportAsk { from: state, to, workspaces, history };
    let mut bar = Moving::default();
    let plan = context.client.plan_export(&ask, |phase| bar.phase(phase)).await?;
    drop(bar);
    for what in &plan.left_out {
        note(format!("left out: {what}"));
    }
    for path in &plan.stale {
        note(format!("in the way: {} would be taken for the past of what is exported", path.display()));
    }
    let refused = plan.refusal().filter(|_| !force);
    if dry_run {
        let planned: Vec<_> = plan.files.iter().map(|leaving| Left { leaving, done: false }).collect();
        context.out.list(&planned)?;
    } else if refused.is_some() {
        note("nothing was written; `--dry-run` shows each file");
    }
    if let Some(error) = refused {
        return Err(error.into());
    }
    if dry_run {
        return Ok(());
    }
    remove_stale(&plan.stale).await?;
    let mut rows = Vec::new();
    let mut failed = None;
    for leaving in &plan.files {
        let mut bar = Moving::default();
        if leaving.there != Written::Same
            && let Err(error) = context.client.export(leaving, |phase| bar.phase(phase)).await
        {
            failed = Some(error);
            break;
        }
        rows.push(Left { leaving, done: true });
    }
    context.out.list(&rows)?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}
