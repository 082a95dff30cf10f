//! Flags of `audit`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::secrets::audit::{AuditKey, Head};

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Print what was done, one JSON object a line: the last ones, or from a place on
    Tail(TailFlags),
    /// Write a file that proves itself: it says where it ends, and ends with a signed checkpoint
    Export(ExportFlags),
    /// Check an export without a server: any change, gap, reordering or cut is found
    Verify(VerifyFlags),
    /// How far the audit is signed for, as a head to note elsewhere, and the server's public key
    Head,
}

#[derive(Debug, Args)]
pub(crate) struct TailFlags {
    /// Go on with what comes, until interrupted
    #[arg(long)]
    pub(crate) follow: bool,
    /// Only this many of the last entries
    #[arg(long, value_name = "N", default_value_t = 20, conflicts_with_all = ["since", "after"])]
    pub(crate) last: u64,
    /// What was done within this time, such as `2h`
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, conflicts_with = "after")]
    pub(crate) since: Option<Duration>,
    /// What came after this entry; 0: everything
    #[arg(long, value_name = "ENTRY")]
    pub(crate) after: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportFlags {
    /// From this entry on (or a little before: it begins after a checkpoint)
    #[arg(long, value_name = "ENTRY", default_value_t = 0, hide_default_value = true)]
    pub(crate) from: u64,
    /// Up to this entry (or a little beyond: it ends with a checkpoint)
    #[arg(long, value_name = "ENTRY", default_value_t = 0, hide_default_value = true)]
    pub(crate) to: u64,
    /// Also what is not signed for yet, after the end
    #[arg(long)]
    pub(crate) unproven: bool,
    /// Where to [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyFlags {
    /// The export; `-`: standard input
    pub(crate) file: PathBuf,
    /// The server's public key, as `audit head` printed it; several, if it was changed. Without one, whoever signed is named
    #[arg(long = "key", value_name = "KEY")]
    pub(crate) keys: Vec<AuditKey>,
    /// A head noted elsewhere, `N:HASH`, that the export must contain
    #[arg(long, value_name = "HEAD")]
    pub(crate) expect: Option<Head>,
}
