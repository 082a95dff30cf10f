//! A large state.

use std::fmt::Write;

use super::seen::{current, document};
use super::work::{Tool, Work};
use crate::rig::{Server, TIGHT, number};

with_each_tool!(large_state_is_written_read_and_changed);

const STATE: &str = "dev/app";
/// How much of text each of its resources has; the state has it twice.
const PIECE: usize = 500_000;

fn large_state_is_written_read_and_changed(tool: &Tool) {
    let megabytes = number("LEASEHOLD_STATE_MB", 1);
    let count = (megabytes * 1_000_000).div_ceil(2 * PIECE);
    let server = Server::start(TIGHT);
    let work = Work::new(
        tool,
        &server,
        STATE,
        &format!("resource \"terraform_data\" \"large\" {{\n  count = {count}\n  input = file(\"text-${{count.index}}\")\n}}\n"),
    );
    for n in 0..count {
        work.write(&format!("text-{n}"), &text(n));
    }
    work.ok(&["apply", "-auto-approve"]);
    let written = document(&server, STATE);
    assert!(written.len() > megabytes * 1_000_000, "{}", written.len());
    assert!(work.ok(&["state", "pull"]) == written + "\n");
    assert_eq!(work.run(&["plan", "-detailed-exitcode"]).code, 0);
    work.write("text-0", "short");
    work.ok(&["apply", "-auto-approve"]);
    assert_eq!((current(&server, STATE).number, current(&server, STATE).serial), (2, 2));
    assert!(work.ok(&["state", "pull"]) == document(&server, STATE) + "\n");
}

/// Lines as a resource may have them.
fn text(n: usize) -> String {
    let mut text = String::with_capacity(PIECE + 64);
    let mut line = n as u64;
    while text.len() < PIECE {
        line = line.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        writeln!(text, "10.{}.{}.0/24 route \"{}\" <up>", line >> 56, line >> 48 & 255, line >> 40 & 1023).unwrap();
    }
    text
}
