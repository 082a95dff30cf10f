//! Versions: written inline and in pieces, read, listed, deleted, purged.

use leasehold::domain::command::ContentAct;
use leasehold::domain::decision::Reply;
use leasehold::domain::document::Expect;
use leasehold::domain::ids::{BodyId, Token, Version};
use leasehold::domain::refusal::Refusal;
use leasehold::store::{CHUNK, Query};

use super::on_every_engine;
use crate::commands::{content, document, fresh, state, terraform, write, writes};
use crate::engines::Engine;
use crate::rig::Rig;

fn numbers<E: Engine>(rig: &Rig<E>, before: Option<u64>, limit: usize) -> Vec<u64> {
    let query = Query::History { state: state("dev/app"), before: before.map(Version), limit };
    rig.versions(query).iter().map(|version| version.version.0).collect()
}

fn states<E: Engine>(rig: &Rig<E>, prefix: &str, deleted: bool, after: Option<&str>, limit: usize) -> Vec<String> {
    let query = Query::States { prefix: prefix.parse().unwrap(), deleted, after: after.map(state), limit };
    rig.versions(query).iter().map(|version| version.path.to_string()).collect()
}

on_every_engine! {
    fn version_is_read_back_byte_for_byte_after_a_restart(rig) {
        let token = rig.lease("dev/app", "a");
        let version = rig.write("dev/app", "a", token, document(b"{ \"a\": 1 }\n"));
        assert_eq!((version.version, version.previous_etag, version.token), (Version(1), None, token));
        rig.restart();
        assert_eq!(rig.current("dev/app"), Some(version.clone()));
        assert_eq!(rig.chunk(version.body.unwrap(), 0).as_deref(), Some(&b"{ \"a\": 1 }\n"[..]));
        assert_eq!(rig.chunk(version.body.unwrap(), 1), None);
        let second = rig.write("dev/app", "a", token, document(b"2"));
        assert_eq!((second.version, second.previous_etag, second.state), (Version(2), Some(version.etag), version.state));
    }

    fn version_in_three_pieces_is_read_back(rig) {
        let token = rig.lease("dev/app", "a");
        let mut big = document(b"digest of the whole");
        big.inline = None;
        let pieces = [vec![1; CHUNK], vec![2; CHUNK], vec![3; 77]];
        for (n, piece) in (0..).zip(&pieces) {
            rig.stage(big.body, n, piece);
        }
        let body = big.body;
        let version = rig.write("dev/app", "a", token, big);
        assert_eq!(version.body, Some(body));
        rig.restart();
        for (n, piece) in (0..).zip(&pieces) {
            assert_eq!(rig.chunk(body, n).as_ref(), Some(piece));
        }
        assert_eq!(rig.chunk(body, 3), None);
    }

    fn upload_under_way_ends_with_a_restart(rig) {
        let body = BodyId(fresh());
        rig.stage(body, 0, b"half");
        assert!(rig.chunk(body, 0).is_some());
        rig.restart();
        assert_eq!(rig.chunk(body, 0), None);
    }

    fn piece_sent_again_is_the_same_piece(rig) {
        let body = BodyId(fresh());
        rig.stage(body, 0, b"one");
        rig.stage(body, 0, b"one");
        assert_eq!(rig.chunk(body, 0).as_deref(), Some(&b"one"[..]));
    }

    fn stale_expectation_changes_nothing(rig) {
        let token = rig.lease("dev/app", "a");
        let first = rig.write("dev/app", "a", token, document(b"1"));
        rig.write("dev/app", "a", token, document(b"2"));
        for expect in [Expect::default(), Expect::of(Some(&first)), Expect { version: Version(u64::MAX), etag: None }] {
            let reply = rig.submit(write("dev/app", writes("a", token, expect, document(b"3"))));
            assert!(matches!(reply, Err(Refusal::Kept { why, .. }) if matches!(*why, Refusal::VersionConflict { .. })));
        }
        assert_eq!(numbers(&rig, None, 10), [2, 1]);
    }

    fn history_is_paged_from_the_newest_down(rig) {
        let token = rig.lease("dev/app", "a");
        for n in 0..7 {
            rig.write("dev/app", "a", token, document(&[n]));
        }
        rig.restart();
        assert_eq!(numbers(&rig, None, 3), [7, 6, 5]);
        assert_eq!(numbers(&rig, Some(5), 3), [4, 3, 2]);
        assert_eq!(numbers(&rig, Some(2), 3), [1]);
        assert_eq!(numbers(&rig, Some(u64::MAX), usize::MAX), [7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(rig.versions(Query::Version(state("dev/app"), Some(Version(3)))).len(), 1);
        for missing in [0, 8, 1 << 63, u64::MAX] {
            assert_eq!(rig.versions(Query::Version(state("dev/app"), Some(Version(missing)))).len(), 0);
        }
        assert_eq!(rig.versions(Query::Version(state("dev/none"), None)).len(), 0);
    }

    fn states_are_listed_by_whole_segments_in_pages(rig) {
        for path in ["net", "net-x", "net/b", "net/a", "network", "a/net", "net.z", "netz"] {
            let name = format!("dev/{path}");
            let token = rig.lease(&name, "s");
            rig.write(&name, "s", token, document(b"1"));
        }
        rig.lease("dev/net/only-locked", "s");
        let token = rig.lock("dev/net/b").last_token;
        rig.delete("dev/net/b", "s", token);
        rig.restart();
        assert_eq!(states(&rig, "dev/net", false, None, 10), ["net", "net/a"]);
        assert_eq!(states(&rig, "dev/net", true, None, 10), ["net", "net/a", "net/b"]);
        assert_eq!(states(&rig, "dev", false, None, 3), ["a/net", "net", "net-x"]);
        assert_eq!(states(&rig, "dev", false, Some("dev/net-x"), 3), ["net.z", "net/a", "network"]);
        assert_eq!(states(&rig, "", false, Some("dev/network"), 9), ["netz"]);
        assert_eq!(states(&rig, "dev/net", false, Some("dev/net/a"), 9), [""; 0]);
        assert_eq!(states(&rig, "de", true, None, 10), [""; 0]);
    }

    fn deleted_state_goes_on_counting_when_it_is_made_again(rig) {
        let token = rig.lease("dev/app", "a");
        let first = rig.write("dev/app", "a", token, document(b"1"));
        let gone = rig.delete("dev/app", "a", token);
        assert_eq!((gone.version, gone.body, gone.deleted()), (Version(2), None, true));
        rig.restart();
        assert_eq!(rig.chunk(first.body.unwrap(), 0).as_deref(), Some(&b"1"[..]), "deleting keeps the history");
        let again = rig.write("dev/app", "a", token, document(b"3"));
        assert_eq!((again.version, again.previous_etag), (Version(3), Some(gone.etag)));
        assert_ne!(again.state, first.state, "another state under the same name");
    }

    fn purge_drops_bytes_and_keeps_rows(rig) {
        let token = rig.lease("dev/app", "a");
        let bodies: Vec<_> = (0..4_u8).map(|n| rig.write("dev/app", "a", token, document(&[n])).body.unwrap()).collect();
        let purge = |version: Option<u64>| content("dev/app", ContentAct::Purge(version.map(Version)));
        assert!(matches!(rig.submit(purge(Some(4))), Err(Refusal::VersionCurrent(_))));
        assert!(matches!(rig.submit(purge(Some(9))), Err(Refusal::VersionNotFound(_))));
        assert!(matches!(rig.submit(purge(Some(u64::MAX))), Err(Refusal::VersionNotFound(_))));
        assert!(matches!(rig.submit(purge(Some(2))), Ok(Reply::Purged { versions: 1 })));
        assert!(matches!(rig.submit(purge(Some(2))), Ok(Reply::Purged { versions: 0 })));
        let there = |rig: &Rig<E>| bodies.iter().map(|body| rig.chunk(*body, 0).is_some()).collect::<Vec<_>>();
        assert_eq!(there(&rig), [true, false, true, true]);
        assert!(matches!(rig.submit(purge(None)), Ok(Reply::Purged { versions: 2 })));
        assert_eq!(there(&rig), [false, false, false, true]);
        rig.restart();
        assert_eq!(numbers(&rig, None, 9), [4, 3, 2, 1]);
        assert!(rig.versions(Query::Version(state("dev/app"), Some(Version(1))))[0].body.is_none());
        rig.delete("dev/app", "a", token);
        assert!(matches!(rig.submit(purge(None)), Ok(Reply::Purged { versions: 1 })));
        assert_eq!(there(&rig), [false; 4]);
    }

    fn terraform_write_again_is_a_replay_even_without_its_lease(rig) {
        let token = rig.lease("dev/app", "a");
        let version = rig.write("dev/app", "a", token, terraform(b"tf", 5));
        rig.release("dev/app", "a", token);
        rig.restart();
        let again = writes("a", token, Expect::default(), terraform(b"tf", 5));
        let reply = rig.submit(write("dev/app", again));
        assert!(matches!(reply, Ok(Reply::Wrote { version: ref same, replayed: true }) if **same == version), "{reply:?}");
        assert_eq!(numbers(&rig, None, 9), [1]);
    }

    fn write_with_a_forged_token_is_kept_as_a_draft(rig) {
        for forged in [Token(0), Token(1 << 63), Token(u64::MAX)] {
            let reply = rig.submit(write("dev/app", writes("a", forged, Expect::default(), document(b"1"))));
            assert!(matches!(reply, Err(Refusal::Kept { .. })), "{reply:?}");
        }
        assert_eq!(rig.drafts("dev/app").len(), 3);
        assert_eq!(rig.drafts("dev/app")[0].token, Token(u64::MAX));
        assert_eq!(rig.current("dev/app"), None);
    }
}
