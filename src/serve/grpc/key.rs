//! `leasehold.v1.KeyService`.

use tonic::{Request, Response, Status};

use super::stream::{Answers, until_stopped};
use super::{Door, decode, status};
use crate::domain::sealing::{DataKeyRecord, IdentityRecord, JobKind, KeyStatus};
use crate::pb::v1 as pb;
use crate::pb::v1::key_service_server::KeyService;
use crate::service::Error;
use crate::service::rotation::report::Report;
use crate::service::rotation::{Outcome, Phase, Progress, RecipientsChange, Telling, Told};

impl Door {
    fn tell(&self, telling: Result<Telling, Error>) -> Result<Response<Answers<pb::KeyProgress>>, Status> {
        let telling = telling.map_err(|error| status::of(&error))?;
        Ok(Response::new(until_stopped(telling, self.stopping.clone(), told)))
    }
}

#[tonic::async_trait]
impl KeyService for Door {
    type RewrapStream = Answers<pb::KeyProgress>;
    type ChangeRecipientsStream = Answers<pb::KeyProgress>;
    type RewrapMasterStream = Answers<pb::KeyProgress>;
    type ReencryptStream = Answers<pb::KeyProgress>;
    type VerifyStream = Answers<pb::KeyProgress>;

    async fn report(&self, request: Request<pb::KeyReportRequest>) -> Result<Response<pb::KeyReport>, Status> {
        let caller = self.caller(&request)?;
        let name = decode::name(&request.get_ref().environment)?;
        let found = self.service.report_keys(&caller, &name).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(report(found)))
    }

    async fn list_data_keys(
        &self,
        request: Request<pb::ListDataKeysRequest>,
    ) -> Result<Response<pb::ListDataKeysResponse>, Status> {
        let caller = self.caller(&request)?;
        let pb::ListDataKeysRequest { environment, after, limit } = request.into_inner();
        let (_, limit) = decode::page(&environment, limit)?;
        let name = decode::name(&environment)?;
        let after = if after.is_empty() { None } else { Some(decode::id(&after, "the data key's id is malformed")?) };
        let found = self.service.list_data_keys(&caller, &name, after, limit).await.map_err(|error| status::of(&error))?;
        let next = found.last().filter(|_| found.len() == limit).map(|last| last.id.to_string()).unwrap_or_default();
        Ok(Response::new(pb::ListDataKeysResponse { keys: found.into_iter().map(data_key).collect(), next }))
    }

    async fn rewrap(&self, request: Request<pb::RewrapRequest>) -> Result<Response<Self::RewrapStream>, Status> {
        let caller = self.caller(&request)?;
        let pb::RewrapRequest { environment, request_id } = request.into_inner();
        let (id, environment) = (decode::request_id(&request_id)?, decode::name(&environment)?);
        self.tell(self.service.rewrap(&caller, id, environment).await)
    }

    async fn change_recipients(
        &self,
        request: Request<pb::ChangeRecipientsRequest>,
    ) -> Result<Response<Self::ChangeRecipientsStream>, Status> {
        let caller = self.caller(&request)?;
        let pb::ChangeRecipientsRequest { environment, request_id, add, remove, no_recovery } = request.into_inner();
        let (id, environment) = (decode::request_id(&request_id)?, decode::name(&environment)?);
        if add.is_empty() && remove.is_empty() {
            return Err(decode::argument("no recipient is named", "name those to add or to remove"));
        }
        let change = RecipientsChange { add, remove, none: no_recovery };
        self.tell(self.service.change_recipients(&caller, id, environment, change).await)
    }

    async fn rewrap_master(
        &self,
        request: Request<pb::RewrapMasterRequest>,
    ) -> Result<Response<Self::RewrapMasterStream>, Status> {
        let caller = self.caller(&request)?;
        let pb::RewrapMasterRequest { request_id, passphrase } = request.into_inner();
        let passphrase = zeroize::Zeroizing::new(passphrase);
        // It is safe to repeat: each wrap says which master it is under.
        decode::request_id(&request_id)?;
        let passphrase = Some(passphrase).filter(|passphrase| !passphrase.is_empty());
        self.tell(self.service.rewrap_master(&caller, passphrase).await)
    }

    async fn reencrypt(&self, request: Request<pb::ReencryptRequest>) -> Result<Response<Self::ReencryptStream>, Status> {
        let caller = self.caller(&request)?;
        let pb::ReencryptRequest { environment, request_id } = request.into_inner();
        let (id, environment) = (decode::request_id(&request_id)?, decode::name(&environment)?);
        self.tell(self.service.reencrypt(&caller, id, environment).await)
    }

    async fn verify(&self, request: Request<pb::VerifyKeysRequest>) -> Result<Response<Self::VerifyStream>, Status> {
        let caller = self.caller(&request)?;
        let pb::VerifyKeysRequest { environment, request_id } = request.into_inner();
        decode::request_id(&request_id)?;
        self.tell(self.service.verify_keys(&caller, decode::name(&environment)?).await)
    }

    async fn destroy(&self, request: Request<pb::DestroyKeysRequest>) -> Result<Response<pb::DestroyKeysResponse>, Status> {
        let caller = self.caller(&request)?;
        let pb::DestroyKeysRequest { environment, request_id } = request.into_inner();
        let (id, environment) = (decode::request_id(&request_id)?, decode::name(&environment)?);
        let gone = self.service.destroy_keys(&caller, id, environment).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::DestroyKeysResponse { keys: gone.keys, erased: gone.erased }))
    }
}

fn told(told: Told) -> pb::KeyProgress {
    use pb::key_progress::Message;
    let message = match told {
        Told::Progress(Progress { environment, phase, done, total }) => {
            let phase = self::phase(phase).into();
            Message::Step(pb::KeyStep { environment: environment.to_string(), phase, done, total })
        }
        Told::Done(Outcome { done, identity, key_epoch, failures, failed, erased }) => {
            Message::Outcome(pb::KeyOutcome { done, identity, key_epoch, failures, failed, erased })
        }
    };
    pb::KeyProgress { message: Some(message) }
}

fn phase(phase: Phase) -> pb::KeyPhase {
    match phase {
        Phase::Rewrap => pb::KeyPhase::Rewrap,
        Phase::Reencrypt => pb::KeyPhase::Reencrypt,
        Phase::Retire => pb::KeyPhase::Retire,
        Phase::Master => pb::KeyPhase::Master,
        Phase::Verify => pb::KeyPhase::Verify,
    }
}

fn key_status(status: KeyStatus) -> i32 {
    match status {
        KeyStatus::Pending => pb::KeyStatus::Pending.into(),
        KeyStatus::Active => pb::KeyStatus::Active.into(),
        KeyStatus::DecryptOnly => pb::KeyStatus::DecryptOnly.into(),
        KeyStatus::Retired => pb::KeyStatus::Retired.into(),
        KeyStatus::Destroyed => pb::KeyStatus::Destroyed.into(),
    }
}

fn data_key(record: DataKeyRecord) -> pb::DataKey {
    let DataKeyRecord { id, state, identity, epoch, status, wrapped: _ } = record;
    pb::DataKey { id: id.to_string(), state: state.to_string(), identity, epoch, status: key_status(status) }
}

fn identity(record: IdentityRecord) -> pb::KeyIdentity {
    pb::KeyIdentity {
        version: record.version,
        status: key_status(record.status),
        recipient: record.recipient,
        master: record.key.map(|key| key.master).unwrap_or_default(),
        created_unix_ms: record.created.0,
    }
}

fn report(report: Report) -> pb::KeyReport {
    let Report { environment, keyring, left, documents, values, groups } = report;
    let identities = keyring.identities.iter().filter_map(|identity| identity.key.as_ref());
    let mut masters: Vec<String> =
        [&keyring.secret, &keyring.signer.1].into_iter().chain(identities).map(|key| key.master.clone()).collect();
    masters.sort_unstable();
    masters.dedup();
    let group = |group: crate::service::rotation::report::Group| pb::DataKeyGroup {
        identity: group.identity,
        epoch: group.epoch,
        status: key_status(group.status),
        keys: group.keys,
    };
    pb::KeyReport {
        environment: environment.name.to_string(),
        identity: environment.identity,
        key_epoch: environment.key_epoch,
        identities: keyring.identities.into_iter().map(identity).collect(),
        recovery: keyring.recovery,
        signer: keyring.signer.0,
        masters,
        data_keys: left.keys,
        old_identity: left.old_identity,
        old_epoch: left.old_epoch,
        retired: left.retired,
        documents,
        values,
        groups: groups.into_iter().map(group).collect(),
        job: keyring.job.map(|job| pb::KeyJob {
            job: job.id.to_string(),
            kind: match job.kind {
                JobKind::Rewrap => pb::KeyPhase::Rewrap.into(),
                JobKind::Reencrypt => pb::KeyPhase::Reencrypt.into(),
            },
            done: job.done,
            total: job.total,
            started_unix_ms: job.started.0,
        }),
        verified: keyring.verified.map(|verified| pb::KeyVerified {
            finished_unix_ms: verified.finished.0,
            documents: verified.documents,
            failures: verified.failures,
        }),
    }
}
