//! The one place where environment variables are read.

use std::ffi::OsString;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::client::FencingToken;
use crate::pb::v1::Labels;

pub(crate) const SERVER: &str = "LEASEHOLD_SERVER";
pub(crate) const TOKEN: &str = "LEASEHOLD_TOKEN";
pub(crate) const TOKEN_FILE: &str = "LEASEHOLD_TOKEN_FILE";
pub(crate) const CA_FILE: &str = "LEASEHOLD_CA_FILE";
pub(crate) const CLIENT_CERT_FILE: &str = "LEASEHOLD_CLIENT_CERT_FILE";
pub(crate) const CLIENT_KEY_FILE: &str = "LEASEHOLD_CLIENT_KEY_FILE";
pub(crate) const STATE: &str = "LEASEHOLD_STATE";
pub(crate) const SESSION: &str = "LEASEHOLD_SESSION";
pub(crate) const FENCE: &str = "LEASEHOLD_FENCE";
const LOG: &str = "LEASEHOLD_LOG";

/// What the environment says, as it says it; an empty variable counts as absent.
pub(crate) struct Environ {
    pub(crate) server: Option<String>,
    pub(crate) token: Option<Zeroizing<String>>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) client_cert_file: Option<PathBuf>,
    pub(crate) client_key_file: Option<PathBuf>,
    pub(crate) log: Option<String>,
    pub(crate) labels: Labels,
    /// What Terraform reads for its `http` backend.
    pub(crate) http: HttpEnviron,
    /// The lease of the `run` around this process.
    pub(crate) around: Option<Around>,
}

/// Credentials for another `http` backend, under the names that Terraform gives them.
pub(crate) struct HttpEnviron {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Zeroizing<String>>,
    pub(crate) ca: Option<String>,
    pub(crate) certificate: Option<String>,
    pub(crate) key: Option<Zeroizing<String>>,
}

/// A lease that somebody else keeps alive for this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Around {
    pub(crate) state: String,
    pub(crate) session: String,
    pub(crate) token: FencingToken,
}

impl Environ {
    #[allow(clippy::disallowed_methods, reason = "this is the resolver that the ban points to")]
    pub(crate) fn read() -> Self {
        Self::from(|name| std::env::var_os(name))
    }

    fn from(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let raw = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let text = |name: &str| raw(name).map(|value| value.to_string_lossy().into_owned());
        let first = |names: &[&str]| names.iter().find_map(|name| text(name)).unwrap_or_default();
        let github_run = || {
            let (server, repository) = (text("GITHUB_SERVER_URL")?, text("GITHUB_REPOSITORY")?);
            Some(format!("{server}/{repository}/actions/runs/{}", text("GITHUB_RUN_ID")?))
        };
        let run_url = text("LEASEHOLD_RUN_URL").or_else(|| text("CI_JOB_URL")).or_else(github_run).unwrap_or_default();
        Self {
            server: text(SERVER),
            token: text(TOKEN).map(Zeroizing::new),
            token_file: raw(TOKEN_FILE).map(PathBuf::from),
            ca_file: raw(CA_FILE).map(PathBuf::from),
            client_cert_file: raw(CLIENT_CERT_FILE).map(PathBuf::from),
            client_key_file: raw(CLIENT_KEY_FILE).map(PathBuf::from),
            log: text(LOG),
            labels: Labels {
                who: first(&["LEASEHOLD_WHO", "GITHUB_ACTOR", "GITLAB_USER_LOGIN", "USER"]),
                host: text("HOSTNAME").unwrap_or_else(host),
                pid: std::process::id().to_string(),
                run_url,
                commit: first(&["LEASEHOLD_COMMIT", "GITHUB_SHA", "CI_COMMIT_SHA"]),
                ..Labels::default()
            },
            http: HttpEnviron {
                username: text("TF_HTTP_USERNAME"),
                password: text("TF_HTTP_PASSWORD").map(Zeroizing::new),
                ca: text("TF_HTTP_CLIENT_CA_CERTIFICATE_PEM"),
                certificate: text("TF_HTTP_CLIENT_CERTIFICATE_PEM"),
                key: text("TF_HTTP_CLIENT_PRIVATE_KEY_PEM").map(Zeroizing::new),
            },
            around: around(text(STATE), text(SESSION), text(FENCE)),
        }
    }
}

fn around(state: Option<String>, session: Option<String>, fence: Option<String>) -> Option<Around> {
    Some(Around { state: state?, session: session?, token: FencingToken(fence?.parse().ok()?) })
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    name.map(|name| name.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environ(pairs: &[(&str, &str)]) -> Environ {
        Environ::from(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v)))
    }

    #[test]
    fn lease_of_run_is_known_by_all_three_variables() {
        let whole = [(STATE, "dev/app"), (SESSION, "s"), (FENCE, "7")];
        let expected = Around { state: "dev/app".into(), session: "s".into(), token: FencingToken(7) };
        assert_eq!(environ(&whole).around, Some(expected));
        assert_eq!(environ(&whole[..2]).around, None);
        assert_eq!(environ(&[(STATE, "dev/app"), (SESSION, "s"), (FENCE, "x")]).around, None);
    }

    #[test]
    fn empty_variable_counts_as_absent() {
        assert!(environ(&[(TOKEN, ""), (SERVER, "")]).token.is_none());
    }

    #[test]
    fn run_url_of_a_ci_system_is_put_together() {
        let github = [("GITHUB_SERVER_URL", "https://g"), ("GITHUB_REPOSITORY", "o/r"), ("GITHUB_RUN_ID", "5")];
        assert_eq!(environ(&github).labels.run_url, "https://g/o/r/actions/runs/5");
        assert_eq!(environ(&[("CI_JOB_URL", "https://l/1")]).labels.run_url, "https://l/1");
    }
}
