//! Flags of `state import` and `state export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::state::LeaseFlags;

/// The largest state that is taken over HTTP; the default of the server's `max_document`.
const MAX_BODY: u64 = 128 << 20;

const IMPORT: &str = "\
Sources:
  FILE        one state, and beside it its past: FILE.history/N, and FILE.backup
  FOLDER      the workspaces of a Terraform folder: terraform.tfstate is `default`, and terraform.tfstate.d/NAME/terraform.tfstate is NAME;
              or that terraform.tfstate.d alone
  http(s)://  another `http` backend; it is read, and never written

Over HTTP the credentials come from TF_HTTP_USERNAME and TF_HTTP_PASSWORD, or --username and --password-file;
TF_HTTP_CLIENT_CA_CERTIFICATE_PEM, TF_HTTP_CLIENT_CERTIFICATE_PEM and TF_HTTP_CLIENT_PRIVATE_KEY_PEM mean what they mean to Terraform.
The token of this server and the key of a `run` are not sent to another one, wherever they stand.

What arrived is read back and compared: the right to read.full is needed, beside lease.exclusive and write.

An import that was cut off goes on where it was when it is made again.";

#[derive(Debug, Args)]
#[command(after_help = IMPORT)]
pub(crate) struct ImportFlags {
    /// ENV/PATH; of a folder ENV or ENV/PREFIX, below which each workspace becomes a state
    pub(crate) state: String,
    /// File, folder, or URL
    pub(crate) source: String,
    /// Say what would happen, compare what is there already, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Only what is current, not what was before
    #[arg(long)]
    pub(crate) current_only: bool,
    /// Also a past whose serials fall or whose lineage changes
    #[arg(long)]
    pub(crate) rewrite: bool,
    /// Who to be on the other server, instead of TF_HTTP_USERNAME
    #[arg(long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// File with the password of the other server; others must not be able to read it
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Whether the state is locked on the other server while it is copied
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = LockFlag::Auto)]
    pub(crate) lock: LockFlag,
    /// Terraform's `lock_address` and `unlock_address`, which has to lock then [default: the URL, if it does]
    #[arg(long, value_name = "URL")]
    pub(crate) lock_address: Option<String>,
    /// How it is locked; POST for GitLab
    #[arg(long, value_name = "METHOD", default_value = "LOCK")]
    pub(crate) lock_method: String,
    /// How it is unlocked; DELETE for GitLab
    #[arg(long, value_name = "METHOD", default_value = "UNLOCK")]
    pub(crate) unlock_method: String,
    /// The largest state that is taken over HTTP
    #[arg(long, value_name = "BYTES", default_value_t = MAX_BODY)]
    pub(crate) max_size: u64,
    #[command(flatten)]
    pub(crate) lease: LeaseFlags,
}

impl ImportFlags {
    /// A flag that is given and means nothing for a file or a folder.
    pub(crate) fn only_for_urls(&self) -> Option<&'static str> {
        let given = [
            (self.username.is_some(), "--username"),
            (self.password_file.is_some(), "--password-file"),
            (self.lock == LockFlag::Always, "--lock always"),
            (self.lock_address.is_some(), "--lock-address"),
        ];
        given.into_iter().find_map(|(given, name)| given.then_some(name))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LockFlag {
    /// If the server locks at all
    Auto,
    /// It must be locked, or nothing is copied
    Always,
    /// Nobody writes there any more
    Never,
}

#[derive(Debug, Args)]
pub(crate) struct ExportFlags {
    /// ENV/PATH; with `--workspaces` ENV or ENV/PREFIX
    pub(crate) state: String,
    /// File; with `--workspaces` a folder
    pub(crate) to: PathBuf,
    /// Every state below ENV or ENV/PREFIX, each as a workspace of a Terraform folder
    #[arg(long)]
    pub(crate) workspaces: bool,
    /// Also what was before, as FILE.history/N, where import looks for it
    #[arg(long)]
    pub(crate) history: bool,
    /// Overwrite what is there and is something else, and remove files of an earlier export that would be taken for the past
    #[arg(long)]
    pub(crate) force: bool,
    /// Say what would happen, compare what is there already, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}
