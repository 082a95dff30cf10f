//! `unseal`: opens a sealed view offline.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tokio::io::AsyncWriteExt;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::flags::unseal::UnsealFlags;
use super::output::note;
use crate::client::Replacement;
use crate::secrets::hygiene;
use crate::secrets::identities::Identities;
use crate::secrets::view::sealed::{Fields, Trust, UnsealError, unseal};

pub(crate) async fn run(flags: UnsealFlags) -> Result<(), Failure> {
    let trust = match &flags.trust {
        Some(key) => Trust::Key(key.trim().parse().map_err(|error| {
            Failure::usage(
                format!("--trust: {error}"),
                "`leasehold env show ENV` prints it as `signer`; get it by a way you trust",
            )
        })?),
        None => Trust::DangerAnyone,
    };
    hygiene::harden().log();
    let identities = identities(&flags.identity)?;
    let file = flags.file.clone();
    let reading = tokio::task::spawn_blocking(move || read(&file));
    let sealed = reading.await.expect("reading does not panic");
    let sealed = sealed.map_err(|cause| unreadable(&flags.file, &cause))?;
    let (fields, document) = unseal(&sealed, &identities, trust).map_err(refused)?;
    tell(&fields, trust);
    match &flags.to {
        None => {
            let mut out = tokio::io::stdout();
            out.write_all(&document).await?;
            out.flush().await?;
        }
        Some(path) => {
            let mut file = Replacement::create(path).await?;
            let written = file.file.write_all(&document).await;
            let next = "check the path, its permissions and free space";
            written.map_err(|cause| Failure::local(format!("{} cannot be written: {cause}", path.display()), next))?;
            file.commit().await?;
        }
    }
    Ok(())
}

fn identities(path: &Path) -> Result<Identities, Failure> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new).map_err(|cause| unreadable(path, &cause))?;
    // age takes such files; so does this, and says so.
    if std::fs::metadata(path).is_ok_and(|about| about.is_file() && about.mode() & 0o077 != 0) {
        note(format!("warning: others can read {}; `chmod 600` it", path.display()));
    }
    let next = "pass a file as `age-keygen` writes it; decrypt it first if it has a passphrase";
    Identities::parse(&text).map_err(|error| Failure::local(format!("{}: {error}", path.display()), next))
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    if file != Path::new("-") {
        return std::fs::read(file);
    }
    let mut sealed = Vec::new();
    std::io::stdin().lock().read_to_end(&mut sealed).map(|_| sealed)
}

/// What the signature vouches for.
fn tell(fields: &Fields, trust: Trust) {
    let Fields { subject, environment, recipient, signer } = fields;
    note(format!("state: {} (environment {environment}, state {})", subject.state, subject.state_id));
    match subject.version.0 {
        0 => note(format!("draft: {}", subject.etag)),
        version => note(format!("version: {version}, etag {}", subject.etag)),
    }
    note(format!("sealed to: {recipient}"));
    note(match trust {
        Trust::Key(_) => format!("signed by: {signer}"),
        Trust::DangerAnyone => format!("signed by: {signer}, whom nobody vouches for: all of this may be made up"),
    });
}

fn refused(error: UnsealError) -> Failure {
    let next = match error {
        UnsealError::Untrusted(_) => "if it is the right one, pass it to --trust; never because this message names it",
        UnsealError::NoIdentity(_) => "pass the file with that identity to -i",
        _ => "nothing was written",
    };
    Failure::local(error.to_string(), next)
}

fn unreadable(path: &Path, cause: &std::io::Error) -> Failure {
    Failure::local(format!("{} cannot be read: {cause}", path.display()), "check the path and its permissions")
}
