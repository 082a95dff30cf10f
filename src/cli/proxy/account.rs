//! What became of the writes that came by.

use crate::cli::output::{note, tell_kept};
use crate::client::Error;

/// What people are told at the end, when the lease did not last as long as the command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// The last version that was written.
    pub(crate) written: Option<u64>,
    /// The draft of the last write that was refused, if nothing was written after it.
    pub(crate) kept: Option<String>,
    /// What was said last: a client that tries again and again is not news.
    told: String,
}

impl Account {
    pub(super) fn wrote(&mut self, version: u64) {
        self.written = Some(version);
        self.kept = None;
    }

    /// A write that was refused. Its client shows people a number only, so the reason is said here.
    pub(super) fn refused(&mut self, state: &str, error: &Error) {
        if let Some(draft) = error.draft() {
            self.kept = Some(draft.to_owned());
        }
        match error.reason() {
            "" => self.say(format!("error: {state} was not written: {error}")),
            reason => self.say(format!("error: {state} was not written: {error} [{reason}]")),
        }
    }

    pub(super) fn say(&mut self, text: String) {
        if self.told != text {
            note(&text);
            self.told = text;
        }
    }

    /// Says what was kept, and what to do with it.
    pub(crate) fn tell(&self, state: &str, lost: bool) {
        match (&self.kept, self.written) {
            (Some(draft), _) => {
                tell_kept("what the command wrote last did not become a version; it is draft", state, draft);
                note("      the command may have left the same in a file of its own, such as errored.tfstate");
            }
            (None, Some(version)) if lost => {
                note(format!("kept: version {version} of {state}, the last that the command wrote; nothing came after the loss"));
            }
            (None, _) => {}
        }
    }
}
