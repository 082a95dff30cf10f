//! TLS from files, which may change while the server runs.
//!
//! Certificates, key and client authority are loaded together and replaced together: a handshake sees the old ones or the new ones, never
//! a mixture. With client certificates no session is resumed: a resumed session would bring a certificate along that nobody has verified
//! again. For the same reason the certificate of a connection that lives is verified again.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use zeroize::Zeroizing;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(5);
/// How often the client certificate of a connection that lives is verified again.
const AGAIN: Duration = Duration::from_secs(60);

/// The files of a server with TLS, in PEM form.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate chain, the server's own certificate first.
    pub certificates: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Whose client certificates are taken; none: clients are not asked for one.
    pub clients: Option<Clients>,
}

/// Which clients are known by their certificates.
#[derive(Clone, Debug)]
pub struct Clients {
    /// The certificates of the authorities.
    pub ca: PathBuf,
    /// Whether a client without a certificate is refused.
    pub required: bool,
}

/// TLS 1.2 and 1.3 for `h2` and `http/1.1`, with the files as they were when they last made sense.
pub struct Tls {
    files: Files,
    time: Arc<dyn TimeProvider>,
    loaded: ArcSwap<Loaded>,
    /// Told when other files are in use.
    changes: watch::Sender<()>,
}

struct Loaded {
    acceptor: TlsAcceptor,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    /// Of the contents of all files.
    digest: [u8; 32],
}

/// The certificate that a client has shown, on a connection that lives: valid until the authority's file or the time says otherwise.
pub(super) struct Shown {
    chain: Vec<CertificateDer<'static>>,
    leaf: Arc<CertificateDer<'static>>,
    /// With which files and when it was verified last.
    verified: Mutex<([u8; 32], u64)>,
    /// Told when a request finds it invalid.
    invalid: Notify,
}

/// Why TLS cannot be had. No message quotes what is in the files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}; check the path and its permissions", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Everybody on the machine may read or change the private key.
    #[error("{} has mode {mode:04o}, open to everybody: run `chmod 600` on it, and replace the key if others use this machine", .path.display())]
    OpenToAll {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds no PEM certificates, or damaged ones.
    #[error("{} holds no certificate in PEM form: give the chain, the server's own certificate first", .path.display())]
    NoCertificate {
        /// The certificate file.
        path: PathBuf,
    },
    /// The file holds no PEM private key.
    #[error("{} holds no private key in PEM form: give an unencrypted PKCS #8, PKCS #1 or SEC 1 key", .path.display())]
    NoKey {
        /// The key file.
        path: PathBuf,
    },
    /// The client authorities cannot be used.
    #[error("{} cannot be used to verify clients: {source}", .path.display())]
    Clients {
        /// The file with the authorities.
        path: PathBuf,
        /// What is wrong.
        source: VerifierBuilderError,
    },
    /// Certificate and key are readable, but do not serve together.
    #[error("certificate and key cannot be used: {0}; check that the key belongs to the certificate")]
    Unusable(#[from] rustls::Error),
}

impl Tls {
    /// Loads the files.
    ///
    /// # Errors
    /// See [`TlsError`]; a key file that everybody may read or write is refused.
    pub fn open(files: Files) -> Result<Arc<Self>, TlsError> {
        Self::open_at(files, Arc::new(DefaultTimeProvider))
    }

    /// The same with a clock to judge certificates by.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_at(files: Files, time: Arc<dyn TimeProvider>) -> Result<Arc<Self>, TlsError> {
        let loaded = Contents::read(&files)?.load(&files, &time)?;
        Ok(Arc::new(Self { files, time, loaded: ArcSwap::from_pointee(loaded), changes: watch::Sender::new(()) }))
    }

    /// Loads the files again if their contents have changed; says whether they had. Connections that are open stay.
    ///
    /// # Errors
    /// As [`Self::open`]; then what was loaded before stays in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let contents = Contents::read(&self.files)?;
        if contents.digest() == self.loaded.load().digest {
            return Ok(false);
        }
        self.loaded.store(Arc::new(contents.load(&self.files, &self.time)?));
        self.changes.send_replace(());
        Ok(true)
    }

    /// [Reloads](Self::reload) for ever, every 5 s. What is wrong is logged once.
    pub(super) async fn watch(self: Arc<Self>) {
        let mut logged = None;
        loop {
            sleep(EVERY).await;
            let tls = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || tls.reload()).await {
                Ok(Ok(reloaded)) => {
                    logged = None;
                    if reloaded {
                        tracing::info!("TLS files loaded again");
                    }
                }
                Ok(Err(error)) if logged.as_ref() != Some(&error.to_string()) => {
                    tracing::error!(%error, "TLS files have changed and cannot be used: the old ones stay");
                    logged = Some(error.to_string());
                }
                Ok(Err(_)) => {}
                Err(error) => tracing::error!(%error, "looking at the TLS files failed"),
            }
        }
    }

    pub(super) async fn accept(&self, tcp: TcpStream) -> io::Result<(TlsStream<TcpStream>, Option<Shown>)> {
        let loaded = self.loaded.load_full();
        let stream = loaded.acceptor.accept(tcp).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| {
            let chain: Vec<_> = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
            let leaf = Arc::new(chain.first()?.clone());
            let verified = Mutex::new((loaded.digest, self.now()?.as_secs()));
            Some(Shown { chain, leaf, verified, invalid: Notify::new() })
        });
        Ok((stream, shown))
    }

    /// The certificate, if it is still valid.
    pub(super) fn verified(&self, shown: &Shown) -> Option<Arc<CertificateDer<'static>>> {
        let verified = self.verify_again(shown);
        if verified.is_none() {
            shown.invalid.notify_one();
        }
        verified.map(|()| Arc::clone(&shown.leaf))
    }

    /// Completes when the certificate is not valid any more. Looks when the files change, when a request has found out, and by itself:
    /// a stream may go on for days without a request.
    pub(super) async fn lapsed(&self, shown: &Shown) {
        let mut changes = self.changes.subscribe();
        while self.verify_again(shown).is_some() {
            tokio::select! {
                _ = changes.changed() => {}
                () = shown.invalid.notified() => {}
                () = sleep(AGAIN) => {}
            }
        }
    }

    fn verify_again(&self, shown: &Shown) -> Option<()> {
        let (loaded, now) = (self.loaded.load(), self.now()?);
        let mut verified = shown.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let (digest, at) = *verified;
        if digest != loaded.digest || now.as_secs().abs_diff(at) >= AGAIN.as_secs() {
            let (leaf, intermediates) = shown.chain.split_first()?;
            loaded.clients.as_ref()?.verify_client_cert(leaf, intermediates, now).ok()?;
            *verified = (loaded.digest, now.as_secs());
        }
        Some(())
    }

    fn now(&self) -> Option<UnixTime> {
        self.time.current_time()
    }
}

/// What the files hold.
struct Contents {
    chain: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
    key_mode: u32,
    authorities: Option<Zeroizing<Vec<u8>>>,
}

impl Contents {
    fn read(files: &Files) -> Result<Self, TlsError> {
        let (chain, _) = read(&files.certificates)?;
        let (key, key_mode) = read(&files.key)?;
        let authorities = files.clients.as_ref().map(|clients| read(&clients.ca)).transpose()?;
        Ok(Self { chain, key, key_mode, authorities: authorities.map(|(pem, _)| pem) })
    }

    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for file in [Some(&self.chain), Some(&self.key), self.authorities.as_ref()] {
            digest.update(Sha256::digest(file.map_or(&[][..], |file| file)));
        }
        digest.update(self.key_mode.to_be_bytes());
        digest.finalize().into()
    }

    fn load(&self, files: &Files, time: &Arc<dyn TimeProvider>) -> Result<Loaded, TlsError> {
        let chain = certificates(&self.chain, &files.certificates)?;
        if self.key_mode & 0o006 != 0 {
            return Err(TlsError::OpenToAll { path: files.key.clone(), mode: self.key_mode });
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| TlsError::NoKey { path: files.key.clone() })?;
        let clients = match (&files.clients, &self.authorities) {
            (Some(clients), Some(pem)) => Some(verifier(clients, pem)?),
            _ => None,
        };
        let builder = ServerConfig::builder_with_details(Arc::new(aws_lc_rs::default_provider()), Arc::clone(time))
            .with_safe_default_protocol_versions()?;
        let builder = match &clients {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if clients.is_some() {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Loaded { acceptor: TlsAcceptor::from(Arc::new(config)), clients, digest: self.digest() })
    }
}

fn verifier(clients: &Clients, pem: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(pem, &clients.ca)? {
        roots.add(authority)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(aws_lc_rs::default_provider()));
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|source| TlsError::Clients { path: clients.ca.clone(), source })
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| TlsError::NoCertificate { path: path.to_owned() })
}

/// The file's bytes, wiped on drop, and its permission bits: those of the opened file, so that no swap comes between.
fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), TlsError> {
    let read = || {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        // Room for all of it at once: a buffer that grows leaves copies of the key behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(metadata.len() as usize + 1));
        file.read_to_end(&mut bytes)?;
        Ok((bytes, metadata.permissions().mode() & 0o7777))
    };
    read().map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            folder.renew();
            folder
        }

        fn files(&self) -> Files {
            Files { certificates: self.0.path().join("cert.pem"), key: self.0.path().join("key.pem"), clients: None }
        }

        /// Another pair, written as careless tools do it: in place, one after the other.
        fn renew(&self) {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            std::fs::write(self.files().certificates, made.cert.pem()).unwrap();
            std::fs::write(self.files().key, made.signing_key.serialize_pem()).unwrap();
            self.set_key_mode(0o600);
        }

        fn set_key_mode(&self, mode: u32) {
            std::fs::set_permissions(self.files().key, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    /// Enough for the files to be looked at, and for what was read to be loaded. The time is virtual, and stands still for the reading.
    async fn looked() {
        sleep(EVERY * 2).await;
    }

    #[tokio::test(start_paused = true)]
    async fn files_that_change_are_noticed_whenever_they_do() {
        let folder = Folder::new();
        let tls = Tls::open(folder.files()).unwrap();
        let watching = tokio::spawn(Arc::clone(&tls).watch());
        let digest = || tls.loaded.load().digest;
        let first = digest();
        looked().await;
        assert_eq!(digest(), first);
        folder.renew();
        looked().await;
        let second = digest();
        assert_ne!(second, first);
        std::fs::write(folder.files().certificates, "gone wrong").unwrap();
        looked().await;
        assert_eq!(digest(), second, "what is broken is not loaded");
        std::fs::remove_file(folder.files().certificates).unwrap();
        looked().await;
        assert_eq!(digest(), second);
        folder.renew();
        looked().await;
        assert_ne!(digest(), second, "it was not given up");
        watching.abort();
    }

    #[test]
    fn broken_files_leave_the_old_ones_in_use() {
        let folder = Folder::new();
        let tls = Tls::open(folder.files()).unwrap();
        let first = tls.loaded.load_full();
        let old = std::fs::read(folder.files().certificates).unwrap();
        folder.renew();
        let new = std::fs::read(folder.files().certificates).unwrap();
        std::fs::write(folder.files().certificates, old).unwrap();
        assert!(matches!(tls.reload(), Err(TlsError::Unusable(_))), "half of a pair");
        std::fs::write(folder.files().certificates, new).unwrap();
        folder.set_key_mode(0o644);
        assert!(matches!(tls.reload(), Err(TlsError::OpenToAll { mode: 0o644, .. })));
        assert!(Arc::ptr_eq(&tls.loaded.load_full(), &first));
        folder.set_key_mode(0o600);
        assert!(tls.reload().unwrap());
        assert!(!tls.reload().unwrap(), "nothing has changed since");
        folder.set_key_mode(0o604);
        assert!(matches!(tls.reload(), Err(TlsError::OpenToAll { .. })), "the same key, now open to all");
    }
}
