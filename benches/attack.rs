//! What clients that behave feel of others that do not: pairs of runs on one server, without and with an attack, one line each:
//! `leasehold attack=… ops_per_s=… p50_us=… p99_us=… max_us=… server_cpu_us=…`, and the ratio of the p99s.
//!
//! - `silent`: connections that say nothing, half a preface, half a frame, half a head of HTTP/1.1, or a body at one byte per second from
//!   somebody who may send it; as many at once as `LEASEHOLD_CONNECTIONS` says (10,000), and a new one for each that the server closes.
//! - `floods`: eight connections that send PING frames, calls that are given up at once, and DATA of one byte, as fast as they can, and come back
//!   when they are closed.
//! - `descriptors`: a server with 128 descriptors and 300 connections: how much CPU it takes with nothing to do, and how long until a new client is
//!   served once they are gone.
//!
//! The clients that behave take a lease and release it, 16 of them on eight connections, each with a pause of 5 ms. `LEASEHOLD_BENCH_SECONDS` sets the
//! length of a run (5), `LEASEHOLD_BENCH_PAIRS` how many pairs there are (3). The attackers are
//! a process of its own that stands back behind the others (nice 19), since they share a machine that real ones would not: what is measured is what the
//! server and its kernel have to do for them.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark stops where it fails, and prints")]
#![allow(clippy::disallowed_methods, reason = "it measures time and reads its own settings")]

#[path = "load/server.rs"]
#[allow(dead_code, reason = "shared with the benchmark of load")]
mod server;
#[path = "load/work.rs"]
#[allow(dead_code, reason = "shared with the benchmark of load")]
mod work;

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use work::Client;

#[derive(Clone, Copy, PartialEq)]
#[allow(dead_code, reason = "shared with the benchmark of load")]
enum Op {
    Noop,
    Lock,
    Handoff,
    Put(usize),
}

impl Op {
    fn name(self) -> &'static str {
        "attacked"
    }
}

const CLIENTS: usize = 16;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if let [attackers, name, count, address] = &wanted[..]
        && attackers == ATTACKERS
    {
        // Of this thread, and of those that it starts.
        rustix::process::nice(19).unwrap();
        return runtime().block_on(attackers_of(name, count.parse().unwrap(), address));
    }
    runtime().block_on(async {
        let connections = number("LEASEHOLD_CONNECTIONS", 10_000);
        if wants("silent") {
            allow_descriptors(connections + 500);
            pairs("silent", connections).await;
        }
        if wants("floods") {
            pairs("floods", 8).await;
        }
        if wants("descriptors") {
            descriptors().await;
        }
    });
}

/// The first argument of the process that attacks.
const ATTACKERS: &str = "attackers";

async fn pairs(name: &str, attackers: u64) {
    let settings = format!("max_connections = {0}\nmax_connections_per_peer = {0}\n", attackers + 500);
    let server = Server::start_with(None, &settings, None).await;
    let (median, p99) = server.fdatasync();
    println!("fdatasync of 4 KiB: p50 {median} us, p99 {p99} us");
    for _ in 0..number("LEASEHOLD_BENCH_PAIRS", 3) {
        let quiet = measure("none", &server).await;
        let mut attack = tokio::process::Command::new(std::env::current_exe().unwrap());
        attack.args([ATTACKERS, name, &attackers.to_string(), &server.address]).env("LEASEHOLD_TOKEN", &server.token);
        let mut attack = attack.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let attacked = measure(name, &server).await;
        // It ends when it has nobody to listen to, and says how often it was thrown out.
        drop(attack.stdin.take());
        let ended = attack.wait_with_output().await.unwrap().stdout;
        println!(
            "  {attackers} attackers, {} times closed; p99 is {:.2} times that without",
            String::from_utf8(ended).unwrap().trim(),
            attacked as f64 / quiet as f64
        );
        // What was sent last is still being read, and slots are given back.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Attacks until its standard input ends; then prints how many connections the server has closed.
async fn attackers_of(name: &str, attackers: u64, address: &str) {
    allow_descriptors(attackers + 100);
    let token = std::env::var("LEASEHOLD_TOKEN").unwrap();
    let flooding = name == "floods";
    let ended = Arc::new(AtomicU64::new(0));
    let mut attacking = JoinSet::new();
    for n in 0..attackers {
        let (address, token, ended) = (address.to_owned(), token.clone(), ended.clone());
        attacking.spawn(async move {
            loop {
                if flooding {
                    flood(n, address.clone()).await;
                } else {
                    silent(n, address.clone(), token.clone()).await;
                }
                ended.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await.unwrap();
    println!("{}", ended.load(Ordering::Relaxed));
    // All at once, without waiting for anything that is under way.
    std::process::exit(0);
}

/// Runs the clients that behave; the p99 in microseconds.
async fn measure(attack: &str, server: &Server) -> u64 {
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    let (before, began) = (server.cpu(), Instant::now());
    for n in 0..CLIENTS {
        let (mut client, over) = (Client::new(server, n, Op::Lock).await, over.clone());
        clients.spawn(async move {
            let mut took = Histogram::<u64>::new(3).unwrap();
            while !over.load(Ordering::Relaxed) {
                let began = Instant::now();
                client.one().await;
                took.record(u64::try_from(began.elapsed().as_micros()).unwrap()).unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            took
        });
    }
    tokio::time::sleep(Duration::from_secs(number("LEASEHOLD_BENCH_SECONDS", 5))).await;
    over.store(true, Ordering::Relaxed);
    let mut took = Histogram::<u64>::new(3).unwrap();
    while let Some(one) = clients.join_next().await {
        took.add(one.unwrap()).unwrap();
    }
    let cpu = server.cpu().zip(before).map_or(Duration::ZERO, |(after, before)| after - before);
    println!(
        "leasehold attack={attack} ops_per_s={:.0} p50_us={} p99_us={} max_us={} server_cpu_us={}",
        took.len() as f64 / began.elapsed().as_secs_f64(),
        took.value_at_quantile(0.5),
        took.value_at_quantile(0.99),
        took.max(),
        cpu.as_micros() / u128::from(took.len().max(1)),
    );
    took.value_at_quantile(0.99)
}

/// Says too little, and waits for the close.
async fn silent(n: u64, address: String, token: String) {
    // They do not all come in one millisecond.
    tokio::time::sleep(Duration::from_micros(n % 10_000 * 100)).await;
    let Some(mut tcp) = connect(n, &address).await else { return };
    let authorization = BASE64_STANDARD.encode(format!("ci:{token}"));
    let slow = format!(
        "POST /terraform/v1/dev/slow HTTP/1.1\r\nhost: test\r\nauthorization: Basic {authorization}\r\ncontent-length: 1000\r\n\r\n"
    );
    let said = match n % 5 {
        0 => &b""[..],
        1 => &PREFACE[..12],
        2 => &[PREFACE, &[0, 0, 6, 4, 0]].concat(),
        3 => b"GET / HTTP/1.1\r\nhost: te",
        _ => slow.as_bytes(),
    };
    if tcp.write_all(said).await.is_err() {
        return;
    }
    let (mut read, mut write) = tcp.split();
    let mut answer = Vec::new();
    let drip = async {
        if n % 5 != 4 {
            std::future::pending::<()>().await;
        }
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let _ = write.write_all(b" ").await;
        }
    };
    tokio::select! {
        _ = read.read_to_end(&mut answer) => {}
        () = drip => {}
    }
}

/// Sends frames in vain until it is cut off.
async fn flood(n: u64, address: String) {
    let Some(mut tcp) = connect(n, &address).await else { return };
    let (mut read, mut write) = tcp.split();
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let path = b"/grpc.health.v1.Health/Check";
    let block = [&[0x83, 0x86, 4, u8::try_from(path.len()).unwrap()][..], path, &[1, 4], b"test"].concat();
    let send = async {
        write.write_all(&[PREFACE, &frame(4, 0, 0, b"")].concat()).await?;
        write.write_all(&frame(1, 4, 1, &block)).await?;
        for round in 0_u32.. {
            let bytes = match n % 3 {
                0 => frame(6, 0, 0, &[0; 8]).repeat(100),
                1 => frame(0, 0, 1, b"x").repeat(100),
                _ => {
                    let stream = 2 * round + 3;
                    [frame(1, 4, stream, &block), frame(3, 0, stream, &8_u32.to_be_bytes())].concat()
                }
            };
            write.write_all(&bytes).await?;
        }
        std::io::Result::Ok(())
    };
    let mut sink = tokio::io::sink();
    tokio::select! {
        _ = send => {}
        _ = tokio::io::copy(&mut read, &mut sink) => {}
    }
}

/// From other addresses than the clients that behave; from many, since each has only so many ports, and what was closed keeps them for a minute.
async fn connect(n: u64, address: &str) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    let (run, host) = (std::process::id() % 250, n % 100);
    let [run, host] = [u64::from(run), host].map(|part| u8::try_from(part + 1).unwrap());
    socket.bind(SocketAddr::from(([127, run, host, 2], 0))).ok()?;
    socket.connect(address.parse().unwrap()).await.ok()
}

async fn descriptors() {
    let server = Server::start_with(None, "max_connections_per_peer = 4000\n", Some(128)).await;
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(TcpStream::connect(&server.address).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (before, began) = (server.cpu().unwrap(), Instant::now());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (spent, passed) = (server.cpu().unwrap() - before, began.elapsed());
    drop(crowd);
    let began = Instant::now();
    let served = loop {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
        if let Ok(channel) = endpoint.connect().await {
            let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
            if health.check(tonic_health::pb::HealthCheckRequest::default()).await.is_ok() {
                break began.elapsed();
            }
        }
    };
    println!(
        "leasehold attack=descriptors cpu_percent={:.1} recovered_after_us={}",
        100.0 * spent.as_secs_f64() / passed.as_secs_f64(),
        served.as_micros()
    );
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn allow_descriptors(count: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < count) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum: limit.maximum }).unwrap();
    }
}
