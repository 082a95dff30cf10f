//! `run`: a command under a lease.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::context::{Context, new_session};
use super::environ;
use super::failure::{Failure, code};
use super::flags::run::{OnLoss, RunFlags};
use super::hold;
use super::lease::mode;
use super::output::note;
use super::proxy::Proxy;
use super::settings::TokenSource;
use super::signals::Signals;
use super::supervise::{Child, Exit, Signal};
use crate::client::{Ask, Lease, LeaseRef, Loss, State, View, clock};
use crate::pb::v1::LossReason;

/// How long a command that was told to stop has at least, however short the lock delay.
const GRACE: Duration = Duration::from_secs(1);

/// Returns the command's exit code if that is not 0, and otherwise [`code::LEASE_LOST`] if the lease did not last as long as it.
pub(crate) async fn run(context: &Context, flags: RunFlags) -> Result<u8, Failure> {
    let ask = Ask {
        state: flags.state.clone(),
        session: flags.session.clone().unwrap_or_else(new_session),
        mode: mode(flags.mode),
        ttl: flags.ttl,
        wait: flags.wait,
        labels: context.environ.labels.clone(),
        unattended: false,
    };
    let mut signals = Signals::install()?;
    let grant = hold::acquire(context, &ask, &mut signals).await?;
    let lease = context.client.keep(grant);
    let proxy = Proxy::open(&context.client, &lease, ask.mode, &ask.labels).await;
    let ended = match &proxy {
        Ok(proxy) => {
            let environment = child_environment(context, lease.reference(), proxy, &flags)?;
            match Child::spawn(&flags.command, &environment) {
                Ok(mut child) => tend(&mut child, &lease, flags.on_loss, &mut signals).await,
                Err(cause) => Err(cause),
            }
        }
        Err(cause) => Err(std::io::Error::new(cause.kind(), format!("no port on loopback: {cause}"))),
    };
    let account = proxy.map(|proxy| proxy.account()).unwrap_or_default();
    match ended {
        Ok((exit, stopped)) => {
            let lost = end(lease, exit).await || stopped;
            account.tell(&ask.state, lost);
            Ok(match u8::try_from(exit.code).unwrap_or(code::FAILED) {
                code::DONE if lost => code::LEASE_LOST,
                code => code,
            })
        }
        Err(cause) => {
            hold::give_back(lease, true).await;
            Err(Failure::local(format!("the command cannot be run: {cause}"), "check the limits of this machine"))
        }
    }
}

/// What the command is told: of its lease, and of the loopback address that speaks for it. The token stays here unless the flags say otherwise.
fn child_environment(
    context: &Context,
    lease: &LeaseRef,
    proxy: &Proxy,
    flags: &RunFlags,
) -> Result<Vec<(String, Option<String>)>, Failure> {
    let set = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
    let unset = |name: &str| (name.to_owned(), None);
    let mut variables = vec![
        set(environ::STATE, &lease.state),
        set(environ::SESSION, &lease.session),
        set(environ::FENCE, &lease.token.to_string()),
    ];
    if !flags.no_http {
        variables.extend(proxy.terraform().into_iter().map(|(name, value)| (name, Some(value))));
    }
    if !flags.pass_token {
        variables.extend([
            set(environ::SERVER, proxy.origin()),
            set(environ::TOKEN, proxy.key()),
            unset(environ::TOKEN_FILE),
            unset(environ::CA_FILE),
            unset(environ::CLIENT_CERT_FILE),
            unset(environ::CLIENT_KEY_FILE),
        ]);
        return Ok(variables);
    }
    // A token in the environment is inherited.
    variables.push(set(environ::SERVER, &context.connection.server));
    if let TokenSource::File(file) = &context.connection.token {
        variables.push(set(environ::TOKEN_FILE, &whole(file)?));
    }
    if let Some(file) = &context.connection.ca_file {
        variables.push(set(environ::CA_FILE, &whole(file)?));
    }
    if let Some((certificate, key)) = &context.connection.certificate {
        variables.push(set(environ::CLIENT_CERT_FILE, &whole(certificate)?));
        variables.push(set(environ::CLIENT_KEY_FILE, &whole(key)?));
    }
    Ok(variables)
}

/// The path from the root: the command may change its directory.
fn whole(path: &Path) -> Result<String, Failure> {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    whole
        .into_os_string()
        .into_string()
        .map_err(|_| Failure::usage(format!("{} is not UTF-8", path.display()), "use another path"))
}

/// Waits for the command; forwards signals to it, and stops it when the lease is not sure any more. Also tells whether it was stopped.
async fn tend(child: &mut Child, lease: &Lease, on_loss: OnLoss, signals: &mut Signals) -> std::io::Result<(Exit, bool)> {
    let mut views = lease.subscribe();
    let mut stopping = Stopping::new(on_loss);
    loop {
        let order = stopping.heed(&views.borrow_and_update(), clock::now());
        match order {
            Order::GoOn => {}
            Order::Interrupt => child.interrupt(),
            Order::Kill => child.kill(),
        }
        tokio::select! {
            exit = child.wait() => return Ok((exit?, stopping.began)),
            signal = signals.next() => {
                stopping.told |= matches!(signal, Signal::Interrupt | Signal::Terminate);
                child.signal(signal);
            }
            changed = views.changed() => changed.expect("the lease keeps the sender"),
            () = until(stopping.kill_at) => {}
        }
    }
}

/// Gives the lease back. True if it was lost before.
async fn end(lease: Lease, exit: Exit) -> bool {
    match lease.state() {
        State::Lost(Loss::Told { .. } | Loss::Refused { .. }) => {
            // Nothing is left to give back.
            drop(lease);
            true
        }
        State::Lost(Loss::Silent { .. }) => {
            hold::give_back(lease, exit.killed_by_us).await;
            true
        }
        State::Held | State::Silent => hold::give_back(lease, exit.killed_by_us).await == Some(false),
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What to do with the command now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    GoOn,
    Interrupt,
    Kill,
}

/// Decides when to stop the command, and says so on stderr.
struct Stopping {
    on_loss: OnLoss,
    /// It had to be stopped.
    began: bool,
    /// It was told to stop, by whomever. A second interrupt would make many tools, Terraform among them, give up without writing their state.
    told: bool,
    lost: bool,
    silent: bool,
    kill_at: Option<Instant>,
}

impl Stopping {
    fn new(on_loss: OnLoss) -> Self {
        Self { on_loss, began: false, told: false, lost: false, silent: false, kill_at: None }
    }

    fn heed(&mut self, view: &View, now: Instant) -> Order {
        let order = match &view.state {
            State::Held => {
                if std::mem::take(&mut self.silent) {
                    note("lease renewed again");
                }
                Order::GoOn
            }
            State::Silent => self.fell_silent(),
            State::Lost(loss) => self.lost(loss, view, now),
        };
        if self.kill_at.is_some_and(|at| now >= at) {
            self.kill_at = None;
            return Order::Kill;
        }
        order
    }

    fn fell_silent(&mut self) -> Order {
        if std::mem::replace(&mut self.silent, true) {
            return Order::GoOn;
        }
        note("warning: the lease could not be renewed for two thirds of its ttl");
        match self.on_loss {
            OnLoss::Continue => Order::GoOn,
            OnLoss::Interrupt | OnLoss::Kill => self.interrupt(),
        }
    }

    fn lost(&mut self, loss: &Loss, view: &View, now: Instant) -> Order {
        if std::mem::replace(&mut self.lost, true) {
            return Order::GoOn;
        }
        note(format!("error: lease lost: {loss}"));
        match (self.on_loss, loss) {
            (OnLoss::Continue, _) => Order::GoOn,
            (OnLoss::Kill, _) | (OnLoss::Interrupt, Loss::Silent { .. }) => {
                self.began = true;
                Order::Kill
            }
            (OnLoss::Interrupt, _) => {
                self.kill_at = Some(kill_at(loss, view, now));
                self.interrupt()
            }
        }
    }

    fn interrupt(&mut self) -> Order {
        self.began = true;
        if std::mem::replace(&mut self.told, true) { Order::GoOn } else { Order::Interrupt }
    }
}

/// When a lost lease's lock may be somebody else's, with a tenth of the lock delay to spare.
fn kill_at(loss: &Loss, view: &View, now: Instant) -> Instant {
    let from_now = now + (view.lock_delay * 9 / 10).max(GRACE);
    match loss {
        // The lock delay began at its expiry, whenever word of that came.
        Loss::Told { reason: LossReason::Expired, .. } | Loss::Refused { .. } => from_now.min(view.hard_stop_at().max(now)),
        Loss::Told { .. } | Loss::Silent { .. } => from_now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);
    const DELAY: Duration = Duration::from_secs(15);

    fn view(state: State, last_send: Instant) -> View {
        View { state, last_send, ttl: TTL, lock_delay: DELAY }
    }

    fn broken() -> State {
        State::Lost(Loss::Told { reason: LossReason::Broken, message: "stuck".into() })
    }

    fn silent_for_good(since: Instant) -> State {
        State::Lost(Loss::Silent { since })
    }

    #[test]
    fn command_of_a_silent_lease_is_interrupted_once_and_killed_at_the_end() {
        let start = clock::now();
        let mut stopping = Stopping::new(OnLoss::Interrupt);
        assert_eq!(stopping.heed(&view(State::Held, start), start), Order::GoOn);
        assert_eq!(stopping.heed(&view(State::Silent, start), start + TTL * 2 / 3), Order::Interrupt);
        assert_eq!(stopping.heed(&view(State::Held, start), start + TTL * 2 / 3), Order::GoOn);
        assert_eq!(stopping.heed(&view(State::Silent, start), start + TTL * 2 / 3), Order::GoOn);
        assert_eq!(stopping.heed(&view(silent_for_good(start), start), start + TTL), Order::Kill);
        assert!(stopping.began);
    }

    #[test]
    fn command_of_a_broken_lease_is_interrupted_and_killed_before_the_lock_delay_ends() {
        let start = clock::now();
        let mut stopping = Stopping::new(OnLoss::Interrupt);
        assert_eq!(stopping.heed(&view(broken(), start), start), Order::Interrupt);
        let at = stopping.kill_at.unwrap();
        assert_eq!(at, start + DELAY * 9 / 10);
        assert_eq!(stopping.heed(&view(broken(), start), at - Duration::from_millis(1)), Order::GoOn);
        assert_eq!(stopping.heed(&view(broken(), start), at), Order::Kill);
    }

    #[test]
    fn command_that_somebody_told_to_stop_is_not_told_again() {
        let start = clock::now();
        let mut stopping = Stopping { told: true, ..Stopping::new(OnLoss::Interrupt) };
        assert_eq!(stopping.heed(&view(broken(), start), start), Order::GoOn);
        assert!(stopping.began && stopping.kill_at.is_some(), "but it is stopped");
    }

    #[test]
    fn command_of_a_lease_that_expired_long_ago_is_killed_at_once() {
        let start = clock::now();
        let expired = State::Lost(Loss::Told { reason: LossReason::Expired, message: String::new() });
        let late = start + TTL + DELAY;
        assert_eq!(Stopping::new(OnLoss::Interrupt).heed(&view(expired, start), late), Order::Kill);
    }

    #[test]
    fn on_loss_says_what_to_do() {
        let start = clock::now();
        assert_eq!(Stopping::new(OnLoss::Kill).heed(&view(broken(), start), start), Order::Kill);
        let mut stopping = Stopping::new(OnLoss::Continue);
        assert_eq!(stopping.heed(&view(State::Silent, start), start), Order::GoOn);
        assert_eq!(stopping.heed(&view(silent_for_good(start), start), start), Order::GoOn);
        assert_eq!((stopping.kill_at, stopping.began), (None, false));
    }
}
