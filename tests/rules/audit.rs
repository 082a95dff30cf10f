//! Every act has its row in the audit, and no row is without its act: over random schedules, replays, restarts and all, what was told to watchers
//! is compared with what was recorded. Expiries are events and nobody's act; places in a queue are contention.

use std::collections::BTreeMap;

use leasehold::store::{Query, Rows};
use serde_json::Value;

use crate::driver::{Driver, block_on};
use crate::engine::{Start, engines};
use crate::history::{Call, History, How, Reply, What};
use crate::properties::script_of;
use crate::script::{ENVIRONMENTS, LOCKS};

engines!(every_act_of_random_scripts_has_one_row_and_every_row_its_act, |start: Start, cases: u64| {
    let mut rows = 0;
    for seed in 0..cases / 5 {
        let mut driver = Driver::new(start, true);
        script_of(seed).into_iter().for_each(|step| driver.step(step));
        let (told, recorded) = (told(&driver.history), recorded(&driver));
        rows += recorded.len();
        assert_eq!(count(told), count(recorded), "seed {seed}: on the left what was told, on the right what was recorded");
    }
    assert!(rows > 1000, "the scripts did something: {rows}");
});

/// What happened: the kind of the act, what it was about, and the number that tells it from others.
type Happened = (&'static str, String, u128);

fn told(history: &History) -> Vec<Happened> {
    let mut told = Vec::new();
    for record in &history.0 {
        for seen in &record.events {
            let on = seen
                .lock
                .map_or_else(|| ENVIRONMENTS[seen.env].to_owned(), |lock| format!("{}/{}", LOCKS[lock].0, LOCKS[lock].1));
            let (kind, key) = match &seen.what {
                What::Granted { token, .. } => ("granted", u128::from(*token)),
                What::Ended { token, how: How::Released } => ("released", u128::from(*token)),
                What::Ended { token, how: How::Broken } => ("broken", u128::from(*token)),
                What::Ended { token, how: How::Unclaimed } => match record.call {
                    // Otherwise its time was over just before.
                    Call::TakeBack { token: asked, .. } if asked == *token && record.reply == Reply::Done("taken back") => {
                        ("taken back", u128::from(*token))
                    }
                    _ => continue,
                },
                What::Version { version, .. } => ("version", u128::from(*version)),
                What::Draft(draft) => ("kept", *draft),
                What::Discarded(draft) => ("discarded", *draft),
                What::Purged(version) => ("purged", version.map_or(0, u128::from)),
                What::Frozen => ("frozen", 0),
                What::Unfrozen => ("unfrozen", 0),
                What::Environment(what) => (*what, 0),
                What::Ended { how: How::Expired, .. } | What::Queued { .. } | What::Gone { .. } => continue,
            };
            told.push((kind, on, key));
        }
    }
    told
}

fn recorded(driver: &Driver) -> Vec<Happened> {
    let Rows::Audit(rows) = block_on(driver.engine().store().select(Query::Audit { after: 0, limit: usize::MAX })) else {
        panic!("other rows");
    };
    let mut recorded = Vec::new();
    for (place, (n, row)) in (1..).zip(rows) {
        let row: Value = serde_json::from_str(&row).expect("JSON");
        assert_eq!((row["n"].as_u64(), n), (Some(place), place), "without gaps");
        let number = |field: &str| row[field].as_str().and_then(|text| text.parse().ok()).or(row[field].as_u64().map(u128::from));
        let draft = row["draft"].as_str().map(|draft| u128::from_str_radix(draft, 16).expect("an id"));
        let (act, outcome) = (row["act"].as_str().expect("an act"), row["outcome"].as_str().expect("an outcome"));
        let (kind, key) = match act {
            "lease.acquire" | "lease.reacquire" => ("granted", number("token")),
            "lease.release" | "lease.abandon" => ("released", number("token")),
            // One that only ends a cooldown, or takes what nobody holds.
            "lease.break" if row.get("token").is_none() => continue,
            "lease.break" => ("broken", number("token")),
            "lease.takeback" => ("taken back", number("token")),
            "state.write" if outcome != "done" => ("kept", draft),
            "state.write" | "state.rollback" | "state.promote" | "state.delete" => ("version", number("version")),
            "state.purge" => ("purged", number("version").or(Some(0))),
            "draft.discard" => ("discarded", draft),
            "lock.freeze" | "environment.freeze" => ("frozen", Some(0)),
            "lock.unfreeze" | "environment.unfreeze" => ("unfrozen", Some(0)),
            "environment.create" => ("created", Some(0)),
            "environment.set" => ("changed", Some(0)),
            "environment.delete" => ("deleted", Some(0)),
            other => panic!("no script does {other}"),
        };
        assert!(row["who"].is_string() && row["verb"].is_string(), "{row}");
        recorded.push((kind, row["on"].as_str().expect("an object").to_owned(), key.unwrap_or_else(|| panic!("no key: {row}"))));
    }
    recorded
}

fn count(happened: Vec<Happened>) -> BTreeMap<Happened, usize> {
    happened.into_iter().fold(BTreeMap::new(), |mut count, one| {
        *count.entry(one).or_default() += 1;
        count
    })
}
