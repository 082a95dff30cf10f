//! The caller's own deadline.

use std::time::Duration;

use leasehold::pb::v1 as pb;
use tonic::{Code, Request};

use crate::support::{Running, StoreKind, refused};

#[tokio::test]
async fn stream_ends_when_the_callers_time_is_over() {
    let server = Running::start(StoreKind::Memory).await;
    let mut request = Request::new(pb::WatchRequest::default());
    // Written by hand: the client's own timer would end the call before the server does.
    request.metadata_mut().insert("grpc-timeout", "200m".parse().unwrap());
    let mut stream = server.api.watch().watch(request).await.unwrap().into_inner();
    stream.message().await.unwrap().expect("a mark");
    let end = tokio::time::timeout(Duration::from_secs(10), stream.message()).await.expect("it ends");
    refused(end, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
}

#[tokio::test]
async fn malformed_deadline_is_refused() {
    let server = Running::start(StoreKind::Memory).await;
    for timeout in ["soon", "1", "123456789S", "-1S"] {
        let mut request = Request::new(pb::ListEnvironmentsRequest {});
        request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
        refused(server.api.environment().list(request).await, Code::InvalidArgument, "BAD_GRPC_TIMEOUT");
    }
}
