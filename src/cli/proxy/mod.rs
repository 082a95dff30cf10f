//! What the command of `run` finds on loopback: Terraform's `http` backend and leasehold's own calls, both under the lease that `run` holds.
//!
//! The command gets a key that is made for this run, good on loopback and for this state only, and gone with `run`. The principal's token
//! and the lease's secret stay in this process.

mod account;
mod documents;
mod door;
mod inner;
mod locks;
mod relay;

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::client::{Client, Lease};
use crate::pb::v1::{Labels, Mode};

pub(crate) use account::Account;
use door::Door;

/// The user of the basic authentication; only the key counts.
const USER: &str = "leasehold";
/// How the key of a run begins.
const KEY: &str = "lr_";

/// The loopback address, as long as this lives.
pub(crate) struct Proxy {
    door: Arc<Door>,
    origin: String,
    serving: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a port of loopback that is free.
    ///
    /// # Errors
    /// What the system says about listening.
    pub(crate) async fn open(client: &Client, lease: &Lease, mode: Mode, labels: &Labels) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let door = Arc::new(Door::new(client.clone(), lease, mode, labels, new_key()));
        let serving = tokio::spawn(door::serve(listener, Arc::clone(&door)));
        Ok(Self { door, origin, serving })
    }

    /// Where it listens.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// The key that opens it.
    pub(crate) fn key(&self) -> &str {
        &self.door.key
    }

    /// What makes `backend "http" {}` of Terraform and OpenTofu work here, with nothing in their configuration.
    ///
    /// The lock has an address of its own, so that every method that a configuration may name for it means the same.
    pub(crate) fn terraform(&self) -> Vec<(String, String)> {
        let address = format!("{}{}", self.origin, self.door.path);
        let lock = format!("{address}{}", door::LOCK);
        [
            ("TF_HTTP_ADDRESS", address.as_str()),
            ("TF_HTTP_UPDATE_METHOD", "POST"),
            ("TF_HTTP_LOCK_ADDRESS", &lock),
            ("TF_HTTP_LOCK_METHOD", "LOCK"),
            ("TF_HTTP_UNLOCK_ADDRESS", &lock),
            ("TF_HTTP_UNLOCK_METHOD", "UNLOCK"),
            ("TF_HTTP_USERNAME", USER),
            ("TF_HTTP_PASSWORD", self.key()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// What became of the writes.
    pub(crate) fn account(&self) -> Account {
        self.door.account.lock().expect("nobody panics while holding it").clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Whether a password is the key of a `run`, which opens nothing but the address on loopback that it serves.
pub(crate) fn is_key_of_run(password: &str) -> bool {
    password.starts_with(KEY)
}

/// 256 random bits.
fn new_key() -> Zeroizing<String> {
    let mut bits = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bits).expect("the operating system has random bits");
    let mut key = Zeroizing::new(String::from(KEY));
    for byte in bits.iter() {
        key.push_str(&format!("{byte:02x}"));
    }
    key
}
