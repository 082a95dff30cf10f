//! A server in this process, and a caller on the wire who may send what no well-behaved client would.

mod api;
pub(crate) mod holding;
mod http;
pub(crate) mod page;
mod refusal;
mod server;
mod shapes;

pub(crate) use api::{Api, Held, granted_in_turn, lost, told};
pub(crate) use http::{Answer, Http, Sent};
pub(crate) use leasehold::serve::config::StoreKind;
pub(crate) use refusal::refused;
pub(crate) use server::{Running, on_each_engine};
pub(crate) use shapes::{acquire, chunks, id, open, terraform};
