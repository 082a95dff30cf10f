//! Lets every reader out for a moment. Reads that overlap without a pause keep the write-ahead log from ever starting over, however short each
//! of them is: it grew to 26 GB beside 16 busy clients and a rotation.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Readers go through; the writer closes it.
#[derive(Default)]
pub(super) struct Gate {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    reading: usize,
    closed: bool,
}

impl Gate {
    /// Reads, once the gate is open.
    pub(super) fn read<T>(&self, read: impl FnOnce() -> T) -> T {
        let open = self.changed.wait_while(self.lock(), |inner| inner.closed);
        open.expect("no panic while held").reading += 1;
        let _reading = Reading(self);
        read()
    }

    /// Does something while nobody reads, if the readers inside leave within `patience`. The others wait meanwhile.
    pub(super) fn alone<T>(&self, patience: Duration, work: impl FnOnce() -> T) -> Option<T> {
        self.lock().closed = true;
        let _closed = Closed(self);
        let left = self.changed.wait_timeout_while(self.lock(), patience, |inner| inner.reading > 0);
        let (inner, waited) = left.expect("no panic while held");
        drop(inner);
        (!waited.timed_out()).then(work)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic while held")
    }
}

struct Reading<'a>(&'a Gate);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.lock().reading -= 1;
        self.0.changed.notify_all();
    }
}

struct Closed<'a>(&'a Gate);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.lock().closed = false;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn work_alone_waits_for_the_readers_inside_and_keeps_the_others_out() {
        let (gate, (inside, is_inside), (leave, leaves)) = (Gate::default(), channel(), channel::<()>());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                gate.read(move || {
                    inside.send(()).unwrap();
                    leaves.recv().unwrap();
                });
            });
            is_inside.recv().unwrap();
            assert_eq!(gate.alone(Duration::from_millis(1), || ()), None, "a reader that stays is not waited for longer");
            let (entered, has_entered) = channel();
            let gate = &gate;
            let alone = scope.spawn(move || {
                gate.alone(Duration::from_secs(60), move || {
                    scope.spawn(move || {
                        let _ = gate.read(|| entered.send(()));
                    });
                    has_entered.recv_timeout(Duration::from_millis(50)).is_err()
                })
            });
            leave.send(()).unwrap();
            assert_eq!(alone.join().unwrap(), Some(true), "nobody comes in meanwhile");
        });
        assert_eq!(gate.read(|| 7), 7, "it is open again");
    }
}
