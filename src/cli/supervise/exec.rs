//! The step between the guard and the command: tie this process's life to the guard's, then become the command.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use super::args::Args;
use super::{READY, complain, platform};

/// Becomes the command in `args` (`GUARD_PID -- COMMAND…`), to be killed with the guard; returns only if it cannot.
///
/// 127 if there is no such command, 126 if it cannot be executed, 137 if the guard is gone already.
pub fn exec_main(args: Vec<OsString>) -> ExitCode {
    let Some(args) = Args::parse(args) else {
        complain(format_args!("{} is for `leasehold run` alone", super::EXEC));
        return ExitCode::from(2);
    };
    // In this order: a guard that dies after the request takes us with it, one that died before it is not our parent any more.
    platform::die_with_parent();
    if rustix::process::getppid() != Some(args.pid) {
        return ExitCode::from(137);
    }
    // Stops here until the guard has its handlers and continues us: a signal to the group must not find only one of us ready.
    let _ = rustix::process::kill_process(rustix::process::getpid(), READY);
    let error = Command::new(&args.command[0]).args(&args.command[1..]).exec();
    complain(format_args!("cannot run {}: {error}", args.command[0].display()));
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}
