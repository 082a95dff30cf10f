//! A server that is not there.

use std::net::TcpListener;

use crate::process::{end, leasehold};

#[test]
fn server_that_is_not_there_ends_with_7() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for args in [
        &["env", "list"][..],
        &["state", "pull", "dev/app"],
        &["lease", "acquire", "dev/app", "--wait", "1h"],
        &["run", "--state", "dev/app", "--wait", "1h", "--", "true"],
        &["watch", "dev"],
    ] {
        let args = [&["--retry-for", "0s"], args].concat();
        end(leasehold(&args).env("LEASEHOLD_SERVER", &address)).fails_with(7, "cannot be reached", "check the address");
    }
}
