//! `leasehold serve --dev` as a process.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use leasehold::client::{ApiToken, Client, Settings};
use rustix::process::Signal;
use zeroize::Zeroizing;

use super::{Watched, signal};
use crate::process::{Ended, end, leasehold};

/// Bounds low enough for tests.
pub(crate) const TIGHT: &str = "[limits]\nmin_ttl = \"1s\"\n";

/// A server on a port and a data folder of its own. It is killed when dropped; its log is shown if the test fails.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    address: String,
    token: String,
    running: Option<(Child, BufReader<ChildStdout>)>,
}

impl Server {
    pub(crate) fn start(config: &str) -> Self {
        let mut server = Self::stopped(config);
        server.restart();
        server
    }

    /// One that has not been started yet.
    pub(crate) fn stopped(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        Self { folder, address: "127.0.0.1:0".into(), token: String::new(), running: None }
    }

    /// Starts again what was killed or stopped: same port, same data.
    pub(crate) fn restart(&mut self) {
        self.start_as(|_| ());
    }

    /// The same with a command that was changed.
    pub(crate) fn start_as(&mut self, change: impl FnOnce(&mut Command)) {
        assert!(self.running.is_none(), "it runs");
        let log = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let mut command = leasehold(&["serve", "--dev", "--listen", &self.address, "--data-dir"]);
        command.arg(self.data()).arg("--config").arg(self.folder.path().join("config.toml")).stderr(log);
        change(&mut command);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let Some(address) = line.trim().strip_prefix("listening on ") else {
            panic!("the server said {line:?}\n{}", self.logged());
        };
        self.address = address.to_owned();
        self.running = Some((child, lines));
        let exports = std::fs::read_to_string(self.data().join("dev.env")).unwrap();
        let token = exports.lines().find_map(|line| line.strip_prefix("export LEASEHOLD_TOKEN="));
        self.token = token.expect("dev.env has the token").to_owned();
    }

    /// The same under what a shell does first, such as `ulimit` or `umask`.
    pub(crate) fn start_under(&mut self, first: &str) {
        let log = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        self.start_as(|command| {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("{first}; exec \"$0\" \"$@\"")]).arg(command.get_program()).args(command.get_args());
            for (name, value) in command.get_envs() {
                match value {
                    Some(value) => shell.env(name, value),
                    None => shell.env_remove(name),
                };
            }
            shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
            *command = shell;
        });
    }

    /// Other settings from the next start on.
    pub(crate) fn set(&self, config: &str) {
        std::fs::write(self.file("config.toml"), config).unwrap();
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let (mut child, _) = self.running.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to stop, as a service manager does.
    pub(crate) fn stop(&mut self) {
        let (mut child, _) = self.running.take().expect("it runs");
        signal(child.id(), Signal::TERM);
        assert!(child.wait().unwrap().success(), "{}", self.logged());
    }

    /// Waits until it has ended by itself; its exit code.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> Option<i32> {
        Watched::new(self.pid()).must_end();
        let (mut child, _) = self.running.take().expect("it runs");
        child.wait().unwrap().code()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.as_ref().expect("it runs").0.id()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A place for the test's own files, which goes with the server.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The binary, with this server and its token in the environment.
    pub(crate) fn leasehold(&self, args: &[&str]) -> Command {
        let mut command = leasehold(args);
        command.env("LEASEHOLD_SERVER", &self.address).env("LEASEHOLD_TOKEN", &self.token);
        command
    }

    /// Runs the binary to its end, which must be a good one.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> Ended {
        let ended = end(&mut self.leasehold(args));
        assert_eq!(ended.code, 0, "{args:?}: {}", ended.err);
        ended
    }

    /// A client with a connection of its own, patient enough for a restart.
    pub(crate) fn client(&self) -> Client {
        let token = ApiToken::parse(Zeroizing::new(self.token.clone())).unwrap();
        let settings =
            Settings { server: self.address.clone(), token: Some(token), patience: super::BOUND, ..Settings::default() };
        Client::connect(settings).unwrap()
    }

    /// Where it is, and the token for it: for calls that the client library would not make.
    pub(crate) fn door(&self) -> (String, String) {
        (format!("http://{}", self.address), self.token.clone())
    }

    pub(crate) fn lock_delay(&self, delay: Duration) {
        self.ok(&["env", "set", "dev", "--lock-delay", &format!("{}ms", delay.as_millis())]);
    }

    fn log(&self) -> PathBuf {
        self.file("server.log")
    }

    pub(crate) fn logged(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.kill();
        }
        if std::thread::panicking() {
            eprintln!("-- the server's log:\n{}--", self.logged());
        }
    }
}
