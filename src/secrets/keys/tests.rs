use std::collections::HashMap;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use zeroize::Zeroize;

use super::*;
use crate::domain::ids::{DataKeyId, EnvironmentId, IdentityVersion, StateId};
use crate::domain::sealing::{DataKeyRecord, KeyStatus, Wrapped};
use crate::secrets::data_key::DataKey;
use crate::secrets::identities::Identities;
use crate::secrets::master::Masters;
use crate::secrets::recipient::Recipient;
use crate::secrets::testing::{assert_stays_secret, is_wiped_on_drop, is_wiped_where};
use crate::secrets::wrap::{decrypt_any, encrypt, wrap};

assert_stays_secret!(
    EnvironmentSecret,
    crate::secrets::operational::OperationKeys,
    crate::secrets::operational::ServerKey,
    crate::secrets::seal::SealingKeys,
    EnvironmentIdentity,
    SigningKey,
    DataKey,
    Masters,
    Identities,
    crate::secrets::hygiene::Locked<u8>
);

fn create(masters: &Masters, environment: EnvironmentId, recovery: &[Recipient]) -> Result<Vec<u8>, WrapError> {
    EnvironmentSecret::create(masters, environment, recovery).map(|(_, wrapped)| wrapped)
}

fn open(masters: &Masters, environment: EnvironmentId, wrapped: &[u8]) -> Result<EnvironmentSecret, UnwrapError> {
    EnvironmentSecret::open(masters, environment, wrapped).map(|(secret, _)| secret)
}

const ENVIRONMENT: EnvironmentId = EnvironmentId([0xe1; 16]);
const VERSION: IdentityVersion = IdentityVersion(3);
const STATE: StateId = StateId([0x51; 16]);
const EPOCH: u32 = 5;

/// The row of a data key of the state.
fn record(id: DataKeyId, wrapped: &[u8]) -> DataKeyRecord {
    let (identity, status, wrapped) = (3, KeyStatus::Active, Wrapped(wrapped.to_vec()));
    DataKeyRecord { id, state: STATE, identity, epoch: EPOCH, status, wrapped }
}

/// One of everything, wrapped.
struct Tree {
    master: Identity,
    masters: Masters,
    recovery: Identity,
    identity: EnvironmentIdentity,
    data_key: DataKey,
    signer: SigningKey,
    wrapped: [Vec<u8>; 4],
}

const SECRET: usize = 0;
const IDENTITY: usize = 1;
const SIGNER: usize = 2;
const DATA: usize = 3;

fn tree() -> Tree {
    let (master, recovery) = (Identity::generate(), Identity::generate());
    let masters = masters(&[&master]);
    let to = [Recipient::of(&recovery)];
    let secret = create(&masters, ENVIRONMENT, &to).unwrap();
    let (identity, wrapped_identity) = EnvironmentIdentity::create(&masters, ENVIRONMENT, VERSION, &to).ok().unwrap();
    let (signer, wrapped_signer) = SigningKey::create(&masters, ENVIRONMENT, &to).ok().unwrap();
    let data_key = DataKey::generate(DataKeyId([7; 16])).ok().unwrap();
    let wrapped_key = data_key::wrap(&data_key, &identity, &to, STATE, EPOCH).unwrap();
    let wrapped = [secret, wrapped_identity, wrapped_signer, wrapped_key];
    Tree { master, masters, recovery, identity, data_key, signer, wrapped }
}

impl Tree {
    /// Whether this opens as what stands at `kind`.
    fn opens(&self, kind: usize, wrapped: &[u8]) -> bool {
        match kind {
            SECRET => open(&self.masters, ENVIRONMENT, wrapped).is_ok(),
            IDENTITY => EnvironmentIdentity::open(&self.masters, ENVIRONMENT, VERSION, wrapped).is_ok(),
            SIGNER => SigningKey::open(&self.masters, ENVIRONMENT, wrapped).is_ok(),
            _ => data_key::open(&self.identity, &record(self.data_key.id(), wrapped)).is_ok(),
        }
    }

    fn record(&self) -> DataKeyRecord {
        record(self.data_key.id(), &self.wrapped[DATA])
    }

    /// Whom the thing at `kind` is wrapped to.
    fn holder(&self, kind: usize) -> &Identity {
        if kind == DATA { self.identity.as_age() } else { &self.master }
    }
}

fn masters(identities: &[&Identity]) -> Masters {
    Masters::parse(&text(identities)).ok().unwrap()
}

fn text(identities: &[&Identity]) -> String {
    identities.iter().map(|identity| format!("{}\n", identity.to_string().expose_secret())).collect()
}

fn identities(of: &[&Identity]) -> Identities {
    Identities::parse(&text(of)).ok().unwrap()
}

#[test]
fn what_was_wrapped_opens_to_the_same() {
    let tree = tree();
    let (secret, master) = EnvironmentSecret::open(&tree.masters, ENVIRONMENT, &tree.wrapped[SECRET]).ok().unwrap();
    assert_eq!(master, Recipient::of(&tree.master));
    let keys = open(&tree.masters, ENVIRONMENT, &tree.wrapped[SECRET]).ok().unwrap();
    assert_eq!(secret.content_digest(b"x"), keys.content_digest(b"x"));
    let (identity, master) =
        EnvironmentIdentity::open(&tree.masters, ENVIRONMENT, VERSION, &tree.wrapped[IDENTITY]).ok().unwrap();
    assert_eq!((identity.recipient(), master), (tree.identity.recipient(), Recipient::of(&tree.master)));
    assert_eq!((identity.environment(), identity.version(), identity.expose()), (ENVIRONMENT, VERSION, tree.identity.expose()));
    let (signer, master) = SigningKey::open(&tree.masters, ENVIRONMENT, &tree.wrapped[SIGNER]).ok().unwrap();
    assert_eq!((signer.sign("a", b"b"), master), (tree.signer.sign("a", b"b"), Recipient::of(&tree.master)));
    let key = data_key::open(&identity, &tree.record()).ok().unwrap();
    assert_eq!((key.id(), key.expose()), (tree.data_key.id(), tree.data_key.expose()));
}

#[test]
fn every_kind_is_refused_in_the_place_of_another() {
    let tree = tree();
    for (kind, wrapped) in tree.wrapped.iter().enumerate() {
        for place in 0..4 {
            assert_eq!(tree.opens(place, wrapped), place == kind, "{kind} as {place}");
        }
        // Also for a holder of the right key: only the kind is wrong.
        let plain = decrypt_any(tree.holder(kind), wrapped).unwrap();
        let again = encrypt(&Recipient::of(&tree.master), &[], &plain);
        for place in (0..3).filter(|place| *place != kind) {
            assert!(!tree.opens(place, &again), "{kind} as {place}");
        }
    }
}

/// Wrapped by a holder of the very key, with everything right but the kind, or with a field too many: kinds to come may have the same fields.
#[test]
fn fields_of_another_kind_or_shape_are_refused() {
    let tree = tree();
    for (kind, wrapped) in tree.wrapped.iter().enumerate() {
        let (holder, plain) = (tree.holder(kind), decrypt_any(tree.holder(kind), wrapped).unwrap());
        let mut fields: Vec<&[u8]> = Vec::new();
        let mut rest = &plain[..plain.len() - 32];
        while let Some((length, after)) = rest.split_first_chunk::<8>() {
            let (field, after) = after.split_at(usize::try_from(u64::from_be_bytes(*length)).unwrap());
            fields.push(field);
            rest = after;
        }
        assert!(tree.opens(kind, &wrap(holder, &[], &fields).unwrap()));
        let more = [fields.as_slice(), &[b"more"]].concat();
        assert!(!tree.opens(kind, &wrap(holder, &[], &more).unwrap()), "{kind}: a field too many");
        let less = &fields[..fields.len() - 1];
        assert!(!tree.opens(kind, &wrap(holder, &[], less).unwrap()), "{kind}: a field too few");
        fields[0] = b"leasehold/v1/other";
        assert!(!tree.opens(kind, &wrap(holder, &[], &fields).unwrap()), "{kind} as another");
    }
}

#[test]
fn what_belongs_elsewhere_is_refused() {
    let tree = tree();
    let (other, id, own) = (EnvironmentId([2; 16]), tree.data_key.id(), tree.record());
    assert!(open(&tree.masters, other, &tree.wrapped[SECRET]).is_err());
    assert!(EnvironmentIdentity::open(&tree.masters, other, VERSION, &tree.wrapped[IDENTITY]).is_err());
    assert!(EnvironmentIdentity::open(&tree.masters, ENVIRONMENT, IdentityVersion(4), &tree.wrapped[IDENTITY]).is_err());
    assert!(SigningKey::open(&tree.masters, other, &tree.wrapped[SIGNER]).is_err());
    let opens = |record: DataKeyRecord| data_key::open(&tree.identity, &record).is_ok();
    assert!(opens(own.clone()));
    assert!(!opens(DataKeyRecord { state: StateId([2; 16]), ..own.clone() }));
    assert!(!opens(DataKeyRecord { id: DataKeyId([2; 16]), ..own.clone() }));
    assert!(!opens(DataKeyRecord { epoch: EPOCH + 1, ..own.clone() }), "a reencrypt would pass over it");
    let (another, _) = EnvironmentIdentity::create(&tree.masters, ENVIRONMENT, VERSION, &[]).ok().unwrap();
    assert!(data_key::open(&another, &own).is_err());
    // The same identity, said to be another environment's: only the binding is wrong.
    let fields: [&[u8]; 6] = [b"leasehold/v1/data-key", &other.0, &STATE.0, &id.0, &EPOCH.to_be_bytes(), tree.data_key.expose()];
    let moved = wrap(tree.identity.as_age(), &[], &fields).unwrap();
    assert!(!opens(record(id, &moved)));
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let tree = tree();
    for (kind, wrapped) in tree.wrapped.iter().enumerate() {
        assert!(tree.opens(kind, wrapped));
        for bit in 0..wrapped.len() * 8 {
            let mut bent = wrapped.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(!tree.opens(kind, &bent), "{kind}: bit {bit} of {}", wrapped.len() * 8);
        }
        for cut in 0..wrapped.len() {
            assert!(!tree.opens(kind, &wrapped[..cut]), "{kind}: cut at {cut}");
        }
        assert!(!tree.opens(kind, &[wrapped.as_slice(), b"\0"].concat()), "{kind}: longer");
    }
}

#[test]
fn text_changed_by_somebody_who_knows_the_recipients_is_refused_in_every_bit() {
    let tree = tree();
    for (kind, wrapped) in tree.wrapped.iter().enumerate() {
        let (holder, to) = (tree.holder(kind), Recipient::of(tree.holder(kind)));
        let plain = decrypt_any(holder, wrapped).unwrap();
        assert!(tree.opens(kind, &encrypt(&to, &[], &plain)), "a copy is as good");
        for bit in 0..plain.len() * 8 {
            let mut bent = plain.to_vec();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(!tree.opens(kind, &encrypt(&to, &[], &bent)), "{kind}: bit {bit} of {}", plain.len() * 8);
        }
        for cut in (0..plain.len()).step_by(7) {
            assert!(!tree.opens(kind, &encrypt(&to, &[], &plain[..cut])), "{kind}: cut at {cut}");
        }
    }
}

#[test]
fn what_is_forged_from_the_recipients_alone_is_refused() {
    let (tree, foreign) = (tree(), tree());
    for kind in 0..4 {
        let to = Recipient::of(tree.holder(kind));
        // Well-formed throughout, and authenticated under a key of the forger: the ids are right, the key material is the forger's.
        let forged = decrypt_any(foreign.holder(kind), &foreign.wrapped[kind]).unwrap();
        assert!(foreign.opens(kind, &encrypt(&Recipient::of(foreign.holder(kind)), &[], &forged)));
        assert!(!tree.opens(kind, &encrypt(&to, &[], &forged)), "{kind}: under a foreign key");
        let unsigned = [&forged[..forged.len() - 32], &[0; 32]].concat();
        assert!(!tree.opens(kind, &encrypt(&to, &[], &unsigned)), "{kind}: under none");
    }
    // The forger's data key has another id: the same for the id that is expected.
    let forger = DataKey::new(tree.data_key.id(), &[7; 32]);
    let wrapped = data_key::wrap(&forger, &foreign.identity, &[], STATE, EPOCH).unwrap();
    let forged = decrypt_any(foreign.identity.as_age(), &wrapped).unwrap();
    assert!(!tree.opens(DATA, &encrypt(&tree.identity.recipient(), &[], &forged)));
}

#[test]
fn old_masters_open_and_say_that_a_rewrap_is_due() {
    let tree = tree();
    let new = Identity::generate();
    let (both, new_alone) = (masters(&[&new, &tree.master]), masters(&[&new]));
    let (secret, by) = EnvironmentSecret::open(&both, ENVIRONMENT, &tree.wrapped[SECRET]).ok().unwrap();
    assert_eq!(by, Recipient::of(&tree.master));
    let (identity, by) = EnvironmentIdentity::open(&both, ENVIRONMENT, VERSION, &tree.wrapped[IDENTITY]).ok().unwrap();
    assert_eq!(by, Recipient::of(&tree.master));
    let (signer, by) = SigningKey::open(&both, ENVIRONMENT, &tree.wrapped[SIGNER]).ok().unwrap();
    assert_eq!(by, Recipient::of(&tree.master));
    let again = [secret.rewrap(&both, &[]), identity.rewrap(&both, &[]), signer.rewrap(&both, &[])].map(Result::unwrap);
    for (kind, wrapped) in again.iter().enumerate() {
        assert!(!tree.opens(kind, wrapped), "{kind} still opens with the old master");
    }
    let opened = EnvironmentIdentity::open(&new_alone, ENVIRONMENT, VERSION, &again[IDENTITY]).ok().unwrap();
    assert_eq!((opened.0.recipient(), opened.1), (tree.identity.recipient(), both.recipient()));
    assert!(open(&new_alone, ENVIRONMENT, &again[SECRET]).is_ok());
    assert!(SigningKey::open(&new_alone, ENVIRONMENT, &again[SIGNER]).is_ok());
    assert!(EnvironmentIdentity::open(&new_alone, ENVIRONMENT, VERSION, &tree.wrapped[IDENTITY]).is_err());
}

#[test]
fn data_keys_move_to_another_identity_and_stay_the_same() {
    let tree = tree();
    let (next, _) = EnvironmentIdentity::create(&tree.masters, ENVIRONMENT, IdentityVersion(4), &[]).ok().unwrap();
    let own = tree.record();
    let moved = data_key::rewrap(&tree.identity, &next, &[], &own).unwrap();
    assert!(!tree.opens(DATA, &moved), "the old identity does not open it");
    let moved = record(own.id, &moved);
    assert_eq!(data_key::open(&next, &moved).ok().unwrap().expose(), tree.data_key.expose());
    assert!(recovery::data_key(&identities(&[&tree.recovery]), &next, &moved).is_err(), "nor does who is no longer named");
    let (foreign, _) = EnvironmentIdentity::create(&tree.masters, EnvironmentId([2; 16]), VERSION, &[]).ok().unwrap();
    let refused = Some(WrapError::Unwrap(UnwrapError));
    assert_eq!(data_key::rewrap(&tree.identity, &foreign, &[], &own).err(), refused);
    assert_eq!(data_key::rewrap(&next, &tree.identity, &[], &own).err(), refused);
}

#[test]
fn recovery_opens_everything_without_a_master() {
    let tree = tree();
    // Several in one file, in any order.
    let recovery = identities(&[&Identity::generate(), &tree.recovery]);
    let recipient = tree.identity.recipient();
    let identity =
        recovery::environment_identity(&recovery, ENVIRONMENT, VERSION, &recipient, &tree.wrapped[IDENTITY]).ok().unwrap();
    let key = recovery::data_key(&recovery, &identity, &tree.record()).ok().unwrap();
    assert_eq!(key.expose(), tree.data_key.expose());
    assert!(data_key::open(&identity, &tree.record()).is_ok(), "the identity opens it, too");
    let public = tree.signer.verifying_key();
    let signer = recovery::signing_key(&recovery, ENVIRONMENT, &public, &tree.wrapped[SIGNER]).ok().unwrap();
    assert_eq!(signer.sign("a", b"b"), tree.signer.sign("a", b"b"));
    let secret = recovery::danger_environment_secret(&recovery, ENVIRONMENT, &tree.wrapped[SECRET]).ok().unwrap();
    // All go on under a new master.
    let masters = Masters::ephemeral();
    let keys = open(&masters, ENVIRONMENT, &secret.rewrap(&masters, &[]).unwrap()).ok().unwrap();
    assert_eq!(
        keys.content_digest(b"x"),
        open(&tree.masters, ENVIRONMENT, &tree.wrapped[SECRET]).ok().unwrap().content_digest(b"x")
    );
    assert!(EnvironmentIdentity::open(&masters, ENVIRONMENT, VERSION, &identity.rewrap(&masters, &[]).unwrap()).is_ok());
    assert!(SigningKey::open(&masters, ENVIRONMENT, &signer.rewrap(&masters, &[]).unwrap()).is_ok());
}

/// Here nothing is authenticated under the master's secret; age itself sees every change by somebody who does not know what is inside.
#[test]
fn flipped_bits_are_refused_by_recovery() {
    let tree = tree();
    let (recovery, recipient, public) = (identities(&[&tree.recovery]), tree.identity.recipient(), tree.signer.verifying_key());
    let opens = |kind: usize, wrapped: &[u8]| match kind {
        SECRET => recovery::danger_environment_secret(&recovery, ENVIRONMENT, wrapped).is_ok(),
        IDENTITY => recovery::environment_identity(&recovery, ENVIRONMENT, VERSION, &recipient, wrapped).is_ok(),
        SIGNER => recovery::signing_key(&recovery, ENVIRONMENT, &public, wrapped).is_ok(),
        _ => recovery::data_key(&recovery, &tree.identity, &record(tree.data_key.id(), wrapped)).is_ok(),
    };
    for (kind, wrapped) in tree.wrapped.iter().enumerate() {
        assert!(opens(kind, wrapped));
        for bit in (kind % 3..wrapped.len() * 8).step_by(3) {
            let mut bent = wrapped.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(!opens(kind, &bent), "{kind}: bit {bit} of {}", wrapped.len() * 8);
        }
    }
}

#[test]
fn recovery_refuses_strangers_other_places_and_forged_data_keys() {
    let (tree, foreign) = (tree(), tree());
    let (recovery, stranger) = (identities(&[&tree.recovery]), identities(&[&Identity::generate()]));
    let (recipient, wrapped) = (tree.identity.recipient(), &tree.wrapped);
    let identity = |by: &Identities, environment, version, recipient: &Recipient| {
        recovery::environment_identity(by, environment, version, recipient, &wrapped[IDENTITY]).is_ok()
    };
    assert!(identity(&recovery, ENVIRONMENT, VERSION, &recipient));
    assert!(!identity(&stranger, ENVIRONMENT, VERSION, &recipient));
    assert!(!identity(&recovery, EnvironmentId([2; 16]), VERSION, &recipient));
    assert!(!identity(&recovery, ENVIRONMENT, IdentityVersion(4), &recipient));
    assert!(!identity(&recovery, ENVIRONMENT, VERSION, &foreign.identity.recipient()), "not that of the stored recipient");
    let (public, other) = (tree.signer.verifying_key(), foreign.signer.verifying_key());
    assert!(recovery::signing_key(&stranger, ENVIRONMENT, &public, &wrapped[SIGNER]).is_err());
    assert!(recovery::signing_key(&recovery, ENVIRONMENT, &other, &wrapped[SIGNER]).is_err());
    assert!(recovery::danger_environment_secret(&recovery, EnvironmentId([2; 16]), &wrapped[SECRET]).is_err());
    let data_key = |record: DataKeyRecord| recovery::data_key(&recovery, &tree.identity, &record).is_ok();
    let (id, own) = (tree.data_key.id(), tree.record());
    assert!(data_key(own.clone()));
    assert!(!data_key(DataKeyRecord { state: StateId([2; 16]), ..own.clone() }));
    assert!(!data_key(DataKeyRecord { id: DataKeyId([2; 16]), ..own.clone() }));
    assert!(!data_key(DataKeyRecord { epoch: EPOCH + 1, ..own }));
    let theirs = DataKey::new(id, &[7; 32]);
    let theirs = data_key::wrap(&theirs, &foreign.identity, &[Recipient::of(&tree.recovery)], STATE, EPOCH).unwrap();
    assert!(!data_key(record(id, &theirs)), "made by one who knows the recovery recipient, under a key of their own");
    assert!(data_key::wrap(&tree.data_key, &tree.identity, &[], STATE, EPOCH).is_ok_and(|alone| !data_key(record(id, &alone))));
}

#[test]
fn recipients_are_bounded_and_named_twice_are_wrapped_to_once() {
    let tree = tree();
    let many: Vec<Recipient> = (0..=MOST_RECIPIENTS).map(|_| Recipient::of(&Identity::generate())).collect();
    assert_eq!(data_key::wrap(&tree.data_key, &tree.identity, &many, STATE, EPOCH).err(), Some(WrapError::Recipients));
    let most = data_key::wrap(&tree.data_key, &tree.identity, &many[1..], STATE, EPOCH).unwrap();
    assert!(tree.opens(DATA, &most));
    let twice = [many[0].clone(), many[0].clone(), tree.identity.recipient()];
    let wrapped = data_key::wrap(&tree.data_key, &tree.identity, &twice, STATE, EPOCH).unwrap();
    let stanzas = String::from_utf8_lossy(&wrapped).matches("-> X25519 ").count();
    assert_eq!(stanzas, 2);
    assert!(!tree.opens(DATA, &[most.as_slice(), &[0; 16 << 10]].concat()), "larger than any of ours");
}

#[test]
fn keys_are_wiped_where_they_stood() {
    fn wipes<T: zeroize::ZeroizeOnDrop>() {}
    wipes::<DataKey>();
    wipes::<EnvironmentSecret>();
    wipes::<crate::secrets::operational::OperationKeys>();
    wipes::<ed25519_dalek::SigningKey>();
    let tree = tree();
    let secret = *tree.data_key.expose();
    let mut wiped = DataKey::new(tree.data_key.id(), &secret);
    wiped.zeroize();
    assert_eq!(wiped.expose(), &[0; 32]);
    let place = |key: &DataKey| ((&raw const *key.expose()).addr(), 32);
    assert!(is_wiped_where(DataKey::new(tree.data_key.id(), &secret), &secret, place));
    let seed = decrypt_any(&tree.master, &tree.wrapped[SIGNER]).unwrap();
    let seed = seed[seed.len() - 64..seed.len() - 32].try_into().unwrap();
    assert!(is_wiped_on_drop(tree.signer, &seed));
    let (_, raw) = bech32::decode(&tree.identity.expose()).unwrap();
    assert!(is_wiped_on_drop(tree.identity, &raw.try_into().unwrap()), "age wipes its own");
}

/// Wrapped keys as version 1 makes them. Databases and backups hold such: they open for ever.
#[test]
fn frozen_vectors_open() {
    let text = include_str!("../../../tests/vectors/keys-v1.txt");
    let lines = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    let vector: HashMap<&str, &str> = lines.collect();
    let bytes = |name: &str| -> Vec<u8> {
        let hex = vector[name].as_bytes();
        hex.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    };
    let id = |name: &str| -> [u8; 16] { bytes(name).try_into().unwrap() };
    let masters = Masters::parse(vector["master"]).ok().unwrap();
    let environment = EnvironmentId(id("environment"));
    let keys = open(&masters, environment, &bytes("environment-secret")).ok().unwrap();
    assert_eq!(keys.content_digest(b"document").0.as_slice(), bytes("content-digest"));
    let version = IdentityVersion(vector["identity-version"].parse().unwrap());
    let (identity, _) = EnvironmentIdentity::open(&masters, environment, version, &bytes("environment-identity")).ok().unwrap();
    assert_eq!(identity.recipient().to_string(), vector["identity-recipient"]);
    let (signer, _) = SigningKey::open(&masters, environment, &bytes("signing-key")).ok().unwrap();
    assert_eq!(signer.verifying_key().to_string(), vector["public-key"]);
    assert_eq!(signer.sign("purpose", b"message").as_slice(), bytes("signature"));
    let epoch = vector["data-key-epoch"].parse().unwrap();
    let key = DataKeyRecord { state: StateId(id("state")), epoch, ..record(DataKeyId(id("data-key-id")), &bytes("data-key")) };
    let opened = data_key::open(&identity, &key).ok().unwrap();
    assert_eq!(opened.expose().as_slice(), bytes("data-key-bytes"));
    let recovery = Identities::parse(vector["recovery"]).ok().unwrap();
    let recovered =
        recovery::environment_identity(&recovery, environment, version, &identity.recipient(), &bytes("environment-identity"));
    assert!(recovery::data_key(&recovery, &recovered.ok().unwrap(), &key).is_ok());
}
