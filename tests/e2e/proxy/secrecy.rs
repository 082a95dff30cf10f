//! Neither the token of the principal nor the secret of the lease gets to the command, or into what Terraform leaves behind.

use std::io::Read;
use std::path::{Path, PathBuf};

use leasehold::client::{Ask, Client};
use leasehold::pb::v1::Mode;

use super::STATE;
use super::project::{Project, good};
use crate::require;
use crate::rig::{Server, TIGHT};

const CONFIGURATION: &str = r#"
resource "terraform_data" "app" {
  provisioner "local-exec" { command = "env > of-a-grandchild; cat /proc/$PPID/environ > of-terraform" }
}
"#;

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// The contents of a ZIP file's entries, by its central directory.
pub(crate) fn unzipped(zip: &[u8]) -> Vec<Vec<u8>> {
    let number = |at: usize, bytes: usize| (0..bytes).rev().fold(0, |sum, n| sum << 8 | usize::from(zip[at + n]));
    let end = zip.windows(4).rposition(|window| window == b"PK\x05\x06").expect("a ZIP file");
    let (count, mut at) = (number(end + 10, 2), number(end + 16, 4));
    let mut entries = Vec::new();
    for _ in 0..count {
        let (method, packed, local) = (number(at + 10, 2), number(at + 20, 4), number(at + 42, 4));
        let begin = local + 30 + number(local + 26, 2) + number(local + 28, 2);
        let packed = &zip[begin..begin + packed];
        let mut plain = Vec::new();
        match method {
            0 => plain.extend_from_slice(packed),
            _ => _ = flate2::read::DeflateDecoder::new(packed).read_to_end(&mut plain).unwrap(),
        }
        entries.push(plain);
        at += 46 + number(at + 28, 2) + number(at + 30, 2) + number(at + 32, 2);
    }
    entries
}

/// What a lease's holder gets with it: the same again for the same session and token.
async fn lease_secret(client: &Client, session: &str) -> String {
    let ask = Ask { mode: Mode::Exclusive, ..Ask::exclusive(STATE, session) };
    let grant = client.acquire(&ask, |_| ()).await.unwrap();
    grant.reference.secret.expect("the server gives one").expose().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_token_nor_lease_secret_leaves_run_to_terraform() {
    let Some(program) = require::program("terraform") else { return };
    neither_token_nor_lease_secret_leaves_run(&program).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_token_nor_lease_secret_leaves_run_to_opentofu() {
    let Some(program) = require::program("tofu") else { return };
    neither_token_nor_lease_secret_leaves_run(&program).await;
}

async fn neither_token_nor_lease_secret_leaves_run(program: &Path) {
    let server = Server::start(TIGHT);
    let (_, token) = server.door();
    let project = Project::new(program, CONFIGURATION);
    let script = "env > of-a-child; cat /proc/$PPID/environ > of-the-guard; $TERRAFORM init -input=false; \
                  $TERRAFORM plan -input=false -out=saved; $TERRAFORM apply -input=false saved; echo PAUSE; read line";
    let mut command = project.script(&server, &["--session", "known"], script);
    command.stdin(std::process::Stdio::piped());
    let mut run = super::project::Followed::start(command);
    run.shows("PAUSE");
    let secret = lease_secret(&server.client(), "known").await;
    drop(run.child.stdin.take());
    let ended = run.end();
    assert!(secret.len() > 20 && token.len() > 20);

    let mut found = Vec::new();
    files(&project.path(""), &mut found);
    let key = std::fs::read_to_string(project.path("of-a-child")).unwrap();
    let key = key.lines().find_map(|line| line.strip_prefix("TF_HTTP_PASSWORD=")).unwrap();
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    let name = |path: &PathBuf| path.strip_prefix(project.path("")).unwrap().to_str().unwrap().to_owned();
    for path in &found {
        let bytes = std::fs::read(path).unwrap();
        let mut contents = if name(path) == "saved" { unzipped(&bytes) } else { Vec::new() };
        assert!(name(path) != "saved" || contents.iter().any(|bytes| holds(bytes, "terraform_data")), "the plan was not read");
        contents.push(bytes);
        for bytes in contents {
            assert!(!holds(&bytes, &token), "the token is in {}", path.display());
            assert!(!holds(&bytes, &secret), "the lease's secret is in {}", path.display());
            let is_environment = name(path).starts_with("of-");
            assert_eq!(holds(&bytes, key), is_environment, "the key of the run: {}", path.display());
        }
    }
    let named: Vec<String> = found.iter().map(name).collect();
    for expected in ["saved", ".terraform/terraform.tfstate", "of-a-child", "of-a-grandchild", "of-terraform", "of-the-guard"] {
        assert!(named.iter().any(|name| name == expected), "{expected}: {named:?}");
    }
    for printed in [&ended.out, &ended.err] {
        assert!(!printed.contains(&token) && !printed.contains(&secret) && !printed.contains(key), "{printed}");
    }
    // The key is worth nothing once its run has ended.
    good(project.run(&server, &[], &["plan", "-input=false"]));
}
