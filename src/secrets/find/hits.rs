//! Places that are to be sealed, while they are being collected; and the holes that they become.

use super::{
    pairs::Pairs,
    survey::Survey,
    walk::{Frame, Pass, Place, Stack, walk_again},
};
use crate::domain::format::{
    Format,
    json::{Container, JsonError, Leaf, Span},
};
use crate::secrets::hole::{Hole, JsonType, Reason};
use crate::secrets::path::{Path, StepKind};

/// How many places of a document are sealed one by one. Beyond, what is found seals the attributes, output or document that it stands in.
const MAX_HOLES: usize = 1 << 18;

/// A value to be sealed.
#[derive(Clone, Copy)]
struct Hit {
    span: Span,
    reason: Reason,
}

/// The values to be sealed, as one pass finds them.
pub(super) struct Hits {
    list: Vec<Hit>,
    /// For each open container whether it is to be sealed whole.
    open: Vec<Option<Reason>>,
    /// The outermost open container that can be sealed whole.
    floor: Option<usize>,
    coarse: bool,
    too_many: bool,
}

impl Hits {
    /// None yet; `coarse` takes whole parts, for a document in which more than [`MAX_HOLES`] places are to be sealed.
    pub(super) fn new(coarse: bool) -> Self {
        Self { list: Vec::new(), open: Vec::new(), floor: None, coarse, too_many: false }
    }

    /// A container has begun.
    pub(super) fn begin(&mut self, place: Place, reason: Option<Reason>) {
        if self.floor.is_none() && place.role.is_content() {
            self.floor = Some(self.open.len());
        }
        self.open.push(None);
        if let Some(reason) = reason {
            self.container(self.open.len() - 1, reason);
        }
    }

    /// The innermost container has ended.
    pub(super) fn end(&mut self, whole: Span) {
        let sealed = self.open.pop().flatten();
        if self.floor == Some(self.open.len()) {
            self.floor = None;
        }
        if let Some(reason) = sealed {
            self.push(whole, reason);
        }
    }

    /// A value without parts, or one that has ended.
    pub(super) fn value(&mut self, span: Span, reason: Reason) {
        match self.floor {
            Some(floor) if self.coarse => self.container(floor, reason),
            _ => self.push(span, reason),
        }
    }

    /// An open container, by its depth.
    pub(super) fn container(&mut self, depth: usize, reason: Reason) {
        let depth = if self.coarse { self.floor.unwrap_or(depth).min(depth) } else { depth };
        let known = &mut self.open[depth];
        *known = Some(known.map_or(reason, |known| known.min(reason)));
    }

    /// Whether there are more than are sealed one by one.
    pub(super) fn is_too_many(&self) -> bool {
        self.too_many
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty() && !self.too_many
    }

    /// The strongest reason of all.
    pub(super) fn strongest(&self) -> Option<Reason> {
        self.list.iter().map(|hit| hit.reason).min()
    }

    fn push(&mut self, span: Span, reason: Reason) {
        if self.list.len() < MAX_HOLES || self.coarse {
            self.list.push(Hit { span, reason });
        } else {
            self.too_many = true;
        }
    }

    /// In order, without those that stand within others.
    pub(super) fn settled(self) -> Sealed {
        Sealed { list: Vec::new(), next: 0 }.with(self)
    }
}

/// Values to be sealed, in order, none within another.
pub(super) struct Sealed {
    list: Vec<Hit>,
    next: usize,
}

impl Sealed {
    /// Whether one covers the place. Places are asked for in order.
    pub(super) fn covers(&mut self, at: u32) -> bool {
        while self.list.get(self.next).is_some_and(|hit| hit.span.end <= at) {
            self.next += 1;
        }
        self.list.get(self.next).is_some_and(|hit| hit.span.start <= at)
    }

    /// From the beginning again.
    pub(super) fn rewind(&mut self) {
        self.next = 0;
    }

    /// The same, for another thread.
    pub(super) fn fork(&self) -> Self {
        Self { list: self.list.clone(), next: 0 }
    }

    /// Them, to be met in order.
    pub(super) fn cursor(&self) -> Cursor<'_> {
        Cursor { list: &self.list, next: 0 }
    }

    /// These and others.
    pub(super) fn with(mut self, mut other: Hits) -> Sealed {
        self.list.append(&mut other.list);
        self.list.sort_unstable_by_key(|hit| (hit.span.start, std::cmp::Reverse(hit.span.end), hit.reason));
        let mut end = 0;
        self.list.retain(|hit| {
            let is_within = hit.span.start < end;
            end = end.max(hit.span.end);
            !is_within
        });
        Sealed { list: self.list, next: 0 }
    }

    /// The holes, with their paths; and what else has to be sealed because of them.
    pub(super) fn holes(
        &self,
        document: &[u8],
        format: Format,
        survey: &Survey,
        coarse: bool,
    ) -> Result<(Vec<Hole>, Hits), JsonError> {
        let holes = Vec::with_capacity(self.list.len());
        let mut naming = Naming { survey, list: &self.list, holes, pairs: Pairs::new(survey, self.cursor(), coarse) };
        if !self.list.is_empty() {
            walk_again(&survey.tape, document, format, &mut naming)?;
        }
        let Naming { mut holes, pairs, .. } = naming;
        number_repeated(&mut holes);
        Ok((holes, pairs.hits))
    }
}

/// Values to be sealed, as they are met in a document.
pub(super) struct Cursor<'a> {
    list: &'a [Hit],
    next: usize,
}

impl Cursor<'_> {
    /// Why the value that starts there is sealed, if it is one of them. Places are asked for in order.
    pub(super) fn at(&mut self, start: u32) -> Option<Reason> {
        let hit = self.list.get(self.next).filter(|hit| hit.span.start == start)?;
        self.next += 1;
        Some(hit.reason)
    }
}

struct Naming<'a> {
    survey: &'a Survey,
    list: &'a [Hit],
    holes: Vec<Hole>,
    pairs: Pairs<'a>,
}

impl Naming<'_> {
    fn see(&mut self, stack: &Stack<'_>, place: Place) {
        if let Some(hit) = self.list.get(self.holes.len()).filter(|hit| hit.span.start == place.start) {
            let kind = match stack.document[place.start as usize] {
                b'{' => JsonType::Object,
                b'[' => JsonType::Array,
                b'"' => JsonType::String,
                b't' | b'f' => JsonType::Bool,
                b'n' => JsonType::Null,
                _ => JsonType::Number,
            };
            let path = stack.path(self.survey, place);
            self.holes.push(Hole { span: hit.span, kind, path, reason: hit.reason });
        }
    }
}

impl Pass for Naming<'_> {
    fn leaf(&mut self, stack: &Stack<'_>, place: Place, span: Span, kind: Leaf) {
        self.see(stack, place);
        self.pairs.leaf(stack, place, span, kind);
    }

    fn begin(&mut self, stack: &Stack<'_>, place: Place, kind: Container) {
        self.see(stack, place);
        self.pairs.begin(stack, place, kind);
    }

    fn end(&mut self, stack: &Stack<'_>, frame: Frame, whole: Span) {
        self.pairs.end(stack, frame, whole);
    }
}

/// Gives the second and later of holes with the same path a number. The first keeps the path bare, so that it need not change when others come.
fn number_repeated(holes: &mut [Hole]) {
    let mut order: Vec<u32> = (0..holes.len() as u32).collect();
    order.sort_by(|a, b| holes[*a as usize].path.cmp(&holes[*b as usize].path));
    let mut first = 0;
    for at in 1..order.len() {
        if holes[order[first] as usize].path == holes[order[at] as usize].path {
            let number = (at - first + 1) as u64;
            let path: &mut Path = &mut holes[order[at] as usize].path;
            *path = path.child(StepKind::Ordinal, &number.to_be_bytes());
        } else {
            first = at;
        }
    }
}
