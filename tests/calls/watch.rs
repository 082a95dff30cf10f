//! Watching: every event once, in order, from any cursor.

use std::time::Duration;

use leasehold::pb::v1 as pb;
use leasehold::pb::v1::watch_response::Message;
use tonic::{Code, Status, Streaming};

use crate::support::{Api, Running, StoreKind, id, on_each_engine, refused};

/// A watch and the cursor of its first message.
async fn watch(api: &Api, prefix: &str, cursor: &str) -> Result<(Streaming<pb::WatchResponse>, String), Status> {
    let request = pb::WatchRequest { prefix: prefix.to_owned(), cursor: cursor.to_owned() };
    let mut stream = api.watch().watch(request).await?.into_inner();
    match stream.message().await?.and_then(|message| message.message) {
        Some(Message::Mark(mark)) => Ok((stream, mark.cursor)),
        other => panic!("a watch begins with a mark: {other:?}"),
    }
}

async fn next(stream: &mut Streaming<pb::WatchResponse>) -> pb::Event {
    loop {
        let message = tokio::time::timeout(Duration::from_secs(20), stream.message()).await.expect("an event in time");
        match message.expect("the watch lives").expect("it does not end").message {
            Some(Message::Event(event)) => return event,
            Some(Message::Mark(_)) => {}
            None => panic!("an empty message"),
        }
    }
}

async fn take(stream: &mut Streaming<pb::WatchResponse>, count: usize) -> Vec<pb::Event> {
    let mut events = Vec::new();
    while events.len() < count {
        events.push(next(stream).await);
    }
    events
}

#[tokio::test]
async fn events_come_in_order_and_resume_from_any_cursor() {
    on_each_engine(async |server| {
        let api = &server.api;
        let (mut stream, start) = watch(api, "", "").await.unwrap();
        for n in 0..5 {
            api.write_once(&format!("dev/s{n}"), b"1").await;
        }
        let events = take(&mut stream, 15).await;
        let kinds: Vec<_> = events.iter().map(pb::Event::kind).collect();
        let each = [pb::EventKind::LeaseGranted, pb::EventKind::VersionWritten, pb::EventKind::LeaseReleased];
        assert_eq!(kinds, each.repeat(5));
        for (n, three) in events.chunks(3).enumerate() {
            assert!(three.iter().all(|event| event.target == format!("dev/s{n}") && event.token == three[0].token));
            assert_eq!((three[1].version, three[1].principal.as_str()), (1, "token:admin"));
        }
        let cursors = std::iter::once(&start).chain(events.iter().map(|event| &event.cursor));
        for (seen, cursor) in cursors.enumerate() {
            let (mut resumed, mark) = watch(api, "", cursor).await.unwrap();
            assert_eq!(&mark, cursor);
            assert_eq!(take(&mut resumed, 15 - seen).await, events[seen..], "from the {seen}th");
        }
    })
    .await;
}

#[tokio::test]
async fn prefix_covers_whole_segments_and_environments_events() {
    on_each_engine(async |server| {
        let api = &server.api;
        let create = pb::CreateEnvironmentRequest {
            name: "prod".to_owned(),
            settings: None,
            request_id: id(),
            recovery: Vec::new(),
            no_recovery: true,
        };
        let (mut prod, _) = watch(api, "prod", "").await.unwrap();
        let (mut net, _) = watch(api, "dev/net", "").await.unwrap();
        api.environment().create(create).await.unwrap();
        for name in ["dev/network", "prod/net", "dev/net/eu", "dev/a", "dev/net"] {
            api.write_once(name, b"1").await;
        }
        let targets = |events: Vec<pb::Event>| events.into_iter().map(|event| event.target).collect::<Vec<_>>();
        assert_eq!(targets(take(&mut prod, 4).await), ["prod", "prod/net", "prod/net", "prod/net"]);
        assert_eq!(targets(take(&mut net, 6).await), ["dev/net/eu", "dev/net/eu", "dev/net/eu", "dev/net", "dev/net", "dev/net"]);
        refused(watch(api, "dev/", "").await, Code::InvalidArgument, "NAME_INVALID");
    })
    .await;
}

#[tokio::test]
async fn cursor_of_another_history_is_told_to_list_again() {
    on_each_engine(async |server| {
        let other = Running::start(StoreKind::Memory).await;
        let foreign = other.api.cursor().await;
        let relist = refused(watch(&server.api, "", &foreign).await, Code::OutOfRange, "WATCH_RELIST");
        let (mut stream, _) = watch(&server.api, "", &relist.metadata["cursor"]).await.expect("the fresh one is good");
        server.api.write_once("dev/app", b"1").await;
        assert_eq!(next(&mut stream).await.kind(), pb::EventKind::LeaseGranted);
    })
    .await;
}

#[tokio::test]
async fn cursor_survives_a_restart() {
    let server = Running::start(StoreKind::Sqlite).await;
    let cursor = server.api.cursor().await;
    server.api.write_once("dev/app", b"1").await;
    let server = server.stop().await.restart().await;
    server.api.write_once("dev/app", b"2").await;
    let (mut stream, _) = watch(&server.api, "", &cursor).await.expect("the same history");
    let events = take(&mut stream, 6).await;
    let versions: Vec<_> = events.iter().map(|event| event.version).filter(|version| *version > 0).collect();
    assert_eq!(versions, [1, 2]);
    assert!(events[3].token > events[0].token, "the epoch rose");
}

#[tokio::test]
async fn cursor_whose_events_are_trimmed_is_told_to_list_again() {
    let server = Running::start_with(StoreKind::Sqlite, "keep_events = 10").await;
    let old = server.api.cursor().await;
    for _ in 0..10 {
        server.api.write_once("dev/app", b"1").await;
    }
    // The sweeper comes once a second; each look is a new watch.
    let looks = async {
        loop {
            match watch(&server.api, "", &old).await {
                Ok((mut stream, _)) => drop(next(&mut stream).await),
                Err(status) => return status,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            server.api.write_once("dev/app", b"1").await;
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(20), looks).await.expect("trimmed in time");
    let relist = refused::<()>(Err(status), Code::OutOfRange, "WATCH_RELIST");
    let (mut stream, _) = watch(&server.api, "", &relist.metadata["cursor"]).await.expect("the fresh one is good");
    server.api.write_once("dev/app", b"1").await;
    assert_eq!(next(&mut stream).await.kind(), pb::EventKind::LeaseGranted);
}

#[tokio::test]
async fn slow_watcher_misses_nothing() {
    on_each_engine(async |server| {
        let api = server.caller(Some(&server.token()));
        let (mut slow, _) = watch(&api, "", "").await.unwrap();
        let freeze =
            |n: u32| pb::FreezeRequest { target: "dev".to_owned(), reason: format!("{n} {}", "x".repeat(400)), request_id: id() };
        let mut environment = server.api.environment();
        for n in 0..600 {
            environment.freeze(freeze(n)).await.unwrap();
        }
        for (n, event) in take(&mut slow, 600).await.into_iter().enumerate() {
            assert!(event.message.starts_with(&format!("{n} ")), "{n}: {}", event.message);
        }
    })
    .await;
}

#[tokio::test]
async fn two_hundred_watchers_each_see_everything() {
    let server = Running::start(StoreKind::Sqlite).await;
    let mut watchers = tokio::task::JoinSet::new();
    let ready = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    for _ in 0..200 {
        let (api, ready) = (server.api.clone(), std::sync::Arc::clone(&ready));
        watchers.spawn(async move {
            let (mut stream, _) = watch(&api, "", "").await.unwrap();
            ready.add_permits(1);
            take(&mut stream, 60).await
        });
    }
    ready.acquire_many(200).await.unwrap().forget();
    for n in 0..20 {
        server.api.write_once(&format!("dev/s{n}"), b"1").await;
    }
    let all = watchers.join_all().await;
    assert!(all.iter().all(|events| *events == all[0]), "all hear the same");
    assert_eq!(all[0].iter().filter(|event| event.kind() == pb::EventKind::VersionWritten).count(), 20);
}
