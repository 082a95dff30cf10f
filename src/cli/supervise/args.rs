//! The words between `run`, its guard and the command: `PID [--foreground] -- COMMAND…`.

use std::ffi::OsString;

use rustix::process::Pid;

const FOREGROUND: &str = "--foreground";

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Args {
    /// Who must be the parent of whoever reads this.
    pub(super) pid: Pid,
    /// The terminal on stdin will be handed over; wait for it.
    pub(super) foreground: bool,
    /// Never empty when parsed.
    pub(super) command: Vec<OsString>,
}

impl Args {
    pub(super) fn parse(words: Vec<OsString>) -> Option<Args> {
        let mut words = words.into_iter();
        let pid = words.next()?.to_str()?.parse().ok().filter(|pid| *pid > 0).and_then(Pid::from_raw)?;
        let mut word = words.next()?;
        let foreground = word == FOREGROUND;
        if foreground {
            word = words.next()?;
        }
        let command: Vec<OsString> = words.collect();
        (word == "--" && !command.is_empty()).then_some(Args { pid, foreground, command })
    }

    pub(super) fn into_words(self) -> impl Iterator<Item = OsString> {
        let flag = self.foreground.then(|| FOREGROUND.into());
        let pid = self.pid.as_raw_nonzero().to_string();
        std::iter::once(pid.into()).chain(flag).chain(std::iter::once("--".into())).chain(self.command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn words_come_back_as_they_were() {
        for text in ["12 -- true", "12 --foreground -- sh -c x", "12 -- --foreground -- --"] {
            let args = Args::parse(words(text)).unwrap();
            assert_eq!(args.into_words().collect::<Vec<_>>(), words(text));
        }
    }

    #[test]
    fn incomplete_words_are_refused() {
        for text in ["", "12", "12 --", "12 true", "0 -- true", "-1 -- true", "x -- true", "12 --foreground true", "-- true"] {
            assert_eq!(Args::parse(words(text)), None, "{text:?}");
        }
    }
}
