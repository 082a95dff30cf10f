//! What may be written on the command line, as it was written. What it means is settled in [`super::settings`] and by the commands.

pub(crate) mod access;
pub(crate) mod audit;
pub(crate) mod env;
pub(crate) mod keys;
pub(crate) mod lease;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod server;
pub(crate) mod state;
pub(crate) mod transfer;
pub(crate) mod unseal;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

const AFTER: &str = "\
Environment:
  LEASEHOLD_SERVER       the server, unless --server is given
  LEASEHOLD_TOKEN        the token (or a lease secret); or else
  LEASEHOLD_TOKEN_FILE   a file with the token, unless --token-file is given
  LEASEHOLD_CA_FILE      certificates to trust, unless --ca-file is given
  LEASEHOLD_CLIENT_CERT_FILE, LEASEHOLD_CLIENT_KEY_FILE
                         certificate and key to show, unless --client-cert and --client-key are given
  LEASEHOLD_LOG          what to log on stderr, such as `debug`
Inside `run` LEASEHOLD_STATE, LEASEHOLD_SESSION and LEASEHOLD_FENCE name the lease of the command.

Exit codes:
  0 done   1 failed, or you did not say yes   2 usage   3 refused   4 not found   5 conflict or held
  6 lease lost   7 unavailable   128 + n ended by signal n (130: Ctrl-C)";

/// State, locks and secrets for infrastructure as code.
#[derive(Debug, Parser)]
#[command(name = "leasehold", version, after_help = AFTER, max_term_width = 110, propagate_version = false)]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Connection and output")]
pub(crate) struct Global {
    /// Server: http://HOST:PORT, https://HOST:PORT, or HOST:PORT (HTTPS unless it is loopback) [default: http://127.0.0.1:5327]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// File with the token; others must not be able to read it
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// PEM file with the certificates to trust instead of the system's
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// PEM file with the certificate to show to a server that knows its clients by them
    #[arg(long, global = true, value_name = "FILE", requires = "client_key")]
    pub(crate) client_cert: Option<PathBuf>,
    /// PEM file with its key; others must not be able to read it
    #[arg(long, global = true, value_name = "FILE", requires = "client_cert")]
    pub(crate) client_key: Option<PathBuf>,
    /// How long to try again while the server cannot be reached
    #[arg(long, global = true, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) retry_for: Duration,
    /// Tables for people, or JSON for programs (field names of the .proto files, 64-bit numbers as strings)
    #[arg(long, global = true, value_enum, default_value_t = OutputFormat::Table)]
    pub(crate) output: OutputFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    Serve(serve::ServeFlags),
    /// Run a command under a lease that ends when the command does
    Run(run::RunFlags),
    /// Environments: units of isolation
    #[command(subcommand)]
    Env(env::EnvCommand),
    /// States: documents, their versions and drafts
    #[command(subcommand)]
    State(state::StateCommand),
    /// Leases, the locks they are taken on, and their queues
    #[command(subcommand)]
    Lease(lease::LeaseCommand),
    /// Keys of environments: what there is, and how they are replaced
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// What was done, by whom: read it, export it, and check an export
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Open a sealed view with the identity it is sealed to, without a server
    Unseal(unseal::UnsealFlags),
    /// Print what happens, from now on or after a cursor
    Watch(WatchFlags),
    /// Tokens: what callers show
    #[command(subcommand)]
    Token(access::TokenCommand),
    /// Who may do what
    #[command(subcommand)]
    Access(access::AccessCommand),
    /// Make the master key and the first token of a new data directory
    Init(server::InitFlags),
    /// Have the server fetch its master key, and serve documents again
    Unlock(server::UnlockFlags),
    /// Have the server forget all keys: leases go on, documents do not
    Lock,
    /// Open everything in a database with a recovery identity, without a server
    Recover(server::RecoverFlags),
    /// Check that this machine can work with the server, or check a data directory offline
    Doctor(DoctorFlags),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct WatchFlags {
    /// ENV or ENV/PREFIX; everything if left out
    #[arg(value_name = "ENV[/PATH]", default_value = "")]
    pub(crate) prefix: String,
    /// Print what happened after this cursor (printed with `--output json`)
    #[arg(long, default_value = "")]
    pub(crate) cursor: String,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorFlags {
    #[command(subcommand)]
    pub(crate) command: Option<DoctorCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DoctorCommand {
    /// Check the database of a server that is not running, and open every document in it
    Verify {
        /// The server's data directory
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
        /// The master key [default: master.key in the data directory; without one documents are not opened]
        #[arg(long, value_name = "FILE")]
        master_key: Option<PathBuf>,
    },
}
