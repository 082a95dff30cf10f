//! Request bodies: bounded before they are buffered, and compared with the digest that the client sends along.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, StatusCode};

use super::failure::Failure;
use crate::backend::{ContentMd5, LockInfoError, MAX_LOCK_INFO, Running};
use crate::service::Service;
use crate::service::push::Upload;

/// The whole of a small body; empty if there is none.
pub(super) async fn small(headers: &HeaderMap, body: Body) -> Result<Bytes, Failure> {
    plain(headers)?;
    if size(headers).is_some_and(|size| size > MAX_LOCK_INFO as u64) {
        return Err(Failure::lock_info(LockInfoError::TooLong));
    }
    let (mut pieces, mut all) = (body.into_data_stream(), BytesMut::new());
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| cut())?;
        if all.len() + piece.len() > MAX_LOCK_INFO {
            return Err(Failure::lock_info(LockInfoError::TooLong));
        }
        all.extend_from_slice(&piece);
    }
    match announced(headers)? {
        Some(digest) if digest != ContentMd5::of(&all) => Err(differs()),
        _ => Ok(all.freeze()),
    }
}

/// A state on its way in, with room made for it before it is read.
pub(super) async fn document(service: &Service, headers: &HeaderMap, body: Body) -> Result<Upload, Failure> {
    plain(headers)?;
    let size = size(headers).ok_or_else(|| {
        let next = "announce the size, as Terraform and OpenTofu do";
        Failure::new(StatusCode::LENGTH_REQUIRED, "ARGUMENT_INVALID", "the state is sent without a Content-Length", next)
    })?;
    let announced = announced(headers)?;
    let mut upload = service.begin_upload(size).await.map_err(|error| Failure::of(&error))?;
    let (mut digest, mut pieces) = (Running::new(), body.into_data_stream());
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| cut())?;
        digest.update(&piece);
        upload.take(&piece).map_err(|error| Failure::of(&error))?;
    }
    match announced {
        Some(announced) if announced != digest.finish() => Err(differs()),
        _ => Ok(upload),
    }
}

fn plain(headers: &HeaderMap) -> Result<(), Failure> {
    let coded = headers.get(CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let refused =
        || Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "ARGUMENT_INVALID", "the request is compressed", "send it as it is");
    if coded { Err(refused()) } else { Ok(()) }
}

fn size(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What the client says the body's digest is. One that says it twice says it twice the same.
fn announced(headers: &HeaderMap) -> Result<Option<ContentMd5>, Failure> {
    let mut announced = None;
    for value in headers.get_all("content-md5") {
        let digest = value.to_str().ok().and_then(|text| text.parse().ok());
        let digest = digest.ok_or_else(|| Failure::argument("Content-MD5 is not the base64 of 16 bytes"))?;
        if announced.replace(digest).is_some_and(|other| other != digest) {
            return Err(Failure::argument("the request has two digests that differ"));
        }
    }
    Ok(announced)
}

fn cut() -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, "STREAM_TRUNCATED", "the request ended before its announced size", "send it again")
}

fn differs() -> Failure {
    Failure::argument("the body is not what its Content-MD5 says: something between changed it; nothing was stored")
}
