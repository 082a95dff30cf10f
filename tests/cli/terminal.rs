//! A person at a terminal: the binary in a session of its own on a pseudo terminal, read as far as the text that is waited for.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use pty_process::Size;
use pty_process::blocking::{Pts, Pty, open};

/// Far beyond what any step takes; only a failing test waits this long.
const BOUND: Duration = Duration::from_secs(30);

/// What Ctrl-C and Ctrl-D send.
pub(crate) const CTRL_C: &str = "\x03";
pub(crate) const CTRL_D: &str = "\x04";

/// The binary, with standard input and error at a terminal that is its controlling one.
pub(crate) struct Terminal {
    child: Child,
    screen: Screen,
    out: Screen,
}

/// How it ended, and what the two screens show.
pub(crate) struct Left {
    pub(crate) status: ExitStatus,
    /// Of standard error, with the echo of what was typed.
    pub(crate) screen: String,
    /// Of standard output, which has a screen of its own.
    pub(crate) out: String,
}

impl Terminal {
    /// Starts a command; standard output goes to a second terminal, so that the two can be told apart.
    pub(crate) fn start(command: Command) -> Self {
        Self::start_with(command, |command| command)
    }

    /// The same with standard error on a pipe that is read by nobody before the end.
    pub(crate) fn start_without_stderr(command: Command) -> Self {
        Self::start_with(command, |command| command.stderr(Stdio::piped()))
    }

    /// The same with Ctrl-C as a shell leaves it: what ran the tests may ignore it, and that is inherited.
    pub(crate) fn start_interruptible(command: &Command) -> Self {
        let mut whole = Command::new("env");
        whole.arg("--default-signal=INT").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => whole.env(name, value),
                None => whole.env_remove(name),
            };
        }
        Self::start(whole)
    }

    fn start_with(
        mut command: Command,
        change: impl FnOnce(pty_process::blocking::Command) -> pty_process::blocking::Command,
    ) -> Self {
        command.env("TERM", "xterm");
        let ((screen, terminal), (out, other)) = (Screen::new(), Screen::new());
        let other = other.as_fd().try_clone_to_owned().expect("it is open");
        let command = change(pty_process::blocking::Command::from(command).stdout(other));
        let child = command.spawn(terminal).expect("the binary runs");
        Self { child, screen, out }
    }

    /// Waits until the screen shows `text`.
    #[track_caller]
    pub(crate) fn shows(&mut self, text: &str) {
        while !self.screen.seen.contains(text) {
            assert!(self.screen.more(), "it ended without {text:?}: {:?}", self.screen.seen);
        }
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) {
        (&*self.screen.pty).write_all(keys.as_bytes()).expect("it is open");
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn leave(mut self) -> Left {
        while self.screen.more() || self.out.more() {}
        let status = self.child.wait().expect("it ends");
        let mut screen = std::mem::take(&mut self.screen.seen);
        if let Some(mut piped) = self.child.stderr.take() {
            piped.read_to_string(&mut screen).expect("UTF-8");
        }
        Left { status, screen, out: std::mem::take(&mut self.out.seen) }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nothing to do for one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a terminal shows.
struct Screen {
    pty: Arc<Pty>,
    pieces: Receiver<Vec<u8>>,
    seen: String,
}

impl Screen {
    fn new() -> (Self, Pts) {
        let (pty, terminal) = open().expect("a pseudo terminal");
        pty.resize(Size::new(24, 100)).expect("it is open");
        let pty = Arc::new(pty);
        let (sender, pieces) = channel();
        let reader = Arc::clone(&pty);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            // It fails when nobody has the other end any more.
            while let Ok(length @ 1..) = (&*reader).read(&mut piece) {
                if sender.send(piece[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        (Self { pty, pieces, seen: String::new() }, terminal)
    }

    /// Reads on; false at the end.
    #[track_caller]
    fn more(&mut self) -> bool {
        match self.pieces.recv_timeout(BOUND) {
            Ok(piece) => {
                self.seen.push_str(&String::from_utf8_lossy(&piece));
                true
            }
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => false,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("nothing more within {BOUND:?}: {:?}", self.seen),
        }
    }
}
