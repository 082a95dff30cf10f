//! The sealer: chains rows in commit order and signs how far it has come, within a second of each commit. There is one; where nothing is new, it
//! signs nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::domain::audit::{AuditAct, Checkpoint, Deed, Entry};
use crate::secrets::audit::{Head, Statement};
use crate::service::{Error, Service};

/// Rows that come within this time share a checkpoint.
const GATHER: Duration = Duration::from_millis(300);
/// After a failure, such as a full disk.
const PAUSE: Duration = Duration::from_secs(1);
/// Rows read at once.
const PAGE: usize = 1000;

/// How far the chain is sealed.
pub(super) struct Sealed {
    head: Head,
    /// There is a checkpoint on it.
    signed: bool,
}

impl Default for Sealed {
    fn default() -> Self {
        Self { head: Head::first(), signed: false }
    }
}

impl Service {
    /// Finds out how far the chain is sealed, whether that still stands, and goes on from there.
    pub(super) async fn begin_sealing(self: &Arc<Self>) -> Result<(), Error> {
        if let Some(last) = self.checkpoint(None).await? {
            self.resume(&last).await?;
        }
        let (me, mut head) = (Arc::downgrade(self), self.store.head());
        let mut sealed = self.try_to_seal(true).await;
        tokio::spawn(async move {
            // Not the store: it must not live on for the sake of its sealer.
            loop {
                match sealed {
                    Some(sealed) => match head.wait_for(|head| head.audit > sealed).await {
                        Ok(_) => {}
                        Err(_) => return,
                    },
                    None => tokio::time::sleep(PAUSE).await,
                }
                tokio::time::sleep(GATHER).await;
                let Some(service) = me.upgrade() else { return };
                sealed = service.try_to_seal(sealed.is_some()).await;
            }
        });
        Ok(())
    }

    /// How far it is sealed; none if that is to be tried again, which is `told` once.
    async fn try_to_seal(&self, told: bool) -> Option<u64> {
        match self.seal_audit().await {
            Ok(reached) => {
                self.audit.counts.sealed.store(reached, Ordering::Relaxed);
                Some(reached)
            }
            Err(error) => {
                if told {
                    tracing::warn!(%error, "the audit could not be sealed; it is tried again every second");
                }
                None
            }
        }
    }

    /// Chains what is new, up to what is committed now, and signs it. Returns how far it has come.
    pub(super) async fn seal_audit(&self) -> Result<u64, Error> {
        let mut sealed = self.audit.sealed.lock().await;
        let (target, history) = {
            let head = self.store.head();
            let head = head.borrow();
            (head.audit, head.history)
        };
        if sealed.signed && target <= sealed.head.n {
            return Ok(sealed.head.n);
        }
        let head = self.chained(sealed.head, target).await?;
        let text = self.audit.signer.checkpoint(head, self.now().0, &history.to_string());
        self.audit_act(AuditAct::Checkpoint(Checkpoint { n: head.n, text })).await?;
        *sealed = Sealed { head, signed: true };
        Ok(head.n)
    }

    /// Takes the last checkpoint up. What does not stand any more is told, and left as it is: the next export shows where.
    async fn resume(&self, last: &Checkpoint) -> Result<(), Error> {
        let Some(statement) = Statement::read(&last.text) else {
            tracing::error!(entry = last.n, "{CHANGED}: the last checkpoint is not as it was signed");
            let head = self.chained(Head::first(), last.n).await?;
            *self.audit.sealed.lock().await = Sealed { head, signed: true };
            return Ok(());
        };
        *self.audit.sealed.lock().await = Sealed { head: statement.head(), signed: true };
        let before = match last.n.checked_sub(1) {
            Some(before) => self.checkpoint(Some(before)).await?.and_then(|before| Statement::read(&before.text)),
            None => None,
        };
        let from = before.map_or_else(Head::first, |before| before.head());
        if last.n > 0 && self.chained(from, last.n).await? != statement.head() {
            tracing::error!(after = from.n, to = last.n, "{CHANGED}: these entries are not those that were signed");
        }
        let mut news = Vec::new();
        if statement.key != self.audit.signer.key() {
            let detail = format!("from {} to {}", statement.key, self.audit.signer.key());
            news.push(Entry { detail, ..Entry::new(Deed::AuditKey, "/") });
        }
        let history = self.store.head().borrow().history.to_string();
        if statement.history != history {
            let detail = format!("from {} to {history}", statement.history);
            news.push(Entry { detail, ..Entry::new(Deed::ServerHistory, "/") });
        }
        if news.is_empty() { Ok(()) } else { self.audit_act(AuditAct::Record(news)).await }
    }

    /// The head after the rows from one to another.
    async fn chained(&self, mut head: Head, target: u64) -> Result<Head, Error> {
        while head.n < target {
            let rows = self.audit_rows(head.n, PAGE.min(usize::try_from(target - head.n).unwrap_or(PAGE))).await?;
            if rows.first().is_none_or(|(n, _)| *n > target) {
                tracing::error!(after = head.n, to = target, "{CHANGED}: entries are missing");
                head.n = target;
            }
            for (n, row) in rows.into_iter().take_while(|(n, _)| *n <= target) {
                if n != head.n + 1 {
                    tracing::error!(after = head.n, before = n, "{CHANGED}: entries are missing");
                }
                head = Head { n, link: head.link.next(n, row.as_bytes()) };
            }
        }
        Ok(head)
    }
}

const CHANGED: &str = "THE AUDIT WAS CHANGED behind the server's back";
