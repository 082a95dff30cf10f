//! Flags of `unlock`, `init` and `recover`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct UnlockFlags {
    /// File with the passphrase of the master key on its first line; without it, you are asked
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct InitFlags {
    /// The data directory of a server that has not been started yet; with `--token`, of one that is not running
    #[arg(long, value_name = "DIR", default_value = "leasehold-data")]
    pub(crate) data_dir: PathBuf,
    /// Make a master key that opens with a passphrase; you are asked for it
    #[arg(long)]
    pub(crate) passphrase: bool,
    /// Make only another token with all rights, for a data directory that is in use: the server takes it over at its next start
    #[arg(long, conflicts_with = "passphrase")]
    pub(crate) token: bool,
    /// File with that passphrase on its first line
    #[arg(long, value_name = "FILE", requires = "passphrase")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The database is only read, and may be in use: a copy of it and of the `-wal` beside it is made in DIR and goes at the end.
Every version with bytes is written to DIR/ENV/PATH/vN.json, readable by you only; nothing is overwritten.")]
pub(crate) struct RecoverFlags {
    /// The database of a server, or a backup of it
    #[arg(long, value_name = "FILE")]
    pub(crate) database: PathBuf,
    /// File with a recovery identity (AGE-SECRET-KEY-1…)
    #[arg(long, value_name = "KEY")]
    pub(crate) identity: PathBuf,
    /// Only this state
    #[arg(long, value_name = "ENV/PATH")]
    pub(crate) state: Option<String>,
    /// Only this version of it
    #[arg(long, value_name = "N", requires = "state")]
    pub(crate) version: Option<u64>,
    /// Drafts too, as draft-ID.json
    #[arg(long, conflicts_with = "version")]
    pub(crate) drafts: bool,
    /// Where to write
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
}
