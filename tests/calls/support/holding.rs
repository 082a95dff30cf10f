//! A store between the service and the one under test, which holds one command where a test wants it: orders that happen by bad luck, on purpose.

use std::sync::{Arc, Mutex};

use leasehold::domain::command::Command;
use leasehold::domain::decision::Reply;
use leasehold::domain::event::Recorded;
use leasehold::domain::ids::{BodyId, DataKeyId, Revision};
use leasehold::domain::refusal::Refusal;
use leasehold::domain::settings::Limits;
use leasehold::store::{Head, Later, Query, Rows, Store};
use tokio::sync::{oneshot, watch};

/// Where a command is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Nothing has happened yet.
    Begin,
    /// It is committed, and nobody knows.
    End,
}

struct Held {
    at: At,
    which: fn(&Command) -> bool,
    reached: oneshot::Sender<()>,
    on: oneshot::Receiver<()>,
}

/// The next command of a kind, as the test sees it.
pub(crate) struct Hold {
    reached: oneshot::Receiver<()>,
    on: oneshot::Sender<()>,
}

impl Hold {
    /// The command is there.
    pub(crate) async fn reached(&mut self) {
        (&mut self.reached).await.expect("the command comes");
    }

    /// It may go on.
    pub(crate) fn go(self) {
        // Whoever sent it may have given it up.
        let _ = self.on.send(());
    }
}

pub(crate) struct Holding {
    inner: Arc<dyn Store>,
    held: Mutex<Option<Held>>,
}

impl Holding {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { inner, held: Mutex::default() })
    }

    /// Holds the next command of this kind.
    pub(crate) fn hold(&self, at: At, which: fn(&Command) -> bool) -> Hold {
        let (tell, reached) = oneshot::channel();
        let (go, on) = oneshot::channel();
        *self.held.lock().unwrap() = Some(Held { at, which, reached: tell, on });
        Hold { reached, on: go }
    }

    async fn stop(&self, at: At, command: &Command) {
        let held = self.held.lock().unwrap().take_if(|held| held.at == at && (held.which)(command));
        if let Some(Held { reached, on, .. }) = held {
            reached.send(()).expect("the test waits");
            on.await.expect("the test goes on");
        }
    }
}

impl Store for Holding {
    fn submit(&self, command: Command) -> Later<'_, Result<Reply, Refusal>> {
        Box::pin(async move {
            self.stop(At::Begin, &command).await;
            let done = self.inner.submit(command.clone()).await;
            self.stop(At::End, &command).await;
            done
        })
    }

    fn select(&self, query: Query) -> Later<'_, Rows> {
        self.inner.select(query)
    }

    fn stage(&self, body: BodyId, key: DataKeyId, n: u32, bytes: Vec<u8>) -> Later<'_, ()> {
        self.inner.stage(body, key, n, bytes)
    }

    fn chunk(&self, body: BodyId, n: u32) -> Later<'_, Option<Vec<u8>>> {
        self.inner.chunk(body, n)
    }

    fn events(&self, after: Revision, limit: usize) -> Later<'_, Vec<Recorded>> {
        self.inner.events(after, limit)
    }

    fn head(&self) -> watch::Receiver<Head> {
        self.inner.head()
    }

    fn limits(&self) -> &Limits {
        self.inner.limits()
    }

    fn erase(&self, needles: Vec<Vec<u8>>) -> Later<'_, bool> {
        self.inner.erase(needles)
    }

    fn close(&self) -> Later<'_, ()> {
        self.inner.close()
    }
}
