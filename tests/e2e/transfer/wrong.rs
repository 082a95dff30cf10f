//! Sources that are not what they should be: each is told by what is wrong and what to do, with no word of what they have, and nothing is written.

use std::sync::{Arc, Mutex};

use super::source::{Answer, Source};
use super::{LINEAGE, SECRET, all, document, import, told, write};
use crate::process::end;
use crate::rig::{Server, TIGHT};

#[test]
fn files_that_are_no_states_say_why() {
    let server = Server::start(TIGHT);
    let before = all(&server);
    let file = server.file("f");
    let v3 = format!(r#"{{"version":3,"serial":1,"lineage":"l","modules":[{{"password":"{SECRET}"}}]}}"#);
    let cut = document(LINEAGE, 1);
    for (content, what) in [
        (SECRET.as_bytes(), "it is no Terraform or OpenTofu state"),
        (b"", "it is no Terraform or OpenTofu state"),
        (b"[1]", "it is no Terraform or OpenTofu state"),
        (&cut[..cut.len() - 9], "it is no Terraform or OpenTofu state"),
        (b"\xff\xfe{\0}\0", "it is no Terraform or OpenTofu state"),
        (v3.as_bytes(), "another version than 4"),
        (br#"{"version":4,"lineage":"l"}"#, "its serial or lineage is missing"),
    ] {
        write(&file, content);
        let ended = import(&server, &["dev/app", file.to_str().unwrap()]);
        ended.fails_with(1, what, "terraform state pull");
        assert!(!ended.err.contains(SECRET) && !ended.err.contains("lineage\""), "{}", ended.err);
    }
    let path = server.file("none");
    import(&server, &["dev/app", path.to_str().unwrap()]).fails_with(1, "cannot be read", "check the path");
    write(&file, document(LINEAGE, 1));
    let path = file.to_str().unwrap();
    import(&server, &["no/../name", path]).fails_with(3, "[NAME_INVALID]", "");
    import(&server, &["other/app", path]).fails_with(4, "[ENVIRONMENT_NOT_FOUND]", "");
    import(&server, &["dev/app", "-"]).fails_with(2, "read more than once", "leasehold state push");
    for flag in ["--username=u", "--password-file=f", "--lock=always", "--lock-address=http://h/"] {
        let name = flag.split('=').next().unwrap();
        import(&server, &["dev/app", path, flag]).fails_with(2, name, "leave it out, or import from a URL");
    }
    assert_eq!(all(&server), before);
}

#[test]
fn document_above_the_limit_of_the_server_is_refused_as_a_push_would_be() {
    let server = Server::start("max_document = 4096\n");
    let file = server.file("f");
    let mut large = document(LINEAGE, 1);
    large.resize(5000, b' ');
    write(&file, &large);
    let ended = import(&server, &["dev/app", file.to_str().unwrap()]);
    ended.fails_with(3, "[DOCUMENT_TOO_LARGE]", "");
    assert!(!ended.err.contains(SECRET));
}

#[test]
fn answers_that_are_no_states_say_why() {
    let server = Server::start(TIGHT);
    let before = all(&server);
    let lies = "AAAAAAAAAAAAAAAAAAAAAA==".to_owned();
    let elsewhere = Source::start(|_| Answer::with(document(LINEAGE, 1)));
    let there = elsewhere.url("/planted");
    let state = || document(LINEAGE, 1);
    let moved = |status, to: &str| Answer(status, vec![("location", to.to_owned())], Vec::new());
    let cases = [
        (Answer::of(401), 3, "asks for credentials", "TF_HTTP_USERNAME"),
        (Answer::of(403), 3, "does not allow GET", "ask who runs the server"),
        (Answer::of(404), 4, "has no state", "check the address"),
        (Answer::of(204), 4, "has no state", "check the address"),
        (Answer::with(""), 4, "has no state", "check the address"),
        (Answer::of(400), 1, "answered GET with 400", "that of a Terraform `http` backend"),
        (Answer::of(500), 7, "answered GET with 500", "try again later"),
        (Answer::of(429), 7, "answered GET with 429", "try again later"),
        (Answer::with(format!("<html>{SECRET}")), 1, "it is no Terraform or OpenTofu state", "check that the address"),
        (Answer::with(r#"{"version":3,"serial":1,"lineage":"l"}"#), 1, "another version than 4", "check that the address"),
        (Answer(200, vec![("content-md5", lies.clone())], state()), 7, "does not have the MD5 that it says", "try again"),
        (Answer(200, vec![("content-md5", SECRET.to_owned())], state()), 7, "does not have the MD5", "try again"),
        (Answer(200, vec![("content-encoding", "gzip".into())], state()), 7, "an encoding that was not asked for", "take away"),
        (Answer(200, vec![("content-length", "9000".into())], state()), 7, "cannot be read", "check the address"),
        (Answer(200, vec![("content-length", "99999".into())], state()), 1, "longer than 9999 bytes", "--max-size"),
        (
            Answer(200, vec![("transfer-encoding", "chunked".into()), ("content-length", "0".into())], SECRET.into()),
            7,
            "cannot be read",
            "check",
        ),
        (moved(301, &there), 1, &format!("to {} (301)", elsewhere.url("")), "the address that the state really has"),
        (moved(302, "/state"), 1, "to another path (302)", "the address that the state really has"),
        (moved(307, &there), 1, &format!("to {} (307)", elsewhere.url("")), "the address that the state really has"),
        (moved(308, "/planted?planted"), 1, "from one address to the next", "the address that the state really has"),
    ];
    let (now, expected): (Vec<_>, Vec<_>) =
        cases.into_iter().map(|(answer, code, what, next)| (answer, (code, what.to_owned(), next))).unzip();
    let mut now = now.into_iter();
    let current: Arc<Mutex<Option<Answer>>> = Arc::default();
    let given = Arc::clone(&current);
    let source = Source::start(move |_| {
        let given = given.lock().unwrap();
        let Answer(status, headers, body) = given.as_ref().unwrap();
        Answer(*status, headers.clone(), body.clone())
    });
    let url = source.url("/state?planted");
    for (code, what, next) in expected {
        *current.lock().unwrap() = now.next();
        let mut command = server.leasehold(&["state", "import", "dev/app", &url, "--output", "json", "--retry-for", "0s"]);
        command
            .args(["--lock", "never", "--max-size", "9999"])
            .env("TF_HTTP_USERNAME", "ann")
            .env("TF_HTTP_PASSWORD", "planted-password");
        let ended = end(&mut command);
        ended.fails_with(code, &what, next);
        assert!(!ended.err.contains("planted"), "{}", ended.err);
    }
    assert!(elsewhere.asked().is_empty(), "credentials went to where a redirect led");
    assert_eq!(all(&server), before);

    // Where it is not in doubt what is meant, it goes on: the same server, the same method.
    let kept = Source::start(|asked| match asked.path.as_str() {
        "/old" => Answer(308, vec![("location", "/new".into())], Vec::new()),
        _ if asked.method == "GET" => Answer::with(document(LINEAGE, 1)),
        _ => Answer::of(200),
    });
    assert_eq!(told(&import(&server, &["dev/moved", &kept.url("/old")]), &["what"]), ["written"]);
    let methods = kept.asked().into_iter().map(|asked| format!("{} {}", asked.method, asked.path)).collect::<Vec<_>>();
    assert_eq!(methods, ["LOCK /old", "LOCK /new", "GET /old", "GET /new", "UNLOCK /old", "UNLOCK /new"]);
}

#[test]
fn trouble_that_passes_is_waited_for() {
    let server = Server::start(TIGHT);
    let cut = Answer(200, vec![("content-length", "9000".into())], document(LINEAGE, 1));
    let trouble = Mutex::new(vec![Answer::of(503), cut, Answer::of(429)]);
    let source = Source::start(move |asked| match asked.method.as_str() {
        "GET" => trouble.lock().unwrap().pop().unwrap_or_else(|| Answer::with(document(LINEAGE, 1))),
        _ => Answer::of(200),
    });
    assert_eq!(told(&import(&server, &["dev/app", &source.url("/")]), &["what"]), ["written"]);
    assert_eq!(source.methods(), ["LOCK", "GET", "GET", "GET", "GET", "UNLOCK"]);
}

#[test]
fn address_and_credentials_that_make_no_sense_are_told_before_anything_is_sent() {
    let server = Server::start(TIGHT);
    let source = Source::start(|_| Answer::of(401));
    let url = source.url("/state");
    let ask = |url: &str, flags: &[&str], environment: &[(&str, &str)]| {
        let mut command = server.leasehold(&[&["state", "import", "dev/app", url], flags].concat());
        end(command.envs(environment.iter().copied()))
    };
    let inside = url.replace("http://", "http://ann:planted@");
    ask(&inside, &[], &[]).fails_with(2, "credentials in the address", "--password-file");
    ask("http://", &[], &[]).fails_with(2, "the address cannot be used", "http://HOST");
    ask(&url, &["--lock-method", "NO METHOD"], &[]).fails_with(2, "no HTTP method", "GitLab");
    ask(&url, &[], &[("TF_HTTP_PASSWORD", "planted")]).fails_with(2, "without a user's name", "--username");
    let key = ("TF_HTTP_CLIENT_PRIVATE_KEY_PEM", "planted");
    ask(&url, &[], &[key]).fails_with(2, "come together", "TF_HTTP_CLIENT_CERTIFICATE_PEM");
    ask(&url, &[], &[key, ("TF_HTTP_CLIENT_CERTIFICATE_PEM", "planted")]).fails_with(
        2,
        "cannot be used",
        "the text of a PEM file",
    );
    ask(&url, &[], &[("TF_HTTP_CLIENT_CA_CERTIFICATE_PEM", "planted")]).fails_with(2, "cannot be used", "the text of a PEM file");
    assert!(source.asked().is_empty());
}

/// `dev.env` has the token of this server as TF_HTTP_PASSWORD, and `run` its own key: neither is for another server.
#[test]
fn token_of_this_server_is_not_sent_to_another() {
    let server = Server::start(TIGHT);
    let source = Source::start(|asked| match asked.header("authorization") {
        Some(_) if asked.method == "GET" => Answer::with(document(LINEAGE, 1)),
        Some(_) => Answer::of(200),
        None => Answer::of(401),
    });
    let url = source.url("/state");
    let (_, token) = server.door();
    for password in [token.as_str(), "lr_0123456789"] {
        let mut command = server.leasehold(&["state", "import", "dev/app", &url, "--retry-for", "0s"]);
        let ended = end(command.env("TF_HTTP_USERNAME", "leasehold").env("TF_HTTP_PASSWORD", password));
        ended.fails_with(3, "asks for credentials", "--username and --password-file");
        assert!(ended.err.contains("not sent to another") && !ended.err.contains(password), "{}", ended.err);
    }
    assert!(source.asked().iter().all(|asked| asked.header("authorization").is_none()));
    // What is meant for the other one is.
    let file = server.file("password");
    write(&file, "theirs\n");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let flags = ["--username", "ann", "--password-file", file.to_str().unwrap(), "--output", "json"];
    let mut command = server.leasehold(&[&["state", "import", "dev/app", &url], &flags[..]].concat());
    assert_eq!(told(&end(command.env("TF_HTTP_USERNAME", "leasehold").env("TF_HTTP_PASSWORD", token)), &["what"]), ["written"]);
    assert_eq!(source.asked().last().unwrap().header("authorization"), Some("Basic YW5uOnRoZWlycw=="));
}
