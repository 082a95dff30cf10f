//! The audit beyond what every act leaves by itself: rows about reads and refusals, the sealer, and reading it.

mod export;
mod refusals;
mod seal;
mod tail;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use self::refusals::Refusals;
use self::seal::Sealed;
use super::pull::Meta;
use super::push::Draftless;
use super::{Actor, Caller, Error, Service};
use crate::domain::access::{Object, Verb};
use crate::domain::audit::{AuditAct, Checkpoint, Deed, Entry};
use crate::domain::command::{Act, ContentAct, StoreAct, Write};
use crate::domain::decision::Reply;
use crate::domain::ids::Token;
use crate::domain::names::{Session, StateName};
use crate::domain::refusal::Refusal;
use crate::secrets::audit::{AuditKey, AuditSigner};
use crate::store::{Query, Rows};

pub use export::Range;
pub use tail::Start;

/// Lines of the audit, some at a time, in order; an error is final.
pub type Lines = tokio::sync::mpsc::Receiver<Result<Vec<String>, Error>>;
/// How many lines are handed on at once.
const SOME: usize = 100;

/// What of the audit is not in the store.
pub(super) struct Audit {
    signer: AuditSigner,
    refusals: Mutex<Refusals>,
    /// Told when rows are to be written that nobody waits for.
    pending: Notify,
    sealed: tokio::sync::Mutex<Sealed>,
    pub(super) counts: Counts,
}

/// What is counted and not recorded, since the server started.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) renewals: AtomicU64,
    pub(super) contention: AtomicU64,
    pub(super) redacted: AtomicU64,
    pub(super) unauthenticated: AtomicU64,
    pub(super) denied: AtomicU64,
    /// Up to which row it is sealed.
    pub(super) sealed: AtomicU64,
}

/// How the audit stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The last entry.
    pub last: u64,
    /// The last checkpoint; none: nothing was sealed yet.
    pub checkpoint: Option<Checkpoint>,
    /// What this server signs with.
    pub key: AuditKey,
    /// Renewals since the server started.
    pub renewals: u64,
    /// Acquires that had to wait or were refused since others held the lock, since the server started.
    pub contention: u64,
    /// Redacted reads since the server started.
    pub redacted: u64,
}

impl Audit {
    pub(super) fn new(signer: AuditSigner) -> Self {
        Self {
            signer,
            refusals: Mutex::default(),
            pending: Notify::new(),
            sealed: tokio::sync::Mutex::default(),
            counts: Counts::default(),
        }
    }

    /// A row that nobody waits for.
    fn later(&self, entry: Entry) {
        self.refusals.lock().expect("no panic while held").add(entry);
        self.pending.notify_one();
    }
}

impl Service {
    /// Checks how the chain stands and seals it from then on. Until then rows are written and not sealed.
    ///
    /// # Errors
    /// The store fails. An audit that was changed is no error: it is told loudly, and stays as it is for whoever looks into it.
    pub async fn begin_audit(self: &Arc<Self>) -> Result<(), Error> {
        self.begin_sealing().await?;
        self.write_what_is_pending();
        Ok(())
    }

    /// Writes what is still to be written, and seals everything: the last thing before the store is closed.
    pub async fn end_audit(&self) {
        self.write_refusals(true).await;
        if let Err(error) = self.seal_audit().await {
            tracing::warn!(%error, "the audit could not be sealed to its end; the next start does it");
        }
    }

    /// A principal asked for something that it may not do.
    pub fn audit_refused(&self, caller: &Caller, verb: Verb, object: impl std::fmt::Display) {
        self.audit.counts.denied.fetch_add(1, Ordering::Relaxed);
        let outcome = "refused: PERMISSION_DENIED".to_owned();
        self.audit.later(Entry { verb: Some(verb), outcome, ..by(&caller.actor(), Deed::Denied, object.to_string()) });
    }

    /// A write was refused before the rules were asked: its document is none.
    pub(super) fn audit_unwritable(&self, actor: &Actor, write: &Draftless<'_>, error: &Error) {
        if let Error::Document(_) | Error::Unsealable(_) = error {
            let (session, token) = (Some(write.session.clone()), Some(write.token));
            let outcome = format!("refused: {}", error.code());
            let entry = by(actor, Deed::StateWrite, write.state.to_string());
            self.audit.later(Entry { verb: Some(Verb::Write), session, token, outcome, ..entry });
        }
    }

    /// Somebody who is not known asked for something.
    pub fn audit_unauthenticated(&self, peer: Option<IpAddr>) {
        self.audit.counts.unauthenticated.fetch_add(1, Ordering::Relaxed);
        self.audit.refusals.lock().expect("no panic while held").unauthenticated(peer);
    }

    /// How the audit stands.
    ///
    /// # Errors
    /// The caller may not look at it.
    pub async fn audit_standing(&self, caller: &Caller) -> Result<Standing, Error> {
        self.allow(caller, Verb::Audit, Object::Store)?;
        let Counts { renewals, contention, redacted, .. } = &self.audit.counts;
        let checkpoint = self.checkpoint(None).await?;
        Ok(Standing {
            last: self.store.head().borrow().audit,
            checkpoint,
            key: self.audit.signer.key(),
            renewals: renewals.load(Ordering::Relaxed),
            contention: contention.load(Ordering::Relaxed),
            redacted: redacted.load(Ordering::Relaxed),
        })
    }

    /// Opened secrets are about to leave: the row comes first, durably, or they do not leave.
    pub(super) async fn record_read(
        &self,
        actor: &Actor,
        state: &StateName,
        meta: &Meta,
        (deed, verb): (Deed, Verb),
        detail: String,
    ) -> Result<(), Error> {
        let (version, draft) = match meta {
            Meta::Version(version) => (Some(version.version), None),
            Meta::Draft(draft) => (None, Some(draft.id)),
        };
        let entry = Entry { verb: Some(verb), version, draft, detail, ..by(actor, deed, state.to_string()) };
        let act = Act::Store(Box::new(StoreAct::Audit(AuditAct::Read(Box::new(entry)))));
        match self.submit(actor.clone(), None, act).await {
            Err(Error::Full) => Err(Error::AuditFull),
            done => done.map(drop),
        }
    }

    /// A redacted read.
    pub(super) fn count_redacted(&self) {
        self.audit.counts.redacted.fetch_add(1, Ordering::Relaxed);
    }

    /// The server let go of its keys, or has them again.
    pub(super) fn record_keys(&self, actor: &Actor, deed: Deed) {
        self.audit.later(Entry { verb: Some(Verb::Keys), ..by(actor, deed, "/".to_owned()) });
    }

    /// What came of a command, for what the store does not record by itself: refusals of writes that changed nothing, acts on leases of others,
    /// and what is only counted.
    pub(super) fn heed(&self, actor: &Actor, about: About, reply: &Result<Reply, Refusal>) {
        let counts = &self.audit.counts;
        let count = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        match reply {
            Ok(Reply::Renewed { .. }) => count(&counts.renewals),
            Ok(Reply::Queued(_)) | Err(Refusal::LeaseHeld { .. } | Refusal::QueueFull(_)) => count(&counts.contention),
            _ => {}
        }
        let Err(refusal) = reply else { return };
        let outcome = format!("refused: {}", refusal.code());
        match about {
            About::Write { state, session, token, guessed } => {
                // What is tried again, and what has its row already, since the document was kept.
                let untold = match refusal {
                    Refusal::GroundMoved | Refusal::TokenMoved(_) | Refusal::Kept { .. } => true,
                    Refusal::VersionConflict { .. } => guessed,
                    _ => false,
                };
                if !untold {
                    let entry = by(actor, Deed::StateWrite, state.to_string());
                    let (session, token) = (Some(session), Some(token));
                    self.audit.later(Entry { verb: Some(Verb::Write), session, token, outcome, ..entry });
                }
            }
            About::Lock(state) if matches!(refusal, Refusal::LeaseForeign(_)) => {
                self.audit.later(Entry { outcome, ..by(actor, Deed::Denied, state.to_string()) });
            }
            About::Lock(_) | About::Other => {}
        }
    }

    async fn checkpoint(&self, at: Option<u64>) -> Result<Option<Checkpoint>, Error> {
        match self.store.select(Query::Checkpoint(at)).await? {
            Rows::Checkpoints(found) => Ok(found.into_iter().next()),
            _ => Err(Error::internal("a checkpoint answered with other rows")),
        }
    }

    async fn audit_rows(&self, after: u64, limit: usize) -> Result<Vec<(u64, String)>, Error> {
        match self.store.select(Query::Audit { after, limit }).await? {
            Rows::Audit(rows) => Ok(rows),
            _ => Err(Error::internal("the audit answered with other rows")),
        }
    }

    async fn audit_act(&self, act: AuditAct) -> Result<(), Error> {
        self.submit(Actor::server(), None, Act::Store(Box::new(StoreAct::Audit(act)))).await.map(drop)
    }
}

/// What a command is about, as far as its refusal is recorded.
pub(super) enum About {
    Write { state: StateName, session: Session, token: Token, guessed: bool },
    Lock(StateName),
    Other,
}

impl About {
    pub(super) fn of(act: &Act) -> Self {
        match act {
            Act::Content(state, content) => match &**content {
                ContentAct::Write(Write { session, token, guessed, .. }) => {
                    Self::Write { state: state.clone(), session: session.clone(), token: *token, guessed: *guessed }
                }
                _ => Self::Other,
            },
            Act::Lock(state, _) => Self::Lock(state.clone()),
            _ => Self::Other,
        }
    }
}

fn by(actor: &Actor, deed: Deed, on: String) -> Entry {
    Entry {
        who: Some(actor.principal.clone()),
        vouched: actor.trace.labels.clone(),
        from: actor.trace.peer.map(|peer| peer.to_string()),
        ..Entry::new(deed, on)
    }
}
