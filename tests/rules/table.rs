//! The table of lease rules in the design, by name: each rule on every engine, and again with a restart in the middle. What happened
//! is given to the checker at the end, too.

use crate::checker::{check, explain};
use crate::driver::{CROWD, Driver};
use crate::engine::Start;
use crate::history::{Actor, Ask, At, Call, How, Lock, Mode, Origin, Reply, Token, What, Write};
use crate::script::Step;

mod content;
mod door;
mod hold;
mod pass;
mod queue;

/// The lock that the rules are tried on; nothing else happens in its environment.
const LOCK: Lock = 0;
const ALICE: Actor = 0;
const ALICE_TOO: Actor = 1;
const BOB: Actor = 2;
const BOB_TOO: Actor = 3;

/// A store with a clock that the test turns.
struct World {
    driver: Driver,
    restarts: bool,
}

/// A rule, tried on every engine, with and without a restart where it says `pause`.
macro_rules! rule {
    ($(#[$doc:meta])* $name:ident, $body:expr) => {
        $(#[$doc])*
        mod $name {
            use super::*;

            #[test]
            fn memory() {
                World::run(crate::engine::memory, false, $body);
            }

            #[test]
            fn memory_and_after_a_restart() {
                World::run(crate::engine::memory, true, $body);
            }

            #[test]
            fn sqlite() {
                World::run(crate::engine::sqlite, false, $body);
            }

            #[test]
            fn sqlite_and_after_a_restart() {
                World::run(crate::engine::sqlite, true, $body);
            }
        }
    };
}
use rule;

impl World {
    fn run(start: Start, restarts: bool, body: impl FnOnce(&mut Self)) {
        let mut world = Self { driver: Driver::new(start, true), restarts };
        body(&mut world);
        let violations = check(&world.driver.history);
        assert!(violations.is_empty(), "{}", explain(&world.driver.history, &violations));
    }

    /// Where the server is killed in half of the runs.
    fn pause(&mut self) {
        if self.restarts {
            self.driver.step(Step::Restart(17));
        }
    }

    /// Time passes, swept.
    fn pass(&mut self, ms: u64) {
        for step in [500, ms % 500].into_iter().zip([ms / 500, 1]).flat_map(|(step, times)| (0..times).map(move |_| step)) {
            self.driver.source.advance(std::time::Duration::from_millis(step));
            self.driver.step(Step::Tick);
        }
    }

    /// Time passes, and nobody sweeps.
    fn late(&mut self, seconds: u64) {
        self.driver.step(Step::Late(seconds / 2));
    }

    /// A long time passes.
    fn idle(&mut self, seconds: u64) {
        for _ in 0..seconds / 2 {
            self.driver.source.advance(std::time::Duration::from_secs(2));
            self.driver.step(Step::Tick);
        }
    }

    fn call(&mut self, actor: Actor, call: Call) -> Reply {
        self.driver.call(actor, call)
    }

    fn acquire(&mut self, actor: Actor, ask: Ask) -> Reply {
        self.call(actor, Call::Acquire { actor, lock: LOCK, ask })
    }

    /// Acquires what must be free, and gives the token.
    fn hold(&mut self, actor: Actor, ask: Ask) -> Token {
        match self.acquire(actor, ask) {
            Reply::Held { token, .. } => token,
            other => panic!("not held: {other:?}"),
        }
    }

    /// Queues, and gives the ticket.
    fn queue(&mut self, actor: Actor, ask: Ask) -> u64 {
        match self.acquire(actor, Ask { wait: true, ..ask }) {
            Reply::Queued { ticket, .. } => ticket,
            other => panic!("not queued: {other:?}"),
        }
    }

    fn renew(&mut self, actor: Actor, token: Token, ttl: Option<At>) -> Reply {
        self.call(actor, Call::Renew { actor, lock: LOCK, token, ttl })
    }

    fn release(&mut self, actor: Actor, token: Token) -> Reply {
        self.call(actor, Call::Release { actor, lock: LOCK, token, abandoned: false })
    }

    fn reacquire(&mut self, actor: Actor, old: Token) -> Reply {
        self.call(actor, Call::Reacquire { actor, lock: LOCK, old })
    }

    fn break_lease(&mut self, actor: Actor, token: Option<Token>, now: bool, take: Option<Ask>) -> Reply {
        self.call(actor, Call::Break { actor, lock: LOCK, token, now, take })
    }

    /// Writes on top of what is current.
    fn write(&mut self, actor: Actor, token: Token) -> Reply {
        let write = self.next(token);
        self.put(actor, write)
    }

    fn put(&mut self, actor: Actor, write: Write) -> Reply {
        self.call(actor, Call::Write { actor, lock: LOCK, write })
    }

    /// What a good writer would write now.
    fn next(&self, token: Token) -> Write {
        let newest = self.driver.look(LOCK).newest.flatten();
        let n = 1_000_000 + self.driver.history.0.len() as u64;
        Write {
            token,
            passing: false,
            expect: newest.as_ref().map_or((0, None), |newest| (newest.version, Some(newest.etag))),
            origin: Origin::Write,
            rewrite: false,
            bytes: Some(n),
            terraform: Some((1, newest.and_then(|newest| newest.terraform).map_or(1, |(_, serial)| serial + 1))),
            draft: u128::from(n) << 8,
            etag: u128::from(n) << 8 | 1,
        }
    }

    /// Who holds the lock: token, actor and whether exclusive.
    fn holders(&self) -> Vec<(Token, Actor)> {
        self.driver.look(LOCK).holders.into_iter().map(|(token, actor, ..)| (token, actor)).collect()
    }

    /// The one holder, of whom it must be told.
    fn holder(&self, actor: Actor) -> Token {
        match self.holders()[..] {
            [(token, who)] if who == actor => token,
            ref other => panic!("{actor} is not the holder: {other:?}"),
        }
    }

    fn nobody_holds(&self) {
        assert!((self.holders()).is_empty());
    }

    /// How a lease ended, as watchers were told.
    fn end_of(&self, lease: Token) -> Option<How> {
        let events = self.driver.history.0.iter().flat_map(|record| &record.events);
        events.into_iter().find_map(|seen| match seen.what {
            What::Ended { token, how } if token == lease => Some(how),
            _ => None,
        })
    }
}

const EXCLUSIVE: Ask =
    Ask { mode: Mode::Exclusive, ttl: None, wait: false, polls: false, unattended: false, plan: false, once: false };
/// As the door of a tool asks: the session is the tool's lock id.
const TOOL: Ask = Ask { unattended: true, polls: true, once: true, ..EXCLUSIVE };
const PLAN: Ask = Ask { plan: true, ..TOOL };
const SHARED: Ask = Ask { mode: Mode::Shared, ..EXCLUSIVE };

const fn for_seconds(ask: Ask, seconds: u64) -> Ask {
    Ask { ttl: Some(seconds * 1_000_000), ..ask }
}

fn draft(reply: &Reply) -> u128 {
    match reply {
        Reply::Refused { draft: Some(draft), .. } => *draft,
        other => panic!("no draft: {other:?}"),
    }
}

fn wrote(reply: &Reply) -> u64 {
    match reply {
        Reply::Wrote { version, replayed: false } => version.version,
        other => panic!("not written: {other:?}"),
    }
}

fn refused(reply: &Reply) -> &'static str {
    reply.refused().unwrap_or_else(|| panic!("not refused: {reply:?}"))
}
