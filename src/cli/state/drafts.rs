//! `state drafts`.

use super::{expected, show, show_diff};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::flags::state::DraftsCommand;
use crate::cli::hold::under_lease;
use crate::cli::output::note;
use crate::client::{DiffSides, Which, WriteAsk};
use crate::pb::v1::VersionInfo;

pub(crate) async fn drafts(context: &Context, command: DraftsCommand) -> Result<(), Failure> {
    let Context { client, out, .. } = context;
    match command {
        DraftsCommand::List { state, all } => out.list(&client.drafts(&state, all).await?),
        DraftsCommand::Show { state, draft, why } => show(context, &state, &Which::Draft(draft), why).await,
        DraftsCommand::Diff { state, draft, from } => {
            let sides = DiffSides { from, to: Which::Draft(draft) };
            show_diff(context, &client.diff(&state, &sides).await?)
        }
        DraftsCommand::Promote { state, draft, rewrite, expect, lease } => {
            let ask = WriteAsk { expect: expected(&expect), rewrite };
            let promoted = under_lease(context, &state, &lease, async |lease| client.promote_draft(lease, &draft, &ask).await);
            out.one::<VersionInfo>(&promoted.await?)
        }
        DraftsCommand::Discard { state, draft } => {
            client.discard_draft(&state, &draft).await?;
            note(format!("draft {draft} of {state} is given up"));
            Ok(())
        }
    }
}
