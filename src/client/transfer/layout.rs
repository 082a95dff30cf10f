//! Where the files of a state lie.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::client::Error;

/// Terraform's name for the state of a workspace.
pub(super) const STATE: &str = "terraform.tfstate";
/// Where it keeps all workspaces but `default`.
pub(super) const WORKSPACES: &str = "terraform.tfstate.d";
/// The workspace that there always is.
pub(super) const DEFAULT: &str = "default";

/// The file of a workspace below `folder`. Names of several segments lie in folders below each other.
pub(super) fn workspace(folder: &Path, name: &str) -> PathBuf {
    if name == DEFAULT { folder.join(STATE) } else { folder.join(WORKSPACES).join(name).join(STATE) }
}

/// The folder of a file's past, numbered from the oldest.
pub(super) fn history(file: &Path) -> PathBuf {
    beside(file, ".history")
}

/// Terraform's copy of the version before.
pub(super) fn backup(file: &Path) -> PathBuf {
    beside(file, ".backup")
}

/// Where Terraform writes down who has the file locked.
pub(super) fn lock_info(file: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(".lock.info");
    file.with_file_name(name)
}

/// The file of one past version.
pub(super) fn past(file: &Path, version: u64) -> PathBuf {
    history(file).join(format!("{version:08}"))
}

/// The number of a past version, if the name is one.
pub(super) fn number(name: &str) -> Option<u64> {
    if name.bytes().all(|byte| byte.is_ascii_digit()) { name.parse().ok() } else { None }
}

/// The numbered files of a file's past, the oldest first; none if there is no such folder.
pub(super) fn numbered(file: &Path) -> Result<Vec<PathBuf>, Error> {
    let folder = history(file);
    let entries = match std::fs::read_dir(&folder) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|cause| unreadable(&folder, &cause))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(|cause| unreadable(&folder, &cause))?.file_name();
        if let Some(number) = name.to_str().and_then(number) {
            found.push((number, folder.join(name)));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Whether a workspace's name can be a file's without being taken for something else.
pub(super) fn reserved(name: &str) -> bool {
    name.split('/').any(|segment| segment.starts_with(STATE))
}

pub(super) fn unreadable(path: &Path, cause: &std::io::Error) -> Error {
    Error::caller(format!("{} cannot be read: {cause}", path.display())).with_next("check the path and its permissions")
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(file.as_os_str());
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_lie_where_terraform_puts_them() {
        let at = |name| workspace(Path::new("dir"), name);
        assert_eq!(at("default"), Path::new("dir/terraform.tfstate"));
        assert_eq!(at("eu"), Path::new("dir/terraform.tfstate.d/eu/terraform.tfstate"));
        assert_eq!(past(&at("eu"), 7), Path::new("dir/terraform.tfstate.d/eu/terraform.tfstate.history/00000007"));
        assert_eq!(backup(&at("default")), Path::new("dir/terraform.tfstate.backup"));
        assert_eq!(lock_info(&at("default")), Path::new("dir/.terraform.tfstate.lock.info"));
    }

    #[test]
    fn past_goes_by_number_and_not_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(STATE);
        assert!(numbered(&file).unwrap().is_empty());
        std::fs::create_dir(history(&file)).unwrap();
        for name in ["00000002", "100000000", "00000010", "notes", ".hidden", "3x"] {
            std::fs::write(history(&file).join(name), "").unwrap();
        }
        let found = numbered(&file).unwrap();
        assert!(found.iter().zip(["00000002", "00000010", "100000000"]).all(|(path, name)| path.ends_with(name)), "{found:?}");
        assert_eq!(found.len(), 3);
    }
}
