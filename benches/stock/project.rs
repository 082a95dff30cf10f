//! The tool, and a folder with a configuration for each backend.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const RESOURCES: usize = 100;

/// Stock Terraform or OpenTofu.
pub(super) struct Tool {
    pub(super) name: &'static str,
    program: PathBuf,
}

impl Tool {
    pub(super) fn find(name: &'static str) -> Option<Self> {
        let path = std::env::var_os("PATH")?;
        let program = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())?;
        Some(Self { name, program })
    }

    pub(super) fn version(&self) -> String {
        let mut command = Command::new(&self.program);
        let folder = folder();
        at_home(&mut command, folder.path());
        let told = command.args(["version", "-json"]).output().unwrap();
        let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
        told["terraform_version"].as_str().unwrap().to_owned()
    }
}

/// Where the state is, and how the tool is started.
pub(super) enum Backend<'a> {
    Local,
    Pg { connection: String },
    Http { address: &'a str, token: &'a str },
    Run { address: &'a str, token: &'a str },
}

impl Backend<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Pg { .. } => "pg",
            Self::Http { .. } => "http",
            Self::Run { .. } => "run",
        }
    }

    /// What stands in the configuration.
    fn block(&self, state: &str) -> String {
        match self {
            Self::Local => "backend \"local\" {}".to_owned(),
            Self::Pg { connection } => format!("backend \"pg\" {{\n    conn_str = \"{connection}\"\n  }}"),
            Self::Http { address, .. } => {
                let settings = ["address", "lock_address", "unlock_address"]
                    .map(|name| format!("    {name} = \"http://{address}/terraform/v1/{state}\"\n"));
                format!("backend \"http\" {{\n{}  }}", settings.concat())
            }
            Self::Run { .. } => "backend \"http\" {}".to_owned(),
        }
    }
}

#[derive(Clone, Copy)]
pub(super) enum Verb {
    Plan,
    Apply,
}

impl Verb {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Apply => "apply",
        }
    }
}

/// A configuration with a state at one backend.
pub(super) struct Project<'a> {
    tool: &'a Tool,
    pub(super) backend: Backend<'a>,
    state: String,
    folder: TempDir,
}

impl<'a> Project<'a> {
    pub(super) fn new(tool: &'a Tool, backend: Backend<'a>) -> Self {
        let state = format!("dev/{}-{}", tool.name, backend.name());
        let configuration = format!(
            "terraform {{\n  {}\n}}\n\nvariable \"round\" {{\n  default = \"none\"\n}}\n\n\
             resource \"terraform_data\" \"one\" {{\n  count = {RESOURCES}\n  input = \"${{var.round}}: ${{count.index}}\"\n}}\n",
            backend.block(&state)
        );
        let folder = folder();
        std::fs::write(folder.path().join("main.tf"), configuration).unwrap();
        let project = Self { tool, backend, state, folder };
        project.run(false, &["init"]);
        project
    }

    /// Makes all resources.
    pub(super) fn create(&self) {
        let printed = self.run(false, &["apply", "-auto-approve"]);
        assert!(printed.contains(&format!("{RESOURCES} added, 0 changed")), "{printed}");
    }

    /// How long a command takes in which every resource changes.
    pub(super) fn timed(&self, verb: Verb, round: usize) -> Duration {
        let round = format!("-var=round={round}");
        let (args, shown): (&[&str], _) = match verb {
            Verb::Plan => (&["plan", &round], format!("0 to add, {RESOURCES} to change")),
            Verb::Apply => (&["apply", "-auto-approve", &round], format!("0 added, {RESOURCES} changed")),
        };
        let began = Instant::now();
        let printed = self.run(matches!(verb, Verb::Plan), args);
        let took = began.elapsed();
        assert!(printed.contains(&shown), "{}: {printed}", self.backend.name());
        took
    }

    /// What the backend has at the end is what was applied last.
    pub(super) fn must_be_of(&self, round: usize) {
        let state: serde_json::Value = serde_json::from_str(&self.run(true, &["state", "pull"])).unwrap();
        let instances = state["resources"][0]["instances"].as_array().unwrap();
        let input = |n: usize| instances[n]["attributes"]["input"]["value"].as_str().unwrap();
        assert_eq!(instances.len(), RESOURCES);
        assert!((0..RESOURCES).all(|n| input(n).starts_with(&format!("{round}: "))), "{}: {state}", self.backend.name());
    }

    /// Runs it to its end, and returns what it printed. Under `run` it has a shared lease if all it does is read.
    fn run(&self, reads: bool, args: &[&str]) -> String {
        let mut command = match self.backend {
            Backend::Run { .. } => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_leasehold"));
                let mode = if reads { "shared" } else { "exclusive" };
                command.args(["run", "--state", &self.state, "--mode", mode, "--"]).arg(&self.tool.program);
                command
            }
            _ => Command::new(&self.tool.program),
        };
        at_home(&mut command, self.folder.path());
        match &self.backend {
            Backend::Http { token, .. } => command.envs([("TF_HTTP_USERNAME", "bench"), ("TF_HTTP_PASSWORD", token)]),
            Backend::Run { address, token } => command.envs([("LEASEHOLD_SERVER", address), ("LEASEHOLD_TOKEN", token)]),
            Backend::Local | Backend::Pg { .. } => &mut command,
        };
        let ended = command.args(args).output().unwrap();
        let [out, err] = [&ended.stdout, &ended.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert!(ended.status.success(), "{} {args:?}: {out}{err}", self.backend.name());
        out
    }
}

/// The same for everybody: nothing that it needs is on the network, nobody answers it, and no setting of the user gets in.
fn at_home(command: &mut Command, folder: &Path) {
    command.env_clear().env("HOME", folder).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.envs([("CHECKPOINT_DISABLE", "1"), ("TF_CLI_CONFIG_FILE", "/dev/null"), ("TF_IN_AUTOMATION", "1")]);
    command.envs([("TF_INPUT", "0"), ("TF_CLI_ARGS", "-no-color")]).current_dir(folder).stdin(Stdio::null());
}

/// A folder on the disk that is measured; gone when dropped.
pub(super) fn folder() -> TempDir {
    let disk = std::env::var("LEASEHOLD_BENCH_DIR").unwrap_or("/var/tmp".into());
    tempfile::Builder::new().prefix("leasehold-bench").tempdir_in(disk).unwrap()
}
