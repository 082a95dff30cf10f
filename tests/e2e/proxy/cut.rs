//! A network that is cut for a while.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Held, STATE, document};
use crate::rig::{Server, TIGHT, until};

/// A TCP relay to the server that can be cut.
struct Relay {
    address: String,
    network: Arc<Mutex<Network>>,
}

#[derive(Default)]
struct Network {
    trouble: Option<Trouble>,
    /// Both ends of what is open.
    wires: Vec<TcpStream>,
    /// Tells the pumps of these wires that nothing gets through any more, for ever.
    dead: Arc<AtomicBool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// What is open ends, and what is new is closed at once.
    Closed,
    /// Everything stays open and nothing gets through; what was open then stays dead when the network is back.
    Silent,
}

impl Relay {
    fn start(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let network = Arc::new(Mutex::new(Network::default()));
        let (to, shared) = (server.door().0.trim_start_matches("http://").to_owned(), Arc::clone(&network));
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                let mut network = shared.lock().unwrap();
                match network.trouble {
                    Some(Trouble::Closed) => {}
                    Some(Trouble::Silent) => network.wires.push(near),
                    None => {
                        let Ok(far) = TcpStream::connect(&to) else { continue };
                        pump(&near, &far, &network.dead);
                        pump(&far, &near, &network.dead);
                        network.wires.extend([near, far]);
                    }
                }
            }
        });
        Self { address, network }
    }

    fn cut(&self, trouble: Trouble) {
        let mut network = self.network.lock().unwrap();
        network.trouble = Some(trouble);
        match trouble {
            Trouble::Closed => network.wires.drain(..).for_each(|wire| _ = wire.shutdown(Shutdown::Both)),
            Trouble::Silent => std::mem::take(&mut network.dead).store(true, Ordering::SeqCst),
        }
    }

    fn heal(&self) {
        self.network.lock().unwrap().trouble = None;
    }
}

fn pump(from: &TcpStream, to: &TcpStream, dead: &Arc<AtomicBool>) {
    let (mut from, mut to, dead) = (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(dead));
    std::thread::spawn(move || {
        let mut piece = [0; 16 << 10];
        while let Ok(n @ 1..) = from.read(&mut piece) {
            if !dead.load(Ordering::SeqCst) && to.write_all(&piece[..n]).is_err() {
                break;
            }
        }
        if !dead.load(Ordering::SeqCst) {
            let _ = to.shutdown(Shutdown::Both);
        }
    });
}

/// Cuts that begin at any point between two renewals, each 0.28 of the ttl long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_shorter_than_three_tenths_of_the_ttl_goes_unnoticed() {
    const TTL: Duration = Duration::from_secs(8);
    let server = Server::start(TIGHT);
    let relay = Relay::start(&server);
    let flags = ["--ttl", "8s"];
    let held = Held::start_with(&server, &flags, |command| _ = command.env("LEASEHOLD_SERVER", &relay.address));
    let mut serial = 0;
    for n in 0..4 {
        tokio::time::sleep(TTL.mul_f64(0.11 * f64::from(n))).await;
        relay.cut(Trouble::Closed);
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

/// The connection dies without a word, as when a router forgets it: nobody waits for it longer than the lease lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_that_dies_silently_is_noticed_in_time() {
    const TTL: Duration = Duration::from_secs(8);
    let server = Server::start(TIGHT);
    let relay = Relay::start(&server);
    let held = Held::start_with(&server, &["--ttl", "8s"], |command| _ = command.env("LEASEHOLD_SERVER", &relay.address));
    let left = || async { server.client().lock(STATE).await.unwrap().holders.first().map(|holder| holder.remaining_ms) };
    for n in 0..2 {
        until("the lease was just renewed", async || left().await.expect("it is held") > 7_850).await;
        // Just before the next renewal, and just after it.
        tokio::time::sleep(TTL.mul_f64(0.29 + 0.05 * f64::from(n))).await;
        relay.cut(Trouble::Silent);
        tokio::time::sleep(TTL.mul_f64(0.28)).await;
        relay.heal();
        until("the lease is renewed", async || left().await.expect("it is held") > 6_400).await;
    }
    let ended = held.kill();
    assert_eq!(ended.err, "", "nothing was said: {}", ended.out);
    assert!(!ended.out.contains("interrupted"), "nobody was interrupted: {}", ended.out);
}
