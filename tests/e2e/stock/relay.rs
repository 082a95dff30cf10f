//! A relay between a tool and the server that does to requests what networks and proxies do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What happens to a request.
#[derive(Clone, Copy)]
pub(super) enum Fate {
    /// It is passed on, and its answer back.
    Pass,
    /// It is passed on; its answer is lost with the connection.
    Deaf,
    /// The relay answers for itself: 503, and to try again in so many seconds.
    Busy(u64),
}

/// What was asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) body: Vec<u8>,
    /// The status of the answer that the server gave, if it was asked.
    pub(super) status: Option<u16>,
}

/// Ends with the process: nobody connects to it after the test.
pub(super) struct Relay {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Relay {
    /// Relays to an address as [`crate::rig::Server::door`] gives it. The fate of a request depends on its method and on how many of
    /// this method were there before.
    pub(super) fn to(server: &str, fate: fn(&str, usize) -> Fate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (asked, to) = (Arc::<Mutex<Vec<Asked>>>::default(), server.strip_prefix("http://").unwrap().to_owned());
        let seen = Arc::clone(&asked);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (to, seen) = (to.clone(), Arc::clone(&seen));
                // A client that hangs up is no news.
                std::thread::spawn(move || relay(client.unwrap(), &to, &seen, fate));
            }
        });
        Self { address, asked }
    }

    /// Where a state is, through it.
    pub(super) fn address(&self, state: &str) -> String {
        format!("{}/terraform/v1/{state}", self.address)
    }

    /// What was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The methods and statuses of it.
    pub(super) fn calls(&self) -> Vec<(String, Option<u16>)> {
        self.asked().into_iter().map(|asked| (asked.method, asked.status)).collect()
    }
}

/// One request for each connection: the answer says that it is closed.
fn relay(mut client: TcpStream, server: &str, seen: &Mutex<Vec<Asked>>, fate: fn(&str, usize) -> Fate) -> Option<()> {
    let (head, body) = request(&client)?;
    let mut words = head.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (index, fate) = {
        let mut seen = seen.lock().unwrap();
        let before = seen.iter().filter(|asked| asked.method == method).count();
        let fate = fate(&method, before);
        seen.push(Asked { method, target, body: body.clone(), status: None });
        (seen.len() - 1, fate)
    };
    let answer = match fate {
        Fate::Busy(seconds) => format!(
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .into_bytes(),
        Fate::Pass | Fate::Deaf => {
            let answer = ask(server, &head, &body)?;
            let status = String::from_utf8_lossy(&answer[..answer.len().min(12)]).split(' ').nth(1)?.parse().ok();
            seen.lock().unwrap()[index].status = status;
            answer
        }
    };
    if !matches!(fate, Fate::Deaf) {
        client.write_all(&answer).ok()?;
    }
    client.shutdown(Shutdown::Both).ok()
}

fn ask(server: &str, head: &str, body: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(server).ok()?;
    let kept = head.split("\r\n").filter(|line| {
        let name = line.split(':').next().unwrap_or_default();
        !["connection", "transfer-encoding", "content-length"].iter().any(|gone| name.eq_ignore_ascii_case(gone))
    });
    let mut head: String = kept.flat_map(|line| [line, "\r\n"]).collect();
    head += &format!("Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(answer)
}

/// The head without its end, and the body without its chunks.
fn request(client: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.trim_end().to_owned();
    let header = |name: &str| {
        head.split("\r\n").skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let mut body = Vec::new();
    if header("transfer-encoding").is_some() {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let size = usize::from_str_radix(line.trim(), 16).ok()?;
            let mut piece = vec![0; size + 2];
            reader.read_exact(&mut piece).ok()?;
            body.extend_from_slice(&piece[..size]);
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = header("content-length") {
        body.resize(length.parse().ok()?, 0);
        reader.read_exact(&mut body).ok()?;
    }
    Some((head, body))
}
