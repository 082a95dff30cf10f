//! `serve`: flags to options of the server.

use std::io::Write;

use super::failure::Failure;
use super::flags::serve::ServeFlags;
use super::output::note;
use super::signals::Signals;
use super::supervise::Signal;
use crate::secrets::hygiene;
use crate::serve::config::StoreKind;
use crate::serve::start::{Options, Server};

pub(crate) async fn serve(flags: ServeFlags) -> Result<(), Failure> {
    let ServeFlags { dev, config, data_dir, listen, store, tls_cert, tls_key, danger_without_tls, danger_accept_rollback } =
        flags;
    let listen = listen.map(|listen| {
        listen.parse().map_err(|_| Failure::usage("--listen takes an address and a port", "such as 127.0.0.1:5327"))
    });
    let store = match store.as_deref() {
        None => None,
        Some("sqlite") => Some(StoreKind::Sqlite),
        Some("memory") => Some(StoreKind::Memory),
        Some(_) => return Err(Failure::usage("there is no such store", "give sqlite or memory")),
    };
    let options = Options {
        dev,
        config,
        data_dir,
        listen: listen.transpose()?,
        store,
        tls: tls_cert.zip(tls_key),
        danger_without_tls,
        accept_rollback: danger_accept_rollback,
    };
    hygiene::harden().log();
    // What is made is made private anyway; this is for what nobody thought of.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let failed = |error: crate::serve::start::StartError| Failure::local(error.to_string(), "");
    let server = Server::open(options).await.map_err(failed)?;
    // Whoever reads the address may ask it to stop at once.
    let mut signals = Signals::install()?;
    say(&format!("listening on {}", server.address));
    if let Some(hints) = &server.hints {
        say(hints);
    }
    let stop = async move {
        // USR1 and USR2 mean nothing to a server.
        while matches!(signals.next().await, Signal::User1 | Signal::User2) {}
        note("stopping: finishing what is under way");
    };
    server.run(stop).await.map_err(failed)
}

/// On stdout, so that whoever started the server can wait for it; a closed stdout is no reason not to serve.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
