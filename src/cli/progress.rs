//! Progress bars for long transfers, when a terminal looks.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::client::{Phase, Progress};
use crate::pb::v1::{KeyPhase, KeyStep};

/// Transfers below this are over before anybody could read a bar.
const WORTH_SHOWING: u64 = 5_000_000;

/// A bar on stderr that appears when the size is known to be worth it.
pub(crate) struct Bar {
    verb: &'static str,
    bar: Option<ProgressBar>,
}

impl Bar {
    pub(crate) fn new(verb: &'static str) -> Self {
        Self { verb, bar: None }
    }

    pub(crate) fn show(&mut self, progress: Progress) {
        if progress.total <= WORTH_SHOWING || !std::io::stderr().is_terminal() {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
                .expect("the template is a constant");
            ProgressBar::new(progress.total).with_style(style).with_message(self.verb)
        });
        bar.set_position(progress.done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A bar for a document that is sent and then read back.
#[derive(Default)]
pub(crate) struct Moving {
    bar: Option<Bar>,
}

impl Moving {
    pub(crate) fn phase(&mut self, phase: Phase) {
        match phase {
            Phase::Moving(progress) => self.show("copying", progress),
            Phase::Checking(progress) => self.show("comparing", progress),
        }
    }

    pub(crate) fn show(&mut self, verb: &'static str, progress: Progress) {
        if self.bar.as_ref().is_some_and(|bar| bar.verb != verb) {
            self.bar = None;
        }
        self.bar.get_or_insert_with(|| Bar::new(verb)).show(progress);
    }
}

/// A bar on stderr for long work that is counted, with an estimate of its end.
pub(crate) struct Counter {
    bar: Option<ProgressBar>,
    shown: String,
}

impl Counter {
    pub(crate) fn new() -> Self {
        Self { bar: None, shown: String::new() }
    }

    pub(crate) fn show(&mut self, step: &KeyStep) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let what = match step.phase() {
            KeyPhase::Rewrap => "wrapping data keys",
            KeyPhase::Reencrypt => "sealing documents",
            KeyPhase::Retire => "retiring old keys",
            KeyPhase::Master => "wrapping environments",
            KeyPhase::Verify => "opening everything",
            KeyPhase::Unspecified => "working",
        };
        // Each phase is estimated by itself.
        if self.shown != what {
            self.finish();
            self.shown = what.to_owned();
        }
        let bar = self.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}")
                .expect("the template is a constant");
            ProgressBar::new(step.total).with_style(style).with_message(what)
        });
        bar.set_length(step.total);
        bar.set_position(step.done);
    }

    fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.finish();
    }
}
