//! Disks that are full, and folders and files that cannot be written.

use std::path::Path;
use std::process::Command as Process;
use std::time::Duration;

use leasehold::domain::audit::{AuditAct, Checkpoint, Deed, Entry};
use leasehold::domain::command::{Act, Command, StoreAct};
use leasehold::domain::ids::{BodyId, DataKeyId};
use leasehold::store::folder::FolderError;
use leasehold::store::sqlite::{OpenError, Options};
use leasehold::store::{Query, StoreError};

use super::commits::{gated, open_gate, stop_at_gate};
use super::{OnDisk, database, on, on_with, refusal, server};
use crate::commands::{acquire, document, release, renew, state, write};
use crate::engines::{Engine, clock, options};
use crate::namespace::inside;
use crate::rig::Rig;

fn remaining(rig: &Rig<OnDisk>) -> Duration {
    let (row, now) = rig.lock_row("dev/app");
    row.lock.holders[0].remaining(now).unwrap()
}

/// Writes until the disk is full; the versions that were acknowledged.
fn fill(rig: &Rig<OnDisk>, token: leasehold::domain::ids::Token) -> u64 {
    for n in 1.. {
        let next = rig.next_write("dev/app", "s", token, document(&vec![n as u8; 200_000]));
        match rig.try_submit(write("dev/app", next)) {
            Ok(reply) => drop(reply.unwrap()),
            Err(StoreError::Full) => return n - 1,
            Err(other) => panic!("after {n}: {other:?}"),
        }
    }
    unreachable!()
}

/// Something that can be thrown away later.
fn ballast(folder: &Path) {
    std::fs::write(folder.join("ballast"), vec![1; 2 << 20]).unwrap();
}

/// Takes what is left of the disk, until not even the smallest commits find room.
fn exhaust(rig: &Rig<OnDisk>, folder: &Path) {
    let mut file = std::fs::File::create(folder.join("rest")).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    let mut refused = 0;
    for n in 0..2000 {
        match rig.try_submit(acquire(&format!("dev/x{n}"), "s", false)) {
            Ok(reply) => drop(reply.unwrap()),
            Err(StoreError::Full) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
        if refused == 20 {
            return;
        }
    }
    panic!("there was always room");
}

#[test]
fn full_disk_refuses_writes_and_nothing_else() {
    let test = "sqlite::full::full_disk_refuses_writes_and_nothing_else";
    let Some(folder) = inside(test, "mount -t tmpfs -o mode=0700,size=8m tmpfs \"$FOLDER\"") else { return };
    let rig = on(&folder).with("dev");
    let token = rig.lease("dev/app", "s");
    rig.queue("dev/app", "waiter", leasehold::domain::lock::Mode::Exclusive);
    ballast(&folder);
    let written = fill(&rig, token);
    assert!(written > 10, "{written}");
    exhaust(&rig, &folder);
    let before = remaining(&rig);
    let revision = rig.revision();
    for _ in 0..30 {
        rig.engine().clock().advance(Duration::from_secs(10));
        rig.engine().tick();
        assert!(matches!(rig.try_submit(renew("dev/app", "s", token)), Err(StoreError::Full)));
        assert!(matches!(rig.try_submit(release("dev/app", "s", token)), Err(StoreError::Full)));
    }
    // Reading goes on, of what was acknowledged and of nothing else.
    let history = rig.versions(Query::History { state: state("dev/app"), before: None, limit: 1000 });
    assert_eq!((history.len() as u64, rig.revision()), (written, revision));
    for version in &history {
        assert_eq!(rig.chunk(version.body.unwrap(), 0).unwrap(), vec![version.version.0 as u8; 200_000]);
    }
    assert!(before - remaining(&rig) <= Duration::from_secs(2), "five minutes without a commit count for two seconds");
    // Room again, and no restart.
    std::fs::remove_file(folder.join("ballast")).unwrap();
    rig.renew("dev/app", "s", token);
    rig.write("dev/app", "s", token, document(b"small"));
    // What was due all the time is done now: the waiter was silent for too long, as soon as time goes on.
    assert_eq!(rig.tickets("dev/app").len(), 1);
    for _ in 0..2 {
        rig.seconds(16);
        rig.renew("dev/app", "s", token);
    }
    assert_eq!(rig.tickets("dev/app").len(), 0);
    assert_eq!(rig.all_events().len() as u64, rig.revision());
    drop(rig);
    let rig = on(&folder);
    assert_eq!(rig.current("dev/app").unwrap().version.0, written + 1);
    rig.renew("dev/app", "s", token);
}

#[test]
fn lock_that_fell_due_on_a_full_disk_is_settled_when_there_is_room() {
    let test = "sqlite::full::lock_that_fell_due_on_a_full_disk_is_settled_when_there_is_room";
    let Some(folder) = inside(test, "mount -t tmpfs -o mode=0700,size=8m tmpfs \"$FOLDER\"") else { return };
    let rig = on(&folder).with("dev");
    let token = rig.lease("dev/app", "s");
    rig.lease("dev/dying", "s");
    rig.seconds(19);
    rig.renew("dev/app", "s", token);
    ballast(&folder);
    fill(&rig, token);
    exhaust(&rig, &folder);
    // It falls due, and cannot be settled.
    rig.engine().clock().advance(Duration::from_secs(2));
    rig.engine().tick();
    rig.engine().tick();
    assert_eq!(rig.lock("dev/dying").holders.len(), 1);
    std::fs::remove_file(folder.join("ballast")).unwrap();
    rig.seconds(4);
    assert_eq!(rig.lock("dev/dying").holders.len(), 0);
}

#[test]
fn folder_without_room_for_a_database_is_refused() {
    let test = "sqlite::full::folder_without_room_for_a_database_is_refused";
    let setup = "mount -t tmpfs -o mode=0700,size=64k tmpfs \"$FOLDER\"; dd if=/dev/zero of=\"$FOLDER/ballast\" bs=4k 2>/dev/null || true";
    let Some(folder) = inside(test, setup) else { return };
    let error = refusal(&options(&folder));
    assert!(matches!(error, OpenError::Engine { .. } | OpenError::Folder { .. }), "{error}");
    std::fs::remove_file(folder.join("ballast")).unwrap();
    let error = refusal(&options(&folder));
    assert!(error.to_string().contains("check"), "64 KiB are too few: {error}");
    assert!(Process::new("mount").args(["-o", "remount,size=8m"]).arg(&folder).status().unwrap().success());
    on(&folder).with("dev").lease("dev/app", "s");
}

#[test]
fn read_only_folder_is_refused() {
    let test = "sqlite::full::read_only_folder_is_refused";
    let Some(folder) = inside(test, "mount -t tmpfs -o mode=0700 tmpfs \"$FOLDER\"") else { return };
    on(&folder).with("dev").lease("dev/app", "s");
    assert!(Process::new("mount").args(["-o", "remount,ro"]).arg(&folder).status().unwrap().success());
    let error = refusal(&options(&folder));
    assert!(matches!(error, OpenError::Folder { .. }), "{error}");
    assert!(matches!(refusal(&options(&folder.join("new"))), OpenError::Private(FolderError::Io { .. })));
}

#[test]
fn read_only_file_is_refused() {
    let test = "sqlite::full::read_only_file_is_refused";
    let Some(folder) = inside(test, "mount -t tmpfs -o mode=0700 tmpfs \"$FOLDER\"") else { return };
    let rig = on(&folder).with("dev");
    rig.close();
    drop(rig);
    let file = database(&folder);
    let mount = |options: &str| {
        let mut command = Process::new("mount");
        command.args(["-o", options]).args(options.starts_with("bind").then_some(&file)).arg(&file);
        assert!(command.status().unwrap().success());
    };
    mount("bind");
    mount("remount,ro,bind");
    let before = std::fs::read(&file).unwrap();
    let error = refusal(&options(&folder));
    assert!(matches!(error, OpenError::Engine { .. }) && error.to_string().contains("permissions"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn disk_that_fills_in_the_middle_of_a_batch_sinks_all_of_it_and_no_more() {
    let test = "sqlite::full::disk_that_fills_in_the_middle_of_a_batch_sinks_all_of_it_and_no_more";
    let Some(folder) = inside(test, "mount -t tmpfs -o mode=0700,size=16m tmpfs \"$FOLDER\"") else { return };
    let rig = on_with(clock(), Options { decide: gated, ..options(&folder) }).with("dev");
    let token = rig.lease("dev/app", "s");
    let (before, events) = (server(&folder, "seq"), rig.revision());
    let store = rig.engine().store();
    let gate = stop_at_gate(store);
    let first = store.submit(acquire("dev/first", "s", false));
    // More than the page cache holds: it spills to the disk before the commit, and the engine rolls all of it back.
    let pieces: Vec<_> = (0..300).map(|n| store.stage(BodyId([1; 16]), DataKeyId::default(), n, vec![1; 256 * 1024])).collect();
    let last: Vec<_> = (0..50).map(|n| store.submit(acquire(&format!("dev/last{n}"), "s", false))).collect();
    open_gate();
    let sunk = |answer: Result<(), StoreError>| assert!(matches!(answer, Err(StoreError::Full)), "{answer:?}");
    rig.wait(gate).unwrap().unwrap();
    sunk(rig.wait(first).map(drop));
    pieces.into_iter().for_each(|piece| sunk(rig.wait(piece)));
    last.into_iter().for_each(|last| sunk(rig.wait(last).map(drop)));
    assert_eq!((server(&folder, "seq") - before, rig.revision() - events), (1, 1), "the gate was committed, and nothing else");
    for n in 0..50 {
        assert_eq!(rig.lock(&format!("dev/last{n}")).last_token.0, 0, "nothing ran outside the transaction");
    }
    rig.renew("dev/app", "s", token);
    assert_eq!(rig.chunk(BodyId([1; 16]), 0), None);
}

#[test]
fn reads_are_recorded_on_a_full_disk_from_the_reserve_or_refused() {
    let test = "sqlite::full::reads_are_recorded_on_a_full_disk_from_the_reserve_or_refused";
    let Some(folder) = inside(test, "mount -t tmpfs -o mode=0700,size=8m tmpfs \"$FOLDER\"") else { return };
    let reserve = || std::fs::metadata(folder.join("audit.reserve")).map_or(0, |about| about.len());
    let rig = on_with(clock(), Options { audit_reserve: 1 << 20, ..options(&folder) }).with("dev");
    let token = rig.lease("dev/app", "s");
    ballast(&folder);
    fill(&rig, token);
    exhaust(&rig, &folder);
    let (rows, before) = (audit(&rig), remaining(&rig));
    assert_eq!(reserve(), 1 << 20, "writes that find no room do not touch it");
    // Refusals have no part of it: who is refused could use it up.
    assert_eq!(rig.try_submit(audits(AuditAct::Record(vec![Entry::new(Deed::Denied, "dev/app")]))), Err(StoreError::Full));
    assert_eq!(reserve(), 1 << 20);
    let read = || rig.try_submit(audits(AuditAct::Read(Box::new(Entry::new(Deed::Read, "dev/app")))));
    let mut recorded = 0;
    let refused = loop {
        match read() {
            Ok(reply) => drop(reply.unwrap()),
            Err(error) => break error,
        }
        recorded += 1;
        assert_eq!((audit(&rig), reserve()), (rows + recorded, 0), "it is there before anything leaves");
        if recorded % 50 == 1 {
            // Nothing else finds room in what is given up, and time that nobody could renew in does not count.
            rig.engine().clock().advance(Duration::from_millis(10));
            rig.engine().tick();
            assert!(matches!(rig.try_submit(renew("dev/app", "s", token)), Err(StoreError::Full)));
            assert!(matches!(rig.try_submit(acquire("dev/other", "s", false)), Err(StoreError::Full)));
            rig.try_submit(audits(AuditAct::Checkpoint(Checkpoint { n: rows + recorded, text: "sealed".to_owned() })))
                .unwrap()
                .unwrap();
        }
    };
    assert_eq!(refused, StoreError::Full, "what cannot be recorded is not read");
    assert!(recorded >= 200, "the reserve is good for {recorded} reads");
    assert_eq!(audit(&rig), rows + recorded, "a refused one left nothing");
    rig.engine().clock().advance(Duration::from_secs(300));
    assert!(read().is_err());
    assert!(before - remaining(&rig) <= Duration::from_secs(2), "five minutes with nothing but reads count for two seconds");
    std::fs::remove_file(folder.join("ballast")).unwrap();
    rig.engine().clock().advance(Duration::from_secs(1));
    rig.renew("dev/app", "s", token);
    assert_eq!(reserve(), 1 << 20, "it is there again");
    read().unwrap().unwrap();
    assert_eq!((audit(&rig), reserve()), (rows + recorded + 1, 1 << 20));
    drop(rig);
    let rig = on(&folder);
    assert_eq!(audit(&rig), rows + recorded + 1);
    println!("{recorded} reads were recorded on 1 MiB");
}

fn audits(act: AuditAct) -> Command {
    crate::commands::command(Act::Store(Box::new(StoreAct::Audit(act))))
}

/// How many rows the audit has.
fn audit(rig: &Rig<OnDisk>) -> u64 {
    match rig.select(Query::Audit { after: 0, limit: usize::MAX }) {
        leasehold::store::Rows::Audit(rows) => {
            let count = rows.len() as u64;
            assert!(rows.into_iter().map(|(n, _)| n).eq(1..=count), "no number is left out by what was rolled back");
            count
        }
        other => panic!("{other:?}"),
    }
}
