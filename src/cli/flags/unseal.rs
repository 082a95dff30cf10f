//! Flags of `unseal`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct UnsealFlags {
    /// Sealed view; `-` is standard input
    #[arg(default_value = "-")]
    pub(crate) file: PathBuf,
    /// File with the age identity (AGE-SECRET-KEY-1…) that it is sealed to
    #[arg(short, long, value_name = "FILE")]
    pub(crate) identity: PathBuf,
    /// The environment's public key, as `leasehold env show` prints it: nobody else's signature counts
    #[arg(long, value_name = "lhs1…", required_unless_present = "danger_trust_anyone")]
    pub(crate) trust: Option<String>,
    /// Anybody's signature counts: whoever knows the recipient may have made the document up
    #[arg(long, conflicts_with = "trust")]
    pub(crate) danger_trust_anyone: bool,
    /// Write to this file, at once and readable by the owner only, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
}
