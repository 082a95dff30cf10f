//! A lease against a server whose answers are written down, on virtual time.

use std::time::Duration;

use tokio::time::{Instant, advance, sleep, sleep_until};
use tonic::{Code, Status};

use super::{Ask, FencingToken, Lease, Loss, State};
use crate::client::fake::{Fake, Renewal, granted, lost, queued, refused};
use crate::client::{Client, Error, clock};
use crate::pb::v1::{LossReason, Mode};

const TTL: Duration = Duration::from_secs(60);
const DELAY: Duration = Duration::from_secs(15);

fn ask(wait: u64) -> Ask {
    Ask { wait: Duration::from_secs(wait), ..Ask::exclusive("dev/app", "s-1") }
}

async fn held(fake: &Fake) -> (Client, Lease) {
    fake.script_acquire([Ok(granted(7, false))]);
    let client = fake.client();
    let grant = client.acquire(&ask(0), |_| ()).await.unwrap();
    let lease = client.keep(grant);
    (client, lease)
}

/// A lease that is never told of its loss fails the test instead of renewing for ever.
async fn lost_in_an_hour(lease: &Lease) -> Loss {
    tokio::time::timeout(Duration::from_secs(3600), lease.lost()).await.expect("the loss is told")
}

/// Waits for a state that is not `Held`, and tells when it came.
async fn next_trouble(lease: &Lease) -> (Instant, State) {
    let mut views = lease.subscribe();
    let trouble = views.wait_for(|view| view.state != State::Held);
    let view = tokio::time::timeout(Duration::from_secs(3600), trouble).await.expect("trouble comes").unwrap().clone();
    (clock::now(), view.state)
}

fn near(left: Instant, right: Instant) -> bool {
    left.max(right) - left.min(right) <= Duration::from_millis(5)
}

#[tokio::test(start_paused = true)]
async fn lease_is_renewed_every_third_of_its_ttl_but_at_least_every_20_s() {
    for (ttl, every) in [(6.0, 2.0), (60.0, 20.0), (86_400.0, 20.0)] {
        let fake = Fake::start();
        fake.set_ttl(Duration::from_secs_f64(ttl));
        let (_client, lease) = held(&fake).await;
        // The first one learns the ttl from the answer.
        sleep(Duration::from_secs(600)).await;
        let times: Vec<_> = fake.seen().renewals.into_iter().map(|(at, _)| at).collect();
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        assert!(gaps.len() >= 26, "ttl {ttl}: {} renewals", gaps.len());
        assert!(gaps.iter().all(|gap| (every * 0.899..every * 1.001).contains(gap)), "ttl {ttl}: {gaps:?}");
        assert!(gaps.iter().any(|gap| (gap - gaps[0]).abs() > every / 1000.0), "no jitter: {gaps:?}");
        assert_eq!(lease.state(), State::Held);
    }
}

#[tokio::test(start_paused = true)]
async fn grant_at_once_counts_from_the_sending_of_the_acquire() {
    let fake = Fake::start();
    let before = clock::now();
    let (_client, lease) = held(&fake).await;
    assert_eq!(lease.reference().token, FencingToken(7));
    assert!(lease.last_send() >= before && lease.last_send() <= fake.seen().acquires[0].0);
    assert!(fake.seen().renewals.is_empty());
}

#[tokio::test(start_paused = true)]
async fn waited_grant_is_claimed_at_once_and_counts_from_the_claim() {
    let fake = Fake::start();
    fake.script_acquire([Ok(queued(2)), Ok(queued(1))]);
    let client = fake.client();
    let granter = fake.clone();
    let granting = tokio::spawn(async move {
        sleep(Duration::from_secs(25)).await;
        granter.tell(granted(8, true)).await;
    });
    let mut places = Vec::new();
    let grant = client.acquire(&ask(600), |queued| places.push(queued.place)).await.unwrap();
    granting.await.unwrap();
    assert_eq!(places, [2, 1]);
    let renewals = fake.seen().renewals;
    assert_eq!(renewals.len(), 1);
    assert!(near(renewals[0].0, grant.sent) && grant.sent <= renewals[0].0);
    assert!(near(renewals[0].0, fake.seen().acquires[0].0 + Duration::from_secs(25)));
}

#[tokio::test(start_paused = true)]
async fn waiter_keeps_its_place_when_the_stream_breaks() {
    let fake = Fake::start();
    fake.script_acquire([Ok(queued(3)), Err(Status::unavailable("draining"))]);
    fake.script_acquire([Err(Status::cancelled("operation was canceled"))]);
    fake.script_acquire([Ok(queued(1)), Ok(granted(9, true))]);
    let grant = fake.client().acquire(&ask(600), |_| ()).await.unwrap();
    assert_eq!(grant.reference.token, FencingToken(9));
    let requests: Vec<_> = fake.seen().acquires.into_iter().map(|(_, request)| request).collect();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| *request == requests[0]), "a try that differs would be refused");
}

#[tokio::test(start_paused = true)]
async fn waiter_that_was_out_of_reach_for_too_long_queues_again() {
    let fake = Fake::start();
    fake.script_acquire([Ok(queued(3)), Err(Status::unavailable("gone"))]);
    fake.script_acquire([Err(refused(Code::Aborted, "ACQUIRE_DEAD", &[]))]);
    fake.script_acquire([Ok(queued(4)), Ok(granted(9, true))]);
    fake.client().acquire(&ask(600), |_| ()).await.unwrap();
    let ids: Vec<_> = fake.seen().acquires.into_iter().map(|(_, request)| request.request_id).collect();
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[1], ids[2]);
}

#[tokio::test(start_paused = true)]
async fn waiter_whose_ticket_was_cancelled_does_not_queue_again() {
    let fake = Fake::start();
    fake.script_acquire([Ok(queued(1)), Ok(lost(0, LossReason::TicketGone))]);
    assert!(matches!(fake.client().acquire(&ask(600), |_| ()).await, Err(Error::LeaseLost(_))));
    assert_eq!(fake.seen().acquires.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn held_lock_is_a_conflict_and_not_tried_again() {
    let fake = Fake::start();
    fake.script_acquire([Err(refused(Code::FailedPrecondition, "LEASE_HELD", &[]))]);
    let Err(error) = fake.client().acquire(&ask(0), |_| ()).await else { panic!("granted") };
    assert!(matches!(error, Error::Conflict(_)), "{error:?}");
    assert_eq!(fake.seen().acquires.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn broken_lease_is_told_at_once() {
    let fake = Fake::start();
    let (_client, lease) = held(&fake).await;
    sleep(Duration::from_secs(5)).await;
    let told = clock::now();
    fake.tell(lost(7, LossReason::Broken)).await;
    let loss = lost_in_an_hour(&lease).await;
    assert!(near(clock::now(), told), "{:?} late", clock::now() - told);
    assert_eq!(loss, Loss::Told { reason: LossReason::Broken, message: "by alice".into() });
}

#[tokio::test(start_paused = true)]
async fn silence_counts_from_the_sending_not_from_the_answer() {
    let fake = Fake::start();
    fake.script_renewals([Renewal::After(Duration::from_secs(8))]);
    fake.script_renewals((0..100).map(|_| Renewal::Never));
    let (_client, lease) = held(&fake).await;
    // The first renewal is answered 8 s after it was sent; nothing later is.
    sleep(Duration::from_secs(35)).await;
    let sent = fake.seen().renewals[0].0;
    assert!(near(lease.last_send(), sent));
    let (silent_at, state) = next_trouble(&lease).await;
    assert_eq!(state, State::Silent);
    assert!(near(silent_at, sent + TTL * 2 / 3), "soft after {:?}", silent_at - sent);
    let loss = lost_in_an_hour(&lease).await;
    let lost_at = clock::now();
    assert!(matches!(loss, Loss::Silent { .. }));
    assert!(near(lost_at, sent + TTL * 9 / 10 + DELAY), "hard after {:?}", lost_at - sent);
    assert!(lost_at < sent + TTL + DELAY, "somebody else may have the lock by now");
}

#[tokio::test(start_paused = true)]
async fn lost_lease_is_renewed_no_more() {
    let fake = Fake::start();
    fake.script_renewals((0..100).map(|_| Renewal::No(Status::unavailable("down"))));
    let (_client, lease) = held(&fake).await;
    lost_in_an_hour(&lease).await;
    sleep(TTL).await;
    let tries = fake.seen().renewals.len();
    sleep(TTL * 10).await;
    assert_eq!(fake.seen().renewals.len(), tries);
    assert!(matches!(lease.state(), State::Lost(Loss::Silent { .. })), "loss is for good");
}

#[tokio::test(start_paused = true)]
async fn renewal_that_is_answered_after_the_loss_revives_nothing() {
    let fake = Fake::start();
    fake.script_renewals([Renewal::After(Duration::from_secs(5))]);
    let (_client, lease) = held(&fake).await;
    while fake.seen().renewals.is_empty() {
        sleep(Duration::from_millis(100)).await;
    }
    fake.tell(lost(7, LossReason::Broken)).await;
    lost_in_an_hour(&lease).await;
    sleep(TTL).await;
    assert!(matches!(lease.state(), State::Lost(Loss::Told { .. })));
    assert_eq!(fake.seen().renewals.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn failing_renewals_are_tried_again_before_the_owner_must_stop() {
    let fake = Fake::start();
    fake.script_renewals([
        Renewal::No(Status::unavailable("down")),
        Renewal::Never,
        Renewal::No(refused(Code::Unknown, "OUTCOME_UNKNOWN", &[])),
        Renewal::No(Status::internal("a bug")),
    ]);
    let (_client, lease) = held(&fake).await;
    let granted_at = lease.last_send();
    sleep_until(granted_at + TTL * 2 / 3 + Duration::from_secs(1)).await;
    assert_eq!(lease.state(), State::Held);
    assert!(lease.last_send() > granted_at + Duration::from_secs(18));
    assert!(fake.seen().renewals.len() >= 5);
}

#[tokio::test(start_paused = true)]
async fn silent_lease_that_is_renewed_is_held_again() {
    let fake = Fake::start();
    fake.script_renewals((0..3).map(|_| Renewal::Never));
    let (_client, lease) = held(&fake).await;
    assert_eq!(next_trouble(&lease).await.1, State::Silent);
    let mut views = lease.subscribe();
    let held = views.wait_for(|view| view.state == State::Held);
    tokio::time::timeout(TTL, held).await.expect("the next renewal succeeds").unwrap();
}

#[tokio::test(start_paused = true)]
async fn refused_renewal_is_a_loss() {
    let fake = Fake::start();
    fake.script_renewals([Renewal::No(refused(Code::Aborted, "LEASE_LOST", &[]))]);
    let (_client, lease) = held(&fake).await;
    let Loss::Refused { reason, .. } = lost_in_an_hour(&lease).await else { panic!("another loss") };
    assert_eq!(reason, "LEASE_LOST");
    assert_eq!(fake.seen().renewals.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn broken_holder_stream_is_taken_up_again_while_renewals_go_on() {
    let fake = Fake::start();
    let (_client, lease) = held(&fake).await;
    fake.script_acquire([Err(Status::unavailable("restarting"))]);
    fake.script_acquire([Ok(granted(7, false))]);
    fake.break_streams();
    sleep(Duration::from_secs(30)).await;
    let acquires = fake.seen().acquires;
    assert_eq!(acquires.len(), 3);
    assert!(acquires.iter().all(|(_, request)| *request == acquires[0].1));
    assert!(!fake.seen().renewals.is_empty());
    fake.tell(lost(7, LossReason::Ended)).await;
    assert!(matches!(lost_in_an_hour(&lease).await, Loss::Told { reason: LossReason::Ended, .. }));
}

#[tokio::test(start_paused = true)]
async fn acquire_that_is_dead_when_asked_again_is_a_loss() {
    let fake = Fake::start();
    let (_client, lease) = held(&fake).await;
    fake.script_acquire([Err(refused(Code::Aborted, "ACQUIRE_DEAD", &[]))]);
    fake.break_streams();
    let started = clock::now();
    let Loss::Refused { reason, .. } = lost_in_an_hour(&lease).await else { panic!("another loss") };
    assert_eq!(reason, "ACQUIRE_DEAD");
    assert!(clock::now() - started < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn lease_secret_stands_in_for_a_token_that_has_ended() {
    let fake = Fake::start();
    fake.script_renewals([Renewal::No(refused(Code::Unauthenticated, "UNAUTHENTICATED", &[]))]);
    let (_client, lease) = held(&fake).await;
    sleep(Duration::from_secs(23)).await;
    let bearers: Vec<_> = fake.seen().renewals.into_iter().map(|(_, bearer)| bearer).collect();
    assert_eq!(bearers, ["Bearer lh_principal", "Bearer ls_secret"]);
    assert_eq!(lease.state(), State::Held);
}

#[tokio::test(start_paused = true)]
async fn released_lease_is_renewed_no_more() {
    let fake = Fake::start();
    let (_client, lease) = held(&fake).await;
    lease.release(true).await.unwrap();
    let releases = fake.seen().releases;
    assert_eq!((releases.len(), releases[0].token, releases[0].abandoned), (1, 7, true));
    advance(TTL * 10).await;
    sleep(TTL).await;
    assert!(fake.seen().renewals.is_empty());
}

#[tokio::test(start_paused = true)]
async fn shared_lease_has_no_lock_delay_to_wait_for() {
    let fake = Fake::start();
    fake.script_acquire([Ok(granted(7, false))]);
    let client = fake.client();
    let shared = Ask { mode: Mode::Shared, ..ask(0) };
    let lease = client.keep(client.acquire(&shared, |_| ()).await.unwrap());
    assert_eq!(lease.view().hard_stop_at(), lease.last_send() + TTL * 9 / 10);
}

#[tokio::test(start_paused = true)]
async fn mutation_is_tried_again_under_the_same_request_id_and_the_next_has_another() {
    let fake = Fake::start();
    fake.script_cancel(Status::unavailable("down"));
    fake.script_cancel(Status::cancelled("operation was canceled"));
    let client = fake.client();
    assert!(client.cancel("dev/app", "s-1", None).await.unwrap());
    assert!(client.cancel("dev/app", "s-1", None).await.unwrap());
    let ids: Vec<_> = fake.seen().cancels.into_iter().map(|request| request.request_id).collect();
    assert_eq!(ids.len(), 4);
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3]);
    assert_eq!(uuid::Uuid::parse_str(&ids[0]).unwrap().get_version_num(), 7);
}

#[tokio::test(start_paused = true)]
async fn locks_come_from_all_pages() {
    let locks = Fake::start().client().locks("dev", false).await.unwrap();
    assert_eq!(locks.iter().map(|lock| lock.state.as_str()).collect::<Vec<_>>(), ["dev/a", "dev/b"]);
}
