//! Flags of `token` and `access`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token with at most your own rights, now and later; it is shown once
    Create(CreateFlags),
    /// List your tokens; all of them with `admin` on `/`
    List,
    /// End a token, those made by it, and the leases they hold
    Revoke {
        /// Name of the token
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CreateFlags {
    /// Name of the token, never used before [default: one is drawn]
    pub(crate) name: Option<String>,
    /// A role (reader planner pipeline agent operator keyholder auditor admin) or a verb (`verb:admin` is the verb, `admin` the role); repeat
    /// for more
    #[arg(long, required = true, value_name = "ROLE|VERB")]
    pub(crate) role: Vec<String>,
    /// ENV, ENV/PATH or /, by whole segments: `*` stands for one, `**` for any number; repeat for more
    #[arg(long, required = true, value_name = "GLOB")]
    pub(crate) state: Vec<String>,
    /// How long it lives [default: until it is revoked]
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) life: Option<Duration>,
    /// An age recipient that its bearer may have documents sealed to; repeat for more
    #[arg(long, value_name = "age1…")]
    pub(crate) recipient: Vec<String>,
    /// Write the token into a new file that only you can read, instead of showing it
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccessCommand {
    /// Grant a role or a verb on what a glob matches
    #[command(after_help = "\
Verbs: read.redacted read.outputs read.full lease.shared lease.exclusive write break rollback rewrite promote approve keys admin audit.
read.full includes the other reads; nothing else is implied. `admin` is the role with all verbs, `verb:admin` the verb alone. You need `admin` on all that you grant on; to grant read.full, keys and admin
the same right as well.")]
    Grant {
        /// token:NAME, oidc:BINDING:SUBJECT or cert:KIND:NAME; `:*` at the end stands for all that begin so
        to: String,
        /// A role (reader planner pipeline agent operator keyholder auditor admin) or a verb
        #[arg(value_name = "ROLE|VERB")]
        role: String,
        /// ENV, ENV/PATH or /, by whole segments: `*` stands for one, `**` for any number
        #[arg(value_name = "GLOB")]
        on: String,
        /// An age recipient that documents may be sealed to for whom this is granted to; repeat for more
        #[arg(long, value_name = "age1…")]
        recipient: Vec<String>,
    },
    /// List grants
    List,
    /// Take a grant back; whoever has none left loses its leases
    Revoke {
        /// Id of the grant
        id: String,
    },
    /// Say which grant decides; exit code 3 if it is not allowed
    Explain {
        /// token:NAME, oidc:BINDING:SUBJECT or cert:KIND:NAME
        principal: String,
        /// A verb
        verb: String,
        /// ENV/PATH, ENV or /
        #[arg(value_name = "ENV/PATH")]
        object: String,
    },
}
