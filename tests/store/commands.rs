//! Short ways to say commands.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leasehold::domain::command::{Acquire, Act, Command, ContentAct, EnvironmentAct, LockAct, Write};
use leasehold::domain::document::{Content, Expect, Origin};
use leasehold::domain::format::{Format, TerraformHeader};
use leasehold::domain::ids::{BodyId, DraftId, EnvironmentId, Etag, KeyedDigest, RequestId, StateId, Token};
use leasehold::domain::lock::Mode;
use leasehold::domain::names::{Labels, StateName};
use leasehold::domain::settings::SettingsChange;

/// 16 bytes that no other call gets, in ascending order, as UUIDv7 are.
pub(crate) fn fresh() -> [u8; 16] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed)).to_be_bytes()
}

pub(crate) fn state(name: &str) -> StateName {
    name.parse().unwrap()
}

pub(crate) fn command(act: Act) -> Command {
    Command { principal: "ci".parse().unwrap(), request: None, act }
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
    environment(name, EnvironmentAct::Create { id: EnvironmentId(fresh()), settings, wrapped_secret: b"wrapped".to_vec() })
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
    Content {
        body: BodyId(fresh()),
        inline: Some(bytes.to_vec()),
        values: Vec::new(),
        stored_size: size,
        shown_size: size,
        digest: KeyedDigest(digest),
        format: Format::Opaque,
        terraform: None,
    }
}

pub(crate) fn terraform(bytes: &[u8], serial: u64) -> Content {
    let header = TerraformHeader { lineage: "one".to_owned(), serial };
    Content { format: Format::Terraform, terraform: Some(header), ..document(bytes) }
}

pub(crate) fn writes(session: &str, token: Token, expect: Expect, content: Content) -> Write {
    Write {
        session: session.parse().unwrap(),
        token,
        expect,
        content: Some(content),
        origin: Origin::Write,
        guessed: false,
        rewrite: false,
        inner_lock: None,
        etag: Etag(fresh()),
        fresh_state: StateId(fresh()),
        draft: DraftId(fresh()),
    }
}

pub(crate) fn write(name: &str, write: Write) -> Command {
    content(name, ContentAct::Write(write))
}
