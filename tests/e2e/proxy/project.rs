//! A folder with a configuration, and the real Terraform in it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::STATE;
use crate::process::{Ended, end, finish};
use crate::rig::Server;

/// Its state is wherever the environment says.
const BACKEND: &str = "terraform {\n  backend \"http\" {}\n}\n";

pub(super) struct Project {
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl Project {
    pub(super) fn new(program: &Path, configuration: &str) -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap(), program: program.to_owned() };
        project.configure(configuration);
        project
    }

    pub(super) fn configure(&self, configuration: &str) {
        std::fs::write(self.path("main.tf"), format!("{BACKEND}{configuration}")).unwrap();
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn at_home(&self, mut command: Command) -> Command {
        command.current_dir(self.folder.path());
        // Nothing it needs is on the network.
        command.env("CHECKPOINT_DISABLE", "1").env("TF_IN_AUTOMATION", "1").env("TF_CLI_CONFIG_FILE", "/dev/null");
        command.env("TF_CLI_ARGS", "-no-color");
        command
    }

    /// `leasehold run FLAGS -- terraform ARGS`.
    pub(super) fn run(&self, server: &Server, flags: &[&str], args: &[&str]) -> Command {
        let program = self.program.to_str().unwrap();
        self.at_home(server.leasehold(&[&["run", "--state", STATE], flags, &["--", program], args].concat()))
    }

    /// `leasehold run -- sh -c SCRIPT`, with Terraform as `$TERRAFORM`.
    pub(super) fn script(&self, server: &Server, flags: &[&str], script: &str) -> Command {
        let mut command =
            self.at_home(server.leasehold(&[&["run", "--state", STATE], flags, &["--", "sh", "-ec", script]].concat()));
        command.env("TERRAFORM", &self.program);
        command
    }

    /// Terraform, as a child of a `run` whose environment this is.
    pub(super) fn terraform(&self, environment: &HashMap<String, String>, args: &[&str]) -> Ended {
        end(&mut self.child(environment, args))
    }

    /// The same, to be started.
    pub(super) fn child(&self, environment: &HashMap<String, String>, args: &[&str]) -> Command {
        let mut command = self.at_home(Command::new(&self.program));
        let given = environment.iter().filter(|(name, _)| name.starts_with("TF_HTTP_"));
        command.args(args).envs(given).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    #[track_caller]
    pub(super) fn init(&self, server: &Server) {
        good(self.run(server, &[], &["init", "-input=false"]));
    }
}

#[track_caller]
pub(super) fn good(mut command: Command) -> Ended {
    let ended = end(&mut command);
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    ended
}

/// A command whose output is followed line by line.
pub(super) struct Followed {
    pub(super) child: Child,
    lines: BufReader<ChildStdout>,
    pub(super) seen: String,
}

impl Followed {
    pub(super) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines, seen: String::new() }
    }

    /// Reads until a line has `text`, and returns the line.
    #[track_caller]
    pub(super) fn shows(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "it ended before {text:?}:\n{}", self.seen);
            self.seen.push_str(&line);
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Its end, with all that it printed.
    pub(super) fn end(mut self) -> Ended {
        std::io::Read::read_to_string(&mut self.lines, &mut self.seen).unwrap();
        let ended = finish(self.child);
        Ended { out: self.seen, ..ended }
    }
}
