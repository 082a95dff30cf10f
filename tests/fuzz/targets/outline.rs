//! What is read of whole documents: their format, Terraform's header, and how two of them differ.

use leasehold::domain::format::diff::{ChangeKind, Diff, diff};
use leasehold::domain::format::{Format, TerraformHeader, inspect, with_serial};

use super::{Source, generate};

const FORMATS: [Format; 4] = [Format::Terraform, Format::Pulumi, Format::Json, Format::Opaque];

pub(crate) fn run(data: &[u8]) {
    let mut source = Source(data);
    let raw = source.chance(2);
    let (old, new) = if raw {
        let half = source.0.len() / 2;
        (source.bytes(half).to_vec(), source.rest().to_vec())
    } else {
        // Two documents that begin alike.
        let shared = source.u16();
        let old = generate::document(&mut Source(source.0)).bytes;
        let mut changed = source.0.to_vec();
        if let Some(byte) = changed.get_mut(usize::from(shared)) {
            *byte ^= 1;
        }
        (old, generate::document(&mut Source(&changed)).bytes)
    };
    for document in [&old, &new] {
        header(document);
    }
    for format in FORMATS {
        let there = diff(format, &old, &new);
        assert!(diff(format, &old, &old).is_ok_and(|same| same.equal && same.changes.is_empty()));
        let back = diff(format, &new, &old);
        assert_eq!(there.is_ok(), back.is_ok());
        let (Ok(there), Ok(back)) = (there, back) else { continue };
        assert_eq!((there.equal, there.truncated), (back.equal, back.truncated));
        let count = |diff: &Diff, kind| diff.changes.iter().filter(|change| change.kind == kind).count();
        if !there.truncated {
            assert_eq!(count(&there, ChangeKind::Added), count(&back, ChangeKind::Removed));
            assert_eq!(count(&there, ChangeKind::Changed), count(&back, ChangeKind::Changed));
        }
        assert!(!there.equal || there.changes.is_empty());
    }
}

fn header(document: &[u8]) {
    for asked in [None].into_iter().chain(FORMATS.map(Some)) {
        let Ok(found) = inspect(document, asked) else { continue };
        assert!(asked.is_none_or(|asked| asked == found.format));
        if let (Format::Terraform, Some(TerraformHeader { lineage, .. })) = (found.format, found.terraform) {
            let raised = with_serial(document, u64::MAX).expect("it has a header");
            let expected = TerraformHeader { lineage, serial: u64::MAX };
            assert_eq!(inspect(&raised, asked).expect("only a number has changed").terraform, Some(expected));
        }
    }
}
