//! The audit as a file that proves itself, for whoever verifies it without this server.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Lines, SOME};
use crate::domain::access::{Object, Verb};
use crate::domain::audit::Checkpoint;
use crate::secrets::audit::{Head, Link, Statement, exported};
use crate::service::{Caller, Error, Service};
use crate::store::{Query, Rows};

/// Rows, or checkpoints, read at once.
const PAGE: usize = 1000;

/// What to export. An export begins and ends with a checkpoint, so it may be more than was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Range {
    /// From this entry on; none: from the first.
    pub from: Option<u64>,
    /// Up to this one; none: all there is.
    pub to: Option<u64>,
    /// Also what is not signed for yet, after the end.
    pub unproven: bool,
}

impl Service {
    /// Begins an export: a signed line that says where it begins and ends, the checkpoint that it begins after, then rows and checkpoints.
    /// What was committed before the call is sealed first.
    ///
    /// # Errors
    /// The caller may not, or the range is empty.
    pub async fn audit_export(self: &Arc<Self>, caller: &Caller, range: Range) -> Result<Lines, Error> {
        self.allow(caller, Verb::Audit, Object::Store)?;
        // On a full disk there is still what was sealed before.
        if let Err(error) = self.seal_audit().await {
            tracing::warn!(%error, "exporting without what is not sealed yet");
        }
        let nothing =
            Error::Argument { what: "there is no such entry yet", next: "look at the last one with `leasehold audit head`" };
        let begin = self.checkpoint(Some(range.from.map_or(0, |from| from.saturating_sub(1)))).await?;
        let Some((begin, last)) = begin.zip(self.checkpoint(None).await?) else { return Err(nothing) };
        let end = match range.to {
            Some(to) => self.checkpoints(to.saturating_sub(1), 1).await?.pop().unwrap_or(last),
            None => last,
        };
        if end.n < begin.n || range.from.is_some_and(|from| from > end.n) {
            return Err(nothing);
        }
        let (send, receive) = mpsc::channel(8);
        let service = Arc::clone(self);
        tokio::spawn(async move {
            let mut out = Out { send, lines: Vec::with_capacity(SOME) };
            let done = service.write_export(begin, end, range.unproven, &mut out).await;
            if let Err(error) = match done {
                Ok(()) => out.flush().await,
                failed => failed,
            } {
                let _ = out.send.send(Err(error)).await;
            }
        });
        Ok(receive)
    }

    async fn write_export(&self, begin: Checkpoint, end: Checkpoint, unproven: bool, out: &mut Out) -> Result<(), Error> {
        out.line(self.audit.signer.opening(begin.n, head_of(&end), self.now().0)).await?;
        let (mut head, mut after) = (head_of(&begin), begin.n);
        out.line(begin.text).await?;
        while after < end.n {
            for checkpoint in self.checkpoints(after, PAGE).await? {
                after = checkpoint.n;
                if after > end.n {
                    break;
                }
                head = self.write_rows(head, after, out).await?;
                out.line(checkpoint.text).await?;
            }
        }
        if unproven {
            self.write_rows(head, u64::MAX, out).await?;
        }
        Ok(())
    }

    /// The rows after a head and up to one, as they are in the store: what was changed there shows.
    async fn write_rows(&self, mut head: Head, to: u64, out: &mut Out) -> Result<Head, Error> {
        while head.n < to {
            let rows = self.audit_rows(head.n, PAGE).await?;
            if rows.first().is_none_or(|(n, _)| *n > to) {
                break;
            }
            for (n, row) in rows.into_iter().take_while(|(n, _)| *n <= to) {
                head = Head { n, link: head.link.next(n, row.as_bytes()) };
                out.line(exported(&row, head.link)).await?;
            }
        }
        Ok(head)
    }

    async fn checkpoints(&self, after: u64, limit: usize) -> Result<Vec<Checkpoint>, Error> {
        match self.store.select(Query::Checkpoints { after, limit }).await? {
            Rows::Checkpoints(found) => Ok(found),
            _ => Err(Error::internal("checkpoints answered with other rows")),
        }
    }
}

/// What a checkpoint says; one that is not as it was signed says nothing, and the export shows it.
fn head_of(checkpoint: &Checkpoint) -> Head {
    Statement::read(&checkpoint.text).map_or(Head { n: checkpoint.n, link: Link::first() }, |statement| statement.head())
}

/// Where the lines go.
struct Out {
    send: mpsc::Sender<Result<Vec<String>, Error>>,
    lines: Vec<String>,
}

impl Out {
    async fn line(&mut self, line: String) -> Result<(), Error> {
        self.lines.push(line);
        if self.lines.len() < SOME { Ok(()) } else { self.flush().await }
    }

    /// Nobody listens any more: that ends it, too.
    async fn flush(&mut self) -> Result<(), Error> {
        let lines = std::mem::take(&mut self.lines);
        if lines.is_empty() { Ok(()) } else { self.send.send(Ok(lines)).await.map_err(|_| Error::Stopping) }
    }
}
