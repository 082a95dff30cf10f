//! What is known to be secret, wherever else it stands. What is found here is sealed, and never looked for in turn.

use std::thread::{Scope, ScopedJoinHandle};

use super::{
    WarningKind, Warnings, decode,
    hits::{Hits, Sealed},
    index::{Index, Patience},
    roles::Role,
    seeds::Seeds,
    survey::{Special, Survey},
    walk::{Frame, Key, Pass, Place, Stack, text},
};
use crate::domain::format::json::{Container, Leaf, Span};
use crate::secrets::hole::Reason;

/// How many layers of backslashes are taken off.
const MAX_JSON: u8 = 4;

/// How many other encodings are undone within each other.
const MAX_LAYERS: u8 = 3;

/// How many bytes are decoded for each byte of the document, and beyond that.
const EXPANSION: u64 = 8;
const ALLOWANCE: u64 = 16 << 20;

/// As how many bytes the work of unpacking at all counts.
const UNPACKING: usize = 4 << 10;

/// Nothing shorter holds a strong secret.
const SHORTEST: usize = 8;

pub(super) struct Spread<'a, 's> {
    survey: &'a Survey,
    sealed: &'a mut Sealed,
    warnings: &'a mut Warnings,
    pub(super) hits: Hits,
    lookup: Lookup<'a>,
    beside: Option<Beside<'s>>,
    states: Vec<Pair>,
}

/// The parts of a container with `value` and `type`, where one tells of the other.
#[derive(Clone, Copy, Default)]
struct Pair {
    is_pair: bool,
    value: Option<Span>,
    of_type: Option<Span>,
    /// Both are to be sealed.
    both: bool,
}

impl<'a, 's> Spread<'a, 's> {
    pub(super) fn new(
        survey: &'a Survey,
        sealed: &'a mut Sealed,
        warnings: &'a mut Warnings,
        lookup: Lookup<'a>,
        beside: Option<Beside<'s>>,
        coarse: bool,
    ) -> Self {
        Self { survey, sealed, warnings, hits: Hits::new(coarse), lookup, beside, states: Vec::new() }
    }

    /// What was found, and whether there was more to decode than is decoded: what was left has been sealed. None if bounds would have been met,
    /// or might have been, had one thread looked at everything: then one has to.
    pub(super) fn end(mut self) -> Option<(Hits, bool)> {
        let Some(beside) = self.beside else { return Some((self.hits, self.lookup.left == 0)) };
        let looked = beside.ended()?;
        // One thread would have had what both had together, and never less patience than this.
        let is_patient = looked.is_patient && self.lookup.patience.least() >= Patience::FIRST;
        let is_within = self.lookup.left > looked.spent;
        (is_patient && is_within).then_some((self.hits, false))
    }

    /// A secret was found at a place in the innermost container, whose `key` it may be under: if it tells of the type of a value, the value
    /// goes with it.
    fn seal_pair(&mut self, stack: &Stack<'_>, key: Option<Key>) {
        let keys = stack.frames.iter().skip(1).map(|frame| frame.place.key).chain([key]);
        for (state, key) in self.states.iter_mut().zip(keys) {
            state.both |= state.is_pair && key.is_some_and(|key| *key.text(stack.document) == *b"type");
        }
    }

    fn part(&mut self, stack: &Stack<'_>, place: Place, span: Span) {
        let Some(state) = self.states.last_mut().filter(|state| state.is_pair) else { return };
        match place.key.map(|key| key.text(stack.document)).as_deref() {
            Some(b"value") => state.value = Some(span),
            Some(b"type") => state.of_type = Some(span),
            _ => {}
        }
    }
}

impl Pass for Spread<'_, '_> {
    fn key(&mut self, stack: &Stack<'_>, key: Key) {
        let Some(role) = stack.around() else { return };
        let is_free = role.has_free_keys();
        if !(is_free || role.has_names()) || self.sealed.covers(key.span.start) {
            return;
        }
        let Some(reason) = self.lookup.find(stack, &key.text(stack.document), None) else { return };
        if !is_free {
            let place = Place { role, key: Some(key), index: 0, start: key.span.start };
            return self.warnings.add(WarningKind::StructuralSecret, || stack.path(self.survey, place));
        }
        let innermost = stack.frames.len() - 1;
        if role != Role::OutputType {
            self.hits.container(innermost, reason);
        }
        let is_value = stack.frames[innermost].place.key.is_some_and(|key| *key.text(stack.document) == *b"value");
        if let Some(around) = innermost.checked_sub(1).filter(|_| is_value) {
            self.states[around].both |= self.states[around].is_pair;
        }
        self.seal_pair(stack, None);
    }

    fn leaf(&mut self, stack: &Stack<'_>, place: Place, span: Span, kind: Leaf) {
        self.part(stack, place, span);
        if self.sealed.covers(span.start) {
            return;
        }
        let token = span.of(stack.document);
        let looked = self.beside.as_mut().and_then(|beside| beside.at(span.start, &mut self.lookup));
        let reason = match kind {
            Leaf::String { escaped } => self.lookup.find(stack, &text(token, escaped), looked),
            Leaf::Number => self.lookup.find(stack, token, looked),
            Leaf::Bool | Leaf::Null => None,
        };
        let Some(reason) = reason else { return };
        match place.role {
            Role::Structure => self.warnings.add(WarningKind::StructuralSecret, || stack.path(self.survey, place)),
            Role::OutputType => self.seal_pair(stack, place.key),
            _ => {
                self.hits.value(span, reason);
                self.seal_pair(stack, place.key);
            }
        }
    }

    fn begin(&mut self, _stack: &Stack<'_>, place: Place, _kind: Container) {
        self.hits.begin(place, None);
        let is_pair = place.role == Role::Output || self.survey.special(place.start) == Some(Special::Wrapper);
        self.states.push(Pair { is_pair, ..Pair::default() });
    }

    fn end(&mut self, stack: &Stack<'_>, frame: Frame, whole: Span) {
        let Some(state) = self.states.pop() else { return };
        if state.both {
            [state.value, state.of_type].into_iter().flatten().for_each(|span| self.hits.value(span, Reason::Spread));
        }
        self.hits.end(whole);
        self.part(stack, frame.place, whole);
    }
}

/// The later part of a document, whose texts another thread looks into meanwhile. Whether a secret stands in a text depends on nothing else, as
/// long as no bound is met.
pub(super) struct Beside<'s> {
    from: u32,
    looked: Result<Looked, ScopedJoinHandle<'s, Looked>>,
}

/// What the other thread has seen.
#[derive(Default)]
pub(super) struct Looked {
    /// Where the texts begin in which a secret stands, the last one first.
    found: Vec<u32>,
    spent: u64,
    is_patient: bool,
}

impl<'s> Beside<'s> {
    /// Begins with what is behind `from`, if that can be told.
    pub(super) fn begin<'e: 's>(
        scope: &'s Scope<'s, 'e>,
        document: &'e [u8],
        survey: &'e Survey,
        mut sealed: Sealed,
        mut lookup: Lookup<'e>,
    ) -> Option<Self> {
        let from = (document.len() as u64 * 2 / 5) as u32;
        let leaves = survey.tape.leaves(from)?;
        let look = move || {
            let (mut found, most) = (Vec::new(), lookup.left);
            for (span, kind) in leaves {
                if sealed.covers(span.start) {
                    continue;
                }
                let token = span.of(document);
                let there = match kind {
                    Leaf::String { escaped } => lookup.is_strong(&text(token, escaped)),
                    _ => lookup.is_strong(token),
                };
                match there {
                    Ok(true) => found.push(span.start),
                    Ok(false) => {}
                    Err(Spent) => break,
                }
            }
            found.reverse();
            Looked { found, spent: most - lookup.left, is_patient: lookup.patience.least() > 0 }
        };
        Some(Self { from, looked: Err(scope.spawn(look)) })
    }

    /// Whether a secret stands in the text that begins there; none if it is not for the other thread to say. Texts are asked for in order.
    fn at(&mut self, start: u32, lookup: &mut Lookup<'_>) -> Option<bool> {
        if start < self.from {
            return None;
        }
        if self.looked.is_err() {
            let Err(running) = std::mem::replace(&mut self.looked, Ok(Looked::default())) else { return None };
            self.looked = Ok(running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            // From here on, it is what is left that counts.
            lookup.patience.least();
        }
        let Ok(looked) = &mut self.looked else { return None };
        while looked.found.last().is_some_and(|found| *found < start) {
            looked.found.pop();
        }
        Some(looked.found.last() == Some(&start))
    }

    fn ended(self) -> Option<Looked> {
        match self.looked {
            Ok(looked) => Some(looked),
            Err(running) => running.join().ok(),
        }
    }
}

/// Looks into one text after another, within bounds over all of them.
pub(super) struct Lookup<'a> {
    seeds: &'a Seeds,
    index: &'a Index<'a>,
    patience: Patience,
    /// Some secret has spaces in it, so that `+` may stand for one.
    has_spaces: bool,
    /// How many bytes may still be decoded.
    left: u64,
    /// Room to unpack into that is not in use.
    rooms: Vec<decode::Bytes>,
    /// The resource looked at last, and whether it has weak secrets.
    scope: Option<(u32, bool)>,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(document: &[u8], seeds: &'a Seeds, index: &'a Index<'a>) -> Self {
        Self {
            seeds,
            index,
            patience: Patience::new(),
            has_spaces: seeds.strong().any(|(secret, _)| secret.contains(&b' ')),
            rooms: Vec::new(),
            left: EXPANSION * document.len() as u64 + ALLOWANCE,
            scope: None,
        }
    }

    /// `looked`: whether a strong secret is known to stand in it, or not to.
    fn find(&mut self, stack: &Stack<'_>, text: &[u8], looked: Option<bool>) -> Option<Reason> {
        if text.len() >= 4 && self.is_weak(stack, text) {
            return Some(Reason::Spread);
        }
        match looked.map_or_else(|| self.is_strong(text), Ok) {
            Ok(true) => Some(Reason::Spread),
            Ok(false) => None,
            Err(Spent) => Some(Reason::Overflow),
        }
    }

    fn is_strong(&mut self, text: &[u8]) -> Result<bool, Spent> {
        if text.len() < SHORTEST || self.index.is_empty() { Ok(false) } else { self.is_within(text, 0, 0) }
    }

    fn is_weak(&mut self, stack: &Stack<'_>, text: &[u8]) -> bool {
        let scope = stack.scope();
        if self.scope.is_none_or(|(known, _)| known != scope) {
            self.scope = Some((scope, self.seeds.has_weak(scope)));
        }
        self.scope.is_some_and(|(_, has_weak)| has_weak) && self.seeds.is_weak(text, scope)
    }

    /// Whether a strong secret stands in the text, or in what it encodes.
    fn is_within(&mut self, text: &[u8], json: u8, layers: u8) -> Result<bool, Spent> {
        if text.len() < SHORTEST {
            return Ok(false);
        }
        if self.index.is_in(text, &mut self.patience) {
            return Ok(true);
        }
        if let Some(unwrapped) = decode::unwrapped(text) {
            self.spend(unwrapped.len())?;
            if self.index.is_in_unwrapped(&unwrapped, &mut self.patience) {
                return Ok(true);
            }
        }
        if json < MAX_JSON
            && let Some(unescaped) = decode::unescaped(text)
        {
            self.spend(unescaped.len())?;
            if self.is_within(&unescaped, json + 1, layers)? {
                return Ok(true);
            }
        }
        if layers == MAX_LAYERS {
            return Ok(false);
        }
        for spaces in [false, true] {
            let differs = !spaces || (self.has_spaces && text.contains(&b'+'));
            if differs && let Some(decoded) = decode::percent(text, spaces) {
                self.spend(decoded.len())?;
                if self.is_within(&decoded, json, layers + 1)? {
                    return Ok(true);
                }
            }
        }
        let Some(decoded) = decode::base64(text) else { return Ok(false) };
        self.spend(decoded.len())?;
        if !decode::is_packed(&decoded) {
            let decoded = decode::narrowed(&decoded).unwrap_or(decoded);
            return self.is_within(&decoded, json, layers + 1);
        }
        let mut room = self.rooms.pop().unwrap_or_else(decode::room);
        let unpacked = decode::unpacked(&decoded, &mut room);
        let found = self.spend(UNPACKING + unpacked.len()).and_then(|()| self.is_within(unpacked, json, layers + 1));
        self.rooms.push(room);
        found
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Spent> {
        self.left = self.left.saturating_sub(bytes as u64);
        if self.left == 0 { Err(Spent) } else { Ok(()) }
    }
}

/// All that may be decoded has been.
struct Spent;

/// Every string that is not structure.
pub(super) struct Everything {
    pub(super) hits: Hits,
}

impl Pass for Everything {
    fn leaf(&mut self, _stack: &Stack<'_>, place: Place, span: Span, kind: Leaf) {
        if let Leaf::String { .. } = kind
            && place.role.is_content()
            && place.role != Role::OutputType
        {
            self.hits.value(span, Reason::Overflow);
        }
    }

    fn begin(&mut self, _stack: &Stack<'_>, place: Place, _kind: Container) {
        self.hits.begin(place, None);
    }

    fn end(&mut self, _stack: &Stack<'_>, _frame: Frame, whole: Span) {
        self.hits.end(whole);
    }
}
