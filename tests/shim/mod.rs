//! Shims for the C library (`LD_PRELOAD`): one records what a process asks of its files and sockets, one makes a sync (or a write) fail. This module
//! compiles them, runs programs under them, and reads the record. For any test binary: `#[path = "../shim/mod.rs"] mod shim;`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A compiled shim, removed when dropped.
pub(crate) struct Shim {
    folder: tempfile::TempDir,
}

/// One record of `record.c`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Op {
    pub(crate) kind: Kind,
    /// The file's name without its folder; `-` for sockets.
    pub(crate) file: String,
    pub(crate) thread: u64,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Write {
        at: u64,
        bytes: Vec<u8>,
    },
    Truncate {
        to: u64,
    },
    SyncBegins,
    SyncEnded,
    /// To this name.
    Rename(String),
    Remove,
    Send,
}

impl Shim {
    /// Compiles a shim. None, after saying so loudly, if there is no C compiler (an error where `LEASEHOLD_REQUIRE` lists `gcc`).
    pub(crate) fn compile(name: &str, source: &str, test: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let (code, library) = (folder.path().join(format!("{name}.c")), folder.path().join("shim.so"));
        std::fs::write(&code, source).unwrap();
        let gcc = Command::new("gcc").args(["-O1", "-shared", "-fPIC", "-o"]).args([&library, &code]).arg("-ldl").output();
        match gcc {
            Ok(output) => {
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                Some(Self { folder })
            }
            Err(_) => {
                crate::require::skip(test, "gcc");
                None
            }
        }
    }

    /// The recorder.
    pub(crate) fn recorder(test: &str) -> Option<Self> {
        Self::compile("record", include_str!("record.c"), test)
    }

    /// The failing sync.
    pub(crate) fn fault(test: &str) -> Option<Self> {
        Self::compile("fault", include_str!("fault.c"), test)
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("shim.so")
    }

    /// Makes a program record what it does to files under `folder`.
    pub(crate) fn record(&self, command: &mut Command, folder: &Path, log: &Path) {
        command.env("LD_PRELOAD", self.library()).env("SHIM_DIR", folder).env("SHIM_LOG", log);
    }

    /// Makes a program's next sync of a log fail once `trigger` exists; what is in that file may say more (`fault.c`).
    pub(crate) fn fail(&self, command: &mut Command, trigger: &Path) {
        command.env("LD_PRELOAD", self.library()).env("SHIM_FAULT", trigger);
    }
}

/// Reads a record.
pub(crate) fn read(log: &Path) -> Vec<Op> {
    let data = std::fs::read(log).unwrap();
    let mut rest = &data[..];
    let mut ops = Vec::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
        let line = std::str::from_utf8(&rest[..end]).unwrap();
        rest = &rest[end + 1..];
        // The path may hold spaces, the others cannot.
        let (op, tail) = line.split_once(' ').unwrap();
        let mut fields = tail.rsplitn(4, ' ');
        let mut number = || fields.next().unwrap().parse::<u64>().unwrap();
        let (thread, length, number) = (number(), number() as usize, number());
        let name =
            |path: &str| Path::new(path).file_name().map_or_else(|| path.to_owned(), |name| name.to_string_lossy().into_owned());
        let file = name(fields.next().unwrap());
        let bytes = rest[..length].to_vec();
        rest = &rest[length..];
        let kind = match op {
            "W" => Kind::Write { at: number, bytes },
            "T" => Kind::Truncate { to: number },
            "B" => Kind::SyncBegins,
            "E" => Kind::SyncEnded,
            "R" => Kind::Rename(name(std::str::from_utf8(&bytes).unwrap())),
            "U" => Kind::Remove,
            "N" => Kind::Send,
            other => panic!("an unknown record: {other}"),
        };
        ops.push(Op { kind, file, thread });
    }
    ops
}

/// For each acknowledgement (as `acknowledges` tells them), whether everything written to the log of a database before it had been synced
/// by then. Returns how many acknowledgements there were, and those (by number) that came too early.
pub(crate) fn unsynced(ops: &[Op], log: &str, acknowledges: impl Fn(&Op) -> bool) -> (usize, Vec<usize>) {
    let (mut written, mut durable) = (0_u64, 0_u64);
    let mut begun = std::collections::HashMap::new();
    let (mut count, mut early) = (0, Vec::new());
    for op in ops {
        match &op.kind {
            _ if acknowledges(op) => {
                if durable < written {
                    early.push(count);
                }
                count += 1;
            }
            _ if op.file != log => {}
            Kind::Write { .. } => written += 1,
            Kind::SyncBegins => drop(begun.insert(op.thread, written)),
            Kind::SyncEnded => durable = durable.max(begun.remove(&op.thread).unwrap_or(0)),
            _ => {}
        }
    }
    (count, early)
}
