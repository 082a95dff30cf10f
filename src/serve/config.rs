//! The server's settings: one file, every key documented here and in docs/configuration.md, unknown keys refused.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::domain::settings::Limits;
use crate::service::{COMMAND_TIMEOUT, MasterSource};

/// The settings file, in TOML. Everything has a default; flags win over it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the data is kept.
    pub data_dir: Option<PathBuf>,
    /// The address to listen on.
    pub listen: Option<SocketAddr>,
    /// `sqlite` (in the data folder) or `memory` (gone when the server stops).
    pub store: Option<StoreKind>,
    /// PEM file with the certificate chain.
    pub tls_cert: Option<PathBuf>,
    /// PEM file with its key; nobody else may read it.
    pub tls_key: Option<PathBuf>,
    /// PEM file with the certificates of the authorities whose clients are known by their certificates.
    pub tls_client_ca: Option<PathBuf>,
    /// Whether a client has to show a certificate (default `required`, once there is `tls_client_ca`).
    pub tls_client: Option<ClientCertificates>,
    /// The largest document in bytes (default 128 MiB).
    pub max_document: Option<u64>,
    /// How many bytes of documents may be in flight at once (default 512 MiB).
    pub max_in_flight: Option<u64>,
    /// How many connections may be open (default 4096).
    pub max_connections: Option<usize>,
    /// How many of them from one address, or one IPv6 /64 (default 2048).
    pub max_connections_per_peer: Option<usize>,
    /// How many events are kept for watchers (default 1,000,000).
    pub keep_events: Option<u64>,
    /// How many wrong tokens an address (with IPv6, a /64) may show at once before it has to wait (default 20; one more every 3 s).
    pub failed_authentications: Option<u32>,
    /// Let anybody ask which calls there are, by reflection (default: only who has a token).
    pub open_reflection: Option<bool>,
    /// Let anybody read what the server counts, at `/metrics` (default: only who has a token).
    pub open_metrics: Option<bool>,
    /// Where the master key comes from (default: `master.key` in the data folder).
    pub master: MasterConfig,
    /// Bounds on leases.
    pub limits: LimitsConfig,
    /// Issuers whose tokens are taken, in this order.
    pub oidc: Vec<OidcConfig>,
}

/// Whether clients have to show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// Who shows none is let in, and has to show a token.
    Optional,
    /// Without one no connection is made.
    #[default]
    Required,
}

/// Which tokens of an issuer are taken (`[[oidc]]`).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// Part of the principals `oidc:NAME:SUBJECT`, formed like an environment's name.
    pub name: String,
    /// The `iss` of the tokens, byte for byte.
    pub issuer: String,
    /// The `aud` of the tokens, or a list of them.
    #[serde(deserialize_with = "one_or_many")]
    pub audience: Vec<String>,
    /// Where the issuer publishes its keys, with `https`; or with `http` at a loopback address.
    pub jwks_url: Option<String>,
    /// A file with them, instead.
    pub jwks_file: Option<PathBuf>,
    /// PEM file with the certificates that `jwks_url` is verified against, instead of those of the system.
    pub ca: Option<PathBuf>,
    /// Claims and the value, or the values, that each must have; objects in the claims are tables.
    pub claims: toml::Table,
}

/// Where the master key comes from: one of `file`, `encrypted` and `command`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MasterConfig {
    /// A file with age identities, the current one first, that only its owner can read.
    pub file: Option<PathBuf>,
    /// An age file with them that a passphrase opens: the server starts locked, unless `passphrase` is given.
    pub encrypted: Option<PathBuf>,
    /// The file with the passphrase of `encrypted`.
    pub passphrase: Option<PathBuf>,
    /// A program by its absolute path, and its arguments; it prints the identities.
    pub command: Option<Vec<String>>,
    /// How long it may take (default 10 s).
    #[serde(deserialize_with = "span")]
    pub command_timeout: Option<Duration>,
}

/// Where data is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// In the data folder.
    #[default]
    Sqlite,
    /// In memory: for trials and tests.
    Memory,
}

/// Bounds on leases; spans as `10s`, `2m`, `1h`. The defaults are those of the design; lower ones are for tests.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "each key is the limit of the same name in `Limits`")]
pub struct LimitsConfig {
    #[serde(deserialize_with = "span")]
    pub min_ttl: Option<Duration>,
    #[serde(deserialize_with = "span")]
    pub max_ttl: Option<Duration>,
    #[serde(deserialize_with = "span")]
    pub max_lock_delay: Option<Duration>,
    #[serde(deserialize_with = "span")]
    pub claim: Option<Duration>,
    #[serde(deserialize_with = "span")]
    pub claim_polling: Option<Duration>,
    #[serde(deserialize_with = "span")]
    pub ticket_life: Option<Duration>,
    #[serde(deserialize_with = "span")]
    pub ticket_life_polling: Option<Duration>,
    #[serde(deserialize_with = "span")]
    pub overdue: Option<Duration>,
    #[serde(deserialize_with = "span")]
    pub unattended_shared: Option<Duration>,
    #[serde(deserialize_with = "span")]
    pub request_memory: Option<Duration>,
}

/// Why a settings file cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum ConfigError {
    #[error("cannot read the settings {}: {cause}", .file.display())]
    Io { file: PathBuf, cause: std::io::Error },
    #[error("the settings {} are malformed: {cause}", .file.display())]
    Malformed { file: PathBuf, cause: toml::de::Error },
    #[error(
        "[master] names more than one source, or a part of one: give `file`, `encrypted` (with or without `passphrase`) or `command`"
    )]
    Master,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or has an unknown key or a wrong value.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|cause| ConfigError::Io { file: file.to_owned(), cause })?;
        toml::from_str(&text).map_err(|cause| ConfigError::Malformed { file: file.to_owned(), cause })
    }
}

impl MasterConfig {
    /// The one source that is named; by default a file in the data folder.
    ///
    /// # Errors
    /// There are several, or a passphrase or timeout without what it belongs to.
    pub fn source(&self, folder: &Path) -> Result<MasterSource, ConfigError> {
        match (&self.file, &self.encrypted, &self.command) {
            (file, None, None) if self.passphrase.is_none() && self.command_timeout.is_none() => {
                Ok(MasterSource::File(file.clone().unwrap_or_else(|| folder.join("master.key"))))
            }
            (None, Some(file), None) if self.command_timeout.is_none() => {
                Ok(MasterSource::Passphrase { file: file.clone(), passphrase: self.passphrase.clone() })
            }
            (None, None, Some(argv)) if self.passphrase.is_none() => {
                Ok(MasterSource::Command { argv: argv.clone(), timeout: self.command_timeout.unwrap_or(COMMAND_TIMEOUT) })
            }
            _ => Err(ConfigError::Master),
        }
    }
}

impl LimitsConfig {
    /// The limits, with the defaults where nothing is set.
    #[must_use]
    pub fn resolve(&self) -> Limits {
        let default = Limits::default();
        Limits {
            min_ttl: self.min_ttl.unwrap_or(default.min_ttl),
            max_ttl: self.max_ttl.unwrap_or(default.max_ttl),
            max_lock_delay: self.max_lock_delay.unwrap_or(default.max_lock_delay),
            claim: self.claim.unwrap_or(default.claim),
            claim_polling: self.claim_polling.unwrap_or(default.claim_polling),
            ticket_life: self.ticket_life.unwrap_or(default.ticket_life),
            ticket_life_polling: self.ticket_life_polling.unwrap_or(default.ticket_life_polling),
            overdue: self.overdue.unwrap_or(default.overdue),
            unattended_shared: self.unattended_shared.unwrap_or(default.unattended_shared),
            request_memory: self.request_memory.unwrap_or(default.request_memory),
        }
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text or a list of texts")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_and_wrong_values_are_refused() {
        for bad in
            ["lissten = \"127.0.0.1:1\"", "[limits]\nmin_tttl = \"1s\"", "[limits]\nmin_ttl = \"soon\"", "store = \"mysql\""]
        {
            assert!(toml::from_str::<Config>(bad).is_err(), "{bad}");
        }
        let good: Config = toml::from_str("listen = \"127.0.0.1:0\"\n[limits]\nmin_ttl = \"2s\"").unwrap();
        assert_eq!(good.limits.resolve().min_ttl, Duration::from_secs(2));
        assert_eq!(good.limits.resolve().max_ttl, Limits::default().max_ttl);
    }
}
