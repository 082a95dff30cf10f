//! The one place through which documents pass into and out of the store.
//!
//! A skeleton is one byte of format (1), the exact size as u64 big-endian, and a zstd frame with checksum. The exact size is inside, where
//! sealing will encrypt it; outside only the size of the redacted form is told.

use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use crate::domain::document::SealedValue;

const FORMAT: u8 = 1;
const HEADER: usize = 9;
const LEVEL: i32 = 3;

/// A document as the store keeps it.
pub struct Sealed {
    /// The bytes with holes, compressed.
    pub skeleton: Vec<u8>,
    /// What stands for the holes, in order.
    pub values: Vec<SealedValue>,
    /// Size of the redacted form.
    pub shown_size: u64,
}

/// A stored document that does not open. One error for all causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored document does not open")]
pub struct OpenError;

/// Seals a document.
///
/// # Panics
/// If the compressor fails in memory, which it does only without any.
#[must_use]
pub fn seal(document: &[u8]) -> Sealed {
    let mut skeleton = Vec::with_capacity(HEADER + document.len() / 4);
    skeleton.push(FORMAT);
    skeleton.extend_from_slice(&(document.len() as u64).to_be_bytes());
    let mut encoder = zstd::stream::write::Encoder::new(skeleton, LEVEL).expect("the level is valid");
    encoder.include_checksum(true).expect("a parameter of a fresh encoder");
    let done = std::io::Write::write_all(&mut encoder, document).and_then(|()| encoder.finish());
    Sealed { skeleton: done.expect("writing to memory does not fail"), values: Vec::new(), shown_size: document.len() as u64 }
}

/// Opens a skeleton piece by piece, in bounded memory: what comes out never exceeds what is asked for at once.
pub struct Opener {
    decoder: Decoder<'static>,
    size: u64,
    given: u64,
    head: Vec<u8>,
    ended: bool,
}

impl Opener {
    /// An opener before its first piece.
    ///
    /// # Errors
    /// No memory for the decoder.
    pub fn new() -> Result<Self, OpenError> {
        let decoder = Decoder::new().map_err(|_| OpenError)?;
        Ok(Self { decoder, size: 0, given: 0, head: Vec::with_capacity(HEADER), ended: false })
    }

    /// The exact size of the document, once the first piece is in.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        (self.head.len() == HEADER).then_some(self.size)
    }

    /// Takes the next stored piece, and hands pieces of at most `most` bytes to `out`, which returns false to stop.
    ///
    /// # Errors
    /// The piece does not continue what came before.
    pub fn feed(&mut self, piece: &[u8], most: usize, out: &mut dyn FnMut(Vec<u8>) -> bool) -> Result<(), OpenError> {
        let rest = self.header(piece)?;
        let mut input = InBuffer::around(rest);
        loop {
            let mut buffer = vec![0; most.min(usize::try_from(self.size - self.given).unwrap_or(most)).max(1)];
            let mut output = OutBuffer::around(buffer.as_mut_slice());
            let hint = self.decoder.run(&mut input, &mut output).map_err(|_| OpenError)?;
            let (count, full) = (output.pos(), output.pos() == output.capacity());
            self.given += count as u64;
            self.ended |= hint == 0;
            if self.given > self.size {
                return Err(OpenError);
            }
            buffer.truncate(count);
            if count > 0 && !out(buffer) {
                return Ok(());
            }
            if !full && input.pos() == rest.len() || self.ended {
                return Ok(());
            }
        }
    }

    /// All pieces are in: is the document whole?
    ///
    /// # Errors
    /// It ended early, or its checksum was not reached.
    pub fn finish(&self) -> Result<(), OpenError> {
        if self.ended && self.given == self.size { Ok(()) } else { Err(OpenError) }
    }

    fn header<'p>(&mut self, piece: &'p [u8]) -> Result<&'p [u8], OpenError> {
        let take = (HEADER - self.head.len()).min(piece.len());
        self.head.extend_from_slice(&piece[..take]);
        if let (true, Some((&format, size))) = (take > 0 && self.head.len() == HEADER, self.head.split_first()) {
            if format != FORMAT {
                return Err(OpenError);
            }
            self.size = u64::from_be_bytes(size.try_into().map_err(|_| OpenError)?);
        }
        Ok(&piece[take..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(pieces: &[&[u8]], most: usize) -> Result<Vec<u8>, OpenError> {
        let mut opener = Opener::new()?;
        let mut document = Vec::new();
        for piece in pieces {
            opener.feed(piece, most, &mut |bytes| {
                assert!(bytes.len() <= most);
                document.extend_from_slice(&bytes);
                true
            })?;
        }
        opener.finish().map(|()| document)
    }

    #[test]
    fn documents_come_back_to_the_last_byte_however_they_are_cut() {
        for document in [vec![b' '; 3_000_000], b"{}".to_vec(), (0..200_000_u32).flat_map(u32::to_le_bytes).collect()] {
            let sealed = seal(&document);
            for cut in [1, 7, 4096, 1 << 20] {
                if sealed.skeleton.len() / cut < 5000 {
                    let pieces: Vec<&[u8]> = sealed.skeleton.chunks(cut).collect();
                    assert!(open(&pieces, 65536).unwrap() == document, "cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn damaged_skeletons_open_to_nothing_else_and_shortened_ones_not_at_all() {
        let document = [b"secret stuff ".repeat(50), vec![9; 90]].concat();
        let skeleton = seal(&document).skeleton;
        for at in 0..skeleton.len() {
            let mut bent = skeleton.clone();
            bent[at] ^= 0x40;
            // Some bits of a frame's header say nothing about its content: what opens is the document, or nothing.
            assert!(open(&[&bent], 4096).is_ok_and(|opened| opened == document) || open(&[&bent], 4096).is_err(), "byte {at}");
            assert_eq!(open(&[&skeleton[..at]], 4096), Err(OpenError), "cut at {at}");
        }
    }
}
