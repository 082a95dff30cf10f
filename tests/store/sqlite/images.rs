//! Disks as a crash may leave them: what was synced is there, the rest is there, missing or torn.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::write_private;
use crate::shim::{Kind, Op};

/// What a disk may do with writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    Nothing,
    Everything,
    /// Each on its own.
    Some,
    /// Each sector of 512 bytes on its own.
    Torn,
}

/// A small generator (splitmix64), so that a seed tells all.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

/// Files as the record made them.
#[derive(Default)]
pub(crate) struct Disk {
    /// By name, with changes of names that were not synced to come after.
    names: BTreeMap<String, usize>,
    renames: Vec<Rename>,
    files: Vec<File>,
    /// Syncs under way: thread and file, and how much was pending when they began.
    syncs: HashMap<(u64, String), usize>,
}

struct Rename {
    from: String,
    /// None: removed.
    to: Option<String>,
}

#[derive(Default)]
struct File {
    durable: Vec<u8>,
    pending: Vec<Kind>,
}

impl Disk {
    pub(crate) fn apply(&mut self, op: &Op) {
        let sync = (op.thread, op.file.clone());
        match &op.kind {
            Kind::Write { .. } | Kind::Truncate { .. } => {
                let file = self.file(&op.file);
                self.files[file].pending.push(op.kind.clone());
            }
            Kind::SyncBegins => {
                let pending = self.seen(&op.file).map_or(self.renames.len(), |file| self.files[file].pending.len());
                self.syncs.insert(sync, pending);
            }
            Kind::SyncEnded => {
                let pending = self.syncs.remove(&sync).unwrap_or(0);
                match self.seen(&op.file) {
                    Some(file) => self.files[file].settle(pending),
                    // The folder itself.
                    None => settle(&mut self.names, self.renames.drain(..pending.min(self.renames.len()))),
                }
            }
            Kind::Rename(to) => self.renames.push(Rename { from: op.file.clone(), to: Some(to.clone()) }),
            Kind::Remove => self.renames.push(Rename { from: op.file.clone(), to: None }),
            Kind::Send => {}
        }
    }

    /// Writes the files as a crash now may leave them, except `skip`.
    pub(crate) fn image(&self, folder: &Path, loss: Loss, random: &mut Random, skip: &str) {
        let mut names = self.names.clone();
        // Changes of names come in order, as journals keep them.
        let kept = match loss {
            Loss::Nothing => self.renames.len(),
            Loss::Everything => 0,
            Loss::Some | Loss::Torn => random.below(self.renames.len() + 1),
        };
        settle(&mut names, self.renames[..kept].iter().map(|Rename { from, to }| Rename { from: from.clone(), to: to.clone() }));
        for (name, file) in names.iter().filter(|(name, _)| *name != skip) {
            let file = &self.files[*file];
            let mut bytes = file.durable.clone();
            for change in &file.pending {
                match loss {
                    Loss::Nothing => put(&mut bytes, change),
                    Loss::Everything => {}
                    Loss::Torn if matches!(change, Kind::Write { .. }) => tear(&mut bytes, change, random),
                    Loss::Some | Loss::Torn => {
                        if random.coin() {
                            put(&mut bytes, change);
                        }
                    }
                }
            }
            write_private(&folder.join(name), bytes);
        }
    }

    /// The file that a process sees under a name.
    fn seen(&self, name: &str) -> Option<usize> {
        let mut names = self.names.clone();
        settle(&mut names, self.renames.iter().map(|Rename { from, to }| Rename { from: from.clone(), to: to.clone() }));
        names.get(name).copied()
    }

    fn file(&mut self, name: &str) -> usize {
        if let Some(file) = self.seen(name) {
            return file;
        }
        // A file made anew under a name whose removal is not synced: the folder is taken as synced, since names alone lose nothing.
        let renames = std::mem::take(&mut self.renames);
        settle(&mut self.names, renames.into_iter());
        self.files.push(File::default());
        self.names.insert(name.to_owned(), self.files.len() - 1);
        self.files.len() - 1
    }
}

impl File {
    fn settle(&mut self, pending: usize) {
        for change in self.pending.drain(..pending.min(self.pending.len())) {
            put(&mut self.durable, &change);
        }
    }
}

fn settle(names: &mut BTreeMap<String, usize>, renames: impl Iterator<Item = Rename>) {
    for Rename { from, to } in renames {
        if let (Some(file), Some(to)) = (names.remove(&from), to) {
            names.insert(to, file);
        }
    }
}

fn put(bytes: &mut Vec<u8>, change: &Kind) {
    match change {
        Kind::Write { at, bytes: new } => put_at(bytes, *at as usize, new),
        Kind::Truncate { to } => bytes.resize(*to as usize, 0),
        _ => {}
    }
}

fn put_at(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    if bytes.len() < at + new.len() {
        bytes.resize(at + new.len(), 0);
    }
    bytes[at..at + new.len()].copy_from_slice(new);
}

fn tear(bytes: &mut Vec<u8>, change: &Kind, random: &mut Random) {
    let Kind::Write { at, bytes: new } = change else { return };
    let (mut from, end) = (*at as usize, *at as usize + new.len());
    while from < end {
        let to = ((from / 512 + 1) * 512).min(end);
        if random.coin() {
            put_at(bytes, from, &new[from - *at as usize..to - *at as usize]);
        }
        from = to;
    }
}
