//! Writing what was recovered: new files only, for their owner only, and never through a symbolic link.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, open, openat, unlinkat};
use rustix::io::Errno;

/// The folder that was named. It may be reached through a link; nothing below it may.
pub(super) struct Folder {
    root: OwnedFd,
    shown: PathBuf,
}

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Folder {
    /// Opens it, and makes it if it is not there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let root = open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { root, shown: path.to_owned() })
    }

    /// Writes a new file `environment/path/name`, whole or not at all; where it is, or why not.
    pub(super) fn write(&self, environment: &str, path: &str, name: &str, bytes: &[u8]) -> Result<String, String> {
        let shown = self.shown.join(environment).join(path).join(name);
        match self.try_write(environment, path, name, bytes) {
            Ok(()) => Ok(shown.display().to_string()),
            Err(cause) => Err(format!("{} is not written: {cause}", shown.display())),
        }
    }

    fn try_write(&self, environment: &str, path: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut folder = self.root.try_clone()?;
        for step in [environment].into_iter().chain(path.split('/')) {
            // A name from a damaged or hostile database must not lead out of the folder.
            if matches!(step, "" | "." | "..") || step.contains(['/', '\0']) {
                return Err(io::Error::other("the name of the state is none"));
            }
            match mkdirat(&folder, step, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            folder = openat(&folder, step, FOLDER, Mode::empty())?;
        }
        let new = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&folder, name, new, Mode::RUSR | Mode::WUSR)?);
        file.write_all(bytes).and_then(|()| file.sync_all()).inspect_err(|_| {
            // A part of a document would look like one.
            let _ = unlinkat(&folder, name, AtFlags::empty());
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn new_files_are_written_for_their_owner_and_old_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("out");
        let out = Folder::open(&to).unwrap();
        let written = out.write("dev", "a/b", "v1.json", b"{}").unwrap();
        assert_eq!(std::fs::read(&written).unwrap(), b"{}");
        assert_eq!(std::fs::metadata(&written).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(to.join("dev/a")).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(out.write("dev", "a/b", "v1.json", b"other").is_err());
        assert_eq!(std::fs::read(&written).unwrap(), b"{}");
    }

    #[test]
    fn links_and_names_that_lead_elsewhere_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (to, elsewhere) = (folder.path().join("out"), folder.path().join("elsewhere"));
        std::fs::create_dir_all(to.join("dev")).unwrap();
        std::fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, to.join("dev/a")).unwrap();
        symlink(elsewhere.join("file"), to.join("dev/v1.json")).unwrap();
        let out = Folder::open(&to).unwrap();
        for (environment, path) in [("dev", "a"), ("dev", "../elsewhere"), ("..", "elsewhere"), ("dev", ""), ("dev", "/tmp")] {
            assert!(out.write(environment, path, "v2.json", b"{}").is_err(), "{environment} {path}");
        }
        assert!(out.try_write("dev", "b", "v1.json", b"{}").is_ok());
        symlink(elsewhere.join("file"), to.join("dev/b/v2.json")).unwrap();
        assert!(out.write("dev", "b", "v2.json", b"{}").is_err());
        assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
    }
}
