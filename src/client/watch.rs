//! Events, across reconnects.

use std::time::Duration;

use tonic::{Code, Status, Streaming};

use super::error::{may_retry, reason_of};
use super::retry::{ATTEMPT, Backoff, limited};
use super::{Client, Error, clock};
use crate::pb::v1::watch_response::Message;
use crate::pb::v1::watch_service_client::WatchServiceClient;
use crate::pb::v1::{Event, WatchRequest, WatchResponse};

/// What a watcher hears.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchItem {
    /// Where the stream stands: the first item, and now and then when nothing happened.
    Mark {
        /// Events after this one will follow.
        cursor: String,
    },
    /// Something happened.
    Event(Event),
    /// The cursor is too old or of another history: what happened since is not known. List again; events go on from `cursor`.
    Relist {
        /// Where the watcher goes on.
        cursor: String,
    },
}

/// A stream of events that resumes from its last cursor when the connection breaks, so that nothing is lost or told twice.
pub struct Watcher {
    client: Client,
    prefix: String,
    cursor: String,
    stream: Option<Streaming<WatchResponse>>,
    pause: Backoff,
    /// Whether the server ever answered: until then patience is limited.
    answered: bool,
}

impl Client {
    /// Watches `ENV`, `ENV/PREFIX`, or with an empty prefix everything; from a cursor on, or with an empty one from now on. Nothing
    /// is sent before the first [`Watcher::next`].
    pub fn watch(&self, prefix: impl Into<String>, cursor: impl Into<String>) -> Watcher {
        Watcher {
            client: self.clone(),
            prefix: prefix.into(),
            cursor: cursor.into(),
            stream: None,
            pause: pauses(),
            answered: false,
        }
    }
}

impl Watcher {
    /// Events up to this cursor have been handed out; a later watcher may start here.
    pub fn cursor(&self) -> &str {
        &self.cursor
    }

    /// The next item. Once the server has answered, a broken connection is made again for as long as it takes.
    ///
    /// The future may be dropped and asked for again: nothing is lost by that.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the server cannot be reached at first; refusals at any time.
    pub async fn next(&mut self) -> Result<WatchItem, Error> {
        let give_up = clock::now() + self.client.patience;
        loop {
            let status = match self.step().await {
                Ok(Some(item)) => {
                    self.answered = true;
                    self.pause = pauses();
                    return Ok(item);
                }
                Ok(None) => continue,
                Err(status) => status,
            };
            self.stream = None;
            if reason_of(&status).as_deref() == Some("WATCH_RELIST") {
                return self.relist(status);
            }
            let wait = self.pause.next();
            if !may_retry(&status) || (!self.answered && clock::now() + wait >= give_up) {
                return Err(status.into());
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// One message, or nothing of interest.
    async fn step(&mut self) -> Result<Option<WatchItem>, Status> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let request = self.client.request(WatchRequest { prefix: self.prefix.clone(), cursor: self.cursor.clone() });
                let mut service = WatchServiceClient::new(self.client.channel.clone());
                self.stream.insert(limited(Some(ATTEMPT), service.watch(request)).await?.into_inner())
            }
        };
        let message = stream.message().await?.ok_or_else(|| Status::new(Code::Unavailable, "the server ended the stream"))?;
        Ok(match message.message {
            Some(Message::Mark(mark)) => {
                self.cursor.clone_from(&mark.cursor);
                Some(WatchItem::Mark { cursor: mark.cursor })
            }
            Some(Message::Event(event)) => {
                self.cursor.clone_from(&event.cursor);
                Some(WatchItem::Event(event))
            }
            None => None,
        })
    }

    fn relist(&mut self, status: Status) -> Result<WatchItem, Error> {
        let error = Error::from(status);
        match error.report().metadata.get("cursor") {
            Some(cursor) if *cursor != self.cursor => {
                self.cursor.clone_from(cursor);
                Ok(WatchItem::Relist { cursor: cursor.clone() })
            }
            // Without a new place to start from, going on would turn in a circle.
            _ => Err(error),
        }
    }
}

fn pauses() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, event, mark, refused};
    use super::*;

    fn cursor_of(item: &WatchItem) -> &str {
        match item {
            WatchItem::Mark { cursor } | WatchItem::Relist { cursor } => cursor,
            WatchItem::Event(event) => &event.cursor,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn broken_stream_goes_on_from_the_last_cursor() {
        let fake = Fake::start();
        fake.script_watch([Ok(mark("h.1")), Ok(event("h.2")), Err(Status::unavailable("draining"))]);
        fake.script_watch([Ok(mark("h.2")), Ok(event("h.3"))]);
        let mut watcher = fake.client().watch("dev", "");
        let mut seen = Vec::new();
        while seen.len() < 4 {
            seen.push(cursor_of(&watcher.next().await.unwrap()).to_owned());
        }
        assert_eq!(seen, ["h.1", "h.2", "h.2", "h.3"]);
        let asked: Vec<_> = fake.watches().into_iter().map(|request| (request.prefix, request.cursor)).collect();
        assert_eq!(asked, [("dev".to_owned(), String::new()), ("dev".to_owned(), "h.2".to_owned())]);
    }

    #[tokio::test(start_paused = true)]
    async fn cursor_of_another_history_asks_for_a_new_list_and_goes_on() {
        let fake = Fake::start();
        fake.script_watch([Err(refused(Code::OutOfRange, "WATCH_RELIST", &[("cursor", "i.9")]))]);
        fake.script_watch([Ok(mark("i.9"))]);
        let mut watcher = fake.client().watch("", "h.1");
        assert_eq!(watcher.next().await.unwrap(), WatchItem::Relist { cursor: "i.9".into() });
        assert_eq!(watcher.next().await.unwrap(), WatchItem::Mark { cursor: "i.9".into() });
        assert_eq!(fake.watches()[1].cursor, "i.9");
    }

    #[tokio::test(start_paused = true)]
    async fn refusal_ends_the_watch() {
        let fake = Fake::start();
        fake.script_watch([Err(refused(Code::NotFound, "ENVIRONMENT_NOT_FOUND", &[]))]);
        assert!(matches!(fake.client().watch("nope", "").next().await, Err(Error::NotFound(_))));
    }
}
