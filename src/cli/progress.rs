//! Progress bars for long transfers, when a terminal looks.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::client::Progress;

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
