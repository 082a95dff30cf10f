//! Master identities in an age file that a passphrase opens (scrypt).

use std::io::{self, Read, Write};
use std::iter;
use std::path::Path;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::SecretString;
use age::{DecryptError, Decryptor, Encryptor, scrypt};
use zeroize::Zeroizing;

use super::{MasterError, Masters, file};

/// The most that is done to open a file: 2^20 takes 1 GiB and seconds, and whoever writes the file chooses.
pub(super) const MOST_WORK: u8 = 20;

/// What is chosen for new files: 2^18 takes 256 MiB and half a second.
const WORK: u8 = 18;

/// Makes a master identity and keeps it in a new file that the passphrase opens, armored.
///
/// # Errors
/// The file exists or cannot be written; the passphrase is empty.
pub fn create(path: &Path, passphrase: &str) -> Result<Masters, MasterError> {
    create_with_work_factor(path, passphrase, WORK)
}

/// For tests, which have no time for a work factor that resists anybody.
///
/// # Errors
/// As [`create`].
#[doc(hidden)]
pub fn create_with_work_factor(path: &Path, passphrase: &str, work: u8) -> Result<Masters, MasterError> {
    if passphrase.is_empty() {
        return Err(MasterError::EmptyPassphrase);
    }
    let (masters, text) = file::generate();
    let mut recipient = scrypt::Recipient::new(SecretString::from(passphrase));
    recipient.set_work_factor(work);
    let encryptor = Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient)).expect("one recipient is enough");
    let mut sealed = Vec::new();
    let written = ArmoredWriter::wrap_output(&mut sealed, Format::AsciiArmor).and_then(|armor| {
        let mut writer = encryptor.wrap_output(armor)?;
        writer.write_all(text.as_bytes())?;
        writer.finish()?.finish()
    });
    written.expect("writing to memory does not fail");
    file::write_private(path, &sealed)?;
    Ok(masters)
}

pub(super) fn load(path: &Path, from: Option<&Path>, given: Option<&str>) -> Result<Masters, MasterError> {
    let passphrase = match (from, given) {
        (Some(from), Some(_)) => return Err(MasterError::TwoPassphrases(from.to_owned())),
        (Some(from), None) => first_line(from)?,
        (None, Some(given)) => SecretString::from(given),
        (None, None) => return Err(MasterError::PassphraseNeeded(path.to_owned())),
    };
    let text = decrypt(path, passphrase)?;
    Masters::parse(&text).map_err(|cause| MasterError::Malformed { file: path.to_owned(), cause })
}

fn first_line(path: &Path) -> Result<SecretString, MasterError> {
    let bytes = file::read_private(path).map_err(|error| match error {
        MasterError::Missing(file) => MasterError::Io { file, cause: io::ErrorKind::NotFound.into() },
        other => other,
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|_| MasterError::EmptyPassphrase)?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() { Err(MasterError::EmptyPassphrase) } else { Ok(SecretString::from(line)) }
}

fn decrypt(path: &Path, passphrase: SecretString) -> Result<Zeroizing<String>, MasterError> {
    let other = || MasterError::NotAgePassphrase(path.to_owned());
    let sealed = file::read_private(path)?;
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(sealed.as_slice())).map_err(|_| other())?;
    if !decryptor.is_scrypt() {
        return Err(other());
    }
    let mut identity = scrypt::Identity::new(passphrase);
    identity.set_max_work_factor(MOST_WORK);
    let mut reader = decryptor.decrypt(iter::once(&identity as &dyn age::Identity)).map_err(|error| match error {
        DecryptError::ExcessiveWork { required, .. } => MasterError::Work { file: path.to_owned(), work: required },
        DecryptError::DecryptionFailed => MasterError::WrongPassphrase(path.to_owned()),
        _ => other(),
    })?;
    let mut text = Zeroizing::new(String::with_capacity(file::MOST));
    reader.read_to_string(&mut text).map_err(|_| other())?;
    Ok(text)
}
