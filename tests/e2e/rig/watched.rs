//! Processes and handles on them that no other process can take over.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use super::BOUND;

/// A process that must end.
pub(crate) struct Watched {
    pub(crate) pid: u32,
    fd: OwnedFd,
}

impl Watched {
    pub(crate) fn new(pid: u32) -> Self {
        let fd = pidfd_open(raw(pid), PidfdFlags::empty()).expect("the process is alive");
        Self { pid, fd }
    }

    /// The process whose child it is.
    pub(crate) fn parent(&self) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
        Self::new(parent.trim().parse().unwrap())
    }

    #[track_caller]
    pub(crate) fn must_end(&self) {
        let timeout = Timespec::try_from(BOUND).unwrap();
        loop {
            match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&timeout)) {
                // Another test's child ended.
                Err(rustix::io::Errno::INTR) => {}
                ready => return assert_eq!(ready.unwrap(), 1, "process {} is still alive", self.pid),
            }
        }
    }
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    rustix::process::kill_process(raw(pid), signal).unwrap();
}

pub(crate) fn signal_group(pid: u32, signal: Signal) {
    rustix::process::kill_process_group(raw(pid), signal).unwrap();
}

fn raw(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).unwrap()
}
