//! The attributes that a format marks as secret, as paths that are followed while the document goes by.

use std::{borrow::Cow, collections::HashMap};

use crate::domain::format::value::{Kind, Value};

/// The marked paths of one instance, as a tree of their steps. Node 0 is the container that they start from.
pub(super) struct Marks<'a> {
    nodes: Vec<Node>,
    edges: HashMap<(u32, Step<'a>), u32>,
    /// A mark has another shape than marks have.
    pub(super) odd: bool,
}

#[derive(Clone, Copy, Default)]
struct Node {
    /// The mark ends here: everything below is secret.
    whole: bool,
    resolved: bool,
    /// Steps from here that nothing has been found for yet.
    pending: u32,
}

#[derive(PartialEq, Eq, Hash)]
enum Step<'a> {
    Name(Cow<'a, [u8]>),
    Nth(u64),
    /// Nothing that can be found: an element of a set, by its value. Numbered, so that each is a step of its own.
    Nowhere(usize),
}

impl<'a> Marks<'a> {
    /// What Terraform writes as `sensitive_attributes`.
    pub(super) fn of_terraform(list: Value<'a>) -> Self {
        let mut marks = Self::none();
        match list.kind() {
            Kind::Array => list.elements().for_each(|path| marks.add_path(path)),
            Kind::Null => {}
            _ => marks.end_oddly(0),
        }
        marks
    }

    /// What Pulumi writes as `additionalSecretOutputs`.
    pub(super) fn of_pulumi(list: Value<'a>) -> Self {
        let mut marks = Self::none();
        match list.kind() {
            Kind::Array => {
                for name in list.elements() {
                    match name.text() {
                        Some(name) => {
                            let node = marks.go(0, Step::Name(bytes(name)));
                            marks.nodes[node as usize].whole = true;
                        }
                        None => marks.end_oddly(0),
                    }
                }
            }
            Kind::Null => {}
            _ => marks.end_oddly(0),
        }
        marks
    }

    /// The node one step down from `node`, if a mark goes there; it counts as found.
    pub(super) fn find(&mut self, node: u32, name: Option<&[u8]>, index: u32) -> Option<u32> {
        let step = name.map_or(Step::Nth(u64::from(index)), |name| Step::Name(Cow::Borrowed(name)));
        let found = *edges(&self.edges).get(&(node, step))?;
        if !std::mem::replace(&mut self.nodes[found as usize].resolved, true) {
            self.nodes[node as usize].pending -= 1;
        }
        Some(found)
    }

    /// Whether a mark ends at the node.
    pub(super) fn is_whole(&self, node: u32) -> bool {
        self.nodes[node as usize].whole
    }

    /// Whether marks go on from the node to something that was not found.
    pub(super) fn is_unresolved(&self, node: u32) -> bool {
        self.nodes[node as usize].pending > 0
    }

    /// Makes whole what the first steps lead to: for attributes whose names have all steps in them.
    pub(super) fn flatten(&mut self) {
        for ((from, _), node) in &self.edges {
            self.nodes[*node as usize].whole |= *from == 0;
        }
    }

    /// No marks.
    pub(super) fn none() -> Self {
        Self { nodes: vec![Node::default()], edges: HashMap::new(), odd: false }
    }

    fn add_path(&mut self, path: Value<'a>) {
        if path.kind() != Kind::Array {
            return self.end_oddly(0);
        }
        let mut node = 0;
        for step in path.elements() {
            match self.step(step) {
                Some(step) => node = self.go(node, step),
                None => return self.end_oddly(node),
            }
        }
        self.nodes[node as usize].whole = true;
    }

    fn step(&self, step: Value<'a>) -> Option<Step<'a>> {
        let (of, value) = (step.get("type")?.text()?, step.get("value")?);
        match &*of {
            "get_attr" => Some(Step::Name(bytes(value.text()?))),
            "index" => {
                let index = value.get("value")?;
                value.get("type")?;
                let number = std::str::from_utf8(index.raw()).ok().and_then(|digits| digits.parse().ok());
                Some(match (index.text(), number) {
                    (Some(key), _) => Step::Name(bytes(key)),
                    (None, Some(number)) => Step::Nth(number),
                    (None, None) => Step::Nowhere(self.nodes.len()),
                })
            }
            _ => None,
        }
    }

    fn go(&mut self, from: u32, step: Step<'a>) -> u32 {
        let next = self.nodes.len() as u32;
        let node = *self.edges.entry((from, step)).or_insert(next);
        if node == next {
            self.nodes.push(Node::default());
            self.nodes[from as usize].pending += 1;
        }
        node
    }

    fn end_oddly(&mut self, node: u32) {
        self.nodes[node as usize].whole = true;
        self.odd = true;
    }
}

/// The same edges for a shorter time, so that a step can be looked up without a copy.
fn edges<'s>(edges: &'s HashMap<(u32, Step<'s>), u32>) -> &'s HashMap<(u32, Step<'s>), u32> {
    edges
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}
