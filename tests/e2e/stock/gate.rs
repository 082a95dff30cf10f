//! A state elsewhere that a configuration reads, held back until the test lets it go: so a plan is under way for as long as a test wants.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use crate::rig::BOUND;

/// Ends with the process: nobody connects to it after the test.
pub(super) struct Gate {
    address: String,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    arrived: usize,
    open: bool,
}

impl Gate {
    pub(super) fn closed() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let seen = Arc::<Seen>::default();
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, shared) = (client.unwrap(), Arc::clone(&shared));
                // A client that is killed meanwhile hangs up.
                std::thread::spawn(move || hold_back(client, &shared));
            }
        });
        Self { address, seen }
    }

    /// What reads it.
    pub(super) fn configuration(&self) -> String {
        format!(
            "data \"terraform_remote_state\" \"gate\" {{\n  backend = \"http\"\n  config  = {{ address = \"{}\" }}\n}}\n",
            self.address
        )
    }

    /// Waits until so many are held back, all told.
    #[track_caller]
    pub(super) fn arrived(&self, count: usize) {
        let state = self.seen.state.lock().unwrap();
        let (state, _) = self.seen.changed.wait_timeout_while(state, BOUND, |state| state.arrived < count).unwrap();
        assert!(state.arrived >= count, "{} of {count} came", state.arrived);
    }

    /// From now on nobody is held back.
    pub(super) fn open(&self) {
        self.seen.state.lock().unwrap().open = true;
        self.seen.changed.notify_all();
    }
}

fn hold_back(mut client: TcpStream, seen: &Seen) -> Option<()> {
    let lines = BufReader::new(&client).lines();
    lines.map_while(Result::ok).find(String::is_empty)?;
    let mut state = seen.state.lock().unwrap();
    state.arrived += 1;
    seen.changed.notify_all();
    drop(seen.changed.wait_while(state, |state| !state.open).unwrap());
    let body = r#"{"version":4,"terraform_version":"1.11.4","serial":1,"lineage":"gate","outputs":{},"resources":[]}"#;
    let length = body.len();
    write!(client, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").ok()
}
