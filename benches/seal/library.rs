//! The parts of a write and a read by themselves, on one thread.

use std::collections::HashSet;
use std::hint::black_box;
use std::time::{Duration, Instant};

use leasehold::domain::format::{Format, inspect};
use leasehold::domain::ids::{DataKeyId, EnvironmentId, StateId, Token, Version};
use leasehold::secrets::data_key::DataKey;
use leasehold::secrets::find::{Search, find};
use leasehold::secrets::path::Path;
use leasehold::secrets::seal::cut::{cut, join};
use leasehold::secrets::seal::mac::{Subject, VersionMac, mac};
use leasehold::secrets::seal::opener::{Fed, HeadOpener, Opened};
use leasehold::secrets::seal::skeleton::{Body, seal_skeleton};
use leasehold::secrets::seal::value::{open_value, seal_value};
use leasehold::secrets::seal::{Binding, Holder, SealingKeys};
use leasehold::secrets::view::redacted::masks_of;

use super::documents::{Secrets, state};
use super::print;

const BINDING: Binding = Binding { environment: EnvironmentId([1; 16]), state: StateId([2; 16]) };
const BODY: Body = Body { binding: BINDING, holder: Holder::Version(Version(1)), base: None };
const SUBJECT: Subject = Subject {
    binding: BINDING,
    holder: BODY.holder,
    previous_etag: None,
    token: Token(1),
    format: Format::Terraform,
    rules: (1, 0),
};

pub(crate) fn run(rounds: usize) {
    let keys = SealingKeys::derive(&DataKey::new(DataKeyId([3; 16]), &[4; 32]));
    for (name, document) in
        [("secrets", state(10 << 20, 1_000, Secrets::Short, 1)), ("keys", state(1 << 20, 1_000, Secrets::Pem, 1))]
    {
        let (document, none) = (document.as_bytes(), HashSet::new());
        let row = |what: &str, took: &mut [Duration]| print(&format!("{what} document={name}"), document.len(), took);
        row("inspect", &mut times(rounds, || inspect(document, None).unwrap()));
        let search = Search::new(Format::Terraform, &[], &none);
        row("find", &mut times(rounds, || find(document, &search).unwrap()));
        let holes = find(document, &search).unwrap().holes;
        let before: HashSet<Path> = holes.iter().map(|hole| hole.path.clone()).collect();
        let search = Search::new(Format::Terraform, &[], &before);
        row("find_again", &mut times(rounds, || find(document, &search).unwrap()));
        row("digest", &mut times(rounds, || keys.document_digest(document)));

        let seal = || {
            let parts = cut(document, &holes).unwrap();
            let values = holes.iter().zip(&parts.tokens);
            let values = values.map(|(hole, token)| seal_value(&keys, &BINDING, hole.kind, &hole.path, token.bytes).unwrap());
            let values: Vec<_> = values.collect();
            let ordinals: Vec<u32> = (0..values.len() as u32).collect();
            let head = parts.head(holes.clone(), &ordinals, false);
            let mac = mac(&keys, &SUBJECT, &head.encode(), &values, &parts.text);
            let pieces = seal_skeleton(&keys, &BODY, &head, &parts.text).unwrap();
            (pieces, values, mac)
        };
        row("seal", &mut times(rounds, seal));
        let (pieces, values, mac) = seal();
        let open = || {
            let (opened, text) = open_pieces(&keys, &pieces);
            let mut check = VersionMac::new(&keys, &SUBJECT, &opened.encoded, &values);
            check.text(&text);
            check.verify(&mac).unwrap();
            (opened.head, text)
        };
        row(
            "redact",
            &mut times(rounds, || {
                let (head, text) = open();
                join(&text, &head.holes, &masks_of(&text, &head.holes))
            }),
        );
        let whole = || {
            let (head, text) = open();
            let tokens = head.holes.iter().zip(&values);
            let tokens = tokens.map(|(hole, value)| open_value(&keys, &BINDING, hole.kind, &hole.path, value).unwrap());
            join(&text, &head.holes, &tokens.collect::<Vec<_>>())
        };
        assert!(whole() == document, "another document");
        row("open", &mut times(rounds, whole));
        println!("leasehold places document={name} sealed={} stored={}", holes.len(), pieces.iter().map(Vec::len).sum::<usize>());
    }
}

fn open_pieces(keys: &SealingKeys, pieces: &[Vec<u8>]) -> (Opened, Vec<u8>) {
    let mut pieces = pieces.iter().cloned();
    let mut opener = HeadOpener::new(keys, &BODY);
    let mut opened = loop {
        match opener.feed(pieces.next().unwrap()).unwrap() {
            Fed::More(next) => opener = next,
            Fed::Open(opened) => break opened,
        }
    };
    let mut text = Vec::with_capacity(usize::try_from(opened.head.text_size).unwrap());
    for piece in pieces {
        let mut put = |part: &[u8]| {
            text.extend_from_slice(part);
            true
        };
        opened.text.feed(piece, &mut put).unwrap();
    }
    (opened, text)
}

fn times<T>(rounds: usize, mut one: impl FnMut() -> T) -> Vec<Duration> {
    let one = |_| {
        let began = Instant::now();
        black_box(one());
        began.elapsed()
    };
    (0..rounds).map(one).collect()
}
