//! Leasehold's own calls from the command: passed on to the server, as far as they are about the state of this run.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use http::{Request, Response};
use hyper::body::Incoming;
use prost::Message as _;
use tonic::Status;

use super::door::Door;

/// The largest message that is looked into. None of these has a document in it.
const MAX_MESSAGE: usize = 64 << 10;

/// Calls that the lease's secret opens: the server itself holds them to the state and the lease.
const BY_SECRET: &[&str] = &["StateService/Push", "StateService/PromoteDraft", "LeaseService/Renew", "LeaseService/Release"];

/// Calls that take the token of `run`, each with the state's name as field 1 of its one message.
const BY_TOKEN: &[&str] = &[
    "StateService/Pull",
    "StateService/History",
    "StateService/Show",
    "StateService/Diff",
    "StateService/Rollback",
    "StateService/Delete",
    "StateService/ListDrafts",
    "StateService/DiscardDraft",
    "LeaseService/Get",
    "LeaseService/ListTickets",
];

/// What all of those messages have in common.
#[derive(Clone, PartialEq, prost::Message)]
struct Named {
    #[prost(string, tag = "1")]
    state: String,
}

/// Passes a call on. `known`: its caller has shown the key.
pub(super) async fn answer(door: &Arc<Door>, request: Request<Incoming>, known: bool) -> Response<Body> {
    if !known {
        return refuse(Status::unauthenticated(
            "this is the loopback address of a `leasehold run`, and takes only its command's key",
        ));
    }
    let call = request.uri().path().strip_prefix("/leasehold.v1.").unwrap_or_default().to_owned();
    let passed = if let (true, Some(secret)) = (BY_SECRET.contains(&call.as_str()), &door.lease.secret) {
        door.client.pass_on(request, Some(secret)).await
    } else if BY_TOKEN.contains(&call.as_str()) {
        match looked_into(door, request).await {
            Ok(request) => door.client.pass_on(request, None).await,
            Err(status) => return refuse(status),
        }
    } else {
        return refuse(beyond(door));
    };
    match passed {
        Ok(answer) => answer.map(Body::new),
        Err(error) => refuse(Status::unavailable(error.to_string())),
    }
}

/// The same request, after a look at which state it names.
async fn looked_into(door: &Door, request: Request<Incoming>) -> Result<Request<Body>, Status> {
    let (head, body) = request.into_parts();
    let unreadable = || Status::invalid_argument("this call cannot be read here");
    let bytes = to_bytes(Body::new(body), MAX_MESSAGE).await.map_err(|_| unreadable())?;
    // One message, not compressed, and nothing after it: what is read here is what the server reads.
    let (prefix, message) = bytes.split_at_checked(5).ok_or_else(unreadable)?;
    let length = u32::try_from(message.len()).map_err(|_| unreadable())?;
    if prefix[0] != 0 || prefix[1..] != length.to_be_bytes() {
        return Err(unreadable());
    }
    let named = Named::decode(message).map_err(|_| unreadable())?;
    if named.state != door.lease.state {
        return Err(beyond(door));
    }
    Ok(Request::from_parts(head, Body::from(bytes)))
}

fn beyond(door: &Door) -> Status {
    let state = &door.lease.state;
    Status::permission_denied(format!(
        "inside this `run` the server is asked about {state} only, and for nothing that its lease does not need; \
         start it with --pass-token if its command may have your token"
    ))
}

fn refuse(status: Status) -> Response<Body> {
    status.into_http()
}
