//! Which binding takes a token, and which settings are refused.

use super::*;

fn binding(name: &str, more: &str) -> String {
    format!("[[oidc]]\nname = '{name}'\nissuer = '{ISSUER}'\naudience = 'leasehold'\n{more}\n")
}

/// Keys of the issuers, each in a file of its own.
struct Files(Vec<tempfile::NamedTempFile>);

impl Files {
    fn new(issuers: &[&Issuer]) -> Self {
        let file = |issuer: &&Issuer| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), jwks(&[issuer.jwk()]).to_string()).unwrap();
            file
        };
        Self(issuers.iter().map(file).collect())
    }

    fn settings(&self, at: usize) -> String {
        format!("jwks_file = '{}'", self.0[at].path().display())
    }
}

#[tokio::test]
async fn first_binding_that_fits_wins() {
    let issuer = Issuer::new("k", KeyKind::P256);
    let files = Files::new(&[&issuer]);
    let keys = files.settings(0);
    let settings = [
        binding("main", &format!("{keys}\nclaims = {{ repository = 'acme/infra', ref = 'main' }}")),
        binding("infra", &format!("{keys}\nclaims.repository = 'acme/infra'")),
        binding("all", &format!("{keys}\nclaims.repository = ['acme/infra', 'acme/app']")),
        binding("other", &format!("{keys}\nclaims.repository = 'acme/app'")).replace("'leasehold'", "['a', 'other']"),
    ];
    let issuers = Issuers::new(bindings(&settings.concat()).unwrap()).unwrap();
    let takes =
        async |changes: Value| issuers.verify(&issuer.token(&claims_with(changes)), NOW).await.map(|verified| verified.binding);
    assert_eq!(takes(json!({"ref": "main"})).await.as_deref(), Ok("main"));
    assert_eq!(takes(json!({"ref": "x"})).await.as_deref(), Ok("infra"));
    assert_eq!(takes(json!({"repository": "acme/app"})).await.as_deref(), Ok("all"));
    assert_eq!(takes(json!({"repository": "acme/app", "aud": "other"})).await.as_deref(), Ok("other"));
    assert_eq!(takes(json!({"repository": "acme/x"})).await, Err(TokenProblem::Rule("ref".into())), "the first that came so far");
    assert_eq!(takes(json!({"repository": "acme/infra", "aud": "other"})).await, Err(TokenProblem::Rule("repository".into())));
    assert_eq!(takes(json!({"aud": "nobody"})).await, Err(TokenProblem::Audience));
}

#[tokio::test]
async fn clusters_with_the_same_issuer_are_told_apart_by_their_keys() {
    let (east, west, stranger) =
        (Issuer::new("k", KeyKind::P256), Issuer::new("k", KeyKind::P256), Issuer::new("k", KeyKind::P256));
    let files = Files::new(&[&east, &west]);
    let settings = [
        binding("east", &format!("{}\nclaims.repository = 'acme/infra'", files.settings(0))),
        binding("west", &format!("{}\nclaims.repository = 'acme/infra'", files.settings(1))),
    ];
    let issuers = Issuers::new(bindings(&settings.concat()).unwrap()).unwrap();
    let takes =
        async |by: &Issuer| issuers.verify(&by.token(&claims()), NOW).await.map(|verified| verified.principal.to_string());
    assert_eq!(takes(&east).await.as_deref(), Ok("oidc:east:repo:acme/infra"));
    assert_eq!(takes(&west).await.as_deref(), Ok("oidc:west:repo:acme/infra"));
    assert_eq!(takes(&stranger).await, Err(TokenProblem::Signature));
}

#[tokio::test]
async fn run_and_commit_of_a_verified_token_are_told() {
    let issuer = Issuer::new("k", KeyKind::Rsa);
    let files = Files::new(&[&issuer]);
    let github = "https://token.actions.githubusercontent.com";
    let settings = binding("github", &format!("{}\nclaims.repository = 'acme/infra'", files.settings(0))).replace(ISSUER, github);
    let issuers = Issuers::new(bindings(&settings).unwrap()).unwrap();
    let token = issuer.token(&claims_with(json!({"iss": github, "run_id": "42", "sha": "c0ffee"})));
    let labels = issuers.verify(&token, NOW).await.unwrap().labels;
    assert_eq!(labels.run_url, "https://github.com/acme/infra/actions/runs/42");
    assert_eq!(labels.commit, "c0ffee");
}

#[tokio::test]
async fn without_bindings_no_token_is_taken() {
    let issuers = Issuers::new(Vec::new()).unwrap();
    assert!(issuers.is_empty());
    let token = Issuer::new("k", KeyKind::P256).token(&claims());
    assert_eq!(issuers.verify(&token, NOW).await, Err(TokenProblem::Issuer(ISSUER.into())));
}

#[test]
fn settings_that_are_wrong_are_refused() {
    let https = "jwks_url = 'https://ci.example/keys'";
    let rule = "claims.a = 'b'";
    let good = binding("ci", &format!("{https}\n{rule}"));
    assert!(bindings(&good).is_ok());
    let refused = |settings: String| bindings(&settings).err().unwrap_or_else(|| panic!("{settings}"));
    for name in ["", "CI", "a:b", "-a", "a b", &"a".repeat(64)] {
        assert!(matches!(refused(good.replace("'ci'", &format!("'{name}'"))), BindingError::Name(_)), "{name}");
    }
    for (was, is) in [(ISSUER, ""), ("'leasehold'", "''"), ("'leasehold'", "[]"), ("'leasehold'", "['a', '']")] {
        assert!(matches!(refused(good.replace(was, is)), BindingError::Empty(_)), "{is}");
    }
    for keys in [String::new(), format!("{https}\njwks_file = 'x'")] {
        assert!(matches!(refused(binding("ci", &format!("{keys}\n{rule}"))), BindingError::Keys(_)), "{keys}");
    }
    for claims in ["claims = {}", "claims.a = 1.5", "claims.a = []", "claims.a.b = {}"] {
        assert!(matches!(refused(binding("ci", &format!("{https}\n{claims}"))), BindingError::Claims(_)), "{claims}");
    }
    let ca = format!("jwks_file = 'x'\nca = 'y'\n{rule}");
    assert!(matches!(refused(binding("ci", &ca)), BindingError::NeedlessCa(_)));
}

#[test]
fn keys_come_over_tls_or_do_not_leave_the_machine() {
    let with = |url: &str| bindings(&binding("ci", &format!("jwks_url = '{url}'\nclaims.a = 'b'")));
    for good in ["https://ci.example/keys", "https://ci.example:8443/keys?x=y", "http://127.0.0.1:8001/keys", "http://[::1]/keys"]
    {
        assert!(with(good).is_ok(), "{good}");
    }
    for bad in [
        "http://ci.example/keys",
        "http://192.0.2.1/keys",
        "http://localhost/keys",
        "http://127.0.0.1.evil.example/keys",
        "http://127.0.0.1@evil.example/keys",
        "http://[::1]@evil.example/keys",
        "https://user:secret@ci.example/keys",
        "file:///etc/keys",
        "ftp://127.0.0.1/keys",
        "/keys",
        "",
        "https://",
    ] {
        assert!(matches!(with(bad), Err(BindingError::Url(_))), "{bad}");
    }
}

#[test]
fn files_that_cannot_be_used_end_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x");
    let open = |more: String| Issuers::new(bindings(&binding("ci", &format!("{more}\nclaims.a = 'b'"))).unwrap()).err().unwrap();
    let jwks = format!("jwks_file = '{}'", file.display());
    let ca = format!("jwks_url = 'https://ci.example/keys'\nca = '{}'", file.display());
    assert!(matches!(open(jwks.clone()), BindingError::File { .. }));
    assert!(matches!(open(ca.clone()), BindingError::Unreadable { .. }));
    for text in ["", "{}", "[]", "{\"keys\": []}", "{\"keys\": {}}", "-----BEGIN CERTIFICATE-----"] {
        std::fs::write(&file, text).unwrap();
        assert!(matches!(open(jwks.clone()), BindingError::File { .. }), "{text}");
        assert!(matches!(open(ca.clone()), BindingError::Ca { .. }), "{text}");
    }
    let twice = bindings(&binding("a", "jwks_url = 'http://127.0.0.1/'\nclaims.a = 'b'").repeat(2)).unwrap();
    assert!(matches!(Issuers::new(twice).err().unwrap(), BindingError::Twice(_)));
}

#[test]
fn unknown_key_in_a_binding_is_refused() {
    for bad in ["claim.a = 'b'", "jwks = 'x'", "audiences = ['x']"] {
        let settings = binding("ci", &format!("jwks_file = 'x'\nclaims.a = 'b'\n{bad}"));
        assert!(toml::from_str::<Config>(&settings).is_err(), "{bad}");
    }
    assert!(toml::from_str::<Config>(&binding("ci", "jwks_file = 'x'")).is_err(), "claims have to be given");
}

/// The examples of docs/identity.md, and tokens as those issuers make them.
#[tokio::test]
async fn examples_of_the_documentation_work() {
    let page = include_str!("../../../../docs/identity.md");
    let blocks: Vec<_> = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let settings: String = blocks.iter().filter(|block| block.contains("[[oidc]]")).copied().collect();
    let issuer = Issuer::new("k", KeyKind::Rsa);
    let files = Files::new(&[&issuer]);
    let local = |line: &str| if line.starts_with("jwks_") { files.settings(0) } else { line.to_owned() };
    let offline: Vec<_> = settings.lines().filter(|line| !line.starts_with("ca = ")).map(local).collect();
    assert!(bindings(&settings).is_ok());
    let issuers = Issuers::new(bindings(&offline.join("\n")).unwrap()).unwrap();
    let takes = async |claims: Value| {
        let mut all = json!({"exp": NOW + 300, "iat": NOW, "aud": "leasehold.acme.example"});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        issuers.verify(&issuer.token(&all), NOW).await.map(|verified| verified.principal.to_string())
    };
    let github = |sub: &str, branch: &str| {
        json!({
            "iss": "https://token.actions.githubusercontent.com", "sub": sub, "repository": "acme/infra", "repository_id": "123456789",
            "repository_owner_id": "1234567", "ref": branch, "ref_type": "branch", "run_id": "1", "run_attempt": "1",
        })
    };
    let gitlab = json!({
        "iss": "https://gitlab.acme.example", "sub": "project_path:acme/infra:ref_type:branch:ref:main", "project_path": "acme/infra",
        "ref": "main", "ref_type": "branch", "ref_protected": "true", "job_id": "7", "runner_id": 1,
    });
    let kubernetes = json!({
        "iss": "https://kubernetes.default.svc.cluster.local", "aud": ["leasehold"], "sub": "system:serviceaccount:ci:deployer",
        "kubernetes.io": {
            "namespace": "ci", "pod": {"name": "deployer-x", "uid": "1"}, "serviceaccount": {"name": "deployer", "uid": "2"},
        },
    });
    for (claims, principal) in [
        (github("repo:acme/infra:ref:refs/heads/main", "refs/heads/main"), "github-main:repo:acme/infra:ref:refs/heads/main"),
        (github("repo:acme/infra:pull_request", "refs/pull/1/merge"), "github:repo:acme/infra:pull_request"),
        (gitlab, "gitlab:project_path:acme/infra:ref_type:branch:ref:main"),
        (kubernetes.clone(), "cluster-eu:system:serviceaccount:ci:deployer"),
    ] {
        let principal = format!("oidc:{principal}");
        assert_eq!(takes(claims).await.as_ref(), Ok(&principal));
        assert!(principal.ends_with("pull_request") || page.contains(&principal), "{principal} is not in the documentation");
    }
    let mut other = kubernetes;
    other["kubernetes.io"]["namespace"] = json!("ci2");
    assert_eq!(takes(other).await, Err(TokenProblem::Rule("kubernetes.io namespace".into())));
    let tls = blocks.iter().find(|block| block.contains("tls_client")).unwrap();
    assert!(toml::from_str::<Config>(tls).unwrap().tls_client_ca.is_some());
}
