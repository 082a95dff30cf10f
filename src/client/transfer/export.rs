//! Versions into files.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::layout::{numbered, past, reserved, unreadable, workspace};
use super::target::header;
use super::{Header, Phase};
use crate::client::replacement::{Replacement, unwritable};
use crate::client::{Client, Error, Progress, PullAsk, Source, Which};
use crate::pb::v1::VersionInfo;

/// What is asked of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportAsk {
    /// `ENV/PATH`; with `workspaces` `ENV` or `ENV/PREFIX`, and every state below it becomes a workspace.
    pub from: String,
    /// A file; with `workspaces` a folder.
    pub to: PathBuf,
    /// Many states into a folder, instead of one into a file.
    pub workspaces: bool,
    /// Also what was current before, since the state was last deleted.
    pub history: bool,
}

/// A version and the file it goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// `ENV/PATH`.
    pub state: String,
    /// Which version.
    pub version: u64,
    /// Its lineage and serial; none if it has none.
    pub header: Option<Header>,
    /// Where it goes to.
    pub file: PathBuf,
    /// What is there.
    pub there: Written,
}

/// What a file of an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// There is none.
    Missing,
    /// It has the bytes of the version.
    Same,
    /// It has others.
    Other,
}

/// What an export would do.
#[derive(Debug, Default)]
pub struct Leave {
    /// Each file, those of a state's past before that of what is current.
    pub files: Vec<Leaving>,
    /// Files of an earlier export that would be taken for the past of a state.
    pub stale: Vec<PathBuf>,
    /// What is not exported, with the reason.
    pub left_out: Vec<String>,
}

impl Client {
    /// What an export would do. Files that are there already are compared with what would be written.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such state, or none below the prefix; [`Error::Caller`] if two states would go to one place.
    pub async fn plan_export(&self, ask: &ExportAsk, mut on: impl FnMut(Phase) + Send) -> Result<Leave, Error> {
        let mut leave = Leave::default();
        for (state, file) in self.places(ask, &mut leave.left_out).await? {
            let mut versions = self.life(&state).await?.live;
            let Some(current) = versions.pop() else { continue };
            let mut older = if ask.history { versions } else { Vec::new() };
            let dropped = older.iter().filter(|version| version.purged).count();
            if dropped > 0 {
                leave.left_out.push(format!("{state}: old versions whose bytes were dropped: {dropped}"));
                older.retain(|version| !version.purged);
            }
            let older: Vec<_> = older.iter().map(|version| leaving(&state, version, past(&file, version.version))).collect();
            leave.stale.extend(numbered(&file)?.into_iter().filter(|there| !older.iter().any(|it| it.file == *there)));
            leave.files.extend(older);
            leave.files.push(leaving(&state, &current, file));
        }
        for leaving in &mut leave.files {
            leaving.there = match tokio::fs::symlink_metadata(&leaving.file).await {
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Written::Missing,
                Err(cause) => return Err(unreadable(&leaving.file, &cause)),
                Ok(_) => {
                    let there = Source::from_file(&leaving.file).await?;
                    let same = self.is_same(&leaving.state, leaving.version, &there, &mut on).await?;
                    if same { Written::Same } else { Written::Other }
                }
            };
        }
        Ok(leave)
    }

    /// Writes one file of a plan whole or not at all, readable by its owner only, in folders that are made for it, and reads it back.
    ///
    /// # Errors
    /// [`Error::Conflict`] if a file that was missing is there now; [`Error::Fault`] if what was written is not what was sent.
    pub async fn export(&self, leaving: &Leaving, mut on: impl FnMut(Phase) + Send) -> Result<(), Error> {
        let path = &leaving.file;
        if let Some(folder) = path.parent() {
            let made = tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).await;
            made.map_err(|cause| unwritable(folder, &cause))?;
        }
        let mut file = Replacement::create(path).await?;
        let mut sent = Hashing { sink: &mut file.file, seen: Sha256::new() };
        let ask = PullAsk { state: leaving.state.clone(), which: Which::Version(leaving.version), ..PullAsk::default() };
        let info = self.pull(&ask, &mut sent, |progress| on(Phase::Moving(progress))).await?;
        let sent = sent.seen.finalize();
        match leaving.there {
            Written::Missing => file.commit_new().await?,
            _ => file.commit().await?,
        }
        if sent != read_back(path, info.size, &mut on).await? {
            return Err(Error::fault(format!("{} is not what was sent", path.display())));
        }
        Ok(())
    }

    /// The states and where they go to.
    async fn places(&self, ask: &ExportAsk, left_out: &mut Vec<String>) -> Result<Vec<(String, PathBuf)>, Error> {
        if !ask.workspaces {
            self.show(&ask.from, &Which::Current).await?;
            return Ok(vec![(ask.from.clone(), ask.to.clone())]);
        }
        let mut places = Vec::new();
        for version in self.states(&ask.from, false).await? {
            let name = version.state.strip_prefix(&ask.from).and_then(|rest| rest.strip_prefix('/'));
            match name {
                _ if header(&version).is_none() => {
                    left_out.push(format!("{}: it is no Terraform or OpenTofu state", version.state))
                }
                None => left_out.push(format!("{}: it is no workspace below itself", version.state)),
                Some(name) if reserved(name) => {
                    let what = format!("{} cannot be a workspace: files of that name lie there", version.state);
                    return Err(Error::caller(what).with_next("export the states one by one, each to a file"));
                }
                Some(name) => places.push((version.state.clone(), workspace(&ask.to, name))),
            }
        }
        if places.is_empty() {
            let what = format!("no state below {} can become a workspace", ask.from);
            return Err(Error::not_found(what).with_next("see `leasehold state list`; a single state is exported to a file"));
        }
        Ok(places)
    }
}

impl Leave {
    /// Why the export must not go on unless it is told to overwrite.
    #[must_use]
    pub fn refusal(&self) -> Option<Error> {
        let other = self.files.iter().filter(|leaving| leaving.there == Written::Other).map(|leaving| &leaving.file);
        let first = other.chain(&self.stale).next()?;
        Some(
            Error::conflict(format!("{} is there already, and is something else", first.display()))
                .with_next("export to another place, or give `--force` to overwrite what is there"),
        )
    }
}

fn leaving(state: &str, version: &VersionInfo, file: PathBuf) -> Leaving {
    Leaving { state: state.to_owned(), version: version.version, header: header(version), file, there: Written::Missing }
}

async fn read_back(path: &Path, total: u64, on: &mut (impl FnMut(Phase) + Send)) -> Result<sha2::digest::Output<Sha256>, Error> {
    let mut file = tokio::fs::File::open(path).await.map_err(|cause| unreadable(path, &cause))?;
    let (mut piece, mut done, mut seen) = (vec![0; 256 << 10], 0, Sha256::new());
    loop {
        let read = file.read(&mut piece).await.map_err(|cause| unreadable(path, &cause))?;
        if read == 0 {
            return Ok(seen.finalize());
        }
        seen.update(&piece[..read]);
        done += read as u64;
        on(Phase::Checking(Progress { done, total }));
    }
}

/// Passes on, and counts in, what was written.
struct Hashing<W> {
    sink: W,
    seen: Sha256,
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Hashing<W> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.sink).poll_write(context, data);
        if let Poll::Ready(Ok(count)) = &written {
            self.seen.update(&data[..*count]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.sink).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.sink).poll_shutdown(context)
    }
}

/// Removes what an earlier export left and would be taken for the past of a state.
///
/// # Errors
/// [`Error::Caller`] if one cannot be removed.
pub async fn remove_stale(stale: &[PathBuf]) -> Result<(), Error> {
    for path in stale {
        tokio::fs::remove_file(path).await.map_err(|cause| unwritable(path, &cause))?;
    }
    Ok(())
}
