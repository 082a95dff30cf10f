//! Bytes as a source of choices: the fuzzer's, or those of a seed.

use leasehold::secrets::path::{Path, StepKind};

/// Gives out what stands in the bytes, and zeros when they are over.
pub(crate) struct Source<'b>(pub(crate) &'b [u8]);

impl<'b> Source<'b> {
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    pub(crate) fn u64(&mut self) -> u64 {
        (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// A number below another one.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    pub(crate) fn pick<'c, T>(&mut self, choices: &'c [T]) -> &'c T {
        &choices[self.below(choices.len())]
    }

    pub(crate) fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 1
    }

    /// Up to as many bytes.
    pub(crate) fn bytes(&mut self, most: usize) -> &'b [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'b [u8] {
        self.bytes(usize::MAX)
    }

    pub(crate) fn path(&mut self) -> Path {
        let mut path = Path::root();
        for _ in 0..self.below(5) {
            let kind = StepKind::of(self.byte() % 13 + 1).expect("1 to 13 are kinds");
            let length = self.below(12);
            path.push(kind, self.bytes(length));
        }
        path
    }

    /// Changes some of these bytes: other ones, more, or fewer.
    pub(crate) fn edit(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..1 + self.below(4) {
            let at = usize::from(self.u16()) % (bytes.len() + 1);
            match self.below(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, self.byte()),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                _ => {
                    let with = self.byte();
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= with;
                    }
                }
            }
        }
    }
}

/// Bytes that follow from a seed, for documents without a fuzzer (SplitMix64).
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::from_fn(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some((mixed ^ mixed >> 31).to_le_bytes())
    });
    words.flatten().take(length).collect()
}
