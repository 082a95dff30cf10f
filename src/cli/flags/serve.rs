//! Flags of `serve`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct ServeFlags {
    /// Try it out: data in ./leasehold-dev, an environment `dev`, loopback, and the lines to paste
    #[arg(long)]
    pub(crate) dev: bool,
    /// Configuration file (TOML); flags win over it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where the data is kept
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:5327]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// Store: sqlite (in the data directory) or memory
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// PEM file with the server's certificate chain
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// PEM file with the key of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Listen without TLS on an address that is not loopback: tokens and secrets cross the network in the clear
    #[arg(long)]
    pub(crate) danger_without_tls: bool,
    /// Start on a database that is older than its sidecar says (a copy put back): raises the epoch of all tokens
    #[arg(long)]
    pub(crate) danger_accept_rollback: bool,
}
