//! What is sealed at its own place: what the format marks, what rules find, what was sealed before. And what of it is looked for elsewhere.

use std::collections::HashMap;

use super::{
    Search, WarningKind, Warnings,
    before::Before,
    hits::Hits,
    marks::Marks,
    names,
    patterns::{Active, Patterns, Says},
    roles::Role,
    seeds::Seeds,
    shapes,
    survey::{Special, Survey},
    walk::{Frame, Key, Pass, Place, Stack, text, walk_again},
};
use crate::domain::format::{
    Format,
    json::{Container, Leaf, Span},
    value::Value,
};
use crate::secrets::hole::Reason;

/// How deep JSON may be nested in strings.
const MAX_NESTED: u8 = 4;

/// No shorter JSON has something for rules in it.
const SHORTEST_JSON: usize = 10;

/// How many names of keys are remembered.
const MAX_REMEMBERED: usize = 4_096;

pub(super) struct Known<'a> {
    survey: &'a Survey,
    search: &'a Search<'a>,
    patterns: Patterns,
    before: Before,
    pub(super) hits: Hits,
    seeds: &'a mut Seeds,
    warnings: &'a mut Warnings,
    states: Vec<State>,
    /// The marks of the instance that is open.
    marks: Marks<'a>,
    document: &'a [u8],
    /// The depth of the container that is sealed because of a mark, and whether what is in it is looked for elsewhere.
    marked: Option<(usize, bool)>,
    names: HashMap<Box<[u8]>, bool>,
    /// Within a string: how deep, and the resource that it belongs to.
    nested: Option<(u8, u32)>,
}

/// What is known of an open container, or of a leaf.
#[derive(Default)]
struct State {
    /// Where marks have come to; `true` if it is here that they have to go on.
    marks: Vec<(u32, bool)>,
    rules: Active,
    before: Option<u32>,
    /// It stands under a name that means a secret, as an array.
    is_named: bool,
    /// It tells of the type of a value, beside it: the names in there are those of the value's keys, and say nothing of their types.
    is_type: bool,
    special: Option<Special>,
}

impl<'a> Known<'a> {
    pub(super) fn new(
        document: &'a [u8],
        survey: &'a Survey,
        search: &'a Search<'a>,
        seeds: &'a mut Seeds,
        warnings: &'a mut Warnings,
        coarse: bool,
    ) -> Self {
        let marks = Marks::none();
        Self {
            survey,
            search,
            patterns: Patterns::of(if search.switches.rules { search.rules } else { &[] }),
            before: Before::of(search.before),
            hits: Hits::new(coarse),
            seeds,
            warnings,
            states: Vec::new(),
            marks,
            document,
            marked: None,
            names: HashMap::new(),
            nested: None,
        }
    }

    fn scope(&self, stack: &Stack<'_>) -> u32 {
        self.nested.map_or_else(|| stack.scope(), |(_, scope)| scope)
    }

    fn warn(&mut self, kind: WarningKind, stack: &Stack<'_>, place: Place) {
        if self.nested.is_none() {
            self.warnings.add(kind, || stack.path(self.survey, place));
        }
    }

    /// What is known of a value from what is known of the container around it.
    fn enter(&mut self, stack: &Stack<'_>, place: Place) -> State {
        let mut state = State::default();
        let (Some(frame), Some(around)) = (stack.frames.last(), self.states.last()) else {
            if !self.before.is_empty() {
                state.before = Some(0);
            }
            if place.role == Role::Free && self.nested.is_none() {
                state.rules = self.patterns.start(b"");
            }
            return state;
        };
        if let Some(node) = around.before {
            let mut reached = Some(node);
            let before = &mut self.before;
            stack.steps(self.survey, frame.place.role, place, &mut |kind, bytes| {
                reached = reached.and_then(|node| before.find(node, kind, bytes));
            });
            state.before = reached;
        }
        if !self.patterns.is_empty() {
            state.rules = self.rules_below(stack, frame, place, around);
        }
        state.is_named = place.key.is_none() && around.is_named;
        let is_key = |name: &[u8]| place.key.is_some_and(|key| *key.text(stack.document) == *name);
        state.is_type = around.is_type || (around.special == Some(Special::Wrapper) && is_key(b"type"));
        if !around.marks.is_empty() && self.marked.is_none() {
            let key = place.key.map(|key| key.text(stack.document));
            let is_wrapped = key.as_deref() == Some(b"value") && around.special == Some(Special::Wrapper);
            let first = |name| if frame.place.role == Role::Flat { first_segment(name) } else { name };
            for &(node, _) in &around.marks {
                let found = self.marks.find(node, key.as_deref().map(first), place.index);
                state.marks.extend(found.map(|node| (node, true)));
                if is_wrapped {
                    state.marks.push((node, false));
                }
            }
        }
        state
    }

    fn rules_below(&self, stack: &Stack<'_>, frame: &Frame, place: Place, state: &State) -> Active {
        let (document, around) = (stack.document, &state.rules);
        let said = |at: u32| self.survey.string(document, at);
        match (frame.place.role, place.role) {
            (Role::Instance, Role::Attributes | Role::Flat) => {
                let resource = stack.frames.get(2).and_then(|frame| self.survey.resource(frame.place.start));
                self.patterns.start(resource.and_then(|resource| said(resource.of_type)).as_deref().unwrap_or_default())
            }
            (Role::PulumiResource, Role::Properties) => {
                let resource = self.survey.pulumi(frame.place.start);
                self.patterns.start(resource.and_then(|resource| said(resource.of_type)).as_deref().unwrap_or_default())
            }
            (Role::Root, Role::Outputs) => self.patterns.start(b"output"),
            _ if around.is_empty() => Active::new(),
            (Role::Output, _) => match place.key {
                Some(key) if *key.text(document) == *b"value" => around.clone(),
                _ => Active::new(),
            },
            (role, _) => {
                let Some(key) = place.key else { return self.patterns.step(around, place.index.to_string().as_bytes()) };
                let key = key.text(document);
                if role == Role::Flat {
                    let below = |active: Active, segment: &[u8]| self.patterns.step(&active, segment);
                    return key.split(|byte| *byte == b'.').fold(around.clone(), below);
                }
                let below = self.patterns.step(around, &key);
                let is_wrapped = *key == *b"value" && state.special == Some(Special::Wrapper);
                if is_wrapped { self.patterns.either(below, around.clone()) } else { below }
            }
        }
    }

    /// Whether the format marks the value, or what a mark of it is missing.
    fn is_marked(&mut self, stack: &Stack<'_>, place: Place, state: &State, is_leaf: bool) -> bool {
        if !self.search.switches.marks || self.nested.is_some() {
            return false;
        }
        let around = stack.frames.last().zip(self.states.last()).map(|(frame, state)| (frame.place.role, state.special));
        let is_key = |name: &[u8]| place.key.is_some_and(|key| *key.text(stack.document) == *name);
        match around {
            Some((Role::Output, Some(Special::Sensitive))) if is_key(b"value") => return true,
            Some((Role::Output, Some(Special::OddlySensitive))) if is_key(b"value") => {
                self.warn(WarningKind::MarkShape, stack, place);
                return true;
            }
            Some((_, Some(Special::Plaintext))) if is_key(b"plaintext") => return true,
            _ => {}
        }
        let special = state.special;
        if special == Some(Special::OddSecret) {
            self.warn(WarningKind::MarkShape, stack, place);
            return true;
        }
        let is_sealed_elsewhere = matches!(special, Some(Special::Ciphertext | Special::Plaintext));
        let mut marked = false;
        for &(node, is_own) in &state.marks {
            if self.marks.is_whole(node) {
                marked |= !is_sealed_elsewhere;
            } else if is_leaf && is_own {
                self.warn(WarningKind::MarkUnresolved, stack, place);
                marked = true;
            }
        }
        marked
    }

    /// Reads the marks of the instance or resource whose attributes begin.
    fn begin_marks(&mut self, stack: &Stack<'_>, place: Place, state: &mut State) {
        let Some(around) = stack.frames.last().filter(|_| self.search.switches.marks) else { return };
        let start = around.place.start;
        let list = |at: u32| Value::at(self.document, at as usize);
        self.marks = match place.role {
            Role::Attributes | Role::Flat => match self.survey.instance(start) {
                Some(instance) if instance.marks != 0 => Marks::of_terraform(list(instance.marks)),
                _ => return,
            },
            Role::Properties if place.key.is_some_and(|key| *key.text(stack.document) == *b"outputs") => {
                match self.survey.pulumi(start) {
                    Some(resource) if resource.secret_outputs != 0 => Marks::of_pulumi(list(resource.secret_outputs)),
                    _ => return,
                }
            }
            _ => return,
        };
        if place.role == Role::Flat {
            self.marks.flatten();
        }
        if self.marks.odd {
            self.warn(WarningKind::MarkShape, stack, place);
        }
        state.marks.push((0, true));
    }

    /// What the rules of the environment say of the place.
    fn says(&self, state: &State) -> Says {
        if state.rules.is_empty() { Says::default() } else { self.patterns.says(&state.rules) }
    }

    fn was_sealed(&self, place: Place, state: &State) -> bool {
        place.role != Role::Structure && state.before.is_some_and(|node| self.before.ends(node))
    }

    fn is_secret_name(&mut self, name: &[u8]) -> bool {
        if let Some(known) = self.names.get(name) {
            return *known;
        }
        let is_secret = names::is_secret(name);
        if self.names.len() < MAX_REMEMBERED && name.len() <= names::LONGEST as usize {
            self.names.insert(name.into(), is_secret);
        }
        is_secret
    }

    /// Whether the name under which a value stands means a secret.
    fn is_named(&mut self, stack: &Stack<'_>, place: Place) -> bool {
        let (Some(key), Some(frame)) = (place.key, stack.frames.last()) else { return false };
        let is_type = self.states.last().is_some_and(|around| around.is_type);
        if !self.search.switches.rules || !place.role.is_content() || is_type {
            return false;
        }
        let name = key.text(stack.document);
        match frame.place.role {
            // Outputs are named outside of their value.
            Role::Output => match frame.place.key {
                Some(output) if *name == *b"value" => self.is_secret_name(&output.text(stack.document)),
                _ => false,
            },
            Role::Flat => {
                let is_word = |part: &&[u8]| !part.iter().all(u8::is_ascii_digit);
                let last = name.rsplit(|byte| *byte == b'.').find(is_word).unwrap_or_default();
                self.is_secret_name(last)
            }
            _ => {
                let is_pair = matches!(&*name, b"value" | b"Value")
                    && self.states.last().is_some_and(|around| around.special == Some(Special::Pair));
                is_pair || self.is_secret_name(&name)
            }
        }
    }

    /// What rules find in a string.
    fn find_in(&mut self, stack: &Stack<'_>, place: Place, state: &State, said: &[u8]) -> Option<Reason> {
        let scope = self.scope(stack);
        let mut reason = None;
        let mut found = |found: Reason| reason = Some(reason.map_or(found, |known: Reason| known.min(found)));
        let shapes = shapes::find(said);
        if !shapes.is_empty() {
            shapes.into_iter().for_each(|part| self.seeds.add(&said[part], scope));
            found(Reason::Shape);
        }
        if place.role.is_content() {
            if !state.is_type && (state.is_named || self.is_named(stack, place)) && !names::is_harmless_value(said) {
                self.seeds.add_named(said, scope);
                found(Reason::KeyName);
            }
            if let Some(nested) = self.find_nested(said, scope) {
                found(nested);
            }
        }
        reason
    }

    /// What rules find in a string that is JSON itself.
    fn find_nested(&mut self, said: &[u8], scope: u32) -> Option<Reason> {
        let level = self.nested.map_or(0, |(level, _)| level);
        let trimmed = said.trim_ascii();
        let is_json = matches!((trimmed.first()?, trimmed.last()?), (b'{', b'}') | (b'[', b']'));
        if level == MAX_NESTED || !is_json || trimmed.len() < SHORTEST_JSON {
            return None;
        }
        let survey = Survey::of(said, Format::Json).ok()?;
        let search =
            Search { format: Format::Json, rules: &[], before: &super::NOTHING, keeps: false, switches: self.search.switches };
        let mut inner = Known::new(said, &survey, &search, self.seeds, self.warnings, false);
        inner.nested = Some((level + 1, scope));
        walk_again(&survey.tape, said, Format::Json, &mut inner).ok()?;
        inner.hits.strongest()
    }
}

impl Pass for Known<'_> {
    fn key(&mut self, _stack: &Stack<'_>, _key: Key) {}

    fn leaf(&mut self, stack: &Stack<'_>, place: Place, span: Span, kind: Leaf) {
        let token = span.of(stack.document);
        let said = match kind {
            Leaf::String { escaped } => Some(text(token, escaped)),
            _ => None,
        };
        if let Some((_, seeds)) = self.marked {
            if seeds && place.role != Role::Structure {
                self.seeds.add_leaf(said.as_deref(), token, self.scope(stack));
            }
            return;
        }
        if place.role == Role::Structure || place.role == Role::OutputType {
            if let Some(said) = said.filter(|_| self.search.switches.rules && place.role == Role::Structure) {
                let shapes = shapes::find(&said);
                if !shapes.is_empty() {
                    let scope = self.scope(stack);
                    shapes.into_iter().for_each(|part| self.seeds.add(&said[part], scope));
                    self.warn(WarningKind::StructuralSecret, stack, place);
                }
            }
            if place.role == Role::OutputType {
                let state = self.enter(stack, place);
                if self.was_sealed(place, &state) {
                    self.hits.value(span, Reason::Before);
                }
            }
            return;
        }
        let state = self.enter(stack, place);
        let mut reason = None;
        let mut found = |found: Reason| reason = Some(reason.map_or(found, |known: Reason| known.min(found)));
        if self.is_marked(stack, place, &state, true) {
            self.seeds.add_leaf(said.as_deref(), token, self.scope(stack));
            found(Reason::Mark);
        }
        let says = self.says(&state);
        if !says.except {
            if let Some(said) = said.filter(|_| self.search.switches.rules) {
                let rules = self.find_in(stack, place, &state, &said);
                rules.into_iter().for_each(&mut found);
                if says.seal {
                    self.seeds.add_named(&said, self.scope(stack));
                }
            }
            if says.seal {
                found(Reason::Environment);
            }
        }
        if (!says.except || self.search.keeps) && self.was_sealed(place, &state) {
            found(Reason::Before);
        }
        if let Some(reason) = reason {
            self.hits.value(span, reason);
        }
    }

    fn begin(&mut self, stack: &Stack<'_>, place: Place, kind: Container) {
        if self.marked.is_some() || place.role == Role::Structure {
            self.hits.begin(place, None);
            self.states.push(State::default());
            return;
        }
        let mut state = self.enter(stack, place);
        state.special = self.survey.special(place.start);
        self.begin_marks(stack, place, &mut state);
        state.is_named |= kind == Container::Array && self.is_named(stack, place);
        let mut reason = None;
        if self.is_marked(stack, place, &state, false) {
            reason = Some(Reason::Mark);
            self.marked = Some((self.states.len(), !(self.marks.odd && is_whole_resource(place))));
        } else if place.role.is_content() {
            let says = self.says(&state);
            if says.seal && !says.except {
                reason = Some(Reason::Environment);
            } else if (!says.except || self.search.keeps) && self.was_sealed(place, &state) {
                reason = Some(Reason::Before);
            }
        }
        self.hits.begin(place, reason);
        self.states.push(state);
    }

    fn end(&mut self, stack: &Stack<'_>, frame: Frame, whole: Span) {
        let Some(state) = self.states.pop() else { return };
        if self.marked.is_some_and(|(depth, _)| depth == self.states.len()) {
            self.marked = None;
        } else if self.marked.is_none() {
            let is_unresolved = |(node, is_own): &(u32, bool)| *is_own && self.marks.is_unresolved(*node);
            if state.marks.iter().any(is_unresolved) {
                self.warn(WarningKind::MarkUnresolved, stack, frame.place);
                self.hits.container(self.states.len(), Reason::Mark);
                if !is_whole_resource(frame.place) {
                    self.seeds.add_parts(whole.of(stack.document), self.scope(stack));
                }
            }
        }
        self.hits.end(whole);
    }
}

/// Whether these are all attributes of a resource: sealed for want of a better place, too much of it is no secret to be looked for elsewhere.
fn is_whole_resource(place: Place) -> bool {
    matches!(place.role, Role::Attributes | Role::Flat | Role::Properties)
}

/// The attribute that a name like `tags.Name` belongs to.
fn first_segment(name: &[u8]) -> &[u8] {
    name.split(|byte| *byte == b'.').next().unwrap_or_default()
}
