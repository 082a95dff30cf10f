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

#[tokio::test]
async fn open_connections_are_counted_and_refused_ones_by_their_cap() {
    let door = Door::open(Limits { connections: 3, connections_per_peer: 2, ..Limits::default() }).await;
    let of = async |address: &str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(address.parse().unwrap()).unwrap();
        socket.connect(door.addr).await.unwrap()
    };
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
    let (mut read, mut write) = plain.connect().await.into_split();
    // Answers to pings that nobody asked for.
    let mut flood = [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    flood.extend([0, 0, 8, 6, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8].repeat(20_000));
    let drained = tokio::spawn(async move { until_closed(&mut read).await });
    let _ = write.write_all(&flood).await;
    drained.await.unwrap();
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
