//! Lists and watches show what the caller may see, page by page, and nothing else.

use leasehold::pb::v1 as pb;
use tonic::Code;

use super::wire::{bearer, make_token, revoke_grant, scope};
use crate::support::{Api, acquire, id, on_each_engine, refused};

const STATES: [&str; 8] = ["dev/a", "dev/b/one", "dev/b/two", "dev/c", "dev/z", "prod/a", "prod/b/one", "prod/c"];

async fn states(api: &Api, prefix: &str, limit: u32) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let request = pb::ListStatesRequest { prefix: prefix.to_owned(), limit, after, deleted: false };
        let page = api.state().list(request).await.expect("a page").into_inner();
        assert!(limit == 0 || page.states.len() <= limit as usize);
        assert!(page.next.is_empty() || page.states.len() == limit as usize, "only the last page is not full");
        found.extend(page.states.into_iter().map(|state| state.state));
        after = page.next;
        if after.is_empty() {
            return found;
        }
    }
}

async fn locks(api: &Api, prefix: &str, limit: u32) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let request = pb::ListLocksRequest { prefix: prefix.to_owned(), limit, after, all: false };
        let page = api.lease().list(request).await.expect("a page").into_inner();
        assert!(page.next.is_empty() || page.locks.len() == limit as usize, "only the last page is not full");
        found.extend(page.locks.into_iter().map(|lock| lock.state));
        after = page.next;
        if after.is_empty() {
            return found;
        }
    }
}

async fn environments(api: &Api) -> Vec<String> {
    let listed = api.environment().list(pb::ListEnvironmentsRequest {}).await.expect("a list").into_inner();
    listed.environments.into_iter().map(|environment| environment.name).collect()
}

#[tokio::test]
async fn lists_show_what_the_caller_may_see_in_pages_of_any_size() {
    on_each_engine(async |server| {
        let api = &server.api;
        for environment in ["prod", "test"] {
            server.make_environment(environment).await.unwrap();
        }
        for state in STATES {
            api.write_once(state, b"1").await;
            api.hold(state, "s").await;
        }
        let net = bearer(api, "net", &[scope("reader", "*/b/**")]).await;
        let ends = bearer(api, "ends", &[scope("reader", "dev/a"), scope("reader", "prod/c"), scope("write", "test/x")]).await;
        let leases = bearer(api, "leases", &[scope("lease.shared", "dev/c"), scope("break", "prod/a")]).await;
        let dev = bearer(api, "dev", &[scope("reader", "dev/**")]).await;
        for limit in [0, 1, 2, 3, 8] {
            assert_eq!(states(&net, "", limit).await, ["dev/b/one", "dev/b/two", "prod/b/one"], "by {limit}");
            assert_eq!(locks(&net, "", limit).await, ["dev/b/one", "dev/b/two", "prod/b/one"], "by {limit}");
            assert_eq!(states(&net, "dev/b", limit).await, ["dev/b/one", "dev/b/two"]);
            assert_eq!(states(&ends, "", limit).await, ["dev/a", "prod/c"], "by {limit}");
            assert_eq!(states(&ends, "prod", limit).await, ["prod/c"]);
            assert_eq!(locks(&leases, "", limit).await, ["dev/c", "prod/a"], "by {limit}");
            assert_eq!(states(&dev, "", limit).await, STATES[..5]);
            assert_eq!(states(api, "", limit).await, STATES);
        }
        assert_eq!(environments(&net).await, ["dev", "prod", "test"], "it may see something in any");
        assert_eq!(environments(&ends).await, ["dev", "prod", "test"]);
        assert_eq!(environments(&dev).await, ["dev"]);
        assert_eq!(environments(&leases).await, ["dev", "prod"]);
        // Of an environment that it may see nothing of, it is told the same as of one that is not there.
        for environment in ["prod", "void"] {
            let list = pb::ListStatesRequest { prefix: environment.to_owned(), ..Default::default() };
            refused(dev.state().list(list).await, Code::PermissionDenied, "NOT_ALLOWED");
            let list = pb::ListLocksRequest { prefix: environment.to_owned(), ..Default::default() };
            refused(dev.lease().list(list).await, Code::PermissionDenied, "NOT_ALLOWED");
            let get = pb::GetEnvironmentRequest { name: environment.to_owned() };
            refused(dev.environment().get(get).await, Code::PermissionDenied, "NOT_ALLOWED");
            let watch = pb::WatchRequest { prefix: environment.to_owned(), cursor: String::new() };
            refused(dev.watch().watch(watch).await, Code::PermissionDenied, "NOT_ALLOWED");
        }
        refused(leases.state().list(pb::ListStatesRequest::default()).await, Code::PermissionDenied, "NOT_ALLOWED");
    })
    .await;
}

/// The targets of the events until one on `last`.
async fn until(stream: &mut tonic::Streaming<pb::WatchResponse>, last: &str) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let next = tokio::time::timeout(std::time::Duration::from_secs(20), stream.message()).await.expect("told in time");
        if let Some(pb::watch_response::Message::Event(event)) = next.expect("it lives").expect("it goes on").message {
            seen.push(event.target.clone());
            if event.target == last {
                return seen;
            }
        }
    }
}

#[tokio::test]
async fn watch_tells_what_the_watcher_may_see_at_the_time() {
    on_each_engine(async |server| {
        let api = &server.api;
        server.make_environment("prod").await.unwrap();
        let secret = make_token(api, "net", &[scope("reader", "dev/b/**")]).await;
        let net = api.with(Some(&secret));
        let begin = api.cursor().await;
        let watch = |cursor: &str| pb::WatchRequest { prefix: String::new(), cursor: cursor.to_owned() };
        let mut stream = net.watch().watch(watch(&begin)).await.unwrap().into_inner();
        let leases = async |state: &str| {
            let held = api.hold(state, "s").await;
            api.release(state, "s", held.token).await.unwrap();
        };
        let frozen = pb::FreezeRequest { target: "prod".to_owned(), reason: "a test".to_owned(), request_id: id() };
        api.environment().freeze(frozen).await.unwrap();
        for state in ["dev/a", "dev/b/one", "dev/c", "dev/b/last"] {
            leases(state).await;
        }
        assert_eq!(until(&mut stream, "dev/b/last").await, ["dev/b/one", "dev/b/one", "dev/b/last"]);
        // From then on more, and what was is told to who may see it now.
        let more = super::wire::grant(api, "token:net", scope("read.redacted", "dev/c")).await.unwrap();
        for state in ["dev/a", "dev/c"] {
            leases(state).await;
        }
        assert_eq!(until(&mut stream, "dev/c").await, ["dev/b/last", "dev/c"]);
        let mut again = net.watch().watch(watch(&begin)).await.unwrap().into_inner();
        assert_eq!(until(&mut again, "dev/c").await, ["dev/b/one", "dev/b/one", "dev/c"]);
        assert_eq!(until(&mut stream, "dev/c").await, ["dev/c"]);
        revoke_grant(api, &more.id).await.unwrap();
        for state in ["dev/c", "dev/b/after"] {
            leases(state).await;
        }
        assert_eq!(until(&mut stream, "dev/b/after").await, ["dev/b/after"], "nothing of the next lease");
        refused(net.lease().acquire(acquire("dev/b/one", "s")).await, Code::PermissionDenied, "NOT_ALLOWED");
    })
    .await;
}
