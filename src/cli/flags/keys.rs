//! Flags of `keys`.

use std::path::PathBuf;

use clap::{ArgGroup, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// List the identities of an environment
    List {
        /// Name of the environment
        environment: String,
    },
    /// Who can open everything without the server: list, add or remove (which wraps all keys again)
    #[command(subcommand)]
    Recipients(RecipientsCommand),
    /// Wrap all data keys to a new identity; or everything to a new master key
    #[command(group = ArgGroup::new("which").required(true).args(["environment", "master"]))]
    Rewrap {
        /// Name of the environment
        environment: Option<String>,
        /// Of all environments: fetch the master key again, and wrap to the first identity of its source
        #[arg(long)]
        master: bool,
        /// File with the passphrase of the master key on its first line; without it, you are asked
        #[arg(long, value_name = "FILE", conflicts_with = "environment")]
        passphrase_file: Option<PathBuf>,
    },
    /// Seal everything that is retained again, under new data keys
    Reencrypt {
        /// Name of the environment
        environment: String,
    },
    /// Open everything, to the last byte
    Verify {
        /// Name of the environment
        environment: String,
    },
    /// Show what keys there are, and what is under them
    Report {
        /// Name of the environment
        environment: String,
        /// Every data key by itself
        #[arg(long)]
        all: bool,
    },
    /// Destroy what is retired; this cannot be taken back
    Destroy {
        /// Name of the environment
        environment: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RecipientsCommand {
    /// List them
    List {
        /// Name of the environment
        environment: String,
    },
    /// Add one or more
    Add {
        /// Name of the environment
        environment: String,
        /// age recipients
        #[arg(required = true, value_name = "age1…")]
        recipients: Vec<String>,
    },
    /// Remove one or more
    Remove {
        /// Name of the environment
        environment: String,
        /// age recipients
        #[arg(required = true, value_name = "age1…")]
        recipients: Vec<String>,
        /// Nobody may be left: with the master key everything is lost then
        #[arg(long)]
        no_recovery: bool,
    },
}
