//! The judge. It knows the design's section 3 and nothing of the code: a small ledger of what calls, answers and events imply, and one
//! function per invariant that looks at each record with the ledger before and after it.

mod content;
mod invariants;
mod leases;
mod ledger;
mod requests;

use crate::history::{History, Record};
pub(crate) use invariants::same_without_wall_steps;
use ledger::{Effect, Facts, Ledger};

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Its number in the design.
    pub(crate) invariant: u8,
    /// Which record breaks it.
    pub(crate) record: usize,
    pub(crate) what: String,
}

/// What an invariant sees of one record.
pub(crate) struct Look<'a> {
    pub(crate) record: &'a Record,
    pub(crate) before: &'a Facts,
    pub(crate) after: &'a Facts,
    /// What the record's request id did before, while ids are remembered.
    pub(crate) prior: Option<&'a Effect>,
}

/// An invariant's function says what is wrong with a record.
type Invariant = fn(&Look<'_>) -> Result<(), String>;

/// Judges a history: all violations of the first record that has any.
pub(crate) fn check(history: &History) -> Vec<Violation> {
    let mut ledger = Ledger::default();
    for (n, record) in history.0.iter().enumerate() {
        let prior = ledger.prior(record).cloned();
        let before = ledger.facts.clone();
        ledger.apply(record, prior.as_ref());
        let look = Look { record, before: &before, after: &ledger.facts, prior: prior.as_ref() };
        let judged = invariants::ALL.iter().filter_map(|(invariant, judge)| {
            let what = judge(&look).err()?;
            Some(Violation { invariant: *invariant, record: n, what })
        });
        let violations: Vec<_> = judged.collect();
        if !violations.is_empty() {
            return violations;
        }
    }
    Vec::new()
}

/// The violations and the records before the first of them, for people.
pub(crate) fn explain(history: &History, violations: &[Violation]) -> String {
    let mut text = String::new();
    let Some(first) = violations.first() else { return "nothing is violated".to_owned() };
    for record in &history.0[first.record.saturating_sub(25)..(first.record + 1).min(history.0.len())] {
        text += &format!("{} {:?} {:?}\n    -> {:?}\n", record.at, record.call, record.request, record.reply);
        record.events.iter().for_each(|seen| text += &format!("    {:?} {:?}\n", seen.lock, seen.what));
    }
    for violation in violations {
        text += &format!("invariant {} at record {}: {}\n", violation.invariant, violation.record, violation.what);
    }
    text
}

/// A condition, or what is wrong.
pub(crate) fn demand(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}
