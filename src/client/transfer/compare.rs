//! Whether a document on the server is the one here, piece by piece.

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Phase;
use crate::client::state::Opened;
use crate::client::{Client, Error, PullAsk, Source, Which};

/// How much lies between the one who reads and the one who compares.
const BETWEEN: usize = 256 << 10;

impl Client {
    /// Reads a version back and compares it with `document`, byte by byte.
    pub(super) async fn is_same(
        &self,
        state: &str,
        version: u64,
        document: &Source,
        on: &mut (impl FnMut(Phase) + Send),
    ) -> Result<bool, Error> {
        let opened = document.open().await?.ok_or_else(|| Error::fault("the document can be read once only"))?;
        let ask = PullAsk { state: state.to_owned(), which: Which::Version(version), ..PullAsk::default() };
        let (mut near, far) = tokio::io::duplex(BETWEEN);
        let pull = async {
            let pulled = self.pull(&ask, &mut near, |progress| on(Phase::Checking(progress))).await;
            drop(near);
            pulled
        };
        let (pulled, same) = tokio::join!(pull, equal(far, opened));
        pulled?;
        same
    }
}

/// Reads both to the end, also after they have come apart: the one who writes must not be cut off.
async fn equal(mut there: impl AsyncRead + Unpin, mut here: Opened) -> Result<bool, Error> {
    let (mut rest, mut same) = (Bytes::new(), true);
    let mut piece = vec![0; BETWEEN];
    loop {
        let read =
            there.read(&mut piece).await.map_err(|cause| Error::fault(format!("a pipe inside this process broke: {cause}")))?;
        if read == 0 {
            return Ok(same && rest.is_empty() && here.next().await?.is_empty());
        }
        let mut got = &piece[..read];
        while same && !got.is_empty() {
            if rest.is_empty() {
                rest = here.next().await?;
            }
            let both = rest.len().min(got.len());
            same = both > 0 && rest[..both] == got[..both];
            rest.advance(both);
            got = &got[both..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn compare(there: &[u8], here: &[u8]) -> bool {
        let opened = Source::from_bytes(here.to_vec()).open().await.unwrap().unwrap();
        equal(there, opened).await.unwrap()
    }

    #[tokio::test]
    async fn every_difference_counts_at_either_end_too() {
        let long: Vec<u8> = (0..700_001u32).map(|n| n as u8).collect();
        assert!(compare(&long, &long).await && compare(b"", b"").await);
        assert!(!compare(&long, &long[..700_000]).await);
        assert!(!compare(&long[..700_000], &long).await);
        assert!(!compare(&long[..256 << 10], &long).await);
        assert!(!compare(b"", b"x").await && !compare(b"x", b"").await);
        for at in [0, 262_143, 262_144, 700_000] {
            let mut other = long.clone();
            other[at] ^= 1;
            assert!(!compare(&other, &long).await, "at {at}");
        }
    }
}
