//! The tools, and folders with configurations that they run in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::process::Ended;
use crate::require;
use crate::rig::{Server, signal};

/// One of the two.
#[derive(Clone)]
pub(super) struct Tool {
    pub(super) name: &'static str,
    program: PathBuf,
}

/// Runs a test with a tool, if it is there.
pub(super) fn with(name: &'static str, test: fn(&Tool)) {
    if let Some(program) = require::program(name) {
        test(&Tool { name, program });
    }
}

impl Tool {
    pub(super) fn is_opentofu(&self) -> bool {
        self.name == "tofu"
    }
}

/// The block for a backend whose settings are all in the environment.
pub(super) const BACKEND: &str = "terraform {\n  backend \"http\" {}\n}\n";

/// A folder with a configuration, and the environment that it is used in.
pub(super) struct Work {
    tool: Tool,
    folder: tempfile::TempDir,
    environment: BTreeMap<String, String>,
}

impl Work {
    /// A configuration without a backend.
    pub(super) fn bare(tool: &Tool, configuration: &str) -> Self {
        let work = Self { tool: tool.clone(), folder: tempfile::tempdir().unwrap(), environment: BTreeMap::new() };
        work.write("main.tf", configuration);
        // Nothing it needs is on the network, and it must not ask.
        [
            ("CHECKPOINT_DISABLE", "1"),
            ("TF_IN_AUTOMATION", "1"),
            ("TF_INPUT", "0"),
            ("TF_CLI_CONFIG_FILE", "/dev/null"),
            ("TF_CLI_ARGS", "-no-color"),
        ]
        .into_iter()
        .fold(work, |work, (name, value)| work.set(name, value))
    }

    /// A configuration whose state is at an address with everything that a careful user sets, and initialised.
    pub(super) fn at(tool: &Tool, address: &str, token: &str, configuration: &str) -> Self {
        let work = Self::bare(tool, &format!("{BACKEND}{configuration}")).with_backend(address, token);
        work.ok(&["init"]);
        work
    }

    /// All settings of the backend, in the environment.
    pub(super) fn with_backend(self, address: &str, token: &str) -> Self {
        let here = ["TF_HTTP_ADDRESS", "TF_HTTP_LOCK_ADDRESS", "TF_HTTP_UNLOCK_ADDRESS"];
        let work = here.into_iter().fold(self, |work, name| work.set(name, address));
        work.set("TF_HTTP_USERNAME", "ci").set("TF_HTTP_PASSWORD", token)
    }

    /// The same at a server.
    pub(super) fn new(tool: &Tool, server: &Server, state: &str, configuration: &str) -> Self {
        Self::at(tool, &address(server, state), &server.door().1, configuration)
    }

    pub(super) fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Another configuration from now on, at the same backend.
    pub(super) fn configure(&self, configuration: &str) {
        self.write("main.tf", &format!("{BACKEND}{configuration}"));
    }

    pub(super) fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text).unwrap();
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.tool.program);
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env_clear().env("HOME", self.folder.path()).env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command.envs(&self.environment);
        command
    }

    /// Runs it to its end; what it printed is one text.
    pub(super) fn run(&self, args: &[&str]) -> Ended {
        crate::process::end(&mut self.command(args))
    }

    #[track_caller]
    pub(super) fn ok(&self, args: &[&str]) -> String {
        good(args, self.run(args))
    }

    /// It must fail; all that it printed, with its lines joined, since both tools break them.
    #[track_caller]
    pub(super) fn fails(&self, args: &[&str]) -> String {
        bad(args, self.run(args))
    }

    /// What `console` makes of an expression.
    #[track_caller]
    pub(super) fn evaluate(&self, expression: &str) -> String {
        good(&["console"], crate::process::end_with_input(&mut self.command(&["console"]), expression.as_bytes()))
    }

    pub(super) fn start(&self, args: &[&str]) -> Running {
        Running { args: args.iter().map(|arg| (*arg).to_owned()).collect(), child: Some(self.command(args).spawn().unwrap()) }
    }
}

/// A command under way. It is killed when dropped.
pub(super) struct Running {
    args: Vec<String>,
    child: Option<Child>,
}

impl Running {
    pub(super) fn is_running(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    pub(super) fn interrupt(&self) {
        signal(self.child.as_ref().unwrap().id(), rustix::process::Signal::INT);
    }

    #[track_caller]
    pub(super) fn ok(mut self) -> String {
        let ended = crate::process::finish(self.child.take().unwrap());
        good(&self.args.iter().map(String::as_str).collect::<Vec<_>>(), ended)
    }

    #[track_caller]
    pub(super) fn fails(mut self) -> String {
        let ended = crate::process::finish(self.child.take().unwrap());
        bad(&self.args.iter().map(String::as_str).collect::<Vec<_>>(), ended)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// A `local-exec` that says it has begun and then takes as long as the test wants, at an apply.
pub(super) const HELD: &str = r#"
  provisioner "local-exec" {
    command = "touch begun; while [ -e hold ]; do sleep 0.05; done"
  }
"#;

impl Work {
    /// Starts an apply whose configuration has [`HELD`], and waits until it is there.
    pub(super) fn start_held(&self, args: &[&str]) -> Running {
        self.write("hold", "");
        let mut running = self.start(args);
        let give_up = crate::rig::now() + crate::rig::BOUND;
        while !self.path("begun").exists() {
            assert!(crate::rig::now() < give_up, "it did not begin");
            assert!(running.is_running(), "it ended before it began: {}", running.fails());
            pause();
        }
        std::fs::remove_file(self.path("begun")).unwrap();
        running
    }

    /// Lets it go on.
    pub(super) fn let_go(&self) {
        std::fs::remove_file(self.path("hold")).unwrap();
    }
}

/// Waits for something that nobody tells of.
#[track_caller]
pub(super) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = crate::rig::now() + crate::rig::BOUND;
    while !holds() {
        assert!(crate::rig::now() < give_up, "{what}: not in time");
        pause();
    }
}

/// Where a state is, at this door.
pub(super) fn address(server: &Server, state: &str) -> String {
    format!("{}/terraform/v1/{state}", server.door().0)
}

/// Between two looks at something that nobody tells of.
#[expect(clippy::disallowed_methods, reason = "a process that begins something tells nobody")]
fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(5));
}

#[track_caller]
fn good(args: &[&str], ended: Ended) -> String {
    assert_eq!(ended.code, 0, "{args:?}: {}{}", ended.out, ended.err);
    ended.out
}

#[track_caller]
fn bad(args: &[&str], ended: Ended) -> String {
    assert!(ended.code != 0, "{args:?} succeeded: {}", ended.out);
    let printed = ended.out + &ended.err;
    let words: Vec<_> = printed.split(|char: char| char.is_whitespace() || "│╷╵".contains(char)).collect();
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}
