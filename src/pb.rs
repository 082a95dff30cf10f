//! The wire types generated from `proto/leasehold/v1`; their documentation is in those files.

/// Messages, clients and servers of `leasehold.v1`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("leasehold.v1");
}

/// The encoded file descriptor set, with comments, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/leasehold.bin"));

mod rpc {
    #![allow(missing_docs, reason = "generated code; proto/ says what each is")]
    include!(concat!(env!("OUT_DIR"), "/rpc.rs"));
}

pub use rpc::Rpc;
