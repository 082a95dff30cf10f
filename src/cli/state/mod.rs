//! `state`.

mod drafts;
mod export;
mod import;
mod pull;
mod push;
mod remote;

use super::context::Context;
use super::failure::Failure;
use super::flags::state::{ExpectFlags, StateCommand};
use super::hold::under_lease;
use super::output::{insist, note};
use crate::client::{DiffSides, Which, WriteAsk};
use crate::pb::v1::{DiffResponse, Expect, VersionInfo};

pub(crate) async fn state(context: &Context, command: StateCommand) -> Result<(), Failure> {
    let Context { client, out, .. } = context;
    match command {
        StateCommand::List { prefix, deleted } => out.list(&client.states(&prefix, deleted).await?),
        StateCommand::Push(flags) => push::push(context, flags).await,
        StateCommand::Pull(flags) => pull::pull(context, flags).await,
        StateCommand::Outputs(flags) => pull::outputs(context, flags).await,
        StateCommand::History { state, all, limit } => out.list(&client.history(&state, all, limit).await?),
        StateCommand::Show { state, version, why } => {
            show(context, &state, &version.map_or(Which::Current, Which::Version), why).await
        }
        StateCommand::Diff { state, from, to } => {
            let sides = DiffSides { from, to: to.map_or(Which::Current, Which::Version) };
            show_diff(context, &client.diff(&state, &sides).await?)
        }
        StateCommand::Rollback { state, to, expect, lease } => {
            let ask = WriteAsk { expect: expected(&expect), rewrite: false };
            let version = under_lease(context, &state, &lease, async |lease| client.rollback(lease, to, &ask).await).await?;
            out.one::<VersionInfo>(&version)
        }
        StateCommand::Import(flags) => import::import(context, flags).await,
        StateCommand::Export(flags) => export::export(context, flags).await,
        StateCommand::Drafts(command) => drafts::drafts(context, command).await,
        StateCommand::Delete { state, yes, expect, lease } => {
            insist(yes, &format!("delete {state}?"))?;
            let ask = WriteAsk { expect: expected(&expect), rewrite: false };
            let version = under_lease(context, &state, &lease, async |lease| client.delete_state(lease, &ask).await).await?;
            out.one::<VersionInfo>(&version)
        }
        StateCommand::Purge { state, version, yes } => {
            let what =
                version.map_or_else(|| "all versions but the current one".to_owned(), |number| format!("version {number}"));
            insist(yes, &format!("drop the bytes of {what} of {state} for good?"))?;
            let purged = client.purge(&state, version).await?;
            note(format!("{purged} versions of {state} have no bytes any more"));
            Ok(())
        }
    }
}

async fn show(context: &Context, state: &str, which: &Which, why: bool) -> Result<(), Failure> {
    let Context { client, out, .. } = context;
    if why {
        let shown = client.show_why(state, which).await?;
        out.one(&shown)?;
        if out.is_json() {
            return Ok(());
        }
        note(match (shown.sealed_count, shown.sealed.len() as u64) {
            (0, _) => "nothing is sealed in it".to_owned(),
            (count, listed) if listed < count => format!("{count} sealed places, of which the first {listed}:"),
            (count, _) => format!("{count} sealed places:"),
        });
        return out.list(&shown.sealed);
    }
    let shown = client.show(state, which).await?;
    match (shown.version, shown.draft) {
        (_, Some(draft)) => out.one(&draft),
        (version, None) => out.one(&version.unwrap_or_default()),
    }
}

fn show_diff(context: &Context, diff: &DiffResponse) -> Result<(), Failure> {
    match (context.out.is_json(), diff.equal, diff.bytes_only) {
        (false, true, _) => note("no difference"),
        (false, false, true) => note("the bytes differ; this format is not looked into"),
        (false, false, false) if diff.changes.is_empty() => note("the bytes differ, and mean the same"),
        _ => return context.out.list(&diff.changes),
    }
    Ok(())
}

fn expected(flags: &ExpectFlags) -> Option<Expect> {
    let (version, etag) = (flags.expect_version?, flags.expect_etag.clone()?);
    Some(Expect { version, etag })
}
