//! Plays a script on an engine and writes down what it saw. It resolves the script's references from what clients could know, and
//! keeps its own reckoning of store time: the last beat, plus what the source has moved since, two seconds at most.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use leasehold::domain::command::{Act, Command, EnvironmentAct};
use leasehold::domain::ids;
use leasehold::domain::names::{Prefix, StateName};
use leasehold::domain::refusal::Refusal;
use leasehold::store::clock::{ManualSource, Source};
use leasehold::store::{Later, Query};

use crate::engine::{Engine, Start};
use crate::history::{
    Actor, Ask, At, Call, History, Kept, Lock, Mode, Origin, Record, Reply, Request, Seen, Token, Version, View, What, Write,
};
use crate::script::{ACTORS, Doc, ENVIRONMENTS, ExpectOf, How, Id, Kind, LAST_GRANTED, LAST_QUEUED, LOCKS, Read, Step, TokenOf};

mod asking;
mod commands;
mod sealing;
mod translate;

use commands::environment;

/// Where every run's wall clock starts: as a machine's would, so that epochs come from it.
const WALL_START: i64 = 1_790_000_000_000;
/// How often the sweeper of a run comes, in milliseconds.
const SWEEP: u64 = 900;
/// No clock step counts for more.
const LONGEST_STEP: At = 2_000_000;

/// A run in progress.
pub(crate) struct Driver {
    engine: Option<Box<dyn Engine>>,
    pub(crate) source: Arc<ManualSource>,
    clock: Reckoning,
    known: Known,
    pub(crate) history: History,
    fresh: u64,
    wall_steps: bool,
}

/// Store time as the harness reckons it.
#[derive(Clone, Copy, Debug, Default)]
struct Reckoning {
    /// At the last beat.
    store: At,
    /// The source's reading then.
    source: Duration,
    /// At the last beat that surely was committed, and the source's reading then.
    durable: (At, Duration),
}

/// What clients could know.
#[derive(Default)]
struct Known {
    grants: [Vec<(Token, Actor)>; LOCKS.len()],
    tickets: [Vec<(u64, Actor)>; LOCKS.len()],
    /// How often a lease was asked for, as far as its holder was told.
    asked: HashMap<(Lock, Token), u32>,
    versions: [Vec<Version>; LOCKS.len()],
    drafts: [Vec<u128>; LOCKS.len()],
    /// The bytes and header of the last write that was tried.
    tried: [Option<Tried>; LOCKS.len()],
    requests: Vec<(Command, Call, Request)>,
    revision: ids::Revision,
    events: Vec<Seen>,
}

/// What names bytes, and lineage and serial.
type Tried = (u64, Option<(u64, u64)>);

/// Plays the script from an empty store.
pub(crate) fn play(start: Start, script: &[Step]) -> History {
    let mut driver = Driver::new(start, true);
    script.iter().for_each(|step| driver.step(*step));
    driver.history
}

/// The same without the steps of the wall clock.
pub(crate) fn play_without_wall_steps(start: Start, script: &[Step]) -> History {
    let mut driver = Driver::new(start, false);
    script.iter().for_each(|step| driver.step(*step));
    driver.history
}

impl Driver {
    pub(crate) fn new(start: Start, wall_steps: bool) -> Self {
        let source = Arc::new(ManualSource::default());
        source.step_wall(WALL_START);
        let engine = Some(start(Arc::clone(&source)));
        let clock = Reckoning { source: source.monotonic(), durable: (0, source.monotonic()), store: 0 };
        let mut driver =
            Self { engine, source, clock, known: Known::default(), history: History::default(), fresh: 0, wall_steps };
        (0..ENVIRONMENTS.len()).for_each(|env| driver.step(Step::CreateEnvironment(env, Id::None)));
        driver
    }

    /// Does one step.
    pub(crate) fn step(&mut self, step: Step) {
        match self.whose(step) {
            Step::Acquire(actor, lock, how, id) => {
                let ask = ask(how);
                self.send(actor, id, Call::Acquire { actor, lock, ask });
            }
            Step::Refresh(actor, lock) => self.send(actor, Id::None, Call::Refresh { actor, lock }),
            Step::Cancel(actor, lock, nth, id) => {
                let ticket = nth.map(|nth| back(&self.known.tickets[lock], nth).map_or(99, |(ticket, _)| *ticket));
                self.send(actor, id, Call::Cancel { actor, lock, ticket });
            }
            Step::Renew(actor, lock, token, ttl) => {
                let (token, ttl) = (self.token(actor, lock, token), ttl.map(seconds));
                self.send(actor, Id::None, Call::Renew { actor, lock, token, ttl });
            }
            Step::Release(actor, lock, token, abandoned) => {
                let token = self.token(actor, lock, token);
                self.send(actor, Id::None, Call::Release { actor, lock, token, abandoned });
            }
            Step::Reacquire(actor, lock, token, id) => {
                let old = self.token(actor, lock, token);
                self.send(actor, id, Call::Reacquire { actor, lock, old });
            }
            Step::Break { actor, lock, token, now, take, id } => {
                let token = token.map(|token| self.token(actor, lock, token));
                // What is taken is taken as it is said.
                let take = take.map(|how| Ask { plan: false, once: false, ..ask(how) });
                self.send(actor, id, Call::Break { actor, lock, token, now, take });
            }
            Step::Force(actor, lock, id) => self.send(actor, id, Call::Force { actor, lock }),
            Step::TakeBack(actor, lock, token, less) => {
                let token = self.token(actor, lock, token);
                let asked = self.known.asked.get(&(lock, token)).copied().unwrap_or(0);
                let asked = asked.saturating_sub(less);
                self.send(actor, Id::None, Call::TakeBack { actor, lock, token, asked });
            }
            Step::Freeze(actor, lock, id) => self.send(actor, id, Call::Freeze { lock }),
            Step::Unfreeze(actor, lock, id) => self.send(actor, id, Call::Unfreeze { lock }),
            Step::Write(actor, lock, token, expect, kind, id) => {
                if let Some(write) = self.write(actor, lock, token, expect, kind) {
                    self.send(actor, id, Call::Write { actor, lock, write });
                }
            }
            Step::Passing(actor, lock, expect, doc, ago, id) => {
                if let Some(write) = self.write(actor, lock, TokenOf::Own(0), expect, Kind::Write(doc, false)) {
                    let (last, _) = self.rows(Query::Lock(state(lock)));
                    let coming = last.first().map_or(0, |view| view.last_token) + 1;
                    let write = Write { passing: true, token: coming.saturating_sub(ago), ..write };
                    self.send(actor, id, Call::Write { actor, lock, write });
                }
            }
            Step::Discard(actor, lock, nth, id) => {
                let draft = back(&self.known.drafts[lock], nth).copied().unwrap_or(1);
                self.send(actor, id, Call::Discard { lock, draft });
            }
            Step::Purge(actor, lock, nth, id) => {
                let version = nth.map(|nth| back(&self.known.versions[lock], nth).map_or(1, |version| version.version));
                self.send(actor, id, Call::Purge { lock, version });
            }
            Step::CreateEnvironment(env, id) => self.send(0, id, Call::CreateEnvironment { env }),
            Step::DeleteEnvironment(env, force, id) => self.delete_environment(env, force, id),
            Step::FreezeEnvironment(env, id) => self.send(0, id, Call::FreezeEnvironment { env }),
            Step::UnfreezeEnvironment(env, id) => self.send(0, id, Call::UnfreezeEnvironment { env }),
            Step::SetDelay(env, delay) => self.send(0, Id::Fresh, Call::SetDelay { env, delay: seconds(delay) }),
            Step::SetDoor(env, plans, passing) => self.send(0, Id::Fresh, Call::SetDoor { env, plans, passing }),
            Step::Apply(actor, lock, versions, releases) => self.apply(actor, lock, versions, releases),
            Step::Recreate(env) => self.recreate(env),
            Step::Replay(nth) => {
                if let Some((command, call, request)) = back(&self.known.requests, nth).cloned() {
                    self.submit(command, call, Some(request));
                }
            }
            Step::Read(lock, read) => self.read(lock, read),
            Step::Advance(ms) => self.source.advance(Duration::from_millis(ms)),
            Step::Pass(ms) => {
                for _ in 0..ms / SWEEP {
                    self.source.advance(Duration::from_millis(SWEEP));
                    self.tick();
                }
            }
            Step::Late(beats) => {
                for _ in 0..beats {
                    self.source.advance(Duration::from_secs(2));
                    self.step(Step::Refresh(3, LOCKS.len() - 1));
                }
            }
            Step::Lapse(lock) => {
                self.step(Step::Pass(5_500));
                self.step(Step::Reacquire(LAST_GRANTED, lock, TokenOf::Own(0), Id::Fresh));
            }
            Step::Tick => self.tick(),
            Step::WallStep(ms) if self.wall_steps => self.source.step_wall(ms),
            Step::WallStep(_) => {}
            Step::Restart(reading) => self.restart(Duration::from_millis(reading)),
        }
    }

    /// The step with its actor.
    fn whose(&self, mut step: Step) -> Step {
        if let Step::Refresh(actor, lock)
        | Step::Cancel(actor, lock, ..)
        | Step::Renew(actor, lock, ..)
        | Step::Release(actor, lock, ..)
        | Step::Reacquire(actor, lock, ..)
        | Step::Break { actor, lock, .. }
        | Step::TakeBack(actor, lock, ..)
        | Step::Write(actor, lock, ..) = &mut step
        {
            *actor = match *actor {
                LAST_GRANTED => self.known.grants[*lock].last().map_or(0, |(_, actor)| *actor),
                LAST_QUEUED => self.known.tickets[*lock].last().map_or(0, |(_, actor)| *actor),
                actor => actor,
            };
        }
        step
    }

    /// Makes one call of one's own, under a fresh request id.
    pub(crate) fn call(&mut self, actor: Actor, call: Call) -> Reply {
        let next = self.history.0.len();
        self.send(actor, Id::Fresh, call);
        self.history.0[next].reply.clone()
    }

    /// The last request that had an id, once more.
    pub(crate) fn repeat(&mut self, nth: usize) -> Reply {
        let next = self.history.0.len();
        self.step(Step::Replay(nth));
        self.history.0[next].reply.clone()
    }

    /// The drafts of a state as a reader sees them now.
    pub(crate) fn drafts_of(&self, lock: Lock) -> Vec<u128> {
        self.drafts(lock).into_iter().map(|draft| draft.id).collect()
    }

    /// A lock as a reader sees it now.
    pub(crate) fn look(&self, lock: Lock) -> View {
        self.view(lock, self.reckoned(), true).0
    }

    /// Asks the store itself.
    pub(crate) fn engine(&self) -> &dyn Engine {
        self.engine.as_deref().expect("an engine runs except within a restart")
    }

    fn send(&mut self, actor: Actor, id: Id, call: Call) {
        let request = self.request(actor, id);
        let command = self.command(actor, request, &call);
        if let Some(request) = request {
            self.known.requests.push((command.clone(), call.clone(), request));
        }
        self.submit(command, call, request);
    }

    fn submit(&mut self, command: Command, mut call: Call, request: Option<Request>) {
        let at = self.beat();
        let store = self.engine().store();
        let mut command = block_on(Box::pin(async { Ok(sealing::grounded(store, command).await) }));
        let mut reply = block_on(store.submit(command.clone()));
        // A guess at the next token that was wrong is told to nobody: the service guesses again.
        if let Err(Refusal::TokenMoved(coming)) = reply {
            commands::pass_with(&mut command, coming);
            if let Call::Write { write, .. } = &mut call {
                write.token = coming.0;
            }
            reply = block_on(store.submit(command));
        }
        let reply = translate::reply(reply);
        let events = self.events();
        if self.engine().beats_always() || !events.is_empty() {
            self.clock.durable = (at, self.clock.source);
        }
        // Where nothing happened, every fourth look is enough to see that nothing did.
        let looks = !events.is_empty() || reply.refused().is_none() || self.history.0.len().is_multiple_of(4);
        let whole = matches!(call, Call::Write { .. } | Call::Purge { .. }) || self.history.0.len().is_multiple_of(4);
        let views: Vec<_> = call.lock().filter(|_| looks).map(|lock| self.view(lock, at, whole)).into_iter().collect();
        let said = views.first().map(|(_, said)| *said);
        let views = views.into_iter().map(|(view, _)| view).collect();
        self.known.learn(&call, &reply, &events);
        let kept = call.lock().filter(|_| matches!(reply, Reply::Refused { draft: Some(_), .. }));
        self.history.0.push(Record { at, said, call, request, reply, events, views, kept: None });
        // A draft that was promised is looked for.
        kept.into_iter().for_each(|lock| self.read(lock, Read::Drafts));
    }

    fn tick(&mut self) {
        let at = self.beat();
        self.clock.durable = (at, self.clock.source);
        self.engine().tick();
        let events = self.events();
        self.known.learn(&Call::Tick, &Reply::Nothing, &events);
        self.history.0.push(Record {
            at,
            said: None,
            call: Call::Tick,
            request: None,
            reply: Reply::Nothing,
            events,
            views: Vec::new(),
            kept: None,
        });
    }

    fn restart(&mut self, reading: Duration) {
        self.source.set_monotonic(reading);
        self.engine = self.engine.take().map(Engine::restart);
        let (_, now) = self.rows(Query::Locks { prefix: Prefix::default(), all: true, after: None, limit: 1 });
        // Beats that no commit carried are lost with the process.
        let at = now.clamp(self.clock.durable.0, self.clock.store);
        self.clock = Reckoning { store: at, source: reading, durable: (at, reading) };
        let before = std::mem::take(&mut self.known.revision);
        let events = self.read_events();
        let events_lost = events != self.known.events;
        self.known.revision = self.known.revision.max(before);
        let views = (0..LOCKS.len()).map(|lock| self.view(lock, at, true).0).collect();
        let versions = (0..LOCKS.len()).map(|lock| (lock, self.versions(lock))).collect();
        let drafts = (0..LOCKS.len()).map(|lock| (lock, self.drafts(lock))).collect();
        let kept = Some(Kept { versions, drafts, events_lost });
        let (call, reply) = (Call::Restart, Reply::Nothing);
        self.history.0.push(Record { at, said: Some(now), call, request: None, reply, events: Vec::new(), views, kept });
    }

    fn read(&mut self, lock: Lock, read: Read) {
        let (call, reply) = match read {
            Read::Newest => (Call::ReadNewest { lock }, Reply::Versions(self.select_versions(Query::Version(state(lock), None)))),
            Read::History => (Call::ReadHistory { lock }, Reply::Versions(self.versions(lock))),
            Read::Drafts => (Call::ReadDrafts { lock }, Reply::Drafts(self.drafts(lock))),
            Read::Version(nth) => {
                let Some(version) = back(&self.known.versions[lock], nth).map(|version| version.version) else { return };
                let rows = self.select_versions(Query::Version(state(lock), Some(ids::Version(version))));
                (Call::ReadVersion { lock, version }, Reply::Versions(rows))
            }
        };
        let at = self.reckoned();
        self.history.0.push(Record {
            at,
            said: None,
            call,
            request: None,
            reply,
            events: Vec::new(),
            views: Vec::new(),
            kept: None,
        });
    }

    /// Deletes an environment as an administrator would who looked before: with a forced one, its leases are broken.
    fn delete_environment(&mut self, env: usize, force: bool, id: Id) {
        let command = |driver: &Self, request| {
            let act = Act::Environment(environment(env), EnvironmentAct::Delete { force });
            driver.wrap(0, request, act)
        };
        let request = self.request(0, id);
        let command = command(self, request);
        let call = Call::DeleteEnvironment { env };
        if let Some(request) = request {
            self.known.requests.push((command.clone(), call.clone(), request));
        }
        self.submit(command, call, request);
    }

    fn apply(&mut self, actor: Actor, lock: Lock, versions: u64, releases: bool) {
        let how = How { exclusive: true, ttl: None, wait: false, polls: false, unattended: false, plan: false, once: false };
        self.step(Step::Acquire(actor, lock, how, Id::Fresh));
        for _ in 0..versions {
            let write = Kind::Write(Doc::Next, false);
            self.step(Step::Write(actor, lock, TokenOf::Own(0), ExpectOf::Newest, write, Id::Fresh));
        }
        if releases {
            self.step(Step::Release(actor, lock, TokenOf::Own(0), false));
        }
    }

    fn recreate(&mut self, env: usize) {
        for lock in (0..LOCKS.len()).filter(|lock| LOCKS[*lock].0 == ENVIRONMENTS[env]) {
            self.step(Step::Freeze(0, lock, Id::Fresh));
            self.step(Step::Break { actor: 0, lock, token: None, now: true, take: None, id: Id::Fresh });
        }
        self.delete_environment(env, true, Id::Fresh);
        self.step(Step::CreateEnvironment(env, Id::Fresh));
    }

    fn request(&mut self, actor: Actor, id: Id) -> Option<Request> {
        let principal = name(actor).0;
        let mine =
            self.known.requests.iter().rev().map(|(_, _, request)| *request).filter(|request| request.principal == principal);
        let id = match id {
            Id::None => return None,
            Id::Fresh => None,
            Id::Reused(nth) => mine.skip(nth).map(|request| request.id).next(),
        };
        let fresh = self.fresh();
        Some(Request { principal, id: id.unwrap_or(u128::from(fresh)), digest: fresh })
    }

    fn write(&mut self, actor: Actor, lock: Lock, token: TokenOf, expect: ExpectOf, kind: Kind) -> Option<Write> {
        let fresh = self.fresh();
        let versions = &self.known.versions[lock];
        let newest = versions.last();
        let expect = match expect {
            ExpectOf::Newest => newest.map_or((0, None), |newest| (newest.version, Some(newest.etag))),
            ExpectOf::Older(nth) => back(versions, nth).map_or((0, None), |older| (older.version, Some(older.etag))),
            ExpectOf::Nothing => (0, None),
            ExpectOf::ForgedEtag => (newest.map_or(1, |newest| newest.version), Some(u128::from(fresh))),
        };
        let (lineage, serial) = versions.iter().rev().find_map(|version| version.terraform).unwrap_or((1, 0));
        let (origin, rewrite, bytes, terraform) = match kind {
            Kind::Write(doc, rewrite) => {
                let (bytes, terraform) = match doc {
                    Doc::Next => (fresh, Some((lineage, serial + 1))),
                    Doc::Same => newest.and_then(|newest| Some((newest.digest?, newest.terraform)))?,
                    Doc::Lower(by) => (fresh, Some((lineage, serial.saturating_sub(by)))),
                    Doc::OtherLineage => (fresh, Some((lineage + 1, serial + 1))),
                    Doc::Again => self.known.tried[lock]?,
                    Doc::Opaque => (fresh, None),
                };
                (Origin::Write, rewrite, Some(bytes), terraform)
            }
            Kind::Rollback(nth) => {
                let old = back(versions, nth).filter(|old| !old.deleted)?;
                (Origin::Rollback, false, old.digest, old.terraform.map(|(lineage, old)| (lineage, old.max(serial + 1))))
            }
            Kind::Promote(nth) => {
                let draft = *back(&self.known.drafts[lock], nth)?;
                (Origin::Promote(draft), false, Some(fresh), Some((lineage, serial + 1)))
            }
            Kind::Delete => (Origin::Delete, false, None, None),
        };
        if let (Origin::Write, Some(bytes)) = (origin, bytes) {
            self.known.tried[lock] = Some((bytes, terraform));
        }
        let (draft, etag) = (u128::from(self.fresh()), u128::from(self.fresh()));
        Some(Write {
            token: self.token(actor, lock, token),
            passing: false,
            expect,
            origin,
            rewrite,
            bytes,
            terraform,
            draft,
            etag,
        })
    }

    fn token(&self, actor: Actor, lock: Lock, token: TokenOf) -> Token {
        let grants = &self.known.grants[lock];
        let newest = match token {
            TokenOf::Own(nth) => grants.iter().rev().filter(|(_, whose)| *whose == actor).nth(nth).or(grants.last()),
            TokenOf::Any(nth) => back(grants, nth),
            TokenOf::Forged(zero) => return if zero { 0 } else { 1 << 62 },
        };
        newest.map_or(0, |(token, _)| *token)
    }

    fn fresh(&mut self) -> u64 {
        self.fresh += 1;
        self.fresh
    }

    /// A call commits now.
    fn beat(&mut self) -> At {
        let source = self.source.monotonic();
        let now = self.reckoned();
        self.clock = Reckoning { store: now, source, ..self.clock };
        now
    }

    /// Store time now. An engine that skips beats on which nothing depends is asked for it, and believed within bounds.
    fn reckoned(&self) -> At {
        let source = self.source.monotonic();
        let (least, most) = (self.clock.least(source), self.clock.now(source));
        if least == most {
            return most;
        }
        self.rows(Query::Locks { prefix: Prefix::default(), all: true, after: None, limit: 1 }).1.clamp(least, most)
    }
}

/// What new environments are set to.
pub(crate) const LOCK_DELAY: At = 3_000_000;
pub(crate) const DEFAULT_TTL: At = 5_000_000;

impl Reckoning {
    fn now(self, source: Duration) -> At {
        let passed = u64::try_from(source.saturating_sub(self.source).as_micros()).expect("a script is shorter than an age");
        self.store + passed.min(LONGEST_STEP)
    }

    /// Store time if every beat was skipped that could be.
    fn least(self, source: Duration) -> At {
        let (store, at) = self.durable;
        Self { store, source: at, ..self }.now(source)
    }
}

impl Known {
    fn learn(&mut self, call: &Call, reply: &Reply, events: &[Seen]) {
        for seen in events {
            match (&seen.what, seen.lock) {
                (What::Granted { token, actor, .. }, Some(lock)) => self.grants[lock].push((*token, *actor)),
                (What::Queued { ticket, actor, .. }, Some(lock)) => self.tickets[lock].push((*ticket, *actor)),
                (What::Draft(draft), Some(lock)) => self.drafts[lock].push(*draft),
                (What::Environment("deleted"), _) => {
                    for (lock, _) in LOCKS.iter().enumerate().filter(|(_, (env, _))| *env == ENVIRONMENTS[seen.env]) {
                        self.versions[lock].clear();
                        self.drafts[lock].clear();
                    }
                }
                _ => {}
            }
        }
        if let (Some(lock), Reply::Held { token, asked, .. }) = (call.lock(), reply) {
            self.asked.insert((lock, *token), *asked);
        }
        if let (Some(lock), Reply::Wrote { version, replayed: false }) = (call.lock(), reply) {
            self.versions[lock].push(version.clone());
        }
    }
}

fn ask(how: How) -> Ask {
    let mode = if how.exclusive { Mode::Exclusive } else { Mode::Shared };
    Ask {
        mode,
        ttl: how.ttl.map(seconds),
        wait: how.wait,
        polls: how.polls,
        unattended: how.unattended,
        plan: how.plan,
        once: how.once,
    }
}

fn body_bytes(of: u64) -> Vec<u8> {
    of.to_be_bytes().to_vec()
}

fn state(lock: Lock) -> StateName {
    thread_local! {
        static STATES: Vec<StateName> =
            LOCKS.iter().map(|(env, path)| format!("{env}/{path}").parse().expect("names of the script are names")).collect();
    }
    STATES.with(|states| states[lock].clone())
}

fn seconds(seconds: u64) -> At {
    seconds * 1_000_000
}

fn back<T>(items: &[T], nth: usize) -> Option<&T> {
    items.iter().rev().nth(nth)
}

/// Waits for the store. Every answer of an engine under test is an answer: none fails here.
pub(crate) fn block_on<T>(later: Later<'_, T>) -> T {
    thread_local! {
        static RUNTIME: OnceCell<tokio::runtime::Runtime> = const { OnceCell::new() };
    }
    RUNTIME.with(|runtime| {
        let build = || tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers starts");
        runtime.get_or_init(build).block_on(later).expect("the engine works")
    })
}

/// The first of a crowd that no script knows.
pub(crate) const CROWD: Actor = 10;

/// Principal and session of an actor.
fn name(actor: Actor) -> (&'static str, String) {
    ACTORS.get(actor).map_or_else(|| ("crowd", format!("s{actor}")), |(principal, session)| (principal, (*session).to_owned()))
}

/// Actors by principal and session.
fn actor(principal: &str, session: &str) -> Actor {
    let crowd = || session.strip_prefix('s').filter(|_| principal == "crowd")?.parse().ok();
    let found = ACTORS.iter().position(|known| *known == (principal, session));
    found.or_else(crowd).unwrap_or_else(|| panic!("nobody is called {principal}/{session}"))
}
