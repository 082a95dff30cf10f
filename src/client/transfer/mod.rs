//! Moving states in and out: from and to files and folders of workspaces as Terraform lays them out, and from another `http` backend.
//!
//! What is moved keeps lineage, serial, every byte and, where there is any, its past. Each document is read back from where it arrived and compared
//! with what left; nothing is held in memory as a whole but what comes over HTTP. A move that was cut off goes on where it was when
//! it is made again: what is there already is compared and left alone.
//!
//! Beside a state file `F` its past is `F.history/N`, numbered from the oldest, and `F.backup`, Terraform's copy of the version before. A folder
//! holds the workspace `default` as `terraform.tfstate` and any other as `terraform.tfstate.d/NAME/terraform.tfstate`.

mod compare;
mod export;
mod header;
mod import;
mod layout;
mod local;
mod plan;
mod target;

pub use export::{ExportAsk, Leave, Leaving, Written, remove_stale};
pub use header::Header;
pub use import::{ImportAsk, Step, Verdict, refusal};
pub use local::{Found, local};

use super::{Progress, Source};

/// A document that is to be imported, with what orders it among the others of its state.
pub struct Document {
    /// Where it comes from, for people.
    pub label: String,
    /// Its lineage and serial.
    pub header: Header,
    /// The bytes.
    pub source: Source,
}

/// What is going on with a document that is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It is on its way.
    Moving(Progress),
    /// What arrived is compared with what left.
    Checking(Progress),
}
