use super::*;
use crate::domain::names::StateName;

pub(super) const NOW: WallTime = WallTime(1_000);

pub(super) fn scope(verbs: &str, on: &str) -> Scope {
    Scope::new(verbs.parse().unwrap(), on.parse().unwrap())
}

pub(super) fn token(name: &str, maker: Maker, scopes: &[Scope]) -> TokenRecord {
    let name: TokenName = name.parse().unwrap();
    let mut hash = [0; 32];
    hash[..name.as_str().len()].copy_from_slice(name.as_str().as_bytes());
    TokenRecord {
        principal: name.principal(),
        hash: TokenHash(hash),
        name,
        maker,
        scopes: scopes.to_vec(),
        made: NOW,
        expires: None,
        revoked: None,
        used: None,
        exchanged: None,
    }
}

pub(super) fn grant(n: u8, to: &str, scope: Scope) -> Grant {
    Grant { id: GrantId([n; 16]), to: to.parse().unwrap(), scope, by: "token:admin".parse().unwrap(), made: NOW }
}

pub(super) fn of_token(name: &str) -> Credential {
    Credential::Token(name.parse().unwrap())
}

pub(super) fn made_by(name: &str) -> Maker {
    Maker::Token(name.parse().unwrap())
}

pub(super) fn admin() -> TokenRecord {
    token("admin", Maker::Init, &[scope("admin", "/"), scope("admin", "**")])
}

fn allowed(access: &Access, who: &Credential, verb: Verb, state: &str, now: WallTime) -> bool {
    let state: StateName = state.parse().unwrap();
    let object = Object::State(&state);
    let verbs = access.verbs(who, &object, now).has(verb);
    assert_eq!(access.explain(who, verb, &object, now).allowed, verbs, "the explanation of {verb} on {state} says otherwise");
    assert!(!verbs || access.verbs_anywhere(who, now).has(verb));
    assert!(!verbs || access.verbs_within(who, &state.environment, now).has(verb));
    verbs
}

#[test]
fn token_never_has_more_than_its_maker_has_now() {
    let ci = token("ci", made_by("lead"), &[scope("pipeline", "prod/**")]);
    let lead = token("lead", made_by("admin"), &[scope("pipeline", "prod/net/**"), scope("read.redacted", "**")]);
    let mut access = Access::new(vec![], vec![admin(), lead.clone(), ci]);
    let who = of_token("ci");
    assert!(allowed(&access, &who, Verb::Write, "prod/net/eu", NOW));
    assert!(!allowed(&access, &who, Verb::Write, "prod/app", NOW), "its maker may not");
    assert!(allowed(&access, &who, Verb::ReadRedacted, "prod/app", NOW), "full reads include it, and its maker has it");
    assert!(!allowed(&access, &who, Verb::ReadRedacted, "dev/app", NOW), "its maker may, it may not");
    access.put_token(TokenRecord { revoked: Some(NOW), ..lead });
    assert!(!allowed(&access, &who, Verb::Write, "prod/net/eu", NOW), "its maker is gone");
    assert!(access.revoked(&"token:ci".parse().unwrap()) && !access.revoked(&"token:admin".parse().unwrap()));
}

#[test]
fn tokens_of_a_principal_are_revoked_with_its_last_grant() {
    let host: Principal = "cert:dns:runner.example.org".parse().unwrap();
    let tokens = vec![
        token("of-host", Maker::Principal(host.clone()), &[scope("pipeline", "prod/**")]),
        token("of-that", made_by("of-host"), &[scope("pipeline", "prod/**")]),
    ];
    let mut access = Access::new(vec![grant(1, host.as_str(), scope("pipeline", "prod/**"))], tokens);
    let all = [host, "token:of-host".parse().unwrap(), "token:of-that".parse().unwrap()];
    assert!(all.iter().all(|principal| !access.revoked(principal)));
    access.drop_grant(GrantId([1; 16]));
    for principal in &all {
        assert!(access.revoked(principal), "{principal}");
    }
}

#[test]
fn token_is_recognised_by_its_hash_while_it_lives() {
    let record = TokenRecord { expires: Some(WallTime(2_000)), ..token("ci", Maker::Init, &[scope("reader", "**")]) };
    let mut access = Access::new(vec![], vec![record.clone()]);
    assert!(access.recognise(&record.hash, WallTime(1_999)).is_some());
    assert!(access.recognise(&record.hash, WallTime(2_000)).is_none());
    assert!(access.recognise(&TokenHash([0; 32]), NOW).is_none());
    assert!(!allowed(&access, &of_token("ci"), Verb::ReadRedacted, "a/b", WallTime(2_000)), "expired");
    access.put_token(TokenRecord { revoked: Some(NOW), ..record.clone() });
    assert!(access.recognise(&record.hash, NOW).is_none());
}

#[test]
fn grants_are_for_whom_they_mean() {
    let access = Access::new(
        vec![grant(1, "oidc:github:*", scope("pipeline", "prod/**")), grant(2, "token:ci", scope("keys", "prod"))],
        vec![admin(), token("ci", made_by("admin"), &[scope("reader", "dev/*")])],
    );
    let github = Credential::Principal("oidc:github:repo:acme/infra".parse().unwrap());
    assert!(allowed(&access, &github, Verb::Write, "prod/a/b", NOW));
    assert!(!allowed(&access, &github, Verb::Break, "prod/a/b", NOW));
    assert!(!allowed(&access, &Credential::Principal("oidc:gitlab:x".parse().unwrap()), Verb::Write, "prod/a", NOW));
    assert!(
        !allowed(&access, &Credential::Principal("token:ci".parse().unwrap()), Verb::ReadRedacted, "dev/a", NOW),
        "a name is no token"
    );
    let prod = "prod".parse().unwrap();
    assert!(access.verbs(&of_token("ci"), &Object::Environment(&prod), NOW).has(Verb::Keys), "granted to the token");
    assert!(access.verbs(&of_token("ci"), &Object::Store, NOW).is_empty());
}

#[test]
fn what_is_covered_is_covered_at_every_step() {
    let access = Access::new(
        vec![],
        vec![admin(), token("lead", made_by("admin"), &[scope("pipeline", "prod/**"), scope("admin", "prod/net/*")])],
    );
    let lead = of_token("lead");
    assert!(access.covers(&lead, &scope("write", "prod/net/**"), NOW));
    assert!(access.covers(&lead, &scope("keys", "prod/net/eu"), NOW));
    assert!(!access.covers(&lead, &scope("keys", "prod/net/**"), NOW));
    assert!(!access.covers(&lead, &scope("write", "**"), NOW));
    assert!(!access.covers(&lead, &scope("write", "prod"), NOW), "the environment is not its states");
    assert!(access.covers(&of_token("admin"), &scope("admin", "/"), NOW));
    assert!(!access.covers(&lead, &Scope::new(Verbs::default(), "prod/a".parse().unwrap()), NOW));
}

#[test]
fn chains_that_are_too_long_or_broken_have_no_rights() {
    let mut tokens = vec![token("t0", Maker::Init, &[scope("admin", "**")])];
    for n in 1..=DEEPEST + 1 {
        tokens.push(token(&format!("t{n}"), made_by(&format!("t{}", n - 1)), &[scope("admin", "**")]));
    }
    tokens.push(token("orphan", made_by("nobody"), &[scope("admin", "**")]));
    tokens.push(token("ouroboros", made_by("ouroboros"), &[scope("admin", "**")]));
    let access = Access::new(vec![], tokens);
    assert!(allowed(&access, &of_token(&format!("t{}", DEEPEST - 1)), Verb::Write, "a/b", NOW));
    for name in [&*format!("t{}", DEEPEST + 1), "orphan", "ouroboros", "unknown"] {
        assert!(!allowed(&access, &of_token(name), Verb::Write, "a/b", NOW), "{name}");
    }
}

#[test]
fn explanation_names_what_decides() {
    let access = Access::new(
        vec![grant(7, "oidc:ci:*", scope("planner", "prod/*"))],
        vec![admin(), token("ci", made_by("admin"), &[scope("pipeline", "prod/**")])],
    );
    let state: StateName = "prod/net".parse().unwrap();
    let explain = |who: &Credential, verb| access.explain(who, verb, &Object::State(&state), NOW);
    let ci = explain(&of_token("ci"), Verb::Write);
    assert!(
        ci.allowed
            && ci.because.len() == 2
            && ci.because[0].contains("token ci has")
            && ci.because[1].contains("token admin has")
    );
    let oidc = Credential::Principal("oidc:ci:x".parse().unwrap());
    let plan = explain(&oidc, Verb::ReadOutputs);
    assert!(plan.allowed && plan.because[0].contains(&GrantId([7; 16]).to_string()), "{plan:?}");
    let write = explain(&oidc, Verb::Write);
    assert!(!write.allowed && write.because[0].contains("no grant to oidc:ci:x has write on prod/net"), "{write:?}");
}

#[test]
fn exchanged_tokens_are_forgotten_after_their_time_and_others_never() {
    let exchanged =
        TokenRecord { exchanged: Some(TokenHash([9; 32])), expires: Some(WallTime(5)), ..token("x", Maker::Init, &[]) };
    let named = TokenRecord { expires: Some(WallTime(5)), ..token("ci", Maker::Init, &[]) };
    let mut access = Access::new(vec![], vec![exchanged.clone(), named]);
    access.forget_ended(WallTime(5));
    assert_eq!(access.tokens().count(), 2);
    access.forget_ended(WallTime(6));
    assert_eq!(access.tokens().map(|token| token.name.to_string()).collect::<Vec<_>>(), ["ci"]);
    assert!(access.recognise(&exchanged.hash, WallTime(0)).is_none());
}

#[test]
fn grants_go_one_by_one_and_with_their_token() {
    let mut access = Access::new(
        vec![
            grant(1, "token:ci", scope("write", "a/*")),
            grant(2, "token:ci", scope("keys", "a")),
            grant(3, "oidc:x:*", scope("write", "a/*")),
            grant(4, "oidc:x:y", scope("keys", "a")),
        ],
        vec![admin(), token("ci", made_by("admin"), &[])],
    );
    let (ci, y) = (of_token("ci"), Credential::Principal("oidc:x:y".parse().unwrap()));
    let a = "a".parse().unwrap();
    let verbs = |access: &Access, who: &Credential| access.verbs_within(who, &a, NOW).to_string();
    assert_eq!((verbs(&access, &ci), verbs(&access, &y)), ("write keys".to_owned(), "write keys".to_owned()));
    access.drop_grant(GrantId([3; 16]));
    access.drop_grant(GrantId([9; 16]));
    assert_eq!(verbs(&access, &y), "keys");
    access.drop_grant(GrantId([4; 16]));
    assert_eq!(verbs(&access, &y), "");
    assert!(access.revoked(&"oidc:x:y".parse().unwrap()));
    access.drop_grant(GrantId([1; 16]));
    assert_eq!(verbs(&access, &ci), "keys");
    let record = access.token(&"ci".parse().unwrap()).unwrap().clone();
    access.revoke(&TokenRecord { revoked: Some(NOW), ..record });
    assert_eq!((verbs(&access, &ci), access.grants().count()), (String::new(), 0));
}
