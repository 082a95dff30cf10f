//! Short ways to say commands.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leasehold::domain::command::{Acquire, Act, Command, ContentAct, EnvironmentAct, LockAct, Write};
use leasehold::domain::document::{Content, Expect, Origin};
use leasehold::domain::environment::Environment;
use leasehold::domain::format::{Format, TerraformHeader};
use leasehold::domain::ids::{BodyId, DataKeyId, DraftId, EnvironmentId, Etag, KeyedDigest, RequestId, StateId, Token, Version};
use leasehold::domain::lock::Mode;
use leasehold::domain::names::{Labels, StateName};
use leasehold::domain::rules::SealRules;
use leasehold::domain::sealing::{
    DataKeyRecord, Ground, IdentityRecord, KeyStatus, Keyring, Ordinals, SealMeta, UnderMaster, Vouched, Wrapped,
};
use leasehold::domain::settings::SettingsChange;
use leasehold::domain::time::WallTime;
use leasehold::store::{Query, Rows, Store};

/// 16 bytes that no other call gets, in ascending order, as UUIDv7 are.
pub(crate) fn fresh() -> [u8; 16] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed)).to_be_bytes()
}

pub(crate) fn state(name: &str) -> StateName {
    name.parse().unwrap()
}

pub(crate) fn command(act: Act) -> Command {
    Command { principal: "ci".parse().unwrap(), trace: std::sync::Arc::default(), request: None, act }
}

/// The same with a request id and the digest of one byte.
pub(crate) fn with_request(command: Command, id: [u8; 16], digest: u8) -> Command {
    Command { request: Some((RequestId(id), KeyedDigest([digest; 32]))), ..command }
}

pub(crate) fn environment(name: &str, act: EnvironmentAct) -> Command {
    command(Act::Environment(name.parse().unwrap(), act))
}

pub(crate) fn create(name: &str) -> Command {
    create_with(name, SettingsChange::default())
}

pub(crate) fn create_with(name: &str, settings: SettingsChange) -> Command {
    environment(name, EnvironmentAct::Create { id: EnvironmentId(fresh()), settings, keyring: Box::new(keyring()) })
}

pub(crate) fn lock(name: &str, act: LockAct) -> Command {
    command(Act::Lock(state(name), act))
}

pub(crate) fn asks(session: &str, mode: Mode, wait: bool) -> Acquire {
    Acquire {
        session: session.parse().unwrap(),
        mode,
        ttl: Some(Duration::from_secs(20)),
        wait,
        labels: Labels::default(),
        unattended: false,
        polls: false,
        plan: false,
        once: false,
    }
}

pub(crate) fn acquire(name: &str, session: &str, wait: bool) -> Command {
    lock(name, LockAct::Acquire(asks(session, Mode::Exclusive, wait)))
}

pub(crate) fn renew(name: &str, session: &str, token: Token) -> Command {
    lock(name, LockAct::Renew { session: session.parse().unwrap(), token, ttl: None })
}

pub(crate) fn release(name: &str, session: &str, token: Token) -> Command {
    lock(name, LockAct::Release { session: session.parse().unwrap(), token, abandoned: false })
}

pub(crate) fn content(name: &str, act: ContentAct) -> Command {
    command(Act::Content(state(name), Box::new(act)))
}

/// A small document, as the service would hand it in.
pub(crate) fn document(bytes: &[u8]) -> Content {
    let mut digest = [0; 32];
    for (n, byte) in bytes.iter().enumerate() {
        digest[n % 32] = byte.wrapping_add(digest[n % 32]).rotate_left(3) ^ 0x5a;
    }
    let size = bytes.len() as u64;
    let (state, key) = (StateId::default(), DataKeyId(fresh()));
    Content {
        body: BodyId(fresh()),
        inline: Some(vec![bytes.to_vec()]),
        values: Vec::new(),
        ordinals: Ordinals::default(),
        ground: Ground { state, data_key: key, epoch: 1, next_ordinal: 0, collected: 0 },
        new_key: Some(data_key(key, state)),
        seal: SealMeta {
            state,
            version: Version(1),
            data_key: key,
            rules: (1, 0),
            overflow: false,
            pieces: 1,
            mac: KeyedDigest([1; 32]),
        },
        draft_mac: KeyedDigest([2; 32]),
        stored_size: size,
        shown_size: size,
        digest: KeyedDigest(digest),
        head_digest: None,
        format: Format::Opaque,
        terraform: None,
    }
}

/// A data key's record, as the service would make it of a wrapped key.
pub(crate) fn data_key(id: DataKeyId, state: StateId) -> DataKeyRecord {
    let wrapped = Wrapped(b"a wrapped data key".to_vec());
    DataKeyRecord { id, state, identity: 1, epoch: 1, status: KeyStatus::Active, wrapped }
}

fn under_master(what: &str) -> UnderMaster {
    UnderMaster { master: "age1master".to_owned(), wrapped: Wrapped(what.as_bytes().to_vec()) }
}

/// The keyring of a new environment.
pub(crate) fn keyring() -> Keyring {
    Keyring {
        revision: 0,
        secret: under_master("secret"),
        signer: ("signer".to_owned(), under_master("signing key")),
        identities: vec![identity(1)],
        recovery: Vec::new(),
        rules: SealRules::default(),
        vouched: Vouched::default(),
        job: None,
        verified: None,
    }
}

/// An identity of a keyring.
pub(crate) fn identity(version: u32) -> IdentityRecord {
    let recipient = format!("age1identity{version}");
    let key = Some(under_master(&format!("identity {version}")));
    IdentityRecord { version, status: KeyStatus::Active, recipient, key, created: WallTime::default() }
}

/// The same write, its document sealed on what the state is sealed on now, as the service would.
pub(crate) async fn grounded(store: &dyn Store, mut command: Command) -> Command {
    let Act::Content(state, act) = &mut command.act else { return command };
    let ContentAct::Write(Write { content: Some(content), expect, fresh_state, .. }) = act.as_mut() else { return command };
    let Ok(Rows::Top(current, ground)) = store.select(Query::Top(state.clone())).await else { return command };
    let Ok(Rows::Keyrings(keyrings)) = store.select(Query::Keyring(state.environment.clone())).await else { return command };
    let Some((environment, _)) = keyrings.into_iter().next() else { return command };
    let ground = ground.map(|(ground, _)| ground);
    let live = current.filter(|current| !current.deleted());
    *fresh_state = ground.map_or(*fresh_state, |ground| ground.state);
    let state = live.map_or(*fresh_state, |live| live.state);
    seal_on(content, ground, state, &environment, Version(expect.version.0.saturating_add(1)));
    command
}

/// Puts a document on a ground: that of its state, or a new one.
pub(crate) fn seal_on(
    content: &mut Content,
    ground: Option<Ground>,
    state: StateId,
    environment: &Environment,
    version: Version,
) {
    match ground.filter(|ground| ground.epoch == environment.key_epoch) {
        Some(ground) => (content.ground, content.new_key) = (ground, None),
        None => {
            let id = content.new_key.as_ref().map_or(DataKeyId(fresh()), |key| key.id);
            let (identity, epoch) = (environment.identity, environment.key_epoch);
            content.new_key = Some(DataKeyRecord { identity, epoch, ..data_key(id, state) });
            content.ground = Ground { state, data_key: id, epoch, next_ordinal: 0, collected: 0 };
        }
    }
    let from = content.ground.next_ordinal;
    for (ordinal, value) in (from..).zip(&mut content.values) {
        value.ordinal = ordinal;
    }
    content.seal = SealMeta { state, version, data_key: content.ground.data_key, ..content.seal };
}

pub(crate) fn terraform(bytes: &[u8], serial: u64) -> Content {
    let header = TerraformHeader { lineage: "one".to_owned(), serial };
    Content { format: Format::Terraform, terraform: Some(header), ..document(bytes) }
}

pub(crate) fn writes(session: &str, token: Token, expect: Expect, mut content: Content) -> Write {
    let fresh_state = StateId(fresh());
    content.ground.state = fresh_state;
    content.seal = SealMeta { state: fresh_state, version: Version(expect.version.0.saturating_add(1)), ..content.seal };
    content.new_key.iter_mut().for_each(|key| key.state = fresh_state);
    Write {
        session: session.parse().unwrap(),
        token,
        expect,
        content: Some(content),
        origin: Origin::Write,
        passing: false,
        guessed: false,
        rewrite: false,
        masked: false,
        inner_lock: None,
        etag: Etag(fresh()),
        fresh_state,
        draft: DraftId(fresh()),
    }
}

pub(crate) fn write(name: &str, write: Write) -> Command {
    content(name, ContentAct::Write(write))
}
