//! A holder that is stopped beyond its ttl and goes on: what it writes is kept and not applied.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::time::Duration;

use leasehold::client::{Ask, Error, PushAsk, Source};
use rustix::process::Signal;
use tokio::io::AsyncWriteExt;

use crate::process::finish;
use crate::rig::{BOUND, Server, TIGHT, Watched, signal, signal_group, within};

fn document(serial: u32, value: &str) -> String {
    format!(
        "{{\n  \"version\": 4,\n  \"terraform_version\": \"1.9.0\",\n  \"serial\": {serial},\n  \"lineage\": \
         \"3f1f5a7e-6d1c-4d5c-8d4e-0a1b2c3d4e5f\",\n  \"outputs\": {{\"a\": {{\"value\": \"{value}\", \"type\": \"string\"}}}},\n  \
         \"resources\": []\n}}\n"
    )
}

/// `run` with a script that says `PID`, reads a line and goes on; all of it can be stopped.
struct Holder {
    run: Child,
    command: Watched,
    guard: Watched,
    lines: BufReader<std::process::ChildStdout>,
}

impl Holder {
    fn start(server: &Server, on_loss: &str, then: &str) -> Self {
        let script = format!("echo $$; read line; {then}");
        let command = ["run", "--state", "dev/app", "--ttl", "2s", "--on-loss", on_loss, "--", "sh", "-c", &script];
        let mut run = server.leasehold(&command).stdin(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(run.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let command = Watched::new(line.trim().parse().expect("the command says its pid"));
        let guard = command.parent();
        Self { run, command, guard, lines }
    }

    /// The whole tree: the guard's group has the command and what it starts.
    fn stop(&self) {
        signal(self.run.id(), Signal::STOP);
        signal_group(self.guard.pid, Signal::STOP);
    }

    fn go_on(&mut self) {
        self.run.stdin.take().unwrap().write_all(b"go\n").unwrap();
        signal_group(self.guard.pid, Signal::CONT);
        signal(self.run.id(), Signal::CONT);
    }
}

async fn expired(server: &Server) {
    let mut watcher = server.client().watch("dev/app", "");
    crate::rig::until("the lease expires", || {
        let client = server.client();
        async move { client.lock("dev/app").await.unwrap().holders.is_empty() }
    })
    .await;
    within("the watch", watcher.next()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_holder_writes_a_draft_that_its_successor_promotes() {
    let server = Server::start(TIGHT);
    server.lock_delay(Duration::ZERO);
    let write = |name: &str, text: &str| {
        let file = server.file(name);
        std::fs::write(&file, text).unwrap();
        file.into_os_string().into_string().unwrap()
    };
    let first = write("first.tfstate", &document(1, "first"));
    // Serials collide: both go on from the first.
    let late = write("late.tfstate", &document(2, "late"));
    let other = write("other.tfstate", &document(2, "other"));
    server.ok(&["state", "push", "dev/app", &first]);

    let leasehold = env!("CARGO_BIN_EXE_leasehold");
    let mut holder = Holder::start(&server, "continue", &format!("'{leasehold}' state push dev/app '{late}'; exit $?"));
    holder.stop();
    server.ok(&["run", "--state", "dev/app", "--ttl", "2s", "--wait", "2m", "--", leasehold, "state", "push", "dev/app", &other]);
    holder.go_on();
    let ended = finish(holder.run);
    assert_eq!(ended.code, 6, "{}", ended.err);
    assert!(ended.err.contains("LEASE_LOST") || ended.err.contains("lease"), "{}", ended.err);

    assert_eq!(server.ok(&["state", "pull", "dev/app"]).out, document(2, "other"), "nothing of the late one was applied");
    let drafts = server.ok(&["state", "drafts", "list", "dev/app", "--output", "json"]).json();
    let [draft] = drafts.as_array().unwrap().as_slice() else { panic!("{drafts}") };
    assert_eq!(draft["reason"], "LEASE_LOST");
    let name = draft["draft"].as_str().unwrap();
    assert_eq!(server.ok(&["state", "pull", "dev/app", "--draft", name]).out, document(2, "late"));

    let run = ["run", "--state", "dev/app", "--", leasehold, "state", "drafts", "promote", "dev/app", name, "--output", "json"];
    let promoted = server.ok(&run).json();
    assert_eq!((&promoted["version"], &promoted["serial"]), (&"3".into(), &"3".into()), "{promoted}");
    assert_eq!(server.ok(&["state", "pull", "dev/app"]).out, document(3, "late"), "only the serial differs");
    let drafts = server.ok(&["state", "drafts", "list", "dev/app", "--output", "json"]).json();
    assert_eq!(drafts.as_array().unwrap().len(), 0, "{drafts}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_holder_ends_its_command_when_it_wakes_up() {
    let server = Server::start(TIGHT);
    server.lock_delay(Duration::ZERO);
    let mut holder = Holder::start(&server, "interrupt", "echo went on; exec sleep 600");
    holder.stop();
    expired(&server).await;
    holder.go_on();
    holder.command.must_end();
    holder.guard.must_end();
    assert_ne!(finish(holder.run).code, 0);
    drop(holder.lines);
}

/// Whoever checks the lease when a write begins, and not when it is committed, lets this one through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_under_way_when_its_lease_ends_is_kept_as_a_draft() {
    let server = Server::start(TIGHT);
    server.lock_delay(Duration::ZERO);
    let (late, other) = (document(2, &"late".repeat(100_000)), document(2, "other"));
    let client = server.client();
    let ask = |session| Ask { ttl: Some(Duration::from_secs(1)), wait: BOUND, ..Ask::exclusive("dev/app", session) };
    let lease = client.acquire(&ask("late"), |_| ()).await.unwrap().reference;
    client.push(&lease, &PushAsk::default(), &Source::from_bytes(document(1, "first")), |_| ()).await.unwrap();

    let (mut pipe, reader) = tokio::io::duplex(1 << 20);
    let (begun, mut begins) = tokio::sync::mpsc::channel(1);
    let source = Source::from_reader(reader, late.len() as u64);
    let ask_late = PushAsk::default();
    let pushing = client.push(&lease, &ask_late, &source, |_| _ = begun.try_send(()));
    let meanwhile = async {
        let (first, rest) = late.as_bytes().split_at(300_000);
        pipe.write_all(first).await.unwrap();
        within("the write begins", begins.recv()).await.unwrap();
        let lease = client.acquire(&ask("other"), |_| ()).await.unwrap().reference;
        client.push(&lease, &PushAsk::default(), &Source::from_bytes(other.clone()), |_| ()).await.unwrap();
        client.release(&lease, false).await.unwrap();
        pipe.write_all(rest).await.unwrap();
        drop(pipe);
    };
    let (pushed, ()) = tokio::join!(pushing, meanwhile);
    let error = pushed.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::LeaseLost(_)), "{error}");
    let draft = error.draft().expect("the error names it");
    assert_eq!(server.ok(&["state", "pull", "dev/app"]).out, other);
    assert_eq!(server.ok(&["state", "pull", "dev/app", "--draft", draft]).out, late);
}
