//! `unlock`, `lock` and `init`: the master key from the operator's side.

use std::io::IsTerminal;
use std::path::Path;

use serde_json::json;
use zeroize::Zeroizing;

use super::context::Context;
use super::failure::Failure;
use super::flags::Global;
use super::flags::server::{InitFlags, UnlockFlags};
use super::output::{Out, note};
use super::settings::read_secret_file;
use crate::secrets::hygiene;
use crate::secrets::master::{MasterError, MasterSource, create_passphrase_file};
use crate::serve::{self, init::InitError};
use crate::store::folder::{FolderError, private_folder};

pub(crate) async fn unlock(context: &Context, flags: UnlockFlags) -> Result<(), Failure> {
    hygiene::harden().log();
    let passphrase = passphrase(context, flags.passphrase_file.as_deref()).await?;
    let was_locked = context.client.unlock_server(passphrase).await?;
    note(if was_locked { "unlocked" } else { "it was not locked; the master key was read again" });
    Ok(())
}

/// What opens the server's master key: from the file, or from whoever sits at the terminal; none if none is needed.
pub(crate) async fn passphrase(context: &Context, file: Option<&Path>) -> Result<Option<Zeroizing<String>>, Failure> {
    match file {
        Some(file) => first_line(file).map(Some),
        None if context.client.server_status().await?.asks_passphrase => ask("Passphrase of the master key: ").map(Some),
        None => Ok(None),
    }
}

pub(crate) async fn lock(context: &Context) -> Result<(), Failure> {
    let was_locked = context.client.lock_server().await?;
    note(if was_locked { "it was locked already" } else { "locked: no documents until `leasehold unlock`" });
    Ok(())
}

/// Makes the master key of a data folder that has none.
pub(crate) fn init(global: &Global, flags: &InitFlags) -> Result<(), Failure> {
    hygiene::harden().log();
    let folder = &flags.data_dir;
    if flags.token {
        return another_token(global, folder);
    }
    for name in ["leasehold.db", PLAIN, ENCRYPTED] {
        if folder.join(name).symlink_metadata().is_ok() {
            let what = format!("{} exists: nothing was made", folder.join(name).display());
            return Err(Failure::local(what, "another key would not open what is there; choose another --data-dir"));
        }
    }
    let cannot = |cause: std::io::Error| Failure::local(format!("cannot make {}: {cause}", folder.display()), "check the path");
    private_folder(folder).map_err(|error| Failure::local(error.to_string(), ""))?;
    let name = if flags.passphrase { ENCRYPTED } else { PLAIN };
    let folder = folder.canonicalize().map_err(cannot)?;
    let file = folder.join(name);
    let made = match flags.passphrase {
        false => MasterSource::File(file.clone()).load_or_create(true, None),
        true => create_passphrase_file(&file, &new_passphrase(flags.passphrase_file.as_deref())?),
    };
    let recipient = made.map_err(unusable)?.recipient().to_string();
    let shown = file.display().to_string();
    let out = Out::new(global.output);
    let token = serve::init::init(&folder).map_err(no_token)?;
    let pairs = [("master key", shown.clone()), ("recipient", recipient.clone()), ("token", token.to_string())];
    out.card(&pairs, || json!({ "master_key": shown, "recipient": recipient, "encrypted": flags.passphrase, "token": *token }))?;
    note("keep the token now: it may do everything, and is not shown again");
    note("back up this file apart from the database: without it only recovery recipients open anything");
    if flags.passphrase {
        note(format!(
            "put into the server's settings, and run `leasehold unlock` after each start:\n\n[master]\nencrypted = {shown:?}"
        ));
    }
    Ok(())
}

/// A token with all rights for a folder that is in use: who has the folder has all rights anyway.
fn another_token(global: &Global, folder: &Path) -> Result<(), Failure> {
    if !folder.is_dir() {
        let next = "give the data directory of the server, or leave `--token` out to make a new one";
        return Err(Failure::local(format!("there is no {}", folder.display()), next));
    }
    match private_folder(folder) {
        // Root may do this for the user that the server runs as.
        Err(FolderError::Owner { own: 0, .. }) => {}
        checked => checked.map_err(|error| Failure::local(error.to_string(), ""))?,
    }
    let token = serve::init::init(folder).map_err(no_token)?;
    Out::new(global.output).card(&[("token", token.to_string())], || json!({ "token": *token }))?;
    note("keep it now: it is not shown again; the server accepts it from its next start on");
    Ok(())
}

fn no_token(error: InitError) -> Failure {
    Failure::local(error.to_string(), "mend what the message says, and run the command again")
}

const PLAIN: &str = "master.key";
const ENCRYPTED: &str = "master.age";

fn new_passphrase(file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    if let Some(file) = file {
        return first_line(file);
    }
    let passphrase = ask("New passphrase of the master key: ")?;
    match *ask("The same again: ")? == *passphrase {
        true => Ok(passphrase),
        false => Err(Failure::local("the two differ: nothing was made", "try again")),
    }
}

/// Asks a person without echo.
fn ask(question: &str) -> Result<Zeroizing<String>, Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::usage("a passphrase is needed, and there is no terminal to ask", "give --passphrase-file FILE"));
    }
    let answer = Silence::begin().and_then(|_silence| rpassword::prompt_password(question).map(Zeroizing::new));
    answer.map_err(|cause| Failure::local(format!("the terminal cannot be read: {cause}"), "give --passphrase-file FILE"))
}

/// No echo from before the question is seen on: whoever answers fast, or pastes, must not see it either.
struct Silence(rustix::termios::Termios);

impl Silence {
    fn begin() -> std::io::Result<Self> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let before = tcgetattr(std::io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Now, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, &self.0);
    }
}

fn first_line(file: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = read_secret_file(file, "passphrase file", "check --passphrase-file")?;
    let line = text.lines().next().unwrap_or_default();
    match line.is_empty() {
        true => Err(Failure::usage("the passphrase is empty", "put it on the first line of the file")),
        false => Ok(Zeroizing::new(line.to_owned())),
    }
}

/// A key file that cannot be used: the message says what to do.
pub(crate) fn unusable(error: MasterError) -> Failure {
    Failure::local(error.to_string(), "")
}
