//! The keys of environments.

use std::future::Future;

use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};

use super::error::may_retry;
use super::retry::{ATTEMPT, Backoff, limited};
use super::{Client, Error, MAX_REPLY, clock, request_id};
use crate::pb::v1::key_progress::Message;
use crate::pb::v1::key_service_client::KeyServiceClient;
use crate::pb::v1::{
    ChangeRecipientsRequest, DataKey, DestroyKeysRequest, DestroyKeysResponse, KeyOutcome, KeyProgress, KeyReport,
    KeyReportRequest, KeyStep, ListDataKeysRequest, ReencryptRequest, RewrapMasterRequest, RewrapRequest, VerifyKeysRequest,
};

/// Other recovery recipients of an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecipientsAsk {
    /// age recipients to add.
    pub add: Vec<String>,
    /// Those to take away.
    pub remove: Vec<String>,
    /// Nobody may be left.
    pub no_recovery: bool,
}

impl Client {
    /// What keys an environment has, and what is under them.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such environment.
    pub async fn key_report(&self, environment: &str) -> Result<KeyReport, Error> {
        let message = KeyReportRequest { environment: environment.to_owned() };
        self.unary(message, |channel, request| async move { service(channel).report(request).await }).await
    }

    /// All data keys of an environment, by id.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such environment.
    pub async fn data_keys(&self, environment: &str) -> Result<Vec<DataKey>, Error> {
        let (mut keys, mut after) = (Vec::new(), String::new());
        loop {
            let message = ListDataKeysRequest { environment: environment.to_owned(), after, limit: 0 };
            let mut page =
                self.unary(message, |channel, request| async move { service(channel).list_data_keys(request).await }).await?;
            keys.append(&mut page.keys);
            if page.next.is_empty() {
                return Ok(keys);
            }
            after = page.next;
        }
    }

    /// Puts a new identity in front, and waits until all data keys are wrapped to it. It goes on whether somebody waits or not.
    ///
    /// # Errors
    /// [`Error::Caller`] while another rotation is under way, or if something does not open.
    pub async fn rewrap(&self, environment: &str, step: impl FnMut(KeyStep) + Send) -> Result<KeyOutcome, Error> {
        let message = RewrapRequest { environment: environment.to_owned(), request_id: request_id() };
        self.hear(message, |channel, request| async move { service(channel).rewrap(request).await }, step).await
    }

    /// The same with other recovery recipients.
    ///
    /// # Errors
    /// As [`Self::rewrap`]; or a recipient is none, or nobody would be left.
    pub async fn change_recipients(
        &self,
        environment: &str,
        ask: RecipientsAsk,
        step: impl FnMut(KeyStep) + Send,
    ) -> Result<KeyOutcome, Error> {
        let RecipientsAsk { add, remove, no_recovery } = ask;
        let message =
            ChangeRecipientsRequest { environment: environment.to_owned(), request_id: request_id(), add, remove, no_recovery };
        self.hear(message, |channel, request| async move { service(channel).change_recipients(request).await }, step).await
    }

    /// Has the master key fetched again, and the keys of all environments wrapped to it.
    ///
    /// # Errors
    /// [`Error::Caller`] if the master key cannot be had, or does not open everything.
    pub async fn rewrap_master(&self, passphrase: &str, step: impl FnMut(KeyStep) + Send) -> Result<KeyOutcome, Error> {
        let message = RewrapMasterRequest { request_id: request_id(), passphrase: passphrase.to_owned() };
        self.hear(message, |channel, request| async move { service(channel).rewrap_master(request).await }, step).await
    }

    /// Asks for new data keys, and waits until everything is sealed again under them. It goes on whether somebody waits or not.
    ///
    /// # Errors
    /// [`Error::Caller`] while another rotation is under way, or if something does not open.
    pub async fn reencrypt(&self, environment: &str, step: impl FnMut(KeyStep) + Send) -> Result<KeyOutcome, Error> {
        let message = ReencryptRequest { environment: environment.to_owned(), request_id: request_id() };
        self.hear(message, |channel, request| async move { service(channel).reencrypt(request).await }, step).await
    }

    /// Opens everything. What did not open is in the outcome.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such environment.
    pub async fn verify_keys(&self, environment: &str, step: impl FnMut(KeyStep) + Send) -> Result<KeyOutcome, Error> {
        let message = VerifyKeysRequest { environment: environment.to_owned(), request_id: request_id() };
        self.hear(message, |channel, request| async move { service(channel).verify(request).await }, step).await
    }

    /// Destroys what is retired: this cannot be taken back.
    ///
    /// # Errors
    /// [`Error::Caller`] if nothing is retired, or while a rotation is under way.
    pub async fn destroy_keys(&self, environment: &str) -> Result<DestroyKeysResponse, Error> {
        let message = DestroyKeysRequest { environment: environment.to_owned(), request_id: request_id() };
        self.unary(message, |channel, request| async move { service(channel).destroy(request).await }).await
    }

    /// Hears of long work until it ends. When the connection breaks it asks again, with the same request id, which joins what is under way.
    async fn hear<M, F, Fut>(&self, message: M, call: F, mut step: impl FnMut(KeyStep) + Send) -> Result<KeyOutcome, Error>
    where
        M: Clone,
        F: Fn(Channel, Request<M>) -> Fut,
        Fut: Future<Output = Result<Response<Streaming<KeyProgress>>, Status>>,
    {
        let (mut give_up, mut pause) = (clock::now() + self.patience, Backoff::default());
        loop {
            let begun = limited(Some(ATTEMPT), call(self.channel.clone(), self.request(message.clone()))).await;
            let status = match begun.map(Response::into_inner) {
                Err(status) => status,
                Ok(mut stream) => loop {
                    match stream.message().await {
                        Ok(Some(KeyProgress { message: Some(Message::Step(told)) })) => {
                            (give_up, pause) = (clock::now() + self.patience, Backoff::default());
                            step(told);
                        }
                        Ok(Some(KeyProgress { message: Some(Message::Outcome(outcome)) })) => return Ok(outcome),
                        Ok(Some(KeyProgress { message: None })) => {}
                        Ok(None) => break Status::new(Code::Unavailable, "the server ended the stream"),
                        Err(status) => break status,
                    }
                },
            };
            let wait = pause.next();
            if !may_retry(&status) || clock::now() + wait >= give_up {
                return Err(status.into());
            }
            tokio::time::sleep(wait).await;
        }
    }
}

fn service(channel: Channel) -> KeyServiceClient<Channel> {
    KeyServiceClient::new(channel).max_decoding_message_size(MAX_REPLY)
}
