//! What holds for every call of ours, before its message is read and after its answer is made.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tonic::{Code, Status};

use super::{Door, status};
use crate::domain::access::Verb;
use crate::pb::Rpc;
use crate::serve::door::Peer;
use crate::serve::verbs::{Demand, On, demand};
use crate::service::Error;

/// Our own services.
const OURS: &str = "/leasehold.v1.";
/// What tells of all calls there are.
const REFLECTION: &str = "/grpc.reflection.";

/// Lets only callers in who may make the call on something, and gives the errors that the gRPC library makes by itself a code and a next
/// step. On what the call is made, its use case asks again; health is for everybody.
pub(super) async fn guard(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let demand = match path {
        _ if path.starts_with(OURS) => Rpc::ALL.iter().find(|rpc| rpc.path() == path).map_or(ANYTHING, |rpc| demand(*rpc)),
        _ if path.starts_with(REFLECTION) && !door.open_reflection => ANYTHING,
        _ => return next.run(request).await,
    };
    let peer = request.extensions().get::<Peer>();
    match door.identity.admitted(request.headers(), peer, demand).await {
        Ok(caller) => request.extensions_mut().insert(caller),
        Err(error) => return status::of(&error).into_http(),
    };
    let response = next.run(request).await;
    match Status::from_header_map(response.headers()).filter(|status| status.details().is_empty()) {
        Some(bare) if bare.code() != Code::Ok => explained(bare).into_http(),
        _ => response,
    }
}

/// For calls that there are not, and for reflection: any right at all.
const ANYTHING: Demand = Demand { verbs: Verb::ALL, on: On::Seen, lease_secret: false, depends: "" };

/// An error of the gRPC library, which speaks of messages that cannot be read, as an error of ours.
pub(super) fn explained(bare: Status) -> Status {
    match bare.code() {
        // What it cannot decode it calls internal, but it is the caller who sent it.
        Code::Internal | Code::OutOfRange => status::of(&Error::Message(bare.message().to_owned())),
        _ => bare,
    }
}
