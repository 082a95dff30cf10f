//! Documents with more secrets than go into one batch: their values are put ahead of them, under the new key, and found there again.

use super::*;

/// More than twice as many as are put at once.
const SECRETS: usize = 150;

/// The first `same` secrets are those of every document, the others are its own.
fn document(n: usize, same: usize) -> Vec<u8> {
    let secret = |i: usize| if i < same { format!("Shared-{i}-of-all") } else { format!("Own-{i}-of-{n}-xK") };
    let places: Vec<String> = (0..SECRETS).map(|i| format!(r#""password_{i}":"{}""#, secret(i))).collect();
    format!("{{\"n\":{n},{}}}", places.join(",")).into_bytes()
}

async fn reads(api: &Api, documents: &[Vec<u8>]) {
    for (version, document) in (1..).zip(documents) {
        assert!(api.pull("dev/many", version).await.expect("it reads") == *document, "version {version} has other bytes");
    }
}

#[tokio::test]
async fn values_put_ahead_of_their_document_are_all_there_and_shared_as_before() {
    on_each_engine(async |server| {
        let api = &server.api;
        let documents: Vec<_> = (1..=3).map(|n| document(n, 100)).collect();
        for document in &documents {
            api.write_once("dev/many", document).await;
        }
        let values = report(api).await.values;
        assert_eq!(values, 100 + 3 * 50);
        for round in 1..=2_u32 {
            reencrypt(api).await.expect("a reencrypt");
            let told = report(api).await;
            assert_eq!((told.old_epoch, told.retired, told.values), (0, 1, values), "round {round}");
            // What still opens does so under the new key alone.
            destroy(api).await.expect("destroyed");
            reads(api, &documents).await;
            assert_eq!(verify(api).await.expect("verified").failed, 0);
        }
        // With a document go the values that it alone has, and no others.
        let purge = pb::PurgeRequest { state: "dev/many".to_owned(), version: 1, request_id: id() };
        api.state().purge(purge).await.expect("purged");
        assert_eq!(report(api).await.values, values - 50);
        assert_eq!(verify(api).await.expect("verified").failed, 0);
    })
    .await;
}

/// Each write moves the ground from under the values that were put ahead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_put_ahead_outlive_writes_of_the_same_state() {
    on_each_engine(async |server| {
        let api = &server.api;
        let mut documents: Vec<_> = (1..=4).map(|n| document(n, 0)).collect();
        for document in &documents {
            api.write_once("dev/many", document).await;
        }
        let rotating = tokio::spawn({
            let (keys, (environment, request_id)) = (api.keys(), dev());
            async move {
                let mut keys = keys;
                ends(keys.reencrypt(pb::ReencryptRequest { environment, request_id }).await).await.map(|(outcome, _)| outcome)
            }
        });
        for n in 5..=8 {
            documents.push(document(n, 0));
            api.write_once("dev/many", documents.last().unwrap()).await;
        }
        rotating.await.unwrap().expect("a reencrypt");
        let told = report(api).await;
        assert_eq!((told.old_epoch, told.documents), (0, 8));
        destroy(api).await.expect("destroyed");
        reads(api, &documents).await;
        assert_eq!(verify(api).await.expect("verified").failed, 0);
    })
    .await;
}

#[tokio::test]
async fn values_put_ahead_are_found_again_after_a_restart() {
    let mut server = Running::start(StoreKind::Sqlite).await;
    let documents: Vec<_> = (1..=4).map(|n| document(n, 50)).collect();
    for document in &documents {
        server.api.write_once("dev/many", document).await;
    }
    let values = report(&server.api).await.values;
    let (environment, request_id) = dev();
    let ask = pb::ReencryptRequest { environment, request_id };
    let (mut stops, mut halfway) = (0, 0);
    // Stopped as soon as values are there, again and again, until it has ended.
    drop(server.api.keys().reencrypt(ask).await.unwrap());
    loop {
        let told = report(&server.api).await;
        if told.job.is_none() {
            break;
        }
        if told.values == values && stops == 0 {
            tokio::task::yield_now().await;
            continue;
        }
        stops += 1;
        halfway += u32::from(told.values > values);
        assert!(stops < 1000, "it stands still");
        server = server.stop().await.restart().await;
        // So far, and a little further.
        let before = told.values;
        while report(&server.api).await.job.is_some_and(|job| job.done == told.job.as_ref().map_or(0, |job| job.done))
            && report(&server.api).await.values == before
        {
            tokio::task::yield_now().await;
        }
    }
    assert!(halfway > 0, "it was stopped {stops} times, never with values ahead");
    let told = report(&server.api).await;
    assert_eq!((told.key_epoch, told.old_epoch, told.values), (2, 0, values), "none was put twice, and none is left over");
    destroy(&server.api).await.expect("destroyed");
    reads(&server.api, &documents).await;
}
