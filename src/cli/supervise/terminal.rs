//! The terminal's foreground, lent to the command's group while it runs.

use std::io;

use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::process::Pid;
use rustix::termios::{isatty, tcgetpgrp, tcsetpgrp};

/// The foreground of the terminal on stdin, as it was this process's group's.
#[derive(Debug)]
pub(super) struct Foreground {
    ours: Pid,
}

impl Foreground {
    /// None if stdin is no terminal, or another group has its foreground.
    pub(super) fn held() -> Option<Foreground> {
        let ours = rustix::process::getpgrp();
        is_foreground(ours).then_some(Foreground { ours })
    }

    pub(super) fn give_to(&self, group: Pid) -> io::Result<()> {
        set_foreground(group)
    }

    /// Does nothing if the terminal is gone, or somebody else took it from `group`.
    pub(super) fn take_back_from(&self, group: Pid) {
        if is_foreground(group) {
            let _ = set_foreground(self.ours);
        }
    }
}

pub(super) fn is_foreground(group: Pid) -> bool {
    isatty(io::stdin()) && tcgetpgrp(io::stdin()).is_ok_and(|foreground| foreground == group)
}

/// A process in the background that does this is stopped by `SIGTTOU`, unless it blocks it.
fn set_foreground(group: Pid) -> io::Result<()> {
    let before = SigSet::from_iter([nix::sys::signal::Signal::SIGTTOU]).thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let result = tcsetpgrp(io::stdin(), group);
    before.thread_set_mask()?;
    Ok(result?)
}
