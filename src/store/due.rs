//! Which lock has to be settled when, if nothing else happens to it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;

use crate::domain::time::StoreTime;

/// Deadlines by lock. An earlier entry than needed is harmless: settling finds nothing and tells the next deadline.
pub(crate) struct Due<K> {
    heap: BinaryHeap<Reverse<(StoreTime, K)>>,
    scheduled: HashMap<K, StoreTime>,
}

impl<K: Ord + Hash + Clone> Due<K> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), scheduled: HashMap::new() }
    }

    /// The lock is to be settled at `due` at the latest; none: nothing is pending on it.
    pub(crate) fn set(&mut self, lock: K, due: Option<StoreTime>) {
        let Some(due) = due else { return };
        if self.scheduled.get(&lock).is_none_or(|before| due < *before) {
            self.scheduled.insert(lock.clone(), due);
            self.heap.push(Reverse((due, lock)));
        }
    }

    /// The next lock that is due, taken out.
    pub(crate) fn pop(&mut self, now: StoreTime) -> Option<K> {
        while self.heap.peek().is_some_and(|Reverse((due, _))| *due <= now) {
            let Reverse((due, lock)) = self.heap.pop()?;
            if self.scheduled.get(&lock) == Some(&due) {
                self.scheduled.remove(&lock);
                return Some(lock);
            }
        }
        None
    }

    /// When the next lock is due.
    pub(crate) fn next(&self) -> Option<StoreTime> {
        self.heap.peek().map(|Reverse((due, _))| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_gives_each_lock_once_at_its_earliest_deadline() {
        let mut due = Due::new();
        due.set("a", Some(StoreTime(5)));
        due.set("a", Some(StoreTime(3)));
        due.set("a", Some(StoreTime(9)));
        due.set("b", Some(StoreTime(4)));
        assert_eq!(due.pop(StoreTime(2)), None);
        assert_eq!(due.pop(StoreTime(4)), Some("a"));
        assert_eq!(due.pop(StoreTime(4)), Some("b"));
        assert_eq!(due.pop(StoreTime(100)), None);
    }
}
