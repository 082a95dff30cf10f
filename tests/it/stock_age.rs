//! The stock `age` opens what we wrap: nobody needs us to read their keys, given the identity.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use leasehold::domain::ids::{DataKeyId, EnvironmentId, Etag, IdentityVersion, StateId, Version};
use leasehold::secrets::data_key::DataKey;
use leasehold::secrets::keys::{self, EnvironmentIdentity, SigningKey};
use leasehold::secrets::master::{MasterSource, Masters};
use leasehold::secrets::recipient::Recipient;
use leasehold::secrets::view::sealed::{Subject, seal_for};

use super::support::require::program;

const ENVIRONMENT: EnvironmentId = EnvironmentId([0xe1; 16]);
const STATE: StateId = StateId([0x51; 16]);

/// What `age` decrypts with an identity file.
fn decrypt(age: &Path, identity: &Path, file: &[u8]) -> Result<Vec<u8>, String> {
    let mut child = Command::new(age)
        .args(["--decrypt", "--identity"])
        .arg(identity)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // All of it fits the pipe's buffer.
    child.stdin.take().unwrap().write_all(file).unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.success() { Ok(output.stdout) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// `lp(field) ‖ … ‖ HMAC`, as docs and `wrap.rs` have it, read by hand.
fn fields(mut plain: &[u8]) -> Vec<Vec<u8>> {
    let mut fields = Vec::new();
    while plain.len() > 32 {
        let (length, rest) = plain.split_first_chunk::<8>().unwrap();
        let (field, rest) = rest.split_at(usize::try_from(u64::from_be_bytes(*length)).unwrap());
        fields.push(field.to_vec());
        plain = rest;
    }
    assert_eq!(plain.len(), 32, "a MAC, and nothing after it");
    fields
}

#[test]
fn stock_age_walks_down_the_tree_of_keys() {
    let Some(age) = program("age") else { return };
    let folder = tempfile::tempdir().unwrap();
    let master_file = folder.path().join("master.key");
    let masters = MasterSource::File(master_file.clone()).load_or_create(true, None).ok().unwrap();
    let recovery_file = folder.path().join("recovery.key");
    let recovery = MasterSource::File(recovery_file.clone()).load_or_create(true, None).ok().unwrap();
    let to: [Recipient; 1] = [recovery.recipient()];
    let (identity, wrapped_identity) = EnvironmentIdentity::create(&masters, ENVIRONMENT, IdentityVersion(3), &to).ok().unwrap();
    let data_key = DataKey::generate(DataKeyId([7; 16])).ok().unwrap();
    let wrapped_key = keys::data_key::wrap(&data_key, &identity, &to, STATE, 5).unwrap();

    let opened = fields(&decrypt(&age, &master_file, &wrapped_identity).unwrap());
    assert_eq!(
        opened[..3],
        [b"leasehold/v1/environment-identity".to_vec(), ENVIRONMENT.0.to_vec(), 3_u64.to_be_bytes().to_vec()]
    );
    assert_eq!(opened[3], identity.recipient().to_string().as_bytes());
    let identity_file = folder.path().join("identity.key");
    std::fs::write(&identity_file, &opened[4]).unwrap();

    let epoch = 5_u32.to_be_bytes();
    let expected = [b"leasehold/v1/data-key".as_slice(), &ENVIRONMENT.0, &STATE.0, &data_key.id().0, &epoch, data_key.expose()];
    for opener in [&identity_file, &recovery_file] {
        assert_eq!(fields(&decrypt(&age, opener, &wrapped_key).unwrap()), expected);
    }
    let refused = decrypt(&age, &master_file, &wrapped_key).unwrap_err();
    assert!(refused.contains("no identity matched"), "the master opens no data key: {refused}");
}

#[test]
fn stock_age_opens_a_sealed_view_below_its_header() {
    let Some(age) = program("age") else { return };
    let folder = tempfile::tempdir().unwrap();
    let reader_file = folder.path().join("reader.key");
    let reader = MasterSource::File(reader_file.clone()).load_or_create(true, None).ok().unwrap();
    let (signer, _) = SigningKey::create(&Masters::ephemeral(), ENVIRONMENT, &[]).ok().unwrap();
    let state = "prod/network/eu".parse().unwrap();
    let subject = Subject { state, state_id: STATE, version: Version(7), etag: Etag([0xa5; 16]) };
    let sealed = seal_for(&reader.recipient(), &signer, &subject, b"{\"secret\": 1}\n");
    let end = sealed.windows(2).position(|window| window == b"\n\n").unwrap();
    assert_eq!(decrypt(&age, &reader_file, &sealed[end + 2..]).unwrap(), b"{\"secret\": 1}\n");
}
