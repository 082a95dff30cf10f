//! The gRPC door: decode, call the service, encode. No rules here.

use std::sync::Arc;

use axum::Router;

use crate::pb::v1::access_service_server::AccessServiceServer;
use crate::pb::v1::audit_service_server::AuditServiceServer;
use crate::pb::v1::environment_service_server::EnvironmentServiceServer;
use crate::pb::v1::key_service_server::KeyServiceServer;
use crate::pb::v1::lease_service_server::LeaseServiceServer;
use crate::pb::v1::server_service_server::ServerServiceServer;
use crate::pb::v1::state_service_server::StateServiceServer;
use crate::pb::v1::watch_service_server::WatchServiceServer;
use crate::serve::door::Stopping;
use crate::serve::identity::Identity;
use crate::service::{Caller, Service};

mod access;
mod audit;
mod decode;
mod encode;
mod environment;
mod guard;
mod key;
mod lease;
mod server;
mod state;
mod status;
mod stream;
mod watch;

/// What every service of the door has.
#[derive(Clone)]
pub struct Door {
    /// The use cases.
    pub service: Arc<Service>,
    /// Who calls.
    pub identity: Arc<Identity>,
    /// Reflection is for everybody.
    pub open_reflection: bool,
    /// Told when endless streams have to end.
    pub stopping: Stopping,
}

/// Calls that may last, and have no deadline of ours: prefixes of their paths. Not `Push`: the door gives a body that keeps arriving all
/// the time it needs, and one that does not must not keep its share of the memory for documents in flight.
pub const STREAMING: [&str; 13] = [
    "/leasehold.v1.AuditService/Tail",
    "/leasehold.v1.AuditService/Export",
    // With it `RewrapMaster`.
    "/leasehold.v1.KeyService/Rewrap",
    "/leasehold.v1.KeyService/ChangeRecipients",
    "/leasehold.v1.KeyService/Reencrypt",
    "/leasehold.v1.KeyService/Verify",
    // It reads all of the store's files.
    "/leasehold.v1.KeyService/Destroy",
    "/leasehold.v1.LeaseService/Acquire",
    "/leasehold.v1.StateService/Pull",
    "/leasehold.v1.WatchService/",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.",
    "/grpc.reflection.v1alpha.",
];

/// What can be asked for by name in health checks; the empty name is the server as a whole.
pub const SERVICES: [&str; 9] = [
    "",
    "leasehold.v1.AccessService",
    "leasehold.v1.AuditService",
    "leasehold.v1.EnvironmentService",
    "leasehold.v1.KeyService",
    "leasehold.v1.LeaseService",
    "leasehold.v1.ServerService",
    "leasehold.v1.StateService",
    "leasehold.v1.WatchService",
];

/// The answer to a path that is no call of ours: in gRPC to who speaks gRPC, otherwise as HTTP has it.
pub async fn nothing_here(headers: http::HeaderMap) -> axum::response::Response {
    let grpc = headers.get(http::header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    if grpc {
        return tonic::Status::unimplemented("there is no such call on this server").into_http();
    }
    let text = "there is nothing here; gRPC is spoken on this port\n";
    axum::response::IntoResponse::into_response((http::StatusCode::NOT_FOUND, text))
}

/// The routes of the gRPC door, health and reflection included. The reporter says whether we serve.
///
/// # Panics
/// If the descriptors that were compiled in do not decode, which a test would show.
pub fn routes(door: &Door) -> (Router, tonic_health::server::HealthReporter) {
    let reflection = |register: fn(&[u8]) -> tonic_reflection::server::Builder<'_>| register(crate::pb::DESCRIPTORS);
    let v1 = reflection(|set| tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(set))
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors are compiled in");
    let v1alpha = reflection(|set| tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(set))
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .build_v1alpha()
        .expect("the descriptors are compiled in");
    let (reporter, health) = tonic_health::server::health_reporter();
    let router = tonic::service::Routes::default()
        .add_service(AccessServiceServer::new(door.clone()))
        .add_service(AuditServiceServer::new(door.clone()))
        .add_service(EnvironmentServiceServer::new(door.clone()))
        .add_service(KeyServiceServer::new(door.clone()))
        .add_service(LeaseServiceServer::new(door.clone()))
        .add_service(ServerServiceServer::new(door.clone()))
        .add_service(StateServiceServer::new(door.clone()))
        .add_service(WatchServiceServer::new(door.clone()))
        .add_service(health)
        .add_service(v1)
        .add_service(v1alpha)
        .into_axum_router()
        .layer(axum::middleware::from_fn_with_state(door.clone(), guard::guard));
    (router, reporter)
}

impl Door {
    /// Who calls, as the guard found out.
    fn caller<T>(&self, request: &tonic::Request<T>) -> Result<Caller, tonic::Status> {
        request.extensions().get().cloned().ok_or_else(|| status::of(&crate::service::Error::Unauthenticated))
    }
}
