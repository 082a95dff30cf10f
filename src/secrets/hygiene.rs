//! What the process does so that keys do not leave it by the back door: core dumps, debuggers, swap.
//!
//! What is left: root reads any memory; a hibernating machine writes all of it to disk; buffers of the allocator, of h2 and of SQLite that held
//! a document are not ours to wipe. Only keys in a [`Locked`] are kept out of swap — masters and other identities read from a text; derived keys
//! and open documents are not, so swap should be encrypted or off.

use std::fmt;
use std::io;
use std::ops::Deref;

use rustix::process::{Resource, Rlimit, setrlimit};

/// What came of one measure.
#[derive(Debug)]
pub enum Measure {
    /// It holds from now on.
    Done,
    /// The system refused.
    Failed(io::Error),
    /// This system does not have it.
    Unsupported,
}

/// What [`harden`] achieved.
#[derive(Debug)]
pub struct Hygiene {
    /// No core dump is written.
    pub core_dumps: Measure,
    /// No process of the same user reads our memory or attaches a debugger; core dumps by a handler are off, too.
    pub tracing: Measure,
    /// Pages with keys can be kept out of swap.
    pub locking: Measure,
}

/// Does something that handles keys, and overwrites the stack that it has used: what crates for cryptography leave there is not theirs to wipe, and
/// nobody else does. Of what is moved out, the copy that was moved is overwritten too.
pub(super) fn scrubbed<T>(work: impl FnOnce() -> T) -> T {
    scrubbed_to::<{ 64 << 10 }, T>(work)
}

/// The same for one use of a symmetric key, which does not reach so deep and is done a million times over.
pub(super) fn scrubbed_use<T>(work: impl FnOnce() -> T) -> T {
    scrubbed_to::<{ 16 << 10 }, T>(work)
}

/// `DEPTH`: more than what `work` takes of the stack.
fn scrubbed_to<const DEPTH: usize, T>(work: impl FnOnce() -> T) -> T {
    #[inline(never)]
    fn below<T>(work: impl FnOnce() -> T) -> T {
        work()
    }
    #[inline(never)]
    fn scrub<const DEPTH: usize>() {
        std::hint::black_box(&mut [0_u8; DEPTH]);
    }
    let done = below(work);
    scrub::<DEPTH>();
    done
}

/// Takes the measures, for the whole process and for good. Call it once, before the first key is read. Nothing here is worth refusing to start:
/// what fails is for the log.
#[must_use]
pub fn harden() -> Hygiene {
    let core_dumps = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    Hygiene { core_dumps: Measure::of(core_dumps.map_err(Into::into)), tracing: no_tracing(), locking: can_lock() }
}

impl Hygiene {
    /// Writes what was achieved to the log: a warning for each measure that failed.
    pub fn log(&self) {
        for (what, measure) in
            [("core dumps off", &self.core_dumps), ("tracing off", &self.tracing), ("keys kept from swap", &self.locking)]
        {
            match measure {
                Measure::Done => tracing::debug!(what, "hardened"),
                failed => tracing::warn!(what, %failed, "could not harden the process"),
            }
        }
    }
}

impl Measure {
    fn of(done: io::Result<()>) -> Self {
        done.map_or_else(Self::Failed, |()| Self::Done)
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Failed(cause) => write!(f, "refused: {cause}"),
            Self::Unsupported => f.write_str("not supported on this system"),
        }
    }
}

#[cfg(target_os = "linux")]
fn no_tracing() -> Measure {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};

    Measure::of(set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(Into::into))
}

#[cfg(not(target_os = "linux"))]
fn no_tracing() -> Measure {
    Measure::Unsupported
}

fn can_lock() -> Measure {
    if region::page::size() > PAGE {
        return Measure::Unsupported;
    }
    let page = Box::new(Page(0_u8));
    Measure::of(region::lock(&raw const *page, PAGE).map(drop).map_err(io::Error::other))
}

const PAGE: usize = 4096;

#[repr(align(4096))]
struct Page<T>(T);

/// A long-lived secret in memory pages of its own, which the system is asked not to swap. Where it refuses — the limit on locked memory, larger
/// pages — the secret is held all the same, and [`Self::is_locked`] says so. Each costs a page.
///
/// The value is moved in, so the place it was made at held it before: what is on the stack then is not covered.
pub struct Locked<T> {
    // Dropped in this order: the value is wiped while its pages are still locked.
    page: Box<Page<T>>,
    guard: Option<region::LockGuard>,
}

impl<T> Locked<T> {
    /// Moves a secret into pages of its own.
    #[must_use]
    pub fn new(value: T) -> Self {
        let page = Box::new(Page(value));
        // The type is aligned to pages and as large as whole ones, so no other allocation shares them: unlocking on drop touches none.
        let guard = if region::page::size() == PAGE { region::lock(&raw const *page, size_of::<Page<T>>()).ok() } else { None };
        Self { page, guard }
    }

    /// Whether the system agreed.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.guard.is_some()
    }
}

impl<T> Deref for Locked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.page.0
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use rustix::process::{DumpableBehavior, dumpable_behavior, getrlimit};

    use super::*;

    const CHILD: &str = "LEASEHOLD_TEST_HYGIENE_CHILD";

    #[test]
    fn process_is_neither_dumped_nor_traced_after_hardening() {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "secrets::hygiene::tests::hardened_process", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("HARDENED"), "{said}");
    }

    /// Not a test of its own: what hardening takes from a process, other tests need.
    #[test]
    #[ignore = "the child process of another test"]
    fn hardened_process() {
        #[expect(clippy::disallowed_methods, reason = "the way to tell the child from a run of all ignored tests")]
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        let hygiene = harden();
        assert!(matches!((&hygiene.core_dumps, &hygiene.tracing), (Measure::Done, Measure::Done)), "{hygiene:?}");
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0), "nobody raises it again");
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        println!("HARDENED");
    }

    #[test]
    fn locked_values_stand_alone_in_pages_that_are_locked_while_they_live() {
        let locked = Locked::new([0x5a_u8; 40]);
        let address = (&raw const *locked).addr();
        assert_eq!((address % PAGE, *locked), (0, [0x5a; 40]));
        assert_eq!(size_of::<Page<[u8; 40]>>(), PAGE);
        let allowed = getrlimit(Resource::Memlock).current.is_none_or(|limit| limit >= 1 << 20);
        assert!(locked.is_locked() || !allowed || region::page::size() != PAGE);
        assert_eq!(flags_at(address).contains(" lo"), locked.is_locked());
    }

    /// What the kernel says of the mapping around an address.
    fn flags_at(address: usize) -> String {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in maps.lines() {
            let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            if let Some((start, end)) = range {
                let hex = |text: &str| usize::from_str_radix(text, 16).unwrap();
                inside = (hex(start)..hex(end)).contains(&address);
            } else if let (true, Some(flags)) = (inside, line.strip_prefix("VmFlags:")) {
                return flags.to_owned();
            }
        }
        panic!("no mapping around {address:x}");
    }
}
