//! A document going by, with what each of its places is for and what it is called.

use std::ops::Deref;

use zeroize::Zeroizing;

use super::{
    roles::{Role, SIGNATURE},
    survey::Survey,
    tape::{Recording, Tape},
};
use crate::domain::format::{
    Format,
    json::{self, Container, JsonError, Leaf, Span, Visitor, decode_string},
};
use crate::secrets::path::{Path, StepKind};

/// What a string or key says, wiped if it had to be decoded.
pub(super) enum Text<'a> {
    Plain(&'a [u8]),
    Decoded(Zeroizing<Vec<u8>>),
}

impl Deref for Text<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Text::Plain(text) => text,
            Text::Decoded(text) => text,
        }
    }
}

/// What the string token with these bytes says.
pub(super) fn text(token: &[u8], escaped: bool) -> Text<'_> {
    if escaped {
        Text::Decoded(Zeroizing::new(decode_string(token).into_owned().into_bytes()))
    } else {
        Text::Plain(&token[1..token.len() - 1])
    }
}

/// A key of an object.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub(super) span: Span,
    pub(super) escaped: bool,
}

impl Key {
    pub(super) fn text(self, document: &[u8]) -> Text<'_> {
        text(self.span.of(document), self.escaped)
    }
}

/// The place of a value in the container around it.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) role: Role,
    /// None for an element of an array, and for the outermost value.
    pub(super) key: Option<Key>,
    /// Which member or element it is.
    pub(super) index: u32,
    /// Where the value starts.
    pub(super) start: u32,
}

/// An open container.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) place: Place,
    /// How many values have begun in it.
    pub(super) count: u32,
}

/// The open containers, the outermost first.
pub(super) struct Stack<'a> {
    pub(super) document: &'a [u8],
    pub(super) format: Format,
    pub(super) frames: Vec<Frame>,
    key: Option<Key>,
}

/// What looks at a document as it goes by.
pub(super) trait Pass {
    /// A key of the innermost container.
    fn key(&mut self, _stack: &Stack<'_>, _key: Key) {}
    /// A value without parts in the innermost container.
    fn leaf(&mut self, _stack: &Stack<'_>, _place: Place, _span: Span, _kind: Leaf) {}
    /// A container in the innermost one, before it is open.
    fn begin(&mut self, _stack: &Stack<'_>, _place: Place, _kind: Container) {}
    /// The end of a container, after it is closed.
    fn end(&mut self, _stack: &Stack<'_>, _frame: Frame, _whole: Span) {}
}

/// Shows the document to the first of its passes, and records it for the others.
pub(super) fn walk(document: &[u8], format: Format, pass: &mut impl Pass) -> Result<Tape, JsonError> {
    let mut tape = Tape::of(document);
    let visitor = Walk { stack: Stack::over(document, format), pass };
    json::scan(document, &mut Recording { tape: &mut tape, visitor })?;
    Ok(tape)
}

/// Shows it to one that comes after [`walk`].
pub(super) fn walk_again(tape: &Tape, document: &[u8], format: Format, pass: &mut impl Pass) -> Result<(), JsonError> {
    tape.play(document, &mut Walk { stack: Stack::over(document, format), pass })
}

struct Walk<'a, P> {
    stack: Stack<'a>,
    pass: &'a mut P,
}

impl<P: Pass> Visitor for Walk<'_, P> {
    fn key(&mut self, span: Span, escaped: bool, _depth: u8) {
        let key = Key { span, escaped };
        self.pass.key(&self.stack, key);
        self.stack.key = Some(key);
    }

    fn leaf(&mut self, span: Span, kind: Leaf, _depth: u8) {
        let place = self.stack.place(span.start, None);
        self.pass.leaf(&self.stack, place, span, kind);
    }

    fn begin(&mut self, kind: Container, at: u32, _depth: u8) {
        let place = self.stack.place(at, Some(kind));
        self.pass.begin(&self.stack, place, kind);
        self.stack.frames.push(Frame { place, count: 0 });
    }

    fn end(&mut self, _kind: Container, whole: Span, _depth: u8) {
        let frame = self.stack.frames.pop().expect("only an open container ends");
        self.pass.end(&self.stack, frame, whole);
    }
}

impl<'a> Stack<'a> {
    fn over(document: &'a [u8], format: Format) -> Self {
        Self { document, format, frames: Vec::with_capacity(16), key: None }
    }
}

impl Stack<'_> {
    fn place(&mut self, start: u32, kind: Option<Container>) -> Place {
        let key = self.key.take();
        let Some(frame) = self.frames.last_mut() else {
            return Place { role: Role::outermost(self.format, kind), key: None, index: 0, start };
        };
        let index = frame.count;
        frame.count += 1;
        let is_signature = |key: Key| key.span.end - key.span.start == 34 && *key.text(self.document) == *SIGNATURE;
        let role = match frame.place.role {
            Role::Free if self.format == Format::Pulumi && kind.is_none() && key.is_some_and(is_signature) => Role::Structure,
            role @ (Role::Free | Role::Structure | Role::OutputType) => role,
            role => role.inside(self.format, key.map(|key| key.text(self.document)).as_deref(), kind),
        };
        Place { role, key, index, start }
    }

    /// The role of the innermost container.
    pub(super) fn around(&self) -> Option<Role> {
        self.frames.last().map(|frame| frame.place.role)
    }

    /// What weak secrets are kept to: the resource or output that this is part of, by where it starts; 0 outside of any.
    pub(super) fn scope(&self) -> u32 {
        let is_scope = |frame: &&Frame| matches!(frame.place.role, Role::Resource | Role::Output | Role::PulumiResource);
        self.frames.iter().take(6).find(is_scope).map_or(0, |frame| frame.place.start)
    }

    /// The path of a value in the innermost container.
    pub(super) fn path(&self, survey: &Survey, place: Place) -> Path {
        let mut path = Path::root();
        let mut add = |kind: StepKind, bytes: &[u8]| path.push(kind, bytes);
        let mut around = None;
        for inside in self.frames.iter().map(|frame| frame.place).chain([place]) {
            if let Some(around) = around {
                self.steps(survey, around, inside, &mut add);
            }
            around = Some(inside.role);
        }
        path
    }

    /// The steps from a container with the role `around` to a value in it.
    pub(super) fn steps(&self, survey: &Survey, around: Role, place: Place, add: &mut dyn FnMut(StepKind, &[u8])) {
        let document = self.document;
        let token = |at: u32, add: &mut dyn FnMut(StepKind, &[u8]), kind: StepKind| {
            if let Some(text) = survey.string(document, at) {
                add(kind, &text);
            }
        };
        let mut plain = |as_section: bool| match place.key {
            Some(key) => add(if as_section { StepKind::Section } else { StepKind::Key }, &key.text(document)),
            None => add(StepKind::Index, &u64::from(place.index).to_be_bytes()),
        };
        match (around, place.role) {
            (Role::Root, Role::Resources | Role::Deployment | Role::Checkpoint)
            | (Role::Checkpoint, Role::Deployment)
            | (Role::Deployment, Role::PulumiResources)
            | (Role::Pending, Role::Operation)
            | (Role::Resource, Role::Instances) => {}
            (Role::Resources, Role::Resource) => match survey.resource(place.start) {
                Some(resource) => {
                    token(resource.module, add, StepKind::Module);
                    token(resource.mode, add, StepKind::Mode);
                    token(resource.of_type, add, StepKind::Type);
                    token(resource.name, add, StepKind::Name);
                }
                None => {
                    add(StepKind::Section, b"resources");
                    add(StepKind::Index, &u64::from(place.index).to_be_bytes());
                }
            },
            (Role::Instances, Role::Instance) => {
                let Some(instance) = survey.instance(place.start) else { return };
                match survey.string(document, instance.key) {
                    Some(text) => add(StepKind::TextKey, &text),
                    None if instance.key != 0 => add(StepKind::NumberKey, number(document, instance.key)),
                    None => {}
                }
                token(instance.deposed, add, StepKind::Deposed);
            }
            (Role::PulumiResources | Role::Operation, Role::PulumiResource) => match survey.pulumi(place.start) {
                Some(resource) if resource.urn != 0 => token(resource.urn, add, StepKind::Urn),
                _ => plain(true),
            },
            (
                Role::Root
                | Role::Output
                | Role::Resource
                | Role::Instance
                | Role::Checkpoint
                | Role::Deployment
                | Role::Operation
                | Role::PulumiResource,
                _,
            ) => plain(true),
            _ => plain(false),
        }
    }
}

/// The number that stands at `at`.
fn number(document: &[u8], at: u32) -> &[u8] {
    let rest = &document[at as usize..];
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    &rest[..rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len())]
}
