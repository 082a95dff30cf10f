//! Cutting the holes out of a document, and putting tokens back.

use std::collections::HashSet;

use super::SealError;
use super::head::{Head, MAX_PATHS, StoredHole};
use crate::secrets::hole::Hole;

/// A document without its holes, and what stood in them. Nothing is copied.
pub struct Cut<'d> {
    /// What is left, in order; its parts in a row are the text.
    pub text: Vec<&'d [u8]>,
    /// How long the text is.
    pub text_size: u64,
    /// What stood in the holes, in order: raw bytes, quotes and escapes included.
    pub tokens: Vec<Token<'d>>,
    size: u64,
}

/// What stood in a hole.
pub struct Token<'d> {
    /// Where in the text it goes.
    pub at: u64,
    /// Its bytes.
    pub bytes: &'d [u8],
}

/// Cuts the holes out.
///
/// # Errors
/// [`SealError::Places`] if the holes are not in order, overlap, reach beyond the document, are empty, or two have one path;
/// [`SealError::TooManyPlaces`].
pub fn cut<'d>(document: &'d [u8], holes: &[Hole]) -> Result<Cut<'d>, SealError> {
    let mut cut = Cut {
        text: Vec::with_capacity(holes.len() + 1),
        text_size: 0,
        tokens: Vec::with_capacity(holes.len()),
        size: document.len() as u64,
    };
    let mut paths = HashSet::with_capacity(holes.len());
    let mut named = 0_u64;
    let mut end = 0;
    for hole in holes {
        let (from, to) = (hole.span.start as usize, hole.span.end as usize);
        if from < end || to <= from || to > document.len() || !paths.insert(&hole.path) {
            return Err(SealError::Places);
        }
        named += hole.path.as_bytes().len() as u64;
        if named > MAX_PATHS {
            return Err(SealError::TooManyPlaces);
        }
        cut.text.push(&document[end..from]);
        cut.text_size += (from - end) as u64;
        cut.tokens.push(Token { at: cut.text_size, bytes: &document[from..to] });
        end = to;
    }
    cut.text.push(&document[end..]);
    cut.text_size += (document.len() - end) as u64;
    Ok(cut)
}

impl Cut<'_> {
    /// The head of the skeleton. `holes` are those that were cut, `ordinals` says which sealed value of the state each is.
    ///
    /// # Panics
    /// If there are not as many of each.
    #[must_use]
    pub fn head(&self, holes: Vec<Hole>, ordinals: &[u32], overflow: bool) -> Head {
        assert!(holes.len() == self.tokens.len() && ordinals.len() == self.tokens.len(), "a hole, a token and an ordinal each");
        let holes = holes.into_iter().zip(&self.tokens).zip(ordinals);
        let holes = holes.map(|((hole, token), &ordinal)| {
            let Hole { kind, reason, path, .. } = hole;
            StoredHole { at: token.at, kind, reason, path, ordinal }
        });
        Head { size: self.size, text_size: self.text_size, holes: holes.collect(), overflow }
    }
}

/// The document again: `tokens[i]` in `holes[i]`.
///
/// # Panics
/// If there are not as many of each, or a place is beyond the text.
#[must_use]
pub fn join(text: &[u8], holes: &[StoredHole], tokens: &[impl AsRef<[u8]>]) -> Vec<u8> {
    assert_eq!(holes.len(), tokens.len(), "a token for each hole");
    let size = tokens.iter().map(|token| token.as_ref().len()).sum::<usize>();
    let mut document = Vec::with_capacity(text.len() + size);
    let mut joiner = Joiner::default();
    let mut put = |part: Part<'_>| match part {
        Part::Text(text) => document.extend_from_slice(text),
        Part::Hole(n) => document.extend_from_slice(tokens[n].as_ref()),
    };
    joiner.feed(holes, text, &mut put);
    assert!(joiner.finish(holes, &mut put), "a hole is beyond the text");
    document
}

/// Says what comes next in a document whose text arrives in pieces.
#[derive(Default)]
pub struct Joiner {
    next: usize,
    given: u64,
}

/// What comes next in a document.
pub enum Part<'t> {
    /// Some of the text.
    Text(&'t [u8]),
    /// What belongs into the n-th hole, from 0.
    Hole(usize),
}

impl Joiner {
    /// Takes more of the text. `holes` are always those of the head.
    pub fn feed<'t>(&mut self, holes: &[StoredHole], mut text: &'t [u8], put: &mut impl FnMut(Part<'t>)) {
        while let Some(hole) = holes.get(self.next) {
            let before = usize::try_from(hole.at.saturating_sub(self.given)).unwrap_or(usize::MAX);
            let Some((head, rest)) = text.split_at_checked(before) else { break };
            if !head.is_empty() {
                put(Part::Text(head));
            }
            put(Part::Hole(self.next));
            self.given += head.len() as u64;
            self.next += 1;
            text = rest;
        }
        if !text.is_empty() {
            put(Part::Text(text));
            self.given += text.len() as u64;
        }
    }

    /// The text is over. False if a hole is beyond its end.
    pub fn finish<'t>(&mut self, holes: &[StoredHole], put: &mut impl FnMut(Part<'t>)) -> bool {
        while holes.get(self.next).is_some_and(|hole| hole.at == self.given) {
            put(Part::Hole(self.next));
            self.next += 1;
        }
        self.next == holes.len()
    }
}
