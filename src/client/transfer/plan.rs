//! What an import would do, decided from headers alone.

use super::Header;

/// A version that the target has, of the life that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Existing {
    pub(super) version: u64,
    /// None if it is no Terraform or OpenTofu state.
    pub(super) header: Option<Header>,
    /// Its bytes are gone.
    pub(super) purged: bool,
}

/// Why the document at `at` cannot become a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conflict {
    pub(super) at: usize,
    pub(super) why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Why {
    #[error("the state there is no Terraform or OpenTofu state")]
    OtherFormat,
    #[error("only one of it and the state there is encrypted, and a state keeps its format")]
    OtherKind,
    #[error("only one of it and the version before is encrypted, and a state keeps its format")]
    KindChanges,
    #[error("the state there has another lineage")]
    OtherLineage,
    #[error("the state there has gone on to serial {0}, and nothing can be put before that")]
    GoneOn(u64),
    #[error("its lineage is another than that of the version before it")]
    LineageChanges,
    #[error("its serial is not higher than the {0} of the version before it")]
    SerialFalls(u64),
    #[error("version {0} there has its lineage and serial, and other bytes")]
    OtherBytes(u64),
}

impl Why {
    /// What to do about it.
    pub(super) fn next(self) -> &'static str {
        match self {
            Self::OtherFormat | Self::OtherLineage | Self::OtherKind => {
                "import to another path; to give the path up, `leasehold state delete` comes first"
            }
            Self::KindChanges => "import what is current with `--current-only`",
            Self::GoneOn(_) => "import what is current with `--current-only`, or all of it to another path",
            Self::LineageChanges | Self::SerialFalls(_) => {
                "with `--rewrite` and the right to it the past is taken as it is; `--current-only` leaves it out"
            }
            Self::OtherBytes(_) => "look which one is right: `leasehold state pull --version` prints the one there",
        }
    }
}

/// The versions that the first documents are already, in order; those after them are new.
///
/// A document is there if the target has its lineage and serial in the right order; that the bytes are the same is for the caller to see.
pub(super) fn plan(documents: &[&Header], target: &[Existing], rewrite: bool) -> Result<Vec<usize>, Conflict> {
    for (at, pair) in documents.windows(2).enumerate() {
        let (before, header) = (pair[0], pair[1]);
        let conflict = |why| Err(Conflict { at: at + 1, why });
        match () {
            () if before.encrypted != header.encrypted => return conflict(Why::KindChanges),
            () if rewrite => {}
            () if before.lineage != header.lineage => return conflict(Why::LineageChanges),
            () if before.serial >= header.serial => return conflict(Why::SerialFalls(before.serial)),
            () => {}
        }
    }
    let mut there: Vec<usize> = Vec::new();
    for header in documents {
        let after = there.last().map_or(0, |last| last + 1);
        match target[after..].iter().position(|existing| existing.header.as_ref() == Some(header)) {
            Some(found) => there.push(after + found),
            None => break,
        }
    }
    let (Some(first), Some(current)) = (documents.get(there.len()), target.last()) else { return Ok(there) };
    // What was written last is what this import wrote last: it goes on from there.
    let goes_on = there.last().is_some_and(|last| last + 1 == target.len());
    let at = there.len();
    match &current.header {
        None => Err(Conflict { at, why: Why::OtherFormat }),
        Some(current) if current.encrypted != first.encrypted => Err(Conflict { at, why: Why::OtherKind }),
        Some(_) if goes_on => Ok(there),
        Some(current) if current.lineage != first.lineage => Err(Conflict { at, why: Why::OtherLineage }),
        Some(current) if current.serial >= first.serial => Err(Conflict { at, why: Why::GoneOn(current.serial) }),
        Some(_) => Ok(there),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(lineage: &str, serial: u64) -> Header {
        Header { lineage: lineage.to_owned(), serial, encrypted: false }
    }

    fn target(headers: &[Header]) -> Vec<Existing> {
        let existing =
            |(n, header): (usize, &Header)| Existing { version: n as u64 + 1, header: Some(header.clone()), purged: false };
        headers.iter().enumerate().map(existing).collect()
    }

    fn planned(documents: &[Header], there: &[Header], rewrite: bool) -> Result<Vec<usize>, (usize, Why)> {
        let documents: Vec<&Header> = documents.iter().collect();
        plan(&documents, &target(there), rewrite).map_err(|conflict| (conflict.at, conflict.why))
    }

    fn l(serials: &[u64]) -> Vec<Header> {
        serials.iter().map(|serial| header("l", *serial)).collect()
    }

    #[test]
    fn empty_target_takes_everything_and_a_full_one_nothing() {
        assert_eq!(planned(&l(&[1, 2, 5]), &[], false), Ok(vec![]));
        assert_eq!(planned(&l(&[1, 2, 5]), &l(&[1, 2, 5]), false), Ok(vec![0, 1, 2]));
        assert_eq!(planned(&l(&[2, 5]), &l(&[1, 2, 3, 5, 9]), false), Ok(vec![1, 3]), "the state has gone on");
    }

    #[test]
    fn import_that_was_cut_off_goes_on() {
        assert_eq!(planned(&l(&[1, 2, 5]), &l(&[1, 2]), false), Ok(vec![0, 1]));
        assert_eq!(planned(&l(&[6, 7]), &l(&[1, 5]), false), Ok(vec![]), "later versions of what was imported before");
    }

    #[test]
    fn nothing_is_put_before_what_is_there() {
        assert_eq!(planned(&l(&[4, 5]), &l(&[5]), false), Err((0, Why::GoneOn(5))));
        assert_eq!(planned(&l(&[1, 2, 3]), &l(&[1, 3]), false), Err((1, Why::GoneOn(3))));
        assert_eq!(planned(&l(&[1, 2, 3]), &l(&[1, 3]), true), Err((1, Why::GoneOn(3))), "not even with rewrite");
        assert_eq!(planned(&l(&[6]), &[header("m", 1)], true), Err((0, Why::OtherLineage)));
    }

    #[test]
    fn past_that_falls_back_needs_rewrite_and_goes_on_with_it_too() {
        let past = [header("l", 7), header("l", 3), header("m", 1)];
        assert_eq!(planned(&past, &[], false), Err((1, Why::SerialFalls(7))));
        assert_eq!(planned(&past[1..], &[], false), Err((1, Why::LineageChanges)));
        assert_eq!(planned(&past, &[], true), Ok(vec![]));
        assert_eq!(planned(&past, &past[..1], true), Ok(vec![0]));
        assert_eq!(planned(&past, &past[..2], true), Ok(vec![0, 1]));
    }

    #[test]
    fn formats_are_kept_apart() {
        let encrypted = Header { encrypted: true, ..header("l", 2) };
        assert_eq!(planned(&[header("l", 1), encrypted.clone()], &[], true), Err((1, Why::KindChanges)));
        assert_eq!(planned(&[encrypted], &l(&[1]), true), Err((0, Why::OtherKind)));
        let other = [Existing { version: 1, header: None, purged: false }];
        assert_eq!(plan(&[&header("l", 1)], &other, true), Err(Conflict { at: 0, why: Why::OtherFormat }));
    }
}
