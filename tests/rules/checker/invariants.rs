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
/// and tells the same. Tokens and tickets carry an epoch that may come from a wall clock: their order counts.
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

/// The order of the numbers that carry an epoch.
struct Ranks {
    tokens: Vec<u64>,
    tickets: Vec<u64>,
}

impl Ranks {
    fn token(&self, token: &mut u64) {
        *token = self.tokens.binary_search(token).map_or(*token, |at| at as u64);
    }

    fn ticket(&self, ticket: &mut u64) {
        *ticket = self.tickets.binary_search(ticket).map_or(*ticket, |at| at as u64);
    }
}

fn ranks(history: &History) -> Ranks {
    let (mut tokens, mut tickets) = (BTreeSet::new(), BTreeSet::new());
    for seen in history.0.iter().flat_map(|record| &record.events) {
        match seen.what {
            What::Granted { token, .. } | What::Version { token, .. } => drop(tokens.insert(token)),
            What::Queued { ticket, .. } => drop(tickets.insert(ticket)),
            _ => {}
        }
    }
    Ranks { tokens: tokens.into_iter().collect(), tickets: tickets.into_iter().collect() }
}

fn shape(reply: &Reply, ranks: &Ranks) -> Reply {
    let mut reply = reply.clone();
    match &mut reply {
        Reply::Held { token, .. } | Reply::Renewed { token, .. } => ranks.token(token),
        Reply::Queued { ticket, .. } => ranks.ticket(ticket),
        Reply::Broken { tokens, then } => {
            tokens.iter_mut().for_each(|token| ranks.token(token));
            if let Some(then) = then {
                **then = shape(then, ranks);
            }
        }
        Reply::Wrote { version, .. } => ranks.token(&mut version.token),
        Reply::Versions(versions) => versions.iter_mut().for_each(|version| ranks.token(&mut version.token)),
        _ => {}
    }
    reply
}

fn told(what: &What, ranks: &Ranks) -> What {
    let mut what = what.clone();
    match &mut what {
        What::Granted { token, ticket, .. } => {
            ranks.token(token);
            ticket.iter_mut().for_each(|ticket| ranks.ticket(ticket));
        }
        What::Ended { token, .. } | What::Version { token, .. } => ranks.token(token),
        What::Queued { ticket, .. } | What::Gone { ticket } => ranks.ticket(ticket),
        _ => {}
    }
    what
}
