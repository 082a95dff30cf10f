//! A command in a process group of its own that cannot outlive the process that supervises it, however that one ends.
//!
//! ```text
//! run ──spawns──► __guard PID -- COMMAND…          leads the group, watches PID, adopts orphans
//!                  └─spawns──► __exec PID -- COMMAND…   asks the kernel to be killed with the guard, becomes COMMAND
//! ```
//!
//! | who dies | what ends the command |
//! |---|---|
//! | the command | the guard kills what it left running, in the group or not, and exits with its code |
//! | `run`, even by `kill -9` | the guard sees it through a pidfd, kills every descendant, then the group with itself |
//! | the guard, even by `kill -9` | the kernel kills the command (`PR_SET_PDEATHSIG`); `run` kills the rest of the group |
//!
//! Descendants that left the group (`setsid`, daemons) are found because the guard is their subreaper. Out of reach are processes
//! of another user (`sudo`), which may not be signalled, and those that left the group if the guard itself is killed with -9.
//! Systems other than Linux have neither pidfds nor subreapers: the guard polls its parent instead, and ends the group only.
//!
//! A terminal whose foreground `run` is, is handed to the group until the command ends: Ctrl-C then goes to the command alone.
//! Ctrl-Z stops the command while `run` goes on renewing; the next Ctrl-C, or any other request to end, continues it first.

mod args;
mod exec;
mod guard;
#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "portable.rs")]
mod platform;
mod terminal;

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions};
use tokio::time::Instant;

pub use exec::exec_main;
pub use guard::guard_main;
use terminal::Foreground;

/// The hidden subcommand that `main` passes to [`guard_main`], before it starts a runtime or parses anything.
pub const GUARD: &str = "__guard";

/// The hidden subcommand that `main` passes to [`exec_main`], before it starts a runtime or parses anything.
pub const EXEC: &str = "__exec";

/// The guard's order to kill everything and itself. A signal with a use of its own would be taken for the order when a command
/// signals its whole group; nothing sends this one by accident.
const END: rustix::process::Signal = rustix::process::Signal::VTALARM;

/// What the process about to become the command stops itself with, until the guard continues it. Nothing else stops a process
/// with it so early, so that a stop from elsewhere is not taken for it.
const READY: rustix::process::Signal = rustix::process::Signal::TTOU;

/// How long a guard may take to obey [`END`]. Only a stopped or frozen one takes longer than milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// What can be sent to the command and everything in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `SIGHUP`: the terminal went away.
    Hangup,
    /// `SIGINT`: as Ctrl-C.
    Interrupt,
    /// `SIGQUIT`: as Ctrl-\.
    Quit,
    /// `SIGTERM`: please end.
    Terminate,
    /// `SIGUSR1`, which means what the command says.
    User1,
    /// `SIGUSR2`, which means what the command says.
    User2,
}

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The command's exit code; 128 + n if signal n ended it; 127 if it was not found, 126 if it could not be executed.
    pub code: i32,
    /// [`Child::kill`] ended it: what it was doing was cut off. False if it ended by itself before the kill arrived.
    pub killed_by_us: bool,
}

/// A running command, together with everything it starts. Dropping it kills them all.
#[derive(Debug)]
pub struct Child {
    guard: std::process::Child,
    group: Pid,
    terminal: Option<Foreground>,
    changes: tokio::signal::unix::Signal,
    /// Set by the first [`Child::kill`]: when to stop trusting the guard with it.
    kill_by: OnceLock<Instant>,
    exit: Option<Exit>,
}

impl Child {
    /// Starts `command` with its standard streams and with this process's environment, changed by `env`: a variable is set, or without a
    /// value removed.
    ///
    /// A command that cannot be executed is no error here: it ends with 127 or 126 and a message on stderr. Call inside a tokio
    /// runtime, from a process whose `main` knows [`GUARD`] and [`EXEC`].
    ///
    /// # Errors
    /// `InvalidInput` for an empty command; else what the system says about starting a process or handing over the terminal.
    pub fn spawn(command: &[OsString], env: &[(String, Option<String>)]) -> io::Result<Child> {
        Child::spawn_by(&own_executable()?, command, env)
    }

    /// As [`Child::spawn`], with another `leasehold` executable as the guard: for programs that are not `leasehold` themselves.
    ///
    /// # Errors
    /// As [`Child::spawn`].
    pub fn spawn_by(executable: &Path, command: &[OsString], env: &[(String, Option<String>)]) -> io::Result<Child> {
        if command.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no command to run"));
        }
        let changes = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::child())?;
        let terminal = Foreground::held();
        let args = args::Args { pid: rustix::process::getpid(), foreground: terminal.is_some(), command: command.to_vec() };
        let mut guard = Command::new(executable);
        guard.arg(GUARD).args(args.into_words()).process_group(0);
        for (name, value) in env {
            match value {
                Some(value) => guard.env(name, value),
                None => guard.env_remove(name),
            };
        }
        let guard = guard.spawn()?;
        let group = Pid::from_child(&guard);
        // From here on an early return drops the child, which ends the guard.
        let child = Child { guard, group, terminal, changes, kill_by: OnceLock::new(), exit: None };
        if let Some(terminal) = &child.terminal {
            terminal.give_to(group)?;
            // The guard waits for the terminal before it starts the command; this wakes it.
            let _ = rustix::process::kill_process(group, rustix::process::Signal::CONT);
        }
        Ok(child)
    }

    /// The group's id, for messages. It may belong to others once [`Child::wait`] has returned.
    pub fn id(&self) -> u32 {
        self.guard.id()
    }

    /// Waits until the command and what it started have ended. May be dropped and called again; the answer stays the same.
    ///
    /// After [`Child::kill`], keep waiting: this is also what kills the group over the head of a guard that does not obey.
    ///
    /// # Errors
    /// What the system says about waiting for a process; the command may then still be running.
    pub async fn wait(&mut self) -> io::Result<Exit> {
        let mut insisted = false;
        loop {
            if let Some(exit) = self.exit {
                return Ok(exit);
            }
            if self.guard_has_ended()? {
                return self.finish();
            }
            let kill_by = self.kill_by.get().copied();
            tokio::select! {
                _ = self.changes.recv() => {}
                () = until(kill_by), if kill_by.is_some() && !insisted => {
                    insisted = true;
                    self.send_to_group(rustix::process::Signal::KILL);
                }
            }
        }
    }

    /// Sends `SIGINT` to the group, as Ctrl-C would.
    pub fn interrupt(&self) {
        self.signal(Signal::Interrupt);
    }

    /// Sends `SIGTERM` to the group.
    pub fn terminate(&self) {
        self.signal(Signal::Terminate);
    }

    /// Sends `signal` to the group, once. Nothing happens when the command has been waited for.
    pub fn signal(&self, signal: Signal) {
        self.send_to_group(match signal {
            Signal::Hangup => rustix::process::Signal::HUP,
            Signal::Interrupt => rustix::process::Signal::INT,
            Signal::Quit => rustix::process::Signal::QUIT,
            Signal::Terminate => rustix::process::Signal::TERM,
            Signal::User1 => rustix::process::Signal::USR1,
            Signal::User2 => rustix::process::Signal::USR2,
        });
    }

    /// Kills the command and everything it started with `SIGKILL`, without waiting. Idempotent; nothing happens when the command
    /// has been waited for.
    ///
    /// The guard does it, since only it also reaches what left the group; if it does not within a second, [`Child::wait`] kills
    /// the group, guard included.
    pub fn kill(&self) {
        if self.exit.is_some() || self.kill_by.get().is_some() {
            return;
        }
        #[expect(clippy::disallowed_methods, reason = "how long to trust another process is a timer of our own")]
        let now = Instant::now();
        let _ = self.kill_by.set(now + PATIENCE);
        let _ = rustix::process::kill_process(self.group, END);
        let _ = rustix::process::kill_process(self.group, rustix::process::Signal::CONT);
    }

    /// The guard is not reaped before [`Child::finish`], and until then neither its pid nor its group's id can be used again.
    fn send_to_group(&self, signal: rustix::process::Signal) {
        if self.exit.is_none() {
            // A group without a living member is what is wanted, and the rest is out of our hands.
            let _ = rustix::process::kill_process_group(self.group, signal);
        }
    }

    fn guard_has_ended(&self) -> io::Result<bool> {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(rustix::process::waitid(WaitId::Pid(self.group), look)?.is_some())
    }

    /// Only for a guard that has ended, or will at once.
    fn finish(&mut self) -> io::Result<Exit> {
        // A guard that was killed left the group behind; the one that ended by itself left nobody.
        self.send_to_group(rustix::process::Signal::KILL);
        if let Some(terminal) = self.terminal.take() {
            terminal.take_back_from(self.group);
        }
        let status = self.guard.wait()?;
        let exit = self.read(status);
        self.exit = Some(exit);
        Ok(exit)
    }

    fn read(&self, status: ExitStatus) -> Exit {
        // A guard that has not started anything yet ends by the order itself.
        let by_kill = [rustix::process::Signal::KILL, END].iter().any(|signal| status.signal() == Some(signal.as_raw()));
        if by_kill && self.kill_by.get().is_some() {
            return Exit { code: 128 + rustix::process::Signal::KILL.as_raw(), killed_by_us: true };
        }
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        Exit { code: code.unwrap_or(1), killed_by_us: false }
    }
}

/// Blocks until everything is dead and the terminal is back: milliseconds, and a little over a second at most.
impl Drop for Child {
    fn drop(&mut self) {
        if self.exit.is_some() {
            return;
        }
        self.kill();
        platform::wait_for_exit(self.group, PATIENCE);
        let _ = self.finish();
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// This executable, also when an upgrade has replaced or removed its file since.
fn own_executable() -> io::Result<PathBuf> {
    let named = std::env::current_exe()?;
    let running = Path::new("/proc/self/exe");
    Ok(if !named.exists() && running.exists() { running.to_path_buf() } else { named })
}

/// Says on stderr why a hidden subcommand gave up; there is nobody else to tell.
fn complain(what: std::fmt::Arguments<'_>) {
    let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("leasehold: {what}\n"));
}
