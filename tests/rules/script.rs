//! Symbolic steps: who does what to which lock, with references ("my token", "an older etag") that the driver resolves from what it has
//! seen. So every prefix and every subset of a script is a script, and shrinking works.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::history::Plans;

/// Principals and sessions: two of one principal, and two principals with one session id.
pub(crate) const ACTORS: [(&str, &str); 4] = [("alice", "s1"), ("alice", "s2"), ("bob", "s1"), ("bob", "s3")];
/// The locks: two in one environment, one in another.
pub(crate) const LOCKS: [(&str, &str); 3] = [("one", "a"), ("one", "net/b"), ("two", "a")];
/// Stands for the actor that was granted the lock last.
pub(crate) const LAST_GRANTED: usize = ACTORS.len();
/// Stands for the actor that queued for the lock last.
pub(crate) const LAST_QUEUED: usize = ACTORS.len() + 1;
/// The environments.
pub(crate) const ENVIRONMENTS: [&str; 2] = ["one", "two"];

/// Whose token, counted from the newest grant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TokenOf {
    /// The newest that this actor was granted here, or the n-th before.
    Own(usize),
    /// The newest that anybody was granted here, or the n-th before.
    Any(usize),
    /// None that was ever granted.
    Forged(bool),
}

/// What a write says of the current version.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ExpectOf {
    Newest,
    /// The n-th before the newest.
    Older(usize),
    Nothing,
    ForgedEtag,
}

/// A document, relative to the newest one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Doc {
    /// The next serial, of new bytes.
    Next,
    /// The same lineage, serial and bytes as the newest version's.
    Same,
    /// The same or a lower serial, other bytes.
    Lower(u64),
    OtherLineage,
    /// The bytes of the draft or write that was tried last.
    Again,
    /// Not Terraform's.
    Opaque,
}

/// What a content act is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Write(Doc, bool),
    Rollback(usize),
    Promote(usize),
    Delete,
}

/// The request id of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Id {
    None,
    Fresh,
    /// The id that this principal used in its n-th last request: an error of the client.
    Reused(usize),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    pub(crate) exclusive: bool,
    /// None: the environment's.
    pub(crate) ttl: Option<u64>,
    pub(crate) wait: bool,
    pub(crate) polls: bool,
    pub(crate) unattended: bool,
    pub(crate) plan: bool,
    pub(crate) once: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Read {
    Newest,
    History,
    Drafts,
    Version(usize),
}

#[derive(Clone, Copy, Debug)]
#[expect(clippy::enum_variant_names, reason = "the wall clock's steps are called so")]
pub(crate) enum Step {
    Acquire(usize, usize, How, Id),
    Refresh(usize, usize),
    Cancel(usize, usize, Option<usize>, Id),
    Renew(usize, usize, TokenOf, Option<u64>),
    Release(usize, usize, TokenOf, bool),
    Reacquire(usize, usize, TokenOf, Id),
    Break {
        actor: usize,
        lock: usize,
        token: Option<TokenOf>,
        now: bool,
        take: Option<How>,
        id: Id,
    },
    Force(usize, usize, Id),
    /// Of the token, as it was asked for so many times less than it was.
    TakeBack(usize, usize, TokenOf, u32),
    Freeze(usize, usize, Id),
    Unfreeze(usize, usize, Id),
    Write(usize, usize, TokenOf, ExpectOf, Kind, Id),
    /// A write without a lease, which guesses the next token from what it saw so many grants ago.
    Passing(usize, usize, ExpectOf, Doc, u64, Id),
    Discard(usize, usize, usize, Id),
    Purge(usize, usize, Option<usize>, Id),
    CreateEnvironment(usize, Id),
    DeleteEnvironment(usize, bool, Id),
    FreezeEnvironment(usize, Id),
    UnfreezeEnvironment(usize, Id),
    SetDelay(usize, u64),
    SetDoor(usize, Plans, bool),
    /// A pipeline: acquires, writes so many good versions, and is done or killed.
    Apply(usize, usize, u64, bool),
    /// Ends the environment's leases, deletes and re-creates it.
    Recreate(usize),
    /// The n-th last request that had an id, once more.
    Replay(usize),
    Read(usize, Read),
    /// Time passes and nobody sweeps.
    Advance(u64),
    /// Time passes in steps of less than a second, swept after each.
    Pass(u64),
    /// Time passes and nobody sweeps, while the store works on another lock.
    Late(u64),
    /// The lock's holder is silent for longer than its ttl, and then takes its lease again.
    Lapse(usize),
    Tick,
    WallStep(i64),
    /// Killed and started, with the monotonic clock at another reading.
    Restart(u64),
}

/// Scripts of 50 to 90 steps.
pub(crate) fn scripts() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 50..90)
}

fn step() -> impl Strategy<Value = Step> {
    let env = || prop_oneof![3 => Just(0_usize), 1 => Just(1_usize)];
    prop_oneof![
        60 => (actor(), lock(), how(), id()).prop_map(|(a, l, h, i)| Step::Acquire(a, l, h, i)),
        8 => (waiter(), lock()).prop_map(|(a, l)| Step::Refresh(a, l)),
        8 => (waiter(), lock(), proptest::option::of(0..4_usize), id()).prop_map(|(a, l, t, i)| Step::Cancel(a, l, t, i)),
        30 => (user(), lock(), token(), ttl()).prop_map(|(a, l, t, d)| Step::Renew(a, l, t, d)),
        16 => (user(), lock(), token(), proptest::bool::weighted(0.25)).prop_map(|(a, l, t, b)| Step::Release(a, l, t, b)),
        12 => (user(), lock(), token(), id()).prop_map(|(a, l, t, i)| Step::Reacquire(a, l, t, i)),
        12 => breaks(),
        8 => (actor(), lock(), id()).prop_map(|(a, l, i)| Step::Force(a, l, i)),
        12 => (user(), lock(), token(), 0..2_u32).prop_map(|(a, l, t, n)| Step::TakeBack(a, l, t, n)),
        2 => (actor(), lock(), id()).prop_map(|(a, l, i)| Step::Freeze(a, l, i)),
        8 => (actor(), lock(), id()).prop_map(|(a, l, i)| Step::Unfreeze(a, l, i)),
        50 => (user(), lock(), token(), expect(), kind(), id()).prop_map(|(a, l, t, e, k, i)| Step::Write(a, l, t, e, k, i)),
        16 => (actor(), lock(), expect(), doc(), 0..3_u64, id()).prop_map(|(a, l, e, d, n, i)| Step::Passing(a, l, e, d, n, i)),
        4 => (actor(), lock(), 0..3_usize, id()).prop_map(|(a, l, n, i)| Step::Discard(a, l, n, i)),
        4 => (actor(), lock(), proptest::option::of(0..3_usize), id()).prop_map(|(a, l, n, i)| Step::Purge(a, l, n, i)),
        4 => (env(), id()).prop_map(|(e, i)| Step::CreateEnvironment(e, i)),
        2 => (env(), any::<bool>(), id()).prop_map(|(e, f, i)| Step::DeleteEnvironment(e, f, i)),
        2 => (env(), id()).prop_map(|(e, i)| Step::FreezeEnvironment(e, i)),
        8 => (env(), id()).prop_map(|(e, i)| Step::UnfreezeEnvironment(e, i)),
        3 => (env(), 0..5_u64).prop_map(|(e, s)| Step::SetDelay(e, s)),
        4 => (env(), plans(), proptest::bool::weighted(0.8)).prop_map(|(e, p, w)| Step::SetDoor(e, p, w)),
        2 => env().prop_map(Step::Recreate),
        20 => (actor(), lock(), 1..4_u64, any::<bool>()).prop_map(|(a, l, n, r)| Step::Apply(a, l, n, r)),
        24 => (0..6_usize).prop_map(Step::Replay),
        14 => (lock(), read()).prop_map(|(l, r)| Step::Read(l, r)),
        24 => prop_oneof![3 => 50..900_u64, 2 => 1_000..2_000_u64, 1 => 2_001..3_600_000_u64].prop_map(Step::Advance),
        24 => prop_oneof![6 => 900..4_000_u64, 3 => 4_000..12_000_u64, 1 => 20_000..45_000_u64].prop_map(Step::Pass),
        6 => Just(Step::Tick),
        8 => (2..10_u64).prop_map(Step::Late),
        4 => lock().prop_map(Step::Lapse),
        10 => prop_oneof![Just(3_600_000_i64), Just(-3_600_000_i64), -5_000..5_000_i64].prop_map(Step::WallStep),
        8 => prop_oneof![Just(0_u64), 0..10_000_000_u64].prop_map(Step::Restart),
    ]
}

fn actor() -> impl Strategy<Value = usize> {
    0..ACTORS.len()
}

/// Mostly the one who was granted the lock last: others have little to use.
fn user() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(LAST_GRANTED), 2 => actor()]
}

fn waiter() -> impl Strategy<Value = usize> {
    prop_oneof![2 => Just(LAST_QUEUED), 1 => Just(LAST_GRANTED), 1 => actor()]
}

/// Most of the crowd is at one lock.
fn lock() -> impl Strategy<Value = usize> {
    prop_oneof![8 => Just(0_usize), 2 => Just(1_usize), 1 => Just(2_usize)]
}

fn breaks() -> impl Strategy<Value = Step> {
    let (one, take) = (proptest::option::weighted(0.7, token()), proptest::option::weighted(0.4, how()));
    (user(), lock(), one, any::<bool>(), take, id()).prop_map(|(actor, lock, token, now, take, id)| Step::Break {
        actor,
        lock,
        token,
        now,
        take,
        id,
    })
}

fn id() -> impl Strategy<Value = Id> {
    prop_oneof![4 => Just(Id::None), 20 => Just(Id::Fresh), 1 => (0..4_usize).prop_map(Id::Reused)]
}

fn how() -> impl Strategy<Value = How> {
    let weighted = proptest::bool::weighted;
    let run = (weighted(0.65), ttl(), weighted(0.7), weighted(0.3), weighted(0.1));
    let run = run.prop_map(|(exclusive, ttl, wait, polls, unattended)| How {
        exclusive,
        ttl,
        wait,
        polls,
        unattended,
        plan: false,
        once: false,
    });
    // As the door of a tool asks.
    let tool = (weighted(0.5), weighted(0.3)).prop_map(|(wait, plan)| How {
        exclusive: true,
        ttl: None,
        wait,
        polls: true,
        unattended: true,
        plan,
        once: true,
    });
    prop_oneof![3 => run, 1 => tool]
}

fn plans() -> impl Strategy<Value = Plans> {
    prop_oneof![2 => Just(Plans::Shared), 1 => Just(Plans::Snapshot), 1 => Just(Plans::Exclusive)]
}

fn ttl() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![16 => Just(None), 12 => (2..12_u64).prop_map(Some), 1 => Just(Some(1)), 1 => Just(Some(61))]
}

fn token() -> impl Strategy<Value = TokenOf> {
    prop_oneof![
        12 => Just(TokenOf::Own(0)),
        2 => (1..3_usize).prop_map(TokenOf::Own),
        4 => Just(TokenOf::Any(0)),
        2 => (1..4_usize).prop_map(TokenOf::Any),
        1 => any::<bool>().prop_map(TokenOf::Forged),
    ]
}

fn expect() -> impl Strategy<Value = ExpectOf> {
    prop_oneof![
        12 => Just(ExpectOf::Newest),
        2 => (1..3_usize).prop_map(ExpectOf::Older),
        1 => Just(ExpectOf::Nothing),
        1 => Just(ExpectOf::ForgedEtag),
    ]
}

fn doc() -> impl Strategy<Value = Doc> {
    prop_oneof![
        10 => Just(Doc::Next),
        2 => Just(Doc::Same),
        1 => (0..3_u64).prop_map(Doc::Lower),
        1 => Just(Doc::OtherLineage),
        2 => Just(Doc::Again),
        1 => Just(Doc::Opaque),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        12 => (doc(), proptest::bool::weighted(0.1)).prop_map(|(doc, rewrite)| Kind::Write(doc, rewrite)),
        1 => (0..3_usize).prop_map(Kind::Rollback),
        2 => (0..3_usize).prop_map(Kind::Promote),
        2 => Just(Kind::Delete),
    ]
}

fn read() -> impl Strategy<Value = Read> {
    prop_oneof![Just(Read::Newest), Just(Read::History), Just(Read::Drafts), (0..4_usize).prop_map(Read::Version)]
}
