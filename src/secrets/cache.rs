//! Opened keys at hand, a bounded number of them.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A bounded cache of opened keys, the least recently used out first.
///
/// Keys are handed out shared: one that is evicted or cleared is dropped — and so wiped, as every key type does — when its last user is done.
pub struct Cache<K, V> {
    most: usize,
    inner: Mutex<Inner<K, V>>,
}

/// When it was, as far as forgetting goes.
#[derive(Clone, Copy)]
pub struct Generation(u64);

struct Inner<K, V> {
    /// Each with when it was last used.
    entries: HashMap<K, (Arc<V>, u64)>,
    /// By last use.
    order: BTreeMap<u64, K>,
    uses: u64,
    /// How often keys were forgotten on demand.
    forgotten: u64,
}

impl<K: Clone + Eq + Hash, V> Cache<K, V> {
    /// An empty cache for at most this many keys.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let inner = Inner { entries: HashMap::new(), order: BTreeMap::new(), uses: 0, forgotten: 0 };
        Self { most, inner: Mutex::new(inner) }
    }

    /// A key that is at hand.
    pub fn get(&self, id: &K) -> Option<Arc<V>> {
        self.inner().touch(id)
    }

    /// A key that is at hand, or else what `open` opens, which is then kept as by [`Self::keep`].
    ///
    /// # Errors
    /// Those of `open`.
    pub fn get_or_open<E>(&self, id: &K, open: impl FnOnce() -> Result<V, E>) -> Result<Arc<V>, E> {
        let before = self.generation();
        match self.get(id) {
            Some(found) => Ok(found),
            None => Ok(self.keep(id, open()?, before)),
        }
    }

    /// To be taken before the wrapped key is read, and given to [`Self::keep`].
    pub fn generation(&self) -> Generation {
        Generation(self.inner().forgotten)
    }

    /// Keeps an opened key. If another caller was first, theirs is returned. It is not kept if a key was forgotten since `before`: it may be the
    /// one that had to go.
    pub fn keep(&self, id: &K, opened: V, before: Generation) -> Arc<V> {
        let opened = Arc::new(opened);
        let mut inner = self.inner();
        if let Some(first) = inner.touch(id) {
            return first;
        }
        let evicted = if inner.forgotten == before.0 { inner.insert(id.clone(), Arc::clone(&opened), self.most) } else { None };
        // Not under the lock: wiping is the key's own business.
        drop(inner);
        drop(evicted);
        opened
    }

    /// Forgets a key: its environment or state is gone, or it was replaced.
    pub fn remove(&self, id: &K) {
        let mut inner = self.inner();
        inner.forgotten += 1;
        let removed = inner.entries.remove(id);
        if let Some((_, used)) = &removed {
            inner.order.remove(used);
        }
        drop(inner);
    }

    /// Forgets all keys, for `lock`; also those that are being opened now will not be kept. The caller sees to it that none is opened after.
    pub fn clear(&self) {
        let mut inner = self.inner();
        inner.forgotten += 1;
        let entries = std::mem::take(&mut inner.entries);
        inner.order.clear();
        drop(inner);
        drop(entries);
    }

    /// How many keys are at hand.
    pub fn len(&self) -> usize {
        self.inner().entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nothing here panics half-way, so a poisoned lock guards a sound cache.
    fn inner(&self) -> MutexGuard<'_, Inner<K, V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash, V> Inner<K, V> {
    fn touch(&mut self, id: &K) -> Option<Arc<V>> {
        let (value, used) = self.entries.get_mut(id)?;
        let id = self.order.remove(used)?;
        self.uses += 1;
        *used = self.uses;
        self.order.insert(self.uses, id);
        Some(Arc::clone(value))
    }

    /// Keeps a key that is not there yet; hands back what had to go for it.
    fn insert(&mut self, id: K, value: Arc<V>, most: usize) -> Option<Arc<V>> {
        self.uses += 1;
        self.order.insert(self.uses, id.clone());
        self.entries.insert(id, (value, self.uses));
        let (_, oldest) = if self.entries.len() > most { self.order.pop_first()? } else { return None };
        self.entries.remove(&oldest).map(|(value, _)| value)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Counts how many are alive, as a key's wiping would show.
    struct Key<'a>(u32, &'a AtomicUsize);

    impl Drop for Key<'_> {
        fn drop(&mut self) {
            self.1.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn key(number: u32, alive: &AtomicUsize) -> Result<Key<'_>, ()> {
        alive.fetch_add(1, Ordering::SeqCst);
        Ok(Key(number, alive))
    }

    #[test]
    fn least_recently_used_goes_and_is_dropped() {
        let alive = AtomicUsize::new(0);
        let cache = Cache::new(3);
        for number in [1, 2, 3] {
            cache.get_or_open(&number, || key(number, &alive)).unwrap();
        }
        assert_eq!(cache.get(&1).map(|key| key.0), Some(1));
        cache.get_or_open(&4, || key(4, &alive)).unwrap();
        assert!(cache.get(&2).is_none(), "2 was used longest ago");
        assert_eq!(([1, 3, 4].map(|id| cache.get(&id).is_some()), cache.len()), ([true; 3], 3));
        assert_eq!(alive.load(Ordering::SeqCst), 3);
        for number in 10..1000 {
            cache.get_or_open(&number, || key(number, &alive)).unwrap();
            assert!(cache.get(&number).is_some() && cache.len() == 3);
        }
        assert_eq!((alive.load(Ordering::SeqCst), cache.inner().order.len()), (3, 3));
    }

    #[test]
    fn keys_in_use_outlive_eviction_and_clearing_until_their_last_user_is_done() {
        let alive = AtomicUsize::new(0);
        let cache = Cache::new(1);
        let used = cache.get_or_open(&1, || key(1, &alive)).unwrap();
        cache.get_or_open(&2, || key(2, &alive)).unwrap();
        assert_eq!(alive.load(Ordering::SeqCst), 2, "evicted, but in use");
        cache.clear();
        assert_eq!((alive.load(Ordering::SeqCst), cache.is_empty(), used.0), (1, true, 1));
        drop(used);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn key_opened_while_keys_are_forgotten_is_not_kept() {
        let alive = AtomicUsize::new(0);
        let cache = Cache::new(8);
        for forget in [&(|| cache.clear()) as &dyn Fn(), &|| cache.remove(&7)] {
            let opened = cache.get_or_open(&1, || {
                forget();
                key(1, &alive)
            });
            assert_eq!(opened.unwrap().0, 1, "its caller may still use it");
            assert_eq!((cache.len(), alive.load(Ordering::SeqCst)), (0, 0));
        }
        cache.get_or_open(&1, || key(1, &alive)).unwrap();
        cache.remove(&1);
        assert_eq!((cache.get(&1).is_none(), cache.inner().order.len(), alive.load(Ordering::SeqCst)), (true, 0, 0));
    }

    #[test]
    fn what_does_not_open_is_not_kept_and_what_two_open_is_kept_once() {
        let alive = AtomicUsize::new(0);
        let cache = Cache::new(8);
        assert!(cache.get_or_open(&1, || Err("no")).is_err_and(|error| error == "no"));
        let late = cache.get_or_open(&1, || {
            let first = cache.get_or_open(&1, || key(1, &alive));
            assert_eq!(first.unwrap().0, 1);
            key(2, &alive).map_err(|()| "no")
        });
        assert_eq!((late.unwrap().0, cache.len(), alive.load(Ordering::SeqCst)), (1, 1, 1));
    }
}
