//! Answers that must be taken: a peer that asks for a document and leaves it unread keeps memory that others need. On HTTP/1.1 its socket
//! tells; on HTTP/2 it can shut the window of a stream and go on answering pings for ever.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// The other end of a connection, as the reader of what is answered: an extension of every request that passes the door.
#[derive(Clone, Debug)]
pub struct Reader {
    limit: Duration,
    gone: Arc<Notify>,
}

impl Reader {
    /// How much is handed to the connection at once, as a copy: what a shut window holds back is this little, and has no share of anything.
    const PIECE: usize = 16 << 10;
    /// How much has to be taken within the limit: 4 KiB each second, with the limit as it is by default. What the gRPC door asks for, too.
    const STEP: usize = 256 << 10;

    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, gone: Arc::default() }
    }

    /// A body of these bytes. Unless each 256 KiB of them, and the rest, are taken within [`Limits::write_stall`](super::Limits::write_stall), the
    /// connection ends, and the bytes are dropped with it.
    pub fn document(&self, bytes: Bytes) -> Body {
        let (taken, steps) = mpsc::channel(1);
        if bytes.len() > Self::PIECE {
            tokio::spawn(watch(self.clone(), steps));
        }
        Body::new(Document { rest: bytes, step: 0, taken })
    }

    /// Completes when the peer has left an answer unread for too long.
    pub(super) async fn has_gone(&self) {
        self.gone.notified().await;
    }
}

/// Until the body is dropped, whole or not.
async fn watch(reader: Reader, mut steps: mpsc::Receiver<()>) {
    loop {
        match timeout(reader.limit, steps.recv()).await {
            Ok(Some(())) => {}
            Ok(None) => return,
            Err(_) => return reader.gone.notify_one(),
        }
    }
}

struct Document {
    rest: Bytes,
    /// How much was taken since the last step.
    step: usize,
    taken: mpsc::Sender<()>,
}

impl hyper::body::Body for Document {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // It is asked for more only when the piece before has been taken, or nearly.
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(Reader::PIECE);
        let piece = Zeroizing::new(self.rest.split_to(length).to_vec());
        self.step += length;
        if self.step >= Reader::STEP {
            self.step = 0;
            // If the last step was not even heard of yet, that is soon enough.
            let _ = self.taken.try_send(());
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use axum::body::HttpBody;
    use futures_util::FutureExt;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    async fn next(body: &mut Body) -> Option<Bytes> {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
        Some(frame.unwrap().into_data().unwrap())
    }

    async fn take(body: &mut Body, bytes: usize) {
        let mut taken = 0;
        while taken < bytes {
            taken += next(body).await.expect("more").len();
        }
    }

    fn document(size: usize) -> Bytes {
        (0..size).map(|n| n as u8).collect::<Vec<_>>().into()
    }

    #[tokio::test(start_paused = true)]
    async fn document_arrives_whole_whatever_its_size() {
        for size in [0, 1, Reader::PIECE, Reader::PIECE + 1, Reader::STEP, 3 * Reader::STEP + 5] {
            let reader = Reader::new(LIMIT);
            let mut body = reader.document(document(size));
            assert_eq!(HttpBody::size_hint(&body).exact(), Some(size as u64));
            let mut whole = Vec::new();
            while let Some(piece) = next(&mut body).await {
                assert!(piece.len() <= Reader::PIECE);
                whole.extend_from_slice(&piece);
            }
            assert_eq!(whole, document(size));
            drop(body);
            tokio::time::sleep(2 * LIMIT).await;
            assert!(reader.has_gone().now_or_never().is_none(), "{size}: it was taken");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn reader_that_takes_too_little_has_gone() {
        let reader = Reader::new(LIMIT);
        let mut body = reader.document(document(8 * Reader::STEP));
        for _ in 0..4 {
            tokio::time::sleep(LIMIT - Duration::from_secs(1)).await;
            take(&mut body, Reader::STEP).await;
        }
        assert!(reader.has_gone().now_or_never().is_none(), "slow is enough");
        // A piece now and then is not.
        for _ in 0..3 {
            tokio::time::sleep(LIMIT / 2).await;
            assert_eq!(next(&mut body).await.unwrap().len(), Reader::PIECE);
        }
        reader.has_gone().now_or_never().expect("it has");
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_in_the_connection_is_no_part_of_the_document() {
        struct Owner(Vec<u8>, #[expect(dead_code, reason = "is counted")] Arc<()>);
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        let share = Arc::new(());
        for size in [Reader::PIECE / 2, 2 * Reader::PIECE] {
            let mut body = Reader::new(LIMIT).document(Bytes::from_owner(Owner(vec![7; size], Arc::clone(&share))));
            let piece = next(&mut body).await.unwrap();
            drop(body);
            assert_eq!((piece[0], Arc::strong_count(&share)), (7, 1));
        }
    }
}
