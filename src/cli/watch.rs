//! `watch`.

use super::context::Context;
use super::failure::Failure;
use super::flags::WatchFlags;
use super::output::note;
use crate::client::WatchItem;

/// Prints until it is interrupted.
pub(crate) async fn watch(context: &Context, flags: WatchFlags) -> Result<(), Failure> {
    let mut watcher = context.client.watch(flags.prefix, flags.cursor);
    loop {
        let item = watcher.next().await?;
        match &item {
            WatchItem::Mark { .. } if !context.out.is_json() => {}
            WatchItem::Relist { .. } if !context.out.is_json() => note("events were missed: list again; going on from here"),
            _ => context.out.line(&item)?,
        }
    }
}
