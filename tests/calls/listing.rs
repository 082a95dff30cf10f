//! Lists: prefixes of whole segments, pages without gaps or repeats.

use leasehold::pb::v1 as pb;
use tonic::Code;

use crate::support::{id, on_each_engine, refused};

#[tokio::test]
async fn states_and_locks_are_listed_by_whole_segments_and_in_pages() {
    on_each_engine(async |server| {
        let api = &server.api;
        let create = pb::CreateEnvironmentRequest {
            name: "prod".to_owned(),
            settings: None,
            request_id: id(),
            recovery: Vec::new(),
            no_recovery: true,
        };
        api.environment().create(create).await.unwrap();
        let names = ["dev/a", "dev/net", "dev/net/eu", "dev/net/us", "dev/network", "prod/a"];
        let mut held = Vec::new();
        for name in names {
            api.write_once(name, b"1").await;
            held.push(api.hold(name, "s").await);
        }
        for (prefix, expected) in [
            ("", &names[..]),
            ("dev", &names[..5]),
            ("dev/net", &names[1..4]),
            ("dev/net/eu", &names[2..3]),
            ("dev/ne", &[]),
            ("prod", &names[5..]),
        ] {
            for limit in [0, 1, 2, 3, 5, 6, u32::MAX] {
                let (mut states, mut locks) = (Vec::new(), Vec::new());
                let mut after = String::new();
                loop {
                    let request = pb::ListStatesRequest { prefix: prefix.to_owned(), limit, after, deleted: false };
                    let page = api.state().list(request).await.unwrap().into_inner();
                    states.extend(page.states.into_iter().map(|state| state.state));
                    after = page.next;
                    if after.is_empty() {
                        break;
                    }
                }
                loop {
                    let request = pb::ListLocksRequest { prefix: prefix.to_owned(), limit, after, all: false };
                    let page = api.lease().list(request).await.unwrap().into_inner();
                    locks.extend(page.locks.into_iter().map(|lock| lock.state));
                    after = page.next;
                    if after.is_empty() {
                        break;
                    }
                }
                assert_eq!(
                    (&states[..], &locks[..]),
                    (&expected.map_to_owned()[..], &expected.map_to_owned()[..]),
                    "{prefix:?} by {limit}"
                );
            }
        }
        let exact = pb::ListStatesRequest { prefix: "dev".to_owned(), limit: 5, ..Default::default() };
        assert_eq!(api.state().list(exact).await.unwrap().into_inner().next, "", "empty on the last page, a full one too");
        for (name, held) in names.iter().zip(&held) {
            api.release(name, "s", held.token).await.unwrap();
        }
        let locks = |all| pb::ListLocksRequest { all, ..Default::default() };
        assert!(api.lease().list(locks(false)).await.unwrap().into_inner().locks.is_empty());
        assert_eq!(api.lease().list(locks(true)).await.unwrap().into_inner().locks.len(), 6);
        for (prefix, after) in [("dev/", ""), ("/", ""), ("dev//a", ""), ("dev", "x"), ("dev", "dev/../x")] {
            let request = pb::ListStatesRequest { prefix: prefix.to_owned(), after: after.to_owned(), ..Default::default() };
            refused(api.state().list(request).await, Code::InvalidArgument, "NAME_INVALID");
            let request = pb::ListLocksRequest { prefix: prefix.to_owned(), after: after.to_owned(), ..Default::default() };
            refused(api.lease().list(request).await, Code::InvalidArgument, "NAME_INVALID");
        }
    })
    .await;
}

trait MapToOwned {
    fn map_to_owned(&self) -> Vec<String>;
}

impl MapToOwned for [&str] {
    fn map_to_owned(&self) -> Vec<String> {
        self.iter().map(|name| (*name).to_owned()).collect()
    }
}
