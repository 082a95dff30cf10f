//! The list of the invariants, and the one that compares two runs.

use std::collections::BTreeSet;

use super::{Invariant, Violation, content, leases, requests};
use crate::history::{History, Reply, What};

/// Each invariant with its number in the design.
pub(super) const ALL: [(u8, Invariant); 14] = [
    (1, leases::exclusivity),
    (2, leases::tokens_increase),
    (3, content::token_live_at_commit),
    (4, content::versions_contiguous),
    (5, leases::no_early_end),
    (6, leases::offered_on_in_time),
    (7, requests::one_effect),
    (8, requests::dead_acquire_says_so),
    (9, content::refused_writes_are_kept),
    (10, leases::no_queue_jumping),
    (11, leases::stale_break_changes_nothing),
    (12, requests::store_time_is_as_reckoned),
    (13, content::survives_restarts),
    (14, content::reads_are_fresh),
];

/// Invariant 12: "Steps of any wall clock change no decision, restart and failover included": the same script without them is answered the same
/// and tells the same. Tokens carry an epoch that may come from a wall clock: their order counts.
pub(crate) fn same_without_wall_steps(with: &History, without: &History) -> Vec<Violation> {
    let violation = |record: usize, what: String| vec![Violation { invariant: 12, record, what }];
    if with.0.len() != without.0.len() {
        return violation(with.0.len().min(without.0.len()), "one run has more records than the other".to_owned());
    }
    let (rank, other) = (ranks(with), ranks(without));
    for (n, (a, b)) in with.0.iter().zip(&without.0).enumerate() {
        let same = a.at == b.at
            && shape(&a.reply, &rank) == shape(&b.reply, &other)
            && a.events.len() == b.events.len()
            && a.events.iter().zip(&b.events).all(|(a, b)| told(&a.what, &rank) == told(&b.what, &other) && a.lock == b.lock);
        if !same {
            return violation(n, format!("{:?} with steps of the wall clock, {:?} without", (a.at, &a.reply), (b.at, &b.reply)));
        }
    }
    Vec::new()
}

fn ranks(history: &History) -> Vec<u64> {
    let granted = |what: &What| match what {
        What::Granted { token, .. } => Some(*token),
        _ => None,
    };
    let tokens: BTreeSet<_> = history.0.iter().flat_map(|record| &record.events).filter_map(|seen| granted(&seen.what)).collect();
    tokens.into_iter().collect()
}

fn shape(reply: &Reply, ranks: &[u64]) -> Reply {
    let rank = |token: u64| ranks.binary_search(&token).map_or(token, |at| at as u64);
    let mut reply = reply.clone();
    match &mut reply {
        Reply::Held { token, .. } | Reply::Renewed { token, .. } => *token = rank(*token),
        Reply::Broken { tokens, then } => {
            tokens.iter_mut().for_each(|token| *token = rank(*token));
            if let Some(then) = then {
                **then = shape(then, ranks);
            }
        }
        Reply::Wrote { version, .. } => version.token = rank(version.token),
        Reply::Versions(versions) => versions.iter_mut().for_each(|version| version.token = rank(version.token)),
        _ => {}
    }
    reply
}

fn told(what: &What, ranks: &[u64]) -> What {
    let rank = |token: u64| ranks.binary_search(&token).map_or(token, |at| at as u64);
    let mut what = what.clone();
    match &mut what {
        What::Granted { token, .. } | What::Ended { token, .. } | What::Version { token, .. } => *token = rank(*token),
        _ => {}
    }
    what
}
