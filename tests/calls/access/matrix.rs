//! Every role, every call, on one's own and on foreign ground, where something is and where nothing is. What is expected follows from the table
//! that the docs print: `serve::verbs` and `Role::verbs`.

use std::collections::BTreeMap;

use leasehold::backend::classify;
use leasehold::domain::access::{Role, Verb, Verbs};
use leasehold::pb::{Rpc, v1 as pb};
use leasehold::serve::verbs::{Demand, On, demand, route_demand};
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::wire::{grant, make_token, scope, send};
use crate::support::{Api, Http, Running, StoreKind, acquire, id, open, terraform};

/// What an answer says of rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Anything but a refusal of permission.
    Allowed,
    /// "Nothing here for you."
    NotAllowed,
    /// The right that is missing is named.
    Denied,
    /// More than may be handed on.
    Beyond,
}

/// What a call is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Object {
    State,
    Environment,
    /// Anything in an environment.
    Within,
    Store,
    /// Anything at all.
    Anywhere,
}

/// One call as it is made, and what it needs beyond what the table says of its kind.
struct Ask {
    what: &'static str,
    object: Object,
    /// Any of these.
    verbs: &'static [Verb],
    also: Option<Verb>,
    /// What is answered instead of [`Outcome::Denied`].
    otherwise: Outcome,
}

impl Ask {
    const fn of(what: &'static str, object: Object, verbs: &'static [Verb]) -> Self {
        Self { what, object, verbs, also: None, otherwise: Outcome::Denied }
    }

    const fn and(self, also: Verb) -> Self {
        Self { also: Some(also), ..self }
    }

    const fn otherwise(self, otherwise: Outcome) -> Self {
        Self { otherwise, ..self }
    }

    /// What is answered to who has these verbs somewhere, and those on the object.
    fn expected(&self, anywhere: Verbs, on: Verbs) -> Outcome {
        let held = if self.object == Object::Anywhere { anywhere } else { on };
        if self.verbs.iter().any(|verb| held.has(*verb)) && self.also.is_none_or(|also| held.has(also)) {
            return Outcome::Allowed;
        }
        match self.otherwise {
            Outcome::Denied if held.is_empty() || matches!(self.object, Object::Within | Object::Anywhere) => Outcome::NotAllowed,
            otherwise => otherwise,
        }
    }

    /// The table and this test say the same of what the call needs.
    fn agrees_with(&self, demand: Demand) {
        let what = self.what;
        let plain = self.verbs == demand.verbs && self.also.is_none();
        assert!(plain || !demand.depends.is_empty(), "{what}: {:?} is not what the table says", self.verbs);
        assert!(self.verbs.iter().all(|verb| demand.verbs.contains(verb)) || demand.on == On::Seen, "{what}: {:?}", self.verbs);
        let on = match self.object {
            Object::State => On::State,
            Object::Environment => On::Environment,
            Object::Store => On::Store,
            Object::Within | Object::Anywhere => On::Seen,
        };
        assert!(on == demand.on || !demand.depends.is_empty(), "{what} is on {:?}, says the table", demand.on);
    }
}

/// Where calls go. All names have the same length, so that answers may differ in them only.
struct Place {
    environment: &'static str,
    leaf: &'static str,
    own: bool,
}

impl Place {
    fn state(&self) -> String {
        format!("{}/net/{}", self.environment, self.leaf)
    }
}

const PLACES: [Place; 6] = [
    Place { environment: "mine", leaf: "app", own: true },
    Place { environment: "mine", leaf: "nil", own: true },
    Place { environment: "gone", leaf: "nil", own: true },
    Place { environment: "else", leaf: "app", own: false },
    Place { environment: "else", leaf: "nil", own: false },
    Place { environment: "void", leaf: "nil", own: false },
];

const LEASES: &[Verb] = &[Verb::LeaseExclusive, Verb::LeaseShared];

/// The ways to make a call: small, well-formed, and such that what is allowed changes nothing that another call here depends on.
#[allow(clippy::too_many_lines, reason = "a table")]
fn asks(rpc: Rpc, place: &Place) -> Vec<(Ask, Vec<u8>)> {
    use Object::{Anywhere, Environment, State, Store, Within};
    let (environment, state) = (|| place.environment.to_owned(), || place.state());
    let session = || "matrix".to_owned();
    let draft = || "0".repeat(32);
    let ask = |object, message: Vec<u8>| (Ask::of(rpc.path(), object, demand(rpc).verbs), message);
    let by = |what, object, verbs, message: Vec<u8>| (Ask::of(what, object, verbs), message);
    match rpc {
        // With neither recipients nor a word that there are none, it ends after the rights.
        Rpc::EnvironmentCreate => {
            let request = pb::CreateEnvironmentRequest { name: environment(), request_id: id(), ..Default::default() };
            vec![ask(Environment, request.encode_to_vec())]
        }
        Rpc::EnvironmentSet => {
            let request = pb::SetEnvironmentRequest { name: environment(), settings: None, request_id: id() };
            vec![ask(Environment, request.encode_to_vec())]
        }
        // Refused where states are left.
        Rpc::EnvironmentDelete => {
            let request = pb::DeleteEnvironmentRequest { name: environment(), force: false, request_id: id() };
            vec![ask(Environment, request.encode_to_vec())]
        }
        Rpc::EnvironmentList => vec![ask(Anywhere, pb::ListEnvironmentsRequest {}.encode_to_vec())],
        Rpc::EnvironmentGet => vec![ask(Within, pb::GetEnvironmentRequest { name: environment() }.encode_to_vec())],
        Rpc::EnvironmentFreeze => {
            let freeze = |target| pb::FreezeRequest { target, reason: "a test".to_owned(), request_id: id() }.encode_to_vec();
            vec![ask(Environment, freeze(environment())), by("freeze a state", State, &[Verb::Admin], freeze(state()))]
        }
        Rpc::EnvironmentUnfreeze => {
            let unfreeze = |target| pb::UnfreezeRequest { target, request_id: id() }.encode_to_vec();
            vec![ask(Environment, unfreeze(environment())), by("unfreeze a state", State, &[Verb::Admin], unfreeze(state()))]
        }
        Rpc::EnvironmentGetRules => vec![ask(Within, pb::GetRulesRequest { name: environment() }.encode_to_vec())],
        // Of another revision than the current one.
        Rpc::EnvironmentSetRules => {
            let request = pb::SetRulesRequest { name: environment(), request_id: id(), revision: 999, rules: Vec::new() };
            vec![ask(Environment, request.encode_to_vec())]
        }
        Rpc::KeyReport => vec![ask(Environment, pb::KeyReportRequest { environment: environment() }.encode_to_vec())],
        Rpc::KeyListDataKeys => {
            let request = pb::ListDataKeysRequest { environment: environment(), ..Default::default() };
            vec![ask(Environment, request.encode_to_vec())]
        }
        Rpc::KeyRewrap => {
            let request = pb::RewrapRequest { environment: environment(), request_id: id() };
            vec![ask(Environment, request.encode_to_vec())]
        }
        Rpc::KeyChangeRecipients => {
            let add = vec!["nobody".to_owned()];
            let request = pb::ChangeRecipientsRequest { environment: environment(), request_id: id(), add, ..Default::default() };
            let message = request.encode_to_vec();
            vec![(Ask::of(rpc.path(), Environment, &[Verb::Keys]).and(Verb::ReadFull), message)]
        }
        Rpc::KeyRewrapMaster => {
            let request = pb::RewrapMasterRequest { request_id: id(), passphrase: String::new() };
            vec![ask(Store, request.encode_to_vec())]
        }
        Rpc::KeyReencrypt => {
            let request = pb::ReencryptRequest { environment: environment(), request_id: id() };
            vec![ask(Environment, request.encode_to_vec())]
        }
        Rpc::KeyVerify => {
            let request = pb::VerifyKeysRequest { environment: environment(), request_id: id() };
            vec![ask(Environment, request.encode_to_vec())]
        }
        Rpc::KeyDestroy => {
            let request = pb::DestroyKeysRequest { environment: environment(), request_id: id() };
            vec![ask(Environment, request.encode_to_vec())]
        }
        Rpc::LeaseAcquire => {
            let short = || pb::AcquireRequest { ttl_ms: 300, ..acquire(&state(), &id()) };
            let shared = pb::AcquireRequest { mode: pb::Mode::Shared.into(), ..short() };
            vec![
                by("acquire exclusive", State, &[Verb::LeaseExclusive], short().encode_to_vec()),
                by("acquire shared", State, &[Verb::LeaseShared], shared.encode_to_vec()),
            ]
        }
        Rpc::LeaseRenew => {
            let request = pb::RenewRequest { state: state(), session: session(), token: 1, ttl_ms: 0 };
            vec![ask(State, request.encode_to_vec())]
        }
        Rpc::LeaseRelease => {
            let request = pb::ReleaseRequest { state: state(), session: session(), token: 1, abandoned: false };
            vec![ask(State, request.encode_to_vec())]
        }
        Rpc::LeaseCancel => {
            let request = pb::CancelRequest { state: state(), ticket: 0, session: session(), request_id: id() };
            let ticket = pb::CancelRequest { ticket: 7, session: String::new(), request_id: id(), ..request.clone() };
            vec![
                by("cancel by session", State, LEASES, request.encode_to_vec()),
                by("cancel by ticket", State, &[Verb::Break], ticket.encode_to_vec()),
            ]
        }
        Rpc::LeaseReacquire => {
            let request = pb::ReacquireRequest { state: state(), session: session(), old_token: 1, request_id: id() };
            vec![ask(State, request.encode_to_vec())]
        }
        Rpc::LeaseBreak => {
            let request = pb::BreakRequest {
                state: state(),
                token: 1,
                reason: "a test".to_owned(),
                request_id: id(),
                ..Default::default()
            };
            let take = pb::BreakRequest { take: true, session: session(), request_id: id(), ..request.clone() };
            let take = (Ask::of("break and take", State, &[Verb::Break]).and(Verb::LeaseExclusive), take.encode_to_vec());
            vec![ask(State, request.encode_to_vec()), take]
        }
        Rpc::LeaseGet => vec![ask(State, pb::GetLockRequest { state: state() }.encode_to_vec())],
        Rpc::LeaseListTickets => vec![ask(State, pb::ListTicketsRequest { state: state() }.encode_to_vec())],
        Rpc::LeaseList => {
            vec![ask(Within, pb::ListLocksRequest { prefix: environment(), ..Default::default() }.encode_to_vec())]
        }
        // The document never comes.
        Rpc::StatePush => {
            let push = |rewrite| {
                let part = pb::push_request::Part::Open(pb::PushOpen { rewrite, ..open(&state(), "matrix", 1, 100) });
                pb::PushRequest { part: Some(part) }.encode_to_vec()
            };
            let rewrite = (Ask::of("push to rewrite", State, &[Verb::Write]).and(Verb::Rewrite), push(true));
            vec![ask(State, push(false)), rewrite]
        }
        Rpc::StatePull => {
            let pull = |view: pb::View| pb::PullRequest { state: state(), view: view.into(), ..Default::default() };
            let old = pb::PullRequest { version: 7, ..pull(pb::View::Redacted) };
            vec![
                by("pull", State, &[Verb::ReadFull], pull(pb::View::Unspecified).encode_to_vec()),
                by("pull full", State, &[Verb::ReadFull], pull(pb::View::Full).encode_to_vec()),
                by("pull redacted", State, &[Verb::ReadRedacted], pull(pb::View::Redacted).encode_to_vec()),
                by("pull outputs", State, &[Verb::ReadOutputs], pull(pb::View::Outputs).encode_to_vec()),
                by("pull a version", State, &[Verb::ReadRedacted], old.encode_to_vec()),
            ]
        }
        Rpc::StateList => {
            vec![ask(Within, pb::ListStatesRequest { prefix: environment(), ..Default::default() }.encode_to_vec())]
        }
        Rpc::WatchWatch => {
            vec![ask(Within, pb::WatchRequest { prefix: environment(), cursor: String::new() }.encode_to_vec())]
        }
        Rpc::StateHistory => vec![ask(State, pb::HistoryRequest { state: state(), ..Default::default() }.encode_to_vec())],
        Rpc::StateShow => {
            vec![ask(State, pb::ShowRequest { state: state(), why: true, ..Default::default() }.encode_to_vec())]
        }
        Rpc::StateDiff => {
            vec![ask(State, pb::DiffRequest { state: state(), from_version: 1, ..Default::default() }.encode_to_vec())]
        }
        Rpc::StateRollback => {
            let request = pb::RollbackRequest {
                state: state(),
                session: session(),
                token: 1,
                request_id: id(),
                to_version: 1,
                expect: None,
            };
            vec![ask(State, request.encode_to_vec())]
        }
        Rpc::StateDelete => {
            let request = pb::DeleteStateRequest { state: state(), session: session(), token: 1, request_id: id(), expect: None };
            vec![ask(State, request.encode_to_vec())]
        }
        Rpc::StatePurge => {
            vec![ask(State, pb::PurgeRequest { state: state(), version: 999, request_id: id() }.encode_to_vec())]
        }
        Rpc::StateListDrafts => vec![ask(State, pb::ListDraftsRequest { state: state(), all: true }.encode_to_vec())],
        Rpc::StatePromoteDraft => {
            let request = pb::PromoteDraftRequest {
                state: state(),
                draft: draft(),
                session: session(),
                token: 1,
                request_id: id(),
                ..Default::default()
            };
            let rewrite = pb::PromoteDraftRequest { rewrite: true, request_id: id(), ..request.clone() };
            let rewrite = (Ask::of("promote to rewrite", State, &[Verb::Promote]).and(Verb::Rewrite), rewrite.encode_to_vec());
            vec![ask(State, request.encode_to_vec()), rewrite]
        }
        Rpc::StateDiscardDraft => {
            let request = pb::DiscardDraftRequest { state: state(), draft: draft(), request_id: id() };
            vec![ask(State, request.encode_to_vec())]
        }
        Rpc::ServerStatus => vec![ask(Anywhere, pb::StatusRequest {}.encode_to_vec())],
        Rpc::ServerLock => vec![ask(Store, pb::LockRequest {}.encode_to_vec())],
        Rpc::ServerUnlock => vec![ask(Store, pb::UnlockRequest { passphrase: None }.encode_to_vec())],
        Rpc::AccessCreateToken => {
            let request = super::wire::new_token("", &[scope("reader", &state())]);
            let ask = Ask::of("make a token to read", State, &[Verb::ReadRedacted]).otherwise(Outcome::Beyond);
            vec![(ask, request.encode_to_vec())]
        }
        Rpc::AccessListTokens => vec![ask(Anywhere, pb::ListTokensRequest {}.encode_to_vec())],
        Rpc::AccessRevokeToken => {
            let request = pb::RevokeTokenRequest { name: "nobodys".to_owned(), request_id: id() };
            let ask = Ask::of("revoke a token of others", Store, &[Verb::Admin]).otherwise(Outcome::NotAllowed);
            vec![(ask, request.encode_to_vec())]
        }
        Rpc::AccessGrant => {
            let request =
                pb::GrantRequest { to: "oidc:test:matrix".to_owned(), scope: Some(scope("write", &state())), request_id: id() };
            let ask = Ask::of("grant a right to write", State, &[Verb::Admin]).otherwise(Outcome::Beyond);
            vec![(ask, request.encode_to_vec())]
        }
        Rpc::AccessListGrants => vec![ask(Anywhere, pb::ListGrantsRequest {}.encode_to_vec())],
        Rpc::AccessRevokeGrant => {
            let request = pb::RevokeGrantRequest { id: "0".repeat(32), request_id: id() };
            let ask = Ask::of("revoke a grant that is none", Store, &[Verb::Admin]).otherwise(Outcome::NotAllowed);
            vec![(ask, request.encode_to_vec())]
        }
        Rpc::AuditHead => vec![ask(Store, pb::HeadRequest {}.encode_to_vec())],
        Rpc::AuditTail => vec![ask(Store, pb::TailRequest::default().encode_to_vec())],
        Rpc::AuditExport => vec![ask(Store, pb::ExportAuditRequest::default().encode_to_vec())],
        Rpc::AccessExplain => {
            let explain = |principal: &str| pb::ExplainRequest {
                principal: principal.to_owned(),
                verb: "write".to_owned(),
                object: state(),
            };
            vec![
                by("explain oneself", Anywhere, Verb::ALL, explain("").encode_to_vec()),
                by("explain others", State, &[Verb::Admin], explain("token:others").encode_to_vec()),
            ]
        }
    }
}

/// Where a caller has its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ground {
    /// On its own ground.
    Own,
    /// The same, and everything in an environment that nothing here is about: what lets in whoever has a right somewhere lets it in.
    OwnAndAside,
    /// On the store.
    Store,
}

/// A caller with one role.
struct Bearer {
    role: Role,
    ground: Ground,
    token: String,
}

impl Bearer {
    fn held(&self) -> Verbs {
        self.role.verbs().closed()
    }

    fn held_anywhere(&self) -> Verbs {
        if self.ground == Ground::OwnAndAside { Role::Admin.verbs() } else { self.held() }
    }

    fn held_on(&self, object: Object, place: &Place) -> Verbs {
        let there = match object {
            Object::Store => self.ground == Ground::Store,
            _ => self.ground != Ground::Store && place.own,
        };
        if there { self.held() } else { Verbs::default() }
    }
}

/// A server with a state on either ground, and a caller of each role on its own ground and on the store.
async fn rig() -> (Running, Vec<Bearer>) {
    let server = Running::start_bare(StoreKind::Memory, "").await;
    for environment in ["mine", "else"] {
        server.make_environment(environment).await.expect("made");
        server.api.write_once(&format!("{environment}/net/app"), &terraform("l", 1, "planted")).await;
    }
    let mut bearers = Vec::new();
    for role in Role::ALL {
        let own = ["mine", "mine/**", "gone", "gone/**"].map(|on| scope(role.as_str(), on));
        let aside = [own.as_slice(), &["side", "side/**"].map(|on| scope("admin", on))].concat();
        let store = [scope(role.as_str(), "/")];
        for (ground, scopes) in [(Ground::Own, &own[..]), (Ground::OwnAndAside, &aside), (Ground::Store, &store)] {
            let name = format!("{ground:?}-{role}").to_lowercase();
            let token = make_token(&server.api, &name, scopes).await;
            bearers.push(Bearer { role: *role, ground, token });
        }
    }
    // What is granted on foreign ground to others must not show.
    grant(&server.api, "oidc:test:other", scope("pipeline", "else/**")).await.expect("granted");
    (server, bearers)
}

fn outcome(answer: &Result<(), Status>) -> Outcome {
    let Err(status) = answer else { return Outcome::Allowed };
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    assert!(!reason.is_empty() && status.code() != Code::Unauthenticated && status.code() != Code::Internal, "{status:?}");
    match (status.code(), reason.as_str()) {
        (Code::PermissionDenied, "NOT_ALLOWED") => Outcome::NotAllowed,
        (Code::PermissionDenied, "PERMISSION_DENIED") => Outcome::Denied,
        (Code::PermissionDenied, "BEYOND_RIGHTS") => Outcome::Beyond,
        (Code::PermissionDenied, other) => panic!("{other}: {status:?}"),
        _ => Outcome::Allowed,
    }
}

/// All that a caller is told, but for the time of day and the names that it asked about itself.
fn told(status: &Status, place: &Place) -> (Code, String, Vec<u8>, BTreeMap<String, String>) {
    let plain = |text: &str| text.replace(place.environment, "ENVI").replace(place.leaf, "LEAF");
    let metadata = status.metadata().as_ref();
    let metadata = metadata.iter().filter(|(name, _)| *name != "date");
    let metadata = metadata.map(|(name, value)| (name.to_string(), format!("{value:?}"))).collect();
    let details = String::from_utf8_lossy(status.details()).into_owned();
    (status.code(), plain(status.message()), plain(&details).into_bytes(), metadata)
}

async fn walk(api: &Api, bearer: &Bearer) -> (usize, usize) {
    let header = format!("Bearer {}", bearer.token);
    let (mut allowed, mut refused) = (0, 0);
    for rpc in Rpc::ALL {
        // By way of asking: what strangers were told first.
        let mut first = BTreeMap::new();
        for place in &PLACES {
            for (ask, message) in asks(*rpc, place) {
                let of_place = !matches!(ask.object, Object::Store | Object::Anywhere);
                if !of_place && place.state() != PLACES[0].state() {
                    continue;
                }
                ask.agrees_with(demand(*rpc));
                let on = bearer.held_on(ask.object, place);
                let admitted = demand(*rpc).verbs.iter().any(|verb| bearer.held_anywhere().has(*verb));
                let expected = if admitted { ask.expected(bearer.held_anywhere(), on) } else { Outcome::NotAllowed };
                let answer = send(&api.channel, rpc.path(), Some(&header), message).await;
                let (who, state) = (bearer.ground, place.state());
                assert_eq!(outcome(&answer), expected, "{} {who:?}: {} at {state}: {answer:?}", bearer.role, ask.what);
                *(if expected == Outcome::Allowed { &mut allowed } else { &mut refused }) += 1;
                if let (Err(status), true, true) = (&answer, of_place, on.is_empty()) {
                    let now = told(status, place);
                    let before = first.entry(ask.what).or_insert_with(|| now.clone());
                    assert_eq!(now, *before, "{} {who:?}: {} at {state} shows whether it is there", bearer.role, ask.what);
                }
            }
        }
    }
    (allowed, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_may_what_the_table_says_and_nothing_else() {
    let (server, bearers) = rig().await;
    let all = bearers.iter().map(async |bearer| walk(&server.caller(None), bearer).await);
    let all = futures_util::future::join_all(all).await;
    let (allowed, refused) = all.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    println!("{allowed} allowed, {refused} refused");
    assert!(allowed > 600 && refused > 4000, "{allowed} {refused}");
    server.api.server().unlock(pb::UnlockRequest { passphrase: None }).await.expect("unlocked");
    let kept = server.api.pull("else/net/app", 0).await.expect("still there");
    assert_eq!(kept, terraform("l", 1, "planted"), "nothing happened on foreign ground");
    let history = pb::HistoryRequest { state: "else/net/app".to_owned(), all: true, ..Default::default() };
    assert_eq!(server.api.state().history(history).await.expect("history").into_inner().entries.len(), 1);
}

/// The door for the `http` backend: method, what follows the address, body, and what it needs.
fn requests() -> Vec<(&'static str, &'static str, Vec<u8>, Ask)> {
    use Object::State;
    let of = |what, verbs| Ask::of(what, State, verbs);
    let info = |operation: &str| {
        format!(r#"{{"ID":"matrix","Operation":"{operation}","Info":"","Who":"u@h","Version":"1.15.0","Path":""}}"#).into_bytes()
    };
    let document = || terraform("l", 2, "more");
    vec![
        ("GET", "", vec![], of("read", &[Verb::ReadFull])),
        ("GET", "?view=full", vec![], of("read full", &[Verb::ReadFull])),
        ("GET", "?view=redacted", vec![], of("read redacted", &[Verb::ReadRedacted])),
        ("GET", "?view=outputs", vec![], of("read outputs", &[Verb::ReadOutputs])),
        ("POST", "?ID=nobodys", document(), of("write", &[Verb::Write])),
        ("PUT", "?ID=nobodys", document(), of("write", &[Verb::Write])),
        ("POST", "?ID=nobodys&rewrite=true", document(), of("write to rewrite", &[Verb::Write]).and(Verb::Rewrite)),
        ("POST", "", document(), of("write without a lock", &[Verb::Write]).and(Verb::LeaseExclusive)),
        ("LOCK", "", info("OperationTypeApply"), of("lock", &[Verb::LeaseExclusive])),
        ("POST", "/lock", info("OperationTypeApply"), of("lock", &[Verb::LeaseExclusive])),
        ("LOCK", "", info("OperationTypePlan"), of("lock for a plan", &[Verb::LeaseShared])),
        ("UNLOCK", "", info("OperationTypeApply"), of("unlock", LEASES)),
        ("DELETE", "/lock", info("OperationTypeApply"), of("unlock", LEASES)),
        ("UNLOCK", "", vec![], of("force an unlock", &[Verb::Break])),
        ("DELETE", "", vec![], of("delete", &[Verb::Write])),
    ]
}

async fn walk_routes(server: &Running, bearer: &Bearer) -> (usize, usize) {
    let http = Http::new(server.address, &bearer.token);
    let (mut allowed, mut refused) = (0, 0);
    for (method, rest, body, ask) in requests() {
        let (at_lock, query) = (rest.starts_with("/lock"), rest.strip_prefix('?'));
        let demand = route_demand(&classify(method, at_lock, query).expect("a call"));
        ask.agrees_with(demand);
        let mut first = None;
        for place in &PLACES {
            let on = bearer.held_on(Object::State, place);
            let admitted = demand.verbs.iter().any(|verb| on.has(*verb));
            let expected = match admitted {
                true => ask.expected(on, on),
                false if on.is_empty() => Outcome::NotAllowed,
                false => Outcome::Denied,
            };
            let answer = http.call(method, &format!("/terraform/v1/{}{rest}", place.state()), &body).await;
            let text = answer.text();
            let got = match (answer.status, text.split(':').next().unwrap_or_default()) {
                (403, "NOT_ALLOWED") => Outcome::NotAllowed,
                (403, "PERMISSION_DENIED") => Outcome::Denied,
                // With who holds the lock, told to who may know.
                (403, _) if !on.is_empty() && answer.header("content-type") == Some("application/json") => Outcome::Denied,
                (401 | 403 | 429 | 500.., _) => panic!("{}: {method}{rest}: {answer:?}", bearer.role),
                _ => Outcome::Allowed,
            };
            let what = format!("{}: {method} {}{rest}", bearer.role, place.state());
            assert_eq!(got, expected, "{what}: {} {text}", answer.status);
            *(if expected == Outcome::Allowed { &mut allowed } else { &mut refused }) += 1;
            if on.is_empty() {
                let headers: Vec<_> = answer.headers.iter().filter(|(name, _)| name != "date").cloned().collect();
                let now = (answer.status, headers, answer.body);
                assert_eq!(now, *first.get_or_insert_with(|| now.clone()), "{what} shows whether it is there");
            }
        }
    }
    (allowed, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_may_what_the_table_says_at_the_door_of_terraform() {
    let (server, bearers) = rig().await;
    let all = bearers.iter().map(async |bearer| walk_routes(&server, bearer).await);
    let all = futures_util::future::join_all(all).await;
    let (allowed, refused) = all.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    println!("{allowed} allowed, {refused} refused");
    assert!(allowed > 100 && refused > 800, "{allowed} {refused}");
    assert_eq!(server.api.pull("else/net/app", 0).await.expect("still there"), terraform("l", 1, "planted"));
}
