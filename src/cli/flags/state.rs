//! Flags of `state`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::transfer::{ExportFlags, ImportFlags};

#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// List states with their current versions
    List {
        /// ENV or ENV/PREFIX
        prefix: String,
        /// Also deleted ones
        #[arg(long)]
        deleted: bool,
    },
    /// Write a version
    Push(PushFlags),
    /// Print a document, or write it to a file
    Pull(PullFlags),
    /// Print the outputs of a Terraform or Pulumi state as JSON
    Outputs(OutputsFlags),
    /// List the versions of a state, newest first
    History {
        /// ENV/PATH
        state: String,
        /// Every version, not only the last of each lease
        #[arg(long)]
        all: bool,
        /// At most this many
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
    },
    /// Show one version, without its document
    Show {
        /// ENV/PATH
        state: String,
        /// Version [default: the current one]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        version: Option<u64>,
        /// Also which places are sealed, and why
        #[arg(long)]
        why: bool,
    },
    /// Show what changed, by name, never by value
    Diff {
        /// ENV/PATH
        state: String,
        /// Older version [default: the one before the newer]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        from: Option<u64>,
        /// Newer version [default: the current one]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        to: Option<u64>,
    },
    /// Write the content of an old version as a new one
    Rollback {
        /// ENV/PATH
        state: String,
        /// Version whose content to write
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        to: u64,
        #[command(flatten)]
        expect: ExpectFlags,
        #[command(flatten)]
        lease: LeaseFlags,
    },
    /// Refused writes that were kept
    #[command(subcommand)]
    Drafts(DraftsCommand),
    /// Take over states from files, folders of workspaces, or another `http` backend
    Import(ImportFlags),
    /// Write states to a file or a folder of workspaces
    Export(ExportFlags),
    /// Write a version without content; history, lock and numbers go on
    Delete {
        /// ENV/PATH
        state: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        expect: ExpectFlags,
        #[command(flatten)]
        lease: LeaseFlags,
    },
    /// Drop the bytes of old versions for good
    Purge {
        /// ENV/PATH
        state: String,
        /// Version [default: every one but the current]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        version: Option<u64>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DraftsCommand {
    /// List the drafts of a state, newest first
    List {
        /// ENV/PATH
        state: String,
        /// Every draft, not only the last of each lease
        #[arg(long)]
        all: bool,
    },
    /// Show one draft, without its document (`state pull --draft` reads that)
    Show {
        /// ENV/PATH
        state: String,
        /// Draft
        draft: String,
        /// Also which places are sealed, and why
        #[arg(long)]
        why: bool,
    },
    /// Show what a draft would change
    Diff {
        /// ENV/PATH
        state: String,
        /// Draft
        draft: String,
        /// Version to compare with [default: the current one]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        from: Option<u64>,
    },
    /// Make a draft the current version
    Promote {
        /// ENV/PATH
        state: String,
        /// Draft
        draft: String,
        /// Also a draft of another lineage
        #[arg(long)]
        rewrite: bool,
        #[command(flatten)]
        expect: ExpectFlags,
        #[command(flatten)]
        lease: LeaseFlags,
    },
    /// Give a draft up
    Discard {
        /// ENV/PATH
        state: String,
        /// Draft
        draft: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PushFlags {
    /// ENV/PATH
    pub(crate) state: String,
    /// Document; `-` is standard input
    #[arg(default_value = "-")]
    pub(crate) file: PathBuf,
    /// What the bytes are [default: as the state has it, or found out]
    #[arg(long, value_enum)]
    pub(crate) format: Option<FormatFlag>,
    /// Also with a lower serial or another lineage
    #[arg(long)]
    pub(crate) rewrite: bool,
    #[command(flatten)]
    pub(crate) expect: ExpectFlags,
    #[command(flatten)]
    pub(crate) lease: LeaseFlags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatFlag {
    Terraform,
    Pulumi,
    Json,
    Opaque,
}

#[derive(Debug, Args)]
pub(crate) struct PullFlags {
    /// ENV/PATH
    pub(crate) state: String,
    /// Version [default: the current one]
    #[arg(long, value_name = "N", conflicts_with = "draft", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) version: Option<u64>,
    /// A draft instead of a version
    #[arg(long, value_name = "DRAFT")]
    pub(crate) draft: Option<String>,
    /// Write to this file, at once and readable by the owner only, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    /// Write nothing if this etag is still the current one
    #[arg(long, value_name = "ETAG")]
    pub(crate) unless_etag: Option<String>,
    /// How to read it
    #[arg(long, value_enum, default_value_t = ViewFlag::Full)]
    pub(crate) view: ViewFlag,
    /// With `--view sealed`: age recipient to seal to
    #[arg(long, value_name = "age1…", required_if_eq("view", "sealed"))]
    pub(crate) recipient: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ViewFlag {
    /// The bytes that were written
    Full,
    /// Readable by stock tools, without secrets
    Redacted,
    /// The outputs, opened, as JSON
    Outputs,
    /// Sealed to `--recipient`, for `leasehold unseal`
    Sealed,
}

#[derive(Debug, Args)]
pub(crate) struct OutputsFlags {
    /// ENV/PATH
    pub(crate) state: String,
    /// Version [default: the current one]
    #[arg(long, value_name = "N", conflicts_with = "draft", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) version: Option<u64>,
    /// A draft instead of a version
    #[arg(long, value_name = "DRAFT")]
    pub(crate) draft: Option<String>,
}

/// What must be current for a write to count.
#[derive(Debug, Args)]
pub(crate) struct ExpectFlags {
    /// Refuse the write unless this version is current (0: none yet)
    #[arg(long, value_name = "N", requires = "expect_etag")]
    pub(crate) expect_version: Option<u64>,
    /// The etag of that version (empty: none yet)
    #[arg(long, value_name = "ETAG", requires = "expect_version")]
    pub(crate) expect_etag: Option<String>,
}

/// Under which lease to write: the one given here, else the one of `run` if it is on this state, else one taken for the write.
#[derive(Debug, Args)]
pub(crate) struct LeaseFlags {
    /// Session of a lease that is held already
    #[arg(long, requires = "token")]
    pub(crate) session: Option<String>,
    /// Fencing token of that lease
    #[arg(long, value_name = "N", requires = "session")]
    pub(crate) token: Option<u64>,
    /// How long to wait for a lease that has to be taken
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    pub(crate) wait: Duration,
}
