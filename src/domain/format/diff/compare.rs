//! Two values side by side: pairing members by key and elements by index.

use std::{cmp::Ordering, iter, ops::ControlFlow};

use super::{
    super::{
        strings::compare_strings,
        value::{Kind, Member, Value},
    },
    ChangeKind,
};

/// One step from a value to a part of it.
#[derive(Clone, Copy)]
pub(super) enum Step<'a> {
    /// The key with its quotes.
    Key(&'a [u8]),
    Index(usize),
}

/// When two values are the same.
#[derive(Clone, Copy)]
pub(super) struct Comparison {
    /// Decides for two objects before their members do.
    objects: fn(Value<'_>, Value<'_>) -> bool,
}

impl Comparison {
    /// By their JSON value.
    pub(super) const EXACT: Comparison = Comparison { objects: |_, _| false };

    /// The same, and objects for which the function says so are the same too.
    pub(super) const fn or(objects: fn(Value<'_>, Value<'_>) -> bool) -> Comparison {
        Comparison { objects }
    }

    pub(super) fn same(self, old: Value<'_>, new: Value<'_>) -> bool {
        self.walk(old, new, &mut Vec::new(), &mut |_, _| ControlFlow::Break(())).is_continue()
    }

    /// Tells every smallest part that differs, and breaks when told to. Recurses as deep as the documents are nested.
    pub(super) fn walk<'a>(
        self,
        old: Value<'a>,
        new: Value<'a>,
        path: &mut Vec<Step<'a>>,
        found: &mut dyn FnMut(ChangeKind, &[Step<'a>]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if old.raw() == new.raw() {
            return ControlFlow::Continue(());
        }
        let mut part = |step, old: Option<Value<'a>>, new: Option<Value<'a>>| {
            path.push(step);
            let flow = match (old, new) {
                (Some(old), Some(new)) => self.walk(old, new, path, found),
                _ => found(ChangeKind::of(old, new), path),
            };
            path.pop();
            flow
        };
        match (old.kind(), new.kind()) {
            (Kind::Object, Kind::Object) if (self.objects)(old, new) => ControlFlow::Continue(()),
            (Kind::Object, Kind::Object) => by_key(old, new, &mut |key, old, new| part(Step::Key(key), old, new)),
            (Kind::Array, Kind::Array) => {
                let (mut old, mut new) = (old.elements(), new.elements());
                for index in 0.. {
                    match (old.next(), new.next()) {
                        (None, None) => break,
                        (old, new) => part(Step::Index(index), old, new)?,
                    }
                }
                ControlFlow::Continue(())
            }
            (Kind::String, Kind::String) if compare_strings(old.raw(), new.raw()).is_eq() => ControlFlow::Continue(()),
            _ => found(ChangeKind::Changed, path),
        }
    }
}

/// Pairs the members of two objects: in place as long as their keys go in step, the rest sorted by key.
pub(super) fn by_key<'a>(
    old: Value<'a>,
    new: Value<'a>,
    pair: &mut dyn FnMut(&'a [u8], Option<Value<'a>>, Option<Value<'a>>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let (mut old, mut new) = (old.members(), new.members());
    loop {
        match (old.next(), new.next()) {
            (None, None) => return ControlFlow::Continue(()),
            (Some(a), Some(b)) if compare_strings(a.key(), b.key()).is_eq() => pair(a.key(), Some(a.value()), Some(b.value()))?,
            (a, b) => {
                let (old, new) = (a.into_iter().chain(old).collect(), b.into_iter().chain(new).collect());
                return join(old, new, |a, b| compare_strings(a.key(), b.key()), &mut |a, b| {
                    let key = a.or(b).map_or(&[][..], Member::key);
                    pair(key, a.map(Member::value), b.map(Member::value))
                });
            }
        }
    }
}

/// Pairs the items of two lists that are equal in this order; of equal items in one list, the first with the first.
pub(super) fn join<T: Copy>(
    mut old: Vec<T>,
    mut new: Vec<T>,
    order: impl Fn(T, T) -> Ordering,
    pair: &mut dyn FnMut(Option<T>, Option<T>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for list in [&mut old, &mut new] {
        if !list.is_sorted_by(|a, b| order(*a, *b).is_le()) {
            list.sort_by(|a, b| order(*a, *b));
        }
    }
    let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
    iter::from_fn(|| {
        let next = match (old.peek(), new.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => order(*a, *b),
        };
        Some((if next.is_le() { old.next() } else { None }, if next.is_ge() { new.next() } else { None }))
    })
    .try_for_each(|(a, b)| pair(a, b))
}
