//! The life of an environment's keys at the command line: what each command says, what it says to programs, and that it does it.

use serde_json::Value;

use crate::process::end;
use crate::rig::{Server, TIGHT, Writer, read};

/// What a command prints for programs.
fn told(server: &Server, args: &[&str]) -> Value {
    let ended = server.ok(&[args, &["--output", "json"]].concat());
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{args:?}: {error}: {}", ended.out))
}

fn recipient() -> String {
    age::x25519::Identity::generate().to_public().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_listed_rotated_verified_and_destroyed() {
    let server = Server::start(TIGHT);
    let client = server.client();
    let writer = Writer::of(&client, "dev/app").await;
    let document = |n: u32| format!(r#"{{"password": "Keys-{n}-of-the-walk"}}"#).into_bytes();
    for n in 1..=3 {
        writer.write(&document(n)).await;
    }
    let first = told(&server, &["keys", "list", "dev"]);
    assert_eq!((first[0]["version"].clone(), first[0]["status"].clone()), (1.into(), "active".into()));

    let rewrapped = server.ok(&["keys", "rewrap", "dev"]);
    assert!(rewrapped.err.contains("dev: all data keys are wrapped to identity 2"), "{}", rewrapped.err);
    let listed = told(&server, &["keys", "list", "dev"]);
    assert_eq!((listed[0]["status"].clone(), listed[1]["status"].clone()), ("retired".into(), "active".into()));
    assert_ne!(listed[0]["recipient"], listed[1]["recipient"]);

    let reencrypted = told(&server, &["keys", "reencrypt", "dev"]);
    assert_eq!((reencrypted["key_epoch"].clone(), reencrypted["done"].clone()), (2.into(), "3".into()));
    let report = told(&server, &["keys", "report", "dev"]);
    let numbers = ["documents", "data_keys", "retired", "old_identity", "old_epoch"].map(|name| report[name].as_str().unwrap());
    assert_eq!(numbers, ["3", "2", "1", "0", "0"], "{report}");
    assert!(report["job"].is_null() && report["verified"].is_null());
    assert_eq!(told(&server, &["keys", "report", "dev", "--all"]).as_array().unwrap().len(), 2);
    let table = server.ok(&["keys", "report", "dev"]).out;
    assert!(table.contains("retired") && !table.contains("AGE-SECRET"), "{table}");

    let verified = server.ok(&["keys", "verify", "dev"]);
    assert!(verified.err.contains("dev: 0 of 5 do not open"), "{}", verified.err);
    assert_eq!(told(&server, &["keys", "report", "dev"])["verified"]["documents"], "3");

    // Nobody is there to ask.
    let unasked = end(&mut server.leasehold(&["keys", "destroy", "dev"]));
    unasked.fails_with(2, "this cannot be taken back", "add --yes");
    let destroyed = server.ok(&["keys", "destroy", "dev", "--yes"]);
    assert!(destroyed.err.contains("nothing of them is left in the database and its log"), "{}", destroyed.err);
    assert!(destroyed.err.contains("copies of the database made before still open"), "{}", destroyed.err);
    assert_eq!(told(&server, &["keys", "report", "dev", "--all"]).as_array().unwrap().len(), 1);
    assert_eq!(told(&server, &["keys", "list", "dev"])[0]["status"], "destroyed");
    for n in 1..=3 {
        let which = leasehold::client::Which::Version(n);
        assert_eq!(read(&client, "dev/app", which).await.unwrap(), document(u32::try_from(n).unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recipients_come_and_go_and_none_are_left_by_mistake() {
    let server = Server::start(TIGHT);
    let listed = || told(&server, &["keys", "recipients", "list", "dev"]);
    let first = listed()[0].as_str().unwrap().to_owned();
    let (second, third) = (recipient(), recipient());
    let added = server.ok(&["keys", "recipients", "add", "dev", &second, &third]);
    assert!(added.err.contains("dev: all keys are wrapped to the new recipients"), "{}", added.err);
    server.ok(&["keys", "recipients", "remove", "dev", &first]);
    let mut left: Vec<String> = serde_json::from_value(listed()).unwrap();
    left.sort();
    let mut both = [second.clone(), third.clone()];
    both.sort();
    assert_eq!(left, both);
    let last = end(&mut server.leasehold(&["keys", "recipients", "remove", "dev", &second, &third]));
    last.fails_with(3, "RECOVERY_REQUIRED", "--no-recovery");
    assert_eq!(listed().as_array().unwrap().len(), 2, "nothing was changed");
    server.ok(&["keys", "recipients", "remove", "dev", &second, &third, "--no-recovery"]);
    assert_eq!(listed().as_array().unwrap().len(), 0);
}

#[test]
fn wrong_asks_about_keys_say_what_to_do() {
    let server = Server::start(TIGHT);
    let asked = |args: &[&str]| end(&mut server.leasehold(args));
    for command in ["list", "rewrap", "reencrypt", "verify", "report"] {
        asked(&["keys", command, "nope"]).fails_with(4, "ENVIRONMENT_NOT_FOUND", "leasehold env create nope");
    }
    asked(&["keys", "recipients", "add", "dev", "nonsense"]).fails_with(3, "RECIPIENT_INVALID", "age-keygen");
    let mut mistyped = recipient();
    let last = mistyped.pop().unwrap();
    mistyped.push(if last == 'q' { 'p' } else { 'q' });
    asked(&["keys", "recipients", "add", "dev", &mistyped]).fails_with(3, "typing error", "age-keygen");
    let neither = asked(&["keys", "rewrap"]);
    assert!(neither.code == 2 && neither.err.contains("--master"), "{}", neither.err);
    let both = asked(&["keys", "rewrap", "dev", "--master"]);
    assert!(both.code == 2 && both.err.contains("cannot be used with"), "{}", both.err);
}
