//! Who does rotations: one runner for each environment. What is to be done stands in the keyring, so a runner can end at any point and
//! another goes on; it does one batch at a time and holds nothing between them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::documents::Pass;
use super::keys::Sweep;
use super::{Outcome, Phase, Progress, Telling, Told};
use crate::domain::command::KeyAct;
use crate::domain::ids::RequestId;
use crate::domain::names::EnvironmentName;
use crate::domain::refusal::Refusal;
use crate::domain::sealing::{Job, JobKind};
use crate::secrets::find;
use crate::service::{Error, Service};
use crate::store::{Query, Rows, WhichDocuments};

/// How long the runner waits when the store has no room, or something failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is told how far a rotation is.
const TELL: Duration = Duration::from_millis(50);
/// How often in a row something may fail before the runner gives up.
const FAILURES: u32 = 3;

/// The runners of a server.
#[derive(Default)]
pub(in crate::service) struct Runners(Mutex<HashMap<EnvironmentName, Seat>>);

/// Where one runner sits, or will.
struct Seat {
    busy: bool,
    /// Asked for again while it was busy.
    again: bool,
    told: watch::Sender<Beat>,
}

/// What a runner tells of itself. How far a rotation is stands in the keyring.
#[derive(Clone, Debug, Default)]
struct Beat {
    retiring: bool,
    /// Why the rotation stands still.
    halt: Option<(RequestId, Halt)>,
    /// How much the rotation did that is about to end.
    done: Option<(RequestId, u64)>,
}

#[derive(Clone, Debug)]
enum Halt {
    Locked,
    Stopping,
    /// By place.
    Stuck(Vec<String>),
}

/// What a runner remembers between two batches.
pub(super) struct Run {
    job: Option<Job>,
    /// What did not open, by place.
    pub(super) failures: Vec<String>,
    pub(super) sweep: Sweep,
    pub(super) pass: Pass,
    /// A whole walk has found no document under an old key.
    walked: bool,
    /// How often the closing query has found something after all was done.
    incomplete: u32,
}

enum Turn {
    More,
    Idle,
}

impl Service {
    /// Goes on with every rotation that is under way, and with documents that were searched by other rules than those of now. Called when
    /// documents can be opened: at start, and at unlock.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn resume_rotations(&self) -> Result<(), Error> {
        let Rows::Environments(all) = self.store.select(Query::Environments(None)).await? else {
            return Err(Error::internal("environments answered with other rows"));
        };
        all.into_iter().for_each(|(environment, _)| self.drive(&environment.name));
        Ok(())
    }

    /// Sees to it that somebody does what the keyring of the environment asks for. To be called after a change of rules, too.
    pub(in crate::service) fn drive(&self, environment: &EnvironmentName) {
        let mut seats = self.runners.lock();
        let seat = seats.entry(environment.clone()).or_insert_with(Seat::empty);
        if std::mem::replace(&mut seat.busy, true) {
            seat.again = true;
            return;
        }
        seat.told.send_modify(|beat| beat.halt = None);
        drop(seats);
        tokio::spawn(run(Weak::clone(&self.me), environment.clone()));
    }

    /// Tells of a rotation until its end.
    pub(super) fn join(&self, environment: EnvironmentName, job: RequestId) -> Result<Telling, Error> {
        self.drive(&environment);
        let mut beats = self.runners.lock().entry(environment.clone()).or_insert_with(Seat::empty).told.subscribe();
        let (send, receive) = mpsc::channel(4);
        let me = Weak::clone(&self.me);
        tokio::spawn(async move {
            let mut last = None;
            loop {
                beats.mark_unchanged();
                let Some(service) = me.upgrade() else { return };
                let told = service.look(&environment, job, &beats, &mut last).await;
                drop(service);
                let over = !matches!(told, Ok(Some(Told::Progress(_)) | None));
                let left = match told.transpose() {
                    Some(told) => send.send(told).await.is_err(),
                    None => false,
                };
                if left || over {
                    return;
                }
                // Nobody reads faster, and each time the keyring is read.
                tokio::time::sleep(TELL).await;
                tokio::select! {
                    changed = beats.changed() => if changed.is_err() { return },
                    () = send.closed() => return,
                }
            }
        });
        Ok(receive)
    }

    /// What there is to tell of a rotation; nothing: the same as before.
    async fn look(
        &self,
        environment: &EnvironmentName,
        id: RequestId,
        beats: &watch::Receiver<Beat>,
        last: &mut Option<Progress>,
    ) -> Result<Option<Told>, Error> {
        let (found, keyring) = self.keyring(environment).await?;
        let beat = beats.borrow().clone();
        let Some(job) = keyring.job.filter(|job| job.id == id) else {
            let ended = beat.done.filter(|(ended, _)| *ended == id).map(|(_, done)| done);
            let done = ended.or(last.as_ref().map(|last| last.done)).unwrap_or_default();
            let outcome = Outcome { done, identity: found.identity, key_epoch: found.key_epoch, ..Outcome::default() };
            return Ok(Some(Told::Done(outcome)));
        };
        match beat.halt.clone().filter(|(halted, _)| *halted == id) {
            Some((_, Halt::Locked)) => return Err(Error::Locked),
            Some((_, Halt::Stopping)) => return Err(Error::Stopping),
            Some((_, Halt::Stuck(failures))) => return Err(Error::RotationStuck(stuck(&failures))),
            None => {}
        }
        let phase = match job.kind {
            _ if beat.retiring => Phase::Retire,
            JobKind::Rewrap => Phase::Rewrap,
            JobKind::Reencrypt => Phase::Reencrypt,
        };
        let progress = Progress { environment: environment.clone(), phase, done: job.done, total: job.total.max(job.done) };
        let told = (last.as_ref() != Some(&progress)).then(|| Told::Progress(progress.clone()));
        *last = Some(progress);
        Ok(told)
    }

    /// One batch.
    async fn turn(&self, environment: &EnvironmentName, run: &mut Run) -> Result<Turn, Error> {
        let (found, keyring) = self.keyring(environment).await?;
        if run.job.as_ref().map(|job| job.id) != keyring.job.as_ref().map(|job| job.id) {
            *run = Run::of(keyring.job.clone());
        }
        run.job = keyring.job;
        let Some(job) = run.job.clone() else {
            let which = WhichDocuments::OtherRules(find::REVISION, keyring.rules.revision());
            return Ok(if self.reseal_batch(environment, None, which, run).await? { Turn::More } else { Turn::Idle });
        };
        let more = match job.kind {
            JobKind::Rewrap => self.rewrap_batch(environment, job.id, run).await?,
            JobKind::Reencrypt => {
                let which = WhichDocuments::Before(found.key_epoch);
                // Nothing comes under an old key any more; if it did, the closing query would see it. So the whole walk is done once.
                run.walked = run.walked || !self.reseal_batch(environment, Some(job.id), which, run).await?;
                !run.walked || {
                    self.tell(environment, |beat| beat.retiring = true);
                    self.retire_batch(environment, job.id, found.key_epoch, run).await?
                }
            }
        };
        if more {
            return Ok(Turn::More);
        }
        self.tell(environment, |beat| beat.done = Some((job.id, job.done)));
        match self.own_key_act(environment, KeyAct::Finish { job: job.id }).await {
            Ok(_) => {
                tracing::info!(%environment, kind = job.kind.verb(), "a rotation has ended: nothing is left under the old keys");
                self.vault.forget(environment);
                Ok(Turn::More)
            }
            Err(Error::Refused(Refusal::RotationIncomplete { left })) if run.failures.is_empty() && run.incomplete < FAILURES => {
                tracing::debug!(%environment, left, "something has come under an old key");
                let incomplete = run.incomplete + 1;
                *run = Run { incomplete, ..Run::of(run.job.clone()) };
                Ok(Turn::More)
            }
            Err(Error::Refused(refused @ Refusal::RotationIncomplete { .. })) => {
                let failures = if run.failures.is_empty() { vec![refused.to_string()] } else { run.failures.clone() };
                tracing::error!(%environment, failures = failures.len(), "a rotation cannot end: something does not open");
                self.tell(environment, |beat| beat.halt = Some((job.id, Halt::Stuck(failures))));
                Ok(Turn::Idle)
            }
            Err(error) => Err(error),
        }
    }

    fn tell(&self, environment: &EnvironmentName, change: impl FnOnce(&mut Beat)) {
        if let Some(seat) = self.runners.lock().get(environment) {
            seat.told.send_modify(change);
        }
    }

    /// The runner has nothing to do. False if it was asked for in the meantime.
    fn leave(&self, environment: &EnvironmentName) -> bool {
        let mut seats = self.runners.lock();
        let Some(seat) = seats.get_mut(environment) else { return true };
        seat.busy = std::mem::take(&mut seat.again);
        !seat.busy
    }
}

async fn run(me: Weak<Service>, environment: EnvironmentName) {
    let mut run = Run::of(None);
    let mut failed = 0;
    loop {
        let Some(service) = me.upgrade() else { return };
        let turn = service.turn(&environment, &mut run).await;
        let pause = match turn {
            Ok(Turn::More) => {
                failed = 0;
                service.tell(&environment, |_| ());
                None
            }
            Ok(Turn::Idle) => {
                service.tell(&environment, |beat| beat.retiring = false);
                if service.leave(&environment) {
                    return;
                }
                run = Run::of(None);
                None
            }
            // The keyring says otherwise by now.
            Err(Error::Refused(Refusal::RotationNone | Refusal::KeysMoved)) => None,
            Err(Error::Full) => Some(PAUSE),
            Err(error) => {
                failed += 1;
                let halt = match error {
                    Error::Locked => Some(Halt::Locked),
                    Error::Stopping | Error::Unknown | Error::Refused(_) => Some(Halt::Stopping),
                    error if failed > FAILURES => Some(Halt::Stuck(vec![error.to_string()])),
                    _ => None,
                };
                if let Some(halt) = halt {
                    let job = run.job.as_ref().map(|job| job.id);
                    service.tell(&environment, |beat| beat.halt = job.map(|job| (job, halt)));
                    if service.leave(&environment) {
                        return;
                    }
                    failed = 0;
                }
                Some(PAUSE)
            }
        };
        drop(service);
        // Whoever waits for a lock goes first.
        match pause {
            Some(pause) => tokio::time::sleep(pause).await,
            None => tokio::task::yield_now().await,
        }
    }
}

impl Runners {
    /// How many are at work, and how many stand still since something does not open.
    pub(in crate::service) fn counted(&self) -> (u64, u64) {
        let seats = self.lock();
        let is_stuck = |seat: &&Seat| matches!(seat.told.borrow().halt, Some((_, Halt::Stuck(_))));
        (seats.values().filter(|seat| seat.busy).count() as u64, seats.values().filter(is_stuck).count() as u64)
    }

    /// Nothing panics half-way in here.
    fn lock(&self) -> MutexGuard<'_, HashMap<EnvironmentName, Seat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    fn empty() -> Self {
        Self { busy: false, again: false, told: watch::Sender::default() }
    }
}

impl Run {
    fn of(job: Option<Job>) -> Self {
        let after = job.as_ref().and_then(|job| job.cursor.clone());
        Self { job, failures: Vec::new(), sweep: Sweep::default(), pass: Pass::after(after), walked: false, incomplete: 0 }
    }
}

/// The first of what does not open, for people.
fn stuck(failures: &[String]) -> String {
    const TOLD: usize = 5;
    let told = failures.iter().take(TOLD).cloned().collect::<Vec<_>>().join("; ");
    match failures.len().saturating_sub(TOLD) {
        0 => told,
        more => format!("{told}; and {more} more"),
    }
}
