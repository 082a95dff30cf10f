//! Where a document to send comes from.

use std::path::PathBuf;
use std::sync::Mutex;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::CHUNK;
use crate::client::Error;

/// A document to send. Its exact size is known before the first byte goes out.
pub struct Source {
    kind: Kind,
    size: u64,
}

enum Kind {
    Bytes(Bytes),
    File(PathBuf),
    Reader(Mutex<Option<Box<dyn AsyncRead + Send + Unpin>>>),
}

impl Source {
    /// A document in memory.
    pub fn from_bytes(document: impl Into<Bytes>) -> Self {
        let document = document.into();
        Self { size: document.len() as u64, kind: Kind::Bytes(document) }
    }

    /// A file, read as it is sent. If it changes meanwhile, the server refuses what does not have the size announced.
    ///
    /// # Errors
    /// [`Error::Caller`] if there is no such file.
    pub async fn from_file(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let about = tokio::fs::metadata(&path).await.map_err(|cause| unreadable(&path.display().to_string(), &cause))?;
        if !about.is_file() {
            return Err(
                Error::caller(format!("{} is not a file", path.display())).with_next("name a file, or `-` for standard input")
            );
        }
        Ok(Self { size: about.len(), kind: Kind::File(path) })
    }

    /// Anything that can be read once. A call that fails on the way cannot be tried again with it.
    pub fn from_reader(reader: impl AsyncRead + Send + Unpin + 'static, size: u64) -> Self {
        Self { size, kind: Kind::Reader(Mutex::new(Some(Box::new(reader)))) }
    }

    /// The exact size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// From the beginning; `None` if it was read before and cannot be read again.
    pub(in crate::client) async fn open(&self) -> Result<Option<Opened>, Error> {
        Ok(match &self.kind {
            Kind::Bytes(document) => Some(Opened::Bytes(document.clone())),
            Kind::File(path) => {
                let file = tokio::fs::File::open(path).await.map_err(|cause| unreadable(&path.display().to_string(), &cause))?;
                Some(Opened::Reader(Box::new(file)))
            }
            Kind::Reader(slot) => slot.lock().expect("nobody panics while holding it").take().map(Opened::Reader),
        })
    }
}

pub(in crate::client) enum Opened {
    Bytes(Bytes),
    Reader(Box<dyn AsyncRead + Send + Unpin>),
}

impl Opened {
    /// The next piece; empty at the end.
    pub(in crate::client) async fn next(&mut self) -> Result<Bytes, Error> {
        match self {
            Self::Bytes(rest) => Ok(rest.split_to(rest.len().min(CHUNK))),
            Self::Reader(reader) => {
                let mut piece = BytesMut::with_capacity(CHUNK);
                while piece.len() < CHUNK {
                    let space = CHUNK - piece.len();
                    let n = reader
                        .take(space as u64)
                        .read_buf(&mut piece)
                        .await
                        .map_err(|cause| unreadable("the document", &cause))?;
                    if n == 0 {
                        break;
                    }
                }
                Ok(piece.freeze())
            }
        }
    }
}

fn unreadable(what: &str, cause: &std::io::Error) -> Error {
    Error::caller(format!("{what} cannot be read: {cause}")).with_next("check the path and its permissions")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn collect(source: &Source) -> Option<(Vec<u8>, usize)> {
        let mut opened = source.open().await.unwrap()?;
        let (mut all, mut largest) = (Vec::new(), 0);
        loop {
            let piece = opened.next().await.unwrap();
            if piece.is_empty() {
                return Some((all, largest));
            }
            largest = largest.max(piece.len());
            all.extend_from_slice(&piece);
        }
    }

    #[tokio::test]
    async fn pieces_add_up_and_stay_small() {
        let document: Vec<u8> = (0..700_001u32).map(|n| n as u8).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &document).unwrap();
        let reader = std::io::Cursor::new(document.clone());
        for source in [
            Source::from_bytes(document.clone()),
            Source::from_file(file.path()).await.unwrap(),
            Source::from_reader(reader, document.len() as u64),
        ] {
            let (all, largest) = collect(&source).await.unwrap();
            assert_eq!(source.size(), 700_001);
            assert!(all == document && largest <= CHUNK);
        }
    }

    #[tokio::test]
    async fn reader_gives_its_document_once_and_a_file_again() {
        let source = Source::from_reader(std::io::Cursor::new(b"x".to_vec()), 1);
        assert!(collect(&source).await.is_some());
        assert!(collect(&source).await.is_none());
        let source = Source::from_bytes("x");
        assert!(collect(&source).await.is_some());
        assert!(collect(&source).await.is_some());
    }
}
