//! Makes what was deleted unreadable, and looks whether it is: the log is copied and cut, then both files are searched.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// How often the log is tried to be cut, and the pause between: readers hold it back, each for one short transaction.
pub(super) const TRIES: u32 = 100;
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// What is looked for: pieces of this size, since a row may lie across pages.
const WINDOW: usize = 16;
const STEP: usize = 32;
/// Wrapped keys begin alike: age's first line and the kind of the first stanza. In base64 that is somewhat longer.
const ALIKE: usize = 48;
/// How much of a file is read at once.
const READ: usize = 1 << 20;
const BITS: u32 = 20;

/// Copies the whole log into the database and cuts it. False: somebody reads from it.
pub(super) fn cut_log(file: &Path) -> rusqlite::Result<bool> {
    let connection = super::open::connect(file)?;
    connection.busy_timeout(Duration::from_millis(200))?;
    connection.execute_batch("PRAGMA synchronous=FULL; PRAGMA secure_delete=ON;")?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0))
}

/// Whether nothing of the needles is in the database or its log, neither as bytes nor as the text in which keyrings hold them.
pub(super) fn is_gone(file: &Path, needles: &[Vec<u8>]) -> io::Result<bool> {
    let windows = Windows::of(needles);
    for file in [file.to_owned(), PathBuf::from(format!("{}-wal", file.display()))] {
        match File::open(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => {
                if windows.are_in(opened?)? {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

/// The pieces that are looked for, by their first half.
struct Windows {
    /// Says of most places at once that nothing begins there.
    sieve: Vec<u64>,
    all: HashMap<u64, Vec<[u8; WINDOW]>>,
}

impl Windows {
    fn of(needles: &[Vec<u8>]) -> Self {
        let mut windows = Self { sieve: vec![0; 1 << (BITS - 6)], all: HashMap::new() };
        for needle in needles {
            windows.add(needle);
            windows.add(STANDARD_NO_PAD.encode(needle).as_bytes());
        }
        windows
    }

    fn add(&mut self, needle: &[u8]) {
        let from = if needle.len() < ALIKE + WINDOW { 0 } else { ALIKE };
        for at in (from..needle.len()).step_by(STEP) {
            let Some(window) = needle[at..].first_chunk::<WINDOW>() else { break };
            let start = start(window);
            let (word, bit) = place(start);
            self.sieve[word] |= bit;
            self.all.entry(start).or_default().push(*window);
        }
    }

    fn are_in(&self, mut file: File) -> io::Result<bool> {
        let mut buffer = Vec::with_capacity(READ + WINDOW);
        loop {
            if Read::by_ref(&mut file).take(READ as u64).read_to_end(&mut buffer)? == 0 {
                return Ok(false);
            }
            if buffer.windows(WINDOW).any(|window| self.has(window)) {
                return Ok(true);
            }
            // What begins at the end of one part ends in the next.
            buffer.drain(..buffer.len().saturating_sub(WINDOW - 1));
        }
    }

    fn has(&self, window: &[u8]) -> bool {
        let start = start(window);
        let (word, bit) = place(start);
        self.sieve[word] & bit != 0 && self.all.get(&start).is_some_and(|all| all.iter().any(|one| one == window))
    }
}

fn start(window: &[u8]) -> u64 {
    window.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

fn place(start: u64) -> (usize, u64) {
    let at = start.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS);
    (usize::try_from(at >> 6).expect("a few bits"), 1 << (at & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_needle_are_found_wherever_they_lie() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("leasehold.db");
        let noise = |seed: u8, size: usize| {
            (0..size).map(|n| (n as u8).wrapping_mul(31) ^ seed.wrapping_mul(n as u8)).collect::<Vec<u8>>()
        };
        let needle: Vec<u8> = (0..400_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let text = STANDARD_NO_PAD.encode(&needle).into_bytes();
        for form in [&needle, &text] {
            for (from, size, at) in [(0, form.len(), 0), (120, 60, 4090), (200, 80, READ - 40), (48, 300, READ - 1)] {
                let mut bytes = noise(7, READ + 5000);
                std::fs::write(&file, &bytes).unwrap();
                assert!(is_gone(&file, std::slice::from_ref(&needle)).unwrap());
                bytes[at..at + size].copy_from_slice(&form[from..from + size]);
                std::fs::write(&file, &bytes).unwrap();
                assert!(!is_gone(&file, &[noise(3, 200), needle.clone()]).unwrap(), "{size} bytes from {from} at {at}");
                std::fs::write(&file, b"").unwrap();
                std::fs::write(folder.path().join("leasehold.db-wal"), &bytes).unwrap();
                assert!(!is_gone(&file, std::slice::from_ref(&needle)).unwrap(), "in the log");
                std::fs::remove_file(folder.path().join("leasehold.db-wal")).unwrap();
            }
        }
    }
}
