//! Verifying an export, line by line, without a server.

use std::cmp::Ordering;

use super::{AuditKey, FORMAT, Head, Link, Opening, Statement, number};

/// Reads an export from its first line to its last. The first flaw ends it: what comes after proves nothing.
#[derive(Clone)]
pub struct Verifier {
    /// Whose signatures count; empty: those of anybody, all of whom are reported.
    trusted: Vec<AuditKey>,
    expect: Option<Head>,
    line: u64,
    stage: Stage,
    report: Report,
    /// How far the rows have come.
    head: Head,
    expected: bool,
}

#[derive(Clone)]
enum Stage {
    /// The first line is to come.
    Empty,
    /// The checkpoint that the rows begin after is to come.
    Opened(Opening),
    /// Rows and checkpoints.
    Rows(Opening),
    /// The checkpoint that the export ends with has come: what follows is not proven.
    Closed,
}

/// What a sound export proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// It has the rows after this one.
    pub after: u64,
    /// Up to here, all of it is signed for.
    pub head: Head,
    /// When that was signed, in milliseconds since 1970.
    pub at: i64,
    /// Rows after that, which are not signed for yet.
    pub unproven: u64,
    /// Who signed, in order.
    pub keys: Vec<AuditKey>,
    /// The histories of the store, with the row after which each was first seen: more than one if the database was put back to an earlier time.
    pub histories: Vec<(u64, String)>,
}

/// Where and why an export proves nothing from there on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {flaw}")]
pub struct Fault {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum Flaw {
    #[error("an export begins with a signed line, and this is none")]
    Opening,
    #[error("this is an export of format {0}, which this program does not know")]
    Format(u32),
    #[error("signed by {0}, which is not the key that you trust")]
    Stranger(AuditKey),
    #[error("the checkpoint that the rows begin after is missing or not as it was signed")]
    Start,
    #[error("neither a row nor a checkpoint as it was signed")]
    Line,
    #[error("entry {found} stands where entry {expected} belongs: something is missing, or out of its place")]
    Order { found: u64, expected: u64 },
    #[error("entry {0} is not the one that its hash was made of: it, or what is before it, was changed")]
    Entry(u64),
    #[error("the checkpoint at entry {0} was signed on other entries than those before it")]
    Checkpoint(u64),
    #[error("the checkpoint on entry {found} stands after entry {after}: something is missing, or out of its place")]
    Place { found: u64, after: u64 },
    #[error("a checkpoint after the end that the export names")]
    Beyond,
    #[error("it ends here, although it says that it goes on to entry {0}")]
    Cut(u64),
    #[error("the last line has no end")]
    Unfinished,
    #[error("entry {n} has the hash {found}: this is not the log that the expected head is of")]
    Other { n: u64, found: Link },
    #[error("the expected entry {0} is not in it")]
    Absent(u64),
}

impl Verifier {
    /// Trusts these keys, or, with none, whoever signed; and expects this head to be part of what is proven.
    #[must_use]
    pub fn new(trusted: Vec<AuditKey>, expect: Option<Head>) -> Self {
        let report = Report { after: 0, head: Head::first(), at: 0, unproven: 0, keys: Vec::new(), histories: Vec::new() };
        Self { trusted, expect, line: 0, stage: Stage::Empty, report, head: Head::first(), expected: false }
    }

    /// Takes everything. Lines end with a line feed, the last one too.
    ///
    /// # Errors
    /// The first flaw.
    pub fn all(mut self, export: &[u8]) -> Result<Report, Fault> {
        for line in export.split_inclusive(|byte| *byte == b'\n') {
            self.line(line)?;
        }
        self.finish()
    }

    /// Takes the next line, with its line feed.
    ///
    /// # Errors
    /// What is wrong with it. The verifier is of no use after that.
    pub fn line(&mut self, line: &[u8]) -> Result<(), Fault> {
        self.line += 1;
        self.take(line).map_err(|flaw| Fault { line: self.line, flaw })
    }

    /// The end.
    ///
    /// # Errors
    /// It should have gone on, or the expected head did not come.
    pub fn finish(self) -> Result<Report, Fault> {
        let flaw = match (self.stage, self.expect) {
            (Stage::Empty, _) => Flaw::Opening,
            (Stage::Opened(opening) | Stage::Rows(opening), _) => Flaw::Cut(opening.to),
            (Stage::Closed, Some(expect)) if !self.expected => Flaw::Absent(expect.n),
            (Stage::Closed, _) => return Ok(self.report),
        };
        Err(Fault { line: self.line, flaw })
    }

    fn take(&mut self, line: &[u8]) -> Result<(), Flaw> {
        let line = line.strip_suffix(b"\n").ok_or(Flaw::Unfinished)?;
        match std::mem::replace(&mut self.stage, Stage::Empty) {
            Stage::Empty => {
                let opening = text(line).and_then(Opening::read).ok_or(Flaw::Opening)?;
                if opening.export != FORMAT {
                    return Err(Flaw::Format(opening.export));
                }
                self.trust(opening.key)?;
                self.stage = Stage::Opened(opening);
            }
            Stage::Opened(opening) => {
                let statement = text(line).and_then(Statement::read).ok_or(Flaw::Start)?;
                self.trust(statement.key)?;
                if statement.checkpoint != opening.after || statement.checkpoint == 0 && statement.hash != Link::first() {
                    return Err(Flaw::Start);
                }
                (self.head, self.report.after) = (statement.head(), opening.after);
                self.compare()?;
                self.sealed(&statement);
                self.stage = after(opening, &statement)?;
            }
            Stage::Rows(opening) => {
                self.stage = match row(line) {
                    Some(row) => {
                        self.chain(&row)?;
                        self.compare()?;
                        Stage::Rows(opening)
                    }
                    None => {
                        let statement = text(line).and_then(Statement::read).ok_or(Flaw::Line)?;
                        self.trust(statement.key)?;
                        if statement.checkpoint != self.head.n {
                            return Err(Flaw::Place { found: statement.checkpoint, after: self.head.n });
                        }
                        if statement.head() != self.head {
                            return Err(Flaw::Checkpoint(self.head.n));
                        }
                        self.sealed(&statement);
                        after(opening, &statement)?
                    }
                };
            }
            Stage::Closed => {
                match row(line) {
                    Some(row) => self.chain(&row)?,
                    None if text(line).and_then(Statement::read).is_some() => return Err(Flaw::Beyond),
                    None => return Err(Flaw::Line),
                }
                self.report.unproven += 1;
                self.stage = Stage::Closed;
            }
        }
        Ok(())
    }

    fn chain(&mut self, row: &Row<'_>) -> Result<(), Flaw> {
        if row.n != self.head.n + 1 {
            return Err(Flaw::Order { found: row.n, expected: self.head.n + 1 });
        }
        self.head = self.head.next(&row.bytes());
        if self.head.link != row.link {
            return Err(Flaw::Entry(row.n));
        }
        Ok(())
    }

    fn compare(&mut self) -> Result<(), Flaw> {
        if let Some(expect) = self.expect.filter(|expect| expect.n == self.head.n) {
            if expect != self.head {
                return Err(Flaw::Other { n: self.head.n, found: self.head.link });
            }
            self.expected = true;
        }
        Ok(())
    }

    fn sealed(&mut self, statement: &Statement) {
        let report = &mut self.report;
        (report.head, report.at) = (self.head, statement.at);
        if report.histories.last().is_none_or(|(_, last)| *last != statement.history) {
            report.histories.push((self.head.n, statement.history.clone()));
        }
    }

    fn trust(&mut self, key: AuditKey) -> Result<(), Flaw> {
        if !self.trusted.is_empty() && !self.trusted.contains(&key) {
            return Err(Flaw::Stranger(key));
        }
        if !self.report.keys.contains(&key) {
            self.report.keys.push(key);
        }
        Ok(())
    }
}

/// What follows a checkpoint: more, or nothing that is signed for.
fn after(opening: Opening, statement: &Statement) -> Result<Stage, Flaw> {
    match statement.checkpoint.cmp(&opening.to) {
        Ordering::Less => Ok(Stage::Rows(opening)),
        Ordering::Equal if statement.hash == opening.hash => Ok(Stage::Closed),
        Ordering::Equal => Err(Flaw::Checkpoint(statement.checkpoint)),
        Ordering::Greater => Err(Flaw::Beyond),
    }
}

/// A row as it is exported.
struct Row<'l> {
    n: u64,
    link: Link,
    /// Without the hash at the end, and without the brace after it.
    text: &'l [u8],
}

/// Between a row and the hash after it.
const HASH: &[u8] = b",\"hash\":\"";

fn row(line: &[u8]) -> Option<Row<'_>> {
    let rest = line.strip_prefix(b"{\"n\":")?;
    let digits = rest.iter().position(|byte| *byte == b',')?;
    let n = number(&rest[..digits])?;
    let (text, link) = line.strip_suffix(b"\"}")?.split_last_chunk::<64>()?;
    let link = std::str::from_utf8(link).ok()?.parse().ok()?;
    Some(Row { n, link, text: text.strip_suffix(HASH)? })
}

impl Row<'_> {
    /// The row as it was stored and hashed.
    fn bytes(&self) -> Vec<u8> {
        [self.text, b"}"].concat()
    }
}

fn text(line: &[u8]) -> Option<&str> {
    std::str::from_utf8(line).ok()
}
