//! What `run` serves to its command on loopback.

mod cut;
mod lost;
mod nested;
mod project;
pub(crate) mod secrecy;
mod terraform;
mod wire;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::process::{Ended, finish};
use crate::rig::{BOUND, Server};

pub(super) const STATE: &str = "dev/app";

/// `run` with a command that tells its environment and stays until [`Held::end`]: the test stands in for what the command would do.
pub(super) struct Held {
    run: Child,
    lines: BufReader<ChildStdout>,
    pub(super) environment: HashMap<String, String>,
}

impl Held {
    pub(super) fn start(server: &Server, flags: &[&str]) -> Self {
        Self::start_with(server, flags, |_| ())
    }

    pub(super) fn start_with(server: &Server, flags: &[&str], change: impl FnOnce(&mut std::process::Command)) -> Self {
        let script = ["--", "sh", "-c", "env; echo; trap 'echo interrupted' INT; while ! read line; do :; done"];
        let mut command = server.leasehold(&[&["run", "--state", STATE], flags, &script].concat());
        command.stdin(Stdio::piped());
        change(&mut command);
        let mut run = command.spawn().unwrap();
        let mut lines = BufReader::new(run.stdout.take().unwrap());
        let environment: HashMap<_, _> = std::iter::from_fn(|| {
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            line.trim_end().split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
        })
        .collect();
        Self { run, lines, environment }
    }

    /// Asks the loopback address, as Terraform does. `rest` follows the path of the state.
    pub(super) fn ask(&self, method: &str, rest: &str, body: &str) -> Answer {
        let of = |name: &str| self.environment[name].as_str();
        let credentials = format!("{}:{}", of("TF_HTTP_USERNAME"), of("TF_HTTP_PASSWORD"));
        self.ask_with(method, rest, body, &[("Authorization", &format!("Basic {}", BASE64_STANDARD.encode(credentials)))])
    }

    /// The same with other headers.
    pub(super) fn ask_with(&self, method: &str, rest: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        let (host, path) = self.environment["TF_HTTP_ADDRESS"].strip_prefix("http://").unwrap().split_once('/').unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let head = format!(
            "{method} /{path}{rest} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        // Who refuses by the head alone does not read on.
        let _ = stream.write_all(body.as_bytes());
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        assert!(read.is_ok() || !answer.is_empty(), "{read:?}");
        Answer::parse(&String::from_utf8(answer).unwrap())
    }

    /// The next line that the command prints.
    pub(super) fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Ends it without a word to the server.
    pub(super) fn kill(mut self) -> Ended {
        self.run.kill().unwrap();
        let mut out = String::new();
        self.lines.read_to_string(&mut out).unwrap();
        Ended { out, ..finish(self.run) }
    }

    pub(super) fn end(mut self) -> Ended {
        self.run.stdin.take().unwrap().write_all(b"end\n").unwrap();
        finish(self.run)
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Self { status, headers: headers.collect(), body: body.to_owned() }
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Lock info as Terraform prints it.
pub(super) fn info(id: &str, operation: &str) -> String {
    format!(
        r#"{{"ID":"{id}","Operation":"{operation}","Info":"","Who":"me@here","Version":"1.11.4","Created":"2026-11-23T15:14:58.199318715Z","Path":""}}"#
    )
}

/// A small state.
pub(super) fn document(serial: u32, value: &str) -> String {
    format!(
        "{{\n  \"version\": 4,\n  \"terraform_version\": \"1.11.4\",\n  \"serial\": {serial},\n  \"lineage\": \
         \"3f1f5a7e-6d1c-4d5c-8d4e-0a1b2c3d4e5f\",\n  \"outputs\": {{\"a\": {{\"value\": \"{value}\", \"type\": \"string\"}}}},\n  \
         \"resources\": []\n}}\n"
    )
}
