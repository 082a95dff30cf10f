//! `state push`.

use std::io::{IsTerminal, Read};
use std::path::Path;

use super::expected;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::flags::state::{FormatFlag, PushFlags};
use crate::cli::hold::under_lease;
use crate::cli::output::{note, tell_kept};
use crate::cli::progress::Bar;
use crate::client::{PushAsk, Source};
use crate::pb::v1::{Format, Warning};

pub(crate) async fn push(context: &Context, flags: PushFlags) -> Result<(), Failure> {
    // Before the lease: nobody should wait for a person who types.
    let document = open(&flags.file).await?;
    let ask = PushAsk {
        expect: expected(&flags.expect),
        format: match flags.format {
            None => Format::Unspecified,
            Some(FormatFlag::Terraform) => Format::Terraform,
            Some(FormatFlag::Pulumi) => Format::Pulumi,
            Some(FormatFlag::Json) => Format::Json,
            Some(FormatFlag::Opaque) => Format::Opaque,
        },
        inner_lock_id: String::new(),
        rewrite: flags.rewrite,
    };
    let mut bar = Bar::new("pushing");
    let pushed = under_lease(context, &flags.state, &flags.lease, async |lease| {
        context.client.push(lease, &ask, &document, |progress| bar.show(progress)).await
    })
    .await;
    drop(bar);
    if let Err(Failure::Client(error)) = &pushed
        && let Some(draft) = error.draft()
    {
        tell_kept("the document was not written, but kept as draft", &flags.state, draft);
    }
    let pushed = pushed?;
    warn(&pushed.warnings);
    context.out.one(&pushed)
}

/// What could not be sealed as it should. Places are named, and never what stands there.
pub(super) fn warn(warnings: &[Warning]) {
    const SHOWN: usize = 20;
    for warning in warnings.iter().take(SHOWN) {
        note(format!("warning: {}: {} [{}]", warning.place, warning.message, warning.code));
    }
    if warnings.len() > SHOWN {
        note(format!("warning: … and {} more", warnings.len() - SHOWN));
    }
}

async fn open(file: &Path) -> Result<Source, Failure> {
    if file != Path::new("-") {
        return Ok(Source::from_file(file).await?);
    }
    if std::io::stdin().is_terminal() {
        note("reading the document from the terminal; end it with Ctrl-D");
    }
    let read = tokio::task::spawn_blocking(|| {
        let mut document = Vec::new();
        std::io::stdin().lock().read_to_end(&mut document).map(|_| document)
    });
    let document = read.await.expect("reading does not panic");
    let document = document
        .map_err(|cause| Failure::local(format!("standard input cannot be read: {cause}"), "check where it comes from"))?;
    Ok(Source::from_bytes(document))
}
