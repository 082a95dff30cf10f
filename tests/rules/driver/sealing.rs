//! Documents as the service seals them, as far as the rules see it.

use leasehold::domain::command::{Act, Command, ContentAct, Write};
use leasehold::domain::document::Content;
use leasehold::domain::format::{Format, TerraformHeader};
use leasehold::domain::ids::{BodyId, DataKeyId, KeyedDigest, StateId, Version};
use leasehold::domain::rules::SealRules;
use leasehold::domain::sealing::{
    DataKeyRecord, Ground, IdentityRecord, KeyStatus, Keyring, Ordinals, SealMeta, UnderMaster, Vouched, Wrapped,
};
use leasehold::domain::time::WallTime;
use leasehold::store::{Query, Rows, Store};

/// The keyring of a new environment.
pub(super) fn keyring() -> Keyring {
    let under = || UnderMaster { master: "age1master".to_owned(), wrapped: Wrapped(b"wrapped".to_vec()) };
    let recipient = "age1identity".to_owned();
    let created = WallTime::default();
    Keyring {
        revision: 0,
        secret: under(),
        signer: ("signer".to_owned(), under()),
        identities: vec![IdentityRecord { version: 1, status: KeyStatus::Active, recipient, key: Some(under()), created }],
        recovery: Vec::new(),
        rules: SealRules::default(),
        vouched: Vouched::default(),
        job: None,
        verified: None,
    }
}

/// A document that is sealed on no ground yet.
pub(super) fn content(
    body: BodyId,
    bytes: Vec<u8>,
    digest: KeyedDigest,
    format: Format,
    terraform: Option<TerraformHeader>,
) -> Content {
    let (state, data_key, mac) = (StateId::default(), DataKeyId::default(), KeyedDigest([0; 32]));
    Content {
        body,
        inline: Some(vec![bytes]),
        values: Vec::new(),
        ordinals: Ordinals::default(),
        ground: Ground { state, data_key, epoch: 0, next_ordinal: 0, collected: 0 },
        new_key: None,
        seal: SealMeta { state, version: Version(0), data_key, rules: (1, 0), overflow: false, pieces: 1, mac },
        draft_mac: mac,
        stored_size: 8,
        shown_size: 8,
        digest,
        head_digest: None,
        format,
        terraform,
    }
}

/// The same command, its document sealed on what the state is sealed on now.
pub(super) async fn grounded(store: &dyn Store, mut command: Command) -> Command {
    let Act::Content(state, act) = &mut command.act else { return command };
    let ContentAct::Write(Write { content: Some(content), expect, fresh_state, .. }) = act.as_mut() else { return command };
    let Ok(Rows::Top(current, ground)) = store.select(Query::Top(state.clone())).await else { return command };
    let Ok(Rows::Keyrings(keyrings)) = store.select(Query::Keyring(state.environment.clone())).await else { return command };
    let Some((environment, _)) = keyrings.into_iter().next() else { return command };
    // Ids are drawn for each try, as the service does; that of the body is.
    *fresh_state = ground.as_ref().map_or(StateId(content.body.0), |(ground, _)| ground.state);
    let state = current.filter(|current| !current.deleted()).map_or(*fresh_state, |live| live.state);
    match ground {
        Some((ground, _)) => content.ground = ground,
        None => {
            // The body's id is as unique as a key's.
            let (id, epoch, identity) = (DataKeyId(content.body.0), environment.key_epoch, environment.identity);
            let (status, wrapped) = (KeyStatus::Active, Wrapped(b"wrapped".to_vec()));
            content.new_key = Some(DataKeyRecord { id, state, identity, epoch, status, wrapped });
            content.ground = Ground { state, data_key: id, epoch, next_ordinal: 0, collected: 0 };
        }
    }
    let version = Version(expect.version.0.saturating_add(1));
    content.seal = SealMeta { state, version, data_key: content.ground.data_key, ..content.seal };
    command
}
