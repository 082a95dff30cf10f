//! The locks that the command's own tools take, under the one lease of `run`: they keep its children apart, and nobody else.

use std::collections::VecDeque;

use crate::backend::{Kind, LockInfo};

/// How many given-back locks are remembered: a repeated unlock comes at once, or not at all.
const REMEMBERED: usize = 64;

/// Who holds the inner lock: one that may change the state, or any number that may not.
#[derive(Default)]
pub(super) struct Inner {
    holders: Vec<LockInfo>,
    exclusive: bool,
    released: VecDeque<String>,
}

/// What a writer may do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// Write.
    Any,
    /// Write while there is no version at all: a plan may record that the state begins.
    First,
}

/// Why somebody may not write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoRight {
    /// Somebody else has the lock.
    Held(Box<LockInfo>),
    /// Its lock was taken away, or is not known.
    NotHeld,
}

impl Inner {
    /// Takes the lock, or says who is in the way. Taking it again with the same id is fine: clients repeat what was not answered.
    pub(super) fn lock(&mut self, info: LockInfo) -> Result<(), Box<LockInfo>> {
        if self.is_held_by(&info.id) {
            return Ok(());
        }
        let exclusive = info.kind() == Kind::Change;
        match self.holders.first() {
            Some(holder) if exclusive || self.exclusive => return Err(Box::new(holder.clone())),
            _ => {}
        }
        self.exclusive = exclusive;
        self.released.retain(|id| *id != info.id);
        self.holders.push(info);
        Ok(())
    }

    /// Gives the lock back; repeating it is fine. An id that never had it is told who has it.
    pub(super) fn unlock(&mut self, id: &str) -> Result<(), Option<Box<LockInfo>>> {
        if let Some(at) = self.holders.iter().position(|holder| holder.id == id) {
            let holder = self.holders.remove(at);
            self.forget(holder);
            return Ok(());
        }
        if self.released.iter().any(|released| released == id) {
            return Ok(());
        }
        Err(self.holders.first().cloned().map(Box::new))
    }

    /// Takes the lock from whoever has it, and says from how many.
    pub(super) fn clear(&mut self) -> usize {
        let holders = std::mem::take(&mut self.holders);
        let count = holders.len();
        holders.into_iter().for_each(|holder| self.forget(holder));
        count
    }

    /// What a writer that shows `id` may do.
    pub(super) fn right(&self, id: Option<&str>) -> Result<Right, NoRight> {
        match (id, self.holders.first()) {
            (Some(id), _) if self.is_held_by(id) => Ok(if self.exclusive { Right::Any } else { Right::First }),
            (_, Some(holder)) => Err(NoRight::Held(Box::new(holder.clone()))),
            (Some(_), None) => Err(NoRight::NotHeld),
            (None, None) => Ok(Right::Any),
        }
    }

    fn is_held_by(&self, id: &str) -> bool {
        self.holders.iter().any(|holder| holder.id == id)
    }

    fn forget(&mut self, holder: LockInfo) {
        if self.released.len() == REMEMBERED {
            self.released.pop_front();
        }
        self.released.push_back(holder.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(id: &str, operation: &str) -> LockInfo {
        LockInfo { id: id.to_owned(), operation: operation.to_owned(), ..LockInfo::default() }
    }

    fn plan(id: &str) -> LockInfo {
        info(id, "OperationTypePlan")
    }

    fn apply(id: &str) -> LockInfo {
        info(id, "OperationTypeApply")
    }

    #[test]
    fn two_plans_go_together_and_nothing_else_does() {
        let mut inner = Inner::default();
        assert_eq!(inner.lock(plan("p1")), Ok(()));
        assert_eq!(inner.lock(plan("p2")), Ok(()));
        assert_eq!(inner.lock(apply("a1")), Err(Box::new(plan("p1"))));
        assert_eq!(inner.unlock("p1"), Ok(()));
        assert_eq!(inner.lock(apply("a1")), Err(Box::new(plan("p2"))));
        assert_eq!(inner.unlock("p2"), Ok(()));
        assert_eq!(inner.lock(apply("a1")), Ok(()));
        assert_eq!(inner.lock(plan("p3")), Err(Box::new(apply("a1"))));
        assert_eq!(inner.lock(info("x", "state-push")), Err(Box::new(apply("a1"))));
    }

    #[test]
    fn what_is_repeated_is_answered_as_before() {
        let mut inner = Inner::default();
        assert_eq!((inner.lock(apply("a")), inner.lock(apply("a"))), (Ok(()), Ok(())));
        assert_eq!((inner.unlock("a"), inner.unlock("a")), (Ok(()), Ok(())));
        assert_eq!(inner.unlock("never"), Err(None));
        assert_eq!(inner.lock(apply("b")), Ok(()), "one lock of a repeated call was left behind");
        assert_eq!(inner.unlock("a"), Ok(()), "and it is not b's");
        assert_eq!(inner.unlock("never"), Err(Some(Box::new(apply("b")))));
        assert_eq!(inner.right(Some("b")), Ok(Right::Any));
    }

    #[test]
    fn lock_that_was_taken_away_is_not_written_under() {
        let mut inner = Inner::default();
        inner.lock(apply("a")).unwrap();
        assert_eq!((inner.clear(), inner.clear()), (1, 0));
        assert_eq!(inner.right(Some("a")), Err(NoRight::NotHeld));
        assert_eq!(inner.unlock("a"), Ok(()), "its owner ends in peace");
        inner.lock(apply("b")).unwrap();
        assert_eq!(inner.right(Some("a")), Err(NoRight::Held(Box::new(apply("b")))));
    }

    #[test]
    fn writer_without_an_id_may_write_only_while_nobody_has_the_lock() {
        let mut inner = Inner::default();
        assert_eq!(inner.right(None), Ok(Right::Any));
        inner.lock(plan("p")).unwrap();
        assert_eq!(inner.right(None), Err(NoRight::Held(Box::new(plan("p")))));
    }

    #[test]
    fn plan_may_only_begin_a_state() {
        let mut inner = Inner::default();
        inner.lock(plan("p")).unwrap();
        assert_eq!(inner.right(Some("p")), Ok(Right::First));
    }

    #[test]
    fn memory_of_what_was_given_back_is_bounded() {
        let mut inner = Inner::default();
        for n in 0..=REMEMBERED {
            inner.lock(apply(&n.to_string())).unwrap();
            inner.unlock(&n.to_string()).unwrap();
        }
        assert_eq!((inner.unlock("0"), inner.unlock("1")), (Err(None), Ok(())));
        assert_eq!(inner.released.len(), REMEMBERED);
    }
}
