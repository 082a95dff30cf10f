//! What a request asks for: the method, the suffix `/lock` and the query, told apart as the clients and their users spell them.

use std::time::Duration;

use percent_encoding::percent_decode_str;

/// The longest time that a LOCK may be held open for its turn.
pub const MAX_WAIT: Duration = Duration::from_secs(600);

/// What a request asks for, and the answers that its sender takes for success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// The current document. Success is 200 with the body; 204 and 404 say that there is none yet.
    Read,
    /// A new document. Success is 200, 201 or 204.
    Write {
        /// The lock that the writer holds; absent with `-lock=false`, or with no lock address configured.
        id: Option<String>,
    },
    /// Take the lock. Success is exactly 200; 409 and 423 carry the lock info of the holder.
    Lock {
        /// How long the answer may be held back for its turn, from `?wait=60s`: the clients have no timeout of their own.
        wait: Option<Duration>,
    },
    /// Give the lock back. Success is exactly 200.
    Unlock {
        /// The lock, when the query names it, as GitLab's clients do; Terraform sends it in the body.
        id: Option<String>,
    },
    /// Delete the document. Success is exactly 200. No command of the clients sends it.
    Delete {
        /// The lock that the caller holds.
        id: Option<String>,
    },
}

/// Why a request is none of the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No call has this method here. 405.
    #[error(
        "a state takes GET, POST, PUT, DELETE, LOCK and UNLOCK; its /lock takes LOCK, POST and PUT to lock, UNLOCK and DELETE to unlock"
    )]
    Method,
    /// `?ID=` without a value, twice, or not in UTF-8. 400. An empty one never counts as none: to unlock without an id is to force it.
    #[error("ID in the query is one lock id, not empty")]
    Id,
    /// `?wait=` that is no duration, or too long. 400.
    #[error("wait in the query is a duration of at most 10 min, such as 60s")]
    Wait,
}

/// What `method` asks of a state, or of its `/lock` if `at_lock`, with this `query` (what follows the `?`).
///
/// # Errors
/// [`RequestError`]. Names in the query other than `ID`, and `wait` where nothing waits, are not looked at: users put things there.
pub fn classify(method: &str, at_lock: bool, query: Option<&str>) -> Result<Call, RequestError> {
    let query = query.unwrap_or_default();
    Ok(match (method, at_lock) {
        ("GET", false) => Call::Read,
        ("POST" | "PUT", false) => Call::Write { id: id(query)? },
        ("DELETE", false) => Call::Delete { id: id(query)? },
        ("LOCK", _) | ("POST" | "PUT", true) => Call::Lock { wait: wait(query)? },
        ("UNLOCK", _) | ("DELETE", true) => Call::Unlock { id: id(query)? },
        _ => return Err(RequestError::Method),
    })
}

fn id(query: &str) -> Result<Option<String>, RequestError> {
    match value(query, "ID") {
        Ok(Some(id)) if id.is_empty() => Err(RequestError::Id),
        Ok(id) => Ok(id),
        Err(Unreadable) => Err(RequestError::Id),
    }
}

fn wait(query: &str) -> Result<Option<Duration>, RequestError> {
    let Some(text) = value(query, "wait").map_err(|Unreadable| RequestError::Wait)? else { return Ok(None) };
    match humantime::parse_duration(&text) {
        Ok(wait) if wait <= MAX_WAIT => Ok(Some(wait)),
        _ => Err(RequestError::Wait),
    }
}

/// Twice there, or not in UTF-8.
struct Unreadable;

fn value(query: &str, name: &str) -> Result<Option<String>, Unreadable> {
    let mut found = None;
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decode(key).as_deref() != Some(name) {
            continue;
        }
        let value = decode(value).ok_or(Unreadable)?;
        if found.replace(value).is_some() {
            return Err(Unreadable);
        }
    }
    Ok(found)
}

fn decode(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3fd5aba4-5f5c-c4a5-6d2a-6d27f6f6bd3c";

    #[test]
    fn calls_of_stock_clients_are_told_apart() {
        let some = || Some(ID.to_owned());
        let with_id = format!("ID={ID}");
        for (method, at_lock, query, call) in [
            ("GET", false, None, Call::Read),
            ("POST", false, Some(with_id.as_str()), Call::Write { id: some() }),
            ("PUT", false, None, Call::Write { id: None }),
            ("LOCK", false, None, Call::Lock { wait: None }),
            ("UNLOCK", false, None, Call::Unlock { id: None }),
            ("DELETE", false, None, Call::Delete { id: None }),
            ("LOCK", true, None, Call::Lock { wait: None }),
            ("UNLOCK", true, None, Call::Unlock { id: None }),
            ("POST", true, Some(with_id.as_str()), Call::Lock { wait: None }),
            ("PUT", true, None, Call::Lock { wait: None }),
            ("DELETE", true, Some(with_id.as_str()), Call::Unlock { id: some() }),
        ] {
            assert_eq!(classify(method, at_lock, query), Ok(call), "{method} {at_lock} {query:?}");
        }
    }

    #[test]
    fn methods_that_no_call_has_are_refused() {
        for (method, at_lock) in
            [("GET", true), ("HEAD", false), ("PATCH", false), ("lock", false), ("OPTIONS", true), ("", false)]
        {
            assert_eq!(classify(method, at_lock, None), Err(RequestError::Method), "{method} {at_lock}");
        }
    }

    #[test]
    fn id_is_read_case_exactly_and_decoded_among_what_users_configured() {
        fn id(query: &str) -> Option<String> {
            match classify("POST", false, Some(query)) {
                Ok(Call::Write { id }) => id,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(id(&format!("ID={ID}&x=1")).as_deref(), Some(ID));
        assert_eq!(id("a=b&ID=a%2Fb%20c+d%C3%A9&z").as_deref(), Some("a/b c dé"));
        assert_eq!(id("%49D=x").as_deref(), Some("x"));
        assert_eq!(id(&format!("id={ID}&Id=1&AID=2")), None);
        assert_eq!(id(""), None);
    }

    #[test]
    fn empty_doubled_or_broken_id_is_refused_rather_than_taken_for_none() {
        for query in ["ID=", "ID", "x=1&ID=", "ID=a&ID=b", "ID=a&ID=a", "ID=%FF"] {
            for (method, at_lock) in [("POST", false), ("DELETE", true), ("UNLOCK", false), ("DELETE", false)] {
                assert_eq!(classify(method, at_lock, Some(query)), Err(RequestError::Id), "{method} {query}");
            }
        }
    }

    #[test]
    fn wait_is_a_duration_up_to_ten_minutes() {
        let wait = |query| classify("LOCK", true, Some(query));
        assert_eq!(wait("wait=60s"), Ok(Call::Lock { wait: Some(Duration::from_secs(60)) }));
        assert_eq!(wait("x=1&wait=1m%2030s"), Ok(Call::Lock { wait: Some(Duration::from_secs(90)) }));
        assert_eq!(wait("wait=10m"), Ok(Call::Lock { wait: Some(MAX_WAIT) }));
        assert_eq!(wait("Wait=1h"), Ok(Call::Lock { wait: None }));
        for query in
            ["wait=10m1s", "wait=", "wait", "wait=60", "wait=-1s", "wait=1s&wait=1s", "wait=%FF", "wait=99999999999999999999y"]
        {
            assert_eq!(wait(query), Err(RequestError::Wait), "{query}");
        }
    }

    #[test]
    fn wait_on_an_address_shared_by_all_calls_disturbs_none() {
        assert_eq!(classify("GET", false, Some("wait=1h")), Ok(Call::Read));
        assert_eq!(classify("POST", false, Some("ID=x&wait=1h")), Ok(Call::Write { id: Some("x".to_owned()) }));
        assert_eq!(classify("UNLOCK", false, Some("wait=1h")), Ok(Call::Unlock { id: None }));
    }
}
