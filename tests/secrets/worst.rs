//! The largest documents of the worst kinds: searching them takes memory and time in proportion to their size, and no more.
//!
//! Each is searched in a process of its own, which tells the most memory that it had. Time is that on the processor, of a document and of one
//! with an eighth of its size in the same process, so it holds on a busy machine too. `LEASEHOLD_WORST_MB`: how large (2; nightly 64).
#![expect(clippy::disallowed_methods, reason = "a test reads its own settings")]

use std::collections::HashSet;
use std::fmt::Write;
use std::fs;
use std::process::Command;

use base64::{Engine, engine::general_purpose::STANDARD};
use leasehold::domain::format::Format;
use leasehold::secrets::find::{Search, find};

const CHILD: &str = "LEASEHOLD_TEST_WORST";
/// Beside six times the document: the process itself, and what a search takes at any size.
const ROOM: usize = 64 << 20;

/// What a document repeats, for its `n`th time.
type Repeated = fn(&mut String, usize);

/// Name, format, what it begins with, what it repeats with commas between, and what it ends with.
const KINDS: [(&str, Format, &str, Repeated, &str); 9] = [
    ("numbers", Format::Json, r#"{"password":"canary-of-the-worst","a":["#, |out, _| out.push('0'), "]}"),
    ("empty strings", Format::Json, r#"{"password":"canary-of-the-worst","a":["#, |out, _| out.push_str("\"\""), "]}"),
    ("keys", Format::Json, "{", |out, n| write!(out, "\"{n:x}\":0").unwrap(), "}"),
    ("secrets", Format::Json, "{\"a\":[", |out, n| write!(out, r#"{{"password":"aaaaaaaaaaaaaaaa{n:08}"}}"#).unwrap(), "]}"),
    (
        "near misses",
        Format::Json,
        r#"{"password":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab","a":["#,
        |out, _| out.push_str("\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""),
        "]}",
    ),
    ("nests", Format::Json, "[", |out, _| out.extend(["[".repeat(90), "]".repeat(90)]), "]"),
    (
        "escapes",
        Format::Json,
        r#"{"password":"canary-of-the-worst","a":["#,
        |out, _| out.extend(["\"", &r"\u0061%2525\\".repeat(100), "\""]),
        "]}",
    ),
    (
        "layers",
        Format::Json,
        r#"{"password":"canary-of-the-worst","a":["#,
        |out, n| {
            let layers = (0..4).fold(format!("text number {n} that is wrapped"), |text, _| STANDARD.encode(text));
            write!(out, "\"{layers}\"").unwrap();
        },
        "]}",
    ),
    (
        "marks",
        Format::Terraform,
        r#"{"version":4,"serial":1,"lineage":"l","outputs":{},"resources":["#,
        |out, n| {
            let instance = r#"{"schema_version":0,"attributes":{"a":{"b":"marked-VALUE"}},"sensitive_attributes":[[{"type":"get_attr","value":"a"},{"type":"get_attr","value":"b"}]]}"#;
            write!(
                out,
                r#"{{"mode":"managed","type":"t","name":"n{n}","provider":"p","instances":[{}]}}"#,
                instance.replace("VALUE", &n.to_string())
            )
            .unwrap();
        },
        "]}",
    ),
];

#[test]
fn worst_documents_take_memory_and_time_in_proportion_to_their_size() {
    let megabytes = std::env::var("LEASEHOLD_WORST_MB").ok().map_or(2, |text| text.parse().expect("a number"));
    let mut failed = Vec::new();
    for (kind, ..) in KINDS {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "worst::searched_alone", "--nocapture"])
            .env(CHILD, format!("{kind} {megabytes}"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout).into_owned();
        let told = said.lines().find_map(|line| line.split_once("WORST ")).map(|(_, told)| told);
        let told = told.unwrap_or_else(|| panic!("{kind}: {said}{}", String::from_utf8_lossy(&child.stderr)));
        let numbers: Vec<usize> = told.split(' ').map(|number| number.parse().unwrap()).collect();
        let [size, peak, small, large] = numbers[..] else { panic!("{told}") };
        println!("{kind}: {size} bytes, peak {peak}, {} µs for an eighth, {} µs for all", small / 1000, large / 1000);
        if peak > ROOM + 6 * size {
            failed.push(format!("{kind} takes {peak} bytes of memory for {size}"));
        }
        // Eight times as much, with room for caches that are too small. What is quadratic takes 64 times as much.
        if large > 24 * small.max(5_000_000) {
            failed.push(format!("{kind} takes {large} ns for all and {small} for an eighth"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Not a test of its own: memory is told of a whole process.
#[test]
#[ignore = "the child process of another test"]
fn searched_alone() {
    let Some(asked) = std::env::var_os(CHILD) else { return };
    let (kind, megabytes) = asked.to_str().unwrap().rsplit_once(' ').unwrap();
    let (_, format, begin, repeated, end) = KINDS.into_iter().find(|(name, ..)| *name == kind).unwrap();
    let size = megabytes.parse::<usize>().unwrap() << 20;
    let mut took = [0, 0];
    for (part, took) in [8, 1].into_iter().zip(&mut took) {
        let mut document = String::with_capacity(size / part + 1024);
        document.push_str(begin);
        for n in 0.. {
            if document.len() + end.len() >= size / part {
                break;
            }
            if n > 0 {
                document.push(',');
            }
            repeated(&mut document, n);
        }
        document.push_str(end);
        let before = on_processor();
        let found = find(document.as_bytes(), &Search::new(format, &[], &HashSet::new())).unwrap();
        *took = on_processor() - before;
        drop(found);
    }
    println!("\nWORST {size} {} {} {}", peak(), took[0], took[1]);
}

/// Nanoseconds of this thread.
fn on_processor() -> usize {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}

/// The most memory that the process ever had.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}
