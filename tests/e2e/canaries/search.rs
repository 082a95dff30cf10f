//! The search: what is looked for, in which forms, and where a server has left it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use leasehold::service::offline::{Archive, Opener};
use leasehold::store::Document;
use leasehold::store::sqlite::Offline;

/// What must be nowhere, by what it is called.
pub(crate) struct Needles {
    names: Vec<String>,
    patterns: AhoCorasick,
    /// Those that a reader of outputs gets to see: they are secrets of outputs.
    told: BTreeSet<usize>,
}

/// One secret: a name for people, and what of it stands in every textual form, because nothing escapes it.
pub(crate) struct Planted {
    pub(crate) name: String,
    pub(crate) core: String,
    pub(crate) is_output: bool,
}

impl Needles {
    /// Each in the clear, and what every alignment of base64 has of it, without its ends.
    pub(crate) fn of(planted: &[Planted]) -> Self {
        let (mut names, mut patterns, mut told) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut add = |name: String, bytes: Vec<u8>, is_output: bool| {
            assert!(bytes.len() >= 6, "{name} would be found by chance");
            // Both kinds of base64 are often the same.
            if patterns.last() == Some(&bytes) {
                return;
            }
            if is_output {
                told.insert(names.len());
            }
            names.push(name);
            patterns.push(bytes);
        };
        for Planted { name, core, is_output } in planted {
            add(format!("{name} in the clear"), core.as_bytes().to_vec(), *is_output);
            for shift in 0..3 {
                let shifted = [&b"..."[..shift], core.as_bytes()].concat();
                for (form, engine) in [("base64", &STANDARD), ("base64url", &URL_SAFE_NO_PAD)] {
                    let encoded = engine.encode(&shifted);
                    let inner = encoded.as_bytes()[4..encoded.len() - 4].to_vec();
                    add(format!("{name} in {form}, shifted by {shift}"), inner, *is_output);
                }
            }
        }
        Self { names, patterns: AhoCorasick::new(patterns).unwrap(), told }
    }

    /// Which of them are where they must not be, also inside what is packed there.
    pub(crate) fn found(&self, place: &str, text: &[u8]) -> Vec<String> {
        let mut hits = self.hits(text);
        hits.extend(unpacked(text).iter().flat_map(|inner| self.hits(inner)));
        hits.into_iter().map(|hit| format!("{place}: {}", self.names[hit])).collect()
    }

    /// The same for what a reader of outputs is told.
    pub(crate) fn found_beside_outputs(&self, place: &str, text: &[u8]) -> Vec<String> {
        let hits = self.hits(text).into_iter().filter(|hit| !self.told.contains(hit));
        hits.map(|hit| format!("{place}: {}", self.names[hit])).collect()
    }

    /// Those that a text has in no form: none, if it is all that was written.
    pub(crate) fn missing(&self, planted: &[Planted], written: &[u8]) -> Vec<String> {
        let found = self.found("", written);
        let stands = |name: &str| found.iter().any(|hit| hit.starts_with(&format!(": {name} in ")));
        planted.iter().map(|planted| planted.name.clone()).filter(|name| !stands(name)).collect()
    }

    fn hits(&self, text: &[u8]) -> BTreeSet<usize> {
        self.patterns.find_overlapping_iter(text).map(|hit| hit.pattern().as_usize()).collect()
    }
}

/// What stands in a text as base64 of gzip: the contents of each such run.
fn unpacked(text: &[u8]) -> Vec<Vec<u8>> {
    /// How the base64 of everything begins that gzip makes.
    const BEGINS: &[u8] = b"H4sI";
    let in_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let run = |at: usize| {
        let run: Vec<u8> = text[at..].iter().copied().take_while(in_base64).collect();
        let engine =
            if run.contains(&b'-') || run.contains(&b'_') { URL_SAFE_NO_PAD } else { base64::prelude::BASE64_STANDARD_NO_PAD };
        let mut inner = Vec::new();
        flate2::read::GzDecoder::new(engine.decode(run).ok()?.as_slice()).read_to_end(&mut inner).ok()?;
        Some(inner)
    };
    memchr::memmem::find_iter(text, BEGINS).filter_map(run).collect()
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found
}

/// The skeletons of all documents, opened with the master key: texts and tables of holes. Also every document, for the test of the test.
pub(crate) fn opened(folder: &Path, file: &Path, scratch: &Path) -> (BTreeMap<String, Vec<u8>>, Vec<u8>) {
    let opener = Opener::master(&folder.join("master.key")).unwrap_or_else(|error| panic!("{error}"));
    let database = Offline::copy_of(file, scratch).unwrap();
    let archive = Archive::open(&database, &opener).unwrap();
    let (mut skeletons, mut whole) = (BTreeMap::new(), Vec::new());
    for name in database.names().unwrap() {
        let versions = database.versions(&name).unwrap().into_iter().map(|(_, version)| Document::Version(version.unwrap()));
        let drafts = database.drafts(&name).unwrap().into_iter().map(|draft| Document::Draft(draft.unwrap()));
        for document in versions.chain(drafts) {
            let place = match &document {
                Document::Version(version) if version.body.is_none() => continue,
                Document::Version(version) => format!("{}/{} version {}", name.environment, name.path, version.version),
                Document::Draft(draft) => format!("{}/{} draft {}", name.environment, name.path, draft.id),
            };
            let contents = archive.contents(&name, &document).unwrap_or_else(|error| panic!("{place}: {error}"));
            skeletons.insert(format!("the text of {place}"), contents.text);
            skeletons.insert(format!("the holes of {place}"), contents.head);
            whole.extend_from_slice(&contents.document);
        }
    }
    (skeletons, whole)
}
