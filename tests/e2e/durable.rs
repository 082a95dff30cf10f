//! Between each commit's write to the log and the reply that goes out for it there is a sync of the log.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use leasehold::client::{Ask, PushAsk, Source};

use crate::rig::{Server, TIGHT};
use crate::shim::{Kind, Op, Shim};

const LOG: &str = "leasehold.db-wal";

/// Whether, within one call, the log was written, then a sync of it begun and ended, and only then the last bytes sent.
///
/// Calls follow each other, so what is sent last within one is its reply; a log that another commit (the beat) has begun to write
/// meanwhile does not count against it.
fn synced(call: &[Op]) -> bool {
    let is_log = |op: &&(usize, &Op)| op.1.file == LOG;
    let ops = || call.iter().enumerate();
    let Some((reply, _)) = ops().rfind(|(_, op)| op.kind == Kind::Send) else { return false };
    let Some((written, _)) = ops().filter(|op| is_log(&op)).find(|(_, op)| matches!(op.kind, Kind::Write { .. })) else {
        return false;
    };
    let mut later = ops().filter(|op| is_log(&op)).skip_while(|(n, _)| *n < written);
    let Some((_, begun)) = later.find(|(_, op)| op.kind == Kind::SyncBegins) else { return false };
    later.any(|(n, op)| op.kind == Kind::SyncEnded && op.thread == begun.thread && n < reply)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reply_leaves_only_after_a_sync_of_the_log() {
    let Some(shim) = Shim::recorder("reply_leaves_only_after_a_sync_of_the_log") else { return };
    let mut server = Server::stopped(TIGHT);
    let record = server.file("record.log");
    let data = server.data();
    server.start_as(|command| shim.record(command, &data, &record));
    let client = server.client();
    let here = || usize::try_from(std::fs::metadata(&record).unwrap().len()).unwrap();
    let mut calls: Vec<(&str, Range<usize>)> = Vec::new();
    let mut begin = here();
    let mut called = |what: &'static str| {
        let end = here();
        calls.push((what, begin..end));
        begin = end;
    };
    for n in 0..40 {
        let ask = Ask { ttl: Some(Duration::from_secs(60)), ..Ask::exclusive("dev/app", format!("session-{n}")) };
        called("between");
        let grant = client.acquire(&ask, |_| ()).await.unwrap();
        called("acquire");
        let lease = &grant.reference;
        client.renew(lease, None).await.unwrap();
        called("renew");
        let size = if n % 4 == 0 { 400_000 } else { 100 };
        let document = Source::from_bytes(format!("{{\"n\": {n}, \"text\": \"{}\"}}", "x".repeat(size)));
        client.push(lease, &PushAsk::default(), &document, |_| ()).await.unwrap();
        called("push");
        client.release(lease, false).await.unwrap();
        called("release");
    }
    server.kill();

    let ops = crate::shim::read(&record);
    let starts = starts(&record);
    assert_eq!(ops.len(), starts.len());
    let within = |range: &Range<usize>| -> Vec<Op> {
        ops.iter().zip(&starts).filter(|(_, start)| range.contains(start)).map(|(op, _)| op.clone()).collect()
    };
    let mut judged = 0;
    for (what, range) in calls.iter().filter(|(what, _)| *what != "between") {
        let call = within(range);
        assert!(synced(&call), "{what} was answered before its sync: {:?}", call.iter().map(short).collect::<Vec<_>>());
        let without: Vec<Op> = call.into_iter().filter(|op| op.kind != Kind::SyncEnded).collect();
        assert!(!synced(&without), "the judge must miss a sync");
        judged += 1;
    }
    assert_eq!(judged, 160);
}

/// Where each record begins: its line ends with the length of what follows, and a thread.
fn starts(record: &Path) -> Vec<usize> {
    let data = std::fs::read(record).unwrap();
    let (mut starts, mut at) = (Vec::new(), 0);
    while at < data.len() {
        starts.push(at);
        let end = at + data[at..].iter().position(|byte| *byte == b'\n').unwrap();
        let length = std::str::from_utf8(&data[at..end]).unwrap().rsplit(' ').nth(1).unwrap();
        at = end + 1 + length.parse::<usize>().unwrap();
    }
    starts
}

fn short(op: &Op) -> String {
    let kind = match &op.kind {
        Kind::Write { bytes, .. } => format!("write {}", bytes.len()),
        other => format!("{other:?}"),
    };
    format!("{kind} {}", op.file)
}
