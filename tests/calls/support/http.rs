//! A client of the `http` backend's door that sends exactly the bytes that a test says, as stock clients do or as none would.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use leasehold::backend::ContentMd5;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A caller with these credentials, or none. Every request has a connection of its own.
#[derive(Clone)]
pub(crate) struct Http {
    address: SocketAddr,
    authorization: Option<String>,
}

/// What was answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A request whose answer has not been read. Dropping it hangs up.
pub(crate) struct Sent(TcpStream);

/// An answer that has not come after this is not coming.
const PATIENCE: Duration = Duration::from_secs(20);

impl Http {
    /// With the token as the password of basic credentials, as stock Terraform shows it.
    pub(crate) fn new(address: SocketAddr, token: &str) -> Self {
        Self::with(address, Some(format!("Basic {}", BASE64_STANDARD.encode(format!("ci:{token}")))))
    }

    /// With this very header, or none.
    pub(crate) fn with(address: SocketAddr, authorization: Option<String>) -> Self {
        Self { address, authorization }
    }

    /// A request as the clients send it: with a size and a digest if there is a body.
    pub(crate) async fn call(&self, method: &str, target: &str, body: &[u8]) -> Answer {
        self.send(method, target, body).await.answer().await
    }

    pub(crate) async fn send(&self, method: &str, target: &str, body: &[u8]) -> Sent {
        let (size, digest) = (body.len().to_string(), ContentMd5::of(body).to_string());
        let mut headers = vec![("accept-encoding", "gzip")];
        if !body.is_empty() || matches!(method, "POST" | "PUT") {
            headers.extend([
                ("content-type", "application/json"),
                ("content-length", size.as_str()),
                ("content-md5", digest.as_str()),
            ]);
        }
        self.send_with(method, target, &headers, body).await
    }

    /// A request with these headers besides the credentials, and nothing else that anybody would add.
    pub(crate) async fn call_with(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send_with(method, target, headers, body).await.answer().await
    }

    pub(crate) async fn send_with(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Sent {
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        let authorization = self.authorization.iter().map(|header| ("authorization", header.as_str()));
        for (name, value) in authorization.chain(headers.iter().copied()) {
            head += &format!("{name}: {value}\r\n");
        }
        let mut stream = TcpStream::connect(self.address).await.expect("the server takes connections");
        // A server that has heard enough may answer and close while a large body is on its way.
        let _ = stream.write_all(&[head.as_bytes(), b"\r\n", body].concat()).await;
        Sent(stream)
    }
}

impl Sent {
    /// Says that nothing more is coming.
    pub(crate) async fn end(mut self) -> Self {
        self.0.shutdown().await.expect("the connection is open");
        self
    }

    /// Hangs up after this time, with a reset: whatever the server still says is lost.
    pub(crate) async fn reset_after(self, time: Duration) {
        tokio::time::sleep(time).await;
        self.0.set_zero_linger().expect("the socket is open");
    }

    /// The whole answer.
    pub(crate) async fn answer(self) -> Answer {
        self.answer_if_any().await.expect("an answer")
    }

    /// The whole answer, unless the server had none for a request that is none.
    pub(crate) async fn answer_if_any(mut self) -> Option<Answer> {
        let mut bytes = Vec::new();
        let read = async {
            let mut piece = vec![0; 64 << 10];
            // A connection that is reset after the answer loses nothing of it.
            while let Ok(n @ 1..) = self.0.read(&mut piece).await {
                bytes.extend_from_slice(&piece[..n]);
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("the server answers");
        (!bytes.is_empty()).then(|| parse(&bytes))
    }

    /// Whether there is no answer after this time.
    pub(crate) async fn is_held_back(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.0.peek(&mut [0])).await.is_err()
    }
}

impl Answer {
    /// A header, by its name in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The lock info in the body.
    #[track_caller]
    pub(crate) fn lock_info(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A text of the lock info in the body.
    #[track_caller]
    pub(crate) fn said(&self, field: &str) -> String {
        self.lock_info()[field].as_str().unwrap_or_else(|| panic!("no {field}: {}", self.text())).to_owned()
    }

    /// Asserts the status, and that it is no redirect.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {}", self.headers, self.text());
        assert_eq!(self.header("location"), None, "clients drop the body when they follow");
        self
    }

    /// Asserts the status and the stable code of a refusal without lock info.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        let answer = self.is(status);
        assert!(answer.text().starts_with(&format!("{code}: ")), "{code} was expected: {}", answer.text());
        answer
    }
}

#[track_caller]
fn parse(bytes: &[u8]) -> Answer {
    let whole = || String::from_utf8_lossy(bytes).into_owned();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("no whole head: {:?}", whole()));
    let head = String::from_utf8(bytes[..end].to_vec()).expect("heads are ASCII");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status line");
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let answer = Answer { status, headers: lines.filter_map(header).collect(), body: bytes[end + 4..].to_vec() };
    let size = answer.header("content-length").map(|size| size.parse::<usize>().expect("a number"));
    // The answer to HEAD tells the size of what it does not have.
    let whole_body = size == Some(answer.body.len()) || answer.body.is_empty();
    assert!(whole_body, "the answer has its size: {}", whole());
    answer
}
