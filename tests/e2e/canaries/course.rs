//! Everything that a server does with documents, and the search of everything that it keeps or says meanwhile.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use leasehold::secrets::identities;

use super::search::{Needles, Planted, files, opened};
use crate::process::{end, finish};
use crate::rig::{Server, TIGHT, metrics, post};

/// A server that is watched, and all that was heard of it. Its states are in `dev`.
pub(crate) struct Course {
    pub(crate) server: Server,
    watch: Option<Child>,
    /// What nobody may learn a secret from, by where it was said.
    heard: Vec<(String, Vec<u8>)>,
    /// The same for who may read outputs.
    outputs: Vec<(String, Vec<u8>)>,
    /// Folders of data as they were.
    copies: Vec<PathBuf>,
    /// How many refusals were provoked.
    refused: usize,
}

/// The largest document that the server takes.
const MOST: usize = 3_000_000;

impl Course {
    pub(crate) fn start() -> Self {
        let mut server = Server::stopped(&format!("max_document = {MOST}\n{TIGHT}"));
        std::fs::create_dir(server.file("tmp")).unwrap();
        start(&mut server);
        server.ok(&["env", "set", "dev", "--write-without-lock", "true"]);
        let watch = server.leasehold(&["watch", "dev", "--output", "json", "--retry-for", "0s"]).stderr(Stdio::null()).spawn();
        let watch = Some(watch.unwrap());
        Self { server, watch, heard: Vec::new(), outputs: Vec::new(), copies: Vec::new(), refused: 0 }
    }

    /// Remembers what somebody was told.
    fn hear(&mut self, place: &str, text: impl Into<Vec<u8>>) {
        self.heard.push((place.to_owned(), text.into()));
    }

    /// Writes a document that must be taken.
    pub(crate) fn push(&mut self, state: &str, document: &[u8]) {
        let file = self.put("pushed", document);
        let ended = self.server.ok(&["state", "push", state, &file]);
        self.hear("a push", ended.out + &ended.err);
        let back = self.server.leasehold(&["state", "pull", state]).output().unwrap();
        assert!(back.stdout == document, "other bytes came back: {}", String::from_utf8_lossy(&back.stderr));
    }

    /// Writes a document that must be refused with this code, as the command line and as stock tools do.
    pub(crate) fn refuses(&mut self, state: &str, code: &str, document: &[u8], flags: &[&str]) {
        let file = self.put("refused", document);
        let ended = end(&mut self.server.leasehold(&[&["state", "push", state, &file], flags].concat()));
        assert!(ended.code != 0 && ended.err.contains(&format!("[{code}]")), "{code}: {}", ended.err);
        self.hear(&format!("the error {code}"), ended.out + &ended.err);
        if flags.is_empty() {
            let answer = post(&self.server, state, document.len() as u64, document);
            assert!(answer.contains(code), "{code}: {answer}");
            self.hear(&format!("the answer {code}"), answer);
        }
        self.refused += 1;
    }

    /// Every way to refuse this Terraform state, which is the current version of `state`.
    pub(crate) fn provoke(&mut self, state: &str, document: &[u8], secret: &str) {
        let text = std::str::from_utf8(document).unwrap();
        let serial = serde_json::from_str::<serde_json::Value>(text).unwrap()["serial"].as_u64().unwrap();
        let written = |n: u64| [format!("\"serial\": {n},"), format!("\"serial\":{n},")];
        let with_serial = |n: u64| {
            let [mut from, mut to] = [serial, n].map(|n| written(n)[0].clone());
            if !text.contains(&from) {
                [from, to] = [serial, n].map(|n| written(n)[1].clone());
            }
            assert!(text.contains(&from));
            text.replacen(&from, &to, 1)
        };
        let higher = with_serial(serial + 1);
        let lineage = text.find("\"lineage\"").unwrap() + 9;
        let lineage = lineage + text[lineage..].find('"').unwrap() + 1;
        let other = format!("{}0{}", &higher[..lineage], &higher[lineage..]);
        let at = text.find(secret).unwrap_or_else(|| panic!("{secret} is not in the document")) + secret.len();
        let mut large = higher.clone().into_bytes();
        large.resize(MOST + 1, b' ');
        let redacted = self.view(state, &["--view", "redacted"]);
        let redacted = String::from_utf8(redacted).unwrap().replacen(&written(serial)[0], &written(serial + 1)[0], 1);
        let redacted = redacted.replacen(&written(serial)[1], &written(serial + 1)[1], 1);

        // Complete and well-formed, so each is kept.
        self.refuses(state, "SERIAL_NOT_HIGHER", format!("{text}\n").as_bytes(), &[]);
        self.refuses(state, "LINEAGE_DIFFERS", other.as_bytes(), &[]);
        self.refuses(state, "VERSION_CONFLICT", higher.as_bytes(), &["--expect-version", "0", "--expect-etag", ""]);
        self.refuses(state, "MARK_WRITTEN", redacted.as_bytes(), &[]);
        let kept = self.server.ok(&["state", "drafts", "list", state, "--all", "--output", "json"]).json();
        assert!(kept.as_array().unwrap().len() >= 4, "{kept}");
        // What does not parse is refused, and not quoted.
        self.refuses(state, "DOCUMENT_INVALID", &document[..at], &[]);
        self.refuses(state, "DOCUMENT_INVALID", &[&document[..at], b"\xff", &document[at..]].concat(), &[]);
        self.refuses(state, "DOCUMENT_INVALID", &[&document[..at], b"\\ud800", &document[at..]].concat(), &[]);
        let twice = format!("{{\"{secret}\": 1, {}, \"{secret}\": 2}}", &higher.trim()[1..higher.trim().len() - 1]);
        self.refuses(state, "DOCUMENT_INVALID", twice.as_bytes(), &[]);
        self.refuses(state, "DOCUMENT_INVALID", format!("{} {secret}", higher.trim()).as_bytes(), &[]);
        self.refuses(state, "DOCUMENT_TOO_LARGE", &large, &[]);
        self.refuses(state, "FORMAT_DIFFERS", higher.as_bytes(), &["--format", "json"]);
    }

    /// A document as it is read.
    pub(crate) fn view(&self, state: &str, how: &[&str]) -> Vec<u8> {
        let output = self.server.leasehold(&[&["state", "pull", state], how].concat()).output().unwrap();
        assert!(output.status.success(), "{how:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Reads a state in every way but `full`, and asks everything else that there is to ask.
    pub(crate) fn ask(&mut self, state: &str) {
        let key = self.server.file(&format!("reader-{}.key", self.heard.len()));
        let recipient = identities::generate_file(&key).unwrap();
        let redacted = self.view(state, &["--view", "redacted"]);
        self.hear("the redacted view", redacted);
        let sealed = self.view(state, &["--view", "sealed", "--recipient", &recipient]);
        self.hear("the sealed view", sealed);
        let outputs = self.view(state, &["--view", "outputs"]);
        self.outputs.push(("the view of outputs".into(), outputs));
        let counted = metrics(&self.server);
        assert!(counted.starts_with("HTTP/1.1 200 ") && counted.contains("leasehold_"), "{counted}");
        self.hear("what is counted", counted);
        for args in [
            &["env", "list"][..],
            &["env", "show", "dev"],
            &["state", "list", "dev", "--deleted"],
            &["state", "history", state, "--all"],
            &["state", "drafts", "list", state, "--all"],
            &["state", "show", state],
            &["state", "show", state, "--why"],
            &["state", "diff", state, "--from", "1"],
            &["lease", "show", state],
            &["keys", "report", "dev", "--all"],
            &["audit", "tail", "--after", "0"],
            &["audit", "export", "--unproven"],
            &["audit", "head"],
        ] {
            for format in ["table", "json"] {
                let ended = self.server.ok(&[args, &["--output", format]].concat());
                self.hear(&args.join(" "), ended.out + &ended.err);
            }
        }
    }

    /// New data keys, and the old ones destroyed.
    pub(crate) fn rotate(&mut self) {
        for args in [&["keys", "rewrap", "dev"][..], &["keys", "reencrypt", "dev"], &["keys", "destroy", "dev", "--yes"]] {
            let ended = self.server.ok(args);
            self.hear(&args.join(" "), ended.out + &ended.err);
        }
    }

    /// Keeps the folder of data as it is now.
    pub(crate) fn copy(&mut self, name: &str) {
        let to = self.server.file(name);
        std::fs::create_dir(&to).unwrap();
        for (file, bytes) in files(&self.server.data()) {
            let to = to.join(file.file_name().unwrap());
            std::fs::write(&to, bytes).unwrap();
            // As the server makes them: a key that others can read is refused.
            std::fs::set_permissions(to, PermissionsExt::from_mode(0o600)).unwrap();
        }
        self.copies.push(to);
    }

    /// A last write, `kill -9`, a copy of what is left, and another start.
    pub(crate) fn kill(&mut self, document: &[u8]) {
        self.push("dev/last", document);
        self.server.kill();
        self.copy("killed");
        let log = self.server.file("killed/leasehold.db-wal");
        assert!(log.metadata().unwrap().len() > 0, "nothing was to be recovered");
        // It would wait for the server to come back.
        let mut watch = self.watch.take().expect("killed once");
        watch.kill().unwrap();
        let watched = finish(watch);
        assert!(watched.out.contains("version"), "the watch saw events: {}", watched.out);
        self.hear("events", watched.out);
        start(&mut self.server);
        assert!(self.view("dev/last", &[]) == document, "what was acknowledged is there");
    }

    /// Where secrets are that should not be; and that the search would have found them, if they were.
    #[track_caller]
    pub(crate) fn judge(mut self, planted: &[Planted]) {
        let needles = Needles::of(planted);
        assert!(self.watch.is_none() && self.refused > 0, "the whole course was run");
        self.server.stop();
        self.copies.push(self.server.data());
        let mut left = Vec::new();
        for (place, text) in &self.heard {
            left.extend(needles.found(place, text));
        }
        for (place, text) in &self.outputs {
            left.extend(needles.found_beside_outputs(place, text));
        }
        for folder in &self.copies {
            for (file, bytes) in files(folder) {
                left.extend(needles.found(&file.display().to_string(), &bytes));
            }
            let (skeletons, whole) = opened(folder, &folder.join("leasehold.db"), &self.server.file(""));
            for (place, text) in &skeletons {
                left.extend(needles.found(&format!("{}: {place}", folder.display()), text));
            }
            assert_eq!(
                needles.missing(planted, &whole),
                Vec::<String>::new(),
                "the test of the test: what was written has them all"
            );
        }
        let logged = self.server.logged();
        assert!(logged.contains("DEBUG"), "the log is at debug level");
        left.extend(needles.found("the log", logged.as_bytes()));
        assert_eq!(files(&self.server.file("tmp")).into_keys().collect::<Vec<_>>(), Vec::<PathBuf>::new(), "temporary files");
        left.truncate(50);
        assert!(left.is_empty(), "{} leaks: {left:#?}", left.len());
        let folder = self.server.data().display().to_string();
        let ended = end(&mut crate::process::leasehold(&["doctor", "verify", "--data-dir", &folder]));
        assert!(ended.code == 0 && ended.out.contains("documents opened, each to its last byte"), "{}{}", ended.out, ended.err);
    }

    fn put(&self, name: &str, document: &[u8]) -> String {
        let file = self.server.file(name);
        std::fs::write(&file, document).unwrap();
        file.to_str().unwrap().to_owned()
    }
}

fn start(server: &mut Server) {
    let temporary: PathBuf = server.file("tmp");
    let temporary: &Path = &temporary;
    server.start_as(|command| {
        command.env("LEASEHOLD_LOG", "debug").env("TMPDIR", temporary);
    });
}
