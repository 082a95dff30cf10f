//! Documents, their versions and drafts.

mod calls;
mod pull;
mod push;
mod source;
#[cfg(test)]
mod tests;

pub use calls::{DiffSides, WriteAsk};
pub use pull::PullAsk;
pub use push::PushAsk;
pub(super) use source::Opened;
pub use source::Source;

/// The largest piece of a document in one message.
const CHUNK: usize = 256 << 10;

/// How far a document has been sent or received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes so far.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Which document of a state is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Which {
    /// The current version.
    #[default]
    Current,
    /// The version of that number.
    Version(u64),
    /// A draft, by name.
    Draft(String),
}

impl Which {
    /// As the protocol carries it: a version (0: the current one) and a draft.
    fn parts(&self) -> (u64, String) {
        match self {
            Self::Current => (0, String::new()),
            Self::Version(number) => (*number, String::new()),
            Self::Draft(name) => (0, name.clone()),
        }
    }
}
