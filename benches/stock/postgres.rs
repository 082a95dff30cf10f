//! A PostgreSQL of the benchmark's own, with the defaults of its packages: what is committed is on the disk.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Stopped when dropped.
pub(super) struct Postgres {
    child: Child,
    // After the child: it is in use until that has ended.
    _folder: TempDir,
    bin: PathBuf,
    port: u16,
}

impl Postgres {
    /// None if it is not installed.
    pub(super) fn start() -> Option<Self> {
        let bin = binaries()?;
        let folder = super::project::folder();
        let home = folder.path().join("pg");
        std::fs::create_dir(&home).unwrap();
        let user = unprivileged();
        if let Some((uid, gid)) = user {
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
            chown(&home, Some(uid), Some(gid)).unwrap();
        }
        let command = |program: &str| {
            let mut command = Command::new(bin.join(program));
            command.current_dir(&home).env("LC_ALL", "C").arg("-D").arg(home.join("data")).stdin(Stdio::null());
            if let Some((uid, gid)) = user {
                command.uid(uid).gid(gid);
            }
            command
        };
        let made = command("initdb").args(["-U", "postgres", "-A", "trust", "-E", "UTF8"]).output().unwrap();
        assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = command("postgres");
        server.args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-k"]).arg(&home);
        let mut child = server.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let postgres = Self { child, _folder: folder, bin, port };
        let mut seen = String::new();
        while !seen.contains("ready to accept connections") {
            assert!(log.read_line(&mut seen).unwrap() > 0, "postgres has ended: {seen}");
        }
        // What it logs later is of no use, but has to go somewhere.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Some(postgres)
    }

    /// Makes an empty database, and tells how to reach it.
    pub(super) fn database(&self, name: &str) -> String {
        let port = self.port.to_string();
        let made = Command::new(self.bin.join("createdb"))
            .args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", name])
            .output()
            .unwrap();
        assert!(made.status.success(), "createdb failed: {}", String::from_utf8_lossy(&made.stderr));
        format!("postgres://postgres@127.0.0.1:{port}/{name}?sslmode=disable")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // An interrupt ends it at once, and in order; a kill would leave its workers and its shared memory.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let _ = self.child.wait();
    }
}

/// Where Debian keeps what is not in the PATH; the newest of several.
fn binaries() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.filter_map(|version| Some(version.ok()?.path())).filter(|path| path.join("bin/initdb").exists());
    newest.max_by_key(|path| version(path)).map(|path| path.join("bin"))
}

/// PostgreSQL refuses to be root: then the user that its package makes.
fn unprivileged() -> Option<(u32, u32)> {
    rustix::process::geteuid().is_root().then(|| (id("-u"), id("-g")))
}

fn id(of: &str) -> u32 {
    let told = Command::new("id").args([of, "postgres"]).output().unwrap();
    String::from_utf8(told.stdout).unwrap().trim().parse().expect("the user postgres, since root may not run it")
}
