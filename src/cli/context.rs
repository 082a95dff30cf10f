//! What every command that talks to the server has.

use super::environ::Environ;
use super::failure::Failure;
use super::flags::Global;
use super::output::Out;
use super::settings::Connection;
use crate::client::Client;

pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) connection: Connection,
    pub(crate) environ: Environ,
    pub(crate) out: Out,
}

impl Context {
    /// Settles flags and environment. Must be called within a tokio runtime.
    pub(crate) fn new(global: Global, mut environ: Environ) -> Result<Self, Failure> {
        let out = Out::new(global.output);
        let connection = Connection::resolve(global, &mut environ)?;
        Ok(Self { client: connection.client()?, connection, environ, out })
    }
}

/// A session of its own for a command that was not given one.
pub(crate) fn new_session() -> String {
    format!("cli-{}", uuid::Uuid::now_v7())
}
