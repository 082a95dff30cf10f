//! A server of this build in a process of its own, and what is known of its disk.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

/// Connections that the clients share, as with the peers.
const CONNECTIONS: usize = 8;

pub(super) struct Server {
    child: Child,
    folder: TempDir,
    pub(super) address: String,
    pub(super) token: String,
    pub(super) channels: Vec<Channel>,
    count: Option<PathBuf>,
}

impl Server {
    /// Starts it, with a shim preloaded if one is given.
    pub(super) async fn start(shim: Option<&Path>) -> Self {
        Self::start_with(shim, "", None).await
    }

    /// Another build's server, without TLS.
    pub(super) async fn of_another_build(program: &Path) -> Self {
        Self::start_any(program, None, "", None, false).await
    }

    /// With TLS, which its clients speak.
    pub(super) async fn with_tls() -> Self {
        Self::start_any(Path::new(env!("CARGO_BIN_EXE_leasehold")), None, "", None, true).await
    }

    /// The same with settings of its own, and perhaps few descriptors.
    pub(super) async fn start_with(shim: Option<&Path>, settings: &str, descriptors: Option<u32>) -> Self {
        Self::start_any(Path::new(env!("CARGO_BIN_EXE_leasehold")), shim, settings, descriptors, false).await
    }

    async fn start_any(program: &Path, shim: Option<&Path>, settings: &str, descriptors: Option<u32>, tls: bool) -> Self {
        // On a disk, not in memory: durable rates are what is measured.
        let folder = tempfile::Builder::new()
            .prefix("leasehold-bench")
            .tempdir_in(std::env::var("LEASEHOLD_BENCH_DIR").unwrap_or("/var/tmp".into()))
            .unwrap();
        let file = folder.path().join("settings.toml");
        std::fs::write(&file, settings).unwrap();
        let mut command = Command::new("sh");
        let first = descriptors.map_or(String::new(), |most| format!("ulimit -n {most}; "));
        command.args(["-c", &format!("{first}exec \"$0\" \"$@\"")]).arg(program);
        command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path().join("data"));
        command.arg("--config").arg(file);
        let authority = tls.then(|| certify(folder.path(), &mut command));
        let count = shim.map(|shim| {
            let count = folder.path().join("syncs");
            command.env("LD_PRELOAD", shim).env("SYNC_US", "5000").env("SYNC_COUNT", &count);
            count
        });
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        let exports = std::fs::read_to_string(folder.path().join("data/dev.env")).unwrap();
        let token = exports.lines().find_map(|line| line.strip_prefix("export LEASEHOLD_TOKEN=")).unwrap().to_owned();
        let mut channels = Vec::new();
        for _ in 0..CONNECTIONS {
            let scheme = if tls { "https" } else { "http" };
            let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).unwrap().tcp_nodelay(true);
            if let Some(authority) = &authority {
                let trusted = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
                endpoint = endpoint.tls_config(trusted).unwrap();
            }
            channels.push(endpoint.connect().await.unwrap());
        }
        Self { child, folder, address, token, channels, count }
    }

    /// How many fdatasyncs and fsyncs there were so far; known with the shim only.
    pub(super) fn syncs(&self) -> Option<u64> {
        self.count.as_ref().map(|count| std::fs::metadata(count).map_or(0, |meta| meta.len()))
    }

    /// The most memory that the server ever had, in bytes.
    pub(super) fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() << 10
    }

    /// How much time the server has spent on processors: tells more than rates while others use the machine. None outside of Linux.
    pub(super) fn cpu(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        let ticks: Vec<u64> =
            stat.rsplit(')').next()?.split(' ').skip(12).take(2).filter_map(|ticks| ticks.parse().ok()).collect();
        Some(Duration::from_millis(10 * ticks.iter().sum::<u64>()))
    }

    /// Median and 99th percentile of overwriting 4 KiB and fdatasync on the server's disk, in microseconds.
    pub(super) fn fdatasync(&self) -> (u128, u128) {
        let file: File =
            OpenOptions::new().create(true).truncate(true).write(true).open(self.folder.path().join("probe")).unwrap();
        file.write_all_at(&[0; 1 << 20], 0).unwrap();
        file.sync_all().unwrap();
        let mut took: Vec<u128> = (0..500_u64)
            .map(|n| {
                let began = Instant::now();
                file.write_all_at(&[1; 4096], n % 256 * 4096).unwrap();
                file.sync_data().unwrap();
                began.elapsed().as_micros()
            })
            .collect();
        took.sort_unstable();
        (took[took.len() / 2], took[took.len() * 99 / 100])
    }
}

/// A certificate for loopback that signs itself, for the server that is about to start; returns it for its clients.
fn certify(folder: &Path, command: &mut Command) -> String {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    let mut private = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&key).unwrap();
    private.write_all(made.signing_key.serialize_pem().as_bytes()).unwrap();
    command.arg("--tls-cert").arg(certificate).arg("--tls-key").arg(key);
    made.cert.pem()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Delays every sync by `SYNC_US` microseconds and appends a byte to `SYNC_COUNT`.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
static void before(void) {
    const char *us = getenv("SYNC_US"), *count = getenv("SYNC_COUNT");
    if (count) { int fd = open(count, O_CREAT | O_WRONLY | O_APPEND, 0600); if (fd >= 0) { if (write(fd, ".", 1)) {} close(fd); } }
    if (us) { long n = atol(us); struct timespec t = { n / 1000000, n % 1000000 * 1000 }; nanosleep(&t, 0); }
}
int fsync(int fd) { static int (*real)(int); if (!real) real = dlsym(RTLD_NEXT, "fsync"); before(); return real(fd); }
int fdatasync(int fd) { static int (*real)(int); if (!real) real = dlsym(RTLD_NEXT, "fdatasync"); before(); return real(fd); }
"#;

/// Compiles the shim; none without gcc.
pub(super) fn slow_sync_shim() -> Option<PathBuf> {
    let folder = std::env::temp_dir().join(format!("leasehold-bench-shim-{}", std::process::id()));
    std::fs::create_dir_all(&folder).ok()?;
    let (source, shim) = (folder.join("slow.c"), folder.join("slow.so"));
    File::create(&source).ok()?.write_all(SHIM.as_bytes()).ok()?;
    let done = Command::new("gcc").args(["-shared", "-fPIC", "-o"]).args([&shim, &source]).arg("-ldl").status().ok()?;
    done.success().then_some(shim)
}
