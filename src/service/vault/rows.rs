//! Rows of keys in which somebody has changed one bit.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::*;
use crate::domain::settings::{Limits, Settings};

const ID: EnvironmentId = EnvironmentId([0xe1; 16]);
const STATE: StateId = StateId([0x51; 16]);
const KEY: DataKeyId = DataKeyId([0xd1; 16]);

fn environment(id: EnvironmentId) -> Environment {
    let settings = Settings::default_within(&Limits::default());
    let (name, created) = ("dev".parse().unwrap(), WallTime::default());
    Environment { id, name, settings, frozen: None, created, identity: 1, key_epoch: 1 }
}

/// A keyring with recovery recipients.
fn keyring(masters: &Masters) -> Keyring {
    let recovery = [Masters::ephemeral().recipient(), Masters::ephemeral().recipient()];
    Ring::create(masters, ID, &recovery).expect("two recipients are not too many")
}

fn bent(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bent = bytes.to_vec();
    bent[bit / 8] ^= 1 << (bit % 8);
    bent
}

/// The same keyring with what decides nothing as in another: its revision, and when identities were made. The digest of the row is all that they
/// have.
fn with_words_of(changed: &Keyring, of: &Keyring) -> Keyring {
    let mut same = Keyring { revision: of.revision, ..changed.clone() };
    for (identity, of) in same.identities.iter_mut().zip(&of.identities) {
        identity.created = of.created;
    }
    same
}

#[test]
fn keyring_with_any_bit_changed_opens_nothing() {
    let masters = Masters::ephemeral();
    let keyring = keyring(&masters);
    let text = serde_json::to_vec(&keyring).unwrap();
    let opens = |keyring: &Keyring| Ring::open(&masters, environment(ID), keyring.clone());
    assert!(opens(&keyring).is_ok_and(|ring| ring.recovery().is_ok()));
    // The wraps by themselves are changed in every bit where they are made.
    let mut within = vec![false; text.len()];
    for wrap in [&keyring.secret, &keyring.signer.1, keyring.identities[0].key.as_ref().unwrap()] {
        let wrap = STANDARD_NO_PAD.encode(&wrap.wrapped.0);
        let at = memchr::memmem::find(&text, wrap.as_bytes()).unwrap();
        within[at..at + wrap.len()].fill(true);
    }
    let (mut unread, mut refused, mut words) = (0, 0, 0);
    for bit in (0..text.len() * 8).filter(|bit| !within[bit / 8] || bit % 5 == 0) {
        let Ok(changed) = serde_json::from_slice::<Keyring>(&bent(&text, bit)) else {
            unread += 1;
            continue;
        };
        if opens(&changed).is_err() {
            refused += 1;
            continue;
        }
        assert_eq!(with_words_of(&changed, &keyring), keyring, "bit {bit} of {} goes unnoticed", text.len() * 8);
        words += 1;
    }
    assert!(unread > 1000 && refused > 1000 && words > 0, "{unread} cannot be read, {refused} are refused, {words} change words");
    for bit in 0..32 {
        let (identity, key_epoch) = (1 ^ 1 << bit, 1 ^ 1 << bit);
        let changed = Environment { identity, ..environment(ID) };
        assert!(Ring::open(&masters, changed, keyring.clone()).is_err(), "bit {bit} of the identity");
        let changed = Environment { key_epoch, ..environment(ID) };
        assert!(Ring::open(&masters, changed, keyring.clone()).is_err(), "bit {bit} of the epoch");
    }
    for bit in 0..128 {
        let id = EnvironmentId(bent(&ID.0, bit).try_into().unwrap());
        assert!(Ring::open(&masters, environment(id), keyring.clone()).is_err(), "bit {bit} of the environment");
    }
}

#[test]
fn recovery_recipients_and_rules_of_somebody_who_can_only_write_are_refused() {
    let masters = Masters::ephemeral();
    let keyring = keyring(&masters);
    let opens = |keyring: Keyring| Ring::open(&masters, environment(ID), keyring);
    let ring = opens(keyring.clone()).ok().unwrap();
    let mut more = keyring.clone();
    more.recovery.push(Masters::ephemeral().recipient().to_string());
    assert!(opens(more.clone()).is_err(), "one more recipient");
    let fewer = Keyring { recovery: keyring.recovery[1..].to_vec(), ..keyring.clone() };
    assert!(opens(fewer).is_err(), "one less");
    more.vouched.recovery = ring.secret.vouch_for_recovery(2, &more.recovery);
    assert!(opens(more.clone()).is_err(), "those of another identity");
    more.vouched.recovery = ring.secret.vouch_for_recovery(1, &more.recovery);
    assert!(opens(more).is_ok(), "those that are vouched for");

    let except = |revision| crate::domain::rules::SealRules::new(revision, vec!["except *:**".parse().unwrap()]).unwrap();
    let mut other = Keyring { rules: except(0), ..keyring };
    assert!(opens(other.clone()).is_err(), "other rules");
    other.vouched.rules = ring.secret.vouch_for_rules(&except(1));
    assert!(opens(other.clone()).is_err(), "those of another revision");
    other.vouched.rules = ring.secret.vouch_for_rules(&except(0));
    assert!(opens(other).is_ok(), "those that are vouched for");
}

#[test]
fn lives_of_identities_that_no_rotation_leaves_are_refused() {
    let masters = Masters::ephemeral();
    let keyring = keyring(&masters);
    for status in [KeyStatus::Pending, KeyStatus::DecryptOnly, KeyStatus::Retired, KeyStatus::Destroyed] {
        let mut other = keyring.clone();
        other.identities[0].status = status;
        assert!(Ring::open(&masters, environment(ID), other).is_err(), "{status:?}");
    }
    let mut none = keyring.clone();
    none.identities[0].key = None;
    assert!(Ring::open(&masters, environment(ID), none).is_err(), "active without a key");
    let ring = Ring::open(&masters, environment(ID), keyring.clone()).ok().unwrap();
    let verified = Some(crate::domain::sealing::Verified { finished: WallTime(5), documents: 3, failures: 0 });
    let mut told = Keyring { verified, ..keyring };
    assert!(Ring::open(&masters, environment(ID), told.clone()).is_err(), "everything was opened, says somebody");
    told.vouched.verified = ring.secret.vouch_for_verified(verified.as_ref());
    assert!(Ring::open(&masters, environment(ID), told).is_ok(), "says the server");
}

#[test]
fn data_key_with_any_bit_of_its_row_changed_does_not_open() {
    let masters = Masters::ephemeral();
    let ring = Ring::open(&masters, environment(ID), keyring(&masters)).ok().unwrap();
    let recovery = ring.recovery().ok().unwrap();
    let key = DataKey::new(KEY, &[7; 32]);
    let wrapped = Wrapped(data_key::wrap(&key, ring.active().ok().unwrap(), &recovery, STATE, 1).unwrap());
    let record = DataKeyRecord { id: KEY, state: STATE, identity: 1, epoch: 1, status: KeyStatus::Active, wrapped };
    assert!(ring.open_data_key(&record).is_ok());
    for bit in 0..128 {
        let id = DataKeyId(bent(&KEY.0, bit).try_into().unwrap());
        assert!(ring.open_data_key(&DataKeyRecord { id, ..record.clone() }).is_err(), "bit {bit} of the id");
        let state = StateId(bent(&STATE.0, bit).try_into().unwrap());
        assert!(ring.open_data_key(&DataKeyRecord { state, ..record.clone() }).is_err(), "bit {bit} of the state");
    }
    for bit in 0..32 {
        let identity = record.identity ^ 1 << bit;
        assert!(
            ring.open_data_key(&DataKeyRecord { identity, ..record.clone() }).is_err(),
            "bit {bit} of the identity's version"
        );
        let epoch = record.epoch ^ 1 << bit;
        assert!(ring.open_data_key(&DataKeyRecord { epoch, ..record.clone() }).is_err(), "bit {bit} of the epoch");
    }
    // Of the right epoch by its own account, which the environment has not come to.
    let wrapped = Wrapped(data_key::wrap(&key, ring.active().ok().unwrap(), &recovery, STATE, 2).unwrap());
    assert!(ring.open_data_key(&DataKeyRecord { epoch: 2, wrapped, ..record.clone() }).is_err(), "an epoch to come");
    for bit in 0..record.wrapped.0.len() * 8 {
        let wrapped = Wrapped(bent(&record.wrapped.0, bit));
        assert!(ring.open_data_key(&DataKeyRecord { wrapped, ..record.clone() }).is_err(), "bit {bit} of the wrap");
    }
}
