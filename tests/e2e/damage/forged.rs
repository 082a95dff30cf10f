//! What somebody can make who has the database and the public recipients, and no secret: well-formed in every part.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use leasehold::domain::format::Format;
use leasehold::domain::ids::{EnvironmentId, StateId, Token, Version};
use leasehold::secrets::data_key::DataKey;
use leasehold::secrets::keys::{EnvironmentIdentity, EnvironmentSecret, SigningKey};
use leasehold::secrets::master::Masters;
use leasehold::secrets::seal::cut::cut;
use leasehold::secrets::seal::mac::{Subject, mac};
use leasehold::secrets::seal::skeleton::{Body, seal_skeleton};
use leasehold::secrets::seal::{Binding, Holder, SealingKeys};
use rusqlite::{Connection, params};

use super::rows::{key_of, one};
use super::stored::document_of;

/// What stands where the MAC under the environment's secret belongs.
pub(super) enum Mac {
    Zero,
    /// Computed as if the forger's key were the environment's.
    Own,
}

/// Puts a whole document of the forger's at `dev/other`, under a data key of the forger's that is wrapped to the environment's recipient.
pub(super) fn document(db: &Connection, kind: &Mac) {
    let environment = EnvironmentId(one(db, "SELECT id FROM environment WHERE name = 'dev'"));
    let recipient: String =
        one(db, "SELECT json_extract(meta, '$.identities[0].recipient') FROM keyring WHERE environment = 'dev'");
    let key_row = key_of("dev", "other");
    let state = StateId(one(db, &format!("SELECT state FROM data_key WHERE {key_row}")));
    let key = DataKey::new(
        leasehold::domain::ids::DataKeyId(one(db, &format!("SELECT id FROM data_key WHERE {key_row}"))),
        &[0x42; 32],
    );
    let epoch = one::<u32>(db, &format!("SELECT epoch FROM data_key WHERE {key_row}")).to_be_bytes();
    let fields: [&[u8]; 6] = [b"leasehold/v1/data-key", &environment.0, &state.0, &key.id().0, &epoch, key.expose()];
    let mut plain: Vec<u8> = fields.iter().flat_map(|field| [&(field.len() as u64).to_be_bytes()[..], field].concat()).collect();
    plain.extend_from_slice(&match kind {
        Mac::Zero => [0; 32],
        Mac::Own => {
            let mut own = [0; 32];
            key.derive("wrap", &mut own);
            own
        }
    });
    let wrapped = age::encrypt(&recipient.parse::<age::x25519::Recipient>().unwrap(), &plain).unwrap();
    db.execute(&format!("UPDATE data_key SET wrapped = ?1 WHERE {key_row}"), params![wrapped]).unwrap();

    let keys = SealingKeys::derive(&key);
    let binding = Binding { environment, state };
    let forged = b"{\"version\": 4, \"serial\": 1, \"lineage\": \"l\", \"outputs\": {}, \"resources\": []}";
    let parts = cut(forged, &[]).unwrap();
    let head = parts.head(Vec::new(), &[], false);
    let body = Body { binding, holder: Holder::Version(Version(1)), base: None };
    let pieces = seal_skeleton(&keys, &body, &head, &parts.text).unwrap();
    let (table, row) = document_of("dev/other 1");
    let (token, rules): (u64, u32) = (
        one(db, &format!("SELECT json_extract(meta, '$.token') FROM {table} WHERE {row}")),
        one(db, &format!("SELECT json_extract(meta, '$.seal.rules[0]') FROM {table} WHERE {row}")),
    );
    let holder = Holder::Version(Version(1));
    let subject =
        Subject { binding, holder, previous_etag: None, token: Token(token), format: Format::Terraform, rules: (rules, 0) };
    let bound = mac::<Vec<u8>>(&keys, &subject, &head.encode(), &[], &parts.text);
    let hex: String = bound.iter().map(|byte| format!("{byte:02x}")).collect();
    let sql = format!(
        "UPDATE {table} SET ordinals = '[]', meta = json_set(meta, '$.seal.mac', ?1, '$.seal.pieces', {}) WHERE {row}",
        pieces.len()
    );
    assert_eq!(db.execute(&sql, params![hex]).unwrap(), 1);
    for (n, piece) in pieces.iter().enumerate() {
        let sql = format!("INSERT OR REPLACE INTO chunk (body, n, bytes) SELECT body, ?1, ?2 FROM {table} WHERE {row}");
        db.execute(&sql, params![n, piece]).unwrap();
    }
}

/// Puts keys of the forger's in the place of an environment's: made under a master of the forger's, wrapped to the real one as well, which is
/// public.
pub(super) fn environment(db: &Connection) {
    let id = EnvironmentId(one(db, "SELECT id FROM environment WHERE name = 'dev'"));
    let real: String = one(db, "SELECT json_extract(meta, '$.secret.master') FROM keyring WHERE environment = 'dev'");
    let (forger, to) = (Masters::ephemeral(), [real.parse().unwrap_or_else(|error| panic!("{error}"))]);
    let (identity, wrapped) = EnvironmentIdentity::create(&forger, id, leasehold::domain::ids::IdentityVersion(1), &to).unwrap();
    let (signer, signing) = SigningKey::create(&forger, id, &to).unwrap();
    let secret = EnvironmentSecret::create(&forger, id, &to).unwrap().1;
    let text = |wrapped: Vec<u8>| STANDARD_NO_PAD.encode(wrapped);
    let sql = "UPDATE keyring SET meta = json_set(meta, '$.secret.wrapped', ?1, '$.signer[0]', ?2, '$.signer[1].wrapped', ?3,
        '$.identities[0].recipient', ?4, '$.identities[0].key.wrapped', ?5) WHERE environment = 'dev'";
    let values =
        params![text(secret), signer.verifying_key().to_string(), text(signing), identity.recipient().to_string(), text(wrapped)];
    assert_eq!(db.execute(sql, values).unwrap(), 1);
}
