//! `leasehold.v1.WatchService`.

use tonic::{Request, Response, Status};

use super::stream::{Answers, until_stopped};
use super::{Door, decode, encode, status};
use crate::pb::v1 as pb;
use crate::pb::v1::watch_service_server::WatchService;
use crate::service::watch::{Cursor, Seen};

#[tonic::async_trait]
impl WatchService for Door {
    type WatchStream = Answers<pb::WatchResponse>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = self.caller(&request)?;
        let pb::WatchRequest { prefix, cursor } = request.into_inner();
        let from = match cursor.is_empty() {
            true => None,
            false => Some(Cursor::parse(&cursor).map_err(|error| status::of(&error))?),
        };
        let seen = self.service.watch(&caller, decode::name(&prefix)?, from).map_err(|error| status::of(&error))?;
        let answers = until_stopped(seen, self.stopping.clone(), |seen| {
            use pb::watch_response::Message;
            let message = match seen {
                Seen::Mark(cursor) => Message::Mark(pb::Mark { cursor: cursor.to_string() }),
                Seen::Event(cursor, recorded) => Message::Event(encode::event(cursor.to_string(), &recorded)),
            };
            pb::WatchResponse { message: Some(message) }
        });
        Ok(Response::new(answers))
    }
}
