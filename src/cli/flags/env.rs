//! Flags of `env`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum EnvCommand {
    /// Make an environment
    Create {
        /// Name: [a-z0-9][a-z0-9-]{0,62}
        name: String,
        /// age recipient that can open everything without the server and its master key; may be given several times
        #[arg(long, value_name = "age1…")]
        recovery: Vec<String>,
        /// There is none, on purpose: with the master key everything is lost
        #[arg(long, conflicts_with = "recovery")]
        no_recovery: bool,
        #[command(flatten)]
        settings: SettingsFlags,
    },
    /// List the environments
    List,
    /// Show one environment and its settings
    Show {
        /// Name
        name: String,
    },
    /// Change settings; what is not named stays
    Set {
        /// Name
        name: String,
        #[command(flatten)]
        settings: SettingsFlags,
    },
    /// Rules on what is sealed, besides those that are shipped
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Grant no new leases in an environment or on a state
    Freeze {
        /// ENV or ENV/PATH
        target: String,
        /// Why, for those who wait
        #[arg(long)]
        reason: String,
    },
    /// Grant leases again
    Unfreeze {
        /// ENV or ENV/PATH
        target: String,
    },
    /// Delete an environment with all states, versions and drafts in it
    Delete {
        /// Name
        name: String,
        /// Also if states are left in it
        #[arg(long)]
        force: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// List the rules
    List {
        /// Environment
        name: String,
    },
    /// Add rules: they apply from the next write on, and to redacted reads
    Add {
        /// Environment
        name: String,
        /// Such as 'seal aws_instance:user_data' or 'except *:tags.**'
        #[arg(required = true, value_name = "RULE")]
        rules: Vec<String>,
    },
    /// Take rules back
    Remove {
        /// Environment
        name: String,
        /// Rules as `list` prints them
        #[arg(required = true, value_name = "RULE")]
        rules: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SettingsFlags {
    /// How long nobody is granted the lock after an exclusive holder died
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) lock_delay: Option<Duration>,
    /// Ttl of a lease that does not ask for one
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) default_ttl: Option<Duration>,
    /// How many may wait for one lock
    #[arg(long, value_name = "N")]
    pub(crate) max_tickets: Option<u32>,
    /// How many drafts of one state are kept
    #[arg(long, value_name = "N")]
    pub(crate) max_drafts: Option<u32>,
    /// How many bytes the drafts of one state may take as stored
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_draft_bytes: Option<u64>,
    /// How long a draft is kept
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) draft_life: Option<Duration>,
    /// Whether opaque documents are taken
    #[arg(long, value_name = "BOOL")]
    pub(crate) allow_opaque: Option<bool>,
    /// Whether documents are taken whose secrets the server could read
    #[arg(long, value_name = "BOOL")]
    pub(crate) allow_plaintext: Option<bool>,
    /// Whether unattended exclusive leases end 2 h after their last write
    #[arg(long, value_name = "BOOL")]
    pub(crate) unattended_expires: Option<bool>,
    /// What a plan of Terraform or OpenTofu takes: a shared lease, none (it reads a snapshot), or an exclusive one
    #[arg(long, value_name = "WHAT")]
    pub(crate) plans: Option<PlansFlag>,
    /// Whether Terraform and OpenTofu may write without a lock, where nobody holds it or waits for it
    #[arg(long, value_name = "BOOL")]
    pub(crate) write_without_lock: Option<bool>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PlansFlag {
    Shared,
    Snapshot,
    Exclusive,
}
