//! A document that is one string of 300 MB. Nobody has it in memory here: it is written, sent and compared in pieces.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use leasehold::secrets::view::redacted::MARK;
use rusqlite::Connection;

use crate::memory::peak;
use crate::process::end;
use crate::rig::{Server, TIGHT, post};

const SIZE: u64 = 300_000_000;
const BEFORE: &[u8] = b"{\"password\": \"";
const AFTER: &[u8] = b"\"}\n";
/// What the string is made of: as long as no power of two, so that no two pieces of what is sent are alike.
const LINE: &[u8] = b"never-told-xxxxxxxxxxxxxxxxxxxxxxxxxxxx";

fn write_document(file: &Path) {
    let mut out = std::io::BufWriter::new(File::create(file).unwrap());
    out.write_all(BEFORE).unwrap();
    let mut left = SIZE;
    while left > 0 {
        let part = left.min(LINE.len() as u64);
        out.write_all(&LINE[..part as usize]).unwrap();
        left -= part;
    }
    out.write_all(AFTER).unwrap();
    out.flush().unwrap();
}

fn length(file: &Path) -> u64 {
    file.metadata().unwrap().len()
}

/// How many rows there are of everything that a document leaves behind.
fn rows(server: &Server) -> Vec<(&'static str, u64)> {
    let db = Connection::open(server.data().join("leasehold.db")).unwrap();
    let count = |table| {
        let sql = format!("SELECT count(*) FROM {table}");
        (table, db.query_row(&sql, [], |row| row.get(0)).unwrap())
    };
    ["version", "draft", "chunk", "value", "staged", "data_key", "ground"].map(count).to_vec()
}

#[test]
fn string_of_300_mb_is_refused_and_costs_nothing() {
    let mut server = Server::start(TIGHT);
    let (file, small) = (server.file("large"), server.file("small"));
    write_document(&file);
    // Connections, threads and caches of the store are there after this.
    std::fs::write(&small, [BEFORE, LINE, AFTER].concat()).unwrap();
    server.ok(&["state", "push", "dev/small", small.to_str().unwrap()]);
    let answer = post(&server, "dev/large", length(&small), File::open(&small).unwrap());
    assert!(answer.contains("DOCUMENT_INVALID"), "it is no Terraform state: {answer}");
    let (before, stored) = (peak(server.pid()), rows(&server));

    let refused = end(&mut server.leasehold(&["state", "push", "dev/large", file.to_str().unwrap()]));
    refused.fails_with(3, "[DOCUMENT_TOO_LARGE]", "raise `max_document`");
    assert!(refused.err.contains(&(SIZE as usize + BEFORE.len() + AFTER.len()).to_string()), "{}", refused.err);
    let answer = post(&server, "dev/large", length(&file), File::open(&file).unwrap());
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("DOCUMENT_TOO_LARGE"), "{answer}");
    for told in [&refused.err, &answer, &server.logged()] {
        assert!(!told.contains("never-told"), "{told}");
    }

    let after = peak(server.pid());
    println!("{before} bytes before, {after} after");
    assert!(after <= before + (8 << 20), "{before} bytes before, {after} after");
    let listed = server.ok(&["state", "list", "dev", "--deleted", "--output", "json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    server.stop();
    assert_eq!(rows(&server), stored, "nothing was written");
}

#[test]
#[ignore = "it takes 1 GB of memory, and minutes where nothing is optimised: `.ci/nightly` has them"]
fn string_of_300_mb_comes_back_to_the_last_byte_where_it_is_allowed() {
    let server = Server::start(&format!("max_document = {}\nmax_in_flight = {}\n{TIGHT}", SIZE + 1000, 2 * SIZE));
    let (file, back) = (server.file("large"), server.file("back"));
    write_document(&file);
    let began = crate::rig::now();
    server.ok(&["state", "push", "dev/large", file.to_str().unwrap()]);
    let pushed = (began.elapsed(), peak(server.pid()));
    server.ok(&["state", "pull", "dev/large", "--to", back.to_str().unwrap()]);
    let pulled = (began.elapsed(), peak(server.pid()));
    println!("pushed after {:?}, peak {} MiB; read after {:?}, peak {} MiB", pushed.0, pushed.1 >> 20, pulled.0, pulled.1 >> 20);
    assert!(is_same(&file, &back), "other bytes came back");
    assert!(pulled.1 <= (64 << 20) + 6 * SIZE, "peak of {} bytes", pulled.1);
    // All of it is one secret.
    let redacted = server.ok(&["state", "pull", "dev/large", "--view", "redacted"]).out;
    assert_eq!(redacted, format!("{{\"password\": \"{MARK}\"}}\n"));
}

fn is_same(one: &Path, other: &Path) -> bool {
    let [mut one, mut other] = [one, other].map(|file| BufReader::with_capacity(1 << 20, File::open(file).unwrap()));
    loop {
        let (left, right) = (one.fill_buf().unwrap(), other.fill_buf().unwrap());
        let length = left.len().min(right.len());
        if length == 0 {
            return left.len() == right.len();
        }
        if left[..length] != right[..length] {
            return false;
        }
        one.consume(length);
        other.consume(length);
    }
}
