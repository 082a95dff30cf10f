//! States that OpenTofu has encrypted itself: kept as they are, and followed by their serial and lineage.

use serde_json::Value;

use super::seen::{current, document, versions};
use super::work::{BACKEND, Tool, Work, address, with};
use crate::rig::{Server, TIGHT};

const STATE: &str = "dev/app";
const CONFIGURATION: &str = r#"
variable "name" { default = "plain-canary-one" }
resource "terraform_data" "app" { input = var.name }
output "name" { value = terraform_data.app.output }
"#;

/// `fallback` is what else may be read.
fn encryption(fallback: &str) -> String {
    format!(
        r#"
key_provider "pbkdf2" "key" {{
  passphrase = "a passphrase of some length"
  iterations = 200000
}}
method "aes_gcm" "sealed" {{ keys = key_provider.pbkdf2.key }}
method "unencrypted" "plain" {{}}
state {{
  method = method.aes_gcm.sealed
  {fallback}
}}
plan {{ method = method.aes_gcm.sealed }}
"#
    )
}

const FROM_PLAIN: &str = "fallback { method = method.unencrypted.plain }";

fn encrypted(tool: &Tool, server: &Server, state: &str) -> Work {
    Work::bare(tool, &format!("{BACKEND}{CONFIGURATION}"))
        .with_backend(&address(server, state), &server.door().1)
        .set("TF_ENCRYPTION", &encryption("enforced = true"))
}

#[test]
fn encrypted_state_is_kept_as_it_is_and_rolled_back() {
    with("tofu", |tool| {
        let mut server = Server::start(TIGHT);
        server.ok(&["env", "set", "dev", "--allow-plaintext", "false"]);
        let work = encrypted(tool, &server, STATE);
        work.ok(&["init"]);
        work.ok(&["apply", "-auto-approve"]);
        work.ok(&["plan", "-out=saved", "-var=name=plain-canary-two"]);
        work.ok(&["apply", "saved"]);
        let kept: Value = serde_json::from_str(&document(&server, STATE)).unwrap();
        assert!(kept["encrypted_data"].is_string() && kept.get("resources").is_none(), "{kept}");
        let told = current(&server, STATE);
        assert_eq!((told.number, told.format.as_str()), (2, "opaque"));
        assert_eq!((Some(told.serial), Some(told.lineage.as_str())), (kept["serial"].as_u64(), kept["lineage"].as_str()));
        let opened: Value = serde_json::from_str(&work.ok(&["state", "pull"])).unwrap();
        assert_eq!((opened["serial"].as_u64(), opened["lineage"].as_str()), (Some(told.serial), Some(told.lineage.as_str())));
        assert_eq!(work.ok(&["output", "-raw", "name"]), "plain-canary-two");
        assert_eq!(work.run(&["plan", "-detailed-exitcode", "-var=name=plain-canary-two"]).code, 0);
        // OpenTofu refuses an envelope whose serial is not that of what is inside.
        server.ok(&["state", "rollback", STATE, "--to", "1"]);
        assert_eq!(work.ok(&["output", "-raw", "name"]), "plain-canary-one");
        work.ok(&["apply", "-auto-approve", "-var=name=plain-canary-three"]);
        assert_eq!(work.ok(&["output", "-raw", "name"]), "plain-canary-three");
        assert_eq!(versions(&server, STATE).len(), 4);

        // Whoever has no key reads nothing, and may not write what can be read.
        let open =
            Work::bare(tool, &format!("{BACKEND}{CONFIGURATION}")).with_backend(&address(&server, STATE), &server.door().1);
        assert!(open.fails(&["init"]).contains("encrypt"));
        let other = Work::new(tool, &server, "dev/other", CONFIGURATION);
        assert!(other.fails(&["apply", "-auto-approve"]).contains("HTTP error: 422"));
        server.stop();
        for (file, bytes) in crate::canaries::files(&server.data()) {
            assert!(!String::from_utf8_lossy(&bytes).contains("plain-canary"), "{}", file.display());
        }
    });
}

#[test]
fn state_that_begins_to_be_encrypted_moves_to_a_new_path() {
    with("tofu", |tool| {
        let server = Server::start(TIGHT);
        let work = Work::new(tool, &server, STATE, CONFIGURATION);
        work.ok(&["apply", "-auto-approve"]);
        let work = work.set("TF_ENCRYPTION", &encryption(FROM_PLAIN));
        let printed = work.fails(&["apply", "-auto-approve"]);
        assert!(printed.contains("HTTP error: 409") && server.logged().contains("FORMAT_"), "{printed}");
        assert_eq!(versions(&server, STATE).len(), 1);
        let plain = work.ok(&["state", "pull"]);
        let work = work.with_backend(&address(&server, "dev/sealed"), &server.door().1);
        work.ok(&["init", "-reconfigure"]);
        work.write("plain", &plain);
        work.ok(&["state", "push", "plain"]);
        assert!(work.ok(&["plan"]).contains("No changes"));
        assert_eq!(current(&server, "dev/sealed").format, "opaque");
        server.ok(&["env", "set", "dev", "--allow-opaque", "false"]);
        assert!(work.fails(&["apply", "-auto-approve", "-var=name=two"]).contains("HTTP error: 422"));
    });
}
