//! `recover`: break-glass. A database and a recovery identity, and no server.

mod folder;

use serde_json::{Value, json};

use super::failure::Failure;
use super::flags::Global;
use super::flags::server::RecoverFlags;
use super::locking::unusable;
use super::output::{Out, Show, note};
use crate::domain::names::StateName;
use crate::secrets::hygiene;
use crate::service::offline::{Archive, Opener, Shut};
use crate::store::Document;
use crate::store::sqlite::{Named, Offline, OpenError};
use folder::Folder;

pub(crate) fn recover(global: &Global, flags: &RecoverFlags) -> Result<(), Failure> {
    hygiene::harden().log();
    let only = flags.state.as_deref().map(str::parse::<StateName>).transpose();
    let only = only.map_err(|error| Failure::usage(error.to_string(), "name a state as ENV/PATH"))?;
    let opener = Opener::recovery(&flags.identity).map_err(unusable)?;
    let folder = Folder::open(&flags.to).map_err(|cause| {
        Failure::local(
            format!("cannot write to {}: {cause}", flags.to.display()),
            "check the path, its permissions and free space",
        )
    })?;
    let database = Offline::copy_of(&flags.database, &flags.to).map_err(broken)?;
    let archive = Archive::open(&database, &opener).map_err(broken)?;
    let mut recovery =
        Recovery { flags, database: &database, archive: &archive, folder, rows: Vec::new(), left: Left::default() };
    for name in database.names().map_err(broken)? {
        if only.as_ref().is_none_or(|only| only.environment.as_str() == name.environment && only.path.as_str() == name.path) {
            recovery.name(&name);
        }
    }
    recovery.tell(Out::new(global.output))
}

struct Recovery<'r> {
    flags: &'r RecoverFlags,
    database: &'r Offline,
    archive: &'r Archive<'r>,
    folder: Folder,
    rows: Vec<Recovered>,
    left: Left,
}

/// What there was nothing to write of.
#[derive(Default)]
struct Left {
    deletions: u64,
    purged: u64,
    drafts: u64,
}

/// What came of one document.
struct Recovered {
    state: String,
    what: String,
    /// The file, or why there is none.
    result: Result<String, String>,
}

impl Recovery<'_> {
    fn name(&mut self, name: &Named) {
        match self.database.versions(name) {
            Ok(versions) => {
                for (number, version) in versions {
                    if self.flags.version.is_none_or(|wanted| wanted == number) {
                        let what = format!("v{number}");
                        match version {
                            Ok(version) if version.deleted() => self.left.deletions += 1,
                            Ok(version) if version.body.is_none() => self.left.purged += 1,
                            Ok(version) if version.version.0 == number => self.document(name, what, Document::Version(version)),
                            _ => self.put(name, what, Err(UNREADABLE.to_owned())),
                        }
                    }
                }
            }
            Err(error) => self.put(name, "versions".to_owned(), Err(error.to_string())),
        }
        if self.flags.version.is_some() {
            return;
        }
        match self.database.drafts(name) {
            Ok(drafts) if !self.flags.drafts => self.left.drafts += drafts.len() as u64,
            Ok(drafts) => {
                for draft in drafts {
                    match draft {
                        Ok(draft) => self.document(name, format!("draft-{}", draft.id), Document::Draft(draft)),
                        Err(_) => self.put(name, "a draft".to_owned(), Err(UNREADABLE.to_owned())),
                    }
                }
            }
            Err(error) => self.put(name, "drafts".to_owned(), Err(error.to_string())),
        }
    }

    fn document(&mut self, name: &Named, what: String, document: Document) {
        let result = match self.archive.contents(name, &document) {
            Err(_) if self.archive.shut.iter().any(|shut| shut.name == name.environment) => {
                Err("the keys of its environment do not open with this identity".to_owned())
            }
            Err(_) => Err("it does not open: damaged, or not what was written here".to_owned()),
            Ok(contents) => self.folder.write(&name.environment, &name.path, &format!("{what}.json"), &contents.document),
        };
        self.put(name, what, result);
    }

    fn put(&mut self, name: &Named, what: String, result: Result<String, String>) {
        self.rows.push(Recovered { state: format!("{}/{}", name.environment, name.path), what, result });
    }

    /// Everything that was found in a table, what it means in notes, and the exit code.
    fn tell(self, out: Out) -> Result<(), Failure> {
        out.list(&self.rows)?;
        let failed = self.rows.iter().filter(|row| row.result.is_err()).count();
        note(format!("{} documents written, {failed} not", self.rows.len() - failed));
        let Left { deletions, purged, drafts } = self.left;
        for (count, what) in [
            (deletions, "deletions: nothing to write"),
            (purged, "purged versions: their bytes are gone"),
            (drafts, "drafts left out: add --drafts"),
        ] {
            if count > 0 {
                note(format!("{count} {what}"));
            }
        }
        for Shut { name, recovery } in &self.archive.shut {
            let to = if recovery.is_empty() { "nobody".to_owned() } else { recovery.join(", ") };
            note(format!("environment {name} does not open with this identity; it was made to be recovered by {to}"));
        }
        for (name, recipients) in self.archive.environments() {
            note(format!("environment {name} has the identities {}", recipients.join(", ")));
        }
        note(
            "not authenticated: that these are the environments' own identities, since only the master key could tell. Whoever could write \
             to this database could have put others there, and documents under them; compare them with those that you noted. All that is \
             under them is authenticated, except names, times, writers, and that nothing newer was taken away.",
        );
        let nothing_found = self.rows.is_empty() && deletions + purged + drafts == 0;
        match () {
            () if nothing_found && self.flags.state.is_some() => {
                Err(Failure::missing("there is no such state or version in this database", "leave --state out to see all"))
            }
            () if failed > 0 || !self.archive.shut.is_empty() && self.rows.is_empty() => Err(Failure::Told),
            () => Ok(()),
        }
    }
}

const UNREADABLE: &str = "its row cannot be read";

fn broken(error: OpenError) -> Failure {
    Failure::local(error.to_string(), "")
}

impl Show for Recovered {
    const HEAD: &'static [&'static str] = &["STATE", "WHICH", "RESULT", "FILE"];

    fn row(&self) -> Vec<String> {
        let (result, file) = match &self.result {
            Ok(file) => ("ok".to_owned(), file.clone()),
            Err(why) => (format!("FAILED: {why}"), String::new()),
        };
        vec![self.state.clone(), self.what.clone(), result, file]
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn json(&self) -> Value {
        let (file, error) = (self.result.as_ref().ok(), self.result.as_ref().err());
        json!({ "state": self.state, "which": self.what, "file": file, "error": error })
    }
}
