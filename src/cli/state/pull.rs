//! `state pull`.

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::flags::state::{OutputsFlags, PullFlags, ViewFlag};
use crate::cli::output::note;
use crate::cli::progress::Bar;
use crate::client::{PullAsk, Replacement, Which};
use crate::pb::v1::{PullInfo, View};

pub(crate) async fn pull(context: &Context, flags: PullFlags) -> Result<(), Failure> {
    let ask = PullAsk {
        state: flags.state,
        which: which(flags.version, flags.draft),
        unless_etag: flags.unless_etag.unwrap_or_default(),
        view: match flags.view {
            ViewFlag::Full => View::Full,
            ViewFlag::Redacted => View::Redacted,
            ViewFlag::Outputs => View::Outputs,
            ViewFlag::Sealed => View::Sealed,
        },
        recipient: flags.recipient.unwrap_or_default(),
    };
    let mut bar = Bar::new("pulling");
    let on_progress = |progress| bar.show(progress);
    let Some(path) = flags.to else {
        let info = context.client.pull(&ask, &mut tokio::io::stdout(), on_progress).await?;
        if info.unchanged {
            note("unchanged: the etag is still the current one");
        }
        tell(&info);
        return Ok(());
    };
    let mut file = Replacement::create(&path).await?;
    let info = context.client.pull(&ask, &mut file.file, on_progress).await?;
    drop(bar);
    if !info.unchanged {
        file.commit().await?;
    }
    if !context.out.is_json() {
        tell(&info);
    }
    context.out.one(&info)
}

/// `state outputs`.
pub(crate) async fn outputs(context: &Context, flags: OutputsFlags) -> Result<(), Failure> {
    let ask = PullAsk { state: flags.state, which: which(flags.version, flags.draft), view: View::Outputs, ..PullAsk::default() };
    context.client.pull(&ask, &mut tokio::io::stdout(), |_| ()).await?;
    Ok(())
}

fn which(version: Option<u64>, draft: Option<String>) -> Which {
    match (version, draft) {
        (_, Some(draft)) => Which::Draft(draft),
        (Some(version), None) => Which::Version(version),
        (None, None) => Which::Current,
    }
}

/// What the reader of a view should know of it.
fn tell(info: &PullInfo) {
    /// More than these nobody reads at a terminal; `--output json` has them.
    const SHOWN: usize = 20;
    for place in info.masked.iter().take(SHOWN) {
        note(format!("masked: {place}"));
    }
    match (info.masked.len().saturating_sub(SHOWN), info.masked_truncated) {
        (_, true) => note("masked: … and more"),
        (0, false) => {}
        (more, false) => note(format!("masked: … and {more} more")),
    }
    if !info.signer.is_empty() {
        note(format!("signed by {}; `leasehold unseal --trust KEY` opens it", info.signer));
    }
}
