//! The documents of `backend "http"`: read and written under the lease of `run`, byte for byte.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::door::{Door, Seen, text};
use super::inner::{NoRight, Right};
use super::locks;
use crate::backend::ContentMd5;
use crate::client::{Error, PullAsk, PushAsk, Source, Which, WriteAsk};
use crate::pb::v1::{Expect, Mode, VersionInfo, View};

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// The most that is taken from the command. The server has a limit of its own, mostly a lower one, and says so.
const MAX_DOCUMENT: usize = 1 << 30;

/// The current document, or 404: there is none yet.
///
/// Once somebody else has written, it is what was current under this lease. Terraform reads again before it writes a state for the first
/// time, takes what it finds for its own, writes that back and reports success: what it has made would be nowhere.
pub(super) async fn read(door: &Door) -> Response<Body> {
    let _place = door.documents.acquire().await;
    match pull(door, Which::Current).await {
        Ok((document, version)) if is_beyond(door, &version) => {
            drop(document);
            door.say(format!(
                "error: {} has version {} of somebody else: the lease of this run is lost",
                door.lease.state, version.version
            ));
            read_as_known(door).await
        }
        Ok((document, version)) => {
            door.see(Seen::Version(version.version));
            found(document)
        }
        // Only this one: a client that is told of no state begins another.
        Err(Error::NotFound(report)) if report.reason == "STATE_NOT_FOUND" => {
            door.see(Seen::Nothing);
            text(StatusCode::NOT_FOUND, report.message)
        }
        Err(error) => unread(door, &error),
    }
}

/// What the command has last been told is current.
async fn read_as_known(door: &Door) -> Response<Body> {
    let seen = *door.seen.lock().expect("nobody panics while holding it");
    match seen {
        None => text(StatusCode::CONFLICT, "the lease of this run is lost"),
        Some(Seen::Nothing) => text(StatusCode::NOT_FOUND, "there was no state under this lease"),
        Some(Seen::Version(number)) => match pull(door, Which::Version(number)).await {
            Ok((document, _)) => found(document),
            Err(error) => unread(door, &error),
        },
    }
}

async fn pull(door: &Door, which: Which) -> Result<(Vec<u8>, VersionInfo), Error> {
    let ask = PullAsk { state: door.lease.state.clone(), which, view: View::Full, ..PullAsk::default() };
    let mut document = Vec::new();
    let info = door.client.pull(&ask, &mut document, |_| ()).await?;
    Ok((document, info.version.unwrap_or_default()))
}

/// Whether a later lease wrote it, so that this one is over, whether that has been told or not. Two shared ones may live together.
fn is_beyond(door: &Door, version: &VersionInfo) -> bool {
    door.mode != Mode::Shared && version.token > door.lease.token.0
}

fn found(document: Vec<u8>) -> Response<Body> {
    let md5 = ContentMd5::of(&document).to_string();
    let mut answer = Response::new(Body::from(document));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_MD5, md5.try_into().expect("base64 is visible ASCII"));
    answer
}

fn unread(door: &Door, error: &Error) -> Response<Body> {
    door.say(format!("error: {} was not read: {error}", door.lease.state));
    text(status(error), error)
}

/// A new version; or a draft, if the lease is lost.
pub(super) async fn write(door: &Arc<Door>, id: Option<&str>, request: Request<Incoming>) -> Response<Body> {
    let _place = door.documents.acquire().await;
    let (document, expected) = match body(request).await {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    if expected.is_some_and(|expected| expected != ContentMd5::of(&document)) {
        return text(StatusCode::BAD_REQUEST, "the document is not what its Content-MD5 says");
    }
    let expect = match right(door, id) {
        Ok(Right::Any) => None,
        Ok(Right::First) => Some(Expect::default()),
        Err(answer) => return *answer,
    };
    let ask = PushAsk { expect, inner_lock_id: id.unwrap_or_default().to_owned(), ..PushAsk::default() };
    let door = Arc::clone(door);
    // Apart from the connection: if the client goes away and comes again with the same, it finds the outcome of this.
    let writing = tokio::spawn(async move {
        let _turn = door.writing.lock().await;
        let pushed = door.client.push(&door.lease, &ask, &Source::from_bytes(document), |_| ()).await;
        outcome(&door, pushed.map(|reply| reply.version))
    });
    writing.await.unwrap_or_else(|_| text(StatusCode::INTERNAL_SERVER_ERROR, "the write failed"))
}

/// A version without content. No command of Terraform sends it.
pub(super) async fn delete(door: &Door, id: Option<&str>) -> Response<Body> {
    match right(door, id) {
        Ok(Right::Any) => {}
        Ok(Right::First) => return text(StatusCode::CONFLICT, "a plan deletes nothing"),
        Err(answer) => return *answer,
    }
    let _turn = door.writing.lock().await;
    let deleted = door.client.delete_state(&door.lease, &WriteAsk::default()).await;
    outcome(door, deleted.map(Some))
}

fn right(door: &Door, id: Option<&str>) -> Result<Right, Box<Response<Body>>> {
    let right = door.inner.lock().expect("nobody panics while holding it").right(id);
    let state = &door.lease.state;
    right.map_err(|no| {
        Box::new(match no {
            NoRight::Held(holder) => {
                door.say(format!(
                    "error: {state} was not written: another command of this run has the lock, with the id {}",
                    holder.id
                ));
                locks::held(door, *holder)
            }
            NoRight::NotHeld => {
                door.say(format!("error: {state} was not written: its lock was taken away by a forced unlock"));
                text(StatusCode::CONFLICT, "this id has no lock here")
            }
        })
    })
}

fn outcome(door: &Door, written: Result<Option<VersionInfo>, Error>) -> Response<Body> {
    let mut account = door.account.lock().expect("nobody panics while holding it");
    match written {
        Ok(version) => {
            let number = version.map_or(0, |version| version.version);
            account.wrote(number);
            door.see(Seen::Version(number));
            text(StatusCode::OK, "written")
        }
        Err(error) => {
            account.refused(&door.lease.state, &error);
            text(status(&error), &error)
        }
    }
}

/// What the client does about it: it tries again after 5xx, keeps its state in a file after anything else, and always ends with an error.
fn status(error: &Error) -> StatusCode {
    match error {
        Error::LeaseLost(_) | Error::Conflict(_) => StatusCode::CONFLICT,
        Error::Denied(_) => StatusCode::FORBIDDEN,
        Error::Caller(report) if report.reason == "DOCUMENT_TOO_LARGE" => StatusCode::PAYLOAD_TOO_LARGE,
        Error::Caller(report) if report.reason == "LEASE_SHARED" => StatusCode::CONFLICT,
        Error::Caller(_) => StatusCode::BAD_REQUEST,
        Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Error::NotFound(_) | Error::Fault(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn body(request: Request<Incoming>) -> Result<(Bytes, Option<ContentMd5>), Response<Body>> {
    let (head, body) = request.into_parts();
    let expected = match head.headers.get(CONTENT_MD5).map(|value| value.to_str().unwrap_or_default().parse()) {
        None => None,
        Some(Ok(md5)) => Some(md5),
        Some(Err(error)) => return Err(text(StatusCode::BAD_REQUEST, error)),
    };
    let too_large = || text(StatusCode::PAYLOAD_TOO_LARGE, "the document is larger than any server takes");
    if announced(&head.headers).is_some_and(|size| size > MAX_DOCUMENT) {
        return Err(too_large());
    }
    match to_bytes(Body::new(body), MAX_DOCUMENT).await {
        Ok(document) if document.is_empty() => Err(text(StatusCode::BAD_REQUEST, "the document is empty")),
        Ok(document) => Ok((document, expected)),
        Err(_) => Err(too_large()),
    }
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
