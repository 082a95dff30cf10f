//! An acknowledged commit survives what fsync semantics allow: shown by the order of syncs and acknowledgements, and by crash images
//! built from a record of all writes.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use leasehold::domain::ids::{Token, Version};
use leasehold::store::sqlite::{Options, Synchronous};
use leasehold::store::{Query, StoreError};

use super::images::{Disk, Loss, Random};
use super::{OnDisk, on, on_with};
use crate::commands::{acquire, document, state};
use crate::engines::{Engine, clock, folder, options};
use crate::rig::Rig;
use crate::shim::{self, Kind, Op, Shim};

const FOLDER: &str = "LEASEHOLD_TEST_RECORD";
const ACKS: &str = "acks";
const LOG: &str = "leasehold.db-wal";

#[allow(clippy::disallowed_methods, reason = "settings of the test run, and what the child is told")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The same binary, running one of its tests as a child.
fn child(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(FOLDER, folder);
    command
}

fn finished(command: &mut Command) {
    let output = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "the child:\n{said}");
}

fn body(version: u64) -> Vec<u8> {
    let size = version * 7919 % 150_000 + 8;
    let mut bytes = version.to_be_bytes().to_vec();
    bytes.resize(usize::try_from(size).unwrap(), version as u8);
    bytes
}

/// The child: writes versions one at a time, a new lease now and then, and acknowledges each in a file, as a server would to a client.
#[test]
fn recorded_child() {
    let Some(folder) = setting(FOLDER) else { return };
    let folder = Path::new(&folder);
    let danger = setting("LEASEHOLD_TEST_DANGER").is_some();
    let synchronous = if danger { Synchronous::DangerNormal } else { Synchronous::Full };
    let rig = on_with(clock(), Options { synchronous, ..options(folder) }).with("dev");
    let mut acks = std::fs::OpenOptions::new().create(true).append(true).open(folder.join(ACKS)).unwrap();
    let mut token = rig.lease("dev/app", "s");
    let count: u64 = setting("LEASEHOLD_TEST_COUNT").unwrap().parse().unwrap();
    for version in 1..=count {
        let mut content = document(&body(version));
        if version % 7 == 0 {
            for (n, piece) in (0..).zip(content.inline.take().unwrap().concat().chunks(50_000)) {
                rig.stage(content.body, n, piece);
            }
        }
        let written = rig.write("dev/app", "s", token, content);
        acks.write_all(format!("{} {token}\n", written.version).as_bytes()).unwrap();
        if version % 5 == 0 {
            rig.release("dev/app", "s", token);
            token = rig.held(acquire("dev/app", "s", false)).token;
            acks.write_all(format!("{version} {token}\n").as_bytes()).unwrap();
        }
    }
    // Killed, not closed.
    std::mem::forget(rig);
}

/// What a child did that acknowledged `count` versions; none if this machine cannot record.
fn recorded(test: &str, count: u64, danger: bool) -> Option<Vec<Op>> {
    let shim = Shim::recorder(test)?;
    let (data, log) = (crate::engines::folder_on_disk(), tempfile::NamedTempFile::new().unwrap());
    let mut command = child("sqlite::durability::recorded_child", data.path());
    shim.record(&mut command, data.path(), log.path());
    command.env("LEASEHOLD_TEST_COUNT", count.to_string());
    if danger {
        command.env("LEASEHOLD_TEST_DANGER", "1");
    }
    finished(&mut command);
    Some(shim::read(log.path()))
}

fn acknowledges(op: &Op) -> bool {
    op.file == ACKS && matches!(op.kind, Kind::Write { .. })
}

#[test]
fn log_is_synced_between_each_commit_and_its_acknowledgement() {
    let test = "log_is_synced_between_each_commit_and_its_acknowledgement";
    let Some(ops) = recorded(test, 50, false) else { return };
    let (acknowledged, early) = shim::unsynced(&ops, LOG, acknowledges);
    assert_eq!((acknowledged, early), (60, vec![]));
    let syncs = ops.iter().filter(|op| op.file == LOG && op.kind == Kind::SyncEnded).count();
    assert!(syncs >= 70, "{syncs} syncs for 50 writes, 10 releases and 10 acquires");
}

#[test]
fn missing_sync_is_seen() {
    let Some(ops) = recorded("missing_sync_is_seen", 50, true) else { return };
    let (acknowledged, early) = shim::unsynced(&ops, LOG, acknowledges);
    assert_eq!(acknowledged, 60);
    assert!(early.len() > 50, "without syncs nearly all acknowledgements come too early, not {}", early.len());
}

/// What was acknowledged before a point of the record.
#[derive(Clone, Copy, Debug, Default)]
struct Acknowledged {
    version: u64,
    token: u64,
}

impl Acknowledged {
    fn hear(&mut self, op: &Op) {
        if let (true, Kind::Write { bytes, .. }) = (acknowledges(op), &op.kind) {
            let text = std::str::from_utf8(bytes).unwrap();
            let (version, token) = text.trim().split_once(' ').unwrap();
            (self.version, self.token) = (version.parse().unwrap(), token.parse().unwrap());
        }
    }
}

/// Why an image is wrong, if it is.
fn wrong(folder: &Path, acknowledged: Acknowledged) -> Option<String> {
    let store = match leasehold::store::sqlite::Sqlite::open(clock(), &options(folder)) {
        Ok(store) => store,
        Err(error) => return Some(format!("refused: {error}")),
    };
    let rig = Rig::of(Opened(store));
    let history = rig.versions(Query::History { state: state("dev/app"), before: None, limit: 10_000 });
    let current = history.first().map_or(0, |version| version.version.0);
    if current < acknowledged.version || rig.lock("dev/app").last_token.0 < acknowledged.token {
        return Some(format!("at version {current}: lost an acknowledged commit"));
    }
    if history.iter().map(|version| version.version.0).ne((1..=current).rev()) {
        return Some("versions have a gap".to_owned());
    }
    for version in history.iter().filter(|version| version.version.0 + 2 >= acknowledged.version) {
        let mut bytes = Vec::new();
        while let Some(piece) = rig.chunk(version.body.unwrap(), bytes.len().div_ceil(50_000).try_into().unwrap()) {
            let last = piece.len() != 50_000;
            bytes.extend(piece);
            if last {
                break;
            }
        }
        if bytes != body(version.version.0) {
            return Some(format!("version {} has other bytes", version.version));
        }
    }
    None
}

/// A store that was opened by the test itself.
struct Opened(leasehold::store::sqlite::Sqlite);

impl Engine for Opened {
    fn new() -> Self {
        unreachable!("is opened")
    }

    fn store(&self) -> &dyn leasehold::store::Store {
        &self.0
    }

    fn clock(&self) -> &leasehold::store::clock::ManualSource {
        unreachable!("its clock is not turned")
    }

    fn tick(&self) {
        self.0.tick();
    }

    fn restart(self) -> Self {
        self
    }
}

/// Builds `count` images at random points of a record; what is wrong with them.
fn crashes(ops: &[Op], count: usize, seed: u64) -> Vec<String> {
    let mut random = Random(seed);
    let first = ops.iter().position(acknowledges).unwrap();
    let mut points: Vec<usize> = (0..count).map(|_| first + 1 + random.below(ops.len() - first)).collect();
    points.sort_unstable();
    let (mut disk, mut heard, mut done) = (Disk::default(), Acknowledged::default(), 0);
    let mut found = Vec::new();
    for (n, point) in points.into_iter().enumerate() {
        for op in &ops[done..point] {
            heard.hear(op);
            disk.apply(op);
        }
        done = point;
        let loss = [Loss::Nothing, Loss::Everything, Loss::Some, Loss::Torn][n % 4];
        let image = folder();
        disk.image(image.path(), loss, &mut random, ACKS);
        if let Some(why) = wrong(image.path(), heard) {
            found.push(format!("seed {seed}, record {point} of {}, {loss:?}, {heard:?}: {why}", ops.len()));
        }
    }
    found
}

#[test]
fn acknowledged_commits_are_in_every_crash_image() {
    let test = "acknowledged_commits_are_in_every_crash_image";
    let images = setting("LEASEHOLD_IMAGES").map_or(200, |images| images.parse().unwrap());
    let Some(ops) = recorded(test, 300, false) else { return };
    let copied = ops.iter().any(|op| op.file == "leasehold.db" && op.kind == Kind::SyncEnded);
    assert!(copied, "no checkpoint in the record: too few writes");
    let found = crashes(&ops, images, 0x5eed);
    assert!(found.is_empty(), "{} of {images} images: {:#?}", found.len(), &found[..found.len().min(5)]);
}

#[test]
fn crash_images_find_a_missing_sync() {
    let Some(ops) = recorded("crash_images_find_a_missing_sync", 60, true) else { return };
    let found = crashes(&ops, 40, 0x5eed);
    assert!(found.len() >= 10, "only {} of 40 images lost something", found.len());
}

/// The child: a commit whose sync fails is of unknown outcome, and ends the store; opened anew, it is in order.
#[test]
fn faulty_child() {
    let Some(folder) = setting(FOLDER) else { return };
    let folder = Path::new(&folder);
    let rig: Rig<OnDisk> = on(folder).with("dev");
    let token = rig.lease("dev/app", "s");
    rig.write("dev/app", "s", token, document(b"1"));
    std::fs::write(folder.join("fault"), b"").unwrap();
    let next = rig.next_write("dev/app", "s", token, document(b"2"));
    assert!(matches!(rig.try_submit(crate::commands::write("dev/app", next)), Err(StoreError::Unknown)));
    assert!(!folder.join("fault").exists(), "the fault was never met");
    assert!(matches!(rig.try_submit(acquire("dev/other", "s", false)), Err(StoreError::Stopped)));
    let head = rig.engine().store().head();
    assert!(head.borrow().failed);
    assert_eq!(rig.current("dev/app").unwrap().version, Version(1), "nothing unknown is shown to readers");
    drop(head);
    drop(rig);
    consistent(folder, token);
}

/// The unknown write happened as a whole or not at all.
fn consistent(folder: &Path, token: Token) {
    let rig = on(folder);
    rig.renew("dev/app", "s", token);
    let current = rig.current("dev/app").unwrap();
    let expected = if current.version == Version(1) { b"1" } else { b"2" };
    assert_eq!(rig.chunk(current.body.unwrap(), 0).as_deref(), Some(&expected[..]));
    let events = rig.all_events();
    assert_eq!((events.len() as u64, events.last().unwrap().revision.0), (rig.revision(), rig.revision()));
    let next = rig.write("dev/app", "s", token, document(b"3"));
    assert_eq!(next.version.0, current.version.0 + 1);
}

#[test]
fn commit_that_fails_in_an_unclear_way_stops_the_store() {
    let test = "commit_that_fails_in_an_unclear_way_stops_the_store";
    let Some(shim) = Shim::fault(test) else { return };
    let data = crate::engines::folder_on_disk();
    let mut command = child("sqlite::durability::faulty_child", data.path());
    shim.fail(&mut command, &data.path().join("fault"));
    finished(&mut command);
    // And once more, in a process that was not there.
    assert!(on(data.path()).current("dev/app").is_some());
}
