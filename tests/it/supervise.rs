//! A supervised command passes on its exit code and its signals, and does not outlive those who supervise it.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;

use leasehold::cli::supervise::{Child, Exit, GUARD, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, kill_process, kill_process_group, pidfd_open};

const LEASEHOLD: &str = env!("CARGO_BIN_EXE_leasehold");

/// Far beyond what any step takes; only a failing test waits this long.
const BOUND: Duration = Duration::from_secs(20);

/// A command, its child, one that left the group and one that became a daemon; each says its name and pid.
const TREE: &str = r#"
    sh -c 'echo grandchild $$; exec sleep 600' &
    setsid sh -c 'echo escaped $$; exec sleep 600' &
    (setsid sh -c 'echo daemon $$; exec sleep 600' &)
    echo command $$
    wait
"#;

/// A process and a handle on it that no other process can take over.
struct Watched {
    name: String,
    pid: Pid,
    fd: OwnedFd,
}

impl Watched {
    fn new(name: &str, pid: Pid) -> Watched {
        let fd = pidfd_open(pid, PidfdFlags::empty()).expect("the process is alive");
        Watched { name: name.to_owned(), pid, fd }
    }

    fn has_ended(&self, within: Duration) -> bool {
        let timeout = Timespec::try_from(within).unwrap();
        loop {
            match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&timeout)) {
                // Another test's child ended.
                Err(rustix::io::Errno::INTR) => {}
                ready => return ready.unwrap() == 1,
            }
        }
    }

    fn must_end(&self) {
        assert!(self.has_ended(BOUND), "{} (pid {:?}) is still alive", self.name, self.pid);
    }
}

/// A shell as the parent of a guard, in place of `run`.
struct Supervised {
    parent: std::process::Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Supervised {
    fn start(script: &str) -> Supervised {
        // `exit $?` keeps the shell from becoming the guard.
        let mut parent = Command::new("sh")
            .args(["-c", r#""$0" "$1" $$ -- sh -c "$2"; exit $?"#, LEASEHOLD, GUARD, script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
        Supervised { parent, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("the command has more to say").unwrap()
    }

    fn watch_next(&mut self, how_many: usize) -> Vec<Watched> {
        let lines: Vec<String> = (0..how_many).map(|_| self.line()).collect();
        lines.iter().map(|line| parse(line)).collect()
    }

    fn kill_parent(&mut self) {
        kill_process(Pid::from_child(&self.parent), rustix::process::Signal::KILL).unwrap();
        self.parent.wait().unwrap();
    }
}

fn parse(line: &str) -> Watched {
    let (name, pid) = line.split_once(' ').unwrap();
    Watched::new(name, Pid::from_raw(pid.parse().unwrap()).unwrap())
}

fn parent_of(pid: Pid) -> Pid {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    Pid::from_raw(parent.trim().parse().unwrap()).unwrap()
}

fn command_of(tree: &[Watched]) -> Pid {
    tree.iter().find(|process| process.name == "command").unwrap().pid
}

fn spawn(script: &str) -> Child {
    let command: Vec<OsString> = ["sh", "-c", script].map(OsString::from).to_vec();
    Child::spawn_by(Path::new(LEASEHOLD), &command, &[]).unwrap()
}

async fn ends(mut child: Child) -> Exit {
    tokio::time::timeout(BOUND, child.wait()).await.expect("the command ends").unwrap()
}

/// A fifo's reading end; scripts write to its path what the test waits for.
struct Reports {
    folder: tempfile::TempDir,
}

impl Reports {
    fn new() -> Reports {
        let folder = tempfile::tempdir().unwrap();
        assert!(Command::new("mkfifo").arg(folder.path().join("fifo")).status().unwrap().success());
        Reports { folder }
    }

    fn path(&self) -> String {
        self.folder.path().join("fifo").display().to_string()
    }

    fn open(&self) -> Lines<BufReader<std::fs::File>> {
        BufReader::new(std::fs::File::open(self.folder.path().join("fifo")).unwrap()).lines()
    }
}

#[test]
fn parent_killed_takes_the_whole_tree_along() {
    let mut supervised = Supervised::start(TREE);
    let tree = supervised.watch_next(4);
    let guard = Watched::new("guard", parent_of(command_of(&tree)));
    supervised.kill_parent();
    for process in tree.iter().chain([&guard]) {
        process.must_end();
    }
}

#[test]
fn parent_killed_while_the_group_is_stopped_takes_the_whole_tree_along() {
    let mut supervised = Supervised::start(TREE);
    let tree = supervised.watch_next(4);
    let guard = Watched::new("guard", parent_of(command_of(&tree)));
    kill_process_group(guard.pid, rustix::process::Signal::STOP).unwrap();
    supervised.kill_parent();
    for process in tree.iter().chain([&guard]) {
        process.must_end();
    }
}

#[test]
fn guard_killed_takes_the_command_along() {
    let mut supervised = Supervised::start("echo command $$; exec sleep 600");
    let command = supervised.watch_next(1).remove(0);
    kill_process(parent_of(command.pid), rustix::process::Signal::KILL).unwrap();
    command.must_end();
    assert_eq!(supervised.parent.wait().unwrap().code(), Some(137));
}

#[test]
fn guard_of_another_parent_starts_nothing() {
    let output = Command::new(LEASEHOLD).args([GUARD, "1", "--", "echo", "started"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(137), b"".as_slice()));
}

#[test]
fn guard_with_unfinished_words_says_who_it_is_for() {
    let output = Command::new(LEASEHOLD).args([GUARD, "1", "--"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("leasehold run"));
}

#[test]
fn interrupt_leaves_the_guard_to_report_the_code() {
    let mut supervised = Supervised::start("trap 'echo caught; exit 9' INT; echo command $$; while :; do sleep 0.05; done");
    let command = supervised.watch_next(1).remove(0);
    kill_process_group(parent_of(command.pid), rustix::process::Signal::INT).unwrap();
    assert_eq!(supervised.line(), "caught");
    assert_eq!(supervised.parent.wait().unwrap().code(), Some(9));
}

#[test]
fn group_signals_do_not_end_the_guard() {
    use rustix::process::Signal as S;
    let script = "trap : 1 2 3 10 12 14 24 27 29; trap 'exit 4' TERM; echo command $$; while :; do sleep 0.02; done";
    let mut supervised = Supervised::start(script);
    let command = supervised.watch_next(1).remove(0);
    let guard = Watched::new("guard", parent_of(command.pid));
    for signal in [S::HUP, S::INT, S::QUIT, S::USR1, S::USR2, S::ALARM, S::XCPU, S::PROF, S::IO, S::TERM] {
        kill_process_group(guard.pid, signal).unwrap();
    }
    assert_eq!(supervised.parent.wait().unwrap().code(), Some(4));
}

#[test]
fn command_finds_default_signal_dispositions() {
    let supervised = Supervised::start("exec cat /proc/self/status");
    let lines: Vec<String> = supervised.lines.map(Result::unwrap).collect();
    for name in ["SigBlk:", "SigIgn:", "SigCgt:"] {
        let mask = lines.iter().find_map(|line| line.strip_prefix(name)).unwrap();
        // Real-time signals are the C library's business.
        assert_eq!(u64::from_str_radix(mask.trim(), 16).unwrap() & 0x7fff_ffff, 0, "{name} {mask}");
    }
}

#[tokio::test]
async fn exit_codes_pass_through() {
    for (script, code) in [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -KILL $$", 137)] {
        assert_eq!(ends(spawn(script)).await, Exit { code, killed_by_us: false }, "{script}");
    }
}

#[tokio::test]
async fn command_that_cannot_run_is_126_or_127() {
    for (command, code) in [("no-such-command-anywhere", 127), ("/dev/null", 126), ("/", 126)] {
        let child = Child::spawn_by(Path::new(LEASEHOLD), &[command.into()], &[]).unwrap();
        assert_eq!(ends(child).await.code, code, "{command}");
    }
    let none = Child::spawn_by(Path::new(LEASEHOLD), &[], &[]).map(drop).unwrap_err();
    assert_eq!(none.kind(), std::io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn environment_reaches_the_command() {
    let env = [("LEASEHOLD_FENCE".to_owned(), Some("41".to_owned())), ("CARGO_PKG_NAME".to_owned(), None)];
    let command = ["/bin/sh", "-c", "exit $((LEASEHOLD_FENCE + ${CARGO_PKG_NAME:+1}1))"].map(OsString::from);
    assert_eq!(ends(Child::spawn_by(Path::new(LEASEHOLD), &command, &env).unwrap()).await.code, 42);
}

#[tokio::test]
async fn signals_reach_the_command_once() {
    let reports = Reports::new();
    let child = spawn(&format!(
        "exec >{}; trap 'echo int' INT; trap 'echo usr1' USR1; trap 'echo term; exit 7' TERM; echo ready; while :; do sleep 0.02; done",
        reports.path()
    ));
    let mut lines = reports.open();
    let mut line = || lines.next().map(|line| line.unwrap());
    assert_eq!(line().as_deref(), Some("ready"));
    child.interrupt();
    assert_eq!(line().as_deref(), Some("int"));
    child.signal(Signal::User1);
    assert_eq!(line().as_deref(), Some("usr1"));
    child.terminate();
    assert_eq!(line().as_deref(), Some("term"));
    assert_eq!(line(), None);
    assert_eq!(ends(child).await, Exit { code: 7, killed_by_us: false });
}

#[tokio::test]
async fn stopped_command_is_continued_to_end() {
    let reports = Reports::new();
    let child = spawn(&format!("exec >{}; trap 'exit 5' TERM; echo command $$; while :; do sleep 0.02; done", reports.path()));
    let command = parse(&reports.open().next().unwrap().unwrap());
    kill_process(command.pid, rustix::process::Signal::STOP).unwrap();
    child.terminate();
    assert_eq!(ends(child).await.code, 5);
}

#[tokio::test]
async fn kill_reaches_what_left_the_group() {
    let reports = Reports::new();
    let mut child = spawn(&format!("exec >{}; trap '' INT TERM; {TREE}", reports.path()));
    let tree: Vec<Watched> = reports.open().take(4).map(|line| parse(&line.unwrap())).collect();
    child.kill();
    child.kill();
    let exit = tokio::time::timeout(BOUND, child.wait()).await.unwrap().unwrap();
    assert_eq!(exit, Exit { code: 137, killed_by_us: true });
    assert!(tree.iter().all(|process| process.has_ended(Duration::ZERO)), "all are dead when the wait returns");
    // Nothing to signal any more, and the answer stays.
    child.kill();
    child.terminate();
    assert_eq!(child.wait().await.unwrap(), exit);
}

#[tokio::test]
async fn command_ended_while_it_starts_is_ended() {
    for _ in 0..20 {
        let child = spawn("sleep 600");
        child.terminate();
        assert_eq!(ends(child).await, Exit { code: 143, killed_by_us: false });
        let child = spawn("sleep 600");
        child.kill();
        assert_eq!(ends(child).await, Exit { code: 137, killed_by_us: true });
    }
}

#[tokio::test]
async fn kill_after_the_end_is_not_ours() {
    let mut child = spawn("exit 3");
    let guard = Watched::new("guard", Pid::from_raw(child.id().cast_signed()).unwrap());
    guard.must_end();
    child.kill();
    assert_eq!(child.wait().await.unwrap(), Exit { code: 3, killed_by_us: false });
}

#[tokio::test]
async fn guard_killed_takes_the_group_along() {
    let reports = Reports::new();
    let child = spawn(&format!("exec >{}; sh -c 'echo grandchild $$; exec sleep 600' & echo command $$; wait", reports.path()));
    let tree: Vec<Watched> = reports.open().take(2).map(|line| parse(&line.unwrap())).collect();
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), rustix::process::Signal::KILL).unwrap();
    assert_eq!(ends(child).await, Exit { code: 137, killed_by_us: false });
    tree.iter().for_each(Watched::must_end);
}

#[tokio::test]
async fn what_the_command_leaves_behind_ends_with_it() {
    let reports = Reports::new();
    // The command waits for the test to have seen its leftovers.
    let go = Reports::new();
    let child = spawn(&format!("exec >{}; {} read line <{}; exit 3", reports.path(), TREE.replace("wait", ""), go.path()));
    let tree: Vec<Watched> = reports.open().take(4).map(|line| parse(&line.unwrap())).collect();
    std::fs::write(go.path(), "go\n").unwrap();
    assert_eq!(ends(child).await, Exit { code: 3, killed_by_us: false });
    assert!(tree.iter().all(|process| process.has_ended(Duration::ZERO)), "all are dead when the wait returns");
}

#[tokio::test]
async fn dropped_child_is_dead() {
    let reports = Reports::new();
    let child = spawn(&format!("exec >{}; {TREE}", reports.path()));
    let tree: Vec<Watched> = reports.open().take(4).map(|line| parse(&line.unwrap())).collect();
    drop(child);
    assert!(tree.iter().all(|process| process.has_ended(Duration::ZERO)), "all are dead when the drop returns");
}

/// Not a test by itself: [`terminal_is_lent_to_the_command`] runs it in a terminal, as the program that supervises.
#[tokio::test]
async fn supervise_in_a_terminal() {
    #[allow(clippy::disallowed_methods, reason = "how the outer test tells that it is the one who runs this")]
    if std::env::var_os("LEASEHOLD_TEST_TERMINAL").is_none() {
        return;
    }
    let exit = ends(spawn("trap 'echo caught; exit 6' INT; echo prompt; read word; echo got $word; read word; exit 1")).await;
    let mut word = String::new();
    // Reading stops a process in the background, and Ctrl-C would have ended this one had it been in the foreground.
    std::io::stdin().read_line(&mut word).unwrap();
    println!("code {} and {}", exit.code, word.trim());
    let ours = rustix::process::getpgrp();
    assert_eq!(rustix::termios::tcgetpgrp(std::io::stdin()).unwrap(), ours);
}

#[test]
fn terminal_is_lent_to_the_command() {
    let inner = std::env::current_exe().unwrap();
    let name = "supervise::supervise_in_a_terminal";
    let mut terminal = Command::new("timeout")
        .args(["30", "script", "-qefc", &format!("'{}' --exact {name} --nocapture", inner.display()), "/dev/null"])
        .env("LEASEHOLD_TEST_TERMINAL", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keys = terminal.stdin.take().unwrap();
    let mut screen = terminal.stdout.take().unwrap();
    let mut seen = String::new();
    let mut read_until = |text: &str| {
        let from = seen.len();
        let mut buffer = [0; 1024];
        while !seen[from..].contains(text) {
            let count = screen.read(&mut buffer).unwrap();
            assert!(count > 0, "no {text:?} in {seen:?}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    };
    read_until("prompt");
    keys.write_all(b"first\n").unwrap();
    read_until("got first");
    keys.write_all(b"\x03").unwrap();
    read_until("caught");
    keys.write_all(b"second\n").unwrap();
    read_until("code 6 and second");
    drop(keys);
    assert!(terminal.wait().unwrap().success());
}
