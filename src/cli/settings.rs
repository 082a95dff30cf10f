//! From flags and environment to what they mean.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::environ::{self, Environ};
use super::failure::Failure;
use super::flags::Global;
use crate::client::{ApiToken, Client, ClientCertificate, DEFAULT_SERVER, Settings};

/// The longest token file that is read.
const MAX_TOKEN_FILE: u64 = 64 << 10;

/// How to reach the server and as whom, settled; nothing was read from files yet.
pub(crate) struct Connection {
    pub(crate) server: String,
    pub(crate) token: TokenSource,
    pub(crate) ca_file: Option<PathBuf>,
    /// A client certificate and its key.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) patience: std::time::Duration,
}

/// Where the token comes from.
pub(crate) enum TokenSource {
    None,
    Environment(Zeroizing<String>),
    File(PathBuf),
}

impl Connection {
    /// Flags win over the environment, except for the token: two sources of a secret are an error.
    pub(crate) fn resolve(flags: Global, environ: &mut Environ) -> Result<Self, Failure> {
        Ok(Self {
            server: flags.server.or_else(|| environ.server.take()).unwrap_or_else(|| DEFAULT_SERVER.to_owned()),
            token: token_source(environ.token.take(), environ.token_file.take(), flags.token_file)?,
            ca_file: flags.ca_file.or_else(|| environ.ca_file.take()),
            certificate: certificate(
                flags.client_cert.zip(flags.client_key),
                environ.client_cert_file.take(),
                environ.client_key_file.take(),
            )?,
            patience: flags.retry_for,
        })
    }

    /// The client. Must be called within a tokio runtime.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let token = self.token.read()?.map(ApiToken::parse).transpose().map_err(usage)?;
        let ca =
            self.ca_file.as_deref().map(|path| read(path, "CA file", "check --ca-file and LEASEHOLD_CA_FILE")).transpose()?;
        let certificate = match &self.certificate {
            None => None,
            Some((certificate, key)) => Some(ClientCertificate {
                chain: read(certificate, "client certificate", "check --client-cert and LEASEHOLD_CLIENT_CERT_FILE")?,
                key: read_secret_file(key, "client key", "check --client-key and LEASEHOLD_CLIENT_KEY_FILE")?,
            }),
        };
        let server = self.server.clone();
        Client::connect(Settings { server, token, ca, certificate, patience: self.patience }).map_err(usage)
    }
}

impl TokenSource {
    /// The token, from wherever it is.
    pub(crate) fn read(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        match self {
            Self::None => Ok(None),
            Self::Environment(token) => Ok(Some(token.clone())),
            Self::File(path) => read_token_file(path).map(Some),
        }
    }
}

/// Both files from the flags, or both from the environment.
fn certificate(
    flags: Option<(PathBuf, PathBuf)>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<(PathBuf, PathBuf)>, Failure> {
    match (flags, certificate, key) {
        (Some(flags), ..) => Ok(Some(flags)),
        (None, Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None, None) => Ok(None),
        _ => {
            let what = format!("{} and {} belong together", environ::CLIENT_CERT_FILE, environ::CLIENT_KEY_FILE);
            Err(Failure::usage(what, "give both, or neither"))
        }
    }
}

fn read(path: &Path, what: &str, check: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|cause| Failure::usage(format!("the {what} {} cannot be read: {cause}", path.display()), check))
}

fn token_source(
    token: Option<Zeroizing<String>>,
    file_in_environment: Option<PathBuf>,
    file_in_flags: Option<PathBuf>,
) -> Result<TokenSource, Failure> {
    match (token, file_in_environment, file_in_flags) {
        (None, None, None) => Ok(TokenSource::None),
        (Some(token), None, None) => Ok(TokenSource::Environment(token)),
        (None, Some(file), None) | (None, None, Some(file)) => Ok(TokenSource::File(file)),
        (token, in_environment, in_flags) => {
            let given = [
                (token.is_some(), environ::TOKEN),
                (in_environment.is_some(), environ::TOKEN_FILE),
                (in_flags.is_some(), "--token-file"),
            ];
            let given: Vec<_> = given.iter().filter(|(given, _)| *given).map(|(_, name)| *name).collect();
            Err(Failure::usage(format!("the token comes from two places: {}", given.join(" and ")), "give it in one place only"))
        }
    }
}

/// Reads a token from a file that nobody but its owner (and, as mounted secrets have it, its group) can read.
pub(crate) fn read_token_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    read_secret_file(path, "token file", "check --token-file and LEASEHOLD_TOKEN_FILE")
}

/// The same of any file with a secret; `what` it is, and what to check if it cannot be read.
pub(crate) fn read_secret_file(path: &Path, what: &str, check: &str) -> Result<Zeroizing<String>, Failure> {
    let shown = path.display();
    let cannot = |cause: std::io::Error| Failure::usage(format!("the {what} {shown} cannot be read: {cause}"), check);
    let file = File::open(path).map_err(cannot)?;
    let about = file.metadata().map_err(cannot)?;
    if about.permissions().mode() & 0o006 != 0 {
        return Err(Failure::usage(format!("the {what} {shown} is open to everybody"), format!("chmod 600 {shown}")));
    }
    let mut token = Zeroizing::new(String::new());
    file.take(MAX_TOKEN_FILE).read_to_string(&mut token).map_err(cannot)?;
    Ok(token)
}

/// What the client library cannot use of the settings is an error of usage here.
fn usage(error: crate::client::Error) -> Failure {
    Failure::usage(error.to_string(), error.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Option<Zeroizing<String>> {
        Some(Zeroizing::new("lh_planted".into()))
    }

    #[test]
    fn token_from_two_places_is_an_error_that_names_them() {
        let file = || Some(PathBuf::from("f"));
        for (token, environment, flags, names) in [
            (token(), file(), None, ["LEASEHOLD_TOKEN", "LEASEHOLD_TOKEN_FILE"]),
            (token(), None, file(), ["LEASEHOLD_TOKEN", "--token-file"]),
            (None, file(), file(), ["LEASEHOLD_TOKEN_FILE", "--token-file"]),
        ] {
            let Err(Failure::Usage { what, .. }) = token_source(token, environment, flags) else { panic!("accepted") };
            assert!(names.iter().all(|name| what.contains(name)) && !what.contains("planted"), "{what}");
        }
    }
}
