//! Watching: events after a cursor, then those to come; nothing left out, nothing twice.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::{mpsc, watch};

use super::{Caller, Error, Service};
use crate::domain::access::{Object, Verb};
use crate::domain::event::Recorded;
use crate::domain::ids::{HistoryId, Revision};
use crate::domain::names::{Prefix, StateName};

/// A place in a history. Opaque to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    history: HistoryId,
    revision: Revision,
}

/// What a watcher is told.
pub enum Seen {
    /// Where it stands, with nothing to tell.
    Mark(Cursor),
    /// What happened.
    Event(Cursor, Arc<Recorded>),
}

/// A watcher to whom nothing happens hears where it stands this often, so that its cursor does not grow old.
const MARK: Duration = Duration::from_secs(15);
/// How many events are read at once.
const PAGE: usize = 1024;

impl Cursor {
    /// Reads a cursor as it was printed.
    ///
    /// # Errors
    /// It is none of ours.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::Cursor)?;
        let (history, revision) = bytes.split_first_chunk::<16>().ok_or(Error::Cursor)?;
        let revision = revision.try_into().map_err(|_| Error::Cursor)?;
        Ok(Self { history: HistoryId(*history), revision: Revision(u64::from_be_bytes(revision)) })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = [self.history.0.as_slice(), &self.revision.0.to_be_bytes()].concat();
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl Service {
    /// Begins to watch. The channel ends when the receiver is dropped or the store stops; an error in it is final.
    ///
    /// # Errors
    /// The cursor is of another history, or too old: list again.
    pub fn watch(
        self: &Arc<Self>,
        caller: &Caller,
        prefix: Prefix,
        from: Option<Cursor>,
    ) -> Result<mpsc::Receiver<Result<Seen, Error>>, Error> {
        self.allow_list(caller, &[Verb::ReadRedacted], prefix.environment.as_ref())?;
        let head = *self.store.head().borrow();
        let here = Cursor { history: head.history, revision: head.revision };
        let relist = |why| Error::Relist { why, cursor: here.to_string() };
        let cursor = match from {
            None => here,
            Some(from) if from.history != head.history => return Err(relist("the cursor is of another history")),
            Some(from) if from.revision > head.revision => return Err(relist("the cursor is ahead of the history")),
            Some(from) if from.revision < head.trimmed => return Err(relist("the events after the cursor are gone")),
            Some(from) => from,
        };
        let (send, receive) = mpsc::channel(64);
        let told = self.hub.told();
        let (service, caller) = (Arc::clone(self), caller.clone());
        tokio::spawn(async move {
            if let Err(error) = service.follow(&caller, prefix, cursor, told, &send).await {
                let _ = send.send(Err(error)).await;
            }
        });
        Ok(receive)
    }

    async fn follow(
        &self,
        caller: &Caller,
        prefix: Prefix,
        mut cursor: Cursor,
        mut told: watch::Receiver<Revision>,
        send: &mpsc::Sender<Result<Seen, Error>>,
    ) -> Result<(), Error> {
        if send.send(Ok(Seen::Mark(cursor))).await.is_err() {
            return Ok(());
        }
        loop {
            told.borrow_and_update();
            // Who has lost its rights since is not to wait for what it will never be told.
            self.allow_list(caller, &[Verb::ReadRedacted], prefix.environment.as_ref())?;
            let page = self.page(cursor.revision).await?;
            if page.is_empty() {
                tokio::select! {
                    () = send.closed() => return Ok(()),
                    changed = told.changed() => changed.map_err(|_| Error::Stopping)?,
                    () = tokio::time::sleep(MARK) => {
                        if send.send(Ok(Seen::Mark(cursor))).await.is_err() {
                            return Ok(());
                        }
                    }
                }
                continue;
            }
            // Between the reading of a page and its end the history may have been trimmed: a gap shows in the numbers.
            for event in page {
                if event.revision.0 != cursor.revision.0 + 1 {
                    let head = *self.store.head().borrow();
                    let here = Cursor { history: head.history, revision: head.revision };
                    return Err(Error::Relist { why: "the watcher fell too far behind", cursor: here.to_string() });
                }
                cursor.revision = event.revision;
                let inside = prefix.environment.as_ref().is_none_or(|environment| *environment == event.environment);
                let covered = event.path.as_ref().map_or(prefix.path.is_none(), |path| prefix.covers(path.as_str()));
                let seen = inside && covered && self.may_see(caller, &event)?;
                if seen && send.send(Ok(Seen::Event(cursor, event))).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// Whether a watcher may know of an event, as its rights are now.
    fn may_see(&self, caller: &Caller, event: &Recorded) -> Result<bool, Error> {
        let Some(path) = &event.path else {
            return Ok(self.allow_within(caller, &[Verb::ReadRedacted], &event.environment).is_ok());
        };
        let state = StateName { environment: event.environment.clone(), path: path.clone() };
        Ok(self.verbs(caller, &Object::State(&state))?.has(Verb::ReadRedacted))
    }

    async fn page(&self, after: Revision) -> Result<Vec<Arc<Recorded>>, Error> {
        match self.hub.after(after) {
            Some(page) => Ok(page),
            None => Ok(self.store.events(after, PAGE).await?.into_iter().map(Arc::new).collect()),
        }
    }
}
