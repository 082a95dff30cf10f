//! What a door counts while it serves.

use super::*;

/// Looks until this holds; the door notices ends a moment after they happen.
async fn comes(counts: &Counts, holds: impl Fn(&Counts) -> bool) {
    let look = async {
        while !holds(counts) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("{counts:?}"));
}

/// Answers to pings that nobody asked for, until the door has enough of it.
async fn flood(tcp: TcpStream) {
    let (mut read, mut write) = tcp.into_split();
    let mut frames = [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    frames.extend([0, 0, 8, 6, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8].repeat(20_000));
    let drained = tokio::spawn(async move { until_closed(&mut read).await });
    let _ = write.write_all(&frames).await;
    drained.await.unwrap();
}

/// Calls that are given up at once, faster than anybody could look at them, until the door has enough of it.
async fn reset(tcp: TcpStream) {
    let (mut read, mut write) = tcp.into_split();
    let mut frames = [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    // GET / over http of the authority `t`, in the static table of HPACK.
    let head = [0x82, 0x86, 0x84, 0x41, 1, b't'];
    for stream in (1..2_001_u32).step_by(2).map(u32::to_be_bytes) {
        frames.extend([&[0, 0, head.len() as u8, 1, 5], &stream[..], &head].concat());
        frames.extend([&[0, 0, 4, 3, 0], &stream[..], &[0, 0, 0, 8]].concat());
    }
    let drained = tokio::spawn(async move { until_closed(&mut read).await });
    let _ = write.write_all(&frames).await;
    drained.await.unwrap();
}

/// A connection from an address of the loopback network.
async fn from(address: &str, door: &Door) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(address.parse().unwrap()).unwrap();
    socket.connect(door.addr).await.unwrap()
}

#[tokio::test]
async fn peer_that_floods_again_and_again_waits_and_others_do_not() {
    const PAUSE: Duration = Duration::from_secs(3);
    let door = Door::open(Limits { flood_pause: PAUSE, ..Limits::default() }).await;
    flood(from("127.0.0.2:0", &door).await).await;
    for n in 1..=3 {
        comes(&door.counts, |counts| counts.flooded.get() == n).await;
        if n < 3 {
            reset(from("127.0.0.2:0", &door).await).await;
        }
    }
    let asked = async |address: &str| {
        let mut tcp = from(address, &door).await;
        send(&mut tcp, b"GET /nothing HTTP/1.1\r\nhost: test\r\n\r\n").await;
        tcp.read_u8().await.unwrap()
    };
    // Began first, and is answered last.
    let mut late = std::pin::pin!(asked("127.0.0.2:0"));
    tokio::select! {
        biased;
        _ = &mut late => panic!("it did not wait"),
        first = asked("127.0.0.3:0") => assert_eq!(first, b'H'),
    }
    assert_eq!(timeout(PATIENCE, late).await.unwrap(), b'H', "it waits, and is served");
}

#[tokio::test]
async fn open_connections_are_counted_and_refused_ones_by_their_cap() {
    let door = Door::open(Limits { connections: 3, connections_per_peer: 2, ..Limits::default() }).await;
    let of = async |address: &str| from(address, &door).await;
    let (one, _two) = (of("127.0.0.2:0").await, of("127.0.0.2:0").await);
    comes(&door.counts, |counts| counts.open.get() == 2).await;
    until_closed(of("127.0.0.2:0").await).await;
    assert_eq!((door.counts.over_peer.get(), door.counts.over_total.get()), (1, 0));
    let _three = of("127.0.0.3:0").await;
    until_closed(of("127.0.0.4:0").await).await;
    assert_eq!((door.counts.over_peer.get(), door.counts.over_total.get()), (1, 1));
    drop(one);
    comes(&door.counts, |counts| counts.open.get() == 2).await;
    assert_eq!(door.counts.accepted.get(), 3);
    let counts = Arc::clone(&door.counts);
    let stats = door.close().await;
    assert_eq!((stats.refused, stats.accepted, counts.open.get()), (2, 3, 0));
}

#[tokio::test]
async fn connections_are_counted_by_what_they_ended_with() {
    let plain = Door::open(small()).await;
    let counts = Arc::clone(&plain.counts);
    until_closed(plain.connect().await).await;
    comes(&counts, |counts| counts.timed_out.get() == 1).await;
    flood(plain.connect().await).await;
    comes(&counts, |counts| counts.flooded.get() == 1).await;
    assert_eq!((counts.failed.get(), counts.untrusted.get(), counts.timed_out.get()), (0, 0, 1));
    assert_eq!(plain.close().await.failed, 1);

    let secure = Door::open_with(small(), Some(Certificate::new().acceptor())).await;
    let mut tcp = secure.connect().await;
    send(&mut tcp, b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    until_closed(tcp).await;
    comes(&secure.counts, |counts| counts.untrusted.get() == 1).await;
    assert_eq!(secure.close().await.failed, 1);
}
