//! Files that are written whole or not at all.

use std::path::{Path, PathBuf};

use tokio::fs::{File, OpenOptions};

use super::failure::Failure;

/// A new content for a file, which takes its place at once or not at all, readable by its owner only.
pub(crate) struct Replacement {
    pub(crate) file: File,
    path: PathBuf,
    temporary: PathBuf,
    committed: bool,
}

impl Replacement {
    pub(crate) async fn create(path: &Path) -> Result<Self, Failure> {
        let name =
            path.file_name().ok_or_else(|| Failure::usage(format!("{} is not a file name", path.display()), "name a file"))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.part", uuid::Uuid::now_v7()));
        let temporary = path.with_file_name(hidden);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).await;
        let file = file.map_err(|cause| cannot(path, &cause))?;
        Ok(Self { file, path: path.to_owned(), temporary, committed: false })
    }

    pub(crate) async fn commit(mut self) -> Result<(), Failure> {
        self.file.sync_all().await.map_err(|cause| cannot(&self.path, &cause))?;
        tokio::fs::rename(&self.temporary, &self.path).await.map_err(|cause| cannot(&self.path, &cause))?;
        self.committed = true;
        Ok(())
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

fn cannot(path: &Path, cause: &std::io::Error) -> Failure {
    Failure::local(format!("{} cannot be written: {cause}", path.display()), "check the path, its permissions and free space")
}
