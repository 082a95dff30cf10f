//! The data folder belongs to the server alone: what others could read is refused, and what is made is made private.

use std::fmt;
use std::fs::{DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Why a folder is not ours alone. The message says what to run.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum FolderError {
    #[error("cannot use the data folder {}: {cause}; check that it exists, is yours and can be written", .folder.display())]
    Io { folder: PathBuf, cause: io::Error },
    #[error("the data folder {} is no folder; choose another", .0.display())]
    NoFolder(PathBuf),
    #[error(
        "{} belongs to user {owner}, and this program runs as user {own}: run it as that user, as with `sudo -u '#{owner}'`, or, if the data \
         are this user's, `chown -R {own} {}`", .path.display(), .folder.display()
    )]
    Owner { folder: PathBuf, path: PathBuf, owner: u32, own: u32 },
    #[error("others can get at {0}: if they may have, treat what is in it as known to them; then run `{fix}`", fix = .0.fix())]
    Loose(Loose),
}

/// What others can get at.
#[derive(Debug, Default)]
pub struct Loose {
    folder: Option<(PathBuf, u32)>,
    files: Vec<(PathBuf, u32)>,
}

impl Loose {
    fn all(&self) -> impl Iterator<Item = &(PathBuf, u32)> {
        self.folder.iter().chain(&self.files)
    }

    fn fix(&self) -> String {
        let folder = self.folder.iter().map(|(folder, _)| format!("chmod 700 '{}'", folder.display()));
        let files: String = self.files.iter().map(|(file, _)| format!(" '{}'", file.display())).collect();
        let files = (!files.is_empty()).then(|| format!("chmod 600{files}"));
        folder.chain(files).collect::<Vec<_>>().join(" && ")
    }
}

impl fmt::Display for Loose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.all().map(|(path, mode)| format!("{} (mode {mode:04o})", path.display()));
        f.write_str(&all.collect::<Vec<_>>().join(", "))
    }
}

/// What the server keeps in its folder, besides the keys and tokens, which are looked at where they are read.
const FILES: [&str; 9] = [
    "leasehold.db",
    "leasehold.db-wal",
    "leasehold.db-shm",
    "leasehold.sidecar",
    "leasehold.sidecar.new",
    "leasehold.lock",
    "recovery.key",
    "dev.env",
    "admin.init",
];

/// Makes the folder with mode 0700, or looks whether it and what the server keeps in it are this user's and nobody else's. Nothing that is there
/// is changed.
///
/// # Errors
/// [`FolderError`] says what to do.
pub fn private_folder(folder: &Path) -> Result<(), FolderError> {
    let failed = |cause| FolderError::Io { folder: folder.to_owned(), cause };
    let found = match std::fs::metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
            // Whatever the umask has taken away.
            return std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700)).map_err(failed);
        }
        found => found.map_err(failed)?,
    };
    if !found.is_dir() {
        return Err(FolderError::NoFolder(folder.to_owned()));
    }
    let mut loose = Loose { folder: loose(folder, folder, &found)?, files: Vec::new() };
    for path in FILES.iter().map(|name| folder.join(name)) {
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => loose.files.extend(self::loose(folder, &path, &found.map_err(failed)?)?),
        }
    }
    if loose.all().next().is_none() { Ok(()) } else { Err(FolderError::Loose(loose)) }
}

/// The path and its mode, if others can get at it. Of another user's file it does not matter who else can: its owner can.
fn loose(folder: &Path, path: &Path, found: &Metadata) -> Result<Option<(PathBuf, u32)>, FolderError> {
    let (own, owner) = (rustix::process::geteuid().as_raw(), found.uid());
    if owner != own {
        return Err(FolderError::Owner { folder: folder.to_owned(), path: path.to_owned(), owner, own });
    }
    Ok((found.mode() & 0o077 != 0).then(|| (path.to_owned(), found.mode() & 0o7777)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn new_folder_is_private_with_what_is_made_on_the_way() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("a/data");
        private_folder(&folder).unwrap();
        assert_eq!((mode(&folder), mode(&above.path().join("a"))), (0o700, 0o700));
        private_folder(&folder).unwrap();
    }

    #[test]
    fn what_others_can_get_at_is_named_with_the_command_that_helps() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, database) = (folder.path(), folder.path().join("leasehold.db"));
        for loose in [0o750, 0o701, 0o770, 0o2770, 0o755] {
            set_mode(folder, loose);
            let error = private_folder(folder).unwrap_err().to_string();
            assert!(error.contains(&format!("(mode {loose:04o})")), "{error}");
            assert!(error.ends_with(&format!("`chmod 700 '{}'`", folder.display())), "{error}");
        }
        std::fs::write(&database, b"").unwrap();
        std::fs::write(folder.join("notes.txt"), b"mine").unwrap();
        set_mode(&database, 0o640);
        let error = private_folder(folder).unwrap_err().to_string();
        assert!(error.ends_with(&format!("`chmod 700 '{}' && chmod 600 '{}'`", folder.display(), database.display())), "{error}");
        assert_eq!((mode(folder), mode(&database)), (0o755, 0o640), "nothing was changed");
        set_mode(folder, 0o700);
        let error = private_folder(folder).unwrap_err().to_string();
        assert!(error.ends_with(&format!("`chmod 600 '{}'`", database.display())), "{error}");
        set_mode(&database, 0o400);
        private_folder(folder).unwrap();
    }

    #[test]
    fn file_in_the_place_of_the_folder_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(private_folder(file.path()), Err(FolderError::NoFolder(_))));
    }

    #[test]
    fn folder_of_another_user_is_refused() {
        // Nobody but root can give a folder away; others find one that is not theirs.
        let folder = tempfile::tempdir().unwrap();
        let theirs = match rustix::process::geteuid().is_root() {
            true => {
                std::os::unix::fs::chown(folder.path(), Some(12_345), None).unwrap();
                folder.path()
            }
            false => Path::new("/proc/1"),
        };
        let error = private_folder(theirs).unwrap_err();
        assert!(matches!(error, FolderError::Owner { .. }), "{error}");
        assert!(error.to_string().contains("chown -R"), "{error}");
    }
}
