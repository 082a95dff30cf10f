//! Environments: made, changed, listed with their counts, deleted with all that is in them.

use leasehold::domain::command::EnvironmentAct;
use leasehold::domain::decision::Reply;
use leasehold::domain::document::Expect;
use leasehold::domain::ids::Token;
use leasehold::domain::refusal::Refusal;
use leasehold::domain::settings::SettingsChange;
use leasehold::store::{Query, Rows};

use super::on_every_engine;
use crate::commands::{acquire, create, document, environment, keyring, write, writes};
use crate::engines::Engine;
use crate::rig::Rig;

fn listed<E: Engine>(rig: &Rig<E>) -> Vec<(String, u64)> {
    match rig.select(Query::Environments(None)) {
        Rows::Environments(rows) => {
            rows.into_iter().map(|(environment, states)| (environment.name.to_string(), states)).collect()
        }
        other => panic!("{other:?}"),
    }
}

on_every_engine! {
    fn environments_are_listed_by_name_with_their_live_states(rig) {
        rig.submit(create("prod")).unwrap();
        rig.submit(create("a-first")).unwrap();
        for name in ["prod/a", "prod/b", "prod/gone"] {
            let token = rig.lease(name, "s");
            rig.write(name, "s", token, document(b"1"));
        }
        let token = rig.lock("prod/gone").last_token;
        rig.delete("prod/gone", "s", token);
        let expected = vec![("a-first".to_owned(), 0), ("dev".to_owned(), 0), ("prod".to_owned(), 2)];
        assert_eq!(listed(&rig), expected);
        rig.restart();
        assert_eq!(listed(&rig), expected, "and after a restart");
    }

    fn environment_keeps_its_secret_and_settings(rig) {
        let change = SettingsChange { max_tickets: Some(3), ..SettingsChange::default() };
        rig.submit(environment("dev", EnvironmentAct::Set(change))).unwrap();
        rig.restart();
        let Rows::Keyrings(rows) = rig.select(Query::Keyring("dev".parse().unwrap())) else { panic!() };
        assert_eq!((rows[0].1.secret.clone(), rows[0].0.settings.max_tickets), (keyring().secret, 3));
    }

    fn environment_refusals_write_nothing(rig) {
        let before = rig.revision();
        assert!(matches!(rig.submit(create("dev")), Err(Refusal::EnvironmentExists(_))));
        let bad = SettingsChange { max_tickets: Some(0), ..SettingsChange::default() };
        assert!(matches!(rig.submit(environment("dev", EnvironmentAct::Set(bad))), Err(Refusal::SettingOutOfRange { .. })));
        assert!(matches!(rig.submit(acquire("none/app", "s", false)), Err(Refusal::EnvironmentNotFound(_))));
        assert!(matches!(rig.submit(environment("none", EnvironmentAct::Delete { force: true })), Err(Refusal::EnvironmentNotFound(_))));
        assert_eq!(rig.revision(), before);
        assert!(matches!(rig.select(Query::Lock("none/app".parse().unwrap())), Rows::Locks(rows, _) if rows.is_empty()));
    }

    fn environment_deletion_needs_force_and_takes_everything_along(rig) {
        let token = rig.lease("dev/app", "s");
        let version = rig.write("dev/app", "s", token, document(b"one"));
        let stale = writes("s", Token(1), Expect::default(), document(b"kept"));
        let kept = stale.content.as_ref().unwrap().body;
        assert!(matches!(rig.submit(write("dev/app", stale)), Err(Refusal::Kept { .. })));
        let delete = |force| environment("dev", EnvironmentAct::Delete { force });
        assert!(matches!(rig.submit(delete(true)), Err(Refusal::EnvironmentInUse { leases: 1, .. })));
        rig.release("dev/app", "s", token);
        assert!(matches!(rig.submit(delete(false)), Err(Refusal::EnvironmentInUse { states: 1, leases: 0, .. })));
        assert!(matches!(rig.submit(delete(true)), Ok(Reply::EnvironmentDeleted { states: 1 })));
        assert_eq!(listed(&rig), vec![]);
        assert_eq!((rig.chunk(version.body.unwrap(), 0), rig.chunk(kept, 0)), (None, None));
        rig.submit(create("dev")).unwrap();
        assert_eq!((rig.current("dev/app"), rig.drafts("dev/app").len()), (None, 0));
        let again = rig.lease("dev/app", "s");
        assert!(again > token, "tokens of a namesake go on: {again} after {token}");
        rig.restart();
        rig.release("dev/app", "s", again);
        assert!(rig.lease("dev/app", "s") > again);
    }
}
