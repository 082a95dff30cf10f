//! Heads of skeletons: nothing but an encoding is decoded, and there is one for each head.

use leasehold::secrets::hole::{JsonType, Reason};
use leasehold::secrets::seal::head::{Head, StoredHole};

use super::Source;

pub(crate) fn run(data: &[u8]) {
    if let Ok(head) = Head::decode(data) {
        assert!(head.is_sound());
        assert_eq!(head.encode(), data, "two encodings of one head");
    }
    let head = head(&mut Source(data));
    let encoded = head.encode();
    match Head::decode(&encoded) {
        Ok(decoded) => assert_eq!(decoded, head),
        Err(_) => assert!(!head.is_sound(), "a sound head does not decode"),
    }
}

/// A head, sound for most bytes.
pub(crate) fn head(source: &mut Source<'_>) -> Head {
    let mut holes: Vec<StoredHole> = Vec::new();
    let mut at = 0;
    for _ in 0..source.below(20) {
        at += u64::from(source.byte());
        let path = source.path();
        if holes.iter().any(|hole| hole.path == path) && !source.chance(100) {
            continue;
        }
        let kind = JsonType::of(source.byte() % 7 + 1).expect("1 to 7 are types");
        let reason = Reason::of(source.byte() % 8 + 1).expect("1 to 8 are reasons");
        let ordinal = if source.chance(4) { u32::from(source.u16()) << 16 } else { u32::from(source.byte()) };
        holes.push(StoredHole { at, kind, reason, path, ordinal });
    }
    let text_size = at + u64::from(source.byte());
    let size = text_size + holes.len() as u64 * (1 + u64::from(source.byte())) - u64::from(source.chance(100)).min(text_size);
    Head { size, text_size, holes, overflow: source.chance(2) }
}
