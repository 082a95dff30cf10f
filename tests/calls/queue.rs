//! Waiting for a lock: the place, the turn, and giving up.

use leasehold::pb::v1 as pb;
use leasehold::pb::v1::acquire_response::Event;
use tonic::Code;

use crate::support::{Running, StoreKind, acquire, granted_in_turn, id, lost, on_each_engine, refused, told};

fn waiting(session: &str) -> pb::AcquireRequest {
    pb::AcquireRequest { wait_ms: 60_000, ..acquire("dev/app", session) }
}

#[tokio::test]
async fn waiters_are_told_their_place_behind_the_holder_and_served_in_order() {
    on_each_engine(async |server| {
        let api = &server.api;
        let labels = Some(pb::Labels { who: "ci".to_owned(), host: "runner-1".to_owned(), ..Default::default() });
        let held = api.hold_by(pb::AcquireRequest { labels: labels.clone(), ..acquire("dev/app", "holder") }).await;
        let mut waiters = Vec::new();
        for n in 1..=3_u32 {
            let session = format!("w{n}");
            let (queued, stream) = api.queue(waiting(&session)).await;
            assert_eq!(queued.place, n);
            let [holder] = &queued.holders[..] else { panic!("one holder: {queued:?}") };
            assert_eq!((&holder.session[..], holder.token, &holder.labels), ("holder", held.token, &labels));
            waiters.push((session, stream));
        }
        let tickets = api.lease().list_tickets(pb::ListTicketsRequest { state: "dev/app".to_owned() }).await;
        let tickets = tickets.unwrap().into_inner().tickets;
        assert_eq!(
            tickets.iter().map(|ticket| (ticket.place, &ticket.session[..])).collect::<Vec<_>>(),
            [(1, "w1"), (2, "w2"), (3, "w3")]
        );
        assert_eq!(api.lock("dev/app").await.waiting, 3);
        refused(api.lease().acquire(acquire("dev/app", "late")).await, Code::FailedPrecondition, "LEASE_HELD");

        let (mut last, mut holder) = (held.token, "holder".to_owned());
        for (session, stream) in &mut waiters {
            api.release("dev/app", &holder, last).await.expect("released");
            let (places, granted) = granted_in_turn(stream).await;
            assert!(places.is_sorted_by(|a, b| a >= b), "nobody falls back: {places:?}");
            assert!(granted.token > last && granted.unclaimed, "{granted:?}");
            let renewed = api.renew("dev/app", session, granted.token).await.expect("claims");
            assert!(renewed.remaining_ms > 2_000, "a full ttl, not the claim deadline");
            (last, holder) = (granted.token, session.clone());
        }
        let lock = api.lock("dev/app").await;
        assert_eq!((lock.waiting, lock.holders.len(), lock.holders[0].claimed), (0, 1, true));
    })
    .await;
}

#[tokio::test]
async fn wait_that_is_over_gives_the_ticket_up() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "holder").await;
        let request = pb::AcquireRequest { wait_ms: 100, ..acquire("dev/app", "w") };
        let (_, mut stream) = api.queue(request.clone()).await;
        let over = loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        let over = refused(over, Code::FailedPrecondition, "WAIT_OVER");
        assert!(over.message.contains("holder"), "{}", over.message);
        assert_eq!(api.lock("dev/app").await.waiting, 0);
        refused(api.lease().acquire(request).await, Code::FailedPrecondition, "ACQUIRE_DEAD");
        api.release("dev/app", "holder", held.token).await.unwrap();
        assert!(api.lock("dev/app").await.holders.is_empty(), "nothing was granted to it afterwards");
    })
    .await;
}

#[tokio::test]
async fn closed_stream_gives_up_neither_place_nor_lease() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "holder").await;
        let (first, second) = (waiting("a"), waiting("b"));
        let (at, stream) = api.queue(first.clone()).await;
        drop(stream);
        let (behind, _second) = api.queue(second).await;
        let (again, stream) = api.queue(first.clone()).await;
        assert_eq!((again.ticket, again.place, behind.place), (at.ticket, 1, 2));
        drop(stream);
        api.release("dev/app", "holder", held.token).await.unwrap();
        let mut stream = api.lease().acquire(first.clone()).await.unwrap().into_inner();
        let (_, granted) = granted_in_turn(&mut stream).await;
        drop(stream);
        api.renew("dev/app", "a", granted.token).await.expect("still its own");
        let mut stream = api.lease().acquire(first).await.unwrap().into_inner();
        let (_, same) = granted_in_turn(&mut stream).await;
        assert_eq!((same.token, &same.lease_secret, same.unclaimed), (granted.token, &granted.lease_secret, false));
    })
    .await;
}

#[tokio::test]
async fn replayed_acquire_of_a_dead_lease_says_so() {
    on_each_engine(async |server| {
        let api = &server.api;
        let request = acquire("dev/app", "s");
        let held = api.hold_by(request.clone()).await;
        let again = api.hold_by(request.clone()).await;
        assert_eq!((held.token, &held.secret), (again.token, &again.secret), "the same lease");
        api.release("dev/app", "s", held.token).await.unwrap();
        let dead = refused(api.lease().acquire(request.clone()).await, Code::FailedPrecondition, "ACQUIRE_DEAD");
        assert!(dead.message.contains("released"), "{}", dead.message);
        let new = api.hold("dev/app", "s").await;
        refused(api.lease().acquire(request).await, Code::FailedPrecondition, "ACQUIRE_DEAD");
        api.renew("dev/app", "s", new.token).await.expect("the replay took nothing from the new lease");
    })
    .await;
}

#[tokio::test]
async fn offer_is_claimed_by_write_and_release_and_by_asking_when_polling() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "holder").await;
        let (_, mut writes) = api.queue(waiting("writes")).await;
        let polling = pb::AcquireRequest { polls: true, ..waiting("polls") };
        let (_, stream) = api.queue(polling.clone()).await;
        drop(stream);
        let (_, mut releases) = api.queue(waiting("releases")).await;

        api.release("dev/app", "holder", held.token).await.unwrap();
        let (_, granted) = granted_in_turn(&mut writes).await;
        assert!(!api.lock("dev/app").await.holders[0].claimed);
        api.write("dev/app", "writes", granted.token, b"1").await;
        assert!(api.lock("dev/app").await.holders[0].claimed, "by the write");

        api.release("dev/app", "writes", granted.token).await.unwrap();
        assert!(!api.lock("dev/app").await.holders[0].claimed);
        let asked = api.hold_by(polling).await;
        assert!(!asked.granted.unclaimed && api.lock("dev/app").await.holders[0].claimed, "by asking");

        api.release("dev/app", "polls", asked.token).await.unwrap();
        let (_, granted) = granted_in_turn(&mut releases).await;
        assert!(api.release("dev/app", "releases", granted.token).await.unwrap().was_live);
        assert!(api.lock("dev/app").await.holders.is_empty());
    })
    .await;
}

#[tokio::test]
async fn offer_that_nobody_claims_goes_to_the_next() {
    let settings = "[limits]\nclaim = \"200ms\"";
    for engine in [StoreKind::Memory, StoreKind::Sqlite] {
        let server = Running::start_with(engine, settings).await;
        let api = &server.api;
        let held = api.hold("dev/app", "holder").await;
        let (_, mut silent) = api.queue(waiting("silent")).await;
        let (_, mut next) = api.queue(waiting("next")).await;
        api.release("dev/app", "holder", held.token).await.unwrap();
        let (_, spent) = granted_in_turn(&mut silent).await;
        let (_, granted) = granted_in_turn(&mut next).await;
        assert!(granted.token > spent.token);
        let lost = lost(&mut silent).await;
        assert_eq!((lost.token, lost.reason()), (spent.token, pb::LossReason::Unclaimed));
        refused(api.renew("dev/app", "silent", spent.token).await, Code::FailedPrecondition, "LEASE_LOST");
    }
}

#[tokio::test]
async fn cancelled_ticket_is_told_to_its_waiter() {
    on_each_engine(async |server| {
        let api = &server.api;
        let _held = api.hold("dev/app", "holder").await;
        let (queued, mut stream) = api.queue(waiting("w")).await;
        let request =
            pb::CancelRequest { state: "dev/app".to_owned(), ticket: queued.ticket, session: String::new(), request_id: id() };
        assert!(api.lease().cancel(request.clone()).await.unwrap().into_inner().was_waiting);
        let lost = lost(&mut stream).await;
        assert_eq!((lost.token, lost.reason()), (0, pb::LossReason::TicketGone));
        assert!(api.lease().cancel(request.clone()).await.unwrap().into_inner().was_waiting, "a retry hears the same");
        let anew = pb::CancelRequest { request_id: id(), ..request };
        assert!(!api.lease().cancel(anew).await.unwrap().into_inner().was_waiting);
    })
    .await;
}

#[tokio::test]
async fn queue_that_is_full_takes_nobody_else() {
    on_each_engine(async |server| {
        let api = &server.api;
        let settings = pb::Settings { max_tickets: Some(2), ..Default::default() };
        let set = pb::SetEnvironmentRequest { name: "dev".to_owned(), settings: Some(settings), request_id: id() };
        api.environment().set(set).await.unwrap();
        let _held = api.hold("dev/app", "holder").await;
        let first = waiting("a");
        let (_, _a) = api.queue(first.clone()).await;
        let (_, _b) = api.queue(waiting("b")).await;
        let cursor = api.cursor().await;
        let full = refused(api.lease().acquire(waiting("c")).await, Code::ResourceExhausted, "QUEUE_FULL");
        assert!(full.message.contains('2'), "{}", full.message);
        assert_eq!(api.cursor().await, cursor);
        assert_eq!(api.queue(first).await.0.place, 1, "who waits already is not refused");
    })
    .await;
}

#[tokio::test]
async fn ttl_out_of_range_is_refused() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "holder").await;
        let cursor = api.cursor().await;
        for ttl_ms in [1, 299, 24 * 3_600_000 + 1, u64::MAX] {
            let (code, reason) = (Code::InvalidArgument, "TTL_OUT_OF_RANGE");
            refused(api.lease().acquire(pb::AcquireRequest { ttl_ms, ..acquire("dev/b", "s") }).await, code, reason);
            refused(api.lease().acquire(pb::AcquireRequest { ttl_ms, ..waiting("s") }).await, code, reason);
            let renew = pb::RenewRequest { state: "dev/app".to_owned(), session: "holder".to_owned(), token: held.token, ttl_ms };
            refused(api.lease().renew(renew).await, code, reason);
        }
        assert_eq!(api.cursor().await, cursor);
        let wait_ms = u64::MAX;
        api.queue(pb::AcquireRequest { wait_ms, ..acquire("dev/app", "patient") }).await;
    })
    .await;
}

#[tokio::test]
async fn places_are_told_at_most_once_a_second() {
    let server = Running::start(StoreKind::Memory).await;
    let api = &server.api;
    let _held = api.hold("dev/app", "holder").await;
    let mut ahead = Vec::new();
    for n in 0..20 {
        ahead.push(api.queue(waiting(&format!("a{n}"))).await);
    }
    let (at, mut stream) = api.queue(waiting("last")).await;
    assert_eq!(at.place, 21);
    for (queued, _) in &ahead {
        let (state, ticket) = ("dev/app".to_owned(), queued.ticket);
        let request = pb::CancelRequest { state, ticket, session: String::new(), request_id: id() };
        api.lease().cancel(request).await.unwrap();
    }
    let Some(Event::Queued(queued)) = told(&mut stream).await else { panic!("a place") };
    assert_eq!(queued.place, 1, "twenty moves within a second are one message");
}
