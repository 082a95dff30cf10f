//! What Linux offers to bind processes to each other: pidfds, parent-death signals, subreapers and `/proc`.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};

/// How often to look where the kernel has no pidfds (before 5.3, or a sandbox that hides them).
const POLL: Duration = Duration::from_millis(100);

/// The parent, watched.
pub(super) struct Parent {
    pid: Pid,
    fd: Option<AsyncFd<OwnedFd>>,
}

impl Parent {
    /// None if `pid` is not the parent, or is not any more. Call inside a runtime.
    pub(super) fn watch(pid: Pid) -> io::Result<Option<Parent>> {
        #[expect(
            deprecated,
            reason = "its successor is unsafe; what both ask for, a descriptor that stays the same, an OwnedFd is"
        )]
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Some(AsyncFd::with_interest(fd, Interest::READABLE)?),
            Err(_) => None,
        };
        // In this order: as long as it is the parent, its pid was nobody else's when the descriptor was made.
        Ok((rustix::process::getppid() == Some(pid)).then_some(Parent { pid, fd }))
    }

    /// Returns when the parent has ended.
    pub(super) async fn gone(&self) {
        if let Some(fd) = &self.fd
            && fd.ready(Interest::READABLE).await.is_ok_and(|guard| guard.ready() != Ready::EMPTY)
        {
            return;
        }
        while rustix::process::getppid() == Some(self.pid) {
            tokio::time::sleep(POLL).await;
        }
    }
}

/// From now on the kernel kills this process when the thread that started it ends.
pub(super) fn die_with_parent() {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
}

/// From now on the kernel continues this process, if it was stopped, when the thread that started it ends.
pub(super) fn wake_with_parent() {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::CONT));
}

/// From now on descendants whose parent ends become children of this process.
pub(super) fn adopt_orphans() {
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// Waits for a child to end, without reaping it, for at most `patience`.
pub(super) fn wait_for_exit(child: Pid, patience: Duration) {
    if let Ok(fd) = pidfd_open(child, PidfdFlags::empty()) {
        let timeout = Timespec::try_from(patience).ok();
        // A SIGCHLD interrupts it, and this one's is on its way.
        while poll(&mut [PollFd::new(&fd, PollFlags::IN)], timeout.as_ref()) == Err(rustix::io::Errno::INTR) {}
    }
}

/// Kills every descendant and returns when all are dead and reaped, except those that may not be signalled.
///
/// Call from a single-threaded subreaper only: it reaps whatever child there is.
pub(super) fn kill_descendants() {
    let mut out_of_reach = HashSet::new();
    loop {
        let (children, descendants) = descendants();
        for process in descendants {
            if process.kill() == Err(rustix::io::Errno::PERM) {
                out_of_reach.insert(process.pid);
            }
        }
        if children.is_subset(&out_of_reach) {
            return;
        }
        // What a dying child leaves becomes ours, and is found in the next round.
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: Pid,
    parent: Pid,
    /// Clock ticks since boot: tells it from a later process with the same pid.
    started: u64,
}

impl Process {
    /// None if there is no such process, or none with a parent.
    fn look_up(pid: Pid) -> Option<Process> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        let (parent, started) = parse_stat(&stat)?;
        Some(Process { pid, parent, started })
    }

    /// Never hits another process that got the same pid meanwhile.
    fn kill(&self) -> rustix::io::Result<()> {
        match pidfd_open(self.pid, PidfdFlags::empty()) {
            Ok(fd) if Process::look_up(self.pid).is_some_and(|now| now.started == self.started) => {
                pidfd_send_signal(fd, Signal::KILL)
            }
            // Children of ours keep their pid until we reap them. Deeper ones become children when theirs are dead.
            Err(rustix::io::Errno::NOSYS) if self.parent == rustix::process::getpid() => {
                rustix::process::kill_process(self.pid, Signal::KILL)
            }
            _ => Ok(()),
        }
    }
}

/// The pids of the children of this process, and all descendants, parents first.
fn descendants() -> (HashSet<Pid>, Vec<Process>) {
    let mut by_parent: HashMap<Pid, Vec<Process>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        if let Some(process) = pid.and_then(Process::look_up) {
            by_parent.entry(process.parent).or_default().push(process);
        }
    }
    let mut found = by_parent.remove(&rustix::process::getpid()).unwrap_or_default();
    let children = found.iter().map(|process| process.pid).collect();
    let mut next = 0;
    while next < found.len() {
        let offspring = by_parent.remove(&found[next].pid).unwrap_or_default();
        found.extend(offspring);
        next += 1;
    }
    (children, found)
}

/// Parent and start time, fields 4 and 22 of `/proc/PID/stat`. The name before them is in parentheses and may hold anything.
fn parse_stat(stat: &str) -> Option<(Pid, u64)> {
    let mut fields = stat.rsplit_once(") ")?.1.split_ascii_whitespace().skip(1);
    let parent = fields.next()?.parse().ok().and_then(Pid::from_raw)?;
    Some((parent, fields.nth(17)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_hostile_name_is_parsed() {
        let stat = "7 (a) S 1 (b) S 42 7 7 0 -1 4194304 0 0 0 0 1 2 3 4 20 0 1 0 9876 1 1";
        assert_eq!(parse_stat(stat), Some((Pid::from_raw(42).unwrap(), 9876)));
        assert_eq!(parse_stat("7 (a) S 0 0"), None);
    }

    #[test]
    fn own_stat_names_the_parent() {
        let own = Process::look_up(rustix::process::getpid()).unwrap();
        assert_eq!(Some(own.parent), rustix::process::getppid());
        assert!(own.started > 0);
    }

    #[tokio::test]
    async fn parent_that_is_another_process_is_refused() {
        assert!(Parent::watch(rustix::process::getpid()).unwrap().is_none());
    }
}
