//! `state pull`.

use std::path::{Path, PathBuf};

use tokio::fs::{File, OpenOptions};

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::flags::state::PullFlags;
use crate::cli::output::note;
use crate::cli::progress::Bar;
use crate::client::{PullAsk, Which};

pub(crate) async fn pull(context: &Context, flags: PullFlags) -> Result<(), Failure> {
    let ask = PullAsk {
        state: flags.state,
        which: match (flags.version, flags.draft) {
            (_, Some(draft)) => Which::Draft(draft),
            (Some(version), None) => Which::Version(version),
            (None, None) => Which::Current,
        },
        unless_etag: flags.unless_etag.unwrap_or_default(),
    };
    let mut bar = Bar::new("pulling");
    let on_progress = |progress| bar.show(progress);
    let Some(path) = flags.to else {
        let info = context.client.pull(&ask, &mut tokio::io::stdout(), on_progress).await?;
        if info.unchanged {
            note("unchanged: the etag is still the current one");
        }
        return Ok(());
    };
    let mut file = Replacement::create(&path).await?;
    let info = context.client.pull(&ask, &mut file.file, on_progress).await?;
    drop(bar);
    if !info.unchanged {
        file.commit().await?;
    }
    context.out.one(&info)
}

/// A new content for a file, which takes its place at once or not at all, readable by its owner only.
struct Replacement {
    file: File,
    path: PathBuf,
    temporary: PathBuf,
    committed: bool,
}

impl Replacement {
    async fn create(path: &Path) -> Result<Self, Failure> {
        let name =
            path.file_name().ok_or_else(|| Failure::usage(format!("{} is not a file name", path.display()), "name a file"))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.part", uuid::Uuid::now_v7()));
        let temporary = path.with_file_name(hidden);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).await;
        let file = file.map_err(|cause| cannot(path, &cause))?;
        Ok(Self { file, path: path.to_owned(), temporary, committed: false })
    }

    async fn commit(mut self) -> Result<(), Failure> {
        self.file.sync_all().await.map_err(|cause| cannot(&self.path, &cause))?;
        tokio::fs::rename(&self.temporary, &self.path).await.map_err(|cause| cannot(&self.path, &cause))?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.committed {
            // It holds a part of a document, or nothing.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

fn cannot(path: &Path, cause: &std::io::Error) -> Failure {
    Failure::local(format!("{} cannot be written: {cause}", path.display()), "check the path, its permissions and free space")
}
