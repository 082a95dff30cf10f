//! The other server that `state import` reads from.

use zeroize::Zeroizing;

use crate::cli::context::Context;
use crate::cli::environ::HttpEnviron;
use crate::cli::failure::Failure;
use crate::cli::flags::transfer::{ImportFlags, LockFlag};
use crate::cli::output::note;
use crate::cli::proxy::is_key_of_run;
use crate::cli::settings::read_secret_file;
use crate::client::{Lock, Locked, Remote, RemoteLock, RemoteSettings, same_origin};

/// Whether a source is a URL and no path.
pub(super) fn is_url(source: &str) -> bool {
    let scheme = source.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)))
}

/// The source, and the lock to take there; none if none is wanted.
pub(super) fn open(context: &Context, flags: &ImportFlags) -> Result<(Remote, Option<Lock>), Failure> {
    let HttpEnviron { ca, certificate, key, .. } = &context.environ.http;
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate.clone().into_bytes(), Zeroizing::new(key.as_bytes().to_vec()))),
        (None, None) => None,
        _ => {
            let what = "a client certificate and its key come together";
            return Err(Failure::usage(
                what,
                "set TF_HTTP_CLIENT_CERTIFICATE_PEM and TF_HTTP_CLIENT_PRIVATE_KEY_PEM, or neither",
            ));
        }
    };
    let (username, password) = credentials(context, flags)?;
    let remote = Remote::new(RemoteSettings {
        address: flags.source.clone(),
        username,
        password,
        ca: ca.clone().map(String::into_bytes),
        identity,
        max_body: flags.max_size,
        patience: context.connection.patience,
    });
    let remote = remote.map_err(usage)?;
    let lock = lock(context, flags, &remote)?;
    if remote.exposes_credentials(lock.as_ref()) {
        note("warning: the credentials for the other server go over the network in the clear");
    }
    Ok((remote, lock))
}

fn lock(context: &Context, flags: &ImportFlags, source: &Remote) -> Result<Option<Lock>, Failure> {
    // To lock is to write there, which a dry run does not.
    if flags.lock == LockFlag::Never || flags.dry_run {
        return Ok(None);
    }
    let labels = &context.environ.labels;
    let how = RemoteLock {
        address: flags.lock_address.clone(),
        lock_method: Some(flags.lock_method.clone()),
        unlock_method: Some(flags.unlock_method.clone()),
        who: if labels.who.is_empty() { labels.host.clone() } else { format!("{}@{}", labels.who, labels.host) },
    };
    Lock::new(source, &how).map(Some).map_err(usage)
}

/// Takes it; false if the server does not lock, and need not.
pub(super) async fn take(flags: &ImportFlags, source: &Remote, lock: &Lock) -> Result<bool, Failure> {
    match source.lock(lock).await? {
        Locked::Held => Ok(true),
        Locked::Not(why) if flags.lock == LockFlag::Always || flags.lock_address.is_some() => Err(why.into()),
        Locked::Not(why) => {
            note(format!("warning: the state is not locked while it is copied ({why}): see that nobody writes it meanwhile"));
            Ok(false)
        }
    }
}

fn credentials(context: &Context, flags: &ImportFlags) -> Result<(String, Zeroizing<String>), Failure> {
    let HttpEnviron { username, password, .. } = &context.environ.http;
    let token = context.connection.token.read()?;
    let own = password.as_ref().is_some_and(|password| {
        is_key_of_run(password) || token.is_some_and(|token| token.trim() == password.as_str()) && !is_here(context, flags)
    });
    if own && flags.password_file.is_none() {
        note("note: TF_HTTP_PASSWORD has the token of this server, which is not sent to another one");
    }
    let (username, password) = if own { (None, None) } else { (username.clone(), password.clone()) };
    let username = flags.username.clone().or(username).unwrap_or_default();
    match (password, &flags.password_file) {
        (Some(_), Some(_)) => Err(Failure::usage(
            "the password comes from two places: TF_HTTP_PASSWORD and --password-file",
            "give it in one place only",
        )),
        (Some(password), None) => Ok((username, password)),
        (None, Some(file)) => {
            let text = read_secret_file(file, "password file", "check --password-file")?;
            // An editor ends the line; a password may well end with a space.
            Ok((username, Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())))
        }
        (None, None) => Ok((username, Zeroizing::default())),
    }
}

/// Whether the source is a door of the very server that is imported to.
fn is_here(context: &Context, flags: &ImportFlags) -> bool {
    let server = &context.connection.server;
    let scheme = flags.source.split_once("://").map_or("", |(scheme, _)| scheme);
    same_origin(&flags.source, &if server.contains("://") { server.clone() } else { format!("{scheme}://{server}") })
}

fn usage(error: crate::client::Error) -> Failure {
    Failure::usage(error.to_string(), error.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_are_taken_for_urls() {
        assert!(["http://h/x", "https://h", "HTTPS://h/x"].into_iter().all(is_url));
        assert!(
            ["terraform.tfstate", "./http", "http:/x", "s3://bucket/key", "/srv/https:", ""]
                .into_iter()
                .all(|path| !is_url(path))
        );
    }
}
