//! Versions: reading, history, rollback, deletion, purging.

use leasehold::pb::v1 as pb;
use tonic::Code;

use crate::support::{Api, id, on_each_engine, open, refused, terraform};

async fn history(api: &Api, all: bool, limit: u32, before: u64) -> pb::HistoryResponse {
    let request = pb::HistoryRequest { state: "dev/app".to_owned(), all, limit, before };
    api.state().history(request).await.expect("a history").into_inner()
}

fn rollback(session: &str, token: u64, to_version: u64) -> pb::RollbackRequest {
    pb::RollbackRequest {
        state: "dev/app".to_owned(),
        session: session.to_owned(),
        token,
        request_id: id(),
        to_version,
        expect: None,
    }
}

fn delete(session: &str, token: u64) -> pb::DeleteStateRequest {
    pb::DeleteStateRequest { state: "dev/app".to_owned(), session: session.to_owned(), token, request_id: id(), expect: None }
}

#[tokio::test]
async fn documents_come_back_to_the_last_byte_whatever_their_size() {
    on_each_engine(async |server| {
        let api = &server.api;
        let noise: Vec<u8> =
            (0..3_000_000_u32).map(|n| b'a' + u8::try_from(n.wrapping_mul(2_654_435_761) >> 28).unwrap()).collect();
        let large = [b" \"".as_slice(), &noise, b"\"\n\t "].concat();
        for (n, document) in [b"{}".to_vec(), b" {\"a\" : 1.0e5 } \n".to_vec(), vec![b' '; 300_000], large].iter().enumerate() {
            let document = if n == 2 { [&document[..], b"0"].concat() } else { document.clone() };
            let state = format!("dev/doc-{n}");
            let version = api.write_once(&state, &document).await;
            let request = pb::PullRequest { state, ..Default::default() };
            let (info, read, pieces) = api.pull_by(request).await.unwrap();
            assert!(read == document, "document {n}");
            assert_eq!((info.size, info.version), (document.len() as u64, Some(version)));
            assert!(pieces >= document.len() / (256 << 10));
        }
    })
    .await;
}

#[tokio::test]
async fn read_unless_the_etag_is_current_sends_no_document() {
    on_each_engine(async |server| {
        let api = &server.api;
        let first = api.write_once("dev/app", b"1").await;
        let unless =
            |etag: &str| pb::PullRequest { state: "dev/app".to_owned(), unless_etag: etag.to_owned(), ..Default::default() };
        let (info, document, pieces) = api.pull_by(unless(&first.etag)).await.unwrap();
        assert_eq!((info.unchanged, info.size, document.len(), pieces), (true, 0, 0, 0));
        assert_eq!(info.version.as_ref(), Some(&first));
        let second = api.write_once("dev/app", b"2").await;
        let (info, document, _) = api.pull_by(unless(&first.etag)).await.unwrap();
        assert_eq!((info.unchanged, &document[..]), (false, &b"2"[..]));
        assert_eq!((second.previous_etag, second.etag != first.etag), (first.etag, true));
    })
    .await;
}

#[tokio::test]
async fn history_is_grouped_by_lease_and_inner_lock_and_paged() {
    on_each_engine(async |server| {
        let api = &server.api;
        let mut number = 0;
        for (session, locks) in [("a", ["x", "x", "y"].as_slice()), ("b", &["", ""]), ("c", &["x"])] {
            let held = api.hold("dev/app", session).await;
            for lock in locks {
                number += 1;
                let document = number.to_string();
                let push = pb::PushOpen { inner_lock_id: (*lock).to_owned(), ..open("dev/app", session, held.token, 1) };
                api.push(push, document.as_bytes()).await.unwrap();
            }
            api.release("dev/app", session, held.token).await.unwrap();
        }
        let shape = |entries: &[pb::HistoryEntry]| -> Vec<(u64, u64, u32)> {
            let entry =
                |entry: &pb::HistoryEntry| (entry.version.as_ref().unwrap().version, entry.first_version, entry.snapshots);
            entries.iter().map(entry).collect()
        };
        let grouped = [(6, 6, 1), (5, 4, 2), (3, 3, 1), (2, 1, 2)];
        let whole = history(api, false, 0, 0).await;
        assert_eq!((shape(&whole.entries), whole.next), (grouped.to_vec(), 0));
        for limit in 1..=4 {
            let (mut paged, mut before) = (Vec::new(), 0);
            loop {
                let page = history(api, false, limit, before).await;
                assert!(page.entries.len() <= limit as usize);
                paged.extend(shape(&page.entries));
                before = page.next;
                if before == 0 {
                    break;
                }
            }
            assert_eq!(paged, grouped, "pages of {limit}");
        }
        let every = history(api, true, 0, 0).await;
        assert_eq!(shape(&every.entries), (1..=6).rev().map(|n| (n, n, 1)).collect::<Vec<_>>());
        let page = history(api, true, 2, 5).await;
        assert_eq!((shape(&page.entries), page.next), (vec![(4, 4, 1), (3, 3, 1)], 3));
    })
    .await;
}

#[tokio::test]
async fn rollback_writes_the_old_content_with_a_higher_serial() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        for serial in 1..=3 {
            api.write("dev/app", "s", held.token, &terraform("l", serial, &format!("v{serial}"))).await;
        }
        let request = rollback("s", held.token, 1);
        let back = api.state().rollback(request.clone()).await.expect("rolled back").into_inner();
        assert_eq!((back.version, back.serial, back.origin(), back.origin_version), (4, 4, pb::Origin::Rollback, 1));
        assert_eq!(api.pull("dev/app", 0).await.unwrap(), terraform("l", 4, "v1"));
        assert_eq!(api.pull("dev/app", 1).await.unwrap(), terraform("l", 1, "v1"));
        let cursor = api.cursor().await;
        assert_eq!(api.state().rollback(request).await.expect("a retry").into_inner(), back);
        refused(api.state().rollback(rollback("s", held.token, 9)).await, Code::NotFound, "VERSION_NOT_FOUND");
        assert_eq!(api.cursor().await, cursor);
    })
    .await;
}

#[tokio::test]
async fn envelope_is_rolled_back_as_it_was() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        let envelope = |serial: u64| {
            format!(r#"{{"serial":{serial},"lineage":"l","meta":{{}},"encrypted_data":"AAAA","encryption_version":"v0"}}"#)
                .into_bytes()
        };
        for serial in [1, 2] {
            let version = api.write("dev/app", "s", held.token, &envelope(serial)).await;
            assert_eq!((version.format(), version.serial), (pb::Format::Opaque, serial));
        }
        let back = api.state().rollback(rollback("s", held.token, 1)).await.expect("rolled back").into_inner();
        assert_eq!((back.version, back.serial), (3, 1));
        assert_eq!(api.pull("dev/app", 0).await.unwrap(), envelope(1));
    })
    .await;
}

#[tokio::test]
async fn deleted_state_reads_as_none_and_its_numbers_go_on() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        api.write("dev/app", "s", held.token, &terraform("l", 7, "a")).await;
        let request = delete("s", held.token);
        let gone = api.state().delete(request.clone()).await.expect("deleted").into_inner();
        assert_eq!((gone.version, gone.deleted, gone.origin()), (2, true, pb::Origin::Delete));
        assert_eq!(api.state().delete(request).await.expect("a retry").into_inner(), gone);
        refused(api.state().delete(delete("s", held.token)).await, Code::NotFound, "STATE_NOT_FOUND");
        for version in [0, 2] {
            refused(api.pull("dev/app", version).await, Code::NotFound, "STATE_NOT_FOUND");
        }
        let show = |version| pb::ShowRequest { state: "dev/app".to_owned(), version, ..Default::default() };
        refused(api.state().show(show(0)).await, Code::NotFound, "STATE_NOT_FOUND");
        assert!(api.state().show(show(2)).await.unwrap().into_inner().version.unwrap().deleted);
        assert_eq!(api.pull("dev/app", 1).await.unwrap(), terraform("l", 7, "a"));
        refused(api.state().rollback(rollback("s", held.token, 2)).await, Code::NotFound, "STATE_NOT_FOUND");
        let list = |deleted| pb::ListStatesRequest { prefix: "dev".to_owned(), deleted, ..Default::default() };
        assert!(api.state().list(list(false)).await.unwrap().into_inner().states.is_empty());
        assert_eq!(api.state().list(list(true)).await.unwrap().into_inner().states, std::slice::from_ref(&gone));
        assert_eq!(history(api, true, 0, 0).await.entries.len(), 2);

        // Created again: another format and a lower serial are fine, and numbers go on.
        let again = api.write("dev/app", "s", held.token, b"{}").await;
        assert_eq!((again.version, again.format(), again.previous_etag), (3, pb::Format::Json, gone.etag));
    })
    .await;
}

#[tokio::test]
async fn purge_drops_bytes_and_keeps_rows_and_the_current_version() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        for document in [b"1", b"2", b"3"] {
            api.write("dev/app", "s", held.token, document).await;
        }
        let purge = |version| pb::PurgeRequest { state: "dev/app".to_owned(), version, request_id: id() };
        let cursor = api.cursor().await;
        refused(api.state().purge(purge(3)).await, Code::FailedPrecondition, "VERSION_CURRENT");
        refused(api.state().purge(purge(4)).await, Code::NotFound, "VERSION_NOT_FOUND");
        assert_eq!(api.cursor().await, cursor);
        let one = purge(1);
        assert_eq!(api.state().purge(one.clone()).await.unwrap().into_inner().purged, 1);
        assert_eq!(api.state().purge(one).await.unwrap().into_inner().purged, 1, "a retry");
        assert_eq!(api.state().purge(purge(1)).await.unwrap().into_inner().purged, 0);
        refused(api.pull("dev/app", 1).await, Code::FailedPrecondition, "VERSION_PURGED");
        refused(api.state().rollback(rollback("s", held.token, 1)).await, Code::FailedPrecondition, "VERSION_PURGED");
        assert_eq!(api.pull("dev/app", 2).await.unwrap(), b"2");
        assert_eq!(api.state().purge(purge(0)).await.unwrap().into_inner().purged, 1, "all but the current");
        assert_eq!(api.pull("dev/app", 0).await.unwrap(), b"3");
        let entries = history(api, true, 0, 0).await.entries;
        assert_eq!(entries.iter().map(|entry| entry.version.as_ref().unwrap().purged).collect::<Vec<_>>(), [false, true, true]);
        api.state().delete(delete("s", held.token)).await.unwrap();
        assert_eq!(api.state().purge(purge(0)).await.unwrap().into_inner().purged, 1, "of a deleted state all");
        refused(api.pull("dev/app", 3).await, Code::FailedPrecondition, "VERSION_PURGED");
        let never = pb::PurgeRequest { state: "dev/never".to_owned(), version: 0, request_id: id() };
        refused(api.state().purge(never).await, Code::NotFound, "STATE_NOT_FOUND");
    })
    .await;
}

#[tokio::test]
async fn diff_of_terraform_states_names_changes_and_no_values() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        api.write("dev/app", "s", held.token, &terraform("l", 1, "planted-one")).await;
        api.write("dev/app", "s", held.token, &terraform("l", 2, "planted-two")).await;
        let stale = pb::PushOpen { expect: Some(pb::Expect::default()), ..open("dev/app", "s", held.token, 0) };
        let late = terraform("l", 3, "planted-three");
        let push = api.push(pb::PushOpen { size: late.len() as u64, ..stale }, &late).await;
        let to_draft = refused(push, Code::Aborted, "VERSION_CONFLICT").metadata["draft"].clone();
        let ask = |from_version, to_version, to_draft: &str| {
            let request =
                pb::DiffRequest { state: "dev/app".to_owned(), from_version, to_version, to_draft: to_draft.to_owned() };
            let mut state = api.state();
            async move { state.diff(request).await.expect("a difference").into_inner() }
        };
        for diff in [ask(0, 0, "").await, ask(1, 2, "").await, ask(0, 0, &to_draft).await] {
            let [change] = &diff.changes[..] else { panic!("one change: {diff:?}") };
            assert_eq!((change.kind(), &change.what[..], &change.address[..]), (pb::change::Kind::Changed, "output", "x"));
            assert!(!format!("{diff:?}").contains("planted") && !diff.equal && !diff.bytes_only);
        }
        let first = ask(0, 1, "").await;
        assert_eq!(first.changes[0].kind(), pb::change::Kind::Added, "before the first version there was nothing");
        assert!(ask(2, 2, "").await.equal);
        let missing = pb::DiffRequest { state: "dev/app".to_owned(), from_version: 9, ..Default::default() };
        refused(api.state().diff(missing).await, Code::NotFound, "VERSION_NOT_FOUND");
    })
    .await;
}
