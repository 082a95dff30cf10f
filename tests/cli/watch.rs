//! Events for programs: one object a line.

use crate::fake::{FENCE, FakeServer};
use crate::process::end;

#[test]
fn events_are_one_json_object_a_line() {
    let server = FakeServer::start();
    let ended = end(&mut server.leasehold(&["watch", "dev", "--output", "json"]));
    assert_eq!(ended.code, 3, "{}", ended.err);
    let lines: Vec<serde_json::Value> = ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["mark"]["cursor"], "h.1");
    let event = &lines[1]["event"];
    assert_eq!((event["kind"].as_str(), event["cursor"].as_str()), (Some("version_written"), Some("h.2")));
    assert_eq!(event["token"], FENCE.to_string());
}
