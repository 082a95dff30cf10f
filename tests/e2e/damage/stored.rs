//! A database with everything in it, that can be edited and put back, and is read by a server in this process.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use leasehold::client::{Client, Which as Asked};
use leasehold::domain::ids::Version;
use leasehold::domain::names::StateName;
use leasehold::domain::settings::Limits;
use leasehold::pb::v1::Settings;
use leasehold::secrets::master::MasterSource;
use leasehold::secrets::operational::ServerKey;
use leasehold::service::offline::{Archive, Opener};
use leasehold::service::pull::Which;
use leasehold::service::{Bounds, Caller, Error, Service};
use leasehold::store::Store;
use leasehold::store::clock::SystemSource;
use leasehold::store::sqlite::{self, Offline, OpenError, Options, Sqlite, Tried, Verdict};
use rusqlite::Connection;

use crate::rig::{Server, TIGHT, Writer, now, read, until};

/// All documents.
pub(super) const ALL: &[&str] =
    &["dev/app 1", "dev/app 2", "dev/app 3", "dev/app draft", "dev/large 1", "dev/other 1", "prod/app 1"];

/// What every secret in here begins with.
const CANARY: &str = "never-told";

/// A stopped server's folder.
pub(super) struct Stored {
    server: Server,
    files: BTreeMap<PathBuf, Vec<u8>>,
    draft: String,
    /// What was written, by document.
    pub(super) written: BTreeMap<String, Vec<u8>>,
}

/// What was read of a document: its bytes, or the code and the text of the refusal.
type Answer = Result<Vec<u8>, (&'static str, String)>;

/// What one past of a database had at a place where another has something else.
pub(super) struct Old {
    pub(super) piece: Vec<u8>,
    pub(super) meta: String,
    pub(super) wrapped: Vec<u8>,
}

impl Stored {
    pub(super) async fn make() -> Self {
        let mut server = Server::start(TIGHT);
        let mut written = BTreeMap::new();
        let draft = write_some(&server, &mut written).await;
        write_other(&server.client(), "one", &mut written).await;
        server.stop();
        let files = files(&server.data());
        Self { server, files, draft, written }
    }

    /// The same, and what `dev/other` was in a past that was put back.
    pub(super) async fn with_two_pasts() -> (Self, Old) {
        let mut server = Server::start(TIGHT);
        let mut written = BTreeMap::new();
        let draft = write_some(&server, &mut written).await;
        server.stop();
        let before = files(&server.data());
        server.restart();
        write_other(&server.client(), "old", &mut written).await;
        server.stop();
        let old = {
            let db = Connection::open(server.data().join("leasehold.db")).unwrap();
            let (table, row) = document_of("dev/other 1");
            Old {
                piece: super::rows::one(
                    &db,
                    &format!("SELECT bytes FROM chunk WHERE n = 0 AND body = (SELECT body FROM {table} WHERE {row})"),
                ),
                meta: super::rows::one(&db, &format!("SELECT meta FROM {table} WHERE {row}")),
                wrapped: super::rows::one(
                    &db,
                    &format!("SELECT wrapped FROM data_key WHERE {}", super::rows::key_of("dev", "other")),
                ),
            }
        };
        put_back(&server.data(), &before);
        server.restart();
        write_other(&server.client(), "new", &mut written).await;
        server.stop();
        let files = files(&server.data());
        (Self { server, files, draft, written }, old)
    }

    /// Puts the folder back as it was made.
    pub(super) fn reset(&self) {
        put_back(&self.server.data(), &self.files);
    }

    /// Does it as somebody would who knows what is beside each row of keys.
    pub(super) fn edit(&self, edit: &dyn Fn(&Connection)) {
        let db = Connection::open(self.server.data().join("leasehold.db")).unwrap();
        edit(&db);
        super::rows::digest_anew(&db);
    }

    /// What `doctor verify` says with the master key at hand.
    pub(super) fn verify(&self) -> Verdict {
        let folder = self.server.data();
        let opener = Opener::master(&folder.join("master.key")).unwrap_or_else(|error| panic!("{error}"));
        let database = once_free(|| Offline::folder(&folder));
        let archive = Archive::open(&database, &opener).unwrap();
        let mut open = |name: &sqlite::Named, document: &leasehold::store::Document| match archive.contents(name, document) {
            Ok(_) => Tried::Opened,
            Err(_) => Tried::Broken,
        };
        sqlite::verify(&database, &mut open).unwrap()
    }

    /// Reads every document through a service.
    pub(super) async fn read_all(&self) -> BTreeMap<String, Answer> {
        let folder = self.server.data();
        let options = Options::new(&folder, Limits::default(), [7; 16]);
        let store = Arc::new(once_free(|| Sqlite::open(Arc::new(SystemSource::default()), &options)));
        let source = MasterSource::File(folder.join("master.key"));
        let key = ServerKey::open(&folder.join("server.key")).unwrap_or_else(|error| panic!("{error}"));
        let masters = source.load(None).unwrap_or_else(|error| panic!("{error}"));
        let service =
            Service::new(Arc::clone(&store) as Arc<dyn Store>, key, source, Bounds::default(), Arc::new(SystemSource::default()));
        // The wrong key for everything is an answer too.
        let _ = service.begin_unlocked(masters).await;
        let mut answers = BTreeMap::new();
        for name in ALL {
            let (state, which) = name.split_once(' ').unwrap();
            let which = match which {
                "draft" => Which::Draft(self.draft.parse().unwrap()),
                number => Which::Version(Version(number.parse().unwrap())),
            };
            let answer = pull(&service, &state.parse().unwrap(), which).await;
            answers.insert((*name).to_owned(), answer.map_err(|error| (error.code(), format!("{error} {}", error.next()))));
        }
        store.close().await.unwrap();
        // What it does by itself may still be reading: nothing may have the files open when they are put back.
        drop(service);
        until("the service lets go of the store", || async { Arc::strong_count(&store) == 1 }).await;
        answers
    }

    /// No text that anybody is told has a secret in it.
    #[track_caller]
    pub(super) fn quotes_nothing(&self, what: &str, text: &str) {
        assert!(!text.contains(CANARY) && !text.contains("innocent"), "{what}: {text}");
    }
}

/// What was closed a moment ago may still be locked: another test starts a program, and until that is under way it has all our files open, too.
fn once_free<T>(open: impl Fn() -> Result<T, OpenError>) -> T {
    let patience = now() + Duration::from_secs(10);
    loop {
        match open() {
            Err(OpenError::Locked(_)) if now() < patience => std::thread::yield_now(),
            opened => return opened.unwrap_or_else(|error| panic!("{error}")),
        }
    }
}

/// The table of a document, and the condition for its row.
pub(super) fn document_of(name: &str) -> (&'static str, &'static str) {
    match name {
        "dev/app 1" => ("version", "version = 1 AND name = (SELECT id FROM name WHERE path = 'app' AND environment = 'dev')"),
        "dev/app 2" => ("version", "version = 2 AND name = (SELECT id FROM name WHERE path = 'app' AND environment = 'dev')"),
        "dev/app 3" => ("version", "version = 3 AND name = (SELECT id FROM name WHERE path = 'app' AND environment = 'dev')"),
        "dev/app draft" => ("draft", "name = (SELECT id FROM name WHERE path = 'app' AND environment = 'dev')"),
        "dev/large 1" => ("version", "name = (SELECT id FROM name WHERE path = 'large' AND environment = 'dev')"),
        "dev/other 1" => ("version", "name = (SELECT id FROM name WHERE path = 'other' AND environment = 'dev')"),
        "prod/app 1" => ("version", "name = (SELECT id FROM name WHERE path = 'app' AND environment = 'prod')"),
        other => panic!("no document {other}"),
    }
}

fn terraform(serial: u64, password: &str) -> Vec<u8> {
    format!(
        "{{\"version\": 4, \"terraform_version\": \"1.11.4\", \"serial\": {serial}, \"lineage\": \"l\", \"outputs\": {{\n \"innocent\": \
         {{\"value\": \"{CANARY}-always\", \"type\": \"string\", \"sensitive\": true}},\n \"other\": {{\"value\": \"{CANARY}-{password}\", \
         \"type\": \"string\", \"sensitive\": true}}}}, \"resources\": []}}"
    )
    .into_bytes()
}

/// All but `dev/other`; the draft's name.
async fn write_some(server: &Server, written: &mut BTreeMap<String, Vec<u8>>) -> String {
    let client = server.client();
    let mut put = |name: &str, document: &[u8]| drop(written.insert(name.to_owned(), document.to_vec()));
    let app = Writer::of(&client, "dev/app").await;
    for serial in 1..=3 {
        let document = terraform(serial, &format!("{serial}"));
        app.write(&document).await;
        put(&format!("dev/app {serial}"), &document);
    }
    let late = terraform(9, "late");
    let (draft, _) = app.draft(&late).await;
    put("dev/app draft", &late);
    let noise: String = (0..38_000_u64).map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let document = format!("{{\"private_key\": \"{CANARY}{}\", \"text\": \"{noise}\"}}", &noise[..300_000]).into_bytes();
    Writer::of(&client, "dev/large").await.write(&document).await;
    put("dev/large 1", &document);
    client.create_environment("prod", Settings::default(), Vec::new()).await.unwrap();
    let document = terraform(1, "prod");
    Writer::of(&client, "prod/app").await.write(&document).await;
    put("prod/app 1", &document);
    assert_eq!(read(&client, "dev/large", Asked::Current).await.unwrap(), written["dev/large 1"]);
    draft
}

async fn write_other(client: &Client, password: &str, written: &mut BTreeMap<String, Vec<u8>>) {
    let document = terraform(1, password);
    Writer::of(client, "dev/other").await.write(&document).await;
    written.insert("dev/other 1".to_owned(), document);
}

async fn pull(service: &Arc<Service>, state: &StateName, which: Which) -> Result<Vec<u8>, Error> {
    let caller = Caller::owner("bootstrap".parse().unwrap());
    let (_, mut pieces) = service
        .pull(&caller, state, which, None, &leasehold::service::views::View::Full)
        .await?
        .document
        .expect("a document was asked for");
    let mut document = Vec::new();
    while let Some(piece) = pieces.recv().await {
        document.extend_from_slice(&piece?);
    }
    Ok(document)
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
}

fn put_back(folder: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if !files.contains_key(&file) {
            std::fs::remove_file(file).unwrap();
        }
    }
    for (file, bytes) in files {
        if std::fs::read(file).ok().as_ref() != Some(bytes) {
            std::fs::write(file, bytes).unwrap();
            // As the server makes them: it refuses what others can get at.
            std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
        }
    }
}
