//! Looks for many secrets in a text at once: as they are, and in base64 wherever they stand in what was encoded.
//!
//! Of each form of a secret, eight bytes are chosen that few other forms have; a filter over all of them is asked at every byte of a text,
//! and what passes is compared in full. That takes the same time for one secret as for thousands, and 24 bytes for each form (an automaton
//! over 65,536 prefixes of 64 bytes would take gigabytes).

use super::{decode, seeds::Seeds};

/// How far into a form its eight bytes may stand.
const REACH: usize = 256;

/// The same, if there are many secrets.
const SHORT_REACH: usize = 64;

/// From how many secrets on there are many.
const MANY: usize = 4_096;

/// How many bytes a comparison may touch for each byte that was searched, before finds count without comparison.
const PATIENCE: u64 = 32;

const WINDOW: usize = 8;

/// The secrets that are looked for.
pub(super) struct Index<'s> {
    seeds: Vec<&'s [u8]>,
    /// By window.
    forms: Vec<Form>,
    filter: Filter,
}

/// How many bytes comparisons may still touch, over all texts that are searched one after the other.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    left: u64,
    /// The least that it ever was.
    least: u64,
}

impl Patience {
    /// What there is at first.
    pub(super) const FIRST: u64 = 1 << 20;

    pub(super) fn new() -> Self {
        Self { left: Self::FIRST, least: Self::FIRST }
    }

    /// The least that was left since this was last asked.
    pub(super) fn least(&mut self) -> u64 {
        std::mem::replace(&mut self.least, self.left)
    }

    fn spend(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
        self.least = self.least.min(self.left);
    }
}

#[derive(Clone, Copy)]
struct Form {
    window: u64,
    seed: u32,
    /// Where the window stands in the form.
    offset: u16,
    kind: Kind,
}

/// How a secret is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// As it is, and white space within it says nothing.
    Spaced,
    /// In base64, where so many bytes of what was encoded stand before it, modulo three.
    Base64(u8),
}

impl<'s> Index<'s> {
    pub(super) fn of(seeds: &'s Seeds) -> Self {
        let listed: Vec<(&[u8], bool)> = seeds.strong().collect();
        let reach = if listed.len() > MANY { SHORT_REACH } else { REACH };
        let kinds = |spaced: bool| {
            let plain = if spaced { Kind::Spaced } else { Kind::Plain };
            [plain, Kind::Base64(0), Kind::Base64(1), Kind::Base64(2)]
        };
        let each = || listed.iter().enumerate().flat_map(|(n, (seed, spaced))| kinds(*spaced).map(|kind| (n, *seed, kind)));
        let mut sketch = Sketch::for_forms(listed.len() * 4);
        let mut start = zeroize::Zeroizing::new(Vec::with_capacity(reach));
        for (_, seed, kind) in each() {
            write_start(seed, kind, reach, &mut start);
            start.windows(WINDOW).for_each(|window| sketch.count(word(window)));
        }
        let mut forms = Vec::with_capacity(listed.len() * 4);
        for (n, seed, kind) in each() {
            write_start(seed, kind, reach, &mut start);
            let rarest = start.windows(WINDOW).enumerate().min_by_key(|(_, window)| sketch.counted(word(window)));
            let Some((offset, window)) = rarest else { continue };
            forms.push(Form { window: word(window), seed: n as u32, offset: offset as u16, kind });
            if kind != Kind::Plain && window.iter().any(|byte| matches!(byte, b'+' | b'/')) {
                let safe = word(window).to_le_bytes().map(|byte| match byte {
                    b'+' => b'-',
                    b'/' => b'_',
                    byte => byte,
                });
                forms.push(Form { window: u64::from_le_bytes(safe), seed: n as u32, offset: offset as u16, kind });
            }
        }
        forms.sort_unstable_by_key(|form| form.window);
        let filter = Filter::of(&forms);
        Self { seeds: listed.into_iter().map(|(seed, _)| seed).collect(), forms, filter }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// Whether a secret stands in the text.
    pub(super) fn is_in(&self, text: &[u8], patience: &mut Patience) -> bool {
        self.search(text, patience, |_| true)
    }

    /// Whether a secret stands in a text that had white space before: only in a form in which that says nothing.
    pub(super) fn is_in_unwrapped(&self, text: &[u8], patience: &mut Patience) -> bool {
        self.search(text, patience, |kind| kind != Kind::Plain)
    }

    fn search(&self, text: &[u8], patience: &mut Patience, wanted: impl Fn(Kind) -> bool) -> bool {
        patience.left = patience.left.saturating_add(PATIENCE * text.len() as u64);
        for (at, window) in text.windows(WINDOW).enumerate() {
            let window = word(window);
            if !self.filter.passes(window) {
                continue;
            }
            let first = self.forms.partition_point(|form| form.window < window);
            for form in self.forms[first..].iter().take_while(|form| form.window == window) {
                if wanted(form.kind) && stands(text, at, form, self.seeds[form.seed as usize], patience) {
                    return true;
                }
            }
        }
        false
    }
}

/// Whether the whole form stands in the text, its window being at `at`. Somebody who makes comparisons long on purpose gets more sealed.
fn stands(text: &[u8], at: usize, form: &Form, seed: &[u8], patience: &mut Patience) -> bool {
    let Some(start) = at.checked_sub(usize::from(form.offset)) else { return false };
    if patience.left == 0 {
        return true;
    }
    let text = &text[start..];
    let (same, touched) = match form.kind {
        Kind::Plain | Kind::Spaced => {
            let touched = text.iter().zip(seed).take_while(|(a, b)| a == b).count();
            (touched == seed.len(), touched)
        }
        Kind::Base64(phase) => {
            let length = sextets(seed, phase);
            let differs = |i: &usize| text.get(*i).and_then(|byte| decode::value(*byte)) != Some(sextet(seed, phase, *i));
            let touched = (0..length).find(differs).unwrap_or(length);
            (touched == length, touched)
        }
    };
    patience.spend(touched as u64 + 8);
    same
}

/// The first bytes of a form.
fn write_start(seed: &[u8], kind: Kind, reach: usize, out: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.clear();
    match kind {
        Kind::Plain | Kind::Spaced => out.extend_from_slice(&seed[..seed.len().min(reach)]),
        Kind::Base64(phase) => {
            let length = sextets(seed, phase).min(reach);
            out.extend((0..length).map(|i| ALPHABET[usize::from(sextet(seed, phase, i))]));
        }
    }
}

/// How many characters of base64 depend on nothing but the secret.
fn sextets(seed: &[u8], phase: u8) -> usize {
    (seed.len() * 8 - skipped(phase)) / 6
}

/// The i-th of them, as a number.
fn sextet(seed: &[u8], phase: u8, i: usize) -> u8 {
    let bit = skipped(phase) + i * 6;
    let next = seed.get(bit / 8 + 1).copied().unwrap_or_default();
    let pair = u16::from(seed[bit / 8]) << 8 | u16::from(next);
    (pair >> (10 - bit % 8) & 63) as u8
}

/// How many bits of the secret stand in a character that begins before it.
fn skipped(phase: u8) -> usize {
    [0, 4, 2][usize::from(phase)]
}

fn word(window: &[u8]) -> u64 {
    window.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn mix(word: u64) -> u64 {
    (word ^ word >> 29).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Says of few words that are not in the set that they may be.
struct Filter {
    bits: Vec<u64>,
    shift: u32,
}

impl Filter {
    fn of(forms: &[Form]) -> Self {
        let size = (forms.len() * 64).next_power_of_two().clamp(1 << 12, 1 << 24);
        let mut filter = Self { bits: vec![0; size / 64], shift: 64 - size.trailing_zeros() };
        for form in forms {
            let bit = mix(form.window) >> filter.shift;
            filter.bits[(bit / 64) as usize] |= 1 << (bit % 64);
        }
        filter
    }

    fn passes(&self, word: u64) -> bool {
        let bit = mix(word) >> self.shift;
        self.bits[(bit / 64) as usize] >> (bit % 64) & 1 == 1
    }
}

/// About how often each window occurs among the forms; never too low.
struct Sketch {
    counts: Vec<u16>,
    shift: u32,
}

impl Sketch {
    fn for_forms(forms: usize) -> Self {
        let size = (forms * 64).next_power_of_two().clamp(1 << 12, 1 << 22);
        Self { counts: vec![0; size], shift: 64 - size.trailing_zeros() }
    }

    fn count(&mut self, word: u64) {
        let place = &mut self.counts[(mix(word) >> self.shift) as usize];
        *place = place.saturating_add(1);
    }

    fn counted(&self, word: u64) -> u16 {
        self.counts[(mix(word) >> self.shift) as usize]
    }
}

#[cfg(test)]
mod tests {
    use base64::{
        Engine,
        engine::general_purpose::{STANDARD, URL_SAFE},
    };

    use super::*;

    const SECRETS: [&str; 4] =
        ["\"\\<&%\u{e9}/+=\n", "exactly8", "a-secret-that-is-longer-than-others>>>???", "\u{ff}\u{fe}\u{fb}\u{ef}ooo"];

    fn seeds(secrets: &[&str]) -> Seeds {
        let mut seeds = Seeds::default();
        secrets.iter().for_each(|secret| seeds.add(secret.as_bytes(), 0));
        seeds
    }

    #[test]
    fn index_finds_every_secret_at_every_place_and_alignment() {
        let seeds = seeds(&SECRETS);
        let (index, mut patience) = (Index::of(&seeds), Patience::new());
        for secret in SECRETS.map(str::trim) {
            for before in 0..9 {
                let text = format!("{}{secret}{}", "x".repeat(before), "y".repeat(before % 4));
                assert!(index.is_in(text.as_bytes(), &mut patience), "{text}");
                for encoded in [STANDARD.encode(&text), URL_SAFE.encode(&text)] {
                    assert!(index.is_in(encoded.as_bytes(), &mut patience), "{text}");
                    assert!(index.is_in_unwrapped(encoded.as_bytes(), &mut patience), "{text}");
                }
                assert!(!index.is_in(text.replace(&secret[secret.len() - 1..], "").as_bytes(), &mut patience), "{text}, cut");
            }
        }
        for text in ["", "exactly", "xactly8x", "a-secret-that-is-longer-than-others>>>??", &STANDARD.encode("exactly-8")] {
            assert!(!index.is_in(text.as_bytes(), &mut patience), "{text}");
        }
        assert!(!index.is_in_unwrapped(b"exactly8", &mut patience), "joined lines are no find");
    }

    #[test]
    fn index_finds_among_secrets_that_begin_alike() {
        let secrets: Vec<String> = (0..2_000).map(|n| format!("{}{n:05}", "https://same.start/".repeat(5))).collect();
        let seeds = seeds(&secrets.iter().map(String::as_str).collect::<Vec<_>>());
        let (index, mut patience) = (Index::of(&seeds), Patience::new());
        assert!(secrets.iter().all(|secret| index.is_in(secret.as_bytes(), &mut patience)));
        assert!(!index.is_in(format!("{}x", "https://same.start/".repeat(50)).as_bytes(), &mut patience));
        let most = index.forms.chunk_by(|a, b| a.window == b.window).map(<[Form]>::len).max();
        assert!(most <= Some(16), "{most:?} share a window, though only the last bits of their last digit are not in it");
    }

    #[test]
    fn index_gives_up_comparing_rather_than_time() {
        let secret = "a".repeat(200_000) + "b";
        let seeds = seeds(&[&secret]);
        let (index, mut patience) = (Index::of(&seeds), Patience::new());
        assert!(index.is_in("a".repeat(400_000).as_bytes(), &mut patience), "counts as a find once too much was compared");
        assert_eq!(patience.least(), 0);
    }
}
