//! How a command fails: the exit code, and what is told on stderr.

use std::io::{self, Write};

use crate::client::Error;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or the settings make no sense.
    Usage { what: String, next: String },
    /// The client library's answer.
    Client(Error),
    /// Something on this machine.
    Local { what: String, next: String },
    /// What was named is not there, on this machine.
    Missing { what: String, next: String },
    /// Checks failed, or a person said no; everything has been said already.
    Told,
    /// A signal asked for an end; the exit code.
    Interrupted(u8),
    /// Nobody reads what is printed any more.
    NoReader,
}

/// Exit codes; documented in the help.
pub(crate) mod code {
    pub(crate) const DONE: u8 = 0;
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const REFUSED: u8 = 3;
    pub(crate) const NOT_FOUND: u8 = 4;
    pub(crate) const CONFLICT: u8 = 5;
    pub(crate) const LEASE_LOST: u8 = 6;
    pub(crate) const UNAVAILABLE: u8 = 7;
}

impl Failure {
    pub(crate) fn usage(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Usage { what: what.into(), next: next.into() }
    }

    pub(crate) fn local(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Local { what: what.into(), next: next.into() }
    }

    pub(crate) fn missing(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Missing { what: what.into(), next: next.into() }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => code::USAGE,
            Self::Local { .. } | Self::Told => code::FAILED,
            Self::Missing { .. } => code::NOT_FOUND,
            Self::NoReader => code::DONE,
            Self::Interrupted(code) => *code,
            Self::Client(error) => match error {
                // Without a code it is the client's own word about this machine: a file it cannot read, for example.
                Error::Caller(report) if report.reason.is_empty() => code::FAILED,
                Error::Caller(_) | Error::Denied(_) => code::REFUSED,
                Error::NotFound(_) => code::NOT_FOUND,
                Error::Conflict(_) => code::CONFLICT,
                Error::LeaseLost(_) => code::LEASE_LOST,
                Error::Unavailable(_) => code::UNAVAILABLE,
                Error::Fault(_) => code::FAILED,
            },
        }
    }

    /// Says on stderr what happened and what to do next.
    pub(crate) fn tell(&self) {
        let (what, next, reason) = match self {
            Self::Usage { what, next } | Self::Local { what, next } | Self::Missing { what, next } => {
                (what.clone(), next.clone(), "")
            }
            Self::Client(error) => (error.to_string(), error.next().to_owned(), error.reason()),
            Self::Told | Self::NoReader | Self::Interrupted(_) => return,
        };
        let mut err = io::stderr().lock();
        // If stderr is gone there is nobody to tell.
        let _ = match reason {
            "" => writeln!(err, "error: {what}"),
            reason => writeln!(err, "error: {what} [{reason}]"),
        };
        if !next.is_empty() {
            let _ = writeln!(err, "next: {next}");
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

/// Errors of writing to standard output.
impl From<io::Error> for Failure {
    fn from(cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::BrokenPipe => Self::NoReader,
            _ => Self::local(format!("standard output cannot be written: {cause}"), "check where it goes to"),
        }
    }
}
