//! The one writer: takes what is queued without lingering, decides it in one transaction with one `now` and a savepoint per request,
//! and answers after the commit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use rusqlite::{Connection, params};
use tokio::sync::{oneshot, watch};

use super::checkpoint::{Checkpointer, checkpoint, copy_the_rest};
use super::columns::parse;
use super::gate::Gate;
use super::keys;
use super::open::Opened;
use super::reserve::Reserve;
use super::sidecar::{self, Sidecar};
use super::sweep::{self, Sweeper};
use super::transaction::{Work, drop_body};
use super::{Options, engine_error};
use crate::counts::Engine;
use crate::domain::audit::AuditAct;
use crate::domain::command::{Act, Command, StoreAct};
use crate::domain::decision::Reply;
use crate::domain::ids::{BodyId, DataKeyId, Epoch, Revision};
use crate::domain::names::StateName;
use crate::domain::refusal::Refusal;
use crate::domain::settings::Limits;
use crate::domain::time::{Beat, Context, StoreTime};
use crate::domain::{Decide, time};
use crate::store::clock::StoreClock;
use crate::store::due::Due;
use crate::store::transact::{Done, store_settles, transact};
use crate::store::{Head, StoreError};

/// How many requests share a commit at most.
const BATCH: usize = 512;
/// While anything has a deadline, store time is committed at least this often.
const BEAT: Duration = Duration::from_secs(1);
/// How often the sidecar follows, and old rows are swept.
const TIDY: Duration = Duration::from_secs(1);

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// Work for the writer.
pub(super) enum Job {
    Submit(Box<Command>, Answer<Result<Reply, Refusal>>),
    Stage(Piece, Answer<()>),
    /// Copy the small rest of the WAL between two transactions.
    Checkpoint(Sender<()>),
    /// Settle what is due.
    Tick(Sender<()>),
    /// Finish in order.
    Close,
    /// Stop as a kill would.
    Abandon,
}

/// A piece of a body ahead of the command that refers to it.
pub(super) struct Piece {
    pub(super) body: BodyId,
    pub(super) key: DataKeyId,
    pub(super) n: u32,
    pub(super) bytes: Vec<u8>,
}

/// An answer that waits for the commit. What may be tried once more, with the reserve of the audit, comes back instead.
type Pending = Box<dyn FnOnce(&Result<(), StoreError>) -> Option<Job> + Send>;

pub(super) struct Writer {
    connection: Connection,
    desk: Desk,
    /// Keeps the folder ours.
    _lock: std::fs::File,
}

/// Everything of the writer but its connection.
struct Desk {
    clock: Arc<StoreClock>,
    limits: Limits,
    decide: Decide,
    head: watch::Sender<Head>,
    due: Due<StateName>,
    epoch: Epoch,
    seq: u64,
    revision: Revision,
    keep_events: u64,
    file: std::path::PathBuf,
    instance: [u8; 16],
    checkpointer: Checkpointer,
    gate: Arc<Gate>,
    unattended: bool,
    /// The source's reading at the last commit.
    committed: Duration,
    /// The source's reading at the last tidying, and the commit the sidecar names.
    tidied: Duration,
    named: u64,
    sweeper: Sweeper,
    /// Requests since their ids were last swept.
    appended: u64,
    /// The disk was full at the last try.
    full: bool,
    /// What ended the open transaction before its commit, if anything did: nothing may run outside one.
    sunk: Option<StoreError>,
    /// Locks that the open transaction looked at: what it found to be due holds only if it commits.
    touched: Vec<StateName>,
    /// The last row of the audit.
    audit: u64,
    /// Room for the audit of reads. While it is given up, nothing else is written.
    reserve: Reserve,
    /// The source's reading when making it was last tried.
    reserved: Duration,
    counts: Arc<Engine>,
}

impl Writer {
    pub(super) fn new(
        opened: Opened,
        clock: Arc<StoreClock>,
        options: &Options,
        head: watch::Sender<Head>,
        jobs: Sender<Job>,
        gate: Arc<Gate>,
    ) -> rusqlite::Result<Self> {
        let checkpointer = Checkpointer::start(&opened.file, jobs, Arc::clone(&options.counts))?;
        let now = clock.read().source;
        let mut reserve = Reserve::beside(&opened.file, options.audit_reserve);
        if let Err(error) = reserve.make() {
            tracing::error!(%error, "no room for the reserve of the audit: nothing is written until there is");
        }
        let desk = Desk {
            clock,
            limits: options.limits.clone(),
            decide: options.decide,
            head,
            due: pending_locks(&opened.connection, opened.beat)?,
            epoch: opened.epoch,
            seq: opened.seq,
            revision: Revision(opened.revision),
            keep_events: options.keep_events,
            file: opened.file,
            instance: opened.instance,
            checkpointer,
            gate,
            unattended: options.unattended,
            committed: now,
            tidied: now,
            named: opened.seq,
            sweeper: Sweeper::default(),
            appended: 0,
            full: false,
            sunk: None,
            touched: Vec::new(),
            audit: opened.audit,
            reserve,
            reserved: now,
            counts: Arc::clone(&options.counts),
        };
        Ok(Self { connection: opened.connection, desk, _lock: opened.lock })
    }

    /// Works until it is told to stop, or a commit ends in an unclear way.
    pub(super) fn run(mut self, queue: &Receiver<Job>) {
        let mut patient = VecDeque::new();
        loop {
            let patience = if patient.is_empty() { self.desk.patience() } else { Duration::ZERO };
            let first = match queue.recv_timeout(patience) {
                Ok(job) => Some(job),
                // Under a test's own clock nothing happens by itself.
                Err(RecvTimeoutError::Timeout) if !self.desk.unattended && patient.is_empty() => continue,
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let (jobs, stop) = gather(first, queue, &mut patient);
            if matches!(stop, Some(Job::Abandon)) {
                return;
            }
            // What is patient has a transaction of its own, so that the others wait for one such at most, and for none that comes after them.
            let next = if stop.is_some() { patient.drain(..).collect() } else { Vec::from_iter(patient.pop_front()) };
            let mut ended = if jobs.is_empty() && !next.is_empty() { Ok(()) } else { self.batch(jobs) };
            if !next.is_empty() {
                ended = ended.and_then(|()| self.batch(next));
            }
            if ended.is_err() {
                tracing::error!("a commit ended in an unclear way; the store stops and must be opened anew");
                self.desk.head.send_modify(|head| head.failed = true);
                return;
            }
            match stop {
                Some(_) => return self.desk.finish(&self.connection),
                None => self.desk.tidy(&self.connection),
            }
        }
    }

    /// One transaction. An error means that the outcome of its commit is unknown.
    fn batch(&mut self, jobs: Vec<Job>) -> Result<(), StoreError> {
        let Self { connection, desk, .. } = self;
        let beat = desk.clock.read();
        desk.make_reserve(beat);
        let mut again = Vec::new();
        let ticks = jobs.iter().any(|job| matches!(job, Job::Tick(_)));
        let asked = jobs.iter().any(|job| matches!(job, Job::Checkpoint(_)));
        let (mut pending, mut waiting): (Vec<Pending>, Vec<Sender<()>>) = (Vec::new(), Vec::new());
        let begun = connection.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([]));
        desk.sunk = begun.err().map(engine_error);
        let mut work = Work::new(connection, desk.revision, desk.epoch, desk.audit);
        let mut changed = false;
        for job in jobs {
            match job {
                Job::Submit(command, answer) => {
                    let done = desk.request(&mut work, &command, beat);
                    changed |= done.as_ref().is_ok_and(|done| done.changed);
                    desk.appended += 1;
                    let spare = (desk.reserve.held() && is_read(&command)).then_some(command);
                    pending.push(Box::new(move |commit| {
                        let told = commit.clone().and_then(|()| done.map(|done| done.reply));
                        match spare {
                            Some(command) if told == Err(StoreError::Full) => return Some(Job::Submit(command, answer)),
                            _ => drop(answer.send(told)),
                        }
                        None
                    }));
                }
                Job::Stage(piece, answer) => {
                    let done = match desk.reserve.held() {
                        true => desk.guarded(connection, || stage(connection, &piece, beat.store)),
                        false => Err(StoreError::Full),
                    };
                    changed |= done.is_ok();
                    pending.push(Box::new(move |commit| {
                        let _ = answer.send(commit.clone().and(done));
                        None
                    }));
                }
                Job::Checkpoint(done) | Job::Tick(done) => waiting.push(done),
                Job::Close | Job::Abandon => {}
            }
        }
        if (desk.unattended || ticks) && desk.reserve.held() {
            changed |= desk.settle_due(&mut work, beat, if ticks { usize::MAX } else { BATCH });
        }
        let reached = Reached { epoch: work.epoch, revision: work.revision, audit: work.audit };
        let before = desk.seq;
        let commit = desk.commit(connection, changed || ticks && desk.reserve.held(), beat, reached);
        if desk.seq != before {
            desk.counts.batches.see(pending.len() as u64);
        }
        desk.counts.full.set(u64::from(desk.full || !desk.reserve.held()));
        desk.settle_again(commit.is_err(), beat);
        again.extend(pending.into_iter().filter_map(|answer| answer(&commit)));
        if asked && let Err(error) = copy_the_rest(connection, &desk.gate) {
            tracing::warn!(%error, "a checkpoint failed; it is tried again");
        }
        drop(waiting);
        match commit {
            Err(StoreError::Unknown) => Err(StoreError::Unknown),
            _ if again.is_empty() => Ok(()),
            _ => {
                desk.give_up_reserve(beat);
                self.batch(again)
            }
        }
    }
}

/// How far the store has come with a transaction.
struct Reached {
    epoch: Epoch,
    revision: Revision,
    audit: u64,
}

impl Desk {
    /// How long to wait for work before there is some of our own.
    fn patience(&self) -> Duration {
        match self.due.next() {
            Some(due) if self.unattended => due.since(self.clock.read().store).min(BEAT),
            _ => TIDY,
        }
    }

    /// The disk is full, and opened secrets are to be read: from now on there is room for the rows about that, and for nothing else.
    fn give_up_reserve(&mut self, beat: Beat) {
        self.reserve.give_up();
        self.checkpointer.pause(true);
        self.reserved = beat.source;
        tracing::error!("the disk is full: the reserve of the audit is given up, so that reads of secrets can still be recorded");
    }

    /// Tries once a second to have the reserve again.
    fn make_reserve(&mut self, beat: Beat) {
        if self.reserve.held() || beat.source.saturating_sub(self.reserved) < TIDY {
            return;
        }
        self.reserved = beat.source;
        if self.reserve.make().is_ok() {
            self.checkpointer.pause(false);
            tracing::warn!("there is room on the disk again, and the reserve of the audit is kept");
        }
    }

    /// One request in its savepoint: a failure sinks it, not the batch.
    fn request(&mut self, work: &mut Work<'_>, command: &Command, beat: Beat) -> Result<Done, StoreError> {
        if !self.reserve.held() && !is_audit(command) {
            return Err(StoreError::Full);
        }
        let connection = work.connection;
        let run = |sql: &str| connection.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
        let before = (work.revision, work.epoch, work.audit);
        let (wall, limits, decide) = (self.clock.wall(), self.limits.clone(), self.decide);
        let ctx = Context { now: beat.store, wall, epoch: work.epoch, limits: &limits };
        let done = self.guarded(connection, || {
            run("SAVEPOINT request")?;
            let done = transact(work, decide, command, &ctx).and_then(|done| run("RELEASE request").map(|_| done));
            if done.is_err() && !connection.is_autocommit() {
                let _ = run("ROLLBACK TO request").and_then(|_| run("RELEASE request"));
            }
            done
        });
        match &done {
            Ok(done) => {
                if let Some(state) = command.state() {
                    self.touched.push(state.clone());
                    self.due.set(state.clone(), done.due);
                }
                for state in work.settle_soon.drain(..) {
                    self.touched.push(state.clone());
                    self.due.set(state, Some(beat.store));
                }
            }
            Err(_) => {
                (work.revision, work.epoch, work.audit) = before;
                work.settle_soon.clear();
            }
        }
        done
    }

    /// Runs a part of the open transaction, if it still is open: the engine rolls all of it back by itself when the disk is full or
    /// fails, and what ran after that would commit on its own.
    fn guarded<T>(&mut self, connection: &Connection, part: impl FnOnce() -> rusqlite::Result<T>) -> Result<T, StoreError> {
        if let Some(sunk) = &self.sunk {
            return Err(sunk.clone());
        }
        part().map_err(|error| {
            tracing::error!(%error, "a request failed in the store");
            let error = engine_error(error);
            self.full |= error == StoreError::Full;
            self.sunk = connection.is_autocommit().then(|| error.clone());
            error
        })
    }

    fn settle_due(&mut self, work: &mut Work<'_>, beat: Beat, most: usize) -> bool {
        let mut changed = false;
        for _ in 0..most {
            let Some(state) = self.due.pop(beat.store) else { break };
            match self.request(work, &store_settles(state.clone()), beat) {
                Ok(done) => changed |= done.changed,
                // Not settled, so still due.
                Err(_) => self.due.set(state, Some(beat.store.after(BEAT))),
            }
        }
        changed
    }

    /// What was settled in vain is still due.
    fn settle_again(&mut self, in_vain: bool, beat: Beat) {
        for state in self.touched.drain(..).filter(|_| in_vain) {
            self.due.set(state, Some(beat.store.after(BEAT)));
        }
    }

    /// Commits what changed, and store time when it has stood still for long enough. [`StoreError::Unknown`] is final.
    fn commit(&mut self, connection: &Connection, changed: bool, beat: Beat, reached: Reached) -> Result<(), StoreError> {
        if let Some(sunk) = self.sunk.take() {
            return Err(sunk);
        }
        let Reached { epoch, revision, audit } = reached;
        // What is committed with the reserve given up is not to be taken for time in which holders could have renewed.
        let starving = !self.reserve.held();
        let deadlines = self.due.next().is_some();
        let late = !starving && deadlines && beat.source.saturating_sub(self.committed) >= BEAT;
        if !(changed || late) {
            connection.execute_batch("ROLLBACK").map_err(engine_error)?;
            if !deadlines {
                self.clock.beat(beat);
            }
            return Ok(());
        }
        let sql = "UPDATE server SET seq = ?1, beat = ?2, revision = ?3, epoch = ?4 WHERE id = 1";
        let update = match starving {
            // A page less for each read that the reserve has room for.
            true => Ok(()),
            false => connection
                .prepare_cached(sql)
                .and_then(|mut update| update.execute(params![self.seq + 1, beat.store.0, revision.0, epoch.0]))
                .and_then(|_| if self.full { probe(connection, beat.store) } else { Ok(()) }),
        };
        // What failed before COMMIT was asked for has certainly not happened.
        let known = update.is_err();
        let asked = self.clock.read().source;
        let committed = update.and_then(|_| connection.prepare_cached("COMMIT")?.execute([]));
        self.counts.commits.took(self.clock.read().source.saturating_sub(asked));
        if let Err(error) = committed {
            tracing::error!(%error, "a commit failed");
            self.counts.failed.one();
            let error = engine_error(error);
            self.full |= error == StoreError::Full;
            let back = connection.is_autocommit() || connection.execute_batch("ROLLBACK").is_ok();
            return Err(if back && (known || error == StoreError::Full) { error } else { StoreError::Unknown });
        }
        if (self.revision, self.audit) != (revision, audit) {
            (self.revision, self.audit) = (revision, audit);
            self.head.send_modify(|head| (head.revision, head.audit) = (revision, audit));
        }
        if starving {
            return Ok(());
        }
        (self.seq, self.committed, self.epoch) = (self.seq + 1, beat.source, epoch);
        if std::mem::take(&mut self.full) {
            // If this fails, the sweeper takes it for an upload that never ended, which it is.
            let _ = drop_body(connection, PROBE);
        }
        self.clock.beat(beat);
        Ok(())
    }

    /// Once a second: the sidecar follows the commits, and what has outlived its time is swept in small steps.
    fn tidy(&mut self, connection: &Connection) {
        if !self.reserve.held() {
            return;
        }
        // What is swept is gone for good, so only time that has been committed counts.
        let (source, now) = (self.clock.read().source, self.clock.last());
        // As many ids are looked at as come in, or more, or they would pile up under load.
        if self.appended >= sweep::STEP {
            self.appended = 0;
            if let Err(error) = self.sweeper.requests(connection, now, self.limits.request_memory) {
                tracing::warn!(%error, "sweeping failed; it is tried again");
            }
        }
        if source.saturating_sub(self.tidied) < TIDY {
            return;
        }
        self.tidied = source;
        if self.named != self.seq {
            self.write_sidecar();
        }
        match self.sweeper.step(connection, now, self.limits.request_memory, self.keep_events) {
            Ok(Some(trimmed)) => self.head.send_modify(|head| head.trimmed = trimmed),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "sweeping failed; it is tried again"),
        }
    }

    fn write_sidecar(&mut self) {
        let sidecar = Sidecar { instance: self.instance, epoch: self.epoch, seq: self.seq };
        match sidecar::write(&self.file, &sidecar) {
            Ok(()) => self.named = self.seq,
            Err(error) => tracing::warn!(%error, "the sidecar could not be written; it is tried again"),
        }
    }

    fn finish(mut self, connection: &Connection) {
        self.checkpointer.stop();
        let closed =
            connection.execute("UPDATE server SET clean = 1 WHERE id = 1", []).and_then(|_| checkpoint(connection, "TRUNCATE"));
        if let Err(error) = closed {
            tracing::warn!(%error, "the store could not be left clean; the next start checks it");
        }
        self.write_sidecar();
    }
}

/// Locks with a holder, a cooldown or a queue have something to wait for; the others wake nobody.
fn pending_locks(connection: &Connection, now: StoreTime) -> rusqlite::Result<Due<StateName>> {
    let mut due = Due::new();
    let mut busy = connection.prepare(
        "SELECT environment, path FROM name WHERE lock LIKE '%\"holders\"%' OR lock LIKE '%\"cooldown_until\"%'
         OR EXISTS (SELECT 1 FROM ticket WHERE ticket.name = name.id)",
    )?;
    for row in busy.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))? {
        let (environment, path) = row?;
        due.set(StateName { environment: parse(environment)?, path: parse(path)? }, Some(now));
    }
    Ok(due)
}

/// What is queued, up to a batch, and what ends the writer after it. What is patient is put with the patient.
fn gather(first: Option<Job>, queue: &Receiver<Job>, patient: &mut VecDeque<Job>) -> (Vec<Job>, Option<Job>) {
    let mut jobs = Vec::new();
    let mut next = first;
    while let Some(job) = next {
        if matches!(job, Job::Close | Job::Abandon) {
            return (jobs, Some(job));
        }
        match &job {
            Job::Submit(command, _) if command.is_patient() => patient.push_back(job),
            _ => jobs.push(job),
        }
        next = if jobs.len() < BATCH { queue.try_recv().ok() } else { None };
    }
    (jobs, None)
}

fn stage(connection: &Connection, piece: &Piece, now: StoreTime) -> rusqlite::Result<()> {
    let Piece { body, key, n, bytes } = piece;
    // What is sealed under a retired key is committed on no ground: it is not kept either.
    if keys::is_retired(connection, *key)? {
        return Ok(());
    }
    let sql = "INSERT OR IGNORE INTO staged (body, at, data_key) VALUES (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute(params![body.0, now.0, key.0])?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO chunk (body, n, bytes) VALUES (?1, ?2, ?3)")?
        .execute(params![body.0, n, bytes])?;
    Ok(())
}

/// Whether a command says that opened secrets are about to be read.
fn is_read(command: &Command) -> bool {
    matches!(&command.act, Act::Store(act) if matches!(**act, StoreAct::Audit(AuditAct::Read(_))))
}

/// Whether a command may be committed from the reserve: such a read, or a seal on what was recorded.
fn is_audit(command: &Command) -> bool {
    matches!(&command.act, Act::Store(act) if matches!(**act, StoreAct::Audit(AuditAct::Read(_) | AuditAct::Checkpoint(_))))
}

/// A body that only shows that there is room.
const PROBE: BodyId = BodyId([0; 16]);

/// After a full disk a commit has to show that there is room for more than itself. Otherwise the few bytes that carry store time might
/// find it while renewals do not, and leases would end that their holders could not renew.
fn probe(connection: &Connection, now: StoreTime) -> rusqlite::Result<()> {
    stage(connection, &Piece { body: PROBE, key: DataKeyId::default(), n: 0, bytes: vec![0; 64 * 1024] }, now)
}

const _: () = assert!(BEAT.as_micros() < time::LONGEST_STEP.as_micros());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::command::{Act, EnvironmentAct, KeyAct};
    use crate::domain::ids::RequestId;

    fn submit(act: KeyAct) -> Job {
        let act = Act::Environment("dev".parse().unwrap(), EnvironmentAct::Keys(Box::new(act)));
        Job::Submit(
            Box::new(Command { principal: "test".parse().unwrap(), trace: Arc::default(), request: None, act }),
            oneshot::channel().0,
        )
    }

    #[test]
    fn work_that_nobody_waits_for_is_put_behind_the_rest() {
        let (send, queue) = std::sync::mpsc::channel();
        let job = RequestId([1; 16]);
        for act in [
            KeyAct::Rewrapped { job, keys: Vec::new() },
            KeyAct::Destroy,
            KeyAct::Resealed { job: None, cursor: None, documents: Vec::new() },
            KeyAct::Retire { job, keys: Vec::new() },
            KeyAct::Finish { job },
        ] {
            send.send(submit(act)).unwrap();
        }
        send.send(Job::Close).unwrap();
        let mut patient = VecDeque::new();
        let (jobs, stop) = gather(queue.try_recv().ok(), &queue, &mut patient);
        assert_eq!((jobs.len(), patient.len()), (2, 3));
        assert!(matches!(stop, Some(Job::Close)));
    }
}
