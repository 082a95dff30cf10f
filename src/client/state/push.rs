//! Writing a version.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::calls::service;
use super::source::Opened;
use super::{Progress, Source};
use crate::client::error::may_retry;
use crate::client::retry::Backoff;
use crate::client::secret::LeaseSecret;
use crate::client::{Client, Error, LeaseRef, clock, request_id};
use crate::pb::v1::push_request::Part;
use crate::pb::v1::{Chunk, Expect, Format, PushOpen, PushRequest, PushResponse};

/// What is asked of a write, beside the document and the lease.
#[derive(Debug, Clone, PartialEq)]
pub struct PushAsk {
    /// What must be current; `None`: whatever is when the write is checked.
    pub expect: Option<Expect>,
    /// What the bytes are; [`Format::Unspecified`]: as the state has it, or found out from the bytes.
    pub format: Format,
    /// The lock id of a tool that locks by itself; groups snapshots in the history.
    pub inner_lock_id: String,
    /// Also with a lower serial or another lineage.
    pub rewrite: bool,
}

impl Default for PushAsk {
    fn default() -> Self {
        Self { expect: None, format: Format::Unspecified, inner_lock_id: String::new(), rewrite: false }
    }
}

impl Client {
    /// Writes a version under a live exclusive lease. `progress` hears of every piece that was handed to the connection; it begins
    /// anew when the call is tried again, which is done under the same request id.
    ///
    /// # Errors
    /// A complete document that is refused for lease, version, serial or lineage is kept: [`Error::draft`] names it.
    pub async fn push(
        &self,
        lease: &LeaseRef,
        ask: &PushAsk,
        document: &Source,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<PushResponse, Error> {
        let open = PushOpen {
            state: lease.state.clone(),
            session: lease.session.clone(),
            token: lease.token.0,
            request_id: request_id(),
            expect: ask.expect.clone(),
            size: document.size(),
            format: ask.format.into(),
            inner_lock_id: ask.inner_lock_id.clone(),
            rewrite: ask.rewrite,
        };
        let give_up = clock::now() + self.patience;
        let mut pause = Backoff::default();
        let mut secret = if self.token.is_none() { lease.secret.as_deref() } else { None };
        let mut last: Option<Status> = None;
        loop {
            let Some(opened) = document.open().await? else {
                return Err(last.map_or_else(|| Error::caller("the document has been read already"), Error::from));
            };
            let status = match self.push_once(secret, &open, opened, &mut progress).await {
                Ok(reply) => return Ok(reply),
                Err(Failed::Here(error)) => return Err(error),
                Err(Failed::Call(status)) => status,
            };
            if status.code() == Code::Unauthenticated && secret.is_none() && lease.secret.is_some() {
                secret = lease.secret.as_deref();
                last = Some(status);
                continue;
            }
            let wait = pause.next();
            if !may_retry(&status) || clock::now() + wait >= give_up {
                return Err(status.into());
            }
            tokio::time::sleep(wait).await;
            last = Some(status);
        }
    }

    async fn push_once(
        &self,
        secret: Option<&LeaseSecret>,
        open: &PushOpen,
        mut document: Opened,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<PushResponse, Failed> {
        let total = open.size;
        let (parts, queue) = mpsc::channel::<PushRequest>(2);
        let mut service = service(self.channel.clone());
        let call = service.push(self.request_as(ReceiverStream::new(queue), secret));
        let feed = async move {
            let mut done = 0;
            let mut part = Part::Open(open.clone());
            // The other end goes away when the server has decided before it saw everything: its answer says why.
            while parts.send(PushRequest { part: Some(part) }).await.is_ok() {
                progress(Progress { done, total });
                let data = document.next().await?;
                if data.is_empty() {
                    break;
                }
                done += data.len() as u64;
                part = Part::Chunk(Chunk { data });
            }
            Ok::<_, Error>(())
        };
        tokio::pin!(call, feed);
        tokio::select! {
            reply = &mut call => reply,
            fed = &mut feed => {
                // Dropping the call takes back what was sent of a document that cannot be read to its end.
                fed.map_err(Failed::Here)?;
                call.await
            }
        }
        .map(tonic::Response::into_inner)
        .map_err(Failed::Call)
    }
}

enum Failed {
    /// The document could not be read.
    Here(Error),
    Call(Status),
}
