//! Requests and documents.

use leasehold::pb::v1 as pb;

/// A fresh request id.
pub(crate) fn id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// A Terraform state with one output, which makes two of the same serial differ.
pub(crate) fn terraform(lineage: &str, serial: u64, value: &str) -> Vec<u8> {
    format!(
        r#"{{
  "version": 4,
  "terraform_version": "1.9.0",
  "serial": {serial},
  "lineage": "{lineage}",
  "outputs": {{ "x": {{ "value": "{value}", "type": "string" }} }},
  "resources": []
}}
"#
    )
    .into_bytes()
}

/// An exclusive acquire that does not wait.
pub(crate) fn acquire(state: &str, session: &str) -> pb::AcquireRequest {
    pb::AcquireRequest {
        state: state.to_owned(),
        session: session.to_owned(),
        mode: pb::Mode::Exclusive.into(),
        request_id: id(),
        ttl_ms: 60_000,
        ..pb::AcquireRequest::default()
    }
}

/// The head of a push that expects nothing.
pub(crate) fn open(state: &str, session: &str, token: u64, size: usize) -> pb::PushOpen {
    pb::PushOpen {
        state: state.to_owned(),
        session: session.to_owned(),
        token,
        request_id: id(),
        size: size as u64,
        ..pb::PushOpen::default()
    }
}

/// A push as messages: `open`, then the document in pieces of 256 KiB.
pub(crate) fn chunks(open: pb::PushOpen, document: &[u8]) -> Vec<pb::PushRequest> {
    use pb::push_request::Part;
    let pieces = document.chunks(256 << 10).map(|piece| Part::Chunk(pb::Chunk { data: piece.to_vec().into() }));
    std::iter::once(Part::Open(open)).chain(pieces).map(|part| pb::PushRequest { part: Some(part) }).collect()
}
