//! What holds for every call of ours, before its message is read and after its answer is made.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::AUTHORIZATION;
use tonic::{Code, Status};

use super::{Door, status};
use crate::service::{Caller, Error};

/// Our own services; health and reflection are for everybody.
const OURS: &str = "/leasehold.v1.";
/// What a lease secret is good for.
const BY_LEASE_SECRET: [&str; 4] = [
    "/leasehold.v1.LeaseService/Renew",
    "/leasehold.v1.LeaseService/Release",
    "/leasehold.v1.StateService/Push",
    "/leasehold.v1.StateService/PromoteDraft",
];

/// Lets only known callers in, and gives the errors that the gRPC library makes by itself a code and a next step.
pub(super) async fn guard(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if !path.starts_with(OURS) {
        return next.run(request).await;
    }
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let caller = door.tokens.caller(header);
    let Some(caller) = caller.filter(|caller| matches!(caller, Caller::Principal(_)) || BY_LEASE_SECRET.contains(&path)) else {
        return status::of(&Error::Unauthenticated).into_http();
    };
    request.extensions_mut().insert(caller);
    let response = next.run(request).await;
    match Status::from_header_map(response.headers()).filter(|status| status.details().is_empty()) {
        Some(bare) if bare.code() != Code::Ok => explained(bare).into_http(),
        _ => response,
    }
}

/// An error of the gRPC library, which speaks of messages that cannot be read, as an error of ours.
pub(super) fn explained(bare: Status) -> Status {
    match bare.code() {
        // What it cannot decode it calls internal, but it is the caller who sent it.
        Code::Internal | Code::OutOfRange => status::of(&Error::Message(bare.message().to_owned())),
        _ => bare,
    }
}
