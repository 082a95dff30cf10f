//! A queue of a hundred over real streams.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use leasehold::client::Ask;
use tokio::sync::mpsc;

use crate::rig::{Server, TIGHT, within};

const WAITERS: usize = 100;
/// The server is killed while the one holds, and when the other has just given back: nobody may be lost in between.
const KILLED_WHILE_HELD: usize = 30;
const KILLED_AT_HAND_OFF: usize = 60;

fn ask(session: String) -> Ask {
    Ask { ttl: Some(Duration::from_secs(60)), wait: Duration::from_secs(300), ..Ask::exclusive("dev/app", session) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundred_waiters_are_served_in_order_over_kills_of_the_server() {
    let mut server = Server::start(TIGHT);
    let client = server.client();
    let first = client.acquire(&ask("first".into()), |_| ()).await.unwrap();
    let mut last = first.reference.token.0;
    let first = client.keep(first);

    let served = Arc::new(Mutex::new(Vec::new()));
    let (reached, mut reaching) = mpsc::channel(1);
    let (back, backs) = tokio::sync::watch::channel(0);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..WAITERS {
        let (client, served, reached, mut backs) = (server.client(), Arc::clone(&served), reached.clone(), backs.clone());
        let (queued, mut queueing) = mpsc::channel(1);
        tasks.spawn(async move {
            let grant = client.acquire(&ask(format!("waiter-{n}")), |_| _ = queued.try_send(())).await.unwrap();
            // Whoever holds is alone here: the order of the entries is that of the grants.
            served.lock().unwrap().push((n, grant.reference.token.0));
            if n == KILLED_WHILE_HELD {
                reached.send(n).await.unwrap();
                backs.wait_for(|backs| *backs >= 1).await.unwrap();
            }
            let released = client.release(&grant.reference, false);
            if n == KILLED_AT_HAND_OFF {
                let (released, _) = tokio::join!(released, reached.send(n));
                released.unwrap();
                return;
            }
            released.await.unwrap();
        });
        // The next one comes only when this one has its place.
        within("a place", queueing.recv()).await.expect("it was told its place");
    }
    first.release(false).await.unwrap();
    for (n, at) in [KILLED_WHILE_HELD, KILLED_AT_HAND_OFF].into_iter().enumerate() {
        assert_eq!(within("the queue gets on", reaching.recv()).await, Some(at));
        server.kill();
        server.restart();
        back.send(n + 1).unwrap();
    }
    while let Some(ended) = within("everybody is served", tasks.join_next()).await {
        ended.unwrap();
    }
    let served = served.lock().unwrap();
    assert_eq!(served.iter().map(|(n, _)| *n).collect::<Vec<_>>(), (0..WAITERS).collect::<Vec<_>>());
    for (n, token) in served.iter() {
        assert!(*token > last, "waiter {n}: token {token} after {last}");
        last = *token;
    }
    assert!(server.client().tickets("dev/app").await.unwrap().is_empty());
}
