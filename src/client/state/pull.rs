//! Reading a document.

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tonic::Status;

use super::calls::service;
use super::{Progress, Which};
use crate::client::error::may_retry;
use crate::client::retry::Backoff;
use crate::client::{Client, Error, clock};
use crate::pb::v1::pull_response::Part;
use crate::pb::v1::{PullInfo, PullRequest, View};

/// What to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullAsk {
    /// `ENV/PATH`.
    pub state: String,
    /// Which of its documents.
    pub which: Which,
    /// Send no document if the current etag is this one.
    pub unless_etag: String,
    /// How it is read; in full if nothing is said.
    pub view: View,
    /// With [`View::Sealed`]: the age recipient to seal to.
    pub recipient: String,
}

impl Client {
    /// Reads a document into `sink`, byte for byte. If [`PullInfo::unchanged`] is true, nothing was written.
    ///
    /// The call is tried again only while nothing has been written. After an error `sink` may have got a part: write to a temporary file.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such state, version or draft.
    pub async fn pull(
        &self,
        ask: &PullAsk,
        sink: &mut (impl AsyncWrite + Send + Unpin),
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<PullInfo, Error> {
        let give_up = clock::now() + self.patience;
        let mut pause = Backoff::default();
        loop {
            let mut done = 0;
            let status = match self.pull_once(ask, sink, &mut done, &mut progress).await {
                Ok(info) => return Ok(info),
                Err(Failed::Here(error)) => return Err(error),
                Err(Failed::Call(status)) => status,
            };
            let wait = pause.next();
            if done > 0 || !may_retry(&status) || clock::now() + wait >= give_up {
                return Err(status.into());
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn pull_once(
        &self,
        ask: &PullAsk,
        sink: &mut (impl AsyncWrite + Send + Unpin),
        done: &mut u64,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<PullInfo, Failed> {
        let (version, draft) = ask.which.parts();
        let PullAsk { state, unless_etag, view, recipient, .. } = ask.clone();
        let message = PullRequest { state, version, draft, unless_etag, view: view.into(), recipient };
        let mut stream = service(self.channel.clone()).pull(self.request(message)).await?.into_inner();
        let Some(Part::Info(info)) = stream.message().await?.and_then(|message| message.part) else {
            return Err(Failed::Here(Error::fault("the server sent a document without saying which")));
        };
        let total = if info.unchanged { 0 } else { info.size };
        while let Some(message) = stream.message().await? {
            let Some(Part::Chunk(chunk)) = message.part else { continue };
            sink.write_all(&chunk.data).await.map_err(|cause| unwritable(&cause))?;
            *done += chunk.data.len() as u64;
            progress(Progress { done: *done, total });
        }
        if *done != total {
            let message = format!("the server sent {done} bytes of a document of {total}");
            return Err(Failed::Here(Error::unavailable(message)));
        }
        sink.flush().await.map_err(|cause| unwritable(&cause))?;
        Ok(info)
    }
}

enum Failed {
    /// The document could not be written, or makes no sense.
    Here(Error),
    Call(Status),
}

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        Self::Call(status)
    }
}

fn unwritable(cause: &std::io::Error) -> Failed {
    Failed::Here(
        Error::caller(format!("the document cannot be written: {cause}"))
            .with_next("check the path, its permissions and free space"),
    )
}
