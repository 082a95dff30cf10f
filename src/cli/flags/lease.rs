//! Flags of `lease`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeFlag {
    /// One holder, who may change the state
    Exclusive,
    /// Any number of holders, who read consistently
    Shared,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LeaseCommand {
    /// Take a lease and leave it to its ttl; renew it with `lease renew`. `run` does both.
    Acquire(AcquireFlags),
    /// Keep a lease alive for another ttl
    Renew(HeldFlags),
    /// Give a lease back
    Release {
        #[command(flatten)]
        held: HeldFlags,
        /// What it protected had to be killed: leave the lock delay
        #[arg(long)]
        abandoned: bool,
    },
    /// Locks that are held, queued for, cooling down or frozen
    List {
        /// ENV or ENV/PREFIX; everything if left out
        #[arg(default_value = "")]
        prefix: String,
        /// Also locks on which nothing happens
        #[arg(long)]
        all: bool,
    },
    /// One lock and its holders
    Show {
        /// ENV/PATH
        state: String,
    },
    /// The queue of a lock, in the order of service
    Tickets {
        /// ENV/PATH
        state: String,
    },
    /// Leave a queue
    Cancel {
        /// ENV/PATH
        state: String,
        /// The place to give up
        #[arg(long, value_name = "N", required_unless_present = "session")]
        ticket: Option<u64>,
        /// The session whose place to give up
        #[arg(long)]
        session: Option<String>,
    },
    /// End somebody's lease
    Break(BreakFlags),
    /// Give a live lease another ttl from now on
    Extend {
        #[command(flatten)]
        held: HeldFlags,
        /// The new ttl
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        ttl: Duration,
    },
    /// Take an exclusive lease again that has expired, if nobody had the lock since
    Reacquire(HeldFlags),
}

#[derive(Debug, Args)]
pub(crate) struct AcquireFlags {
    /// ENV/PATH
    pub(crate) state: String,
    /// `exclusive` to change the state, `shared` to read it consistently
    #[arg(long, value_enum, default_value_t = ModeFlag::Exclusive)]
    pub(crate) mode: ModeFlag,
    /// How long to wait for it
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    pub(crate) wait: Duration,
    /// How long it lives without a renewal [default: the environment's]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) ttl: Option<Duration>,
    /// Session that names the holder [default: a new one]
    #[arg(long)]
    pub(crate) session: Option<String>,
    /// Nobody will renew it: it lives until it is released or broken
    #[arg(long)]
    pub(crate) unattended: bool,
    /// Write the lease secret, which may stand in LEASEHOLD_TOKEN for calls about this lease, to a new file (mode 0600)
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
}

/// A lease that was taken before. Inside `run`, session and token of the command's own lease need not be given.
#[derive(Debug, Args)]
pub(crate) struct HeldFlags {
    /// ENV/PATH
    pub(crate) state: String,
    /// Session that holds it
    #[arg(long, requires = "token")]
    pub(crate) session: Option<String>,
    /// Its fencing token
    #[arg(long, value_name = "N", requires = "session")]
    pub(crate) token: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct BreakFlags {
    /// ENV/PATH
    pub(crate) state: String,
    /// Why; the holder is told, and it is kept
    #[arg(long)]
    pub(crate) reason: String,
    /// Fencing token of the lease to break; if the lock has moved on, nothing happens
    #[arg(long, value_name = "N", conflicts_with = "all")]
    pub(crate) token: Option<u64>,
    /// Break every holder there is
    #[arg(long)]
    pub(crate) all: bool,
    /// Leave no lock delay: only if the holder is known to be dead
    #[arg(long)]
    pub(crate) now: bool,
    /// Take the lock next, before the queue
    #[arg(long)]
    pub(crate) take: bool,
    /// With --take: session that names the new holder [default: a new one]
    #[arg(long, requires = "take")]
    pub(crate) session: Option<String>,
    /// With --take: how long the lease lives without a renewal
    #[arg(long, value_name = "DURATION", requires = "take", value_parser = humantime::parse_duration)]
    pub(crate) ttl: Option<Duration>,
}
