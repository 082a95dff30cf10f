//! One stored piece of a skeleton: u8 format (2) ‖ u8 part ‖ u32 pieces in all ‖ nonce ‖ ciphertext ‖ tag.

use std::sync::Arc;

use chacha20poly1305::AeadInPlace;

use super::encoding::{Reader, lp};
use super::skeleton::{Body, PIECE};
use super::{Keys, OpenError, SUITE, SealingKeys, with_cipher};

/// The skeleton format.
pub(super) const FORMAT: u8 = 2;

/// Before the ciphertext.
pub(super) const BEFORE: usize = HEADER + NONCE;
pub(super) const NONCE: usize = 24;
/// After it.
pub(super) const AFTER: usize = 16;

const HEADER: usize = 6;

/// What a piece is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum PartOf {
    Head = 1,
    Text = 2,
}

/// Locks and unlocks the pieces of one body. Openers that have one are moved about: it has no key by value, nor a cipher, which has.
pub(super) struct Lock {
    keys: Arc<Keys>,
    bound: Vec<u8>,
    base: u64,
}

impl Lock {
    pub(super) fn of(keys: &SealingKeys, body: &Body) -> Self {
        let mut bound = Vec::with_capacity(128);
        lp(&mut bound, &[&SUITE]);
        lp(&mut bound, &[&body.binding.environment.0]);
        lp(&mut bound, &[&body.binding.state.0]);
        body.holder.lp(&mut bound);
        let base = body.base.map_or(0, |version| version.0);
        Self { keys: Arc::clone(&keys.keys), bound, base }
    }

    /// Completes a piece that holds its plaintext after [`BEFORE`] bytes of room.
    pub(super) fn close(&self, piece: &mut Vec<u8>, part: PartOf, number: u32, count: u32, nonce: [u8; NONCE]) {
        piece[0] = FORMAT;
        piece[1] = part as u8;
        piece[2..HEADER].copy_from_slice(&count.to_be_bytes());
        piece[HEADER..BEFORE].copy_from_slice(&nonce);
        let bound = self.associated(part, number, count);
        let tag = with_cipher(&self.keys.skeleton, |cipher| {
            cipher.encrypt_in_place_detached(&nonce.into(), &bound, &mut piece[BEFORE..])
        })
        .expect("a piece is far below the cipher's 256 GiB");
        piece.extend_from_slice(&tag);
    }

    /// Opens the piece with this number in place: which part it is of, how many there are, and where its plaintext begins; it ends with
    /// the piece.
    pub(super) fn open(&self, piece: &mut Vec<u8>, number: u32) -> Result<(PartOf, u32), OpenError> {
        let mut reader = Reader(piece);
        let (format, part, count) = (reader.u8()?, reader.u8()?, u32::from_be_bytes(reader.array()?));
        let nonce: [u8; NONCE] = reader.array()?;
        let (_, tag) = reader.0.split_last_chunk::<AFTER>().ok_or(OpenError)?;
        let part = match part {
            1 => PartOf::Head,
            2 => PartOf::Text,
            _ => return Err(OpenError),
        };
        if format != FORMAT || number >= count || piece.len() > PIECE {
            return Err(OpenError);
        }
        let (tag, end) = (*tag, piece.len() - AFTER);
        piece.truncate(end);
        let bound = self.associated(part, number, count);
        with_cipher(&self.keys.skeleton, |cipher| {
            cipher.decrypt_in_place_detached(&nonce.into(), &bound, &mut piece[BEFORE..], &tag.into())
        })
        .map_err(|_| OpenError)?;
        Ok((part, count))
    }

    fn associated(&self, part: PartOf, number: u32, count: u32) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.bound.len() + 48);
        all.extend_from_slice(&self.bound);
        lp(&mut all, &[&number.to_be_bytes()]);
        lp(&mut all, &[&count.to_be_bytes()]);
        lp(&mut all, &[&self.base.to_be_bytes()]);
        all.push(part as u8);
        all
    }
}
