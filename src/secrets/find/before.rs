//! The places that were sealed in the version before, followed while the document goes by.

use std::collections::{HashMap, HashSet};

use crate::secrets::path::{Path, StepKind};

/// The paths as a tree of their steps. Node 0 is the root.
pub(super) struct Before {
    nodes: Vec<Node>,
    /// The step that is looked up, its kind first.
    step: Vec<u8>,
}

#[derive(Default)]
struct Node {
    ends: bool,
    children: HashMap<Box<[u8]>, u32>,
}

impl Before {
    pub(super) fn of(paths: &HashSet<Path>) -> Self {
        let mut before = Self { nodes: vec![Node::default()], step: Vec::new() };
        for path in paths {
            let mut node = 0;
            // Of places with the same path, which is which may have changed: all of them stay sealed.
            for (kind, bytes) in path.steps().filter(|(kind, _)| *kind != StepKind::Ordinal) {
                before.look(kind, bytes);
                let next = before.nodes.len() as u32;
                node = *before.nodes[node as usize].children.entry(before.step.as_slice().into()).or_insert(next);
                if node == next {
                    before.nodes.push(Node::default());
                }
            }
            before.nodes[node as usize].ends = true;
        }
        before
    }

    /// One step down, if a path goes there.
    pub(super) fn find(&mut self, node: u32, kind: StepKind, bytes: &[u8]) -> Option<u32> {
        if self.nodes[node as usize].children.is_empty() {
            return None;
        }
        self.look(kind, bytes);
        self.nodes[node as usize].children.get(self.step.as_slice()).copied()
    }

    /// Whether a path ends at the node.
    pub(super) fn ends(&self, node: u32) -> bool {
        self.nodes[node as usize].ends
    }

    /// Whether there are no paths.
    pub(super) fn is_empty(&self) -> bool {
        let root = &self.nodes[0];
        !root.ends && root.children.is_empty()
    }

    fn look(&mut self, kind: StepKind, bytes: &[u8]) {
        self.step.clear();
        self.step.push(kind as u8);
        self.step.extend_from_slice(bytes);
    }
}
