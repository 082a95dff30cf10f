//! A document at the door for stock tools, as bytes on the wire: tools send what they are given, and show little of what they are told.

use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::{BOUND, Server};

/// Sends a document of this length until it is all there, or the server says that it will not have it; the whole answer.
pub(crate) fn post(server: &Server, state: &str, length: u64, document: impl Read) -> String {
    exchange(server, &format!("POST /terraform/v1/{state}"), length, document)
}

/// What the server counts.
pub(crate) fn metrics(server: &Server) -> String {
    exchange(server, "GET /metrics", 0, std::io::empty())
}

fn exchange(server: &Server, what: &str, length: u64, mut body: impl Read) -> String {
    let (address, token) = server.door();
    let host = address.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    let head = format!(
        "{what} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n",
        BASE64_STANDARD.encode(format!("ci:{token}")),
    );
    stream.write_all(head.as_bytes()).unwrap();
    // It hears no more of it than it has to.
    let _ = std::io::copy(&mut body, &mut stream);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}
