//! Recognises HTTP/2 peers that send many frames and say nothing: PING, SETTINGS, RST_STREAM, WINDOW_UPDATE and PRIORITY frames, and DATA
//! of a few bytes. Each costs the peer next to nothing and us a little; no limit on streams, windows or headers counts them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::first_frame::{FRAME_HEAD, PREFACE};

/// How many frames a connection may send that bring nothing. Every frame takes one; what brings something gives some back.
///
/// 16,384: that many waiters and renewals may be given up at once, eight for each stream that may be open. Giving up calls as fast as they
/// are made (a rapid reset) earns nothing, and ends after 8,192.
pub(super) struct Allowance {
    frames: AtomicI64,
    overdrawn: AtomicBool,
}

impl Allowance {
    const FULL: i64 = 16_384;
    /// A call that was answered: its own frames, and those that its answer makes the peer send.
    const CALL: i64 = 16;
    /// Bytes of payload that are worth a frame, in either direction: whoever reads a document gives back the window.
    const BYTES: usize = 1 << 10;
    /// An idle connection is pinged, and answers, for weeks.
    const EVERY: Duration = Duration::from_millis(100);

    /// A call was answered.
    pub(super) fn call_answered(&self) {
        self.earn(Self::CALL);
    }

    /// So many bytes of payload went either way.
    fn carried(&self, bytes: usize) {
        self.earn(i64::try_from(bytes / Self::BYTES).unwrap_or(i64::MAX));
    }

    fn earn(&self, frames: i64) {
        // Two threads at once may lose a little of it, and that is all.
        let left = self.frames.load(Ordering::Relaxed);
        self.frames.store(left.saturating_add(frames).min(Self::FULL), Ordering::Relaxed);
    }

    fn spend(&self, frames: i64) -> bool {
        let enough = self.frames.fetch_sub(frames, Ordering::Relaxed) >= frames;
        if !enough {
            self.overdrawn.store(true, Ordering::Relaxed);
        }
        enough
    }

    /// Whether the connection ends for that.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.overdrawn.load(Ordering::Relaxed)
    }
}

impl Default for Allowance {
    fn default() -> Self {
        Self { frames: AtomicI64::new(Self::FULL), overdrawn: AtomicBool::new(false) }
    }
}

/// Follows what a peer sends, frame by frame. Of HTTP/1.1 it counts nothing.
pub(super) struct Meter {
    at: At,
    allowance: Arc<Allowance>,
    /// Bytes of payload that have not earned a frame yet.
    payload: usize,
    /// Until when time has earned frames.
    earned: Instant,
}

enum At {
    Preface { seen: usize },
    FrameHead { seen: usize, length: usize },
    FrameBody { missing: usize },
    Http1,
}

/// The peer has used up its allowance.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flood;

impl Meter {
    pub(super) fn new(allowance: Arc<Allowance>) -> Self {
        Self { at: At::Preface { seen: 0 }, allowance, payload: 0, earned: now() }
    }

    /// The peer has sent these bytes.
    pub(super) fn note(&mut self, mut bytes: &[u8]) -> Result<(), Flood> {
        let mut frames = 0;
        while let Some((&byte, tail)) = bytes.split_first() {
            match &mut self.at {
                At::Preface { seen } if PREFACE[*seen] == byte => {
                    *seen += 1;
                    if *seen == PREFACE.len() {
                        self.at = At::FrameHead { seen: 0, length: 0 };
                    }
                }
                At::Preface { .. } => self.at = At::Http1,
                At::FrameHead { seen, length } => {
                    if *seen < 3 {
                        *length = *length << 8 | usize::from(byte);
                    }
                    *seen += 1;
                    if *seen == FRAME_HEAD {
                        frames += 1;
                        self.at = match *length {
                            0 => At::FrameHead { seen: 0, length: 0 },
                            missing => At::FrameBody { missing },
                        };
                    }
                }
                At::FrameBody { missing } => {
                    let here = bytes.len().min(*missing);
                    *missing -= here;
                    self.payload += here;
                    if *missing == 0 {
                        self.at = At::FrameHead { seen: 0, length: 0 };
                    }
                    bytes = &bytes[here..];
                    continue;
                }
                At::Http1 => return Ok(()),
            }
            bytes = tail;
        }
        if frames == 0 {
            return Ok(());
        }
        self.earn_for_time();
        self.allowance.carried(self.payload);
        self.payload %= Allowance::BYTES;
        if self.allowance.spend(frames) { Ok(()) } else { Err(Flood) }
    }

    /// We have written so many bytes to the peer.
    pub(super) fn wrote(&self, bytes: usize) {
        self.allowance.carried(bytes);
    }

    fn earn_for_time(&mut self) {
        let passed = now().duration_since(self.earned).as_nanos() / Allowance::EVERY.as_nanos();
        if passed > 0 {
            let frames = u32::try_from(passed).unwrap_or(u32::MAX);
            self.earned += Allowance::EVERY * frames;
            self.allowance.earn(frames.into());
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "how many frames a peer may send is no decision about a lease")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

    fn meter() -> Meter {
        let mut meter = Meter::new(Arc::default());
        meter.note(PREFACE).unwrap();
        meter
    }

    /// How many frames go through.
    fn lasts(meter: &mut Meter, frame: &[u8], most: usize) -> usize {
        (0..most).take_while(|_| meter.note(frame).is_ok()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn frames_that_bring_nothing_are_allowed_for_a_while_and_again_with_time() {
        let mut meter = meter();
        // Their payload of 8 bytes earns one in 128: 16,384 · 128/127. Exactly so: no time passes here but what the test lets pass.
        let first = lasts(&mut meter, PING, 100_000);
        assert_eq!(first, 16_513);
        tokio::time::advance(Duration::from_secs(10)).await;
        let again = lasts(&mut meter, PING, 100_000);
        assert_eq!(again, 99, "the one that was refused is owed");
        tokio::time::advance(Duration::from_secs(1_000_000)).await;
        let all = lasts(&mut meter, PING, 100_000);
        assert_eq!(all, 16_513, "never more than at the beginning");
    }

    #[tokio::test(start_paused = true)]
    async fn frames_are_counted_however_they_are_cut() {
        let mut whole = PREFACE.to_vec();
        for _ in 0..20_000 {
            whole.extend_from_slice(PING);
            whole.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 1]);
        }
        for size in [1, 7, 9, 26, 1000, 65_536] {
            let mut meter = Meter::new(Arc::default());
            let read = whole.chunks(size).take_while(|chunk| meter.note(chunk).is_ok()).count() * size;
            let frames = (read - PREFACE.len()) / 13;
            // The payload of the pings earns a frame in 256.
            assert!((16_384 - size / 13..16_384 + 100).contains(&frames), "{size}: {frames}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn documents_and_answered_calls_go_on_for_ever() {
        let mut meter = meter();
        let mut data = vec![0, 0x40, 0, 0, 0, 0, 0, 0, 1];
        data.resize(FRAME_HEAD + (16 << 10), b'x');
        assert_eq!(lasts(&mut meter, &data, 40_000), 40_000);
        for _ in 0..40_000 {
            meter.note(&[0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 0, 64, 0]).unwrap();
            meter.wrote(16 << 10);
        }
        for _ in 0..40_000 {
            for _ in 0..8 {
                meter.note(PING).unwrap();
            }
            meter.allowance.call_answered();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn http1_is_not_counted() {
        let mut meter = Meter::new(Arc::default());
        for _ in 0..100_000 {
            meter.note(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        }
    }
}
