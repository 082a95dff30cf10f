//! A server of keys on loopback that says what it is told to say, and counts who asks.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

pub(super) struct JwksServer {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    answer: Mutex<Vec<u8>>,
    asked: watch::Sender<usize>,
    /// Answers that may be given; none of them is held back at first.
    allowed: Semaphore,
}

impl JwksServer {
    pub(super) async fn start(jwks: &serde_json::Value) -> Self {
        Self::start_with(jwks, None).await
    }

    pub(super) async fn start_with(jwks: &serde_json::Value, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let allowed = Semaphore::new(Semaphore::MAX_PERMITS);
        let shared = Arc::new(Shared { answer: Mutex::default(), asked: watch::Sender::new(0), allowed });
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (shared, tls) = (Arc::clone(&serving), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => shared.serve(tcp).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(tcp).await {
                                shared.serve(stream).await;
                            }
                        }
                    }
                });
            }
        });
        let server = Self { address, shared, task };
        server.say(jwks);
        server
    }

    /// From now on, these keys.
    pub(super) fn say(&self, jwks: &serde_json::Value) {
        self.answer("200 OK", "", jwks.to_string().as_bytes());
    }

    /// From now on, this answer.
    pub(super) fn answer(&self, status: &str, header: &str, body: &[u8]) {
        let head = format!("HTTP/1.1 {status}\r\n{header}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
        self.raw([head.as_bytes(), body].concat());
    }

    /// From now on, these bytes, then the end of the connection.
    pub(super) fn raw(&self, bytes: Vec<u8>) {
        *self.shared.answer.lock().unwrap() = bytes;
    }

    /// Takes requests, but answers none before [`Self::let_go`].
    pub(super) fn hold(&self) {
        self.shared.allowed.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(super) fn let_go(&self) {
        self.shared.allowed.add_permits(Semaphore::MAX_PERMITS);
    }

    pub(super) fn asked(&self) -> usize {
        *self.shared.asked.borrow()
    }

    /// Waits until it has been asked so often.
    pub(super) async fn was_asked(&self, times: usize) {
        let patience = std::time::Duration::from_secs(20);
        let mut asked = self.shared.asked.subscribe();
        tokio::time::timeout(patience, asked.wait_for(|asked| *asked >= times)).await.expect("it is asked").unwrap();
    }

    /// Nobody listens there any more.
    pub(super) async fn stop(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    pub(super) fn settings(&self) -> String {
        format!("jwks_url = 'http://{}/keys'", self.address)
    }
}

impl Drop for JwksServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        self.asked.send_modify(|asked| *asked += 1);
        let allowed = self.allowed.acquire().await.unwrap();
        let answer = self.answer.lock().unwrap().clone();
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
        drop(allowed);
    }
}
