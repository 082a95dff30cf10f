use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use tempfile::TempDir;

use super::*;

/// Resists nobody, and takes no time.
const WORK: u8 = 2;

const KEY: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
const RECIPIENT: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

fn private(folder: &TempDir, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn loaded(source: &MasterSource, passphrase: Option<&str>) -> Vec<String> {
    let masters = source.load(passphrase).unwrap_or_else(|error| panic!("{error}"));
    masters.recipients().map(|recipient| recipient.to_string()).collect()
}

fn refused(source: &MasterSource, passphrase: Option<&str>) -> MasterError {
    let error = source.load(passphrase).err().expect("it loads");
    assert!(!error.to_string().contains("GQ9778") && !format!("{error:?}").contains("GQ9778"), "{error}: quotes the key");
    error
}

fn file(path: &Path) -> MasterSource {
    MasterSource::File(path.to_owned())
}

#[test]
fn file_that_is_made_is_private_and_loads_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    assert!(
        matches!(file(&path).load_or_create(false, None), Err(MasterError::Missing(_))),
        "there may be secrets under another"
    );
    assert!(!path.exists());
    let made = file(&path).load_or_create(true, None).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(loaded(&file(&path), None), [made.recipient().to_string()]);
    let again = file(&path).load_or_create(true, None).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(again.recipient(), made.recipient(), "one that is there is not replaced");
}

#[test]
fn first_identity_of_a_file_is_the_current_one() {
    let folder = tempfile::tempdir().unwrap();
    let other = Masters::ephemeral();
    let text = {
        use age::secrecy::ExposeSecret;
        format!("# new\n{}\n\n# old\n{KEY}\n", other.current().to_string().expose_secret())
    };
    let source = file(&private(&folder, "key", text));
    assert_eq!(loaded(&source, None), [other.recipient().to_string(), RECIPIENT.to_owned()]);
    assert_eq!(source.load(None).ok().unwrap().recipient(), other.recipient());
}

#[test]
fn file_that_others_can_read_or_replace_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = private(&folder, "key", KEY);
    assert_eq!(loaded(&file(&path), None), [RECIPIENT]);
    for mode in [0o604, 0o640, 0o620, 0o601, 0o644, 0o777] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(refused(&file(&path), None), MasterError::Readable(_)), "{mode:o}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(loaded(&file(&path), None), [RECIPIENT]);
}

#[test]
fn file_of_another_user_is_refused_and_a_credential_of_systemd_is_not() {
    if !rustix::process::geteuid().is_root() {
        use std::io::Write;
        // Not eprintln!, which the test harness hides while a test passes.
        let _ = writeln!(io::stderr(), "SKIPPED: only root gives files away");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = private(&folder, "key", KEY);
    let own = |user, group, mode| {
        chown(&path, Some(user), Some(group)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    own(1234, 0, 0o600);
    assert!(matches!(refused(&file(&path), None), MasterError::Owner { owner: 1234, ours: 0, .. }));
    own(0, 1234, 0o440);
    assert!(matches!(refused(&file(&path), None), MasterError::Readable(_)));
    own(0, 0, 0o440);
    assert_eq!(loaded(&file(&path), None), [RECIPIENT]);
}

#[test]
fn files_that_are_no_keys_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let malformed = |text: &str| match refused(&file(&private(&folder, "key", text)), None) {
        MasterError::Malformed { cause, .. } => cause,
        other => panic!("{other}"),
    };
    assert_eq!(malformed(""), IdentitiesError::None);
    assert_eq!(malformed("# nothing\n"), IdentitiesError::None);
    assert_eq!(malformed(&format!("{KEY}\nsecret=x\n")), IdentitiesError::Line(2));
    assert_eq!(malformed(RECIPIENT), IdentitiesError::Public(1));
    let large = private(&folder, "large", "#\n".repeat(40_000));
    assert!(matches!(refused(&file(&large), None), MasterError::TooLarge(_)));
    assert!(matches!(refused(&file(&folder.path().join("none")), None), MasterError::Missing(_)));
    assert!(matches!(refused(&file(folder.path()), None), MasterError::NotAFile(_)));
    let pipe = folder.path().join("pipe");
    named_pipe(&pipe);
    assert!(matches!(refused(&file(&pipe), None), MasterError::NotAFile(_)), "and nobody waits for a writer");
}

fn passphrase(path: &Path, from: Option<PathBuf>) -> MasterSource {
    MasterSource::Passphrase { file: path.to_owned(), passphrase: from }
}

#[test]
fn passphrase_opens_its_file_given_or_from_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.age");
    let made = create_passphrase_file_with_work_factor(&path, "correct horse", WORK).unwrap_or_else(|error| panic!("{error}"));
    let made = [made.recipient().to_string()];
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&path).unwrap().starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"));
    let source = passphrase(&path, None);
    assert!(source.asks_passphrase());
    assert_eq!(loaded(&source, Some("correct horse")), made);
    assert!(matches!(refused(&source, Some("wrong horse")), MasterError::WrongPassphrase(_)));
    assert!(matches!(refused(&source, Some("correct horse\n")), MasterError::WrongPassphrase(_)));
    assert!(matches!(refused(&source, None), MasterError::PassphraseNeeded(_)));
    for text in ["correct horse", "correct horse\n", "correct horse\r\nmore\n"] {
        let source = passphrase(&path, Some(private(&folder, "pass", text)));
        assert!(!source.asks_passphrase());
        assert_eq!(loaded(&source, None), made, "{text:?}");
        assert!(matches!(refused(&source, Some("correct horse")), MasterError::TwoPassphrases(_)));
    }
    let empty = private(&folder, "empty", "\ncorrect horse");
    assert!(matches!(refused(&passphrase(&path, Some(empty)), None), MasterError::EmptyPassphrase));
    let none = folder.path().join("none");
    assert!(matches!(refused(&passphrase(&path, Some(none.clone())), None), MasterError::Io { file, .. } if file == none));
    assert!(matches!(refused(&passphrase(&none, None), Some("x")), MasterError::Missing(file) if file == none));
    let again = create_passphrase_file_with_work_factor(&path, "x", WORK);
    assert!(matches!(again, Err(MasterError::Io { .. })), "one that is there is not replaced");
    assert!(matches!(create_passphrase_file(&none, ""), Err(MasterError::EmptyPassphrase)));
}

#[test]
fn binary_age_file_opens_and_other_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipient = age::scrypt::Recipient::new("x".into());
    recipient.set_work_factor(WORK);
    let binary = |text: &str| age::encrypt(&recipient, text.as_bytes()).unwrap();
    let source = passphrase(&private(&folder, "binary", binary(KEY)), None);
    assert_eq!(loaded(&source, Some("x")), [RECIPIENT]);
    let source = passphrase(&private(&folder, "other", binary("nothing")), None);
    assert!(matches!(refused(&source, Some("x")), MasterError::Malformed { cause: IdentitiesError::Line(1), .. }));
    let to_a_key = age::encrypt(&RECIPIENT.parse::<age::x25519::Recipient>().unwrap(), KEY.as_bytes()).unwrap();
    let cut = binary(KEY)[..150].to_vec();
    for no_file in [to_a_key, cut, KEY.as_bytes().to_vec(), Vec::new()] {
        let source = passphrase(&private(&folder, "no", no_file), None);
        assert!(matches!(refused(&source, Some("x")), MasterError::NotAgePassphrase(_)));
    }
}

#[test]
fn file_that_demands_endless_work_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipient = age::scrypt::Recipient::new("x".into());
    recipient.set_work_factor(WORK);
    let file = age::encrypt(&recipient, KEY.as_bytes()).unwrap();
    let end = file.windows(3).position(|window| window == b" 2\n").unwrap();
    for work in [21_u8, 30, 63] {
        let bomb = [&file[..end], format!(" {work}\n").as_bytes(), &file[end + 3..]].concat();
        let source = passphrase(&private(&folder, "bomb", bomb), None);
        assert!(matches!(refused(&source, Some("x")), MasterError::Work { work: demanded, .. } if demanded == work));
    }
}

fn shell(script: &str, timeout: Duration) -> MasterSource {
    let argv = ["/bin/sh", "-c", script].map(str::to_owned);
    MasterSource::Command { argv: argv.into(), timeout }
}

/// So long that a test which waits for it stands out.
const LONG: Duration = Duration::from_secs(600);

#[test]
fn command_is_asked_without_shell_environment_or_input() {
    let argv = ["/bin/echo", KEY].map(str::to_owned);
    let source = MasterSource::Command { argv: argv.into(), timeout: COMMAND_TIMEOUT };
    assert_eq!(loaded(&source, None), [RECIPIENT]);
    let quoted = ["/bin/echo", "$(echo", KEY, ")"].map(str::to_owned);
    let source = MasterSource::Command { argv: quoted.into(), timeout: COMMAND_TIMEOUT };
    assert!(matches!(refused(&source, None), MasterError::Printed { cause: IdentitiesError::Line(1), .. }));
    // `env` prints only what the shell itself sets; `read` finds the end of the input.
    let script = format!("env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= && exit 1; read line && exit 2; test $PWD = / && echo {KEY}");
    assert_eq!(loaded(&shell(&script, COMMAND_TIMEOUT), None), [RECIPIENT]);
}

#[test]
fn command_by_a_relative_path_is_not_run() {
    let relative = |argv: &[&str]| MasterSource::Command { argv: argv.iter().map(|&word| word.into()).collect(), timeout: LONG };
    for argv in [[].as_slice(), &["echo", KEY], &["./echo"], &[""]] {
        assert!(matches!(refused(&relative(argv), None), MasterError::RelativeCommand), "{argv:?}");
    }
    assert!(matches!(refused(&relative(&["/no/such/program"]), None), MasterError::Spawn { .. }));
}

#[test]
fn command_that_fails_is_refused_whatever_it_printed() {
    let error = refused(&shell(&format!("echo {KEY}; echo {KEY} >&2; exit 3"), LONG), None);
    assert!(matches!(&error, MasterError::Failed { status, .. } if status.code() == Some(3)), "{error}");
    assert!(matches!(refused(&shell("kill -9 $$", LONG), None), MasterError::Failed { .. }));
    let nothing = refused(&shell("true", LONG), None);
    assert!(matches!(nothing, MasterError::Printed { cause: IdentitiesError::None, .. }));
    assert!(matches!(refused(&shell(r"printf '\377'", LONG), None), MasterError::Printed { .. }));
}

#[test]
fn command_that_prints_too_much_is_killed() {
    assert!(matches!(refused(&shell("yes", LONG), None), MasterError::Output { .. }), "and `yes` has no end");
    let most = format!("echo {KEY}; head -c {} /dev/zero | tr '\\0' '#'", file::MOST - KEY.len() - 1);
    assert_eq!(loaded(&shell(&most, LONG), None), [RECIPIENT]);
}

#[test]
fn command_that_takes_too_long_is_killed_with_all_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    named_pipe(&pipe);
    for script in [
        "sleep 60 & wait".to_owned(),
        // Has printed all, and does not end; has closed its output, too.
        format!("echo {KEY}; sleep 60 & wait"),
        format!("echo {KEY}; sleep 60 >/dev/null & exec >&-; wait"),
    ] {
        let script = format!("exec 3>{}; echo started >&3; {script}", pipe.display());
        let mut timeout = Duration::from_millis(200);
        // A machine that is slow to start a shell has more time in the next round.
        while !outlived(&pipe, &shell(&script, timeout)).contains("started") {
            timeout *= 4;
        }
    }
}

/// Runs into the timeout, then reads the pipe to its end, which comes when nobody has it open for writing: all are gone.
fn outlived(pipe: &Path, source: &MasterSource) -> String {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let reader = rustix::fs::open(pipe, flags, Mode::empty()).unwrap();
    assert!(matches!(refused(source, None), MasterError::Timeout { .. }));
    let (mut said, mut buffer) = (String::new(), [0; 64]);
    let patience = rustix::fs::Timespec { tv_sec: 10, tv_nsec: 0 };
    loop {
        match rustix::io::read(&reader, &mut buffer) {
            Ok(0) => return said,
            Ok(count) => said.push_str(std::str::from_utf8(&buffer[..count]).unwrap()),
            Err(error) => assert_eq!(error, rustix::io::Errno::AGAIN),
        }
        let mut waiting = [PollFd::new(&reader, PollFlags::IN)];
        assert_eq!(poll(&mut waiting, Some(&patience)), Ok(1), "what it started lives on");
    }
}

fn named_pipe(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}
