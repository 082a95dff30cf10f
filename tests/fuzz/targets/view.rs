//! Sealed views: any bytes are refused, and so is one that was changed anywhere.

use std::sync::LazyLock;

use leasehold::domain::ids::{EnvironmentId, Etag, StateId, Version};
use leasehold::secrets::identities::Identities;
use leasehold::secrets::keys::SigningKey;
use leasehold::secrets::master::Masters;
use leasehold::secrets::view::sealed::{Subject, Trust, seal_for, unseal};

use super::Source;

/// An identity of nobody.
pub(super) const IDENTITY: &str = "AGE-SECRET-KEY-1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSNZS23V9CCRYDPK8QARC0SWRYDWG";

const DOCUMENT: &[u8] = b"{\"a\":1}";

struct Rig {
    identities: Identities,
    sealed: Vec<u8>,
}

static RIG: LazyLock<Rig> = LazyLock::new(|| {
    let masters = Masters::parse(IDENTITY).expect("it is an identity");
    let identities = Identities::parse(IDENTITY).expect("it is an identity");
    let (signer, _) = SigningKey::create(&masters, EnvironmentId([1; 16]), &[]).expect("there is randomness");
    let state = "prod/network/eu".parse().expect("it is a name");
    let subject = Subject { state, state_id: StateId([2; 16]), version: Version(7), etag: Etag([3; 16]) };
    Rig { identities, sealed: seal_for(&masters.recipient(), &signer, &subject, DOCUMENT) }
});

pub(crate) fn run(data: &[u8]) {
    let Rig { identities, sealed } = &*RIG;
    let mut source = Source(data);
    let mut bytes = match source.below(3) {
        0 => source.rest().to_vec(),
        // Its first lines, and then anything.
        1 => [&sealed[..usize::from(source.u16()) % sealed.len()], source.rest()].concat(),
        _ => sealed.clone(),
    };
    if bytes == *sealed {
        source.edit(&mut bytes);
    }
    match unseal(&bytes, identities, Trust::DangerAnyone) {
        Ok((_, document)) => assert!(bytes == *sealed && *document == DOCUMENT, "a changed view opens"),
        Err(_) => assert!(bytes != *sealed, "an unchanged view does not open"),
    }
}
