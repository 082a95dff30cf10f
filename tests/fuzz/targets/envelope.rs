//! Wrapped keys: any bytes, age files with any content, and content of any fields with the right MAC.

use std::str::FromStr;
use std::sync::LazyLock;

use hmac::{Hmac, Mac};
use leasehold::domain::ids::{DataKeyId, EnvironmentId, IdentityVersion, StateId};
use leasehold::domain::sealing::{DataKeyRecord, KeyStatus, Wrapped};
use leasehold::secrets::data_key::DataKey;
use leasehold::secrets::keys::{EnvironmentIdentity, EnvironmentSecret, SigningKey, data_key};
use leasehold::secrets::master::Masters;
use sha2::Sha256;

use super::Source;
use super::view::IDENTITY;

const ENVIRONMENT: EnvironmentId = EnvironmentId([1; 16]);

struct Rig {
    masters: Masters,
    recipient: age::x25519::Recipient,
    wrap: [u8; 32],
    identity: EnvironmentIdentity,
    wrapped: Vec<u8>,
}

static RIG: LazyLock<Rig> = LazyLock::new(|| {
    let masters = Masters::parse(IDENTITY).expect("it is an identity");
    let recipient = age::x25519::Identity::from_str(IDENTITY).expect("it is an identity").to_public();
    let mut wrap = [0; 32];
    let derived = hkdf::Hkdf::<Sha256>::new(None, IDENTITY.as_bytes()).expand(b"leasehold/v1/wrap", &mut wrap);
    derived.expect("32 bytes are within HKDF's limit");
    let (identity, _) = EnvironmentIdentity::create(&masters, ENVIRONMENT, IdentityVersion(1), &[]).expect("there is randomness");
    let key = DataKey::new(DataKeyId([3; 16]), &[4; 32]);
    let wrapped = data_key::wrap(&key, &identity, &[], StateId([2; 16]), 1).expect("it is wrapped");
    Rig { masters, recipient, wrap, identity, wrapped }
});

fn record(wrapped: &[u8]) -> DataKeyRecord {
    let (id, state, wrapped) = (DataKeyId([3; 16]), StateId([2; 16]), Wrapped(wrapped.to_vec()));
    DataKeyRecord { id, state, identity: 1, epoch: 1, status: KeyStatus::Active, wrapped }
}

pub(crate) fn run(data: &[u8]) {
    let rig = &*RIG;
    let mut source = Source(data);
    match source.below(4) {
        0 => assert!(!opens(rig, source.rest()), "anybody's bytes open"),
        1 => {
            let mut bytes = rig.wrapped.clone();
            source.edit(&mut bytes);
            let opened = data_key::open(&rig.identity, &record(&bytes));
            assert!(opened.is_err() || bytes == rig.wrapped, "a changed wrap opens");
        }
        2 => assert!(!opens(rig, &wrapped(rig, source.rest())), "what is not authentic opens"),
        _ => {
            let kinds = ["leasehold/v1/environment-secret", "leasehold/v1/environment-identity", "leasehold/v1/signing-key"];
            let mut bound = field(source.pick(&kinds).as_bytes());
            if source.chance(2) {
                bound.extend(field(&ENVIRONMENT.0));
            }
            while !source.is_over() {
                let length = source.below(70);
                bound.extend(field(source.bytes(length)));
                if source.chance(16) {
                    source.edit(&mut bound);
                }
            }
            let mut mac = Hmac::<Sha256>::new_from_slice(&rig.wrap).expect("HMAC takes keys of any length");
            mac.update(&bound);
            bound.extend_from_slice(&mac.finalize().into_bytes());
            let _ = opens(rig, &wrapped(rig, &bound));
        }
    }
}

fn field(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_be_bytes(), bytes].concat()
}

fn wrapped(rig: &Rig, plain: &[u8]) -> Vec<u8> {
    age::encrypt(&rig.recipient, plain).expect("it is encrypted")
}

fn opens(rig: &Rig, wrapped: &[u8]) -> bool {
    EnvironmentSecret::open(&rig.masters, ENVIRONMENT, wrapped).is_ok()
        || EnvironmentIdentity::open(&rig.masters, ENVIRONMENT, IdentityVersion(1), wrapped).is_ok()
        || SigningKey::open(&rig.masters, ENVIRONMENT, wrapped).is_ok()
}
