//! The audit as it is written: what was, then what comes. Not proven; that is what an export is for.

use std::sync::Arc;

use serde::Deserialize;
use tokio::sync::mpsc;

use super::{Lines, SOME};
use crate::domain::access::{Object, Verb};
use crate::domain::time::WallTime;
use crate::service::{Caller, Error, Service};

/// Rows read at once.
const PAGE: usize = 1000;

/// Where a tail begins.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// After this entry.
    After(u64),
    /// With this many of the last ones.
    Last(u64),
    /// With what was done at this time, or after it.
    Since(WallTime),
}

impl Service {
    /// Begins to read the audit. If it follows, the channel ends when the receiver is dropped, the caller loses its right, or the store stops.
    ///
    /// # Errors
    /// The caller may not.
    pub async fn audit_tail(self: &Arc<Self>, caller: &Caller, from: Start, follow: bool) -> Result<Lines, Error> {
        self.allow(caller, Verb::Audit, Object::Store)?;
        let last = self.store.head().borrow().audit;
        let after = match from {
            Start::After(after) => after,
            Start::Last(count) => last.saturating_sub(count),
            Start::Since(at) => self.before(at, last).await?,
        };
        let (send, receive) = mpsc::channel(8);
        let (me, mut head, caller) = (Arc::downgrade(self), self.store.head(), caller.clone());
        tokio::spawn(async move {
            let mut after = after;
            loop {
                let until = head.borrow_and_update().audit;
                while after < until {
                    let Some(service) = me.upgrade() else { return };
                    // As its rights are now: who has lost them is told nothing more.
                    if !service.may(&caller, Verb::Audit, Object::Store) {
                        return drop(send.send(Err(Error::NotAllowed)).await);
                    }
                    let rows = match service.audit_rows(after, PAGE).await {
                        Ok(rows) => rows,
                        Err(error) => return drop(send.send(Err(error)).await),
                    };
                    drop(service);
                    after = rows.last().map_or(until, |(n, _)| *n);
                    let rows: Vec<String> = rows.into_iter().map(|(_, row)| row).collect();
                    for some in rows.chunks(SOME) {
                        if send.send(Ok(some.to_vec())).await.is_err() {
                            return;
                        }
                    }
                }
                if !follow {
                    return;
                }
                let ended = tokio::select! {
                    () = send.closed() => return,
                    more = head.wait_for(|head| head.audit > after) => more.is_err(),
                };
                if ended {
                    return drop(send.send(Err(Error::Stopping)).await);
                }
            }
        });
        Ok(receive)
    }

    /// The last entry before a time. Wall clocks may have been set back: then it is one of several.
    async fn before(&self, at: WallTime, last: u64) -> Result<u64, Error> {
        #[derive(Deserialize)]
        struct Timed {
            at: WallTime,
        }
        let (mut low, mut high) = (0, last);
        while low < high {
            let middle = low + (high - low) / 2;
            let row = self.audit_rows(middle, 1).await?.pop();
            let timed = row.and_then(|(_, row)| serde_json::from_str::<Timed>(&row).ok());
            if timed.is_some_and(|timed| timed.at < at) { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }
}
