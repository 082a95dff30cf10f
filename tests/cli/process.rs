//! Running the binary and looking at what it did.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

/// The binary, with an environment that says nothing of servers and leases.
pub(crate) fn leasehold(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leasehold"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in
        ["SERVER", "TOKEN", "TOKEN_FILE", "CA_FILE", "CLIENT_CERT_FILE", "CLIENT_KEY_FILE", "STATE", "SESSION", "FENCE", "LOG"]
    {
        command.env_remove(format!("LEASEHOLD_{name}"));
    }
    for name in ["USERNAME", "PASSWORD", "CLIENT_CA_CERTIFICATE_PEM", "CLIENT_CERTIFICATE_PEM", "CLIENT_PRIVATE_KEY_PEM"] {
        command.env_remove(format!("TF_HTTP_{name}"));
    }
    command
}

/// How it ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Every error says what happened and what to do next, and stdout has only data.
    #[track_caller]
    pub(crate) fn fails_with(&self, code: i32, what: &str, next: &str) {
        assert_eq!(self.code, code, "stderr: {}", self.err);
        let line = |start: &str| self.err.lines().find(|line| line.starts_with(start)).unwrap_or_default();
        assert!(line("error: ").contains(what), "stderr: {}", self.err);
        assert!(line("next: ").contains(next), "stderr: {}", self.err);
        assert_eq!(self.out, "");
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, 0, "stderr: {}", self.err);
        serde_json::from_str(&self.out).expect("stdout is JSON")
    }
}

pub(crate) fn end(command: &mut Command) -> Ended {
    ended(command.output().expect("the binary runs"))
}

/// The same with a document on standard input.
pub(crate) fn end_with_input(command: &mut Command, input: &[u8]) -> Ended {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the binary runs");
    child.stdin.take().expect("piped").write_all(input).expect("it reads");
    finish(child)
}

pub(crate) fn finish(child: Child) -> Ended {
    ended(child.wait_with_output().expect("it ends"))
}

fn ended(output: Output) -> Ended {
    Ended {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}
