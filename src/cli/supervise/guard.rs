//! The process between `run` and the command. It has one thread: the kernel kills the command when the thread that started it
//! ends, and gives orphans to whichever thread is left.

use std::ffi::OsString;
use std::future::poll_fn;
use std::io;
use std::process::{Command, ExitCode};
use std::task::Poll;

use rustix::process::{Pid, Signal, WaitOptions};
use tokio::signal::unix::{self, SignalKind, signal};

use super::args::Args;
use super::platform::{self, Parent};
use super::{END, EXEC, GUARD, READY, complain, own_executable, terminal};

/// What asks a command to end. A stopped one is continued, so that it can.
const REQUESTS: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// What else may be sent to a whole group, and must not end or stop the guard.
const OTHERS: [Signal; 9] =
    [Signal::ALARM, Signal::IO, Signal::PIPE, Signal::PROF, Signal::TSTP, Signal::TTIN, Signal::USR1, Signal::USR2, Signal::XCPU];

/// Runs the command in `args` (`PARENT_PID [--foreground] -- COMMAND…`) and returns its exit code, 128 + n for signal n.
///
/// Leads a process group (makes one if need be). When the parent ends, kills every descendant, its group and itself. Starts
/// nothing if PARENT_PID is not its parent.
pub fn guard_main(args: Vec<OsString>) -> ExitCode {
    let Some(args) = Args::parse(args) else {
        complain(format_args!("{GUARD} is for `leasehold run` alone"));
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(guard(args))) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(format_args!("cannot supervise the command: {error}"));
            platform::kill_descendants();
            ExitCode::from(126)
        }
    }
}

async fn guard(args: Args) -> io::Result<u8> {
    let own = rustix::process::getpid();
    if rustix::process::getpgrp() != own {
        rustix::process::setpgid(None, None)?;
    }
    let mut ended = signal(SignalKind::child())?;
    let mut continued = listen(Signal::CONT)?;
    platform::adopt_orphans();
    platform::wake_with_parent();
    let Some(parent) = Parent::watch(args.pid)? else {
        return Ok(137);
    };
    while args.foreground && !terminal::is_foreground(own) {
        tokio::select! {
            () = parent.gone() => return Ok(137),
            _ = continued.recv() => {}
        }
    }
    // An inherited "ignore" must not keep the child from stopping itself; what has a handler here has the default there.
    drop(listen(READY)?);
    let mut child = start(own, args.command)?;
    // Neither before the child is there nor after it became the command: a signal to the group ends both, or reaches the command
    // and leaves the guard.
    let mut kill = listen(END)?;
    let mut requests = REQUESTS.into_iter().map(listen).collect::<io::Result<Vec<_>>>()?;
    for signal in OTHERS {
        drop(listen(signal)?);
    }
    loop {
        if let Some(code) = child.reap()? {
            platform::kill_descendants();
            return Ok(code);
        }
        tokio::select! {
            biased;
            () = parent.gone() => end_all(),
            _ = kill.recv() => end_all(),
            () = any(&mut requests) => {
                let _ = rustix::process::kill_process_group(own, Signal::CONT);
            }
            _ = ended.recv() => {}
        }
    }
}

/// The process that becomes the command, stopped until [`Started::reap`] finds it so.
struct Started {
    pid: Pid,
    released: bool,
}

fn start(own: Pid, command: Vec<OsString>) -> io::Result<Started> {
    let args = Args { pid: own, foreground: false, command };
    let child = Command::new(own_executable()?).arg(EXEC).args(args.into_words()).spawn()?;
    Ok(Started { pid: Pid::from_child(&child), released: false })
}

impl Started {
    /// Reaps whatever has ended, adopted orphans too; the command's exit code if it is among them.
    fn reap(&mut self) -> io::Result<Option<u8>> {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
                Ok(Some((pid, status))) if pid == self.pid && !status.stopped() => {
                    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
                    return Ok(Some(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)));
                }
                Ok(Some((pid, status))) if pid == self.pid && status.stopping_signal() == Some(READY.as_raw()) => {
                    if !self.released {
                        self.released = true;
                        rustix::process::kill_process(pid, Signal::CONT)?;
                    }
                }
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A handler, since ignoring would be inherited by the command; the command finds the default. It stays when the listener goes.
fn listen(signal: Signal) -> io::Result<unix::Signal> {
    unix::signal(SignalKind::from_raw(signal.as_raw()))
}

async fn any(signals: &mut [unix::Signal]) {
    poll_fn(|context| match signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready()) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

/// Kills every descendant, then the group, this process included: that it died by `SIGKILL` is what tells `run`.
fn end_all() {
    platform::kill_descendants();
    let _ = rustix::process::kill_current_process_group(Signal::KILL);
}
