//! States in files.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::layout::{DEFAULT, STATE, WORKSPACES, backup, lock_info, numbered, unreadable, workspace};
use super::{Document, Header};
use crate::backend::{Body, LockInfo};
use crate::client::{Error, Source};

/// Deeper no name of a state goes.
const DEEPEST: usize = 8;

/// A state that was found in files.
pub struct Found {
    /// The workspace; none for a single file.
    pub workspace: Option<String>,
    /// The oldest first; the last is what is current.
    pub documents: Vec<Document>,
    /// What lies beside it and is not its past, with the reason.
    pub left_out: Vec<String>,
}

/// The state in a file, or those in a folder of workspaces. Without `past` only what is current is taken.
///
/// # Errors
/// [`Error::Caller`] if a file cannot be read or is no state; [`Error::NotFound`] if the folder has none; [`Error::Conflict`] while Terraform has one
/// of them locked.
pub async fn local(path: &Path, past: bool) -> Result<Vec<Found>, Error> {
    let path = path.to_owned();
    let found = tokio::task::spawn_blocking(move || find(&path, past)).await.expect("reading does not panic")?;
    let mut states = Vec::new();
    for state in found {
        let mut documents = Vec::new();
        for (file, header) in state.files {
            let label = file.display().to_string();
            documents.push(Document { label, header, source: Source::from_file(file).await? });
        }
        states.push(Found { workspace: state.workspace, documents, left_out: state.left_out });
    }
    Ok(states)
}

struct Files {
    workspace: Option<String>,
    files: Vec<(PathBuf, Header)>,
    left_out: Vec<String>,
}

fn find(path: &Path, past: bool) -> Result<Vec<Files>, Error> {
    let about = std::fs::metadata(path).map_err(|cause| unreadable(path, &cause))?;
    if !about.is_dir() {
        return Ok(vec![state(path, None, past)?]);
    }
    let mut found = Vec::new();
    let below = path.canonicalize().map_err(|cause| unreadable(path, &cause))?;
    // Whoever names this one does not mean what lies beside it.
    let alone = below.file_name().is_some_and(|name| name == WORKSPACES);
    let folder = if alone { below.parent().unwrap_or(&below) } else { path };
    let default = workspace(folder, DEFAULT);
    if !alone && has_state(&default) {
        found.push((DEFAULT.to_owned(), default));
    }
    walk(&folder.join(WORKSPACES), "", 0, &mut found)?;
    found.sort();
    if let Some(twice) = found.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let what = format!("the workspace {} is there twice, as {STATE} and in {WORKSPACES}", twice[0].0);
        return Err(Error::caller(what).with_next("import the two files by themselves"));
    }
    if found.is_empty() {
        let what = format!("{} has neither {STATE} nor workspaces in {WORKSPACES}", path.display());
        return Err(Error::not_found(what).with_next("name the folder that Terraform was run in, or a state file"));
    }
    found.into_iter().map(|(name, file)| state(&file, Some(name), past)).collect()
}

/// The workspaces below `folder`, by name, and their files. Links to folders are not followed.
fn walk(folder: &Path, prefix: &str, depth: usize, found: &mut Vec<(String, PathBuf)>) -> Result<(), Error> {
    let entries = match std::fs::read_dir(folder) {
        Err(cause) if depth == 0 && cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|cause| unreadable(folder, &cause))?,
    };
    for entry in entries {
        let entry = entry.map_err(|cause| unreadable(folder, &cause))?;
        let kind = entry.file_type().map_err(|cause| unreadable(&entry.path(), &cause))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !kind.is_dir() || name.starts_with(STATE) {
            continue;
        }
        let full = format!("{prefix}{name}");
        let file = entry.path().join(STATE);
        let has_one = has_state(&file);
        if has_one && !is_segment(&name) {
            let what = format!("the workspace {full:?} cannot be the name of a state: 1 to 64 of [A-Za-z0-9._-]");
            return Err(Error::caller(what).with_next("import its file by itself, under another name"));
        }
        if has_one {
            found.push((full.clone(), file));
        }
        if depth + 1 < DEEPEST {
            walk(&entry.path(), &format!("{full}/"), depth + 1, found)?;
        }
    }
    Ok(())
}

/// Terraform leaves an empty file where it locked and wrote nothing.
fn has_state(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|about| about.is_file() && about.len() > 0)
}

fn is_segment(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// The files of one state, the oldest first.
fn state(file: &Path, workspace: Option<String>, past: bool) -> Result<Files, Error> {
    unlocked(file)?;
    let header = header(file)?;
    let (mut files, mut left_out) = (Vec::new(), Vec::new());
    if past {
        for older in numbered(file)? {
            let header = self::header(&older)?;
            files.push((older, header));
        }
        let backup = backup(file);
        if has_state(&backup) {
            match before(&backup, &header, files.last().map(|(_, header)| header)) {
                Ok(Some(older)) => files.push((backup, older)),
                Ok(None) => {}
                Err(why) => left_out.push(format!("{}: {why}", backup.display())),
            }
        }
    }
    files.push((file.to_owned(), header));
    Ok(Files { workspace, files, left_out })
}

/// Terraform writes down who has a file locked, and takes it away when it unlocks.
fn unlocked(file: &Path) -> Result<(), Error> {
    let noted = lock_info(file);
    let text = match std::fs::read(&noted) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        text => text.unwrap_or_default(),
    };
    let who = match LockInfo::parse(&text) {
        Ok(Body::Info(info)) if !info.who.is_empty() => format!(" by {} ({})", info.who, info.operation),
        _ => String::new(),
    };
    let next = format!("wait until Terraform is done; if none runs any more, remove {}", noted.display());
    Err(Error::conflict(format!("{} is locked{who}", file.display())).with_next(&next))
}

/// The header of a backup that is the version before `current`; none if `last`, the newest of the past, is that already.
fn before(backup: &Path, current: &Header, last: Option<&Header>) -> Result<Option<Header>, String> {
    let header = header(backup).map_err(|error| error.to_string())?;
    match &header {
        it if it.lineage != current.lineage => Err("it has another lineage".to_owned()),
        it if it.serial >= current.serial => Err("its serial is not lower than that of the state".to_owned()),
        it if it.encrypted != current.encrypted => Err("only one of it and the state is encrypted".to_owned()),
        it if last.is_some_and(|last| last.lineage == it.lineage && last.serial >= it.serial) => Ok(None),
        _ => Ok(Some(header)),
    }
}

fn header(file: &Path) -> Result<Header, Error> {
    let opened = File::open(file).map_err(|cause| unreadable(file, &cause))?;
    Header::read(BufReader::with_capacity(256 << 10, opened)).map_err(|why| {
        Error::caller(format!("{}: {why}", file.display()))
            .with_next("name a file that `terraform state pull` wrote; `leasehold state push` takes documents of any kind")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(lineage: &str, serial: u64) -> String {
        format!(r#"{{"version":4,"terraform_version":"1.11.4","serial":{serial},"lineage":"{lineage}","resources":[]}}"#)
    }

    fn write(folder: &Path, name: &str, text: &str) {
        let file = folder.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        find(folder, true).unwrap().into_iter().map(|state| state.workspace.unwrap()).collect()
    }

    fn serials(state: &Files) -> Vec<u64> {
        state.files.iter().map(|(_, header)| header.serial).collect()
    }

    #[test]
    fn folder_has_default_and_the_workspaces_by_name() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "terraform.tfstate", &document("d", 1));
        write(folder.path(), "terraform.tfstate.d/eu/terraform.tfstate", &document("e", 1));
        write(folder.path(), "terraform.tfstate.d/net/us/terraform.tfstate", &document("u", 1));
        write(folder.path(), "terraform.tfstate.d/empty/terraform.tfstate", "");
        write(folder.path(), "terraform.tfstate.d/other/main.tf", "");
        assert_eq!(names(folder.path()), ["default", "eu", "net/us"]);
    }

    #[test]
    fn folder_of_workspaces_alone_is_taken_without_what_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "terraform.tfstate", &document("d", 1));
        write(folder.path(), "terraform.tfstate.d/eu/terraform.tfstate", &document("e", 1));
        assert_eq!(names(&folder.path().join("terraform.tfstate.d")), ["eu"]);
        assert_eq!(names(&folder.path().join("terraform.tfstate.d/eu/..")), ["eu"]);
    }

    #[test]
    fn default_may_lie_among_the_others_but_not_twice() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "terraform.tfstate.d/default/terraform.tfstate", &document("d", 1));
        write(folder.path(), "terraform.tfstate.d/eu/terraform.tfstate", &document("e", 1));
        assert_eq!(names(folder.path()), ["default", "eu"]);
        write(folder.path(), "terraform.tfstate", &document("d", 1));
        let Err(error) = find(folder.path(), true) else { panic!("taken") };
        assert!(error.to_string().contains("default is there twice"), "{error}");
    }

    #[test]
    fn file_that_terraform_has_locked_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "terraform.tfstate.d/eu/terraform.tfstate", &document("e", 1));
        let info = r#"{"ID":"i","Operation":"OperationTypeApply","Who":"ann@host","Created":"2026-11-23T15:14:58Z"}"#;
        write(folder.path(), "terraform.tfstate.d/eu/.terraform.tfstate.lock.info", info);
        let Err(error) = find(folder.path(), true) else { panic!("taken") };
        assert!(
            matches!(error, Error::Conflict(_)) && error.to_string().ends_with("is locked by ann@host (OperationTypeApply)"),
            "{error}"
        );
        assert!(error.next().ends_with("/eu/.terraform.tfstate.lock.info"), "{}", error.next());
    }

    #[test]
    fn folder_without_states_and_odd_names_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(find(folder.path(), true), Err(Error::NotFound(_))));
        write(folder.path(), "terraform.tfstate.d/a b/terraform.tfstate", &document("e", 1));
        let Err(error) = find(folder.path(), true) else { panic!("accepted") };
        assert!(error.to_string().contains("a b") && error.next().contains("another name"), "{error}");
    }

    #[test]
    fn past_is_the_numbered_files_and_then_the_backup() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("terraform.tfstate");
        write(folder.path(), "terraform.tfstate", &document("l", 9));
        write(folder.path(), "terraform.tfstate.backup", &document("l", 8));
        write(folder.path(), "terraform.tfstate.history/00000010", &document("l", 7));
        write(folder.path(), "terraform.tfstate.history/00000009", &document("l", 2));
        assert_eq!(serials(&state(&file, None, true).unwrap()), [2, 7, 8, 9]);
        assert_eq!(serials(&state(&file, None, false).unwrap()), [9]);
        write(folder.path(), "terraform.tfstate.history/00000010", &document("l", 8));
        assert_eq!(serials(&state(&file, None, true).unwrap()), [2, 8, 9], "the backup is in the past already");
    }

    #[test]
    fn backup_that_is_not_the_version_before_is_left_out_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("terraform.tfstate");
        write(folder.path(), "terraform.tfstate", &document("l", 5));
        let encrypted = r#"{"serial":4,"lineage":"l","encrypted_data":"AA==","encryption_version":"v0"}"#.to_owned();
        for (backup, why) in [
            (document("m", 4), "another lineage"),
            (document("l", 5), "not lower"),
            (encrypted, "is encrypted"),
            ("{".to_owned(), "no Terraform or OpenTofu state"),
        ] {
            write(folder.path(), "terraform.tfstate.backup", &backup);
            let found = state(&file, None, true).unwrap();
            assert_eq!(serials(&found), [5]);
            assert!(found.left_out.len() == 1 && found.left_out[0].contains(why), "{:?}", found.left_out);
        }
    }
}
