//! TLS from a certificate and a key in files.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

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
    /// Certificate and key are readable, but do not serve together.
    #[error("certificate and key cannot be used: {0}; check that the key belongs to the certificate")]
    Unusable(#[from] rustls::Error),
}

/// Accepts TLS 1.2 and 1.3 with the certificate chain and the private key in these PEM files, offering `h2` and `http/1.1`.
///
/// # Errors
/// See [`TlsError`]; a key file that everybody may read or write is refused.
pub fn acceptor(certificates: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let (chain_pem, _) = read(certificates)?;
    let no_certificate = || TlsError::NoCertificate { path: certificates.to_owned() };
    let chain = CertificateDer::pem_slice_iter(&chain_pem).collect::<Result<Vec<_>, _>>().map_err(|_| no_certificate())?;
    if chain.is_empty() {
        return Err(no_certificate());
    }
    let (key_pem, mode) = read(key)?;
    if mode & 0o006 != 0 {
        return Err(TlsError::OpenToAll { path: key.to_owned(), mode });
    }
    let private = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| TlsError::NoKey { path: key.to_owned() })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
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
