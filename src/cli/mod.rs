//! The command line: parse, call the client, print.
//!
//! `flags` are what was written, `settings` what it means together with the environment (`environ` reads that); one file or
//! folder per command does the rest through [`crate::client`].

mod access;
mod audit;
mod context;
mod doctor;
mod env;
mod environ;
mod failure;
mod flags;
mod hold;
mod keys;
mod lease;
mod locking;
mod output;
mod progress;
mod proxy;
mod recover;
mod run;
mod serve;
mod settings;
mod signals;
mod state;
pub mod supervise;
mod unseal;
mod watch;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use tracing_subscriber::EnvFilter;

use context::Context;
use environ::Environ;
use failure::{Failure, code};
use flags::{Command, Flags};

/// Does what the arguments (the program's name first) say, and returns the exit code that the help documents.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args: Vec<OsString> = args.into_iter().collect();
    // Before anything else: these are this program's own children, and start neither a runtime nor a parser.
    match args.get(1).and_then(|arg| arg.to_str()) {
        Some(supervise::GUARD) => return supervise::guard_main(args.split_off(2)),
        Some(supervise::EXEC) => return supervise::exec_main(args.split_off(2)),
        _ => {}
    }
    let flags = match Flags::try_parse_from(args) {
        Ok(flags) => flags,
        Err(error) => {
            let failed = error.use_stderr();
            // Help goes to stdout, errors of usage to stderr; if that is gone there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(if failed { code::USAGE } else { code::DONE });
        }
    };
    let done = start(flags);
    if let Err(failure) = &done {
        failure.tell();
    }
    ExitCode::from(done.unwrap_or_else(|failure| failure.exit_code()))
}

fn start(flags: Flags) -> Result<u8, Failure> {
    let environ = Environ::read();
    // Of HTTP/2 each connection that floods would leave a line: the server counts them.
    let default = if matches!(flags.command, Command::Serve(_)) { "info,h2=error" } else { "warn" };
    log_to_stderr(environ.log.as_deref(), default)?;
    if let Command::Completions { shell } = flags.command {
        clap_complete::generate(shell, &mut Flags::command(), "leasehold", &mut io::stdout().lock());
        return Ok(code::DONE);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|cause| Failure::local(format!("no threads: {cause}"), "check the limits of this process"))?;
    let done = runtime.block_on(dispatch(flags, environ));
    // A read of a terminal cannot be taken back; do not wait for it.
    runtime.shutdown_background();
    done
}

async fn dispatch(flags: Flags, environ: Environ) -> Result<u8, Failure> {
    let Flags { global, command } = flags;
    match command {
        Command::Serve(flags) => serve::serve(flags).await?,
        Command::Run(flags) => return run::run(&Context::new(global, environ)?, flags).await,
        Command::Env(command) => env::env(&Context::new(global, environ)?, command).await?,
        Command::State(command) => state::state(&Context::new(global, environ)?, command).await?,
        Command::Lease(command) => lease::lease(&Context::new(global, environ)?, command).await?,
        Command::Keys(command) => keys::keys(&Context::new(global, environ)?, command).await?,
        Command::Audit(flags::audit::AuditCommand::Verify(flags)) => audit::verify(&flags)?,
        Command::Audit(command) => audit::audit(&Context::new(global, environ)?, command).await?,
        Command::Unseal(flags) => unseal::run(flags).await?,
        Command::Watch(flags) => watch::watch(&Context::new(global, environ)?, flags).await?,
        Command::Unlock(flags) => locking::unlock(&Context::new(global, environ)?, flags).await?,
        Command::Lock => locking::lock(&Context::new(global, environ)?).await?,
        Command::Token(command) => access::token(&Context::new(global, environ)?, command).await?,
        Command::Access(command) => return access::access(&Context::new(global, environ)?, command).await,
        Command::Init(flags) => locking::init(&global, &flags)?,
        Command::Recover(flags) => recover::recover(&global, &flags)?,
        Command::Doctor(flags) => doctor::doctor(global, environ, flags).await?,
        Command::Completions { .. } => {}
    }
    Ok(code::DONE)
}

fn log_to_stderr(filter: Option<&str>, default: &str) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter.unwrap_or(default)).map_err(|_| {
        Failure::usage("LEASEHOLD_LOG cannot be understood", "give a level such as `info`, or TARGET=LEVEL pairs")
    })?;
    // Somebody who embeds this may have set up a log of their own.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).try_init();
    Ok(())
}
