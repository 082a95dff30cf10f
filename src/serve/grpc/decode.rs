//! Wire to domain: parse, don't validate.

use std::time::Duration;

use tonic::Status;

use super::status;
use crate::domain::document::Expect;
use crate::domain::format::Format;
use crate::domain::ids::{RequestId, TicketId, Token, Version};
use crate::domain::lock::Mode;
use crate::domain::names::{Labels, NameError, Prefix};
use crate::domain::settings::{Plans, SettingsChange};
use crate::pb::v1 as pb;
use crate::service::Error;
use crate::service::views::View;

/// The most rows a page has.
const PAGE: u32 = 1000;

/// A name, or the refusal that states its rule.
pub(super) fn name<T: std::str::FromStr<Err = NameError>>(text: &str) -> Result<T, Status> {
    text.parse().map_err(|error| status::of(&Error::Name(error)))
}

/// A name that may be left out.
pub(super) fn optional<T: std::str::FromStr<Err = NameError>>(text: &str) -> Result<Option<T>, Status> {
    if text.is_empty() { Ok(None) } else { name(text).map(Some) }
}

/// A request id.
pub(super) fn request_id(text: &str) -> Result<RequestId, Status> {
    text.parse().map_err(|_| status::of(&Error::RequestId))
}

/// An id of 32 hexadecimal digits.
pub(super) fn id<T: std::str::FromStr>(text: &str, what: &'static str) -> Result<T, Status> {
    text.parse().map_err(|_| argument(what, "pass it as the server gave it"))
}

/// Numbers of ours stay below 2^63, so that every store can hold them.
pub(super) fn number(number: u64) -> Result<u64, Status> {
    if number >> 63 == 0 { Ok(number) } else { Err(argument("there is no such number", "pass numbers as the server gave them")) }
}

/// A ticket; 0 is none.
pub(super) fn ticket(ticket: u64) -> Result<Option<TicketId>, Status> {
    Ok(Some(number(ticket)?).filter(|ticket| *ticket > 0).map(TicketId))
}

/// A fencing token; 0 is none.
pub(super) fn token(token: u64) -> Result<Token, Status> {
    if number(token)? == 0 {
        return Err(argument("a fencing token is needed", "acquire a lease and pass the token it was granted with"));
    }
    Ok(Token(token))
}

/// A span; 0 is none.
pub(super) fn span(ms: u64) -> Option<Duration> {
    (ms > 0).then(|| Duration::from_millis(ms))
}

/// A version number; 0 is none.
pub(super) fn version(version: u64) -> Result<Option<Version>, Status> {
    Ok(Some(number(version)?).filter(|version| *version > 0).map(Version))
}

pub(super) fn mode(mode: i32) -> Result<Mode, Status> {
    match pb::Mode::try_from(mode) {
        Ok(pb::Mode::Exclusive) => Ok(Mode::Exclusive),
        Ok(pb::Mode::Shared) => Ok(Mode::Shared),
        _ => Err(argument("a lease is exclusive or shared", "set `mode`")),
    }
}

pub(super) fn format(format: i32) -> Result<Option<Format>, Status> {
    Ok(match pb::Format::try_from(format) {
        Ok(pb::Format::Unspecified) => None,
        Ok(pb::Format::Terraform) => Some(Format::Terraform),
        Ok(pb::Format::Pulumi) => Some(Format::Pulumi),
        Ok(pb::Format::Json) => Some(Format::Json),
        Ok(pb::Format::Opaque) => Some(Format::Opaque),
        Err(_) => return Err(argument("there is no such format", "terraform, pulumi, json or opaque")),
    })
}

/// How a document is read; a recipient goes with `sealed` alone.
pub(super) fn view(view: i32, recipient: String) -> Result<View, Status> {
    let view = match pb::View::try_from(view) {
        Ok(pb::View::Sealed) => return Ok(View::Sealed(recipient)),
        Ok(pb::View::Unspecified | pb::View::Full) => View::Full,
        Ok(pb::View::Redacted) => View::Redacted,
        Ok(pb::View::Outputs) => View::Outputs,
        Err(_) => return Err(argument("there is no such view", "full, redacted, outputs or sealed")),
    };
    match recipient.is_empty() {
        true => Ok(view),
        false => Err(argument("a recipient goes with the view `sealed` alone", "leave it out, or ask for `sealed`")),
    }
}

pub(super) fn labels(labels: Option<pb::Labels>) -> Result<Labels, Status> {
    let pb::Labels { who, host, pid, run_url, commit, operation, tool_version } = labels.unwrap_or_default();
    Labels { who, host, pid, run_url, commit, operation, tool_version }.checked().map_err(|error| status::of(&Error::Name(error)))
}

pub(super) fn expect(expect: Option<&pb::Expect>) -> Result<Option<Expect>, Status> {
    let Some(expect) = expect else { return Ok(None) };
    let etag = if expect.etag.is_empty() { None } else { Some(id(&expect.etag, "the expected etag is malformed")?) };
    if (expect.version == 0) != etag.is_none() {
        return Err(argument("a version is expected with its etag, no version with none", "pass both as a read returned them"));
    }
    Ok(Some(Expect { version: Version(number(expect.version)?), etag }))
}

/// A prefix, and how many rows at most.
pub(super) fn page(prefix: &str, limit: u32) -> Result<(Prefix, usize), Status> {
    let limit = if limit == 0 { PAGE } else { limit.min(PAGE) };
    Ok((name(prefix)?, usize::try_from(limit).unwrap_or(usize::MAX)))
}

pub(super) fn settings(settings: Option<pb::Settings>) -> Result<SettingsChange, Status> {
    let settings = settings.unwrap_or_default();
    Ok(SettingsChange {
        lock_delay: settings.lock_delay_ms.map(Duration::from_millis),
        default_ttl: settings.default_ttl_ms.map(Duration::from_millis),
        max_tickets: settings.max_tickets,
        max_drafts: settings.max_drafts,
        max_draft_bytes: settings.max_draft_bytes,
        draft_life: settings.draft_life_ms.map(Duration::from_millis),
        allow_opaque: settings.allow_opaque,
        allow_plaintext: settings.allow_plaintext,
        unattended_expires: settings.unattended_expires,
        plans: settings.plans.map(plans).transpose()?.flatten(),
        write_without_lock: settings.write_without_lock,
    })
}

fn plans(plans: i32) -> Result<Option<Plans>, Status> {
    match pb::Plans::try_from(plans) {
        Ok(pb::Plans::Unspecified) => Ok(None),
        Ok(pb::Plans::Shared) => Ok(Some(Plans::Shared)),
        Ok(pb::Plans::Snapshot) => Ok(Some(Plans::Snapshot)),
        Ok(pb::Plans::Exclusive) => Ok(Some(Plans::Exclusive)),
        Err(_) => Err(argument("`plans` is unknown", "set one of the enum `Plans`")),
    }
}

/// An argument that breaks a rule.
pub(super) fn argument(what: &'static str, next: &'static str) -> Status {
    status::of(&Error::Argument { what, next })
}
