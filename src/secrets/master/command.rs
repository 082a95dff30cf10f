//! Master identities that a program prints.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use zeroize::Zeroizing;

use super::{IdentitiesError, MasterError, Masters, file};

/// How long a command may take if nothing else is said.
pub const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn load(argv: &[String], timeout: Duration) -> Result<Masters, MasterError> {
    let (program, arguments) = argv.split_first().ok_or(MasterError::RelativeCommand)?;
    if !Path::new(program).is_absolute() {
        return Err(MasterError::RelativeCommand);
    }
    let printed = run(program, arguments, timeout)?;
    let unusable = |cause| MasterError::Printed { program: program.clone(), cause };
    let text = std::str::from_utf8(&printed).map_err(|_| unusable(IdentitiesError::None))?;
    Masters::parse(text).map_err(unusable)
}

fn run(program: &str, arguments: &[String], timeout: Duration) -> Result<Zeroizing<Vec<u8>>, MasterError> {
    let failed = |cause| MasterError::Spawn { program: program.to_owned(), cause };
    // A group of its own, so that what it starts can be killed with it. Its stderr may quote what it read: nobody is to see it.
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let (sender, receiver) = mpsc::channel();
    let output = child.stdout.take().expect("stdout is piped");
    let pid = Pid::from_child(&child);
    thread::spawn(move || sender.send(read_and_wait(output, pid)));
    let printed = match receiver.recv_timeout(timeout) {
        Ok(Some(printed)) => printed,
        Ok(None) => {
            kill(&mut child);
            return Err(MasterError::Output { program: program.to_owned() });
        }
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            kill(&mut child);
            return Err(MasterError::Timeout { program: program.to_owned(), after: timeout });
        }
    };
    let status = child.wait().map_err(failed)?;
    if status.success() { Ok(printed) } else { Err(MasterError::Failed { program: program.to_owned(), status }) }
}

/// What it prints, once it has ended too; nothing if that is too much. Leaves it to be reaped: until then nobody else gets its number.
fn read_and_wait(output: ChildStdout, pid: Pid) -> Option<Zeroizing<Vec<u8>>> {
    let mut printed = Zeroizing::new(Vec::with_capacity(file::MOST + 1));
    // A pipe that fails has ended: what came is judged by the exit status.
    let _ = output.take(file::MOST as u64 + 1).read_to_end(&mut printed);
    if printed.len() > file::MOST {
        return None;
    }
    let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    Some(printed)
}

fn kill(child: &mut Child) {
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}
