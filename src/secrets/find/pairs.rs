//! Values with their type beside them: what reads them needs both or neither, so where something in the type is sealed, both are, whole.

use super::{
    hits::{Cursor, Hits},
    roles::Role,
    survey::{Special, Survey},
    walk::{Frame, Pass, Place, Stack},
};
use crate::domain::format::json::{Container, Leaf, Span};
use crate::secrets::hole::Reason;

pub(super) struct Pairs<'a> {
    survey: &'a Survey,
    sealed: Cursor<'a>,
    pub(super) hits: Hits,
    open: Vec<Pair>,
}

#[derive(Clone, Copy, Default)]
struct Pair {
    is_pair: bool,
    /// What goes by is in its type.
    in_type: bool,
    value: Option<Span>,
    of_type: Option<Span>,
    /// Something in its type is sealed.
    sealed: Option<Reason>,
}

impl<'a> Pairs<'a> {
    pub(super) fn new(survey: &'a Survey, sealed: Cursor<'a>, coarse: bool) -> Self {
        Self { survey, sealed, hits: Hits::new(coarse), open: Vec::new() }
    }

    fn see(&mut self, stack: &Stack<'_>, place: Place) {
        if let Some(around) = self.open.last_mut().filter(|around| around.is_pair) {
            around.in_type = place.key.is_some_and(|key| *key.text(stack.document) == *b"type");
        }
        if let Some(reason) = self.sealed.at(place.start) {
            for pair in self.open.iter_mut().filter(|pair| pair.is_pair && pair.in_type) {
                pair.sealed.get_or_insert(reason);
            }
        }
    }

    fn part(&mut self, stack: &Stack<'_>, place: Place, span: Span) {
        let Some(pair) = self.open.last_mut().filter(|pair| pair.is_pair) else { return };
        match place.key.map(|key| key.text(stack.document)).as_deref() {
            Some(b"value") => pair.value = Some(span),
            Some(b"type") => pair.of_type = Some(span),
            _ => {}
        }
    }
}

impl Pass for Pairs<'_> {
    fn leaf(&mut self, stack: &Stack<'_>, place: Place, span: Span, _kind: Leaf) {
        self.see(stack, place);
        self.part(stack, place, span);
    }

    fn begin(&mut self, stack: &Stack<'_>, place: Place, _kind: Container) {
        self.see(stack, place);
        self.hits.begin(place, None);
        let is_pair = place.role == Role::Output || self.survey.special(place.start) == Some(Special::Wrapper);
        self.open.push(Pair { is_pair, ..Pair::default() });
    }

    fn end(&mut self, stack: &Stack<'_>, frame: Frame, whole: Span) {
        let Some(pair) = self.open.pop() else { return };
        if let Some(reason) = pair.sealed {
            [pair.value, pair.of_type].into_iter().flatten().for_each(|span| self.hits.value(span, reason));
        }
        self.hits.end(whole);
        self.part(stack, frame.place, whole);
    }
}
