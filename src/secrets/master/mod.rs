//! The keys at the top of the tree: age identities that come from outside and are never in the database.

mod command;
mod file;
mod passphrase;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use age::x25519::Identity;

use super::identities::{Identities, IdentitiesError};
use super::recipient::Recipient;
use super::wrap::UnwrapError;

pub use command::TIMEOUT as COMMAND_TIMEOUT;
pub use passphrase::{create as create_passphrase_file, create_with_work_factor as create_passphrase_file_with_work_factor};

/// Where the master identities come from: a text with one or more age X25519 identities, one a line, `#` comments between. The first is the
/// current one, which new keys are wrapped to; the others only open.
///
/// A plugin's identity, or that of a key management service, comes by a command that prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterSource {
    /// A file that only its owner — we or root — can read.
    File(PathBuf),
    /// An age file, armored or not, that a passphrase opens.
    Passphrase {
        /// The age file; only its owner may read it.
        file: PathBuf,
        /// The file with the passphrase on its first line; without it, the passphrase is given at unlock.
        passphrase: Option<PathBuf>,
    },
    /// What a program prints.
    Command {
        /// The program by its absolute path, and its arguments. No shell, no environment, nothing on stdin; it runs in `/`.
        argv: Vec<String>,
        /// How long it may take; [`COMMAND_TIMEOUT`] is a good choice. It and what it has started are killed then.
        timeout: Duration,
    },
}

/// Why the master identities cannot be had.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum MasterError {
    #[error("cannot read or write {}: {cause}", .file.display())]
    Io { file: PathBuf, cause: io::Error },
    #[error("others can read {}; `chmod 600` it, and think about who may have read it", .0.display())]
    Readable(PathBuf),
    #[error("{} belongs to user {owner}, who could replace it; `chown` it to user {ours}, or to root", .file.display())]
    Owner { file: PathBuf, owner: u32, ours: u32 },
    #[error("{} is not a regular file; put the file itself there", .0.display())]
    NotAFile(PathBuf),
    #[error("{} is larger than {} KiB, so it is not what it should be; put the right file there", .0.display(), file::MOST >> 10)]
    TooLarge(PathBuf),
    #[error("{} is of no use as the master key: {cause}; put the right file there", .file.display())]
    Malformed { file: PathBuf, cause: IdentitiesError },
    #[error("the master key {} is missing, but the database has secrets under one; put the key back", .0.display())]
    Missing(PathBuf),
    #[error("{} is no age file that a passphrase opens; make one with `leasehold init` or `age -p`", .0.display())]
    NotAgePassphrase(PathBuf),
    #[error("{} does not open with this passphrase", .0.display())]
    WrongPassphrase(PathBuf),
    #[error("{} demands scrypt work of 2^{work}, and at most 2^{} is done; make it again", .file.display(), passphrase::MOST_WORK)]
    Work { file: PathBuf, work: u8 },
    #[error("{} opens with a passphrase, and none was given; unlock with it", .0.display())]
    PassphraseNeeded(PathBuf),
    #[error("the passphrase is given twice, and in {}; give it in one place", .0.display())]
    TwoPassphrases(PathBuf),
    #[error("the passphrase is empty; choose one")]
    EmptyPassphrase,
    #[error("the command for the master key must begin with an absolute path, such as /usr/bin/pass")]
    RelativeCommand,
    #[error("cannot run {program}: {cause}")]
    Spawn { program: String, cause: io::Error },
    #[error("{program} printed no master key within {} s and was killed; run it by hand to see what it waits for", .after.as_secs_f32())]
    Timeout { program: String, after: Duration },
    #[error("{program} ended with {status}; run it by hand to see why")]
    Failed { program: String, status: ExitStatus },
    #[error("{program} printed more than {} KiB and was killed; it should print the master key only", file::MOST >> 10)]
    Output { program: String },
    #[error("what {program} printed is of no use as the master key: {cause}")]
    Printed { program: String, cause: IdentitiesError },
}

impl MasterSource {
    /// Fetches the identities. Blocks: on a file, on scrypt for up to seconds, or on a command until its timeout.
    ///
    /// The passphrase is for a source that asks for one at unlock; others ignore it.
    ///
    /// # Errors
    /// [`MasterError`] says what to do; it quotes no key.
    pub fn load(&self, passphrase: Option<&str>) -> Result<Masters, MasterError> {
        match self {
            Self::File(path) => file::load(path),
            Self::Passphrase { file, passphrase: from } => passphrase::load(file, from.as_deref(), passphrase),
            Self::Command { argv, timeout } => command::load(argv, *timeout),
        }
    }

    /// Like [`Self::load`], but makes the key if its file is missing and `fresh` says that nothing can be under an older one.
    ///
    /// # Errors
    /// [`MasterError`] says what to do; it quotes no key.
    pub fn load_or_create(&self, fresh: bool, passphrase: Option<&str>) -> Result<Masters, MasterError> {
        match (self, self.load(passphrase)) {
            (Self::File(path), Err(MasterError::Missing(_))) if fresh => file::create(path),
            (_, loaded) => loaded,
        }
    }

    /// Whether somebody has to give the passphrase: then a server starts locked.
    #[must_use]
    pub fn asks_passphrase(&self) -> bool {
        matches!(self, Self::Passphrase { passphrase: None, .. })
    }
}

/// The master identities. No `Debug`, wiped on drop, kept out of swap where the system allows.
pub struct Masters(Identities);

impl Masters {
    /// An identity that is never written down: for tests and stores in memory.
    #[must_use]
    pub fn ephemeral() -> Self {
        Self(Identities::generate())
    }

    /// Reads identities from a text, the current one first.
    ///
    /// # Errors
    /// There is none, or one is malformed.
    pub fn parse(text: &str) -> Result<Self, IdentitiesError> {
        Identities::parse(text).map(Self)
    }

    fn read(file: &Path) -> Result<Self, MasterError> {
        file::load(file)
    }

    /// Whom new keys are wrapped to.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        Recipient::of(self.current())
    }

    /// Whom keys may be wrapped to, the current one first.
    pub fn recipients(&self) -> impl Iterator<Item = Recipient> {
        self.0.recipients()
    }

    pub(super) fn current(&self) -> &Identity {
        self.0.first()
    }

    /// Opens with the first that does; also says which.
    pub(super) fn open<T>(&self, open: impl Fn(&Identity) -> Result<T, UnwrapError>) -> Result<(T, Recipient), UnwrapError> {
        let opened = self.0.iter().find_map(|identity| open(identity).ok().map(|opened| (opened, Recipient::of(identity))));
        opened.ok_or(UnwrapError)
    }
}

/// The identities in a file that only its owner can read: those of recovery, for example.
///
/// # Errors
/// [`MasterError`] says what to do; it quotes no key.
pub fn read_identities(file: &Path) -> Result<Identities, MasterError> {
    Masters::read(file).map(|Masters(identities)| identities)
}

#[cfg(test)]
mod tests;
