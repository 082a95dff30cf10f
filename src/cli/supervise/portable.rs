//! Stand-ins for `linux.rs` on systems without pidfds, parent-death signals and subreapers: poll, and end the group only.

use std::io;
use std::time::Duration;

use rustix::process::Pid;

const POLL: Duration = Duration::from_millis(100);

/// The parent, watched.
pub(super) struct Parent {
    pid: Pid,
}

impl Parent {
    /// None if `pid` is not the parent, or is not any more.
    pub(super) fn watch(pid: Pid) -> io::Result<Option<Parent>> {
        Ok((rustix::process::getppid() == Some(pid)).then_some(Parent { pid }))
    }

    /// Returns when the parent has ended.
    pub(super) async fn gone(&self) {
        while rustix::process::getppid() == Some(self.pid) {
            tokio::time::sleep(POLL).await;
        }
    }
}

pub(super) fn die_with_parent() {}

pub(super) fn wake_with_parent() {}

pub(super) fn adopt_orphans() {}

/// Does not wait: the group is killed at once instead.
pub(super) fn wait_for_exit(_child: Pid, _patience: Duration) {}

/// Reaches nobody: `run` kills the group when the guard has ended.
pub(super) fn kill_descendants() {}
