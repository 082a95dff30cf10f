//! The door of the `http` backend, byte by byte: what stock clients send and take, and what nobody should send.

mod access;
mod addresses;
mod conflict;
mod envelope;
mod force;
mod hang_up;
mod locking;
mod plans;
mod reads;
mod waiting;
mod writes;
mod wrong_bodies;

use crate::support::{Answer, Http, Running};

/// The address of a state.
fn at(state: &str) -> String {
    format!("/terraform/v1/{state}")
}

/// Lock info as Terraform prints it.
fn info(id: &str, operation: &str, version: &str) -> String {
    format!(
        r#"{{"ID":"{id}","Operation":"{operation}","Info":"","Who":"user@host","Version":"{version}","Created":"2026-11-23T15:14:58.199318715Z","Path":""}}"#
    )
}

/// Lock info of an apply.
fn apply(id: &str) -> String {
    info(id, "OperationTypeApply", "1.11.4")
}

fn plan(id: &str) -> String {
    info(id, "OperationTypePlan", "1.11.4")
}

/// Lock info as OpenTofu 1.10 sends it to force an unlock.
fn bare(id: &str) -> String {
    format!(r#"{{"ID":"{id}","Operation":"","Info":"","Who":"","Version":"","Created":"0001-01-01T00:00:00Z","Path":""}}"#)
}

async fn lock(http: &Http, state: &str, id: &str) -> Answer {
    http.call("LOCK", &at(state), apply(id).as_bytes()).await
}

async fn unlock(http: &Http, state: &str, id: &str) -> Answer {
    http.call("UNLOCK", &at(state), apply(id).as_bytes()).await
}

/// As Terraform forces: without an id, chunked.
async fn force(http: &Http, state: &str) -> Answer {
    let headers = [("transfer-encoding", "chunked"), ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")];
    http.call_with("UNLOCK", &at(state), &headers, b"0\r\n\r\n").await
}

async fn write(http: &Http, state: &str, id: &str, document: &[u8]) -> Answer {
    http.call("POST", &format!("{}?ID={id}", at(state)), document).await
}

async fn read(http: &Http, state: &str) -> Answer {
    http.call("GET", &at(state), b"").await
}

/// The sessions that hold a lock.
async fn holders(server: &Running, state: &str) -> Vec<String> {
    server.api.lock(state).await.holders.into_iter().map(|holder| holder.session).collect()
}
