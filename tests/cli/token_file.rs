//! A token file is its owner's.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use crate::fake::{FakeServer, TOKEN};
use crate::process::end;

#[test]
fn token_file_that_everybody_can_read_is_refused() {
    let server = FakeServer::start();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{TOKEN}").unwrap();
    let path = file.path().to_str().unwrap();
    let list = |mode| {
        file.as_file().set_permissions(Permissions::from_mode(mode)).unwrap();
        end(server.leasehold(&["env", "list", "--token-file", path]).env_remove("LEASEHOLD_TOKEN"))
    };
    list(0o644).fails_with(2, "open to everybody", "chmod 600");
    list(0o602).fails_with(2, "open to everybody", "chmod 600");
    assert_eq!(list(0o600).code, 0);
    // As orchestrators mount secrets.
    assert_eq!(list(0o440).code, 0);
}
