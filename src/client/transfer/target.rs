//! What a state has.

use super::Header;
use super::plan::Existing;
use crate::client::{Client, Error};
use crate::pb::v1::{Expect, Format, VersionInfo};

/// The versions of the life that a state is in, the oldest first, and what the next write has to expect.
pub(super) struct Target {
    pub(super) existing: Vec<Existing>,
    pub(super) expect: Expect,
}

impl Client {
    pub(super) async fn target(&self, state: &str) -> Result<Target, Error> {
        let versions = self.life(state).await?;
        let expect = versions.newest.map_or_else(Expect::default, |newest| Expect { version: newest.version, etag: newest.etag });
        let existing = versions.live.into_iter().map(|version| Existing {
            header: header(&version),
            version: version.version,
            purged: version.purged,
        });
        Ok(Target { existing: existing.collect(), expect })
    }

    /// The versions since the last deletion, the oldest first.
    pub(super) async fn life(&self, state: &str) -> Result<Life, Error> {
        let entries = match self.history(state, true, usize::MAX).await {
            Err(Error::NotFound(report)) if report.reason == "STATE_NOT_FOUND" => Vec::new(),
            entries => entries?,
        };
        let versions: Vec<_> = entries.into_iter().filter_map(|entry| entry.version).collect();
        let newest = versions.first().cloned();
        let mut live: Vec<_> = versions.into_iter().take_while(|version| !version.deleted).collect();
        live.reverse();
        Ok(Life { live, newest })
    }
}

pub(super) struct Life {
    pub(super) live: Vec<VersionInfo>,
    /// Also if it is a deletion.
    pub(super) newest: Option<VersionInfo>,
}

/// None if it is no Terraform or OpenTofu state.
pub(super) fn header(version: &VersionInfo) -> Option<Header> {
    let encrypted = match version.format() {
        Format::Terraform => false,
        Format::Opaque if !version.lineage.is_empty() => true,
        _ => return None,
    };
    Some(Header { lineage: version.lineage.clone(), serial: version.serial, encrypted })
}
