//! Files that are written whole or not at all.

use std::path::{Path, PathBuf};

use tokio::fs::{File, OpenOptions};

use super::Error;

/// A new content for a file, which takes its place at once or not at all, readable by its owner only.
pub(crate) struct Replacement {
    pub(crate) file: File,
    path: PathBuf,
    temporary: PathBuf,
    committed: bool,
}

impl Replacement {
    pub(crate) async fn create(path: &Path) -> Result<Self, Error> {
        let name = path
            .file_name()
            .ok_or_else(|| Error::caller(format!("{} is not a file name", path.display())).with_next("name a file"))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.part", uuid::Uuid::now_v7()));
        let temporary = path.with_file_name(hidden);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).await;
        let file = file.map_err(|cause| unwritable(path, &cause))?;
        Ok(Self { file, path: path.to_owned(), temporary, committed: false })
    }

    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        self.file.sync_all().await.map_err(|cause| unwritable(&self.path, &cause))?;
        tokio::fs::rename(&self.temporary, &self.path).await.map_err(|cause| unwritable(&self.path, &cause))?;
        self.committed = true;
        Ok(())
    }

    /// The same, unless there is a file by now.
    ///
    /// # Errors
    /// [`Error::Conflict`] if there is one.
    pub(crate) async fn commit_new(self) -> Result<(), Error> {
        self.file.sync_all().await.map_err(|cause| unwritable(&self.path, &cause))?;
        // Unlike a rename, a link takes nobody's place; but not every file system has links.
        match tokio::fs::hard_link(&self.temporary, &self.path).await {
            Ok(()) => Ok(()),
            Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => {
                let what = format!("{} is there now, and was not before", self.path.display());
                Err(Error::conflict(what).with_next("see who writes there, then do the same again"))
            }
            Err(_) => self.commit().await,
        }
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.committed {
            // It holds a part of a document, or nothing.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// What is said of a file or folder that cannot be written.
pub(crate) fn unwritable(path: &Path, cause: &std::io::Error) -> Error {
    Error::caller(format!("{} cannot be written: {cause}", path.display()))
        .with_next("check the path, its permissions and free space")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn written(path: &Path) -> Replacement {
        let mut new = Replacement::create(path).await.unwrap();
        new.file.write_all(b"new").await.unwrap();
        new.file.flush().await.unwrap();
        new
    }

    /// What the folder has, hidden files too.
    fn content(folder: &Path) -> Vec<(String, Vec<u8>, u32)> {
        let entry = |entry: std::io::Result<std::fs::DirEntry>| {
            let path = entry.unwrap().path();
            let mode = path.metadata().unwrap().permissions().mode() & 0o777;
            (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap(), mode)
        };
        std::fs::read_dir(folder).unwrap().map(entry).collect()
    }

    #[tokio::test]
    async fn new_file_takes_nobodys_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        written(&path).await.commit_new().await.unwrap();
        assert_eq!(content(folder.path()), [("state".to_owned(), b"new".to_vec(), 0o600)]);
        let late = written(&path).await;
        std::fs::write(&path, "of another").unwrap();
        let Err(error) = late.commit_new().await else { panic!("it took the place") };
        assert!(matches!(error, Error::Conflict(_)) && !error.next().is_empty(), "{error}");
        assert_eq!(content(folder.path()), [("state".to_owned(), b"of another".to_vec(), 0o600)]);
    }

    #[tokio::test]
    async fn replacement_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        std::fs::write(&path, "old").unwrap();
        drop(written(&path).await);
        assert_eq!(content(folder.path()).iter().map(|file| &file.1[..]).collect::<Vec<_>>(), [b"old"]);
        written(&path).await.commit().await.unwrap();
        assert_eq!(content(folder.path()), [("state".to_owned(), b"new".to_vec(), 0o600)]);
    }
}
