//! Recognises a connection's first frame, a peer that has stopped reading, and one that sends frames in vain.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::flood::{Allowance, Meter};

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(super) const FRAME_HEAD: usize = 9;

/// Whether the first frame has arrived; shared between a [`Watched`] stream and whoever times it.
#[derive(Clone, Default)]
pub(super) struct FirstFrame(Arc<AtomicBool>);

impl FirstFrame {
    pub(super) fn has_arrived(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A decrypted stream that reports its first frame, and fails when the peer leaves our bytes unread or floods us with frames.
pub(super) struct Watched<I> {
    io: I,
    scan: Option<Scan>,
    arrived: FirstFrame,
    meter: Meter,
    stall_limit: Duration,
    stall: Option<Pin<Box<Sleep>>>,
}

impl<I> Watched<I> {
    pub(super) fn new(io: I, stall_limit: Duration, allowance: Arc<Allowance>) -> (Self, FirstFrame) {
        let (arrived, meter) = (FirstFrame::default(), Meter::new(allowance));
        (Self { io, scan: Some(Scan::default()), arrived: arrived.clone(), meter, stall_limit, stall: None }, arrived)
    }

    fn note(&mut self, new: &[u8]) -> io::Result<()> {
        if let Some(scan) = &mut self.scan
            && scan.is_complete_with(new)
        {
            self.scan = None;
            self.arrived.0.store(true, Ordering::Relaxed);
        }
        let flood = |_| io::Error::other("the peer sends frames in vain");
        self.meter.note(new).map_err(flood)
    }

    fn wrote(&self, outcome: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = outcome {
            self.meter.wrote(*bytes);
        }
    }

    /// Passes `outcome` on; an error once it has been pending for the limit without a break.
    fn unless_stalled<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stall = None;
            return outcome;
        }
        let limit = self.stall_limit;
        ready!(self.stall.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer has stopped reading")))
    }
}

/// How much of the first frame has been seen.
///
/// HTTP/2: the preface and one whole frame, which has to be SETTINGS (the protocol stack closes on anything else). HTTP/1.1: a
/// whole request head. The first whole *request* would be wrong: gRPC clients open channels ahead and keep them idle.
enum Scan {
    Preface { seen: usize },
    FrameHead { seen: usize, length: usize },
    FrameBody { missing: usize },
    Head { line_is_empty: bool },
}

impl Default for Scan {
    fn default() -> Self {
        Self::Preface { seen: 0 }
    }
}

impl Scan {
    fn is_complete_with(&mut self, new: &[u8]) -> bool {
        let mut rest = new;
        while let Some((&byte, tail)) = rest.split_first() {
            match self {
                Self::Preface { seen } if PREFACE[*seen] == byte => {
                    *seen += 1;
                    if *seen == PREFACE.len() {
                        *self = Self::FrameHead { seen: 0, length: 0 };
                    }
                }
                Self::Preface { seen } => {
                    // "PRI * …\r\n" may have been seen: a line that holds something, unless only its end is missing.
                    let line_is_empty = PREFACE[..*seen].ends_with(b"\n");
                    *self = Self::Head { line_is_empty };
                    continue;
                }
                Self::FrameHead { seen, length } => {
                    if *seen < 3 {
                        *length = *length << 8 | usize::from(byte);
                    }
                    *seen += 1;
                    if *seen == FRAME_HEAD {
                        let missing = *length;
                        if missing == 0 {
                            return true;
                        }
                        *self = Self::FrameBody { missing };
                    }
                }
                Self::FrameBody { missing } => {
                    *missing -= rest.len().min(*missing);
                    return *missing == 0;
                }
                Self::Head { line_is_empty } => match byte {
                    b'\n' if *line_is_empty => return true,
                    b'\n' => *line_is_empty = true,
                    b'\r' => {}
                    _ => *line_is_empty = false,
                },
            }
            rest = tail;
        }
        false
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        Poll::Ready(self.note(&buf.filled()[before..]))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(&outcome);
        self.unless_stalled(cx, outcome)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(&outcome);
        self.unless_stalled(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_flush(cx);
        self.unless_stalled(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_shutdown(cx);
        self.unless_stalled(cx, outcome)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const SETTINGS: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];

    /// After how many bytes of `stream` the scan is complete, fed one by one; the same must come out of one large read.
    fn complete_after(stream: &[u8]) -> Option<usize> {
        let mut scan = Scan::default();
        let at = stream.iter().position(|byte| scan.is_complete_with(std::slice::from_ref(byte))).map(|index| index + 1);
        assert_eq!(Scan::default().is_complete_with(stream), at.is_some());
        at
    }

    #[test]
    fn http2_is_complete_with_its_whole_settings_frame() {
        let whole = [PREFACE, SETTINGS].concat();
        assert_eq!(complete_after(&whole), Some(whole.len()));
        assert_eq!(complete_after(&whole[..whole.len() - 1]), None);
        assert_eq!(complete_after(&[PREFACE, &SETTINGS[..4]].concat()), None);
        assert_eq!(complete_after(&[&whole, &b"more"[..]].concat()), Some(whole.len()));
        let empty = [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
        assert_eq!(complete_after(&empty), Some(empty.len()));
    }

    #[test]
    fn http1_is_complete_with_its_whole_head() {
        let head = b"PUT / HTTP/1.1\r\nhost: a\r\n\r\n";
        assert_eq!(complete_after(head), Some(head.len()));
        assert_eq!(complete_after(&head[..head.len() - 1]), None);
        assert_eq!(complete_after(b"GET / HTTP/1.1\n\n"), Some(16));
        assert_eq!(complete_after(b"PRI * HTTP/1.1\r\n\r\n"), Some(18));
        assert_eq!(complete_after(b"PRI * HTTP/2.0\r\n\nSM"), Some(17));
    }

    #[tokio::test]
    async fn write_fails_when_the_peer_reads_nothing_for_the_limit_and_not_when_it_reads_slowly() {
        let (near, mut far) = tokio::io::duplex(4);
        let (mut watched, _) = Watched::new(near, Duration::from_millis(600), Arc::default());
        let reader = tokio::spawn(async move {
            let mut four = [0; 4];
            for _ in 0..8 {
                sleep(Duration::from_millis(100)).await;
                far.read_exact(&mut four).await.unwrap();
            }
            far
        });
        watched.write_all(&[b'x'; 36]).await.unwrap();
        let _far = reader.await.unwrap();
        let error = watched.write_all(b"nobody reads this").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
