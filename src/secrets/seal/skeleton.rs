//! Sealing what is left of a document: its head and its text, compressed, in pieces. Format 2.
//!
//! The first pieces hold the head, so that the table of holes can be read without the text:
//!
//! ```text
//! u64 size of what the text unpacks to   u32 size of the encoded head   u32 size of the frame   17 bytes: flags and sizes of the head
//! frame: the rest of the encoded head
//! ```
//!
//! The others hold the frame of the text, or of the difference to the text of another version. Frames are zstd with checksum. The exact
//! size of the document is never compressed: it would show in the size of the piece.

use std::cell::RefCell;
use std::io::{self, Write};

use zstd::stream::raw::CParameter;
use zstd::stream::write::Encoder;
use zstd::zstd_safe::CCtx;

use super::head::{FIXED, Head, MAX_PATHS};
use super::piece::{AFTER, BEFORE, Lock, NONCE, PartOf};
use super::{Binding, Holder, SealError, SealingKeys};
use crate::domain::ids::Version;
use crate::secrets::data_key::NoRandomness;

/// A stored piece has at most this many bytes.
pub const PIECE: usize = 256 * 1024;

/// Of a state of 10 MiB, level 3 takes 19 ms and leaves 1.12 MB, level 1 takes 13 ms and leaves 1.05 MB: states repeat what stands near.
const LEVEL: i32 = 1;

/// Which body a skeleton is: bound into every piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    /// The state.
    pub binding: Binding,
    /// The version or draft of it.
    pub holder: Holder,
    /// The version to whose text this one's is stored as a difference.
    pub base: Option<Version>,
}

/// Seals a skeleton: its pieces, of at most [`PIECE`] bytes each. `text` is the text in parts, or the difference to that of the base.
///
/// # Errors
/// No randomness, too many places, or a head whose parts do not fit together or do not fit the text.
pub fn seal_skeleton(keys: &SealingKeys, body: &Body, head: &Head, text: &[&[u8]]) -> Result<Vec<Vec<u8>>, SealError> {
    let payload: u64 = text.iter().map(|part| part.len() as u64).sum();
    if !head.is_sound() || body.base.is_none() && payload != head.text_size {
        return Err(SealError::Places);
    }
    if head.holes.iter().map(|hole| hole.path.as_bytes().len() as u64).sum::<u64>() > MAX_PATHS {
        return Err(SealError::TooManyPlaces);
    }
    let encoded = head.encode();
    let packed = pack(&[&encoded[FIXED..]], encoded.len() - FIXED);
    let length = |size: usize| u32::try_from(size).map_err(|_| SealError::TooManyPlaces);
    let mut pieces = Pieces::default();
    let prefix = [&payload.to_be_bytes()[..], &length(encoded.len())?.to_be_bytes(), &length(packed.len())?.to_be_bytes()];
    for bytes in prefix.into_iter().chain([&encoded[..FIXED], &packed]) {
        pieces.put(bytes);
    }
    let of_head = pieces.0.len();
    pieces.begin();
    let size = usize::try_from(payload).expect("the text is in memory");
    let mut pieces = compress(pieces, text, size).0;
    if let Some(last) = pieces.last_mut() {
        last.shrink_to(last.len() + AFTER);
    }
    close(keys, body, &mut pieces, of_head, &mut |nonce| getrandom::fill(nonce).map_err(|_| NoRandomness))?;
    Ok(pieces)
}

/// Seals with chosen nonces, from parts as they are before encryption: for vectors. A nonce used twice gives both plaintexts away.
#[doc(hidden)]
#[must_use]
pub fn danger_seal_parts(keys: &SealingKeys, body: &Body, head: &[u8], text: &[u8], nonces: &[[u8; NONCE]]) -> Vec<Vec<u8>> {
    let mut pieces = Pieces::default();
    pieces.put(head);
    let of_head = pieces.0.len();
    pieces.begin();
    pieces.put(text);
    let mut nonces = nonces.iter();
    let mut next = |nonce: &mut [u8; NONCE]| nonces.next().map(|given| *nonce = *given).ok_or(NoRandomness);
    close(keys, body, &mut pieces.0, of_head, &mut next).expect("as many nonces as pieces");
    pieces.0
}

fn close(
    keys: &SealingKeys,
    body: &Body,
    pieces: &mut [Vec<u8>],
    of_head: usize,
    draw: &mut dyn FnMut(&mut [u8; NONCE]) -> Result<(), NoRandomness>,
) -> Result<(), NoRandomness> {
    let lock = Lock::of(keys, body);
    let count = u32::try_from(pieces.len()).expect("2³² pieces are a pebibyte");
    for (number, piece) in (0..count).zip(pieces) {
        let mut nonce = [0; NONCE];
        draw(&mut nonce)?;
        let part = if (number as usize) < of_head { PartOf::Head } else { PartOf::Text };
        lock.close(piece, part, number, count, nonce);
    }
    Ok(())
}

fn pack(parts: &[&[u8]], size: usize) -> Vec<u8> {
    compress(Vec::with_capacity(64 + size / 8), parts, size)
}

thread_local! {
    /// To make a context takes longer than to compress a small document: it asks the processor what it can do, and a virtual one has to ask
    /// its host.
    static CONTEXT: RefCell<CCtx<'static>> = RefCell::new(CCtx::create());
}

fn compress<W: Write>(out: W, parts: &[&[u8]], size: usize) -> W {
    CONTEXT.with_borrow_mut(|context| {
        let mut encoder = Encoder::with_context(out, context);
        let set = encoder
            .set_parameter(CParameter::CompressionLevel(LEVEL))
            .and_then(|()| encoder.include_checksum(true))
            .and_then(|()| encoder.set_pledged_src_size(Some(size as u64)));
        set.expect("parameters of a frame that has not begun");
        let written = parts.iter().try_for_each(|part| encoder.write_all(part)).and_then(|()| encoder.finish());
        written.expect("writing to memory does not fail")
    })
}

/// Cuts what is written into pieces, with room before for what [`Lock::close`] adds.
#[derive(Default)]
struct Pieces(Vec<Vec<u8>>);

impl Pieces {
    fn begin(&mut self) {
        self.0.push(vec![0; BEFORE]);
    }

    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.0.last().is_none_or(|last| last.len() == PIECE - AFTER) {
                self.begin();
            }
            let last = self.0.last_mut().expect("one was begun");
            let taken;
            (taken, bytes) = bytes.split_at(bytes.len().min(PIECE - AFTER - last.len()));
            last.extend_from_slice(taken);
        }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
