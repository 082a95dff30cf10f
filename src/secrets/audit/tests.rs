use super::*;

const HISTORY: &str = "00000000000000000000000000000007";

fn signer() -> AuditSigner {
    AuditSigner::from_seed(&[7; 32])
}

fn entry(n: u64) -> String {
    format!(
        r#"{{"n":{n},"at":{},"who":"token:ci-{}","verb":"write","act":"state.write","on":"prod/net","outcome":"done"}}"#,
        1_700_000_000_000 + n,
        n % 7
    )
}

/// A log of rows, with a checkpoint after each of `seals`; exported whole, line by line.
struct Log {
    rows: Vec<String>,
    seals: Vec<u64>,
}

impl Log {
    fn new(rows: u64, seals: &[u64]) -> Self {
        Self { rows: (1..=rows).map(entry).collect(), seals: seals.to_vec() }
    }

    /// The checkpoints as the server signed them, on the rows as they were.
    fn checkpoints(&self) -> Vec<(u64, String)> {
        let mut made = vec![(0, signer().checkpoint(Head::first(), 1, HISTORY))];
        let mut head = Head::first();
        for row in &self.rows {
            head = head.next(row.as_bytes());
            if self.seals.contains(&head.n) {
                made.push((head.n, signer().checkpoint(head, 2, HISTORY)));
            }
        }
        made
    }

    /// The head at a row.
    fn head(&self, n: u64) -> Head {
        self.rows.iter().take(usize::try_from(n).unwrap()).fold(Head::first(), |head, row| head.next(row.as_bytes()))
    }

    /// The export after a checkpoint.
    fn export(&self, after: u64) -> Vec<String> {
        let checkpoints = self.checkpoints();
        let end = self.head(*self.seals.last().unwrap());
        let mut lines = vec![signer().opening(after, end, 3)];
        let mut head = Head::first();
        for (n, checkpoint) in checkpoints.into_iter() {
            while head.n < n {
                let row = &self.rows[usize::try_from(head.n).unwrap()];
                head = head.next(row.as_bytes());
                if head.n > after {
                    lines.push(exported(row, head.link));
                }
            }
            if n >= after {
                lines.push(checkpoint);
            }
        }
        for row in &self.rows[usize::try_from(head.n).unwrap()..] {
            head = head.next(row.as_bytes());
            lines.push(exported(row, head.link));
        }
        lines.iter_mut().for_each(|line| line.push('\n'));
        lines
    }
}

fn verify(lines: &[String]) -> Result<Report, Fault> {
    Verifier::new(vec![signer().key()], None).all(lines.concat().as_bytes())
}

fn flaw(lines: &[String]) -> Flaw {
    verify(lines).expect_err("a flaw").flaw
}

#[test]
fn sound_export_proves_what_is_sealed_and_counts_the_rest() {
    let log = Log::new(12, &[4, 10]);
    let report = verify(&log.export(0)).unwrap();
    assert_eq!((report.after, report.head, report.unproven), (0, log.head(10), 2));
    assert_eq!((report.keys, report.histories), (vec![signer().key()], vec![(0, HISTORY.to_owned())]));
    let report = verify(&log.export(4)).unwrap();
    assert_eq!((report.after, report.head, report.unproven), (4, log.head(10), 2));
    let nothing = Log::new(0, &[0]);
    assert_eq!(verify(&nothing.export(0)).unwrap().head, Head::first());
}

#[test]
fn expected_head_is_found_or_the_export_is_of_another_log() {
    let log = Log::new(12, &[4, 10]);
    let expecting = |export: &[String], expect: Head| {
        Verifier::new(vec![], Some(expect)).all(export.concat().as_bytes()).map_err(|fault| fault.flaw)
    };
    for n in [0, 1, 4, 7, 10] {
        assert!(expecting(&log.export(0), log.head(n)).is_ok(), "{n}");
    }
    assert_eq!(expecting(&log.export(0), log.head(11)), Err(Flaw::Absent(11)), "it is not signed for");
    assert_eq!(expecting(&log.export(4), log.head(3)), Err(Flaw::Absent(3)), "it was before");
    assert!(expecting(&log.export(4), log.head(4)).is_ok());
    let mut other = Log::new(12, &[4, 10]);
    other.rows[1] = entry(2).replace("prod", "test");
    assert!(verify(&other.export(0)).is_ok(), "it is sound in itself");
    assert!(matches!(expecting(&other.export(0), log.head(7)), Err(Flaw::Other { n: 7, .. })));
    let text = log.head(7).to_string();
    assert_eq!(text.parse(), Ok(log.head(7)));
    for wrong in ["", "7", "07:", &text[1..], &text[..60], &text.to_uppercase(), &format!("0{text}"), &format!("{text}0")] {
        assert_eq!(wrong.parse::<Head>(), Err(TextError::Head), "{wrong}");
    }
}

/// Somebody who can write the log but has no key: all hashes in the lines are made anew.
fn forged(log: &Log, rows: Vec<String>) -> Vec<String> {
    let forged = Log { rows, seals: Vec::new() };
    let mut lines = vec![signer().opening(0, log.head(*log.seals.last().unwrap()), 3)];
    let (mut head, checkpoints) = (Head::first(), log.checkpoints());
    lines.push(checkpoints[0].1.clone());
    for row in &forged.rows {
        head = head.next(row.as_bytes());
        lines.push(exported(row, head.link));
        lines.extend(checkpoints.iter().filter(|(n, _)| *n == head.n).map(|(_, line)| line.clone()));
    }
    lines.iter_mut().for_each(|line| line.push('\n'));
    lines
}

#[test]
fn hashes_made_anew_do_not_hide_a_change_a_gap_a_swap_or_an_addition() {
    let log = Log::new(12, &[4, 10, 12]);
    assert!(verify(&forged(&log, log.rows.clone())).is_ok());
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut rows = log.rows.clone();
        change(&mut rows);
        flaw(&forged(&log, rows))
    };
    assert_eq!(with(&|rows| rows[6] = entry(7).replace("ci", "me")), Flaw::Checkpoint(10));
    assert_eq!(with(&|rows| drop(rows.remove(6))), Flaw::Order { found: 8, expected: 7 });
    assert_eq!(with(&|rows| rows.swap(5, 6)), Flaw::Order { found: 7, expected: 6 });
    let renumbered = |rows: &mut Vec<String>| {
        for (n, row) in (1..).zip(rows.iter_mut()) {
            let rest = row.split_once(',').unwrap().1.to_owned();
            *row = format!("{{\"n\":{n},{rest}");
        }
    };
    assert_eq!(
        with(&|rows| {
            rows.remove(6);
            renumbered(rows);
        }),
        Flaw::Checkpoint(10)
    );
    assert_eq!(
        with(&|rows| {
            rows.swap(5, 6);
            renumbered(rows);
        }),
        Flaw::Checkpoint(10)
    );
    assert_eq!(
        with(&|rows| {
            rows.insert(6, entry(1));
            renumbered(rows);
        }),
        Flaw::Checkpoint(10)
    );
    assert_eq!(with(&|rows| rows.truncate(11)), Flaw::Cut(12));
    assert_eq!(with(&|rows| rows.truncate(10)), Flaw::Cut(12), "although a checkpoint stands at its end");
}

#[test]
fn checkpoints_and_openings_are_bound_to_their_place_purpose_and_key() {
    let log = Log::new(12, &[4, 10]);
    let export = log.export(0);
    let line = |found: &str| export.iter().position(|line| line.contains(found)).unwrap();
    let (four, ten) = (line("checkpoint\":4"), line("checkpoint\":10"));
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = export.clone();
        change(&mut lines);
        flaw(&lines)
    };
    assert_eq!(with(&|lines| drop(lines.remove(0))), Flaw::Opening);
    assert_eq!(with(&|lines| drop(lines.remove(1))), Flaw::Start);
    assert_eq!(with(&|lines| lines.swap(four, ten)), Flaw::Place { found: 10, after: 4 });
    assert_eq!(with(&|lines| drop(lines.remove(ten))), Flaw::Cut(10));
    assert_eq!(with(&|lines| lines.push(export[four].clone())), Flaw::Beyond);
    assert_eq!(with(&|lines| lines[0] = export[1].clone()), Flaw::Opening, "a checkpoint is no opening");
    assert_eq!(with(&|lines| lines[1] = export[0].clone()), Flaw::Start, "nor the other way round");
    assert_eq!(with(&|lines| *lines = vec![]), Flaw::Opening);
    // A checkpoint in the middle is not needed: the next one covers what is before it.
    let mut fewer = export.clone();
    fewer.remove(four);
    assert!(verify(&fewer).is_ok());
    // Another key, however sound the rest.
    let stranger = AuditSigner::from_seed(&[8; 32]);
    let mut theirs = export.clone();
    theirs[ten] = stranger.checkpoint(log.head(10), 2, HISTORY) + "\n";
    assert_eq!(flaw(&theirs), Flaw::Stranger(stranger.key()));
    let report = Verifier::new(vec![], None).all(theirs.concat().as_bytes()).unwrap();
    assert_eq!(report.keys, [signer().key(), stranger.key()], "who trusts anybody is told whom");
    theirs[ten] = export[ten].replace(&signer().key().to_string(), &stranger.key().to_string());
    assert_eq!(flaw(&theirs), Flaw::Line);
}

/// The proof that the design asks for: 10,000 entries; every byte of 20 of them and 20,000 positions anywhere changed, entries dropped, swapped
/// and appended, the tail cut at every line. A flaw is found in the very line that has it, so that line is read after those before it, and
/// no line after it.
#[test]
fn every_change_of_an_export_of_10_000_entries_is_found() {
    let seals: Vec<u64> = (1..=10).map(|n| n * 1000).collect();
    let export = Log::new(10_000, &seals).export(0);
    let mut states = Vec::new();
    let mut verifier = Verifier::new(vec![signer().key()], None);
    for line in &export {
        states.push(verifier.clone());
        verifier.line(line.as_bytes()).unwrap();
    }
    assert_eq!(verifier.clone().finish().unwrap().head.n, 10_000);
    let lines: Vec<&[u8]> = export.iter().map(String::as_bytes).collect();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below as u64).unwrap()
    };
    let refused = |at: usize, changed: &[&[u8]]| {
        let mut verifier = states[at].clone();
        changed.concat().split_inclusive(|byte| *byte == b'\n').any(|line| verifier.line(line).is_err())
            || verifier.finish().is_err()
    };
    let mut found = 0_u64;
    // The changed line alone; without its line feed, it and the next are one.
    let mut change = |at: usize, byte: usize, to: u8| {
        let mut line = lines[at].to_vec();
        assert_ne!(std::mem::replace(&mut line[byte], to), to);
        let following = lines.get(at + 1).copied().unwrap_or_default();
        let both: &[&[u8]] = if byte + 1 == line.len() { &[&line, following] } else { &[&line] };
        let mut verifier = states[at].clone();
        let error = both.concat().split_inclusive(|byte| *byte == b'\n').find_map(|line| verifier.line(line).err());
        let error = error.unwrap_or_else(|| panic!("line {at}, byte {byte}, to {to}: not found"));
        assert_eq!(error.line, at as u64 + 1, "it says where");
        found += 1;
    };
    for _ in 0..20 {
        let at = next(lines.len());
        for (byte, was) in lines[at].iter().enumerate() {
            for to in [was ^ 1, was ^ 0x20, b'\n', b'"'] {
                if to != *was {
                    change(at, byte, to);
                }
            }
        }
    }
    let total: usize = lines.iter().map(|line| line.len()).sum();
    let ends: Vec<usize> = lines
        .iter()
        .scan(0, |end, line| {
            *end += line.len();
            Some(*end)
        })
        .collect();
    for _ in 0..20_000 {
        let position = next(total);
        let at = ends.partition_point(|end| *end <= position);
        let byte = position - (ends[at] - lines[at].len());
        change(at, byte, lines[at][byte] ^ (1 << next(8)));
    }
    // Signed lines, wholly: a bit of every byte of the opening and of two checkpoints.
    for at in [0, 1, 1002] {
        for (byte, was) in lines[at].iter().enumerate() {
            change(at, byte, was ^ (1 << next(8)));
        }
    }
    let is_row = |line: &[u8]| line.starts_with(b"{\"n\"");
    for _ in 0..500 {
        let at = 2 + next(lines.len() - 4);
        if is_row(lines[at]) {
            assert!(refused(at, &lines[at + 1..at + 2]), "dropped: {at}");
            assert!(refused(at, &[lines[at], lines[at]]), "twice: {at}");
        }
        if is_row(lines[at + 1]) {
            assert!(refused(at, &[lines[at + 1], lines[at]]), "swapped: {at}");
        }
        let other = 2 + next(lines.len() - 3);
        if other != at && is_row(lines[other]) {
            assert!(refused(at, &[lines[other]]), "{other} in the place of {at}");
        }
    }
    for (at, state) in states.iter().enumerate() {
        assert!(state.clone().finish().is_err(), "cut before line {at}");
        if at % 50 == 0 {
            let middle = next(lines[at].len() - 1) + 1;
            assert!(refused(at, &[&lines[at][..middle]]), "cut in line {at}");
        }
    }
    // What is appended is not proven, and counted; what is not even a row is a flaw.
    let mut more = verifier.clone();
    let head = verifier.clone().finish().unwrap().head;
    more.line((exported(&entry(10_001), head.next(entry(10_001).as_bytes()).link) + "\n").as_bytes()).unwrap();
    assert_eq!(more.finish().unwrap().unproven, 1);
    for appended in [lines[5], lines[1], b"\n", b"{}\n", b"x"] {
        assert!(verifier.clone().line(appended).is_err());
    }
    assert!(found > 20_000, "{found}");
}
