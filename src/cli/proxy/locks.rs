//! The lock of `backend "http"`: an inner one, under the lease of `run`.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use super::door::{Door, text};
use crate::backend::{self, Extra, Kind, LockInfo, MAX_LOCK_INFO};
use crate::client::{State, clock};
use crate::pb::v1::Mode;

/// Takes the inner lock.
pub(super) async fn lock(door: &Arc<Door>, request: Request<Incoming>) -> Response<Body> {
    let info = match body(request).await {
        Ok(backend::Body::Info(info)) => info,
        Ok(backend::Body::Empty) => return text(StatusCode::BAD_REQUEST, "a lock needs lock info"),
        Err(answer) => return answer,
    };
    if let Some(refusal) = refusal(door, &info) {
        door.say(format!("error: {} may not lock {}: {refusal}", described(&info), door.lease.state));
        return conflict(door, &of_run(door, refusal));
    }
    let taken = door.inner.lock().expect("nobody panics while holding it").lock(info.clone());
    match taken {
        Ok(()) => json(StatusCode::OK, info.encode(&extra(door))),
        Err(holder) => held(door, *holder),
    }
}

/// Gives the inner lock back, and never the lease. Without an id it is forced: whoever has the inner lock loses it.
pub(super) async fn unlock(door: &Arc<Door>, id: Option<String>, request: Request<Incoming>) -> Response<Body> {
    let in_body = match body(request).await {
        Ok(backend::Body::Info(info)) => Some(info.id),
        Ok(backend::Body::Empty) => None,
        Err(answer) => return answer,
    };
    let mut inner = door.inner.lock().expect("nobody panics while holding it");
    let Some(id) = id.or(in_body) else {
        let count = inner.clear();
        drop(inner);
        if count > 0 {
            door.say(format!("{}: forced unlock; the lease of this run stays", door.lease.state));
        }
        return text(StatusCode::OK, "unlocked");
    };
    let done = inner.unlock(&id);
    drop(inner);
    match done {
        Ok(()) => text(StatusCode::OK, "unlocked"),
        Err(None) => text(StatusCode::CONFLICT, "this id has no lock here"),
        Err(Some(holder)) => json(StatusCode::CONFLICT, holder.encode(&extra(door))),
    }
}

/// The answer to somebody who meets another's inner lock.
pub(super) fn held(door: &Door, mut holder: LockInfo) -> Response<Body> {
    if holder.info.is_empty() {
        "held by another command of the same `leasehold run`".clone_into(&mut holder.info);
    }
    conflict(door, &holder)
}

fn conflict(door: &Door, holder: &LockInfo) -> Response<Body> {
    json(StatusCode::LOCKED, holder.encode(&extra(door)))
}

/// Why the lease of `run` itself does not carry this lock.
fn refusal(door: &Door, info: &LockInfo) -> Option<String> {
    if let State::Lost(loss) = &door.views.borrow().state {
        return Some(format!("the lease of this run is lost: {loss}"));
    }
    let shared = door.mode == Mode::Shared && info.kind() == Kind::Change;
    shared.then(|| "this run has a shared lease, which is for plans: start `leasehold run` with --mode exclusive".to_owned())
}

/// The lock info of `run` itself.
fn of_run(door: &Door, info: String) -> LockInfo {
    let operation = match door.mode {
        Mode::Shared => "leasehold run --mode shared",
        Mode::Exclusive | Mode::Unspecified => "leasehold run",
    };
    LockInfo {
        id: door.lease.session.clone(),
        operation: operation.to_owned(),
        info,
        who: format!("{}@{}", door.labels.who, door.labels.host),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created: None,
        path: String::new(),
    }
}

fn extra(door: &Door) -> Extra {
    let view = door.views.borrow();
    let url = &door.labels.run_url;
    Extra {
        expires_in: Some((view.last_send + view.ttl).saturating_duration_since(clock::now())),
        fencing_token: Some(door.lease.token.0),
        queue_position: None,
        run_url: (!url.is_empty()).then(|| url.clone()),
    }
}

fn described(info: &LockInfo) -> &str {
    if info.operation.is_empty() { "the command" } else { &info.operation }
}

async fn body(request: Request<Incoming>) -> Result<backend::Body, Response<Body>> {
    let bytes = to_bytes(Body::new(request.into_body()), MAX_LOCK_INFO).await;
    let bytes = bytes.map_err(|_| text(StatusCode::BAD_REQUEST, backend::LockInfoError::TooLong))?;
    LockInfo::parse(&bytes).map_err(|error| text(StatusCode::BAD_REQUEST, error))
}

fn json(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    answer
}
