//! Tells those who wait what was committed: one task reads new events from the store, and everybody hears of them from here.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use dashmap::DashMap;
use tokio::sync::{broadcast, watch};

use super::tally::Tally;
use crate::domain::event::Recorded;
use crate::domain::ids::Revision;
use crate::domain::names::StateName;
use crate::store::{Head, Store};

/// How many of the newest events are kept at hand: who is within them reads no store.
const RECENT: usize = 8192;
/// How many events of one lock a waiter may lag behind before it has to look at the lock itself.
const LAG: usize = 256;
/// How many events are read at once.
const PAGE: usize = 1024;

/// Where committed events are heard of.
pub struct Hub {
    recent: Mutex<VecDeque<Arc<Recorded>>>,
    /// The last revision that is in `recent`.
    told: watch::Sender<Revision>,
    topics: DashMap<StateName, broadcast::Sender<Arc<Recorded>>>,
    tally: Tally,
}

impl Hub {
    /// Starts the task that follows the store.
    #[must_use]
    pub fn start(store: Arc<dyn Store>) -> Arc<Self> {
        let mut head = store.head();
        let start = head.borrow_and_update().revision;
        let (topics, tally) = (DashMap::new(), Tally::default());
        let hub = Arc::new(Self { recent: Mutex::default(), told: watch::Sender::new(start), topics, tally });
        let weak = Arc::downgrade(&hub);
        tokio::spawn(async move {
            let mut last = start;
            loop {
                let Some(hub) = weak.upgrade() else { return };
                hub.tally.find_out(&*store).await;
                drop(hub);
                if !changed(&mut head, last).await {
                    return;
                }
                let Some(hub) = weak.upgrade() else { return };
                match store.events(last, PAGE).await {
                    // If nothing is left to tell, what was new has been trimmed already.
                    Ok(events) => last = hub.tell(events).unwrap_or_else(|| last.max(head.borrow().trimmed)),
                    Err(error) => {
                        tracing::warn!(%error, "events could not be read; waiters hear of them late");
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    }
                }
            }
        });
        hub
    }

    /// Hears of events about one state, and about its environment, from now on.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>, state: &StateName) -> Ear {
        let events = self.topics.entry(state.clone()).or_insert_with(|| broadcast::channel(LAG).0).subscribe();
        Ear { hub: Arc::clone(self), state: state.clone(), events: Some(events) }
    }

    /// What the events come to.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Changes when there are newer events.
    #[must_use]
    pub fn told(&self) -> watch::Receiver<Revision> {
        self.told.subscribe()
    }

    /// The events after a revision, if they are still at hand.
    #[must_use]
    pub fn after(&self, revision: Revision) -> Option<Vec<Arc<Recorded>>> {
        let recent = self.recent.lock().expect("no panic while held");
        let from = recent.partition_point(|event| event.revision <= revision);
        let whole = recent.get(from).is_none_or(|first| first.revision.0 == revision.0 + 1);
        let up_to_date = from < recent.len() || *self.told.borrow() <= revision;
        (whole && up_to_date).then(|| recent.range(from..).take(PAGE).cloned().collect())
    }

    fn tell(&self, events: Vec<Recorded>) -> Option<Revision> {
        self.tally.tell(&events);
        let events: Vec<_> = events.into_iter().map(Arc::new).collect();
        let last = events.last()?.revision;
        {
            let mut recent = self.recent.lock().expect("no panic while held");
            recent.extend(events.iter().cloned());
            let surplus = recent.len().saturating_sub(RECENT);
            recent.drain(..surplus);
        }
        self.told.send_replace(last);
        for event in events {
            let Some(path) = &event.path else {
                // What happens to an environment happens to every lock in it.
                let inside = self.topics.iter().filter(|topic| topic.key().environment == event.environment);
                inside.for_each(|topic| drop(topic.send(Arc::clone(&event))));
                continue;
            };
            let state = StateName { environment: event.environment.clone(), path: path.clone() };
            if let Some(topic) = self.topics.get(&state) {
                let _ = topic.send(Arc::clone(&event));
            }
        }
        Some(last)
    }
}

/// One who hears of the events of a state. The topic goes with the last of them, however that one ends.
pub struct Ear {
    hub: Arc<Hub>,
    state: StateName,
    events: Option<broadcast::Receiver<Arc<Recorded>>>,
}

impl Ear {
    /// The next event.
    ///
    /// # Errors
    /// Some were missed, or there will be none any more.
    pub async fn recv(&mut self) -> Result<Arc<Recorded>, broadcast::error::RecvError> {
        self.events.as_mut().ok_or(broadcast::error::RecvError::Closed)?.recv().await
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        drop(self.events.take());
        self.hub.topics.remove_if(&self.state, |_, topic| topic.receiver_count() == 0);
    }
}

/// Waits for the store to be ahead of `last`. False when it is gone.
async fn changed(head: &mut watch::Receiver<Head>, last: Revision) -> bool {
    head.wait_for(|head| head.revision > last).await.is_ok()
}
