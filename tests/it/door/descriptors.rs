//! Running out of file descriptors, in a child process with a low limit of them.

use std::process::Stdio;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::*;

const CHILD: &str = "LEASEHOLD_TEST_DESCRIPTORS_CHILD";
const DESCRIPTORS: u64 = 60;

#[tokio::test]
async fn door_without_descriptors_waits_and_serves_again() {
    let (child, addr) = start_child().await;
    let pid = child.id().unwrap();

    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(addr).await.unwrap());
    }
    within(async {
        while open_descriptors(pid) < DESCRIPTORS as usize {
            tokio::task::yield_now().await
        }
    })
    .await;
    let before = cpu_ticks(pid);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let spent = cpu_ticks(pid) - before;
    assert!(spent <= 20, "{spent} ticks of CPU in 2 s: the accept loop spins");

    // Those that have waited in vain for a while are told.
    let mut told = 0;
    for stream in &mut idle {
        let mut byte = [0];
        let read = timeout(Duration::from_millis(1), stream.read(&mut byte)).await;
        told += usize::from(matches!(read, Ok(Ok(0) | Err(_))));
    }
    assert!(told >= 200 - DESCRIPTORS as usize, "{told} of those that are too many were told");

    drop(idle);
    let hello = async {
        let (mut sender, connection) =
            http1::handshake::<_, Body>(TokioIo::new(TcpStream::connect(addr).await.unwrap())).await.unwrap();
        tokio::spawn(connection);
        text(sender.send_request(get_request("/")).await.unwrap()).await
    };
    assert_eq!(timeout(Duration::from_secs(5), hello).await.expect("soon"), "hello");
    let (errors, refused) = stop_child(child).await;
    assert!(errors > 0, "the limit was never reached");
    assert!(refused >= told as u64, "{refused} were counted, and {told} were told");
}

/// Not a test of its own: the server of the test above.
#[tokio::test]
#[ignore = "the child process of another test"]
async fn child_with_few_descriptors() {
    #[expect(clippy::disallowed_methods, reason = "the way to tell the child from a run of all ignored tests")]
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    connections_fit_the_descriptors();
    let limits = Limits { first_frame: PATIENCE * 2, drain: Duration::from_millis(1), ..Limits::default() };
    let door = Door::open(limits).await;
    println!("\nLISTENING {}", door.addr);
    set_descriptors(DESCRIPTORS, DESCRIPTORS);
    // The parent closes our stdin to end us, also by dying.
    let _ = tokio::io::stdin().read(&mut [0]).await;
    let stats = door.close().await;
    println!("ERRORS {}\nREFUSED {}", stats.accept_errors, stats.refused);
}

/// In the child, too, since the limit is the process's. Each step only lowers the hard limit, which only root may raise.
fn connections_fit_the_descriptors() {
    set_descriptors(200, 900);
    let few = Limits { connections: 500, ..Limits::default() }.fit_descriptors().unwrap();
    assert_eq!(few.connections, 500, "the soft limit is raised for them");
    assert_eq!(getrlimit(Resource::Nofile).current, Some(500 + Limits::RESERVED_DESCRIPTORS as u64));
    set_descriptors(200, 400);
    let many = Limits::default().fit_descriptors().unwrap();
    assert_eq!((many.connections, many.connections_per_peer), (400 - 128, 136));
    set_descriptors(128, 128);
    let few = Limits::default().fit_descriptors().unwrap();
    assert_eq!((few.connections, few.connections_per_peer), (64, 32));
    set_descriptors(64, 64);
    let error = Limits::default().fit_descriptors().unwrap_err();
    assert!(error.to_string().contains("ulimit -n"), "{error}");
}

fn set_descriptors(soft: u64, hard: u64) {
    setrlimit(Resource::Nofile, Rlimit { current: Some(soft), maximum: Some(hard) }).unwrap();
}

async fn start_child() -> (Child, SocketAddr) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "door::descriptors::child_with_few_descriptors", "--ignored", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let addr = value_of(&mut child, "LISTENING ").await.parse().unwrap();
    (child, addr)
}

/// How often it could not accept, and how many it turned away.
async fn stop_child(mut child: Child) -> (u64, u64) {
    drop(child.stdin.take());
    let errors = value_of(&mut child, "ERRORS ").await.parse().unwrap();
    let refused = value_of(&mut child, "REFUSED ").await.parse().unwrap();
    within(child.wait()).await.unwrap();
    (errors, refused)
}

/// The rest of the line of the child's output that begins with `key`.
async fn value_of(child: &mut Child, key: &str) -> String {
    let mut lines = BufReader::with_capacity(1, child.stdout.as_mut().unwrap()).lines();
    loop {
        let line = within(lines.next_line()).await.unwrap().expect("the child ended early");
        if let Some(value) = line.strip_prefix(key) {
            return value.to_owned();
        }
    }
}

fn open_descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// User and system time of a process, in ticks of 10 ms.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
