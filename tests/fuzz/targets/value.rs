//! Sealed values: they open to what was sealed, at their place only, and not if a byte was changed.

use leasehold::secrets::hole::JsonType;
use leasehold::secrets::seal::value::{open_value, seal_value, sealed_size};

use super::{BINDING, Source, keys};

pub(crate) fn run(data: &[u8]) {
    let keys = keys();
    let mut source = Source(data);
    let (path, other) = (source.path(), source.path());
    let kind = JsonType::of(source.byte() % 7 + 1).expect("1 to 7 are types");
    let (way, token) = (source.below(4), source.0.to_vec());
    if way == 0 {
        assert!(open_value(&keys, &BINDING, kind, &path, &token).is_err(), "anybody's bytes open");
        return;
    }
    let sealed = seal_value(&keys, &BINDING, kind, &path, &token).expect("it is short");
    assert_eq!(sealed.len(), sealed_size(token.len()));
    let opened = open_value(&keys, &BINDING, kind, &path, &sealed).expect("what was sealed opens");
    assert_eq!(*opened, token);
    assert_eq!(sealed, seal_value(&keys, &BINDING, kind, &path, &token).expect("as before"), "two sealed forms of one value");
    if other != path {
        assert!(open_value(&keys, &BINDING, kind, &other, &sealed).is_err(), "it opens at another place");
    }
    let mut edited = sealed.clone();
    source.edit(&mut edited);
    if edited != sealed {
        assert!(open_value(&keys, &BINDING, kind, &path, &edited).is_err(), "a changed value opens");
    }
}
