//! Peers that keep the form of HTTP/2 and flood the server with frames, or announce more than they may send: they are refused, the memory of the
//! server does not grow, and others are served.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::memory::peak;
use crate::rig::{BOUND, Server, TIGHT};

const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The server's memory may grow by this over all attacks: a connection's windows, and noise.
const GROWTH: u64 = 24 << 20;

#[test]
fn floods_are_refused_and_memory_stays_flat() {
    let server = Server::start(TIGHT);
    let (url, token) = server.door();
    let target = Target { address: url.trim_start_matches("http://").to_owned(), token };
    server.ok(&["env", "list"]);
    let before = peak(server.pid());
    let mut grown = Vec::new();
    for (name, attack) in ATTACKS {
        let sent = refused(&target, name, *attack);
        server.ok(&["env", "list"]);
        grown.push(format!("{name}: refused after {sent} bytes, memory {} KiB", peak(server.pid()) >> 10));
    }
    println!("{} KiB before\n{}", before >> 10, grown.join("\n"));
    assert!(peak(server.pid()) <= before + GROWTH, "{grown:#?}");
}

/// Nothing of it piles up anywhere: each call has been taken in when it is given up.
#[test]
fn calls_that_are_given_up_for_ever_end_the_connection() {
    const AT_ONCE: u32 = 16;
    let server = Server::start(TIGHT);
    let (url, token) = server.door();
    let target = Target { address: url.trim_start_matches("http://").to_owned(), token };
    let mut stream = TcpStream::connect(&target.address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, b"")[..]].concat()).unwrap();
    let (mut next, mut given_up) = (1, 0);
    loop {
        let calls = (0..AT_ONCE).map(|n| next + 2 * n);
        let mut bytes: Vec<u8> = calls.clone().flat_map(|call| target.call(call, 0)).collect();
        // One that is answered, after all before it were taken in.
        let last = next + 2 * AT_ONCE;
        bytes.extend([target.call(last, 0), frame(0, END_STREAM, last, &[0; 5])].concat());
        if stream.write_all(&bytes).is_err() || !is_answered(&mut stream, last) {
            break;
        }
        let resets: Vec<u8> = calls.flat_map(|call| frame(RST_STREAM, 0, call, &8_u32.to_be_bytes())).collect();
        if stream.write_all(&resets).is_err() {
            break;
        }
        given_up += AT_ONCE;
        next = last + 2;
        assert!(given_up < 30_000, "still served");
    }
    println!("cut off after {given_up} calls");
    assert!(given_up >= 4_096, "cut off after {given_up}: a thousand waiters that give up twice are no attack");
    server.ok(&["env", "list"]);
}

/// Waits for the end of an answer; false: the server has closed.
fn is_answered(stream: &mut TcpStream, call: u32) -> bool {
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            return false;
        }
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        if stream.read_exact(&mut payload).is_err() {
            return false;
        }
        if head[4] & END_STREAM != 0 && head[3] == HEADERS && head[5..] == call.to_be_bytes() {
            return true;
        }
    }
}

type Attack = fn(&Target, u32) -> Vec<u8>;

/// What to send first on a connection (stream 1), and then again and again.
const ATTACKS: &[(&str, Attack)] = &[
    ("rapid reset", |target, n| {
        let calls = (0..100).map(|call| 2 * (100 * n + call) + 1);
        let call = |id: u32| [target.call(id, 0), frame(RST_STREAM, 0, id, &8_u32.to_be_bytes())].concat();
        calls.flat_map(call).collect()
    }),
    ("rapid reset, one at a time", |target, n| match n % 2 {
        0 => target.call(n + 1, 0),
        _ => frame(RST_STREAM, 0, n, &8_u32.to_be_bytes()),
    }),
    ("CONTINUATION, empty", |target, n| match n {
        0 => frame(HEADERS, 0, 1, &target.block()),
        _ => frame(CONTINUATION, 0, 1, b"").repeat(100),
    }),
    ("CONTINUATION, full", |target, n| match n {
        0 => frame(HEADERS, 0, 1, &target.block()),
        _ => frame(CONTINUATION, 0, 1, &literal(b"x-more", &[b'x'; 100]).repeat(100)),
    }),
    ("header list from a table", |target, n| match n {
        0 => frame(HEADERS, END_HEADERS | END_STREAM, 1, &[target.block(), indexed(b"x-large", &[b'x'; 3_900])].concat()),
        // The entry above, 8,000 times.
        _ => frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &[target.block(), vec![0xbe; 8_000]].concat()),
    }),
    ("small DATA", |target, n| match n {
        0 => target.upload(1),
        _ => frame(0, 0, 1, b" ").repeat(100),
    }),
    ("small DATA to a call that does not read", |target, n| match n {
        // The message is announced with 2 MiB and never ends.
        0 => [target.call(1, 0), frame(0, 0, 1, &[0, 0, 0x20, 0, 0])].concat(),
        _ => frame(0, 0, 1, b"x").repeat(100),
    }),
    ("empty DATA", |target, n| match n {
        0 => target.upload(1),
        _ => frame(0, 0, 1, b"").repeat(100),
    }),
    ("padded DATA", |target, n| match n {
        0 => target.upload(1),
        _ => frame(0, 8, 1, &[&[254], &[0; 254][..]].concat()).repeat(100),
    }),
    ("PING", |_, _| frame(PING, 0, 0, &[0; 8]).repeat(100)),
    ("SETTINGS", |_, _| frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]).repeat(100)),
    ("PRIORITY", |_, _| frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 16]).repeat(100)),
    ("WINDOW_UPDATE", |_, n| match n {
        0 => Vec::new(),
        _ => frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()).repeat(100),
    }),
    ("unknown frames", |_, _| frame(200, 0, 0, b"").repeat(100)),
    ("header bomb of HTTP/1.1, one line", |_, n| match n {
        0 => b"GET / HTTP/1.1\r\nhost: test\r\nx-large: ".to_vec(),
        _ => vec![b'x'; 4_096],
    }),
    ("header bomb of HTTP/1.1, many lines", |_, n| match n {
        0 => b"GET / HTTP/1.1\r\nhost: test\r\n".to_vec(),
        _ => b"a: b\r\n".repeat(100),
    }),
];

/// Where, and with which token.
struct Target {
    address: String,
    token: String,
}

impl Target {
    /// The headers of a health check, which anybody may make.
    fn block(&self) -> Vec<u8> {
        let path = b"/grpc.health.v1.Health/Check";
        [&[0x83, 0x86][..], &literal_of(4, path), &literal_of(1, b"test"), &literal(b"content-type", b"application/grpc")]
            .concat()
    }

    /// A call whose message never comes.
    fn call(&self, stream: u32, flags: u8) -> Vec<u8> {
        frame(HEADERS, END_HEADERS | flags, stream, &self.block())
    }

    /// A state on its way in, from somebody who may write it.
    fn upload(&self, stream: u32) -> Vec<u8> {
        let block = [
            &[0x83, 0x86][..],
            &literal_of(4, b"/terraform/v1/dev/flooded"),
            &literal_of(1, b"test"),
            &literal(b"authorization", format!("Bearer {}", self.token).as_bytes()),
            &literal(b"content-length", b"10000000"),
        ];
        frame(HEADERS, END_HEADERS, stream, &block.concat())
    }
}

/// Goes on with an attack until the connection is closed, which it must be before 64 MiB are sent; how many were.
#[track_caller]
fn refused(target: &Target, name: &str, attack: Attack) -> usize {
    let mut stream = TcpStream::connect(&target.address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_write_timeout(Some(BOUND)).unwrap();
    let closed = Arc::new(AtomicBool::new(false));
    let mut answers = stream.try_clone().unwrap();
    let reader = std::thread::spawn({
        let closed = closed.clone();
        move || {
            let mut bytes = [0; 16 << 10];
            while matches!(answers.read(&mut bytes), Ok(read) if read > 0) {}
            closed.store(true, Ordering::Relaxed);
        }
    });
    let mut sent = 0;
    let mut send = |bytes: &[u8]| {
        sent += bytes.len();
        assert!(sent < 64 << 20, "{name}: not refused after {sent} bytes");
        stream.write_all(bytes).is_ok()
    };
    if !name.contains("HTTP/1.1") {
        send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        send(&frame(SETTINGS, 0, 0, b""));
    }
    let mut n = 0;
    // Also whoever is slow to close has closed: a write fails then, or the reader has seen the end.
    while !closed.load(Ordering::Relaxed) && send(&attack(target, n)) {
        n += 1;
        assert!(n < 1 << 20, "{name}: not refused after {n} pieces");
    }
    let _ = stream.shutdown(Shutdown::Both);
    reader.join().unwrap();
    sent
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header that is not put into the table.
fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0][..], &string(name), &string(value)].concat()
}

/// A header that is.
fn indexed(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0x40][..], &string(name), &string(value)].concat()
}

/// A header with a name of the static table.
fn literal_of(name: u8, value: &[u8]) -> Vec<u8> {
    [&[name][..], &string(value)].concat()
}

fn string(text: &[u8]) -> Vec<u8> {
    let mut length = Vec::new();
    match text.len() {
        short @ ..127 => length.push(u8::try_from(short).unwrap()),
        long => {
            length.push(127);
            let mut rest = long - 127;
            while rest >= 128 {
                length.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            length.push(u8::try_from(rest).unwrap());
        }
    }
    [&length, text].concat()
}

/// A gRPC message says first how long it is: up to 4 GiB.
#[tokio::test]
async fn message_of_four_gibibytes_is_refused_before_it_is_made_room_for() {
    use axum::body::Body;
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let server = Server::start(TIGHT);
    let (url, token) = server.door();
    server.ok(&["env", "list"]);
    let before = peak(server.pid());
    let tcp = tokio::net::TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    let (mut channel, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    for path in [
        "/grpc.health.v1.Health/Check",
        "/leasehold.v1.EnvironmentService/List",
        "/leasehold.v1.StateService/Push",
        "/leasehold.v1.LeaseService/Acquire",
    ] {
        let prefix = [&[0, 0xff, 0xff, 0xff, 0xff][..], &[b'x'; 1_000]].concat();
        let never = futures_util::stream::iter([Ok::<_, std::io::Error>(prefix)]);
        let never = futures_util::StreamExt::chain(never, futures_util::stream::pending());
        let request = http::Request::post(format!("{url}{path}"))
            .header("content-type", "application/grpc")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::from_stream(never))
            .unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(5), channel.send_request(request)).await.expect("at once").unwrap();
        let status = answer.headers().get("grpc-status").expect("an error, at once").to_str().unwrap();
        assert!(["3", "11"].contains(&status), "{path}: {status}");
    }
    server.ok(&["env", "list"]);
    assert!(peak(server.pid()) <= before + GROWTH, "{before} bytes, then {}", peak(server.pid()));
}
