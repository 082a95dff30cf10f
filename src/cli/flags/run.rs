//! Flags of `run`.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::lease::ModeFlag;

const AFTER: &str = "\
The command finds its lease in LEASEHOLD_STATE, LEASEHOLD_SESSION and LEASEHOLD_FENCE. It never outlives `run`. Without a renewal for two
thirds of the ttl it is interrupted; at nine tenths of the ttl plus the lock delay it is killed, and so it is when the lease is lost and it
has not ended by the time somebody else may have the lock.

Terraform and OpenTofu need `backend \"http\" {}` and nothing in it: TF_HTTP_ADDRESS, TF_HTTP_LOCK_ADDRESS, TF_HTTP_UNLOCK_ADDRESS, the methods,
TF_HTTP_USERNAME and TF_HTTP_PASSWORD are set, and lead to an address on loopback that `run` serves under its lease. A state that comes in
after the lease was lost is kept as a draft. `run` says so at the end.

Your token does not get into the command's environment. LEASEHOLD_SERVER and LEASEHOLD_TOKEN lead to the same address: with its key, which ends
with `run`, `leasehold` and other clients read and write this state under this lease, and do nothing else.

The exit code is the command's if that is not 0; 6 if the lease was lost, or the command stopped for want of renewals, and the command
ended with 0.";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct RunFlags {
    /// State to take the lease on
    #[arg(long, value_name = "ENV/PATH")]
    pub(crate) state: String,
    /// `exclusive` to change the state, `shared` to read it consistently
    #[arg(long, value_enum, default_value_t = ModeFlag::Exclusive)]
    pub(crate) mode: ModeFlag,
    /// How long to wait for the lease
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    pub(crate) wait: Duration,
    /// How long the lease lives without a renewal [default: the environment's]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) ttl: Option<Duration>,
    /// What to do with the command when the lease is lost
    #[arg(long, value_enum, default_value_t = OnLoss::Interrupt)]
    pub(crate) on_loss: OnLoss,
    /// Session that names the holder: a rerun with the same one gets the same lease [default: a new one]
    #[arg(long)]
    pub(crate) session: Option<String>,
    /// Do not set TF_HTTP_…: the command's Terraform has another backend of this kind
    #[arg(long)]
    pub(crate) no_http: bool,
    /// Hand the command your own token and the server's address: it may do whatever you may, on any state
    #[arg(long)]
    pub(crate) pass_token: bool,
    /// Command to run
    #[arg(last = true, required = true, num_args = 1.., value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnLoss {
    /// Interrupt it, and kill it if it has not ended in time
    Interrupt,
    /// Kill it at once
    Kill,
    /// Let it go on; its writes are kept as drafts
    Continue,
}
