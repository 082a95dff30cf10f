//! Connections that say too little, or too slowly: they go, and who has something to say is served meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use leasehold::client::{ApiToken, Client, Settings, Which};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::rig::{BOUND, Server, Writer, now, number, read, until, within};

/// What the issue allows; the server's limits are 10 s.
const GONE: Duration = Duration::from_secs(15);

/// What a connection says before it falls silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nothing,
    HalfHello,
    Handshake,
    HalfPreface,
    HalfFrame,
    HalfHead,
    /// A request whose body comes at one byte per second, from somebody who may make it.
    SlowBody,
}

const KINDS: [Kind; 7] =
    [Kind::Nothing, Kind::HalfHello, Kind::Handshake, Kind::HalfPreface, Kind::HalfFrame, Kind::HalfHead, Kind::SlowBody];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_too_little_are_gone_in_15_s_while_others_are_served() {
    let count = number("LEASEHOLD_CONNECTIONS", 1_000);
    allow_descriptors(count as u64 + 500);
    let target = Target::start(&format!("max_connections = {0}\nmax_connections_per_peer = {0}\n", count + 200));
    let over = Arc::new(AtomicBool::new(false));
    let served = tokio::spawn(be_served(target.way(), over.clone()));

    let mut attackers = JoinSet::new();
    for n in 0..count {
        let (kind, address, tls, authorization) =
            (KINDS[n % KINDS.len()], target.address, target.tls.clone(), target.authorization());
        attackers.spawn(async move { (kind, attack(kind, address, &tls, &authorization).await) });
        // Handshakes cost both sides: without a pause this would be a test of those.
        if n % 50 == 49 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let mut longest = Duration::ZERO;
    while let Some(ended) = within("the connections", attackers.join_next()).await {
        let (kind, lasted) = ended.unwrap();
        assert!(lasted <= GONE, "{kind:?} was closed after {lasted:?}");
        assert!(lasted >= Duration::from_secs(3), "{kind:?} was closed after {lasted:?}, before its time");
        longest = longest.max(lasted);
    }
    over.store(true, Ordering::Relaxed);
    let rounds = served.await.unwrap();
    println!("{count} connections, the last gone after {longest:?}; {rounds} rounds were served meanwhile");
    assert!(rounds >= 10, "only {rounds} rounds were served");
    // The slots are free again, to the last one.
    until("descriptors are free again", async || descriptors(target.server.pid()) < 100).await;
}

/// The server has 128 descriptors, and 300 clients come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_of_128_descriptors_outlives_300_connections() {
    let mut server = Server::stopped("max_connections_per_peer = 4000\n");
    server.start_under("ulimit -n 128");
    let client = server.client();
    let writer = Writer::of(&client, "dev/app").await;
    writer.write(b"{\"n\": 1}").await;
    let address: SocketAddr = server.door().0.trim_start_matches("http://").parse().unwrap();
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(TcpStream::connect(address).await.unwrap());
    }
    let before = ticks(server.pid());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let spent = ticks(server.pid()) - before;
    // A loop that spins takes all of a core, 200 ticks; the figure that is promised stands with the benchmarks.
    assert!(spent <= 40, "{spent} ticks of CPU in 2 s with nothing to do");
    writer.write(b"{\"n\": 2}").await;
    drop(crowd);
    let began = now();
    let fresh = server.client();
    assert_eq!(read(&fresh, "dev/app", Which::Current).await.unwrap(), b"{\"n\": 2}");
    println!("a new client was served {:?} after the crowd had gone; {spent} ticks in 2 s before", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(5), "recovered after {:?}", began.elapsed());
}

/// A server with TLS, and what its clients need.
struct Target {
    server: Server,
    address: SocketAddr,
    ca: Vec<u8>,
    tls: TlsConnector,
}

impl Target {
    fn start(config: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let mut server = Server::stopped(config);
        let (cert, key) = (server.file("cert.pem"), server.file("key.pem"));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        server.start_as(|command| {
            command.arg("--tls-cert").arg(cert).arg("--tls-key").arg(key);
        });
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let address = server.door().0.trim_start_matches("http://").parse().unwrap();
        Self { server, address, ca: made.cert.pem().into_bytes(), tls: TlsConnector::from(Arc::new(tls)) }
    }

    fn way(&self) -> Way {
        Way { server: format!("https://{}", self.address), token: self.server.door().1, ca: self.ca.clone() }
    }

    fn authorization(&self) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(format!("ci:{}", self.server.door().1)))
    }
}

/// How a client gets in.
struct Way {
    server: String,
    token: String,
    ca: Vec<u8>,
}

impl Way {
    /// Without patience: what fails once has failed.
    fn client(&self) -> Client {
        let token = ApiToken::parse(Zeroizing::new(self.token.clone())).unwrap();
        let (server, ca) = (self.server.clone(), Some(self.ca.clone()));
        Client::connect(Settings { server, token: Some(token), ca, patience: Duration::ZERO, ..Settings::default() }).unwrap()
    }
}

/// Takes, writes, reads and gives back, on a connection that stays and on a new one each time. Every call has to succeed.
async fn be_served(way: Way, over: Arc<AtomicBool>) -> usize {
    let (staying, mut rounds) = (way.client(), 0);
    while !over.load(Ordering::Relaxed) {
        let document = format!("{{\"n\": {rounds}}}");
        let round = async {
            let writer = Writer::of(&staying, "dev/served").await;
            writer.write(document.as_bytes()).await;
            writer.release().await;
            assert_eq!(read(&way.client(), "dev/served", Which::Current).await.unwrap(), document.as_bytes());
        };
        within("a round", round).await;
        rounds += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rounds
}

/// Connects, says what there is to say, and waits for the close: how long it took from the last thing said that was whole.
async fn attack(kind: Kind, address: SocketAddr, tls: &TlsConnector, authorization: &str) -> Duration {
    let socket = TcpSocket::new_v4().unwrap();
    // Another host than the one that wants to be served.
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut tcp = socket.connect(address).await.unwrap();
    let began = now();
    if kind == Kind::Nothing || kind == Kind::HalfHello {
        if kind == Kind::HalfHello {
            tcp.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
        }
        until_closed(tcp).await;
        return began.elapsed();
    }
    let mut stream = tls.connect("127.0.0.1".try_into().unwrap(), tcp).await.unwrap();
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    match kind {
        Kind::HalfPreface => say(&mut stream, &PREFACE[..12]).await,
        Kind::HalfFrame => say(&mut stream, &[PREFACE, &[0, 0, 6, 4, 0]].concat()).await,
        Kind::HalfHead => say(&mut stream, b"GET /terraform/v1/dev/app HTTP/1.1\r\nhost: te").await,
        Kind::SlowBody => {
            let head = format!(
                "POST /terraform/v1/dev/slow HTTP/1.1\r\nhost: test\r\nauthorization: {authorization}\r\ncontent-length: 1000\r\n\r\n"
            );
            say(&mut stream, head.as_bytes()).await;
            let began = now();
            let (read, write) = tokio::io::split(stream);
            tokio::select! {
                () = until_closed(read) => {}
                () = drip(write) => unreachable!("it drips for ever"),
            }
            return began.elapsed();
        }
        _ => {}
    }
    until_closed(stream).await;
    began.elapsed()
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
}

async fn drip(mut write: impl AsyncWrite + Unpin) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // The reader sees the end.
        let _ = write.write_all(b" ").await;
        let _ = write.flush().await;
    }
}

async fn until_closed(mut stream: impl AsyncRead + Unpin) {
    // A reset is a close, too.
    let _ = tokio::time::timeout(BOUND, stream.read_to_end(&mut Vec::new())).await.expect("it is closed at some time");
}

fn allow_descriptors(count: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < count) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum: limit.maximum }).unwrap();
    }
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// User and system time of a process, in ticks of 10 ms.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
