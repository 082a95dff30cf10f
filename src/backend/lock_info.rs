//! Lock info: who locks, for what. Read leniently from what clients send, and printed as Go prints it.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

/// The most bytes of lock info that are read. What real clients send has a few hundred.
pub const MAX_LOCK_INFO: usize = 64 * 1024;

/// The most bytes of an id with words behind it: what tells who holds a lock to clients that print nothing else, and what is pasted back.
pub const MAX_TOLD_ID: usize = 512;

const MAX_ID: usize = 128;
const MAX_TEXT: usize = 256;
const MAX_INFO: usize = 1024;

/// Who locks, for what. Every text is without control characters and bounded: people read them in somebody else's terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockInfo {
    /// The lock's id: 1 to 128 bytes without control characters, perhaps with words behind it, up to [`MAX_TOLD_ID`]. A UUID from Terraform, a
    /// number from some migrations.
    pub id: String,
    /// What is going on, such as `OperationTypeApply`; free text otherwise. See [`LockInfo::kind`].
    pub operation: String,
    /// A word to people.
    pub info: String,
    /// `user@host`.
    pub who: String,
    /// The version of the client.
    pub version: String,
    /// When the lock was taken, as the client wrote it; not looked into.
    pub created: Option<String>,
    /// Where the state is, in the client's view; mostly empty.
    pub path: String,
}

/// What kind of hold an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It changes nothing: a shared one will do.
    Plan,
    /// It may write, or nobody knows: an exclusive one.
    Change,
}

/// What a body says about a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing: Terraform's forced unlock, whatever id its user typed.
    Empty,
    /// Somebody's lock.
    Info(LockInfo),
}

/// Why a body is no lock info. 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockInfoError {
    /// Longer than [`MAX_LOCK_INFO`].
    #[error("lock info has at most 64 KiB")]
    TooLong,
    /// Not a JSON object.
    #[error("lock info is a JSON object")]
    NotAnObject,
    /// No id, or an empty one.
    #[error("lock info names the lock in \"ID\", a string that is not empty")]
    NoId,
    /// An id too long, or with control characters.
    #[error("a lock's \"ID\" is at most 128 bytes of UTF-8 without control characters")]
    BadId,
}

/// What an answer tells beyond the client's own fields. Clients ignore it; scripts and people who look at the wire do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// How long the hold lasts from now if nobody renews it.
    pub expires_in: Option<Duration>,
    /// The fencing token of the hold.
    pub fencing_token: Option<u64>,
    /// The caller's place in the queue, from 1.
    pub queue_position: Option<u64>,
    /// Where the holder's run can be looked at.
    pub run_url: Option<String>,
}

impl LockInfo {
    /// Reads what a client sent: keys in any case, as Go reads them, the last of a doubled one; unknown keys and values of another type are
    /// as good as absent; long texts are cut. White space alone is empty.
    ///
    /// # Errors
    /// [`LockInfoError`]
    pub fn parse(body: &[u8]) -> Result<Body, LockInfoError> {
        if body.len() > MAX_LOCK_INFO {
            return Err(LockInfoError::TooLong);
        }
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Body::Empty);
        }
        let object: Map<String, Value> = serde_json::from_slice(body).map_err(|_| LockInfoError::NotAnObject)?;
        let id = text(&object, "ID").filter(|id| !id.is_empty()).ok_or(LockInfoError::NoId)?;
        let word = id.split(' ').next().unwrap_or_default();
        if word.len() > MAX_ID || id.len() > MAX_TOLD_ID || id.contains(char::is_control) {
            return Err(LockInfoError::BadId);
        }
        let short = |name, most| text(&object, name).map(|text| readable(text, most));
        Ok(Body::Info(Self {
            id: id.to_owned(),
            operation: short("Operation", MAX_TEXT).unwrap_or_default(),
            info: short("Info", MAX_INFO).unwrap_or_default(),
            who: short("Who", MAX_TEXT).unwrap_or_default(),
            version: short("Version", MAX_TEXT).unwrap_or_default(),
            created: short("Created", MAX_TEXT),
            path: short("Path", MAX_TEXT).unwrap_or_default(),
        }))
    }

    /// What the operation needs. `Plan` for exactly `OperationTypePlan`; what is not known to change nothing may change.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if self.operation == "OperationTypePlan" { Kind::Plan } else { Kind::Change }
    }

    /// Whether only the id is there: `force-unlock` of OpenTofu 1.10 and later. No lock that a client took looks so.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        [&self.operation, &self.info, &self.who, &self.version, &self.path].into_iter().all(String::is_empty)
    }

    /// The JSON of this lock info, then `extra`. `Created` is left out unless every client can read it: a bad one makes the newer ones
    /// give up instead of waiting.
    #[must_use]
    pub fn encode(&self, extra: &Extra) -> Vec<u8> {
        let printed = Printed {
            id: &self.id,
            operation: &self.operation,
            info: &self.info,
            who: &self.who,
            version: &self.version,
            created: self.created.as_deref().filter(|created| is_rfc3339(created)),
            path: &self.path,
            expires_in: extra.expires_in.map(|left| humantime::format_duration(Duration::from_secs(left.as_secs())).to_string()),
            fencing_token: extra.fencing_token.map(|token| token.to_string()),
            queue_position: extra.queue_position,
            run_url: extra.run_url.as_deref(),
        };
        serde_json::to_vec(&printed).expect("texts and numbers always have a JSON form")
    }
}

/// In the order, and with the exact keys, in which Go prints its struct.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "Operation")]
    operation: &'a str,
    #[serde(rename = "Info")]
    info: &'a str,
    #[serde(rename = "Who")]
    who: &'a str,
    #[serde(rename = "Version")]
    version: &'a str,
    #[serde(rename = "Created", skip_serializing_if = "Option::is_none")]
    created: Option<&'a str>,
    #[serde(rename = "Path")]
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fencing_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_position: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_url: Option<&'a str>,
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let exact = object.get(name).and_then(Value::as_str);
    exact.or_else(|| object.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).find_map(|(_, value)| value.as_str()))
}

fn readable(text: &str, most: usize) -> String {
    let whole = text.char_indices().take_while(|(at, c)| at + c.len_utf8() <= most);
    whole.map(|(_, c)| if c.is_control() { ' ' } else { c }).collect()
}

/// Whether Go's `time.Time` reads `text` from JSON: `2006-01-02T15:04:05[.fraction](Z|±hh:mm)` with a day that exists and no leap second.
fn is_rfc3339(text: &str) -> bool {
    let Some((date, time)) = text.split_once('T') else { return false };
    let is_date = matches!(numbers(date, '-', &[4, 2, 2]).as_deref(),
        Some(&[year, month @ 1..=12, day]) if day >= 1 && day <= days(year, month));
    let Some(at) = time.find(['Z', '+', '-']) else { return false };
    let (clock, zone) = time.split_at(at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let is_clock = matches!(numbers(clock, ':', &[2, 2, 2]).as_deref(), Some([0..=23, 0..=59, 0..=59]));
    let is_zone = zone == "Z" || matches!(numbers(&zone[1..], ':', &[2, 2]).as_deref(), Some([0..=23, 0..=59]));
    is_date && is_clock && is_zone && !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit())
}

/// The numbers of `text`, with exactly these counts of digits.
fn numbers(text: &str, between: char, digits: &[usize]) -> Option<Vec<u32>> {
    let parts: Vec<&str> = text.split(between).collect();
    let fits = |(part, count): (&&str, &usize)| part.len() == *count && part.bytes().all(|byte| byte.is_ascii_digit());
    if parts.len() != digits.len() || !parts.iter().zip(digits).all(fits) {
        return None;
    }
    parts.into_iter().map(|part| part.parse().ok()).collect()
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Terraform 1.11.4 sent it.
    const REAL: &str = r#"{"ID":"3fd5aba4-5f5c-c4a5-6d2a-6d27f6f6bd3c","Operation":"OperationTypeApply","Info":"","Who":"user@host","Version":"1.11.4","Created":"2026-11-23T15:14:58.199318715Z","Path":""}"#;

    fn info(body: &str) -> LockInfo {
        match LockInfo::parse(body.as_bytes()) {
            Ok(Body::Info(info)) => info,
            other => panic!("{other:?}: {body}"),
        }
    }

    #[test]
    fn real_lock_info_is_read_and_printed_back_to_the_byte() {
        let read = info(REAL);
        assert_eq!((read.who.as_str(), read.version.as_str(), read.kind()), ("user@host", "1.11.4", Kind::Change));
        assert!(!read.is_bare());
        assert_eq!(String::from_utf8(read.encode(&Extra::default())).unwrap(), REAL);
    }

    #[test]
    fn empty_body_is_a_forced_unlock_and_not_an_error() {
        for body in ["", "\n", " \r\n\t"] {
            assert_eq!(LockInfo::parse(body.as_bytes()), Ok(Body::Empty));
        }
    }

    #[test]
    fn forced_unlock_of_opentofu_names_the_id_alone() {
        let body = r#"{"ID":"abc","Operation":"","Info":"","Who":"","Version":"","Created":"0001-01-01T00:00:00Z","Path":""}"#;
        let read = info(body);
        assert!(read.is_bare());
        assert_eq!(read.id, "abc");
        assert_eq!(String::from_utf8(read.encode(&Extra::default())).unwrap(), body);
    }

    #[test]
    fn keys_are_read_in_any_case_and_the_exact_one_wins() {
        let read = info(r#"{"id":"a","OPERATION":"OperationTypePlan","who":"w","created":null,"unknown":[1,{}]}"#);
        assert_eq!((read.id.as_str(), read.who.as_str(), read.kind(), read.created), ("a", "w", Kind::Plan, None));
        assert_eq!(info(r#"{"ID":"exact","id":"other"}"#).id, "exact");
        assert_eq!(info(r#"{"id":"other","ID":"exact"}"#).id, "exact");
        assert_eq!(info(r#"{"ID":"first","ID":"last"}"#).id, "last");
    }

    #[test]
    fn body_that_names_no_lock_says_what_is_wrong() {
        let too_long = format!(r#"{{"ID":"a","Info":"{}"}}"#, "x".repeat(MAX_LOCK_INFO));
        let long_id = format!(r#"{{"ID":"{}"}}"#, "x".repeat(129));
        let long_words = format!(r#"{{"ID":"x {}"}}"#, "x".repeat(511));
        for (body, error) in [
            ("{", LockInfoError::NotAnObject),
            ("[]", LockInfoError::NotAnObject),
            ("\"ID\"", LockInfoError::NotAnObject),
            ("null", LockInfoError::NotAnObject),
            ("\u{0}", LockInfoError::NotAnObject),
            ("{}", LockInfoError::NoId),
            (r#"{"ID":""}"#, LockInfoError::NoId),
            (r#"{"ID":7}"#, LockInfoError::NoId),
            (r#"{"ID":null}"#, LockInfoError::NoId),
            (r#"{"ID":"a\nb"}"#, LockInfoError::BadId),
            (long_id.as_str(), LockInfoError::BadId),
            (long_words.as_str(), LockInfoError::BadId),
            (too_long.as_str(), LockInfoError::TooLong),
        ] {
            assert_eq!(LockInfo::parse(body.as_bytes()), Err(error), "{}", &body[..body.len().min(40)]);
        }
        assert_eq!(LockInfo::parse(b"{\"ID\":\"\xff\"}"), Err(LockInfoError::NotAnObject));
        assert_eq!(LockInfo::parse("[".repeat(60_000).as_bytes()), Err(LockInfoError::NotAnObject));
    }

    #[test]
    fn only_the_plan_of_the_exact_name_is_shared() {
        for operation in
            ["OperationTypePlan ", "operationtypeplan", "OperationTypeApply", "OperationTypeInvalid", "state-push", "plan", ""]
        {
            assert_eq!(info(&format!(r#"{{"ID":"a","Operation":"{operation}"}}"#)).kind(), Kind::Change, "{operation}");
        }
    }

    #[test]
    fn texts_are_cut_and_cannot_drive_a_terminal() {
        let read =
            info(&format!(r#"{{"ID":"a","Who":"\u001b[2Jx\n","Info":"{}","Path":"{}é"}}"#, "i".repeat(2000), "p".repeat(255)));
        assert_eq!(read.who, " [2Jx ");
        assert_eq!(read.info.len(), 1024);
        assert_eq!(read.path, "p".repeat(255));
    }

    #[test]
    fn created_that_a_client_could_not_read_is_left_out() {
        let printed = |created: &str| {
            let info = LockInfo { id: "a".to_owned(), created: Some(created.to_owned()), ..LockInfo::default() };
            String::from_utf8(info.encode(&Extra::default())).unwrap()
        };
        for good in
            ["2026-11-23T15:14:58Z", "2024-02-29T00:00:00.5+14:00", "0001-01-01T00:00:00Z", "2026-12-31T23:59:59.123456789-23:59"]
        {
            assert!(printed(good).contains(&format!(r#""Created":"{good}""#)), "{good}");
        }
        for bad in [
            "",
            "yesterday",
            "2026-11-23 15:14:58Z",
            "2026-11-23t15:14:58z",
            "2026-11-23T15:14:58",
            "2026-11-23T15:14Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T23:59:60Z",
            "2026-02-29T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-11-00T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-11-23T15:14:58.Z",
            "2026-11-23T15:14:58,5Z",
            "2026-11-23T15:14:58+24:00",
            "2026-11-23T15:14:58+0100",
            "2026-11-23T15:14:58ZZ",
            "26-11-23T15:14:58Z",
            "2026-11-23T5:14:58Z",
            "2026-11-23T15:14:58é",
            "+026-11-23T15:14:58Z",
        ] {
            assert!(!printed(bad).contains("Created"), "{bad}");
        }
    }

    #[test]
    fn extra_facts_follow_the_fields_of_the_client() {
        let info = LockInfo { id: "a".to_owned(), info: "held by a run".to_owned(), ..LockInfo::default() };
        let extra = Extra {
            expires_in: Some(Duration::from_millis(61_900)),
            fencing_token: Some(u64::MAX >> 1),
            queue_position: Some(2),
            run_url: Some("https://ci.example/1".to_owned()),
        };
        let expected = r#"{"ID":"a","Operation":"","Info":"held by a run","Who":"","Version":"","Path":"","expires_in":"1m 1s","fencing_token":"9223372036854775807","queue_position":2,"run_url":"https://ci.example/1"}"#;
        assert_eq!(String::from_utf8(info.encode(&extra)).unwrap(), expected);
    }
}
