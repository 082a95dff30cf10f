//! A client that holds a state and writes it: what most tests of documents begin with.

use leasehold::client::{Ask, Client, Error, LeaseRef, PullAsk, PushAsk, Source, Which};
use leasehold::pb::v1::Expect;

/// A holder of one state.
pub(crate) struct Writer {
    pub(crate) client: Client,
    pub(crate) lease: LeaseRef,
}

impl Writer {
    pub(crate) async fn of(client: &Client, state: &str) -> Self {
        let grant = client.acquire(&Ask::exclusive(state, "writer"), |_| ()).await.unwrap();
        Self { client: client.clone(), lease: grant.reference }
    }

    /// Writes a version and gives its number.
    pub(crate) async fn write(&self, document: &[u8]) -> u64 {
        let source = Source::from_bytes(document.to_vec());
        let pushed = self.client.push(&self.lease, &PushAsk::default(), &source, |_| ()).await.unwrap();
        pushed.version.unwrap().version
    }

    /// Writes on top of nothing, which is refused; the draft that is left.
    pub(crate) async fn draft(&self, document: &[u8]) -> (String, Error) {
        let ask = PushAsk { expect: Some(Expect::default()), ..PushAsk::default() };
        let refused = self.client.push(&self.lease, &ask, &Source::from_bytes(document.to_vec()), |_| ()).await.unwrap_err();
        (refused.draft().unwrap_or_else(|| panic!("{refused}")).to_owned(), refused)
    }

    pub(crate) async fn release(self) {
        self.client.release(&self.lease, false).await.unwrap();
    }
}

/// The bytes of a version or draft.
pub(crate) async fn read(client: &Client, state: &str, which: Which) -> Result<Vec<u8>, Error> {
    let mut document = Vec::new();
    let ask = PullAsk { state: state.to_owned(), which, ..PullAsk::default() };
    client.pull(&ask, &mut document, |_| ()).await.map(|_| document)
}
