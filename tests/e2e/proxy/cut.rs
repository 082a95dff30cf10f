//! A network that is cut for a while.

use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Held, STATE, document};
use crate::rig::{Server, TIGHT};

/// A TCP relay to the server that can be cut: what is open ends, and what is new is closed at once.
struct Relay {
    address: String,
    wires: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Relay {
    fn start(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let wires = Arc::new(Mutex::new(Some(Vec::new())));
        let (to, open) = (server.door().0.trim_start_matches("http://").to_owned(), Arc::clone(&wires));
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                let mut open = open.lock().unwrap();
                let Some(wires) = open.as_mut() else { continue };
                let Ok(far) = TcpStream::connect(&to) else { continue };
                for (mut from, mut to) in
                    [(&near, &far), (&far, &near)].map(|(a, b)| (a.try_clone().unwrap(), b.try_clone().unwrap()))
                {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
                wires.extend([near, far]);
            }
        });
        Self { address, wires }
    }

    fn cut(&self) {
        let wires = self.wires.lock().unwrap().take().expect("it is not cut");
        wires.iter().for_each(|wire| _ = wire.shutdown(std::net::Shutdown::Both));
    }

    fn heal(&self) {
        *self.wires.lock().unwrap() = Some(Vec::new());
    }
}

/// Cuts that begin at any point between two renewals, each 0.28 of the ttl long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_shorter_than_three_tenths_of_the_ttl_goes_unnoticed() {
    const TTL: Duration = Duration::from_secs(5);
    let server = Server::start(TIGHT);
    let relay = Relay::start(&server);
    let flags = ["--ttl", "5s"];
    let held = Held::start_with(&server, &flags, |command| _ = command.env("LEASEHOLD_SERVER", &relay.address));
    let mut serial = 0;
    for n in 0..4 {
        tokio::time::sleep(TTL.mul_f64(0.11 * f64::from(n))).await;
        relay.cut();
        let cut = tokio::time::sleep(TTL.mul_f64(0.28));
        serial += 1;
        // A write that meets the cut is made when it is over.
        let written = std::thread::scope(|scope| {
            let writing = scope.spawn(|| held.ask("POST", "", &document(serial, "through")).status);
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(cut));
            relay.heal();
            writing.join().unwrap()
        });
        assert_eq!(written, 200, "round {n}");
        assert_eq!(held.ask("GET", "", "").body, document(serial, "through"));
    }
    let ended = held.end();
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "nothing was said, and nobody was interrupted: {}", ended.out);
    let lock = server.ok(&["lease", "show", STATE, "--output", "json"]).json();
    assert_eq!(lock["holders"].as_array().unwrap().len(), 0, "it was released, and did not expire: {lock}");
}
